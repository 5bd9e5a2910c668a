"""The steps of `sgd` and `adam` on one vector: the same formulas, in place, for all parameters at once.

Rates, momentum and counts are read from the plain optimiser, and its state moves into vectors too. So
schedules work as ever, and either form goes on where the other stopped. Only the gradient differs afterwards:
it has the decay in it, which saves a copy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.adam import Adam, AdamW
from scratch_framework.core.sgd import SGD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from scratch_framework.core.aliases import Rate
    from scratch_framework.core.optimizer import Optimizer
    from scratch_framework.fast.parameter_vector import ParameterVector


class SpreadRate:
    """A rate beside every number of a vector, written anew only when the rate has changed."""

    def __init__(self, vector: ParameterVector) -> None:
        """Start with a rate of 0.

        Args:
            vector: Whose numbers the rate acts on.
        """
        self.vector, self.rates = vector, vector.value.new_zeros(vector.value.shape)
        self.latest: float | list[float] = 0.0

    def __call__(self, rate: Rate) -> Tensor:
        """Give the vector of rates for a rate, a number or (R,)."""
        latest = rate if isinstance(rate, (int, float)) else rate.tolist()
        if latest != self.latest:
            self.latest = latest
            self.vector.broadcast_rate(rate, self.rates)
        return self.rates


class FlatOptimizer:
    """Base of the flat steps: decay and descent."""

    def __init__(self, vector: ParameterVector, optimizer: Optimizer) -> None:
        """Share the rates of a plain optimiser.

        Args:
            vector: The parameters.
            optimizer: The plain optimiser.
        """
        self.vector, self.optimizer = vector, optimizer
        self.spread_lr, self.spread_decay = SpreadRate(vector), SpreadRate(vector)

    def step(self) -> None:
        """Move all parameters by one step."""
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def decay(self, direction: Tensor, share: float = 1.0) -> None:
        """Add share * weight_decay * value to a direction."""
        rate = self.optimizer.weight_decay
        if not (isinstance(rate, (int, float)) and rate == 0):
            direction.addcmul_(self.vector.value, self.spread_decay(rate), value=share)

    def descend(self, direction: Tensor, share: float = 1.0) -> None:
        """Go: value <- value - share * lr * direction."""
        self.vector.value.addcmul_(direction, self.spread_lr(self.optimizer.lr), value=-share)


class FlatSGD(FlatOptimizer):
    """`SGD` on one vector."""

    optimizer: SGD

    def __init__(self, vector: ParameterVector, optimizer: SGD) -> None:
        """Share rates and state of a plain optimiser.

        Args:
            vector: The parameters.
            optimizer: The plain optimiser.
        """
        super().__init__(vector, optimizer)
        self.velocity = vector.value.new_zeros(vector.value.shape)
        self.views = vector.views(self.velocity)

    def step(self) -> None:
        """Move all parameters by one step."""
        direction = self.vector.grad
        self.decay(direction)
        if self.optimizer.momentum:
            direction = self.with_momentum(direction)
        self.descend(direction)

    def with_momentum(self, gradient: Tensor) -> Tensor:
        """Gather past gradients in the velocity.

        Args:
            gradient: The latest.

        Returns:
            The direction to go.
        """
        optimizer, velocity, past = self.optimizer, self.velocity, self.optimizer.velocity[0]
        if past is None:
            velocity.copy_(gradient)
        else:
            if past is not self.views[0]:  # the plain form began it
                move(optimizer.velocity, self.views)
            velocity.mul_(optimizer.momentum).add_(gradient, alpha=1 - optimizer.dampening)
        optimizer.velocity[:] = self.views
        return gradient.add_(velocity, alpha=optimizer.momentum) if optimizer.nesterov else velocity


class FlatAdam(FlatOptimizer):
    """`Adam` and `AdamW` on one vector."""

    optimizer: Adam

    def __init__(self, vector: ParameterVector, optimizer: Adam) -> None:
        """Share rates and state of a plain optimiser.

        Args:
            vector: The parameters.
            optimizer: The plain optimiser.
        """
        super().__init__(vector, optimizer)
        self.mean, self.square, self.direction = (
            vector.value.new_zeros(vector.value.shape) for _ in range(3)
        )
        optimizer.means = move(optimizer.means, vector.views(self.mean))
        optimizer.squares = move(optimizer.squares, vector.views(self.square))

    def step(self) -> None:
        """Move all parameters by one step.

        With C1 = 1 - beta1^t, C2 = sqrt(1 - beta2^t) and s = C2 / C1, Adam's formula reads

            (m / C1) / (sqrt(v) / C2 + eps) = s m / (sqrt(v) + C2 eps):

        two operations fewer, as s joins the learning rate.
        """
        optimizer, gradient, direction = self.optimizer, self.vector.grad, self.direction
        optimizer.steps += 1
        beta1, beta2 = optimizer.betas
        correction = math.sqrt(1 - beta2**optimizer.steps)
        share = correction / (1 - beta1**optimizer.steps)
        apart = isinstance(optimizer, AdamW)
        if not apart:
            self.decay(gradient)
        self.mean.lerp_(gradient, 1 - beta1)
        self.square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        direction.copy_(self.square).sqrt_().add_(correction * optimizer.eps).reciprocal_().mul_(self.mean)
        if apart:
            self.decay(direction, 1 / share)
        self.descend(direction, share)


def move(tensors: Sequence[Tensor | None], views: list[Tensor]) -> list[Tensor]:
    """Copy tensors into views of a vector.

    Args:
        tensors: What to copy; None is passed over.
        views: Where to, one for each.

    Returns:
        The views.
    """
    for tensor, view in zip(tensors, views, strict=True):
        if tensor is not None:
            view.copy_(tensor)
    return views


def flat_optimizer(vector: ParameterVector, optimizer: Optimizer) -> FlatOptimizer:
    """Find the flat form of an optimiser.

    Args:
        vector: The parameters.
        optimizer: The plain optimiser.

    Returns:
        Its step on the vector.
    """
    if type(optimizer) is SGD:
        return FlatSGD(vector, optimizer)
    if isinstance(optimizer, Adam) and type(optimizer) in (Adam, AdamW):
        return FlatAdam(vector, optimizer)
    raise ValueError(f"compile knows the optimisers SGD, Adam and AdamW, got {type(optimizer).__name__}")
