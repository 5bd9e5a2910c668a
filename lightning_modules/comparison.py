"""What all comparisons share: a LightningModule that trains R replicas at once.

A batch is ``(images, target, classes)``: images (N, 2R, 14, 14) in 0..255, target (N, R), 1 where the first
digit is at most the second, classes (N, R, 2), the digits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from lightning_modules.metrics import ReplicaMean
from lightning_modules.networks import Outputs
from lightning_modules.replicas import export_replica, initialise, reseed, with_replica_lr

Batch = tuple[Tensor, Tensor, Tensor]
PerReplica = float | Sequence[float]  # one number for all replicas, or one each


class Comparison(pl.LightningModule, ABC):
    """Steps, metrics and optimiser of every comparison; a subclass adds the network and the loss.

    Logs ``loss`` and ``error`` (misclassified share of pairs), and ``digit_error`` where there are digit
    heads, as ``train/...``, ``val/...`` and ``test/...``: the mean over replicas, once an epoch. `figures`
    gives each replica's own.
    """

    has_digit_heads = False

    def __init__(self, network: nn.Module, seeds: list[int], lr: PerReplica) -> None:
        """Initialise each replica from its seed.

        Args:
            network: R replicas.
            seeds: R seeds.
            lr: Learning rate.

        Raises:
            ValueError: An argument is out of range.
        """
        super().__init__()
        self.network = network
        self.seeds = seeds
        self.lr = per_replica("lr", lr, len(seeds), positive=True)
        initialise(network, seeds)
        names = ["loss", "error"] + ["digit_error"] * self.has_digit_heads
        self.metrics = nn.ModuleDict(
            {
                f"{stage}/{name}": ReplicaMean(len(self.seeds))
                for stage in ("train", "val", "test")
                for name in names
            }
        )

    @abstractmethod
    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor) -> Tensor:
        """What to minimise.

        Args:
            outputs: The network's answer to N pairs.
            target: (N, R), 1 where first <= second.
            classes: (N, R, 2), the digits.

        Returns:
            (N, R), the loss of each pair.
        """

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2R, 14, 14)."""
        return self.network(pairs)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the replicas' mean losses: each one's gradient is what it would be alone."""
        losses, _ = self._step("train", batch)
        return losses.mean(0).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the errors of validation pairs."""
        self._step("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2), for callbacks to look at."""
        return self._step("test", batch)[1]

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The probability that the first digit is at most the second, (N, R)."""
        return self(batch[0]).pair.softmax(-1)[..., 1]

    def configure_optimizers(self) -> Optimizer:
        """SGD, each replica at its learning rate."""
        return with_replica_lr(SGD, self.parameters(), self.lr, fused=True)

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

    def _step(self, stage: str, batch: Batch) -> tuple[Tensor, Tensor]:
        images, target, classes = batch
        outputs: Outputs = self(images)
        losses = self.loss(outputs, target, classes)  # (N, R)
        values = {"loss": losses.detach(), "error": outputs.pair.argmax(-1) != target}
        if self.has_digit_heads and outputs.digits is not None:
            values["digit_error"] = (outputs.digits.argmax(-1) != classes).float().mean(-1)
        metrics = self._metrics(stage)
        for name, value in values.items():
            metrics[f"{stage}/{name}"].update(value)
        return losses, outputs.pair

    def _metrics(self, stage: str) -> dict[str, ReplicaMean]:
        metrics = cast("dict[str, ReplicaMean]", dict(self.metrics.items()))
        return {tag: metric for tag, metric in metrics.items() if tag.startswith(stage)}

    def _reset(self, stage: str) -> None:
        for metric in self._metrics(stage).values():
            metric.reset()

    def _log(self, stage: str) -> None:
        self.log_dict({tag: value.mean() for tag, value in self.figures(stage).items()})


def as_list(seed: int | Sequence[int]) -> list[int]:
    """The seeds of R replicas, one for a single number."""
    return [seed] if isinstance(seed, int) else list(seed)


def per_replica(name: str, value: PerReplica, replicas: int, positive: bool = False) -> list[float]:
    """Spread a setting over R replicas.

    Args:
        name: What to call it in an error.
        value: One number for all, or R numbers.
        replicas: Number of replicas R.
        positive: Whether 0 is out of range.

    Returns:
        R numbers.

    Raises:
        ValueError: There are not R of them, or one is out of range.
    """
    values = [float(value)] * replicas if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) != replicas:
        raise ValueError(f"{name} must be one number or one for each of {replicas} seeds, got {len(values)}")
    for number in values:
        if not (number > 0 if positive else number >= 0) or number == float("inf"):
            rule = "above 0" if positive else "at least 0"
            raise ValueError(f"{name} must be {rule} and finite, got {number}")
    return values
