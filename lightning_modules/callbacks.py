"""What a study sees of a fit: the figures of each epoch, and test pairs that were got wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from lightning_modules.comparison import Batch, Comparison
from lightning_modules.study_log import EpochFigures


@dataclass(frozen=True)
class Mistake:
    """A pair that was got wrong."""

    images: NDArray[np.float32]  # (2, 14, 14); an array, because it travels between processes
    classes: tuple[int, int]
    probability: float  # of "first <= second", as the net has it


class ReportEpochs(pl.Callback):
    """Hands on every replica's figures after each epoch (Lightning's loggers take one number a tag)."""

    def __init__(self, report: Callable[[EpochFigures], None]) -> None:
        """Keep the receiver.

        Args:
            report: Called once an epoch, in every process.
        """
        self.report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect training and validation figures; validation has run by now."""
        assert isinstance(pl_module, Comparison)
        figures = pl_module.figures("train") | pl_module.figures("val")
        values = {tag: value.tolist() for tag, value in figures.items()}
        self.report(EpochFigures(trainer.current_epoch, trainer.global_step, values))


@dataclass
class CollectMistakes(pl.Callback):
    """Keeps the first mistakes that the first replica makes in the latest test."""

    most: int = 24
    mistakes: list[Mistake] = field(default_factory=list)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget those of an earlier test."""
        self.mistakes.clear()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,  # type: ignore[override]  # what Comparison.test_step returns
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look through a batch; ``outputs`` are its logits (N, R, 2)."""
        images, target, classes = (part.cpu() for part in batch)
        logits = outputs[:, 0].float().cpu()  # (N, 2)
        wrong = (logits.argmax(-1) != target[:, 0]).nonzero().flatten()
        for i in wrong[: self.most - len(self.mistakes)].tolist():
            first, second = classes[i, 0].tolist()
            probability = logits[i].softmax(0)[1].item()
            self.mistakes.append(Mistake(images[i, :2].float().numpy().copy(), (first, second), probability))
