"""One TensorBoard run for R replicas: TensorBoard does not aggregate runs, so we write mean and band.

They are of the replicas whose metrics are all finite: one that diverged does not change the others' curve.
Tags are ``val/error`` (mean over replicas) and so on; x is the optimiser step. A dashboard shows tags by the
alphabet, in groups by their first word, of which it opens two. So curves are ``train/...`` and ``val/...``.
What has one point, such as ``test/error``, comes after them, as ``when_trained/test_error``. The ends of the
bands (mean -+ one standard deviation) come last, as ``zone/val/error_low`` and ``zone/val/error_high``; a
layout for custom scalars draws them. Both halves of the project log through this, whatever trains the
replicas.
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
from tensorboard.plugins.hparams.api_pb2 import DATA_TYPE_FLOAT64, HParamInfo
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from lightning_modules.command.interrupts import interrupts_wait

CURVES = ("train", "val")
# Hyperparameters that are shown first.
LEADING = ("model", "recipe", "runs", "train_pairs", "train_points", "train_size")
FLUSH = 5  # seconds after which dashboards and reports can see what was logged


@dataclass(frozen=True)
class EpochMetrics:
    """Figures of one epoch."""

    epoch: int
    step: int  # optimiser steps so far
    values: dict[str, list[float]]  # tag to one value a replica
    posteriors: str = ""  # of test digits as the epoch began, in the first replica, where that was noted


def place(tag: str) -> str:
    """Where a dashboard shows a tag, such as ``test/error``: what has one point does not lead."""
    return tag if tag.partition("/")[0] in CURVES else f"when_trained/{tag.replace('/', '_')}"


def band(tag: str) -> tuple[str, str]:
    """The tags of the ends of a tag's band, one standard deviation below and above its mean."""
    return f"zone/{place(tag)}_low", f"zone/{place(tag)}_high"


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
        with self.writing():
            self.writer = SummaryWriter(str(folder), purge_step=0 if anew else None, flush_secs=FLUSH)
        self.replicas = replicas
        self.epochs: dict[int, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        self.logged: set[str] = set()
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
            with self.writing():
                self._log(self.epochs.pop(figures.epoch), figures.step)

    def add_runs(self, values: Mapping[str, Sequence[float]]) -> None:
        """Log metrics of runs at the latest step: a run of several replicas has one value.

        Args:
            values: Tag to one value a run.
        """
        with self.writing():
            self._log({tag: dict(enumerate(numbers)) for tag, numbers in values.items()}, self.step)

    def finish(
        self, hparams: Mapping[str, Any], metrics: Mapping[str, float], figures: Mapping[str, Figure]
    ) -> None:
        """Log what is known at the end, once, and close.

        Args:
            hparams: Hyperparameters, the same keys in every run (else the dashboard shows the first run's);
                None where a run has no such one.
            metrics: Final metrics by tag, the same in every run.
            figures: Tag to picture.
        """
        placed = {place(tag): value for tag, value in metrics.items()}
        with self.writing():
            for tag, figure in figures.items():
                self.writer.add_figure(place(tag), figure, self.step)
            # Not add_hparams: that makes a run of its own below this one.
            for summary in _hparams_summaries(hparams, placed):
                self.writer._get_file_writer().add_summary(summary)
            for tag in placed.keys() - self.logged:
                self.writer.add_scalar(tag, placed[tag], self.step)
        self.close()

    def close(self) -> None:
        """Write what is left to write."""
        with self.writing():
            self.writer.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For whatever `writer` writes: its errors name the folder.

        TensorBoard writes in a thread, whose error comes up later and does not say which file it is of.

        Ctrl-C waits: between an entry in that thread's queue and the call that wakes it, it would leave the
        thread asleep, and `close` waiting for it until its next flush.
        """
        try:
            with interrupts_wait():
                yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self.folder)) from error

    def _log(self, epoch: Mapping[str, Mapping[int, float]], step: int) -> None:
        self.step = step
        if not self.logged:
            self._add_layout(list(epoch))
        every = [item for values in epoch.values() for item in values.items()]
        lost = {replica for replica, value in every if not math.isfinite(value)}
        for tag, values in epoch.items():
            # of none: NaN, so that the dashboard shows that something was measured
            sound = [value for replica, value in values.items() if replica not in lost] or [math.nan]
            deviation, average = torch.std_mean(torch.tensor(sound), correction=int(len(sound) > 1))
            ends = zip(band(tag), (average - deviation, average + deviation), strict=True)
            for name, value in ((place(tag), average), *ends):
                self.writer.add_scalar(name, value.item(), step)
            self.logged.add(place(tag))

    def _add_layout(self, tags: list[str]) -> None:
        charts = {tag: ["Margin", [place(tag), *band(tag)]] for tag in tags}
        self.writer.add_custom_scalars({"mean and standard deviation": charts})


def _hparams_summaries(hparams: Mapping[str, Any], metrics: Mapping[str, float]) -> list[Any]:
    """Those of torch, with a column for what this run does not have, and the leading ones marked.

    A dashboard shows at first five columns: those marked as different between runs, then by the alphabet.
    """
    experiment, *session = hparams_summaries(dict(hparams), dict(metrics))
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    missing = [name for name, value in hparams.items() if value is None]
    infos = content.experiment.hparam_infos
    infos.extend(HParamInfo(name=name, type=DATA_TYPE_FLOAT64) for name in missing)
    for info in infos:
        info.differs = info.name in LEADING
    plugin.content = content.SerializeToString()
    return [experiment, *session]
