"""Products of R matrices whose samples lie next to each other in memory: the order that BLAS likes best."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class _Multiply(torch.autograd.Function):
    """x is (R, inputs, N); nothing is copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias, weight, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, by operations that can be differentiated again."""
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        ones = grad.new_ones(len(grad), grad.shape[2], 1)  # a sum would round by a replica's place among R
        return (
            torch.bmm(weight.mT, grad) if wanted[0] else None,
            torch.bmm(grad, x.mT) if wanted[1] else None,
            torch.bmm(grad, ones) if wanted[2] else None,
        )


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer of R replicas.

    Args:
        x: (R, N, inputs), best as a transposed view, `are_samples_next`, or expanded from one batch.
        weight: (R * outputs, inputs).
        bias: (R * outputs,).

    Returns:
        (R, N, outputs), a transposed view.
    """
    replicas = len(x)
    bias = bias if bias is None else bias.view(replicas, -1, 1)
    product = cast("Callable[..., Tensor]", _Multiply.apply)
    return product(x.mT, weight.unflatten(0, (replicas, -1)), bias).mT


def are_samples_next(x: Tensor) -> bool:
    """Whether the samples of (R, N, F) lie next to each other in memory, and not the features."""
    return x.stride(1) == 1 and x.shape[2] > 1
