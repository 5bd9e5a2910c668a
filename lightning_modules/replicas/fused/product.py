"""A linear layer of each replica."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lightning_modules.replicas import products
from lightning_modules.replicas.fused.memory import cut
from lightning_modules.replicas.fused.step import Fused
from lightning_modules.replicas.layers import Linear
from lightning_modules.replicas.one_batch import OneBatch

if TYPE_CHECKING:
    from collections.abc import Callable


class Multiply(torch.autograd.Function):
    """Linear layers: (R, N, inputs), (R * outputs, inputs) and a bias (R * outputs,) to (R, N, outputs).

    Each product is made in the order in which its result is wanted: nothing is copied.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply, and add the bias."""
        ctx.save_for_backward(x, weight)
        transposed = weight.view(len(x), -1, x.shape[2]).transpose(1, 2)
        if bias is None:
            return torch.bmm(x, transposed)
        return torch.baddbmm(bias.view(len(x), 1, -1), x, transposed)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, by operations that can be differentiated again."""
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad
        ones = grad.new_ones(len(grad), 1, grad.shape[1])  # a sum would round by a replica's place among R
        return (
            torch.bmm(grad, weight.view(len(x), -1, x.shape[2])) if wanted[0] else None,
            torch.bmm(grad.transpose(1, 2), x).view(weight.shape) if wanted[1] else None,
            torch.bmm(ones, grad).flatten() if wanted[2] else None,
        )


# torch.autograd.Function.apply has no annotations.
multiply = cast("Callable[[Tensor, Tensor, Tensor | None], Tensor]", Multiply.apply)


@dataclass(frozen=True)
class Product(Fused):
    """A linear layer for each replica; under autocast in bfloat16, but for logits."""

    layer: Linear

    @property
    def replicas(self) -> int:
        return self.layer.replicas

    @property
    def features(self) -> int:
        return len(self.layer.weight)

    def takes(self, x: Tensor, replicas: int) -> bool:
        return x.dim() == (3 if replicas else 2)

    def reads(self, x: Tensor) -> bool:
        return isinstance(x, OneBatch) and x.is_one

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return self.layer(x)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        if isinstance(x, OneBatch):
            return products.multiply_one(x.one, weight, bias, self.replicas)
        x = cut(x, weight.shape[1])
        if products.are_samples_next(x) and not torch.is_autocast_enabled("cpu"):
            return products.multiply(x, weight, bias)
        if not torch.is_autocast_enabled("cpu"):
            return multiply(x, weight, bias)
        kept = self.layer.last or weight.dtype == torch.float64  # which autocast leaves as it is
        dtype = weight.dtype if kept else torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            return multiply(x.to(dtype), weight.to(dtype), bias if bias is None else bias.to(dtype))
