"""The error over all pairs of test digits, against counting them one by one."""

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, PlainCNN
from lightning_modules.evaluation.all_pairs import AllPairsTest, error_of_all_pairs
from lightning_modules.networks.heads import compare
from lightning_modules.training.runner import make_trainer


@settings(max_examples=20)
@given(n=st.integers(2, 20), seed=st.integers(0, 1000), trunks=st.integers(1, 2))
def test_it_is_the_share_of_ordered_pairs_of_two_digits_that_are_got_wrong(
    n: int, seed: int, trunks: int
) -> None:
    """Two trunks read first and second digits otherwise."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(10, (n,), generator=generator)
    logits = 3 * torch.randn(trunks, n, 10, generator=generator, dtype=torch.float64)
    first, second = logits.softmax(-1)[[0, -1]]
    wrong = 0
    for i in range(n):
        for j in set(range(n)) - {i}:
            said = compare(torch.stack([first[i], second[j]]).view(1, 1, 2, 10)).argmax(-1).item()
            wrong += said != int(classes[i] <= classes[j])
    found = error_of_all_pairs(first, classes, second if trunks == 2 else None)
    assert found.item() == pytest.approx(wrong / (n * (n - 1)))


def trainer() -> pl.Trainer:
    return make_trainer({"accelerator": "cpu", "max_epochs": 1})


def test_a_net_of_digits_is_tested_on_all_pairs_of_all_test_digits() -> None:
    """A random net's decision is nearly always one of the two: its error is the share of the other."""
    data = DigitPairs(seed=[0, 1], batch_size=250)
    data.setup()
    module = AuxiliaryLoss(seed=[0, 1], head="exact")
    tested = AllPairsTest(module, torch.tensor([[0], [1]]))
    trainer().test(tested, data.all_test_dataloader(), verbose=False)
    assert torch.cat(tested.classes).flatten().tolist() == data.test_digits.labels.tolist()
    for r, error in enumerate(tested.errors()):
        sample = torch.randint(10_000, (400,), generator=torch.Generator().manual_seed(r))
        posteriors = torch.cat(tested.logits)[:, r].flatten(0, 1)[sample].softmax(-1)
        assert error.item() == pytest.approx(
            error_of_all_pairs(posteriors, data.test_digits.labels[sample]).item(), abs=0.06
        )


def test_a_net_of_two_trunks_is_tested_on_all_pairs_of_what_each_reads() -> None:
    """Against its own answers to a few thousand of these pairs, any first digit and any second one."""
    data = DigitPairs(seed=[0], batch_size=250)
    data.setup()
    module = PlainCNN(seed=[0], head="exact", branches="separate").eval()
    tested = AllPairsTest(module, torch.tensor([[0]]))
    trainer().test(tested, data.all_test_dataloader(), verbose=False)
    digits = data.test_digits
    assert len(tested.logits[0]) == len(tested.seconds[0]) == 250
    assert sum(len(part) for part in tested.seconds) == 5000
    index = torch.randint(10_000, (2, 2000), generator=torch.Generator().manual_seed(0))
    images = digits.images[index].view(2, -1, 14, 14).transpose(0, 1).float()
    outputs, (first, second) = module.network(images), digits.labels[index]
    for side, read in enumerate((tested.logits, tested.seconds)):
        every = torch.cat(read)[:, 0].flatten(0, 1)  # (10000, 10)
        torch.testing.assert_close(every[index[side]], outputs.digits[:, 0, side], rtol=1e-4, atol=1e-4)
    error = (outputs.pair[:, 0].argmax(-1) != (first <= second)).float().mean().item()
    assert tested.errors().item() == pytest.approx(error, abs=0.03)
    assert tested.metric == "all_test_error"


def test_a_net_of_pairs_is_tested_on_a_pairing_of_all_test_digits_and_says_so() -> None:
    data = DigitPairs(seed=[0], batch_size=250)
    data.setup()
    module = PlainCNN(seed=[0])
    tested = AllPairsTest(module, torch.tensor([[0]]))
    trainer().test(tested, data.all_test_dataloader(), verbose=False)
    trainer().test(module, data.all_test_dataloader(), verbose=False)
    assert torch.equal(tested.errors(), module.epoch_metrics("test")["test/error"])
    assert sum(data.all_test_dataloader().sizes) == 5000
    assert tested.metric == "fixed_pairs_error"
