"""Adagrad and RMSprop: every number has a rate of its own, smaller where its gradients have been large.

They lead to `adam`, which adds to RMSprop a mean of the gradients and the correction of its first steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_at_least, check_share
from scratch_framework.core.left_out import NO_AUTOGRAD, NO_GRAPH, ONE_BY_ONE, leaves_out
from scratch_framework.core.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.parameter import Parameter, Rate


@leaves_out(foreach=ONE_BY_ONE, fused=ONE_BY_ONE, differentiable=NO_AUTOGRAD)
class Adagrad(Optimizer):
    """w <- w - lr g / (sqrt(s) + eps), where s adds up all g^2 so far.

    Rare features keep large steps. But s only grows, so that all steps become small in the end.
    Paper: https://jmlr.org/papers/v12/duchi11a.html
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-2,
        lr_decay: float = 0,
        weight_decay: Rate = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        """Choose rates.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            lr_decay: In step t, counted from 0, the learning rate is lr / (1 + t lr_decay).
            weight_decay: Adds weight_decay * w to the gradient; one for all or (R,).
            initial_accumulator_value: The s to start from.
            eps: Keeps the quotient finite where all gradients were 0.
            maximize: Go uphill.
        """
        super().__init__(params, lr, weight_decay, "sum", maximize=maximize)
        check_at_least(0, lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)
        self.lr_decay, self.eps = lr_decay, eps
        for total in self.state["sum"]:
            total.fill_(initial_accumulator_value)

    def update(self, parameter: Parameter, gradient: Tensor, state: list[Tensor]) -> None:
        """Move one parameter: s <- s + g^2, then w <- w - lr g / (sqrt(s) + eps).

        If every g were the same, s after t steps would be t g^2, and the steps lr / sqrt(t) whatever g is.
        """
        gradient, (total,) = self.decayed(parameter, gradient), state
        total.addcmul_(gradient, gradient)
        self.descend(
            parameter, gradient / (total.sqrt() + self.eps), 1 / (1 + (self.steps - 1) * self.lr_decay)
        )


@leaves_out(foreach=ONE_BY_ONE, differentiable=NO_AUTOGRAD, capturable=NO_GRAPH)
class RMSprop(Optimizer):
    """w <- w - lr g / (sqrt(v) + eps), where v is a running mean of g^2, which forgets the distant past.

    It is from a lecture: https://www.cs.toronto.edu/~hinton/coursera/lecture6/lec6.pdf
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: Rate = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Choose rates.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate; one for all or (R,).
            alpha: Share of v that stays from step to step, in [0, 1].
            eps: Keeps the quotient finite where all gradients were 0.
            weight_decay: Adds weight_decay * w to the gradient; one for all or (R,).
            momentum: Share of the last step that the next one keeps.
            centered: Divide by the deviation sqrt(v - m^2), m the running mean of g, in place of sqrt(v).
            maximize: Go uphill.
        """
        super().__init__(params, lr, weight_decay, "square", "mean", "velocity", maximize=maximize)
        check_share(alpha=alpha)
        check_at_least(0, eps=eps, momentum=momentum)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered

    def set_momentum(self, momentum: float) -> None:
        """Change the momentum."""
        check_at_least(0, momentum=momentum)
        self.momentum = momentum

    def update(self, parameter: Parameter, gradient: Tensor, state: list[Tensor]) -> None:
        """Move one parameter: v <- alpha v + (1 - alpha) g^2, then w <- w - lr g / (sqrt(v) + eps)."""
        gradient, (square, mean, velocity) = self.decayed(parameter, gradient), state
        square.mul_(self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
        size = square
        if self.centered:
            mean.lerp_(gradient, 1 - self.alpha)
            size = square - mean * mean
        direction = gradient / (size.sqrt() + self.eps)
        if self.momentum:
            direction = velocity.mul_(self.momentum).add_(direction)
        self.descend(parameter, direction)
