"""Optimisers: from the gradients to a step downhill. Here are the base and SGD, more in `rmsprop` and `adam`.

Values change in place, gradients stay as they are. The rates lr and weight_decay are one number for all
replicas, or a tensor (R,). With ``maximize`` a step goes uphill: it takes the gradients with a minus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.annotations import Checked
from scratch_framework.core.checks import check_at_least
from scratch_framework.core.left_out import NO_AUTOGRAD, ONE_BY_ONE, leaves_out
from scratch_framework.core.optim_checks import check_parameters, check_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.parameter import Parameter, Rate


class Optimizer(Checked):
    """Base of the optimisers. A subclass writes `update`, the step of one parameter.

    ``lr`` is read at every step: a schedule may set it. ``state`` is what updates remember, tensors by name.
    """

    def __init__(
        self, params: Iterable[Parameter], lr: Rate, weight_decay: Rate, *state: str, maximize: bool = False
    ) -> None:
        """Store the parameters (``model.parameters()``), and a state of zeros under each name."""
        self.params = check_parameters(params)
        check_rate("lr", lr, self.params)
        check_rate("weight_decay", weight_decay, self.params)
        self.lr, self.weight_decay, self.maximize, self.steps = lr, weight_decay, maximize, 0
        self.state = {name: [one.grad.new_zeros(one.grad.shape) for one in self.params] for name in state}
        # What a step moves: each parameter with its state, or, once compiled, one vector of them all.
        states = [[tensors[k] for tensors in self.state.values()] for k in range(len(self.params))]
        self.moved = list(zip(self.params, states, strict=True))

    def zero_grad(self) -> None:
        """Set the gradients to 0, before the next backward pass adds to them."""
        for parameter in self.params:
            parameter.zero_grad()

    def step(self) -> None:
        """Move every parameter by one step."""
        self.steps += 1
        for parameter, state in self.moved:
            self.update(parameter, parameter.grad.neg() if self.maximize else parameter.grad, state)

    def update(self, parameter: Parameter, gradient: Tensor, state: list[Tensor]) -> None:
        """Move one parameter by one step, given its gradient and its state."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def set_momentum(self, momentum: float) -> None:
        """Change how much of the past a step remembers, as `OneCycleLR` does."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def decayed(self, parameter: Parameter, direction: Tensor, scale: float = 1.0) -> Tensor:
        """Compute direction + scale weight_decay w: weight_decay w is the gradient of weight_decay/2 |w|^2.

        To shrink w by the factor 1 - lr weight_decay looks equal, but at the paper's 5e-3 * 1e-6 that factor
        is exactly 1 in float32. Here the small term is added before the step is rounded.
        """
        if isinstance(self.weight_decay, (int, float)) and self.weight_decay == 0:
            return direction
        rate = parameter.broadcast_rate("weight_decay", self.weight_decay)
        if isinstance(rate, (int, float)):
            return direction.add(parameter.value, alpha=scale * rate)
        return direction.addcmul(parameter.value, rate, value=scale)

    def descend(self, parameter: Parameter, direction: Tensor, scale: float = 1.0) -> None:
        """Apply the update w <- w - scale lr direction, each replica at its own rate."""
        rate = parameter.broadcast_rate("lr", self.lr)
        if isinstance(rate, (int, float)):
            parameter.value.add_(direction, alpha=-scale * rate)
        else:
            parameter.value.addcmul_(direction, rate, value=-scale)


@leaves_out(foreach=ONE_BY_ONE, fused=ONE_BY_ONE, differentiable=NO_AUTOGRAD)
class SGD(Optimizer):
    """w <- w - lr g, with momentum w <- w - lr v where the velocity v gathers past gradients.

    Where gradients zigzag across a valley, v goes along it; Nesterov's form looks a step ahead. This is
    torch's variant. In the paper's, v <- momentum v - lr g and w <- w + v; the two differ when lr changes, as
    here the new lr acts on past gradients too. Paper: https://proceedings.mlr.press/v28/sutskever13.html
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: Rate = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Rate = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Choose rates: ``momentum`` is the share of v that stays, ``dampening`` of g that is left out."""
        super().__init__(params, lr, weight_decay, "velocity", maximize=maximize)
        self.set_momentum(momentum)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(f"nesterov needs momentum above 0, dampening 0, got {momentum} and {dampening}")
        self.dampening, self.nesterov = dampening, nesterov

    def set_momentum(self, momentum: float) -> None:
        """Change the momentum."""
        check_at_least(0, momentum=momentum)
        self.momentum = momentum

    def update(self, parameter: Parameter, gradient: Tensor, state: list[Tensor]) -> None:
        """Move one parameter.

        g <- g + weight_decay w
        v <- momentum v + (1 - dampening) g        (the first v is g itself)
        w <- w - lr v,  or with Nesterov  w <- w - lr (g + momentum v)
        """
        direction, (velocity,) = self.decayed(parameter, gradient), state
        if self.momentum:
            if self.steps == 1:
                velocity.copy_(direction)
            else:
                velocity.mul_(self.momentum).add_(direction, alpha=1 - self.dampening)
            direction = direction.add(velocity, alpha=self.momentum) if self.nesterov else velocity
        self.descend(parameter, direction)
