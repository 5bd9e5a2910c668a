"""What all comparisons share: a LightningModule that trains R replicas at once.

A batch is ``(images, target, classes)``: images (V * N, 2R, 14, 14) in 0..255, of V views of N pairs, one
after the other; target (N, R), 1 where the first digit is at most the second; classes (N, R, 2), the digits.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast
from zipfile import is_zipfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.utilities.model_helpers import _restricted_classmethod
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_modules.command.limits import MOST_CHANNELS, check_range
from lightning_modules.command.options import DEFAULTS, Branches, Options
from lightning_modules.command.plain import plain
from lightning_modules.models.batches import Batch, as_batch, as_images
from lightning_modules.models.effects import BRANCHES, checked
from lightning_modules.networks.pairs import Outputs, make_network
from lightning_modules.replicas.apart import clip_norms, refuse_coupling, weigh_by_pairs
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import wide
from lightning_modules.replicas.metrics import ReplicaMean, epoch_state, restore_epoch
from lightning_modules.replicas.optimizers import make_optimizer, with_warmup_linear
from lightning_modules.replicas.per_replica import PerReplica, Seeds, as_seeds, per_replica
from lightning_modules.replicas.pruning import select_replicas
from lightning_modules.replicas.seeding import initialise, reseed
from lightning_modules.replicas.state import export_replica


class Comparison(pl.LightningModule, ABC):
    """Steps, metrics and optimiser of every comparison; a subclass adds the network and the loss.

    Logs ``loss`` and ``error`` (misclassified share of pairs), and ``digit_error`` where there are digit
    heads, as ``train/...``, ``val/...`` and ``test/...``: the mean over replicas, once an epoch. `figures`
    gives each replica's own.
    """

    model_name: str  # as commands call it
    has_digit_heads = False
    _reached: dict[str, Any] | None = None  # of a checkpoint that training has not yet gone on from
    ensemble = 1  # replicas that are averaged for one run; loading a checkpoint sets it

    def __init__(self, seed: Seeds, lr: PerReplica, options: Options) -> None:
        """Build the network, each replica initialised from its seed.

        Args:
            seed: R seeds, or a single one.
            lr: Learning rate, or R of them.
            options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        super().__init__()
        self.seeds = as_seeds(seed)
        self.options = checked(self.model_name, type(self).__name__, options)
        ranges = {"width": (1, MOST_CHANNELS), "weight_decay": (0, math.inf), "temperature": (0.01, 100)}
        for name, (least, most) in ranges.items():
            if (value := self.options.get(name)) is not None:
                check_range(name, cast("float", value), least, most)
        self.branches: Branches = self.options.get("branches") or BRANCHES[self.model_name]
        self.lr = lr
        settings: dict[str, Any] = {**DEFAULTS, **self.options}
        self.network = make_network(
            len(self.seeds),
            self.branches,
            self.has_digit_heads,
            swap_trunks=settings["turns"],
            **{name: settings[name] for name in ("trunk", "width", "pool", "head", "temperature")},
        )
        initialise(self.network, self.seeds)
        names = ["loss", "error"] + ["digit_error"] * self.has_digit_heads
        self.metrics = nn.ModuleDict(
            {
                f"{stage}/{name}": ReplicaMean(len(self.seeds))
                for stage in ("train", "val", "test")
                for name in names
            }
        )

    @property
    def lr(self) -> list[float]:
        """The learning rate of each of R replicas; one that is set to a single number is that of all."""
        return self._lr

    @lr.setter
    def lr(self, lr: PerReplica) -> None:
        self._lr = per_replica("lr", lr, len(self.seeds), positive=True)
        if "lr" in self.hparams:
            self.hparams["lr"] = self._lr

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
        """Compare the digits of pairs (N, 2R, 14, 14), of any type of number.

        Raises:
            ValueError: They have another shape.
        """
        images = as_images(pairs, len(self.seeds))
        return cast("Outputs", self.network(images.to(next(self.network.parameters()).dtype)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the replicas' mean losses: each one's gradient is what it would be alone.

        Of several processes each weighs as much as its pairs, so that the average of their gradients is the
        mean over all pairs of the step.
        """
        images, target, classes = self._checked(batch, views=True)
        losses, outputs = self._step("train", images, target, classes)
        self.observe(outputs, target)
        loss = (losses.mean(0) + self.regulariser(outputs, len(images) // len(target))).sum()
        return weigh_by_pairs(loss, len(target))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the errors of validation pairs."""
        self._step("val", *self._checked(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2), for callbacks to look at."""
        return self._step("test", *self._checked(batch))[1].pair

    def predict_step(self, batch: Batch | tuple[Tensor] | Tensor, batch_idx: int) -> Tensor:
        """The probability that the first digit is at most the second, (N, R); labels need not be there."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        return wide(self(images).pair).softmax(-1)[..., 1]

    def make_optimizer(self) -> Optimizer:
        """The optimiser, each replica at its learning rate."""
        settings: dict[str, Any] = {**DEFAULTS, **self.options}
        return make_optimizer(settings["optimizer"], self.network, self.lr, settings["weight_decay"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and its schedule by steps.

        Raises:
            ValueError: The schedule needs the number of steps, and it is not known.
        """
        optimizer = self.make_optimizer()
        if self.options.get("schedule") != "warmup_linear":
            return optimizer
        schedule = with_warmup_linear(optimizer, self._steps("schedule warmup_linear"))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each replica's gradient by itself, as that of its seed alone would be.

        Args:
            optimizer: Of the parameters.
            gradient_clip_val: The Trainer's; None or 0 clips nothing.
            gradient_clip_algorithm: The Trainer's: norm or value.
        """
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

    def on_fit_start(self) -> None:
        """Refuse a Trainer that would couple the replicas.

        Raises:
            ValueError: It would.
        """
        refuse_coupling(self.trainer, self.lr)

    def progress(self) -> float:
        """Share of training that is done.

        Raises:
            ValueError: The number of steps is not known.
        """
        return self.trainer.global_step / self._steps("what depends on the share of training that is done")

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
        """Export one replica as an ordinary module with one network, which computes as this one does.

        Args:
            index: Which one, from 0.

        Raises:
            IndexError: There is no such replica.
        """
        number = plain("replica", index, int)
        if not 0 <= number < len(self.seeds):
            raise IndexError(f"replica must lie in 0..{len(self.seeds) - 1}, got {index}")
        own = {
            name: value[number] if isinstance(value, list) else value for name, value in self.hparams.items()
        }
        single = type(self)(**own).to(self.device, next(self.network.parameters()).dtype)
        state = export_replica(self.network.state_dict(), number, len(self.seeds))
        single.network.load_state_dict(state)
        for ours, its in zip(self.modules(), single.modules(), strict=True):
            its.training = ours.training
            if isinstance(ours, Sequential) and isinstance(its, Sequential):
                its.engine, its.layout = ours.engine, ours.layout
        return single

    def select(self, kept: Sequence[int]) -> None:
        """Drop all replicas but some.

        Args:
            kept: Which ones stay, in their order.
        """
        select_replicas(self.network, kept, len(self.seeds))
        for metric in self.metrics.values():
            cast("ReplicaMean", metric).select(kept)
        own = {name: value for name, value in self.hparams.items() if isinstance(value, list)}
        self.seeds, self._lr = [self.seeds[r] for r in kept], [self.lr[r] for r in kept]
        self.hparams.update({name: [value[r] for r in kept] for name, value in own.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which model it is of, so that a file alone is enough to load it, and what its epoch reached."""
        checkpoint["model"] = type(self).__name__
        if "optimizer_states" in checkpoint:  # training is to go on
            state = epoch_state(self.network, self._metrics("train"), self.trainer.strategy)
            checkpoint["epoch_state"] = {"epoch": self.current_epoch, **state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what its epoch reached, until training goes on.

        Raises:
            ValueError: It is of another class, and of none that this one inherits from.
        """
        self._refuse_other(checkpoint)
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
    def load_from_checkpoint(
        cls,  # noqa: N805
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **settings: Any,
    ) -> Self:
        """Lightning's; a file of another model is refused as such, before its settings are.

        Args:
            checkpoint_path: The file.
            map_location: Where to load it; see Lightning.
            hparams_file: See there.
            strict: See there.
            weights_only: See there.
            **settings: Settings that are to be otherwise.

        Raises:
            ValueError: It is of another class, and of none that this one inherits from.
        """
        if isinstance(checkpoint_path, str | Path) and is_zipfile(checkpoint_path):
            found = torch.load(checkpoint_path, map_location="meta", weights_only=weights_only, mmap=True)
            cls._refuse_other(found)
        return super().load_from_checkpoint(
            checkpoint_path,
            map_location=map_location,
            hparams_file=hparams_file,
            strict=strict,
            weights_only=weights_only,
            **settings,
        )

    @classmethod
    def _refuse_other(cls, checkpoint: Mapping[str, Any]) -> None:
        name = checkpoint.get("model")
        if name is not None and name not in {base.__name__ for base in cls.__mro__}:
            raise ValueError(f"the checkpoint is of {name}, not of {cls.__name__}; load it with {name}")

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

    def _checked(self, batch: Batch, views: bool = False) -> Batch:
        return as_batch(batch, len(self.seeds), self.has_digit_heads, views)

    def _step(
        self, stage: str, images: Tensor, target: Tensor, classes: Tensor | None
    ) -> tuple[Tensor, Outputs]:
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

    def _steps(self, what: str) -> int:
        """The optimiser's steps in all of training, for what needs them."""
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < math.inf:
            raise ValueError(f"{what} needs an end of training: give the Trainer max_epochs or max_steps")
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
            raise ValueError(f"{what} needs the number of steps, which GradientAccumulationScheduler changes")
        return max(int(steps), 1)

    def _metrics(self, stage: str) -> dict[str, ReplicaMean]:
        metrics = cast("dict[str, ReplicaMean]", dict(self.metrics.items()))
        return {tag: metric for tag, metric in metrics.items() if tag.startswith(stage)}

    def _reset(self, stage: str) -> None:
        for metric in self._metrics(stage).values():
            metric.reset()

    def _log(self, stage: str) -> None:
        self.log_dict({tag: value.mean() for tag, value in self.figures(stage).items()})
