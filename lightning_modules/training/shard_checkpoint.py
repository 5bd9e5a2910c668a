"""A program of a study in one file, from which it goes on: what it had reached, or what came out of it.

The file is replaced as a whole: after some of the epochs by all that the Trainer needs to go on, at the end
by the final weights and what was measured. Batch orders, dropout and warps are functions of seed, epoch and
step, so that a program which goes on after an epoch does, to the bit, what it would have done.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from lightning_modules.results.tensorboard import EpochFigures

OWNER, FIGURES, RUNS, MISTAKES = "owner", "figures", "runs", "mistakes"
ENTRIES = (OWNER, FIGURES, RUNS, MISTAKES)  # ours, beside Lightning's


@dataclass(frozen=True)
class Reached:
    """How far a program has come."""

    figures: Sequence[EpochFigures] = ()
    fit: Fit | None = None  # None: it has epochs to go
    started: bool = False  # whether there is a file to go on from


@dataclass(frozen=True)
class ProgramFile:
    """The file of a program."""

    path: Path
    owner: Mapping[str, Any]  # which runs of which study: another program's file is refused

    def read(self) -> Reached:
        """How far the program has come.

        Raises:
            CommandError: The file is torn, damaged or of another program.
        """
        if not self.path.exists():
            return Reached()
        advice = "remove it to train its runs from their start"
        try:
            content = read_checkpoint(self.path)
            owner = content[OWNER]
            figures = [EpochFigures(**epoch) for epoch in content[FIGURES]]
            fit = _to_fit(content) if RUNS in content else None
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{self.path} is no checkpoint of runs, or damaged: {error}; {advice}"
            ) from error
        if owner != dict(self.owner):
            raise CommandError(f"{self.path} is a checkpoint of other runs, {owner}; {advice}")
        return Reached(figures, fit, started=True)

    def keep_state(self, trainer: pl.Trainer, figures: Sequence[EpochFigures]) -> None:
        """Keep what a running fit has reached at the end of an epoch.

        Args:
            trainer: Fits.
            figures: Of all epochs so far.
        """
        entries = {OWNER: dict(self.owner), FIGURES: [asdict(epoch) for epoch in figures]}
        trainer.save_checkpoint(self.path, weights_only=False, storage_options=entries)

    def keep_fit(self, trainer: pl.Trainer, figures: Sequence[EpochFigures], fit: Fit, ensemble: int) -> None:
        """Keep the final weights and what came out.

        Args:
            trainer: Has fitted.
            figures: Of all epochs.
            fit: What came out.
            ensemble: Nets that are averaged for one run.
        """
        entries = {
            OWNER: dict(self.owner),
            FIGURES: [asdict(epoch) for epoch in figures],
            RUNS: [asdict(run) for run in fit.runs],
            MISTAKES: {name: torch.from_numpy(part) for name, part in asdict(fit.mistakes).items()}
            if fit.mistakes
            else None,
            ENSEMBLE: ensemble,
        }
        trainer.save_checkpoint(self.path, weights_only=True, storage_options=entries)


def _to_fit(content: Mapping[str, Any]) -> Fit:
    parts = content[MISTAKES]
    mistakes = Mistakes(**{name: part.numpy() for name, part in parts.items()}) if parts else None
    return Fit([Run(**run) for run in content[RUNS]], mistakes)


class KeepState(pl.Callback):
    """Keeps what a fit has reached, now and then, at the end of an epoch, but the last."""

    def __init__(self, file: ProgramFile, figures: Sequence[EpochFigures], every: float) -> None:
        """Start the clock.

        Args:
            file: Where to keep it.
            figures: Grows by an epoch's before this callback is called.
            every: Seconds between two times, at least.
        """
        self.file, self.figures, self.every = file, figures, every
        self.latest = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep it, if it is time."""
        if time.monotonic() < self.latest + self.every or trainer.current_epoch + 1 == trainer.max_epochs:
            return
        with suppress(OSError, RuntimeError):  # a full disk costs what was done since the last time, at most
            self.file.keep_state(trainer, self.figures)
        self.latest = time.monotonic()
