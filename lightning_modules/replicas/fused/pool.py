"""2x2 poolings that no convolution of the loops stands before, also in bfloat16."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.utils import _pair

from lightning_modules.replicas.fused.loops.max_pool import Array, max_pool_backward, max_pool_forward
from lightning_modules.replicas.fused.step import Fused

if TYPE_CHECKING:
    from collections.abc import Callable


def bits(x: Tensor) -> Array:
    """The memory of a tensor, contiguous; of a bfloat16 the 16 bits."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def refuse_small(height: int, width: int) -> None:
    """Refuse images of which no window can be made."""
    if min(height, width) < 2:
        raise ValueError(f"images of {height}x{width} cannot be pooled by 2x2")


class MaxPool(torch.autograd.Function):
    """2x2 maxima of (N, H, W, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Pool, and save the places of the maxima."""
        ctx.shape = n, h, w, c = x.shape
        refuse_small(h, w)
        out, ctx.which = x.new_empty(n, h // 2, w // 2, c), np.empty((n, h // 2, w // 2, c), np.uint8)
        max_pool_forward(bits(x), bits(out), ctx.which)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Pass the gradient to the maxima; by torch's operations, where it is to be differentiated again."""
        odd = ctx.shape[1] % 2, ctx.shape[2] % 2
        if torch.is_grad_enabled():
            which = torch.from_numpy(ctx.which)
            places = torch.stack([torch.where(which == place, grad, 0) for place in range(4)], 3)
            lines = places.unflatten(3, (2, 2)).transpose(2, 3)  # (N, H // 2, 2, W // 2, 2, C)
            return F.pad(lines.flatten(3, 4).flatten(1, 2), [0, 0, 0, odd[1], 0, odd[0]])
        out = (grad.new_zeros if any(odd) else grad.new_empty)(ctx.shape)
        max_pool_backward(bits(grad), ctx.which, bits(out))
        return out


max_pool = cast("Callable[[Tensor], Tensor]", MaxPool.apply)  # apply has no annotations


@dataclass(frozen=True)
class Pool(Fused):
    """A 2x2 pooling that no convolution stands before."""

    @property
    def replicas(self) -> int:
        return 0

    @property
    def is_worth_a_layout(self) -> bool:
        return False

    @property
    def features(self) -> int:
        return 0

    def takes(self, x: Tensor, replicas: int) -> bool:
        return replicas > 0 and x.dim() == 5

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        if len(x) == 1:  # whose channels must not lie last, see `with_plain_gradient`
            return F.max_pool2d(x, 2)
        return max_pool(x.movedim(1, -1)).movedim(-1, 1)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        return max_pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def is_plain(pool: nn.MaxPool2d) -> bool:
    """Whether it gives the maxima of 2x2 windows, and nothing else."""
    pairs = [_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)]
    return pairs == [(2, 2), (2, 2), (0, 0), (1, 1)] and not (pool.ceil_mode or pool.return_indices)
