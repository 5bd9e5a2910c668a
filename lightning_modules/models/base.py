"""What all three models share: a LightningModule that compares two digits, for R replicas at once.

A batch is ``(images, target, classes)``: images (V * N, 2R, 14, 14) in 0..255, of V views of N pairs, one
after the other; target (N, R), 1 where the first digit is at most the second; classes (N, R, 2), the digits.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

from torch import Tensor

from lightning_modules.models.batches import Batch, as_batch, as_images
from lightning_modules.models.settings import PairSettings
from lightning_modules.networks.pairs import Outputs, PairReplicas, make_replicas
from lightning_modules.replicas.apart import weigh_by_pairs
from lightning_modules.replicas.base import ReplicatedBase
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import wide
from lightning_modules.replicas.per_replica import Seeds, as_seeds, refuse_repeated, replica_number
from lightning_modules.replicas.state import export_replica
from lightning_modules.results.metrics import Answers
from lightning_modules.results.runs import OVER_PAIRS, measure


class PairModule(ReplicatedBase, ABC):
    """Network and steps of every model; a subclass adds the loss.

    It measures ``loss`` and the metrics of `Run` that have `values`, by stage.
    """

    settings_type: ClassVar[type[PairSettings]]
    settings: PairSettings
    has_digit_heads = False
    ensemble = 1  # replicas that are averaged for one run; loading a checkpoint sets it
    network: PairReplicas

    def __init__(self, seed: Seeds = 0, **settings: Any) -> None:
        """Build one network a seed, initialised from it.

        Args:
            seed: R seeds (a single number: one replica). The default is always 0: `seed_everything` has no
                say, so two modules made without a seed are the same training.
            **settings: Fields of `settings_type`; what is left out is the paper's. `lr` and the weights of
                losses may be R numbers, one for each seed.

        Raises:
            ValueError: An argument is out of range, unknown, or has no effect beside the others.
        """
        own, seeds = self.settings_type.in_python(type(self).__name__, settings), as_seeds(seed)
        refuse_repeated(seeds, *vars(own).values())
        network = make_replicas(
            seeds,
            own.branches,
            self.has_digit_heads,
            trunk=own.trunk,
            width=own.width,
            pool=own.pool,
            head=own.head,
            temperature=own.temperature,
            swap_trunks=own.swap_trunks,
        )
        super().__init__(
            network,
            seeds,
            own.lr,
            {"loss": None, **OVER_PAIRS},
            optimizer=own.optimizer,
            weight_decay=own.weight_decay,
            schedule=own.schedule,
        )
        self.settings = own
        seed, settings = self.seeds, own.of_module()  # hyperparameters are kept in full, as plain values
        self.save_hyperparameters()
        self.prepare()

    def prepare(self) -> None:
        """Called once the network is built: a model sets up here what else it needs."""

    @classmethod
    def from_settings(cls, settings: PairSettings, seeds: Seeds) -> Self:
        """Build one network a seed.

        Args:
            settings: Of `settings_type`, those of the data module and of the Trainer among them.
            seeds: R seeds.

        Raises:
            ValueError: The settings do not go together.
        """
        return cls(seed=seeds, **settings.of_module())

    @abstractmethod
    def loss(self, outputs: Outputs, target: Tensor, classes: Tensor | None) -> Tensor:
        """The loss of each pair.

        Args:
            outputs: The network's outputs for V * N pairs.
            target: (N, R), 1 where first <= second.
            classes: (N, R, 2), the digits; None for a model without digit heads, so that none can reach it.

        Returns:
            (N, R), of several views the mean.
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
        views = len(images) // len(target)
        answers = Answers(outputs.pair.detach(), target.repeat(views, 1))
        if self.has_digit_heads and outputs.digits is not None and classes is not None:
            digits, classes = outputs.digits.detach(), classes.repeat(views, 1, 1)
            answers = replace(answers, digits=digits, classes=classes)
        self.count(stage, {"loss": losses.detach(), **measure(stage, answers)})
        return losses, outputs

    def replica(self, index: int) -> Self:
        """Export one replica as a module with one network, which computes as this one does.

        Args:
            index: Which replica, from 0.

        Raises:
            IndexError: There is no such replica.
        """
        number = replica_number(index, len(self.seeds))
        single = self.from_settings(self._taken([number]), self.seeds[number])
        single = single.to(self.device, next(self.network.parameters()).dtype)
        state = export_replica(self.network.state_dict(), number, len(self.seeds))
        single.network.load_state_dict(state)
        for ours, its in zip(self.modules(), single.modules(), strict=True):
            its.training = ours.training
            if isinstance(ours, Sequential) and isinstance(its, Sequential):
                its.engine, its.layout = ours.engine, ours.layout
        return single

    def select(self, kept: Sequence[int]) -> None:
        self.settings = self._taken(kept)
        super().select(kept)

    def _taken(self, kept: Sequence[int]) -> PairSettings:
        return replace(self.settings, lr=self.lr).take(kept)  # the rates may have been set since
