"""Ensembles and restarts: several trainings behind one reported run.

An ensemble averages its members; of restarts the best one is selected. The members of a run have its pairs,
and everything else (initialisation, order, warps, dropout) of their own. The training loss alone selects the
best restart: no validation pair is looked at, and in `weight_sharing` no digit label. A restart that
diverged is never the best. Only where all of them diverged, one of them stands for the run, which then counts
as diverged. An ensemble with a member that diverged counts as diverged too: the average of fewer members is
another estimator.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.command.limits import check_range
from lightning_modules.models.base import PairModule
from lightning_modules.models.batches import Batch, as_batch
from lightning_modules.models.settings import MOST_MEMBERS
from lightning_modules.networks.heads import PosteriorHead, compare
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.layers import wide
from lightning_modules.replicas.metrics import MetricsModule
from lightning_modules.replicas.seeding import derive_seed
from lightning_modules.results.metrics import Answers
from lightning_modules.results.runs import OVER_PAIRS, measure


@dataclass(frozen=True)
class Ensembling:
    """How many trainings stand behind one run."""

    ensemble: int = 1  # members that are averaged
    restarts: int = 1  # trainings for each of these members, of which the best is selected

    def __post_init__(self) -> None:
        """Refuse numbers out of range by a ValueError."""
        for name, value in (("ensemble", self.ensemble), ("restarts", self.restarts)):
            check_range(name, value, 1, MOST_MEMBERS)

    @property
    def size(self) -> int:
        """Number of trainings of a run."""
        return self.ensemble * self.restarts

    def seeds(self, seed: int) -> list[int]:
        """The seeds of a run's members: the first is the run's own, so that a single member is the plain run.

        Args:
            seed: Seed of the run.
        """
        return [seed, *(derive_seed(seed, f"member {number}") for number in range(1, self.size))]

    def select(self, losses: Tensor, sound: Sequence[bool] | None = None) -> Tensor:
        """Select the best restarts.

        Args:
            losses: (R * size,), training losses of the members of R runs.
            sound: R * size answers, whether a member did not diverge; by default where its loss is finite.

        Returns:
            (R, ensemble), numbers of members.
        """
        lost = ~losses.isfinite()
        if sound is not None:
            lost |= ~torch.tensor(sound, device=losses.device)
        grouped = losses.masked_fill(lost, torch.inf).view(-1, self.ensemble, self.restarts)
        first = torch.arange(len(losses), device=losses.device).view(grouped.shape)[..., 0]
        return first + grouped.argmin(-1)


SINGLE = Ensembling()


class EnsembleTest(MetricsModule):
    """Tests the selected members of each run as one."""

    def __init__(self, module: PairModule, selected: Tensor) -> None:
        """Wrap the members.

        Args:
            module: R * size replicas, trained.
            selected: (R, ensemble), the replicas that stand for each run.
        """
        super().__init__(len(selected), OVER_PAIRS)
        self.module, self.selected = module, selected

    def pairs_of_runs(self, batch: Batch) -> Batch:
        """One member's part of a batch for each run: all members of a run have the same pairs.

        Args:
            batch: Of R * size replicas.

        Returns:
            Of R runs.

        Raises:
            ValueError: A part is missing, or has another shape or type.
        """
        labelled = self.module.has_digit_heads
        images, target, classes = as_batch(batch, len(self.module.seeds), labelled)
        first = self.selected[:, 0]
        own = images.unflatten(1, (-1, 2))[:, first].flatten(1, 2)
        return own, target[:, first], None if classes is None else classes[:, first]

    def answer(self, batch: Batch) -> Outputs:
        """The runs' outputs for the N pairs of a batch, (N, R, ...)."""
        return average(self.module(batch[0]), self.selected, self.module)

    def count_errors(self, outputs: Outputs, batch: Batch) -> None:
        """Count the errors of a batch."""
        _, target, classes = self.pairs_of_runs(batch)
        digits = outputs.digits if self.module.has_digit_heads else None
        self.count("test", measure("test", Answers(outputs.pair, target, digits, classes)))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2)."""
        outputs = self.answer(batch)
        self.count_errors(outputs, batch)
        return outputs.pair


def average(outputs: Outputs, selected: Tensor, module: PairModule) -> Outputs:
    """Average the probabilities of members.

    They are the posteriors of the digits where labels train these and the head compares by posteriors alone,
    else the probabilities of the comparison.

    Args:
        outputs: Of all members, for N pairs.
        selected: (R, E), the members that stand for each run.
        module: The members.

    Returns:
        Logarithms of the averages, (N, R, ...); of single members their logits.
    """
    if selected.shape[1] == 1:
        only = selected[:, 0]
        return Outputs(outputs.pair[:, only], None if outputs.digits is None else outputs.digits[:, only])

    def mean(logits: Tensor) -> Tensor:
        every = wide(logits)[:, selected.flatten()].unflatten(1, selected.shape)  # (N, R, E, ...)
        return every.softmax(-1).mean(2).log()

    if outputs.digits is None or not module.has_digit_heads:
        return Outputs(mean(outputs.pair))
    digits = mean(outputs.digits)
    head = module.network.net.head
    is_posterior = isinstance(head, PosteriorHead)
    return Outputs(compare(head.posteriors(digits)) if is_posterior else mean(outputs.pair), digits)
