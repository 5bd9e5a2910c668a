"""Several trainings for one run: an ensemble that averages them, restarts of which the best is taken.

The members of a run have its pairs, and everything else (initialisation, order, warps, dropout) of their own.
Which restart is best is told by the training loss alone: no validation pair, and in `weight_sharing` no digit
label, is looked at. A restart that diverged is never the best; only where all of them diverged one stands for
the run, which then counts as diverged. An ensemble with a member that diverged counts as diverged too: the
average of fewer members is another estimator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules.command.limits import check_range
from lightning_modules.models.base import Comparison
from lightning_modules.models.batches import Batch, as_batch
from lightning_modules.networks.heads import PosteriorHead
from lightning_modules.networks.pairs import Outputs
from lightning_modules.replicas.layers import wide
from lightning_modules.replicas.metrics import ReplicaMean
from lightning_modules.replicas.seeding import derive_seed

MOST_MEMBERS = 1000  # of a team, averaged or chosen from


@dataclass(frozen=True)
class Team:
    """How many trainings stand for one run, and how."""

    ensemble: int = 1  # are averaged
    restarts: int = 1  # of each, the best is taken

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: A number is out of range.
        """
        for name, value in (("ensemble", self.ensemble), ("restarts", self.restarts)):
            check_range(name, value, 1, MOST_MEMBERS)

    @property
    def size(self) -> int:
        """Trainings of a run."""
        return self.ensemble * self.restarts

    def seeds(self, seed: int) -> list[int]:
        """The members' seeds: the first is the run's own, so that a team of one is the plain run.

        Args:
            seed: Seed of the run.
        """
        return [seed, *(derive_seed(seed, f"member {number}") for number in range(1, self.size))]

    def choose(self, losses: Tensor, sound: Sequence[bool] | None = None) -> Tensor:
        """Take the best restarts.

        Args:
            losses: (R * size,), training losses of the members of R runs.
            sound: R * size answers, whether a member did not diverge; by default all whose loss is finite.

        Returns:
            (R, ensemble), numbers of members.
        """
        lost = ~losses.isfinite()
        if sound is not None:
            lost |= ~torch.tensor(sound, device=losses.device)
        grouped = losses.masked_fill(lost, torch.inf).view(-1, self.ensemble, self.restarts)
        first = torch.arange(len(losses), device=losses.device).view(grouped.shape)[..., 0]
        return first + grouped.argmin(-1)


ALONE = Team()


class TeamTest(pl.LightningModule):
    """Tests the chosen members of each run as one."""

    def __init__(self, module: Comparison, chosen: Tensor) -> None:
        """Keep the members.

        Args:
            module: R * size replicas, trained.
            chosen: (R, ensemble), the replicas that count.
        """
        super().__init__()
        self.module, self.chosen = module, chosen
        names = ["test/error"] + ["test/digit_error"] * module.has_digit_heads
        self.metrics = nn.ModuleDict({name: ReplicaMean(len(chosen)) for name in names})

    def on_test_epoch_start(self) -> None:
        """Start the metrics."""
        for metric in self.metrics.values():
            cast("ReplicaMean", metric).reset()

    def pairs_of_runs(self, batch: Batch) -> Batch:
        """A batch without the replica dimension's repetitions: all members of a run have the same pairs.

        Args:
            batch: Of R * size members.

        Returns:
            Of R runs.

        Raises:
            ValueError: A part is missing, or has another shape or type.
        """
        labelled = self.module.has_digit_heads
        images, target, classes = as_batch(batch, len(self.module.seeds), labelled)
        first = self.chosen[:, 0]
        own = images.unflatten(1, (-1, 2))[:, first].flatten(1, 2)
        return own, target[:, first], None if classes is None else classes[:, first]

    def answer(self, batch: Batch) -> Outputs:
        """What the runs say of a batch's N pairs, (N, R, ...)."""
        return average(self.module(batch[0]), self.chosen, self.module)

    def count(self, outputs: Outputs, batch: Batch) -> None:
        """Count the errors of a batch."""
        _, target, classes = self.pairs_of_runs(batch)
        values = {"test/error": outputs.pair.argmax(-1) != target}
        if outputs.digits is not None and classes is not None and self.module.has_digit_heads:
            wrong = outputs.digits.argmax(-1) != classes
            values["test/digit_error"] = wrong.float().mean(-1)
        for name, value in values.items():
            cast("ReplicaMean", self.metrics[name]).update(value)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2)."""
        outputs = self.answer(batch)
        self.count(outputs, batch)
        return outputs.pair

    def figures(self, stage: str) -> dict[str, Tensor]:
        """The errors of each run, (R,) by tag.

        Args:
            stage: "test".
        """
        metrics = {tag: cast("ReplicaMean", metric) for tag, metric in self.metrics.items()}
        return {tag: metric.compute().view(-1) for tag, metric in metrics.items() if tag.startswith(stage)}


def average(outputs: Outputs, chosen: Tensor, module: Comparison) -> Outputs:
    """Average the probabilities of members.

    Of nets that are told the digits these are the digits' (if the head follows from them alone), else the
    comparison's.

    Args:
        outputs: Of N pairs by all members.
        chosen: (R, E), the members that count.
        module: The members.

    Returns:
        Logarithms of the averages, (N, R, ...); of single members their logits.
    """
    if chosen.shape[1] == 1:
        only = chosen[:, 0]
        return Outputs(outputs.pair[:, only], None if outputs.digits is None else outputs.digits[:, only])

    def mean(logits: Tensor) -> Tensor:
        every = wide(logits)[:, chosen.flatten()].unflatten(1, chosen.shape)  # (N, R, E, ...)
        return every.softmax(-1).mean(2).log()

    if outputs.digits is None or not module.has_digit_heads:
        return Outputs(mean(outputs.pair))
    digits = mean(outputs.digits)
    head = module.network.head
    return Outputs(head(digits) if isinstance(head, PosteriorHead) else mean(outputs.pair), digits)


def members(settings: Sequence[Mapping[str, float]], team: Team) -> list[dict[str, float]]:
    """The settings of all members.

    Args:
        settings: A run's arguments of the module, its seed among them.
        team: How many trainings a run has.

    Returns:
        A member's arguments, run by run.
    """
    return [{**setting, "seed": seed} for setting in settings for seed in team.seeds(int(setting["seed"]))]
