"""Per-replica metrics over batches and processes, and the state of an epoch in its middle."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast, get_args

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_modules.command.plain import plain
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.of_each import replica_of

Stage = Literal["train", "val", "test"]
STAGES = get_args(Stage)


class ReplicaMean(Metric):
    """Mean over pairs, one for each replica (torchmetrics' own means know a single scalar)."""

    total: Tensor
    count: Tensor

    def __init__(self, replicas: int) -> None:
        """Start with no values.

        Args:
            replicas: Number of replicas R.
        """
        super().__init__()
        self.add_state("total", torch.zeros(replicas, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add the values (N, R) of N pairs; truth values are counted exactly."""
        # Counting in float32 ends at 2**24. Lightning casts the state with the module, but not integers.
        exact = torch.int64 if values.dtype == torch.bool else self._widest(values)
        self.total = self.total + values.sum(0, dtype=exact)
        self.count += len(values)

    def restore(self, total: Tensor, count: Tensor) -> None:
        """Go on from sums that were reached before.

        Args:
            total: (R,).
            count: Scalar.
        """
        self.update(total.new_zeros(0, len(total)))  # so that torchmetrics counts it as updated
        self.total, self.count = total.to(self.total.device), count.to(self.count.device)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the means of the given replicas.

        Args:
            kept: Which replicas stay, in this order.
        """
        total = self.total[list(kept)]
        self.add_state("total", torch.zeros_like(total, dtype=torch.int64), dist_reduce_fx="sum")
        self.total = total
        self._computed = None  # torchmetrics remembers what it has computed

    def compute(self) -> Tensor:
        """The mean of each replica, (R,)."""
        return (self.total.to(self._widest(self.total)) / self.count).float()

    @staticmethod
    def _widest(values: Tensor) -> torch.dtype:
        return torch.float32 if values.device.type == "mps" else torch.float64


class ReplicaFunction(Metric):
    """A function of all pairs of a stage, called once for each replica (torchmetrics' functions know one)."""

    batches: list[Tensor]

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        """Start with no values.

        Args:
            function: From the values (N, ...) of one replica to a scalar.
        """
        super().__init__()
        self.function = function
        self.add_state("batches", [], dist_reduce_fx="cat")

    def update(self, values: Tensor) -> None:
        """Add the values (N, R, ...) of N pairs."""
        self.batches.append(values)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the values of the given replicas.

        Args:
            kept: Which replicas stay, in this order.
        """
        self.batches = [values[:, list(kept)] for values in self.batches]
        self._computed = None  # torchmetrics remembers what it has computed

    def compute(self) -> Tensor:
        """The metric of each replica, (R,)."""
        return torch.stack([self.function(values) for values in dim_zero_cat(self.batches).unbind(1)])


class MetricOfEach(nn.Module):
    """One copy of a metric of torchmetrics for each replica."""

    def __init__(self, metric: Metric, replicas: int) -> None:
        """Copy the metric.

        Args:
            metric: For one net; it is not changed.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.copies = nn.ModuleList(metric.clone() for _ in range(replicas))

    def update(self, outputs: Any, target: Any, each: bool) -> None:
        """Add a batch.

        Args:
            outputs: Tensors (N, R, ...).
            target: Tensors (N, ...), the same for all replicas, or (N, R, ...).
            each: Whether each replica has a target of its own.
        """
        for r, metric in enumerate(self._each()):
            metric.update(replica_of(outputs, r), replica_of(target, r) if each else target)

    def compute(self) -> Tensor:
        """The metric of each replica, (R,).

        Raises:
            ValueError: It is not one number.
        """
        values = [metric.compute() for metric in self._each()]
        if not all(isinstance(value, Tensor) and value.numel() == 1 for value in values):
            raise ValueError(f"{type(self.copies[0]).__name__} must give one number; choose how it averages")
        return torch.stack([value.float().view(()) for value in values])

    def reset(self) -> None:
        for metric in self._each():
            metric.reset()

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the metrics of the given replicas.

        Args:
            kept: Which replicas stay, in this order.
        """
        self.copies = nn.ModuleList([self.copies[r] for r in kept])

    @property
    def update_called(self) -> bool:
        """Whether there were samples."""
        return self._each()[0].update_called

    def _each(self) -> list[Metric]:
        return cast("list[Metric]", list(self.copies))


class MetricsModule(pl.LightningModule):
    """A LightningModule with metrics of R replicas, by stage: train, val and test.

    A step hands the values of its samples to `count`. Their means over samples and replicas are logged once
    an epoch as ``train/...``, ``val/...`` and ``test/...``; `epoch_metrics` gives the means of each replica.
    """

    def __init__(self, replicas: int, metrics: Mapping[str, Callable[[Tensor], Tensor] | None]) -> None:
        """Start with no values.

        Args:
            replicas: Number of replicas R.
            metrics: Metric to the function that makes it of all values of a replica; None: their mean.
        """
        super().__init__()
        self.metrics = nn.ModuleDict()
        for name, function in metrics.items():
            make = partial(ReplicaFunction, function) if function else partial(ReplicaMean, replicas)
            self.add_metric(name, make)

    def add_metric(self, name: str, make: Callable[[], nn.Module]) -> None:
        """Add a metric to all stages.

        Args:
            name: Its name.
            make: Makes one for a stage.
        """
        self.metrics.update({f"{stage}/{name}": make() for stage in STAGES})

    def count(self, stage: str, values: Mapping[str, Tensor]) -> None:
        """Add the values of a batch to the metrics.

        Args:
            stage: "train", "val" or "test".
            values: Metric to the values (N, R) of N samples.
        """
        metrics = self._metrics(stage)
        for name, value in values.items():
            metrics[f"{stage}/{name}"].update(value)

    def epoch_metrics(self, stage: str) -> dict[str, Tensor]:
        """The metrics of every replica in the stage's last epoch; none if it had no samples.

        Args:
            stage: "train", "val" or "test".

        Returns:
            Tag to (R,).

        Raises:
            ValueError: There is no such stage.
        """
        stage = plain("stage", stage, Stage)
        # view: torchmetrics makes a scalar of a single replica's mean
        return {
            tag: metric.compute().view(-1)
            for tag, metric in self._metrics(stage).items()
            if metric.update_called
        }

    def _metrics(self, stage: str) -> dict[str, Any]:
        metrics = dict[str, Any](self.metrics.items())
        return {tag: metric for tag, metric in metrics.items() if tag.startswith(stage)}

    def _reset(self, stage: str) -> None:
        for metric in self._metrics(stage).values():
            metric.reset()

    def _log(self, stage: str) -> None:
        self.log_dict({tag: value.mean() for tag, value in self.epoch_metrics(stage).items()})

    def on_train_epoch_start(self) -> None:
        self._reset("train")

    def on_validation_epoch_start(self) -> None:
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        self._reset("test")

    def on_train_epoch_end(self) -> None:
        self._log("train")

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_end(self) -> None:
        self._log("test")


def epoch_state(network: nn.Module, metrics: Mapping[str, ReplicaMean], strategy: Strategy) -> dict[str, Any]:
    """The state of an epoch in its middle, for a checkpoint: sums of metrics, positions in dropout streams.

    The start of an epoch resets both.

    Args:
        network: R replicas.
        metrics: Metrics of training, by name.
        strategy: Adds up their sums over processes.

    Returns:
        Plain numbers and tensors.
    """
    calls = [layer.calls for layer in network.modules() if isinstance(layer, Dropout)]
    sums = {
        name: [strategy.reduce(value.clone(), reduce_op="sum") for value in (metric.total, metric.count)]
        for name, metric in metrics.items()
        if isinstance(metric, ReplicaMean) and metric.update_called
    }
    return {"calls": calls, "metrics": sums}


def restore_epoch(
    state: Mapping[str, Any], network: nn.Module, metrics: Mapping[str, ReplicaMean], rank: int
) -> None:
    """Go on in the middle of an epoch, after `reseed` for this epoch.

    Args:
        state: As `epoch_state` gives it.
        network: R replicas; the positions in its dropout streams are set.
        metrics: Metrics of training, by name; they are set.
        rank: Number of this process: the first one goes on with the sums of all.

    Raises:
        ValueError: There are other metrics.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Dropout)]
    for layer, calls in zip(layers, state["calls"], strict=True):
        layer.calls = calls
    if missing := sorted(state["metrics"].keys() - metrics.keys()):
        raise ValueError(f"metrics must be those of the checkpoint, but there is no {', '.join(missing)}")
    for name, (total, count) in state["metrics"].items():
        share = int(rank == 0)
        metrics[name].restore(share * total, share * count)
