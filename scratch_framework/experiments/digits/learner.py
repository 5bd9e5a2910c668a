"""R nets that learn from pairs of digits: the step, and loss and error counts of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Generator, Tensor

import scratch_framework as sf
from lightning_modules.replicas.seeding import derive_seed
from lightning_modules.results.metrics import Answers
from scratch_framework.core.parameter import State
from scratch_framework.experiments.digits.networks import NETWORKS, PaperSiamese, initial_state

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]  # images (N, 2R, 14, 14), target (N, R), classes (N, R, 2)
Sums: TypeAlias = dict[str, Tensor]  # loss, error and maybe digit_error, (R,): sums over pairs of a batch


class DigitLearner:
    """R nets whose only target is which digit of a pair is larger: `cnn` and `weight_sharing`."""

    def __init__(
        self, net: str, seeds: Sequence[int], settings: Mapping[str, float], dtype: torch.dtype
    ) -> None:
        """Build nets, loss and optimiser.

        Args:
            net: Which of the three.
            seeds: R seeds, of weights and of what is dropped.
            settings: Of the recipe: lr, and for `auxiliary` alpha and gamma.
            dtype: Type to compute in.
        """
        self.seeds, self.dtype = seeds, dtype
        masks = [Generator().manual_seed(derive_seed(seed, "dropout")) for seed in seeds]
        self.model = NETWORKS[net](replicas=len(seeds), dtype=dtype, masks=masks)
        self.model.load_state_dict(initial_state(net, seeds))
        self.optimizer = sf.SGD(self.model.parameters(), settings["lr"])
        self.comparison = sf.CrossEntropyLoss(replicas=len(seeds))

    @torch.inference_mode()  # every gradient is computed here, so autograd need not watch
    def step(self, batch: Batch) -> Sums:
        """Learn from a batch; return loss and errors before the step."""
        self.optimizer.zero_grad()
        sums = self.loss_and_errors(batch)
        self.backward()
        self.optimizer.step()
        return sums

    def loss_and_errors(self, batch: Batch) -> Sums:
        """Sum loss and errors over the pairs of a batch; `backward` differentiates the loss."""
        images, target, _ = batch
        answer = self._compare(images)  # (R, N, 2)
        loss = self.comparison(answer, target.mT)  # (R,), the mean
        wrong = answer.argmax(-1) != target.mT
        return {"loss": loss * len(target), "error": wrong.sum(-1)}

    def answers(self, batch: Batch) -> Answers:
        """What the nets answer to a batch, and what is right."""
        images, target, _ = batch
        return Answers(self._compare(images).movedim(1, 0), target)

    def _compare(self, images: Tensor) -> Tensor:
        pairs = images.to(self.dtype).unflatten(1, (len(self.seeds), 2)).movedim(1, 0)  # (R, N, 2, 14, 14)
        return self.model(pairs)

    def backward(self) -> None:
        """Compute the gradients of the last batch's mean loss."""
        self.model.backward(self.comparison.backward())

    def state_dict(self) -> State:  # (R, ...) by name
        return self.model.state_dict()


class AuxiliaryLearner(DigitLearner):
    """R nets that learn the digits too; the loss is gamma * comparison + alpha * (first + second digit)."""

    model: PaperSiamese

    def __init__(
        self, net: str, seeds: Sequence[int], settings: Mapping[str, float], dtype: torch.dtype
    ) -> None:
        super().__init__(net, seeds, settings, dtype)
        self.reading = sf.CrossEntropyLoss(replicas=len(seeds))
        # The mean over both digits is half of the sum of the two losses.
        weights = (settings["gamma"], 2 * settings["alpha"])
        self.gamma, self.alpha = (torch.full((len(seeds),), weight, dtype=dtype) for weight in weights)

    def loss_and_errors(self, batch: Batch) -> Sums:
        """Sum loss and errors over the pairs of a batch, those of the digits included."""
        sums = super().loss_and_errors(batch)
        classes = batch[2].movedim(1, 0)  # (R, N, 2)
        scores = self.model.features  # (R, N, 2, 10)
        loss = self.reading(scores.flatten(1, 2), classes.flatten(1))  # (R,)
        sums["loss"] = self.gamma * sums["loss"] + self.alpha * loss * classes.shape[1]
        misread = (scores.argmax(-1) != classes).sum((1, 2))
        return sums | {"digit_error": misread / 2}

    def answers(self, batch: Batch) -> Answers:
        """What the nets answer to a batch, the digits that they read included."""
        pairs = super().answers(batch)
        return replace(pairs, digits=self.model.features.movedim(1, 0), classes=batch[2])

    def backward(self) -> None:
        """Compute the gradients; those of the digits' losses enter at the trunk's outputs."""
        digits = self.reading.backward(self.alpha).view(self.model.features.shape)
        self.model.backward(self.comparison.backward(self.gamma), digits)


def make_learner(
    net: str, seeds: Sequence[int], settings: Mapping[str, float], dtype: torch.dtype
) -> DigitLearner:
    """Build the learner of a net: its arguments are those of `DigitLearner`."""
    kind = AuxiliaryLearner if net == "auxiliary" else DigitLearner
    return kind(net, seeds, settings, dtype)
