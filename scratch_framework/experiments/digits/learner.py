"""R nets that learn from pairs of digits: what a step minimises, and what a batch is counted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Generator, Tensor

import scratch_framework as sf
from scratch_framework.experiments.digits.networks import NETWORKS, PaperSiamese, initial_state
from scratch_framework.experiments.disc.points import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scratch_framework.core.parameter import State

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]  # images (N, 2R, 14, 14), target (N, R), classes (N, R, 2)
Sums: TypeAlias = dict[
    str, Tensor
]  # loss, error and maybe digit_error, (R,), summed over the pairs of a batch


class DigitLearner:
    """R nets that are told which digit of a pair is larger: `cnn` and `weight_sharing`."""

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
        masks = [Generator().manual_seed(stream(seed, "dropout")) for seed in seeds]
        self.model = NETWORKS[net](replicas=len(seeds), dtype=dtype, masks=masks)
        self.model.load_state_dict(initial_state(net, seeds))
        self.optimizer = sf.SGD(self.model.parameters(), settings["lr"])
        self.comparison = sf.CrossEntropyLoss(replicas=len(seeds))

    def step(self, batch: Batch) -> Sums:
        """Learn from a batch.

        Args:
            batch: Pairs.

        Returns:
            The figures before the step.
        """
        self.optimizer.zero_grad()
        sums = self.judge(batch)
        self.backward()
        self.optimizer.step()
        return sums

    def judge(self, batch: Batch) -> Sums:
        """Compare what the nets say with what is right.

        Args:
            batch: Pairs.

        Returns:
            Their figures.
        """
        images, target, _ = batch
        pairs = images.to(self.dtype).unflatten(1, (len(self.seeds), 2)).movedim(1, 0)  # (R, N, 2, 14, 14)
        answer = self.model(pairs)  # (R, N, 2)
        loss = self.comparison(answer, target.mT)  # (R,), the mean
        wrong = answer.argmax(-1) != target.mT
        return {"loss": loss * len(target), "error": wrong.sum(-1)}

    def backward(self) -> None:
        """Find the gradients of the loss of the batch that was judged last."""
        self.model.backward(self.comparison.backward())

    def state_dict(self) -> State:
        """Parameters and running statistics, (R, ...) by name."""
        return self.model.state_dict()


class AuxiliaryLearner(DigitLearner):
    """R nets that are also told the digits: gamma * comparison + alpha * (first digit + second digit)."""

    model: PaperSiamese

    def __init__(
        self, net: str, seeds: Sequence[int], settings: Mapping[str, float], dtype: torch.dtype
    ) -> None:
        """Build nets, losses and optimiser, as `DigitLearner` does."""
        super().__init__(net, seeds, settings, dtype)
        self.reading = sf.CrossEntropyLoss(replicas=len(seeds))
        # The mean over both digits is half of the sum of the two losses.
        weights = (settings["gamma"], 2 * settings["alpha"])
        self.gamma, self.alpha = (torch.full((len(seeds),), weight, dtype=dtype) for weight in weights)

    def judge(self, batch: Batch) -> Sums:
        """Compare what the nets say, of digits too, with what is right."""
        sums = super().judge(batch)
        classes = batch[2].movedim(1, 0)  # (R, N, 2)
        scores = self.model.features  # (R, N, 2, 10)
        loss = self.reading(scores.flatten(1, 2), classes.flatten(1))  # (R,)
        sums["loss"] = self.gamma * sums["loss"] + self.alpha * loss * classes.shape[1]
        misread = (scores.argmax(-1) != classes).sum((1, 2))
        return sums | {"digit_error": misread / 2}

    def backward(self) -> None:
        """Find the gradients: of the digits' losses where the trunk's outputs leave it."""
        digits = self.reading.backward(self.alpha).view(self.model.features.shape)
        self.model.backward(self.comparison.backward(self.gamma), digits)


def make_learner(
    net: str, seeds: Sequence[int], settings: Mapping[str, float], dtype: torch.dtype
) -> DigitLearner:
    """Build the learner of a net, as `DigitLearner` takes the arguments."""
    kind = AuxiliaryLearner if net == "auxiliary" else DigitLearner
    return kind(net, seeds, settings, dtype)
