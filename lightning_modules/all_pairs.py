"""The error over all pairs of test digits: what a run's test pairs estimate, without their sampling noise.

Where the comparison follows from two digits' posteriors, each digit is read once and all pairs of two
different digits are compared; with a trunk for first and one for second digits, half of the digits are first
ones, and are compared with all of the other half. A net that must see both digits at once is tested on a
pairing of all digits.
"""

import torch
from torch import Tensor

from lightning_modules.batches import Batch
from lightning_modules.branches import SeparateTrunks
from lightning_modules.heads import POSTERIOR_HEADS, SMALLEST
from lightning_modules.teams import TeamTest

ROWS = 500  # first digits that are compared with all at once


class AllPairsTest(TeamTest):
    """Tests each run on all test digits."""

    def on_test_epoch_start(self) -> None:
        """Start the metrics and forget the digits."""
        super().on_test_epoch_start()
        self.logits: list[Tensor] = []  # (N, R, 2, C) of each batch
        self.classes: list[Tensor] = []  # (N, 2)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors; keep what was read in each digit."""
        outputs = self.answer(batch)
        self.count(outputs, batch)
        if outputs.digits is not None and isinstance(self.module.network.head, POSTERIOR_HEADS):
            _, _, classes = self.pairs_of_runs(batch)
            assert classes is not None
            self.logits.append(outputs.digits.detach())
            self.classes.append(classes[:, 0])  # all runs have the same pairs here
        return outputs.pair

    def errors(self) -> Tensor:
        """The error of each run, (R,)."""
        if not self.logits:
            return self.figures("test")["test/error"]
        head = self.module.network.head
        assert isinstance(head, POSTERIOR_HEADS)
        posteriors = head.posteriors(torch.cat(self.logits)).unbind(1)  # (N, 2, C) of each run
        classes = torch.cat(self.classes)  # (N, 2)
        if isinstance(self.module.network, SeparateTrunks):
            return torch.stack([error_of_two_sides(*p.unbind(1), *classes.unbind(1)) for p in posteriors])
        return torch.stack([error_of_all_pairs(p.flatten(0, 1), classes.flatten()) for p in posteriors])


def error_of_two_sides(first: Tensor, second: Tensor, first_class: Tensor, second_class: Tensor) -> Tensor:
    """The share of pairs of a first and a second digit that are compared wrongly.

    Args:
        first: (n, C), what a net reads in first digits.
        second: (m, C), what it reads in second digits.
        first_class: (n,), the first digits.
        second_class: (m,), the second digits.

    Returns:
        The share, a scalar.
    """
    return _wrong(first, second, first_class, second_class) / (len(first) * len(second))


def error_of_all_pairs(posteriors: Tensor, classes: Tensor) -> Tensor:
    """The share of ordered pairs of two different digits that are compared wrongly.

    Args:
        posteriors: (n, C), what a net reads in each digit.
        classes: (n,), the digits.

    Returns:
        The share, a scalar.
    """
    n, mirrored = len(classes), posteriors.cumsum(-1) - posteriors  # P(class < j)
    wrong = _wrong(posteriors, posteriors, classes, classes)
    # A digit compared with itself is no pair; where it is said to be greater than itself it was counted.
    itself = (posteriors.cumsum(-1) * posteriors).sum(-1) <= (posteriors * mirrored).sum(-1)
    return (wrong - itself.sum()) / (n * (n - 1))


def _wrong(first: Tensor, second: Tensor, first_class: Tensor, second_class: Tensor) -> Tensor:
    """How many of all n * m pairs are compared wrongly."""
    wrong = torch.zeros((), dtype=torch.int64, device=first.device)
    mirrored = second.cumsum(-1) - second  # P(class < j)
    for some, label in zip(first.split(ROWS), first_class.split(ROWS), strict=True):
        at_most = some.cumsum(-1) @ second.T  # (ROWS, m)
        greater = some @ mirrored.T
        said = at_most.clamp(min=SMALLEST) > greater.clamp(min=SMALLEST)
        wrong += (said != (label.unsqueeze(1) <= second_class)).sum()
    return wrong
