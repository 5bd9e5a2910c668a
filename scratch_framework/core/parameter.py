"""A parameter: numbers that training changes, and beside them the gradient of the loss by each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scratch_framework.core.annotations import Checked
from scratch_framework.core.broadcasting import append_dimensions

if TYPE_CHECKING:
    from torch import Tensor

Rate: TypeAlias = "float | Tensor"  # one number for all replicas, or (R,), one for each
State: TypeAlias = "dict[str, Tensor]"  # what a state_dict holds


class Buffer(Checked):
    """Numbers that a module keeps from batch to batch without a gradient, such as a running mean.

    The module changes them in place. They are in its state_dict; optimisers never see them.
    """

    def __init__(self, value: Tensor) -> None:
        """Wrap a value.

        Args:
            value: The numbers, kept as they are, not copied.
        """
        self.value = value

    def __repr__(self) -> str:
        return f"Buffer(shape={tuple(self.value.shape)}, dtype={self.value.dtype})"


class Parameter(Checked):
    """A value and its gradient, two tensors of one shape that live as long as the parameter.

    ``backward`` adds to ``grad`` and an optimiser changes ``value``, both in place. Gradients add up until
    `zero_grad`. So a parameter that is used twice gets the sum of both gradients, as the chain rule asks; and
    so does a batch that is passed in two halves.
    """

    def __init__(self, value: Tensor, replicas: int | None = None) -> None:
        """Wrap a value, with a gradient of zero.

        Args:
            value: The numbers, kept as they are, not copied.
            replicas: R, when the first dimension of ``value`` counts replicas (see `fast.replicas`).
        """
        if value.requires_grad:
            raise ValueError("value must not require grad (gradients are ours to compute): pass its detach()")
        self.value = value
        self.grad = value.new_zeros(value.shape)
        self.replicas = replicas

    def numel(self) -> int:
        """How many numbers it holds."""
        return self.value.numel()

    def zero_grad(self) -> None:
        """Set the gradient to 0."""
        self.grad.zero_()

    def broadcast_rate(self, name: str, rate: Rate) -> Rate:
        """Shape a rate so that it multiplies the value replica by replica.

        Args:
            name: Which rate, ``lr`` or ``weight_decay``.
            rate: One number, or (R,).

        Returns:
            The number as it is, or (R, 1, ...) in the value's type and on its device.
        """
        if isinstance(rate, (int, float)):
            return rate
        return append_dimensions(rate.to(self.value), self.value.dim())

    def __repr__(self) -> str:
        return f"Parameter(shape={tuple(self.value.shape)}, dtype={self.value.dtype})"
