"""A parameter: numbers that training changes, and beside them the gradient of the loss by each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Parameter:
    """A value and its gradient, two tensors of one shape that live as long as the parameter.

    ``backward`` adds to ``grad`` and an optimiser changes ``value``, both in place. Gradients add up until
    `zero_grad`: so a parameter that is used twice, or a batch that is served in two halves, gets the sum, as
    the chain rule asks.
    """

    def __init__(self, value: Tensor, replicas: int | None = None) -> None:
        """Wrap a value, with a gradient of zero.

        Args:
            value: The numbers, kept as they are, not copied.
            replicas: R, when the first dimension of ``value`` counts replicas (see `replicas.py`).
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
        """Forget the gradient."""
        self.grad.zero_()

    def __repr__(self) -> str:
        return f"Parameter(shape={tuple(self.value.shape)}, dtype={self.value.dtype})"
