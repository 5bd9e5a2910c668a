"""Products of R matrices whose samples lie next to each other in memory: the order that BLAS likes best."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


class _Multiply(torch.autograd.Function):
    """x is (R, inputs, N), and so is `kept`, the same numbers, which backward reads; nothing is copied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor) -> Tensor:
        ctx.save_for_backward(kept, weight)
        return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias, weight, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, by operations that can be differentiated again."""
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        return (
            torch.bmm(weight.mT, grad) if wanted[0] else None,
            torch.bmm(grad, x.mT) if wanted[1] else None,
            # Of numbers that lie next to each other: else a sum rounds by a replica's place among R.
            grad.contiguous().sum(2, keepdim=True) if wanted[2] else None,
            None,
        )


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer of R replicas.

    Args:
        x: (R, N, inputs), best as a transposed view, `are_samples_next`.
        weight: (R * outputs, inputs).
        bias: (R * outputs,).

    Returns:
        (R, N, outputs), a transposed view.
    """
    return _multiply(x.mT, weight, bias, x.mT)


def multiply_one(x: Tensor, weight: Tensor, bias: Tensor | None, replicas: int) -> Tensor:
    """A linear layer of R replicas, which all get the same batch.

    Args:
        x: (N, inputs), without a gradient.
        weight: (R * outputs, inputs).
        bias: (R * outputs,).
        replicas: Number of replicas R.

    Returns:
        (R, N, outputs), a transposed view.
    """
    turned = x.T.contiguous()  # makes this product a seventh faster, and not that of the gradient
    return _multiply(turned.expand(replicas, -1, -1), weight, bias, x.T.expand(replicas, -1, -1))


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor) -> Tensor:
    bias = bias if bias is None else bias.view(len(x), -1, 1)
    product = cast("Callable[..., Tensor]", _Multiply.apply)
    return product(x, weight.unflatten(0, (len(x), -1)), bias, kept).mT


def are_samples_next(x: Tensor) -> bool:
    """Whether the samples of (R, N, F) lie next to each other in memory, and not the features."""
    return x.stride(1) == 1 and x.shape[2] > 1
