"""An optimiser takes the gradients and moves the parameters a step downhill.

Its rates may differ from replica to replica: lr and weight_decay are a number for all, or a tensor of R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from scratch_framework.core.aliases import Rate


class Optimizer:
    """Base of the optimisers: rates, checks and the step itself; a subclass chooses the direction.

    ``lr`` is read at every step, so a schedule sets it.
    """

    def __init__(self, params: Iterable[Parameter], lr: Rate, weight_decay: Rate) -> None:
        """Take parameters into care.

        Args:
            params: Parameters, as ``model.parameters()`` gives them.
            lr: Learning rate, at least 0; one for all or (R,).
            weight_decay: How strongly parameters are drawn to 0, at least 0; one for all or (R,).
        """
        self.params = list(params)
        if not self.params:
            raise ValueError("params must hold at least one parameter, got none")
        for parameter in self.params:
            if not isinstance(parameter, Parameter):
                raise ValueError(f"params must hold parameters (model.parameters()), got {parameter!r}")
        if len({id(parameter) for parameter in self.params}) < len(self.params):
            twice = next(one for one in self.params if sum(other is one for other in self.params) > 1)
            raise ValueError(f"params must hold every parameter once, got this {twice!r} twice")
        check_rate("lr", lr, self.params)
        check_rate("weight_decay", weight_decay, self.params)
        self.lr, self.weight_decay = lr, weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients, before the next backward pass adds to them."""
        for parameter in self.params:
            parameter.zero_grad()

    def step(self) -> None:
        """Move every parameter by one step."""
        raise NotImplementedError(f"{type(self).__name__} defines no step")

    def set_momentum(self, momentum: float) -> None:
        """Change how much of the past a step remembers, as `OneCycleLR` does."""
        raise NotImplementedError(f"{type(self).__name__} has no momentum")

    def decay(self, parameter: Parameter, direction: Tensor) -> Tensor:
        """Add weight_decay * value to a direction: the gradient of weight_decay / 2 * |value|^2.

        To shrink the value by the factor 1 - lr * weight_decay looks equal, but at the paper's 5e-3 * 1e-6
        that factor is exactly 1 in float32. Here the small term has its say before the step is rounded.
        """
        if isinstance(self.weight_decay, (int, float)) and self.weight_decay == 0:
            return direction
        return direction + broadcast_rate(self.weight_decay, parameter.value) * parameter.value

    def descend(self, parameter: Parameter, direction: Tensor) -> None:
        """Go: value <- value - lr * direction, each replica at its own rate."""
        parameter.value.sub_(broadcast_rate(self.lr, parameter.value) * direction)


def broadcast_rate(rate: Rate, value: Tensor) -> Rate:
    """Shape a rate so that it multiplies replica by replica.

    Args:
        rate: A number, which stays as it is, or (R,).
        value: What it will multiply, (R, ...).

    Returns:
        The number, or (R, 1, ...) in the type and on the device of ``value``.
    """
    if isinstance(rate, (int, float)):
        return rate
    return rate.to(value).reshape(-1, *[1] * (value.dim() - 1))


def check_rate(name: str, rate: Rate, params: list[Parameter]) -> None:
    """Refuse a negative rate, and a tensor that is not one rate for each replica.

    Args:
        name: The argument's name.
        rate: The rate.
        params: What it will act on.
    """
    if isinstance(rate, (int, float)):
        if not rate >= 0:  # also refuses NaN
            raise ValueError(f"{name} must be at least 0, got {rate}")
        return
    for parameter in params:
        if parameter.replicas is None or tuple(rate.shape) != (parameter.replicas,):
            raise ValueError(
                f"{name} must be a number or hold one for each replica, got shape {tuple(rate.shape)} for"
                f" {parameter.replicas or 'no'} replicas"
            )
    if not bool((rate >= 0).all()):
        raise ValueError(f"{name} must be at least 0 for every replica, got {rate.tolist()}")
