"""Checkpoint of one shard: training state while it runs, results once it is done.

A shard is the part of a study's runs that one program trains. Its file is replaced as a whole: after an epoch
by all that the Trainer needs to go on, at the end by the final weights and the results. Batch orders, dropout
and warps are functions of seed, epoch and step. So a shard that is resumed after an epoch computes, to the
bit, what it would have computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_modules.command.cli import CommandError
from lightning_modules.evaluation.evaluate import Fit
from lightning_modules.evaluation.mistakes import Mistakes
from lightning_modules.replicas.checkpoints import ENSEMBLE, read_checkpoint
from lightning_modules.results.runs import Run
from lightning_modules.results.tensorboard import EpochMetrics

OWNER, METRICS, RUNS, MISTAKES = "owner", "metrics", "runs", "mistakes"
ENTRIES = (OWNER, METRICS, RUNS, MISTAKES)  # ours, beside Lightning's


@dataclass(frozen=True)
class ShardState:
    """How far the training of a shard has come."""

    metrics: Sequence[EpochMetrics] = ()  # of the epochs that are done
    fit: Fit | None = None  # its results; None while there are epochs left
    started: bool = False  # whether there is a file to go on from


@dataclass(frozen=True)
class ShardCheckpoint:
    """The file of a shard."""

    path: Path
    owner: Mapping[str, Any]  # study and seeds: the file of another shard is refused

    def read(self) -> ShardState:
        """Read how far the shard has come.

        Raises:
            CommandError: The file is torn, damaged or of another shard.
        """
        if not self.path.exists():
            return ShardState()
        advice = "remove it to train its runs from their start"
        try:
            content = read_checkpoint(self.path)
            owner = content[OWNER]
            metrics = [EpochMetrics(**epoch) for epoch in content[METRICS]]
            fit = _to_fit(content) if RUNS in content else None
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{self.path} is no checkpoint of runs, or damaged: {error}; {advice}"
            ) from error
        if owner != dict(self.owner):
            raise CommandError(f"{self.path} is a checkpoint of other runs, {owner}; {advice}")
        return ShardState(metrics, fit, started=True)

    def save_state(self, trainer: pl.Trainer, metrics: Sequence[EpochMetrics]) -> None:
        """Save the state of a running fit, at the end of an epoch, with the metrics of all epochs so far."""
        trainer.save_checkpoint(self.path, weights_only=False, storage_options=self._entries(metrics))

    def save_fit(self, trainer: pl.Trainer, metrics: Sequence[EpochMetrics], fit: Fit, ensemble: int) -> None:
        """Save the final weights and the results; `ensemble` nets are averaged for one run."""
        mistakes = (
            {name: torch.from_numpy(part) for name, part in asdict(fit.mistakes).items()}
            if fit.mistakes
            else None
        )
        entries = self._entries(metrics) | {
            RUNS: [asdict(run) for run in fit.runs],
            MISTAKES: mistakes,
            ENSEMBLE: ensemble,
        }
        trainer.save_checkpoint(self.path, weights_only=True, storage_options=entries)

    def _entries(self, metrics: Sequence[EpochMetrics]) -> dict[str, Any]:
        return {OWNER: dict(self.owner), METRICS: [asdict(epoch) for epoch in metrics]}


def _to_fit(content: Mapping[str, Any]) -> Fit:
    parts = content[MISTAKES]
    mistakes = Mistakes(**{name: part.numpy() for name, part in parts.items()}) if parts else None
    return Fit([Run(**run) for run in content[RUNS]], mistakes)
