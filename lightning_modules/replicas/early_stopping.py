"""Early stopping of each replica by itself: one that is done is dropped, and costs nothing from then on."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules.command.plain import plain
from lightning_modules.replicas.pruning import prune_fit


class StopReplicas(pl.Callback):
    """Stops each replica once its metric has not improved for some epochs.

    Logged means are from then on of those that are left. Once all are done, training ends.

    Attributes:
        stopped: The ordinary nets of the replicas that were dropped, by their number when training began; the
            module holds the others.
        numbers: These numbers of the replicas that the module holds.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        """Choose the rule.

        Args:
            monitor: Tag of the metric.
            patience: Epochs without improvement after which a replica is done. Of a metric of validation
                those count that validate.
            min_delta: What is less than this is no improvement.
            mode: Whether the metric should be small or large.
        """
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.sign = 1 if plain("mode", mode, Literal["min", "max"]) == "min" else -1
        self.stopped = dict[int, nn.Module]()
        self.best: Tensor | None = None  # (R,)
        self.waited = torch.zeros(0, dtype=torch.int64)  # (R,) epochs since then
        self.numbers = list[int]()
        self.has_validated = False  # since it last looked

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epochs without improvement, and drop who is done; validation has run by now."""
        module: Any = pl_module
        stage = self.monitor.partition("/")[0]
        if stage == "val" and trainer.enable_validation and not self.has_validated:
            return
        self.has_validated = False
        figures = module.epoch_metrics(stage)
        if self.monitor not in figures:
            raise ValueError(
                f"monitor must be one of {', '.join(figures) or 'the metrics'}, got {self.monitor}"
            )
        value = self.sign * figures[self.monitor].detach().cpu().nan_to_num(torch.inf)
        if self.best is None:
            self.best = torch.full_like(value, torch.inf)
            self.waited = torch.zeros(len(value), dtype=torch.int64)
            self.numbers = list(range(len(value)))
        is_better = value < self.best - self.min_delta
        self.best = torch.where(is_better, value, self.best)
        self.waited = torch.where(is_better, 0, self.waited + 1)
        done = (self.waited >= self.patience).tolist()
        kept = [r for r, is_done in enumerate(done) if not is_done]
        if not kept:
            trainer.should_stop = True  # the last ones stay in the module
        elif any(done):
            self.stopped |= {self.numbers[r]: module.replica(r) for r, is_done in enumerate(done) if is_done}
            prune_fit(trainer, kept)
            self.best, self.waited = self.best[kept], self.waited[kept]
            self.numbers = [self.numbers[r] for r in kept]

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "numbers": self.numbers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]
        self.numbers = state_dict["numbers"]
