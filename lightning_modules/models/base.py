"""What all three models share: a LightningModule that compares two digits, for R replicas at once.

A batch is ``(images, target, classes)``: images (V * N, 2R, 14, 14) in 0..255, of V views of N pairs, one
after the other; target (N, R), 1 where the first digit is at most the second; classes (N, R, 2), the digits.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Self, cast

from torch import Tensor

from lightning_modules.command.limits import MOST_CHANNELS, check_range
from lightning_modules.command.options import DEFAULTS, Branches, Options
from lightning_modules.command.plain import plain
from lightning_modules.models.batches import Batch, as_batch, as_images
from lightning_modules.models.effects import BRANCHES, checked
from lightning_modules.networks.pairs import Outputs, PairNetwork, make_network
from lightning_modules.replicas.apart import weigh_by_pairs
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import wide
from lightning_modules.replicas.module import ReplicatedModule
from lightning_modules.replicas.per_replica import PerReplica, Seeds, as_seeds
from lightning_modules.replicas.state import export_replica


class PairModule(ReplicatedModule, ABC):
    """Network and steps of every model; a subclass adds the loss.

    The metrics are ``loss`` and ``error`` (misclassified share of pairs), and ``digit_error`` where digit
    labels train the trunk.
    """

    model_name: str  # as commands call it
    has_digit_heads = False
    ensemble = 1  # replicas that are averaged for one run; loading a checkpoint sets it
    network: PairNetwork

    def __init__(self, seed: Seeds, lr: PerReplica, options: Options) -> None:
        """Build the network, each replica initialised from its seed.

        Args:
            seed: R seeds, or a single one.
            lr: Learning rate, or R of them.
            options: What is not the paper's.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        seeds = as_seeds(seed)
        own = checked(self.model_name, type(self).__name__, options)
        ranges = {"width": (1, MOST_CHANNELS), "weight_decay": (0, math.inf), "temperature": (0.01, 100)}
        for name, (least, most) in ranges.items():
            if (value := own.get(name)) is not None:
                check_range(name, cast("float", value), least, most)
        branches: Branches = own.get("branches") or BRANCHES[self.model_name]
        settings: dict[str, Any] = {**DEFAULTS, **own}
        network = make_network(
            len(seeds),
            branches,
            self.has_digit_heads,
            swap_trunks=settings["turns"],
            **{name: settings[name] for name in ("trunk", "width", "pool", "head", "temperature")},
        )
        super().__init__(
            network,
            seeds,
            lr,
            ["loss", "error"] + ["digit_error"] * self.has_digit_heads,
            **{name: settings[name] for name in ("optimizer", "weight_decay", "schedule")},
        )
        self.options, self.branches = own, branches

    @abstractmethod
    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """The loss of each pair.

        Args:
            outputs: The network's outputs for V * N pairs.
            target: (N, R), 1 where first <= second.
            classes: (N, R, 2), the digits; None for a model without digit heads, so that none can reach it.

        Returns:
            (N, R).
        """

    def regulariser(self, outputs: Outputs, views: int) -> Tensor:
        """The part of the training loss that needs no label.

        Args:
            outputs: The network's outputs for V * N pairs.
            views: Number of views V.

        Returns:
            (R,).
        """
        return outputs.pair.new_zeros(len(self.seeds))

    def observe(self, outputs: Outputs, target: Tensor) -> None:
        """Called in each training step; most models have no use for it.

        Args:
            outputs: The network's outputs for V * N pairs.
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
        self._step("val", *self._checked(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the errors of test pairs; return their logits (N, R, 2), for callbacks to look at."""
        return self._step("test", *self._checked(batch))[1].pair

    def predict_step(self, batch: Batch | tuple[Tensor] | Tensor, batch_idx: int) -> Tensor:
        """The probability that the first digit is at most the second, (N, R); labels need not be there."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        return wide(self(images).pair).softmax(-1)[..., 1]

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
        self.count(stage, values)
        return losses, outputs

    def replica(self, index: int) -> Self:
        """Export one replica as a module with one network, which computes as this one does.

        Args:
            index: Which replica, from 0.

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
