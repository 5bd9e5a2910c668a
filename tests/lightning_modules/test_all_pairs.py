"""The error over all pairs of test digits, against counting them one by one."""

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import DigitPairs
from lightning_modules import AuxiliaryLoss, PlainCNN
from lightning_modules.all_pairs import AllPairsTest, error_of_all_pairs, error_of_two_sides
from lightning_modules.heads import compare
from lightning_modules.protocol import make_trainer


@settings(max_examples=20)
@given(n=st.integers(2, 30), seed=st.integers(0, 1000))
def test_it_is_the_share_of_ordered_pairs_of_two_digits_that_are_got_wrong(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(10, (n,), generator=generator)
    posteriors = (3 * torch.randn(n, 10, generator=generator, dtype=torch.float64)).softmax(-1)
    wrong = 0
    for i in range(n):
        for j in set(range(n)) - {i}:
            said = compare(posteriors[[i, j]].view(1, 1, 2, 10)).argmax(-1).item()
            wrong += said != int(classes[i] <= classes[j])
    assert error_of_all_pairs(posteriors, classes).item() == pytest.approx(wrong / (n * (n - 1)))


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
    """Against its own answers to a few hundred of these pairs."""
    data = DigitPairs(seed=[0], batch_size=250)
    data.setup()
    module = PlainCNN(seed=[0], head="exact", branches="separate").eval()
    tested = AllPairsTest(module, torch.tensor([[0]]))
    trainer().test(tested, data.all_test_dataloader(), verbose=False)
    digits, count = data.test_digits, 5000
    drawn = torch.randint(count, (2, 2000), generator=torch.Generator().manual_seed(0))
    index = torch.stack([2 * drawn[0], 2 * drawn[1] + 1])  # any first digit, any second one
    images = digits.images[index].view(2, -1, 14, 14).transpose(0, 1).float()
    said, (first, second) = module.network(images).pair[:, 0].argmax(-1), digits.labels[index]
    error = (said != (first <= second)).float().mean().item()
    assert tested.errors().item() == pytest.approx(error, abs=0.03)


@settings(max_examples=20)
@given(n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 1000))
def test_two_sides_are_compared_pair_by_pair(n: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    classes = [torch.randint(10, (count,), generator=generator) for count in (n, m)]
    posteriors = [
        (3 * torch.randn(count, 10, generator=generator, dtype=torch.float64)).softmax(-1) for count in (n, m)
    ]
    wrong = 0
    for i in range(n):
        for j in range(m):
            pair = torch.stack([posteriors[0][i], posteriors[1][j]]).view(1, 1, 2, 10)
            wrong += compare(pair).argmax(-1).item() != int(classes[0][i] <= classes[1][j])
    assert error_of_two_sides(*posteriors, *classes).item() == pytest.approx(wrong / (n * m))


def test_a_net_of_pairs_is_tested_on_a_pairing_of_all_test_digits() -> None:
    data = DigitPairs(seed=[0], batch_size=250)
    data.setup()
    module = PlainCNN(seed=[0])
    tested = AllPairsTest(module, torch.tensor([[0]]))
    trainer().test(tested, data.all_test_dataloader(), verbose=False)
    trainer().test(module, data.all_test_dataloader(), verbose=False)
    assert torch.equal(tested.errors(), module.figures("test")["test/error"])
    assert sum(data.all_test_dataloader().sizes) == 5000
