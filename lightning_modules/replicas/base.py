"""What every LightningModule of R replicas shares: optimiser, clipping, checkpoints, dropping replicas."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from zipfile import is_zipfile

import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.utilities.model_helpers import _restricted_classmethod
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.command.file_format import FORMAT, KEY, refuse_other_format
from lightning_modules.command.options import OptimizerName, Schedule
from lightning_modules.command.plain import PerReplica, plain_numbers
from lightning_modules.replicas.apart import clip_norms, refuse_coupling
from lightning_modules.replicas.convert import Replicas
from lightning_modules.replicas.metrics import MetricsModule, epoch_state, restore_epoch
from lightning_modules.replicas.optimizers import make_optimizer, with_warmup_linear
from lightning_modules.replicas.per_replica import per_replica
from lightning_modules.replicas.seeding import reseed


class ReplicatedBase(MetricsModule):
    """R replicas of any network; a subclass adds the steps.

    The loss of a training step must be the sum of the replicas' losses, so that the gradient of each is what
    it would be alone.
    """

    _reached: dict[str, Any] | None = None  # epoch state of a checkpoint from which training has yet to go on

    def __init__(
        self,
        network: Replicas,
        seeds: Sequence[int],
        lr: PerReplica,
        metrics: Mapping[str, Callable[[Tensor], Tensor] | None],
        optimizer: OptimizerName = "sgd",
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
    ) -> None:
        """Keep the network, which has its initial weights already.

        Args:
            network: R replicas.
            seeds: R seeds.
            lr: Learning rate, or R of them.
            metrics: As `MetricsModule` has them.
            optimizer: Name of the optimiser.
            weight_decay: Weight decay of weights of linear layers and convolutions.
            schedule: Name of the learning rate's schedule.

        Raises:
            ValueError: A learning rate is out of range, or there are not R of them.
        """
        super().__init__(len(seeds), metrics)
        self.seeds = list(seeds)
        self.lr = lr
        self.network = network
        self.optimizer_name, self.weight_decay, self.schedule = optimizer, weight_decay, schedule

    @property
    def lr(self) -> list[float]:
        """The learning rate of each of R replicas; one that is set to a single number is that of all."""
        return self._lr

    @lr.setter
    def lr(self, lr: PerReplica) -> None:
        rates: list[float] = per_replica("lr", plain_numbers("lr", lr, float), len(self.seeds))
        for rate in rates:
            if not 0 < rate < math.inf:
                raise ValueError(f"lr must be above 0 and finite, got {rate}")
        self._lr = rates
        if "lr" in self.hparams:
            self.hparams["lr"] = self._lr

    def make_optimizer(self) -> Optimizer:
        """The optimiser, each replica at its learning rate."""
        return make_optimizer(self.optimizer_name, self.network, self.lr, self.weight_decay)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and its schedule by steps.

        Raises:
            ValueError: The schedule needs the number of steps, and it is not known.
        """
        optimizer = self.make_optimizer()
        if self.schedule != "warmup_linear":
            return optimizer
        schedule = with_warmup_linear(optimizer, self._steps("schedule warmup_linear"))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each replica's gradient by itself, as that of its seed alone would be."""
        if not gradient_clip_val:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # a fused optimiser would do so in its step: too late
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            clip_norms(parameters, gradient_clip_val, len(self.seeds))

    def progress(self) -> float:
        """Share of training that is done.

        Raises:
            ValueError: The number of steps is not known.
        """
        return self.trainer.global_step / self._steps("what depends on the share of training that is done")

    def _steps(self, what: str) -> int:
        """The optimiser's steps in all of training; ``what`` needs them."""
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < math.inf:
            raise ValueError(f"{what} needs an end of training: give the Trainer max_epochs or max_steps")
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
            raise ValueError(f"{what} needs the number of steps, which GradientAccumulationScheduler changes")
        return max(int(steps), 1)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the given replicas.

        Args:
            kept: Which replicas stay, in this order.
        """
        self.network.select(kept)
        for metric in self._metrics("").values():
            metric.select(kept)
        own = {name: value for name, value in self.hparams.items() if isinstance(value, list)}
        self.seeds, self._lr = [self.seeds[r] for r in kept], [self.lr[r] for r in kept]
        self.hparams.update({name: [value[r] for r in kept] for name, value in own.items()})

    def on_fit_start(self) -> None:
        refuse_coupling(self.trainer, self.lr)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        reseed(self.network, self.seeds, self.current_epoch, self.global_rank)

    def on_train_end(self) -> None:
        """Agree on the running statistics: each process has normalised by its own batches."""
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's name, so that the file alone is enough to load it, and the state of the epoch."""
        checkpoint.update({"model": type(self).__name__, KEY: FORMAT})
        if "optimizer_states" in checkpoint:  # training is to go on
            state = epoch_state(self.network, self._metrics("train"), self.trainer.strategy)
            checkpoint["epoch_state"] = {"epoch": self.current_epoch, **state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the state of the epoch until training goes on.

        Raises:
            ValueError: The checkpoint is of a class that this one does not inherit from, or of other seeds.
        """
        self._refuse_other(checkpoint)
        seeds = checkpoint.get("hyper_parameters", {}).get("seeds", self.seeds)
        if list(seeds) != self.seeds:
            raise ValueError(
                f"the checkpoint has replicas of seeds {seeds}, and the module of {self.seeds}: make the"
                " module by load_from_checkpoint"
            )
        self._reached = checkpoint.get("epoch_state")
        if self._trainer is not None:  # Lightning would cast after it has loaded: float64 through float32
            self._trainer.precision_plugin.convert_module(self)

    def on_train_start(self) -> None:
        """Go on from a checkpoint, in the middle of an epoch or at the start of the next one."""
        loader: Any = self.trainer.train_dataloader
        if self.trainer.overfit_batches and hasattr(loader, "fixed_order"):  # type: ignore[attr-defined]
            loader.fixed_order = True
        reached, self._reached = self._reached, None
        if reached is not None and reached["epoch"] == self.current_epoch:
            reseed(self.network, self.seeds, self.current_epoch, self.global_rank)
            restore_epoch(reached, self.network, self._metrics("train"), self.global_rank)
        elif reached is not None:  # Lightning does not if the checkpoint is of an epoch's last batch
            self.on_train_epoch_start()

    @_restricted_classmethod  # as Lightning's own: not of an instance, which would stay as it is
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:  # noqa: N805
        """As Lightning's; a file of another model is refused before its settings are looked at.

        Raises:
            ValueError: The checkpoint is of a class that this one does not inherit from.
        """
        if isinstance(checkpoint_path, str | Path) and is_zipfile(checkpoint_path):
            weights_only = kwargs.get("weights_only")
            cls._refuse_other(
                torch.load(checkpoint_path, map_location="meta", weights_only=weights_only, mmap=True)
            )
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    @classmethod
    def _refuse_other(cls, checkpoint: Mapping[str, Any]) -> None:
        name = checkpoint.get("model")
        if name is not None and name not in {base.__name__ for base in cls.__mro__}:
            raise ValueError(f"the checkpoint is of {name}, not of {cls.__name__}; load it with {name}")
        if name is not None:
            refuse_other_format("the checkpoint", checkpoint.get(KEY))
