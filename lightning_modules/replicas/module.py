"""`ReplicatedModule`: trains one ordinary net from many seeds at once, with any loss, data and metrics."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils._pytree import tree_leaves, tree_map
from torchmetrics import Metric

from lightning_modules.command.plain import PerReplica, plain, plain_numbers
from lightning_modules.replicas.apart import weigh_by_pairs
from lightning_modules.replicas.base import ReplicatedBase
from lightning_modules.replicas.convert import Engine, Replicas, replicate
from lightning_modules.replicas.loader import ReplicaBatch
from lightning_modules.replicas.metrics import MetricOfEach, ReplicaMean
from lightning_modules.replicas.of_each import Function, OfEachReplica
from lightning_modules.replicas.optimizers import refuse_own_rates, with_replica_lr
from lightning_modules.replicas.per_replica import per_replica, refuse_repeated, seeds_of_each
from lightning_modules.replicas.state import State

MakeOptimizer = Callable[..., Optimizer]  # a class of torch.optim, or a function of parameters and lr=


class ReplicatedModule(ReplicatedBase):
    """R trainings of an ordinary net in one program; replica k is what seed k would be alone.

    A batch is a tuple or list whose last entry is the target, or a dict; the other entries are inputs of the
    net, in order or by name. All replicas get the same batch, or each its own (`ReplicaLoader`). Metrics are
    logged as ``train/loss``, ``val/loss``, ``test/error`` and so on: the mean over replicas; and one
    standard deviation below and above it as ``zone/val/loss_low`` and ``zone/val/loss_high``, which come last
    in a dashboard. `epoch_metrics` gives those of each replica.

    What a Trainer offers, and what it does here:

    ==========================  ======================================================================
    accumulate_grad_batches     as for each replica alone
    gradient_clip_val           clips each replica's gradient by itself, by norm or value
    precision                   as ever; 16-mixed is refused, as it skips the step of all replicas at once
    ModelCheckpoint, Early-     decide for all replicas together, by the logged mean;
      Stopping (monitor)        `StopReplicas` stops each by itself
    StochasticWeightAveraging   right where all replicas have one lr; else refused
    EMAWeightAveraging          right
    LearningRateMonitor         shows the largest rate
    lr_find                     finds one rate for all, by the mean loss
    ddp                         right, with a plain DataLoader; ReplicaLoader is refused
    torch.compile               right; it traces torch's own operations
    fsdp, deepspeed             refused: they divide parameters
    ModelPruning                refused: it would compare replicas
    ReduceLROnPlateau           refused: it would set all rates by one metric
    ==========================  ======================================================================
    """

    network: Replicas

    def __init__(
        self,
        make_net: Callable[[], nn.Module],
        loss: Function,
        seeds: Sequence[int],
        lr: PerReplica,
        *,
        metrics: Mapping[str, Function | Metric] | None = None,
        optimizer: MakeOptimizer = torch.optim.AdamW,
        weight_decay: PerReplica | None = None,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        interval: Literal["epoch", "step"] = "epoch",
        loss_weights: Mapping[str, PerReplica] | None = None,
        target: int | str = -1,
        predict: Callable[[Any], Tensor] | None = None,
        engine: Engine = "auto",
    ) -> None:
        """Make one net a seed.

        Args:
            make_net: Makes the ordinary net; it is called once for each seed, after seeding torch.
            loss: From outputs and target of an ordinary net to its mean loss, or one loss a sample.
            seeds: R seeds.
            lr: Learning rate, or R of them.
            metrics: By name, functions as the loss is, or torchmetrics, of which each replica gets its own.
            optimizer: A class of torch.optim, or a function that is called with the parameters and ``lr``.
            weight_decay: One number, or R of them; by default the optimiser's own.
            schedule: From the optimiser to a scheduler of torch.
            interval: Whether the schedule goes on after each ``epoch`` or ``step``.
            loss_weights: Further arguments of the loss by name, each one number or R of them.
            target: Which entry of a batch is the target: its place or, in a dict, its name.
            predict: What `predict_step` applies to outputs (N, R, ...) before it averages over replicas.
            engine: As `replicate` takes it.

        Raises:
            ValueError: An argument is out of range, or there are not R of them.
        """
        _refuse_names(metrics or {})
        chosen = {"schedule": schedule, "predict": predict}
        needed = {"loss": loss, "optimizer": optimizer, **(metrics or {})}
        _refuse_no_functions(needed | {name: own for name, own in chosen.items() if own is not None})
        _refuse_parameters(loss)
        numbers = seeds_of_each(seeds)
        given = {name: plain_numbers(name, value, float) for name, value in (loss_weights or {}).items()}
        decay = None if weight_decay is None else plain_numbers("weight_decay", weight_decay, float)
        refuse_repeated(numbers, plain_numbers("lr", lr, float), decay or 0.0, *given.values())
        weights = {name: per_replica(name, value, len(numbers)) for name, value in given.items()}
        if isinstance(decay, list):
            decay = per_replica("weight_decay", decay, len(numbers))
        super().__init__(replicate(make_net, numbers, engine), numbers, lr, {"loss": None})
        self.save_hyperparameters(
            {"seeds": numbers, "lr": self.lr, "weight_decay": decay, "loss_weights": weights}
        )
        self.loss = OfEachReplica("loss", loss)
        self.functions = dict[str, OfEachReplica]()
        for name, metric in (metrics or {}).items():
            if isinstance(metric, Metric):
                self.add_metric(name, partial(MetricOfEach, metric, len(numbers)))
            else:
                self.functions[name] = OfEachReplica(name, metric)
                self.add_metric(name, partial(ReplicaMean, len(numbers)))
        self.make_optimizer_of, self.make_schedule = optimizer, schedule
        self.interval = plain("interval", interval, Literal["epoch", "step"])
        self.target_entry, self.prediction = target, predict

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs (N, R, ...) of all replicas for inputs (N, ...)."""
        return self.network(*args, **kwargs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The sum of the replicas' mean losses: each one's gradient is what it would be alone."""
        losses, samples = self._step("train", batch)
        if not losses.requires_grad:
            raise ValueError("loss must be computed from the outputs by torch; it has no gradient")
        return weigh_by_pairs(losses.mean(0).sum(), samples)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._step("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """The mean of the replicas' outputs, (N, ...); the target need not be in the batch."""
        if isinstance(batch, ReplicaBatch):
            raise ValueError(
                "an ensemble predicts for one batch; take a plain DataLoader, not a ReplicaLoader"
            )
        if isinstance(batch, dict):
            outputs = self(**{name: value for name, value in batch.items() if name != self.target_entry})
        elif isinstance(batch, Tensor) or len(batch) == 1:
            outputs = self(batch if isinstance(batch, Tensor) else batch[0])
        else:
            outputs = self(*self._split(batch)[0])
        outputs = self.prediction(outputs) if self.prediction else outputs
        return tree_map(lambda y: y.mean(1), outputs)

    def _step(self, stage: str, batch: Any) -> tuple[Tensor, int]:
        """Losses (M, R), and the number of samples."""
        each = isinstance(batch, ReplicaBatch)
        args, kwargs, target = self._split(batch.batch if isinstance(batch, ReplicaBatch) else batch)
        outputs = self.network.each(*args, **kwargs) if each else self.network(*args, **kwargs)
        samples = len(tree_leaves((args, kwargs))[0])
        weights = {name: self._tensor(values) for name, values in self.hparams["loss_weights"].items()}
        losses = self.loss(outputs, target, each, weights)
        values = {"loss": losses.detach()}
        with torch.no_grad():
            for name, function in self.functions.items():
                values[name] = function(outputs, target, each)
            # A mean counts as often as there are samples.
            self.count(
                stage, {name: v.expand(samples, -1) if v.dim() == 1 else v for name, v in values.items()}
            )
            for metric in self._metrics(stage).values():
                if isinstance(metric, MetricOfEach):
                    metric.update(outputs, target, each)
        return losses if losses.dim() == 2 else losses.unsqueeze(0), samples

    def _split(self, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Positional and named inputs, and the target, of a batch."""
        entry = self.target_entry
        if isinstance(batch, Mapping):
            if entry not in batch:
                raise ValueError(
                    f"target must name the batch's entry that is the target: {', '.join(batch)}; got {entry}"
                )
            return (), {name: value for name, value in batch.items() if name != entry}, batch[entry]
        if not isinstance(batch, tuple | list) or len(batch) < 2 or not isinstance(entry, int):
            got = type(batch).__name__ + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
            raise ValueError(f"a batch must be (inputs, target) or a dict, got {got}; target={entry!r}")
        inputs = list(batch)
        if not -len(inputs) <= entry < len(inputs):
            raise ValueError(
                f"target must be the place of one of the batch's {len(inputs)} entries, got {entry}"
            )
        target = inputs.pop(entry)
        return tuple(inputs), {}, target

    def _tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=next(self.network.parameters()).dtype, device=self.device)

    def make_optimizer(self) -> Optimizer:
        """The optimiser, each replica at its learning rate and weight decay."""
        decay = self.hparams["weight_decay"]
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        return with_replica_lr(self.make_optimizer_of, parameters, self.lr, weight_decay=decay)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and its schedule.

        Raises:
            ValueError: The schedule looks at a metric, or sets rates of its own where replicas have several.
        """
        optimizer = self.make_optimizer()
        if self.make_schedule is None:
            return optimizer
        schedule = self.make_schedule(optimizer)
        if isinstance(schedule, ReduceLROnPlateau):
            raise ValueError(
                "ReduceLROnPlateau would set the rates of all replicas by one metric; take another"
            )
        if not isinstance(schedule, LRScheduler):
            raise ValueError(
                f"schedule must give a scheduler of torch, got {type(schedule).__name__};"
                " when it steps is said by interval"
            )
        if len(set(self.lr)) > 1:
            refuse_own_rates(schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.interval}}

    def replica(self, index: int) -> nn.Module:
        """One replica as an ordinary net.

        Args:
            index: Which replica, from 0.

        Raises:
            IndexError: There is no such replica.
        """
        return self.network.replica(index)

    def replica_state(self, index: int) -> State:
        """The state_dict of one replica as an ordinary net.

        Args:
            index: Which replica, from 0.
        """
        return self.network.replica_state(index)

    def select(self, kept: Sequence[int]) -> None:
        own = {name: [values[r] for r in kept] for name, values in self.hparams["loss_weights"].items()}
        super().select(kept)
        self.hparams["loss_weights"] = own

    def _log(self, stage: str) -> None:
        """Log mean and band of the replicas that have not diverged."""
        scalars = dict[str, Tensor]()
        for tag, values in self.epoch_metrics(stage).items():
            sound = values[values.isfinite()]
            sound = sound if len(sound) else values
            deviation, mean = torch.std_mean(sound, correction=int(len(sound) > 1))
            low, high = band(tag)
            scalars |= {tag: mean, low: mean - deviation, high: mean + deviation}
        self.log_dict(scalars)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if isinstance(self.logger, TensorBoardLogger):  # bands, as custom scalars
            charts = {tag: ["Margin", [tag, *band(tag)]] for tag in self.metrics if "test" not in tag}
            self.logger.experiment.add_custom_scalars({"mean and standard deviation": charts})


def band(tag: str) -> tuple[str, str]:
    """The tags of the ends of a tag's band, named as `results.tensorboard` names those of a study."""
    return f"zone/{tag}_low", f"zone/{tag}_high"


def _refuse_names(metrics: Mapping[str, Any]) -> None:
    if "loss" in metrics:
        raise ValueError("a metric must not be called loss, which is there already")
    if wrong := [name for name in metrics if not name or "." in name]:
        raise ValueError(f"metrics must have names, without a dot, got {wrong[0]!r}")


def _refuse_parameters(loss: Any) -> None:
    if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
        raise ValueError(
            "loss must have no parameters to train, of which no replica would have its own; make them part"
            " of the net"
        )


def _refuse_no_functions(functions: Mapping[str, Any]) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise ValueError(f"{name} must be a function, or a class to call, got {function!r}")
