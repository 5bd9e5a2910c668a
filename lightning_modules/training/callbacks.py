"""What a study sees of a fit: the figures of each epoch."""

import math
from collections.abc import Callable

import pytorch_lightning as pl

from lightning_modules.models.base import PairModule
from lightning_modules.replicas.pruning import sound_replicas
from lightning_modules.results.tensorboard import EpochFigures


class ReportEpochs(pl.Callback):
    """Hands on every replica's figures after each epoch (Lightning's loggers take one number a tag)."""

    def __init__(self, report: Callable[[EpochFigures], None]) -> None:
        """Keep the receiver.

        Args:
            report: Called once an epoch, in every process.
        """
        self.report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect figures, NaN of a replica that diverged; validation has run by now."""
        assert isinstance(pl_module, PairModule)
        figures, sound = (
            pl_module.epoch_metrics("train") | pl_module.epoch_metrics("val"),
            sound_replicas(pl_module),
        )
        values = {
            tag: [number if fine else math.nan for number, fine in zip(value.tolist(), sound, strict=True)]
            for tag, value in figures.items()
        }
        self.report(EpochFigures(trainer.current_epoch, trainer.global_step, values))
