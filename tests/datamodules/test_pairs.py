"""Pairs are the course's, seed for seed, and splits share no digit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules import Digits, PairSet, generate_pair_sets, load_digits
from datamodules.pairs import draw_pairs, draw_splits


def course_pairs(nb: int, digits: Digits) -> tuple[Tensor, Tensor, Tensor]:
    """The course's ``mnist_to_pairs``, after its pooling (EE-559, project 1, dlc_practical_prologue)."""
    images = digits.images.unsqueeze(1)
    a = torch.randperm(images.size(0))
    a = a[: 2 * nb].view(nb, 2)
    inputs = torch.cat((images[a[:, 0]], images[a[:, 1]]), 1)
    classes = digits.labels[a]
    target = (classes[:, 0] <= classes[:, 1]).long()
    return inputs, target, classes


@pytest.mark.parametrize(("seed", "nb"), [(0, 1000), (7, 1), (123, 5000)])
def test_generate_pair_sets_is_the_courses(seed: int, nb: int) -> None:
    torch.manual_seed(seed)
    theirs = [part for digits in load_digits() for part in course_pairs(nb, digits)]
    torch.manual_seed(seed)
    ours = generate_pair_sets(nb)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
        assert mine.dtype == other.dtype


def test_generate_pair_sets_takes_whole_numbers_of_any_library_and_no_others() -> None:
    assert len(generate_pair_sets(np.int64(3))[0]) == 3  # type: ignore[arg-type]
    for nb in (1e2, "100", True):
        with pytest.raises(ValueError, match="nb must be a whole number"):
            generate_pair_sets(nb)  # type: ignore[arg-type]


@pytest.mark.parametrize("nb", [0, -1, 5001])
def test_generate_pair_sets_names_the_range(nb: int) -> None:
    with pytest.raises(ValueError, match=r"nb must lie in 1\.\.5000"):
        generate_pair_sets(nb)


counts = st.integers(1, 200)


@settings(max_examples=60)
@given(train=counts, val=st.integers(0, 200), test=counts, seed=st.integers(0, 2**32 - 1))
def test_splits_share_no_train_digit_and_keep_their_sizes(train: int, val: int, test: int, seed: int) -> None:
    splits = draw_splits((train, val, test), (300, 200), seed)
    assert [len(split) for split in splits] == [train, val, test]
    assert not set(splits.train.flatten().tolist()) & set(splits.val.flatten().tolist())
    assert splits.train.max() < 300
    assert splits.test.max() < 200
    if 2 * (train + val) <= 300:
        assert len({*splits.train.flatten().tolist(), *splits.val.flatten().tolist()}) == 2 * (train + val)
    if 2 * test <= 200:
        assert len(set(splits.test.flatten().tolist())) == 2 * test


@pytest.mark.parametrize("val", [0, 100, 29_000])
def test_seed_s_gives_the_courses_pairs_whatever_the_number_of_validation_pairs(val: int) -> None:
    splits = draw_splits((1000, val, 1000), (60_000, 10_000), 5)
    torch.manual_seed(5)
    assert torch.equal(splits.train, torch.randperm(60_000)[:2000].view(1000, 2))
    assert torch.equal(splits.test, torch.randperm(10_000)[:2000].view(1000, 2))


def test_a_handful_of_digits_still_gives_all_three_sets() -> None:
    splits = draw_splits((4, 3, 5), (5, 3), 0)
    assert not set(splits.train.flatten().tolist()) & set(splits.val.flatten().tolist())


def test_past_the_distinct_digits_pairs_are_drawn_with_replacement() -> None:
    pairs = draw_pairs(100_000, 60_000, torch.Generator().manual_seed(0))
    assert pairs.shape == (100_000, 2)
    assert len(pairs.unique()) == pytest.approx(60_000 * (1 - 2.718281828 ** (-200_000 / 60_000)), rel=0.01)


def test_pairs_are_labelled_and_reordered_together() -> None:
    digits, _ = load_digits()
    splits = [draw_splits((50, 0, 1), (60_000, 10_000), seed) for seed in (3, 4)]
    pairs = PairSet.of([split.train for split in splits], digits)
    assert torch.equal(pairs.target, pairs.classes[..., 0] <= pairs.classes[..., 1])
    order = torch.stack([torch.randperm(50), torch.randperm(50)], 1)
    shuffled = pairs.take(order)
    for replica in range(2):
        rows = order[:, replica]
        assert torch.equal(shuffled.index[:, replica], pairs.index[rows, replica])
        assert torch.equal(
            shuffled.classes[:, replica].long(), digits.labels[shuffled.index[:, replica].long()]
        )
        assert torch.equal(shuffled.target[:, replica], pairs.target[rows, replica])


def test_a_million_pairs_cost_megabytes() -> None:
    digits, _ = load_digits()
    pairs = PairSet.of([draw_pairs(1_000_000, len(digits))], digits)
    size = sum(t.numel() * t.element_size() for t in (pairs.index, pairs.classes, pairs.target))
    assert size == 11_000_000
