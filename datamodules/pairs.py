"""Pairs of digits, kept by index: which two digits, and whether the first is at most the second.

The draws are those of the course's ``generate_pair_sets`` (EPFL EE-559, project 1), seed for seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from datamodules.arguments import whole
from datamodules.mnist import Digits, load_digits


@dataclass(frozen=True)
class PairSet:
    """N pairs for each of R replicas, 11 bytes a pair: a million of them cost megabytes.

    Images are looked up when a batch is made.
    """

    index: Tensor  # (N, R, 2) int32, positions in the split's digits
    classes: Tensor  # (N, R, 2) uint8, the two digits
    target: Tensor  # (N, R) bool, first digit <= second

    def __len__(self) -> int:
        return len(self.index)

    def take(self, order: Tensor) -> "PairSet":
        """Reorder the pairs of every replica; column r of order (N, R) is replica r's."""
        pairwise = order.unsqueeze(-1).expand(-1, -1, 2)  # (N, R, 2)
        return PairSet(
            self.index.gather(0, pairwise), self.classes.gather(0, pairwise), self.target.gather(0, order)
        )

    def select(self, kept: Sequence[int]) -> "PairSet":
        """The pairs of some replicas."""
        return PairSet(*(part[:, list(kept)] for part in (self.index, self.classes, self.target)))

    @classmethod
    def of(cls, index: list[Tensor], digits: Digits) -> "PairSet":
        """Label the pairs of R replicas, R tensors (N, 2) of positions in ``digits``."""
        pairs = torch.stack(index, 1).to(digits.labels.device)  # (N, R, 2)
        classes = digits.labels[pairs]
        return cls(pairs.int(), classes.to(torch.uint8), classes[..., 0] <= classes[..., 1])


class Splits(NamedTuple):
    """Train, validation and test pairs of one replica, each (n, 2) positions in its split's digits."""

    train: Tensor
    val: Tensor
    test: Tensor


def draw_pairs(count: int, digits: int, generator: Generator | None = None) -> Tensor:
    """Draw pairs: all digits distinct as long as there are enough, with replacement past that.

    Returns:
        (count, 2) int64. For 2 * count <= digits it is ``randperm(digits)[:2 * count].view(count, 2)``.
    """
    if 2 * count <= digits:
        return torch.randperm(digits, generator=generator)[: 2 * count].view(count, 2)
    return torch.randint(digits, (count, 2), generator=generator)


def draw_splits(counts: tuple[int, int, int], digits: tuple[int, int], seed: int) -> Splits:
    """Draw the pairs of one replica.

    Train pairs are the head of a permutation of the train digits, validation pairs the part that follows, so
    that they share no digit; test pairs come next from the same generator. Seed s therefore gives the train
    and test pairs of the course's ``generate_pair_sets`` under ``torch.manual_seed(s)``, whatever the number
    of validation pairs. When the train digits do not suffice for all of them, both are drawn with
    replacement, validation pairs from a tenth of the train digits that is then kept for them.
    """
    (train, val, test), (train_digits, test_digits) = counts, digits
    generator = Generator().manual_seed(seed)
    order = torch.randperm(train_digits, generator=generator)
    if 2 * (train + val) <= train_digits:
        pairs = order[: 2 * (train + val)].view(-1, 2)
        return Splits(pairs[:train], pairs[train:], draw_pairs(test, test_digits, generator))
    held_out = max(1, train_digits // 10) if val else 0
    train_pairs = order[held_out:][torch.randint(train_digits - held_out, (train, 2), generator=generator)]
    test_pairs = draw_pairs(test, test_digits, generator)
    val_pairs = order[:held_out][torch.randint(max(held_out, 1), (val, 2), generator=generator)]
    return Splits(train_pairs, val_pairs, test_pairs)


def generate_pair_sets(
    nb: int, data_dir: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The course's function of this name, on our data: draws from torch's global generator.

    Returns:
        Train input (nb, 2, 14, 14) float32, train target (nb,) int64, train classes (nb, 2) int64, then the
        same three for the test set.

    Raises:
        ValueError: ``nb`` is no whole number, or out of range.
    """
    nb, splits = whole("nb", nb), load_digits(data_dir)
    most = min(len(digits) for digits in splits) // 2
    if not 1 <= nb <= most:
        raise ValueError(f"nb must lie in 1..{most} (every digit at most once), got {nb}")
    (train, test) = (_course_set(draw_pairs(nb, len(digits)), digits) for digits in splits)
    return *train, *test


def _course_set(pairs: Tensor, digits: Digits) -> tuple[Tensor, Tensor, Tensor]:
    classes = digits.labels[pairs]
    return digits.images[pairs], (classes[:, 0] <= classes[:, 1]).long(), classes
