"""The LightningDataModule."""

from typing import Any

import pytest
import torch

from datamodules import DigitPairs, generate_pair_sets


def test_seed_s_serves_what_the_courses_function_gives_under_manual_seed_s() -> None:
    data = DigitPairs(train_pairs=100, test_pairs=100, seed=[11, 12], batch_size=100)
    data.setup()
    (images, target, classes), *more = data.test_dataloader()
    assert not more
    for replica, seed in enumerate((11, 12)):
        torch.manual_seed(seed)
        train_input, train_target, _, test_input, test_target, test_classes = generate_pair_sets(100)
        assert torch.equal(images[:, 2 * replica : 2 * replica + 2], test_input)
        assert torch.equal(target[:, replica], test_target)
        assert torch.equal(classes[:, replica], test_classes)
        assert torch.equal(data.train_set.target[:, replica].long(), train_target)
        assert torch.equal(data.train_digits.images[data.train_set.index[:, replica].long()], train_input)


def test_validation_pairs_are_train_digits_that_training_does_not_use() -> None:
    data = DigitPairs(train_pairs=20_000, val_pairs=10_000, seed=[1, 2])
    data.setup()
    for replica in range(2):
        train, val = data.train_set.index[:, replica].flatten(), data.val_set.index[:, replica].flatten()
        assert len(torch.cat([train, val]).unique()) == 60_000


def test_without_validation_pairs_there_is_no_validation_loader() -> None:
    data = DigitPairs(val_pairs=0)
    data.setup()
    assert data.val_dataloader() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_pairs": 1}, "train_pairs must be at least 2, got 1"),
        ({"val_pairs": -1}, "val_pairs must be at least 0, got -1"),
        ({"test_pairs": 0}, "test_pairs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"seed": []}, "the number of seeds must be at least 1, got 0"),
        ({"seed": [3, -2]}, "seed must be at least 0, got -2"),
        ({"seed": 2**32}, r"seed must be below 2\*\*32"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitPairs(**arguments)


def test_a_last_batch_of_one_pair_is_refused_because_batch_norm_cannot_train_on_it() -> None:
    data = DigitPairs(train_pairs=101, batch_size=50)
    data.setup()
    with pytest.raises(ValueError, match="train_pairs = 101 in steps of batch_size = 50"):
        data.train_dataloader()


def test_pairs_that_are_not_drawn_yet_are_asked_for_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"call setup\(\) first"):
        DigitPairs().train_dataloader()
