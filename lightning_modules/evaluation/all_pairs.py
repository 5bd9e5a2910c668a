"""The error over all pairs of test digits, which a run's test pairs estimate with sampling noise.

Where the head compares by posteriors alone, each digit is read once (by each trunk, where first and second
digits have a trunk each), and all pairs of two different digits are compared. Other nets would have to see
each pair: they are tested on a fixed pairing of all digits. That is a sample, the same one for all runs, so
that their spread does not show its noise.
"""

import torch
from torch import Tensor

from lightning_modules.evaluation.ensembling import EnsembleTest
from lightning_modules.models.base import PairModule
from lightning_modules.models.batches import Batch
from lightning_modules.networks.heads import SMALLEST, PosteriorHead
from lightning_modules.networks.pairs import SeparateTrunks
from lightning_modules.replicas.layers import wide

ROWS = 500  # first digits that are compared with all at once


class AllPairsTest(EnsembleTest):
    """Tests each run on all test digits."""

    def __init__(self, module: PairModule, selected: Tensor) -> None:
        """Wrap the members.

        Args:
            module: R * size replicas, trained.
            selected: (R, ensemble), the replicas that stand for each run.
        """
        super().__init__(module, selected)
        self.has_posteriors = isinstance(module.network.net.head, PosteriorHead)
        # The name of `errors` in `Run`.
        self.metric = "all_test_error" if self.has_posteriors else "fixed_pairs_error"

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self.logits: list[Tensor] = []  # (N, R, 2, C) of each batch
        self.seconds: list[Tensor] = []  # the same digits as a trunk for second ones reads them
        self.classes: list[Tensor] = []  # (N, 2)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors; collect the logits of each digit."""
        outputs = self.answer(batch)
        self.count_errors(outputs, batch)
        if not self.has_posteriors:
            return outputs.pair
        _, _, classes = self.pairs_of_runs(batch)
        assert outputs.digits is not None
        assert classes is not None
        digits = outputs.digits
        if isinstance(self.module.network.net, SeparateTrunks):
            images, *labels = batch
            turned = self.answer((images.unflatten(1, (-1, 2)).flip(2).flatten(1, 2), *labels)).digits
            assert turned is not None
            self.seconds.append(torch.stack([turned[:, :, 1], digits[:, :, 1]], 2))
            digits = torch.stack([digits[:, :, 0], turned[:, :, 0]], 2)
        self.logits.append(digits)
        self.classes.append(classes[:, 0])  # all runs have the same pairs here
        return outputs.pair

    def errors(self) -> Tensor:
        """The error of each run, (R,): over all pairs, or over the fixed ones, as `metric` says."""
        if not self.has_posteriors:
            return self.epoch_metrics("test")["test/error"]
        classes = torch.cat(self.classes).flatten()  # (n,)
        firsts = self._posteriors(self.logits)
        seconds = self._posteriors(self.seconds) if self.seconds else firsts
        both = zip(firsts, seconds, strict=True)
        return torch.stack([error_of_all_pairs(first, classes, second) for first, second in both])

    def _posteriors(self, logits: list[Tensor]) -> tuple[Tensor, ...]:
        """The posteriors of the n digits, (n, C), of each run."""
        head = self.module.network.net.head
        assert isinstance(head, PosteriorHead)
        return head.posteriors(torch.cat(logits)).transpose(1, 2).flatten(0, 1).unbind(1)


def error_of_all_pairs(posteriors: Tensor, classes: Tensor, seconds: Tensor | None = None) -> Tensor:
    """The share of ordered pairs of two different digits that are compared wrongly.

    Args:
        posteriors: (n, C), of each digit.
        classes: (n,), the digits.
        seconds: (n, C), of each digit as the second of a pair; by default the same.

    Returns:
        The share, a scalar.
    """
    n, first = len(classes), wide(posteriors)
    second = first if seconds is None else wide(seconds)
    mirrored = second.cumsum(-1) - second  # P(class < j)
    wrong = torch.zeros((), dtype=torch.int64, device=first.device)
    for some, label in zip(first.split(ROWS), classes.split(ROWS), strict=True):
        predicted = _at_most(some.cumsum(-1) @ second.T, some @ mirrored.T)  # (ROWS, n)
        wrong += (predicted != (label.unsqueeze(1) <= classes)).sum()
    # A digit and itself are not a pair. With one trunk the prediction is "at most"; two trunks may err.
    itself = ~_at_most((first.cumsum(-1) * second).sum(-1), (first * mirrored).sum(-1))
    return (wrong - itself.sum()) / (n * (n - 1))


def _at_most(at_most: Tensor, greater: Tensor) -> Tensor:
    """The comparison that `compare` predicts, by the probabilities."""
    return at_most.clamp(min=SMALLEST) > greater.clamp(min=SMALLEST)
