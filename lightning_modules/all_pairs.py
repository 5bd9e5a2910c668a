"""The error over all pairs of test digits: what a run's test pairs estimate, without their sampling noise.

Where the comparison follows from two digits' posteriors, each digit is read once and all pairs of two
different digits are compared; a net that must see both digits at once is tested on a pairing of all digits.
"""

import torch
from torch import Tensor

from lightning_modules.comparison import Batch
from lightning_modules.heads import POSTERIOR_HEADS, SMALLEST
from lightning_modules.teams import TeamTest

ROWS = 500  # first digits that are compared with all at once


class AllPairsTest(TeamTest):
    """Tests each run on all test digits."""

    def on_test_epoch_start(self) -> None:
        """Start the metrics and forget the digits."""
        super().on_test_epoch_start()
        self.logits: list[Tensor] = []
        self.classes: list[Tensor] = []

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors; keep what was read in each digit."""
        outputs = self.answer(batch)
        self.count(outputs, batch)
        if outputs.digits is not None and isinstance(self.module.network.head, POSTERIOR_HEADS):
            self.logits.append(outputs.digits.detach().movedim(2, 1).flatten(0, 1))  # (2N, R, C)
            self.classes.append(batch[2][:, 0].flatten())  # all runs have the same pairs here
        return outputs.pair

    def errors(self) -> Tensor:
        """The error of each run, (R,)."""
        if not self.logits:
            return self.figures("test")["test/error"]
        classes, head = torch.cat(self.classes), self.module.network.head
        assert isinstance(head, POSTERIOR_HEADS)
        posteriors = head.posteriors(torch.cat(self.logits)).unbind(1)
        return torch.stack([error_of_all_pairs(posterior, classes) for posterior in posteriors])


def error_of_all_pairs(posteriors: Tensor, classes: Tensor) -> Tensor:
    """The share of ordered pairs of two different digits that are compared wrongly.

    Args:
        posteriors: (n, C), what a net reads in each digit.
        classes: (n,), the digits.

    Returns:
        The share, a scalar.
    """
    wrong, n = torch.zeros((), dtype=torch.int64, device=classes.device), len(classes)
    mirrored = posteriors.cumsum(-1) - posteriors  # P(class < j)
    for first, label in zip(posteriors.split(ROWS), classes.split(ROWS), strict=True):
        at_most = first.cumsum(-1) @ posteriors.T  # (ROWS, n)
        greater = first @ mirrored.T
        said = at_most.clamp(min=SMALLEST) > greater.clamp(min=SMALLEST)
        wrong += (said != (label.unsqueeze(1) <= classes)).sum()
    # A digit compared with itself is no pair; where it is said to be greater than itself it was counted.
    itself = (posteriors.cumsum(-1) * posteriors).sum(-1) <= (posteriors * mirrored).sum(-1)
    return (wrong - itself.sum()) / (n * (n - 1))
