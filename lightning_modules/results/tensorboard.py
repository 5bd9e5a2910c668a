"""One TensorBoard run for R replicas: TensorBoard does not aggregate runs, so we write mean and band.

They are of the replicas whose metrics are all finite: one that diverged does not change the others' curve.
Tags are ``val/error`` (mean over replicas), ``val/error_low`` and ``val/error_high`` (mean -+ one standard
deviation), and so on; x is the optimiser step. A custom-scalars layout shows them as bands. Both halves of
the project log through this, whatever trains the replicas.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from lightning_modules.command.interrupts import interrupts_wait

FLUSH = 5  # seconds after which dashboards and reports can see what was logged


@dataclass(frozen=True)
class EpochMetrics:
    """Figures of one epoch."""

    epoch: int
    step: int  # optimiser steps so far
    values: dict[str, list[float]]  # tag to one value a replica


class StudyLog:
    """Gathers the metrics of replicas that may train in several processes, and logs each whole epoch."""

    def __init__(self, folder: Path, replicas: int, anew: bool = False) -> None:
        """Open the event file.

        Args:
            folder: Where to write.
            replicas: Number of replicas to wait for.
            anew: Whether to write in place of event files that an interrupted program left.
        """
        self.folder = folder
        for torn in folder.glob("events.out.tfevents.*") if anew else ():
            torn.unlink()
        # The step from which on a dashboard that is open forgets what it read of them.
        with self._writing():
            self.writer = SummaryWriter(str(folder), purge_step=0 if anew else None, flush_secs=FLUSH)
        self.replicas = replicas
        self.epochs: dict[int, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        self.has_layout = False
        self.step = 0

    def add(self, first: int, figures: EpochMetrics) -> None:
        """Take in the figures of some replicas; log the epoch once all have reported.

        Args:
            first: Number of the first of these replicas.
            figures: Their figures.
        """
        epoch = self.epochs[figures.epoch]
        for tag, values in figures.values.items():
            epoch[tag].update(enumerate(values, first))
        if all(len(values) == self.replicas for values in epoch.values()):
            with self._writing():
                self._log(self.epochs.pop(figures.epoch), figures.step)

    def add_runs(self, values: Mapping[str, Sequence[float]]) -> None:
        """Log metrics of runs at the latest step: a run of several replicas has one value.

        Args:
            values: Tag to one value a run.
        """
        with self._writing():
            self._log({tag: dict(enumerate(numbers)) for tag, numbers in values.items()}, self.step)

    def finish(
        self, hparams: Mapping[str, Any], metrics: Mapping[str, float], figures: Mapping[str, Figure]
    ) -> None:
        """Log what is known at the end, once, and close.

        Args:
            hparams: Hyperparameters, the same keys in every run (else the dashboard shows the first run's).
            metrics: Final metrics, the same keys in every run.
            figures: Tag to picture.
        """
        with self._writing():
            for tag, figure in figures.items():
                self.writer.add_figure(tag, figure, self.step)
            # Not add_hparams: that makes a run of its own below this one.
            for summary in hparams_summaries(dict(hparams), dict(metrics)):
                self.writer._get_file_writer().add_summary(summary)
            for tag, value in metrics.items():
                self.writer.add_scalar(tag, value, self.step)
        self.close()

    def close(self) -> None:
        """Write what is left to write."""
        with self._writing():
            self.writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """TensorBoard writes in a thread, whose error comes up later and does not say which file it is of.

        Ctrl-C waits: between an entry in that thread's queue and the call that wakes it, it would leave the
        thread asleep, and `close` waiting for it for up to two minutes.
        """
        try:
            with interrupts_wait():
                yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.folder)) from error

    def _log(self, epoch: Mapping[str, Mapping[int, float]], step: int) -> None:
        self.step = step
        if not self.has_layout:
            self._add_layout(list(epoch))
        every = [item for values in epoch.values() for item in values.items()]
        lost = {replica for replica, value in every if not math.isfinite(value)}
        for tag, values in epoch.items():
            # of none: NaN, so that the dashboard shows that something was measured
            sound = [value for replica, value in values.items() if replica not in lost] or [math.nan]
            deviation, average = torch.std_mean(torch.tensor(sound), correction=int(len(sound) > 1))
            scalars = {tag: average, f"{tag}_low": average - deviation, f"{tag}_high": average + deviation}
            for name, value in scalars.items():
                self.writer.add_scalar(name, value.item(), step)

    def _add_layout(self, tags: list[str]) -> None:
        charts = {tag: ["Margin", [tag, f"{tag}_low", f"{tag}_high"]] for tag in tags}
        self.writer.add_custom_scalars({"mean and standard deviation": charts})
        self.has_layout = True
