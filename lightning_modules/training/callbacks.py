"""Lightning callbacks of a study: report the metrics of every epoch, and save a shard now and then."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import pytorch_lightning as pl

from lightning_modules.models.base import PairModule
from lightning_modules.replicas.pruning import sound_replicas
from lightning_modules.results.tensorboard import EpochMetrics
from lightning_modules.training.projector import first_posteriors, is_noted
from lightning_modules.training.shard_checkpoint import ShardCheckpoint


class ReportEpochs(pl.Callback):
    """Passes on every replica's metrics after each epoch (Lightning's loggers take one number a tag)."""

    def __init__(self, report: Callable[[EpochMetrics], None], notes_posteriors: bool = False) -> None:
        self.report = report  # called in every process
        self.notes_posteriors = notes_posteriors
        self.posteriors = ""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the first replica's posteriors, after some epochs."""
        assert isinstance(pl_module, PairModule)
        noted = self.notes_posteriors and is_noted(trainer.current_epoch)
        self.posteriors = first_posteriors(pl_module, cast("Any", trainer).datamodule) if noted else ""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect the metrics, NaN for a replica that diverged; validation has run by now."""
        assert isinstance(pl_module, PairModule)
        metrics, sound = (
            pl_module.epoch_metrics("train") | pl_module.epoch_metrics("val"),
            sound_replicas(pl_module),
        )
        values = {
            tag: [
                number if is_sound else math.nan
                for number, is_sound in zip(value.tolist(), sound, strict=True)
            ]
            for tag, value in metrics.items()
        }
        self.report(EpochMetrics(trainer.current_epoch, trainer.global_step, values, self.posteriors))


class SaveShard(pl.Callback):
    """Saves the training state at the end of an epoch (not the last one), at most every few seconds."""

    def __init__(self, shard: ShardCheckpoint, metrics: Sequence[EpochMetrics], every: float) -> None:
        """Start the clock.

        Args:
            shard: The file to write.
            metrics: A list that grows by an epoch's metrics before this callback is called.
            every: Seconds between two saves.
        """
        self.shard, self.metrics, self.every = shard, metrics, every
        self.latest = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() < self.latest + self.every or trainer.current_epoch + 1 == trainer.max_epochs:
            return
        with suppress(OSError, RuntimeError):  # a full disk costs only the epochs since the latest save
            self.shard.save_state(trainer, self.metrics)
        self.latest = time.monotonic()
