"""What all comparisons share: a LightningModule that trains R replicas at once.

A batch is ``(images, target, classes)``: images (V * N, 2R, 14, 14) in 0..255, of V views of N pairs, one
after the other; target (N, R), 1 where the first digit is at most the second; classes (N, R, 2), the digits.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.bounds import MOST_CHANNELS, check_range
from lightning_modules.branches import make_network
from lightning_modules.keeping import keep_replicas
from lightning_modules.layers import wide
from lightning_modules.metrics import ReplicaMean
from lightning_modules.networks import Outputs
from lightning_modules.optimisation import make_optimizer, with_warmup_linear
from lightning_modules.options import Branches, Options
from lightning_modules.per_replica import PerReplica, per_replica
from lightning_modules.replicas import export_replica, initialise, reseed

Batch = tuple[Tensor, Tensor, Tensor]


class Comparison(pl.LightningModule, ABC):
    """Steps, metrics and optimiser of every comparison; a subclass adds the network and the loss.

    Logs ``loss`` and ``error`` (misclassified share of pairs), and ``digit_error`` where there are digit
    heads, as ``train/...``, ``val/...`` and ``test/...``: the mean over replicas, once an epoch. `figures`
    gives each replica's own.
    """

    has_digit_heads = False
    ensemble = 1  # replicas that are averaged for one run; loading a checkpoint sets it

    def __init__(self, seeds: list[int], lr: PerReplica, branches: Branches, options: Options) -> None:
        """Build the network, each replica initialised from its seed.

        Args:
            seeds: R seeds.
            lr: Learning rate.
            branches: How the two digits enter.
            options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range.
        """
        super().__init__()
        ranges = {"width": (1, MOST_CHANNELS), "weight_decay": (0, math.inf), "temperature": (0.01, 100)}
        for name, (least, most) in ranges.items():
            if (value := options.get(name)) is not None:
                check_range(name, cast("float", value), least, most)
        self.network = make_network(len(seeds), branches, self.has_digit_heads, options)
        self.seeds, self.options = seeds, options
        self.lr = per_replica("lr", lr, len(seeds), positive=True)
        initialise(self.network, seeds)
        names = ["loss", "error"] + ["digit_error"] * self.has_digit_heads
        self.metrics = nn.ModuleDict(
            {
                f"{stage}/{name}": ReplicaMean(len(self.seeds))
                for stage in ("train", "val", "test")
                for name in names
            }
        )

    @abstractmethod
    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """What to minimise.

        Args:
            outputs: The network's answer to V * N pairs.
            target: (N, R), 1 where first <= second.
            classes: (N, R, 2), the digits; None for a model without digit heads, so that none can reach it.

        Returns:
            (N, R), the loss of each pair.
        """

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """What to minimise beside the loss in training, whatever the labels.

        Args:
            outputs: The network's answer to V * N pairs.
            views: Their number of views V.

        Returns:
            (R,).
        """
        return outputs.pair.new_zeros(len(self.seeds))

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Called with each training step's answers; most models have no use for them.

        Args:
            outputs: The network's answer to V * N pairs.
            target: (N, R), 1 where first <= second.
        """

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        return self.network(pairs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the replicas' mean losses: each one's gradient is what it would be alone."""
        losses, outputs = self._step("train", batch)
        self.observe(outputs, batch[1])
        return (losses.mean(0) + self.regulariser(outputs, len(batch[0]) // len(batch[1]))).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the errors of validation pairs."""
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2), for callbacks to look at."""
        return self._step("test", batch)[1].pair

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The probability that the first digit is at most the second, (N, R)."""
        return wide(self(batch[0]).pair).softmax(-1)[..., 1]

    def make_optimizer(self) -> Optimizer:
        """The optimiser, each replica at its learning rate."""
        decay = self.options.get("weight_decay") or 0.0
        return make_optimizer(self.options.get("optimizer") or "sgd", self.network, self.lr, decay)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and its schedule by steps."""
        optimizer = self.make_optimizer()
        if self.options.get("schedule") != "warmup_linear":
            return optimizer
        schedule = with_warmup_linear(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def progress(self) -> float:
        """Share of training that is done."""
        return self.trainer.global_step / self.trainer.estimated_stepping_batches

    def figures(self, stage: str) -> dict[str, Tensor]:
        """Loss and errors of the stage's last epoch for every replica; nothing if it had no pairs.

        Args:
            stage: "train", "val" or "test".

        Returns:
            Tag to (R,).
        """
        # view: torchmetrics makes a scalar of a single replica's figure
        return {
            tag: metric.compute().view(-1)
            for tag, metric in self._metrics(stage).items()
            if metric.update_called
        }

    def replica(self, index: int) -> Self:
        """Export one replica as an ordinary module with one network.

        Args:
            index: Which one, from 0.
        """
        own = {
            name: value[index] if isinstance(value, list | tuple) else value
            for name, value in self.hparams.items()
        }
        single = type(self)(**own)
        state = export_replica(self.network.state_dict(), index, len(self.seeds))
        single.network.load_state_dict(state)
        return single

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some.

        Args:
            kept: Which ones stay, in their order.
        """
        keep_replicas(self.network, kept, len(self.seeds))
        for metric in self.metrics.values():
            cast("ReplicaMean", metric).keep(kept)
        self.seeds, self.lr = [self.seeds[r] for r in kept], [self.lr[r] for r in kept]
        own = {name: value for name, value in self.hparams.items() if isinstance(value, list | tuple)}
        self.hparams.update({name: [value[r] for r in kept] for name, value in own.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is of, so that a file alone is enough to load it."""
        checkpoint["model"] = type(self).__name__

    def on_train_epoch_start(self) -> None:
        """Start the epoch's dropout streams and metrics."""
        reseed(self.network, self.seeds, self.current_epoch, self.global_rank)
        self._reset("train")

    def on_validation_epoch_start(self) -> None:
        """Start the metrics."""
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        """Start the metrics."""
        self._reset("test")

    def on_train_end(self) -> None:
        """Agree on the running statistics: each process has normalised by its own batches."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_train_epoch_end(self) -> None:
        """Log the means over replicas."""
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over replicas."""
        self._log("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over replicas."""
        self._log("test")

    def _step(self, stage: str, batch: Batch) -> tuple[Tensor, Outputs]:
        images, target, classes = batch
        outputs: Outputs = self(images)
        losses = self.loss(outputs, target, classes if self.has_digit_heads else None)  # (N, R)
        wrong = outputs.pair.argmax(-1).unflatten(0, (-1, len(target))) != target  # (V, N, R)
        values = {"loss": losses.detach(), "error": wrong.flatten(0, 1)}
        if self.has_digit_heads and outputs.digits is not None:
            misread = outputs.digits.argmax(-1).unflatten(0, (-1, len(target))) != classes  # (V, N, R, 2)
            values["digit_error"] = misread.float().mean(-1).flatten(0, 1)
        metrics = self._metrics(stage)
        for name, value in values.items():
            metrics[f"{stage}/{name}"].update(value)
        return losses, outputs

    def _metrics(self, stage: str) -> dict[str, ReplicaMean]:
        metrics = cast("dict[str, ReplicaMean]", dict(self.metrics.items()))
        return {tag: metric for tag, metric in metrics.items() if tag.startswith(stage)}

    def _reset(self, stage: str) -> None:
        for metric in self._metrics(stage).values():
            metric.reset()

    def _log(self, stage: str) -> None:
        self.log_dict({tag: value.mean() for tag, value in self.figures(stage).items()})
