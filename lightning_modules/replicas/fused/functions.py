"""The fused loops (kernels.py) with their gradients, as functions for autograd."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class MaxPool(torch.autograd.Function):
    """2x2 maxima of (N, H, W, C), plus a bias (C,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        """Pool, and save the places of the maxima."""
        ctx.shape, ctx.dtype = x.shape, x.dtype
        n, h, w, c = x.shape
        out = bias.new_empty(n, h // 2, w // 2, c)
        ctx.which = np.empty(out.shape, np.uint8)
        kernels.max_pool(array(x), array(bias), array(out), ctx.which)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Pass the gradient to the maxima."""
        odd = ctx.shape[1] % 2 or ctx.shape[2] % 2
        out = (grad.new_zeros if odd else grad.new_empty)(ctx.shape, dtype=ctx.dtype)
        d_bias = grad.new_empty(ctx.shape[-1])
        kernels.max_pool_backward(array(grad), ctx.which, array(out), array(d_bias))
        return out, d_bias


class Normalise(torch.autograd.Function):
    """Dropout(BatchNorm(ReLU(x))) of (calls * N, ..., R * F)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: Norm,
        dropout: Dropout,
        calls: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Normalise by the batch's statistics in training, by the running ones in evaluation."""
        out = x.new_empty(x.shape, dtype=dtype)
        values = array(x).reshape(calls, -1, dropout.replicas, x.shape[-1] // dropout.replicas)
        mean, inverse = _statistics(values, norm)
        draw = dropout.next_draw(calls)
        gain = mean.dtype.type(draw.gain)
        scale = inverse * (array(weight) * gain).reshape(mean.shape[1:])
        shift = (array(bias) * gain).reshape(mean.shape[1:]) - mean * scale
        stream = (draw.keys, draw.call, draw.threshold)
        kernels.normalise(values, scale, shift, *stream, array(out).reshape(values.shape))
        count = mean.dtype.type(values.shape[1] if norm.training else np.inf)
        ctx.arguments = (values, mean, inverse, scale, *stream, count)
        ctx.gain, ctx.dtype = gain, x.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, in training also through the batch's statistics."""
        values, mean = ctx.arguments[:2]
        out = grad.new_empty(grad.shape, dtype=ctx.dtype)
        sums, products = np.zeros((2, *mean.shape), mean.dtype)
        slope, result = (array(tensor).reshape(values.shape) for tensor in (grad, out))
        arguments = (slope, *ctx.arguments, result, sums, products)
        kernels.normalise_backward(*arguments)
        d_weight, d_bias = (torch.from_numpy(ctx.gain * s.sum(0).ravel()) for s in (products, sums))
        return out, d_weight, d_bias, None, None, None, None


# torch.autograd.Function.apply has no annotations.
max_pool = cast("Callable[..., Tensor]", MaxPool.apply)
normalise = cast("Callable[..., Tensor]", Normalise.apply)


def array(x: Tensor) -> NDArray[Any]:
    """The memory of a tensor, contiguous; the 16 bits of a bfloat16, which numpy has not, as an integer."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _statistics(x: NDArray[Any], norm: Norm) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean of ReLU(x) and one over its deviation, (calls, R, F); in training the running ones are moved."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    shape = (len(x), *x.shape[2:])
    if norm.num_features != shape[1] * shape[2]:
        raise ValueError(f"BatchNorm has {norm.num_features} features, its input {shape[1] * shape[2]}")
    if norm.training and x.shape[1] < 2:
        raise ValueError("BatchNorm needs more than 1 value per channel when training")
    if not (norm.running_mean.is_contiguous() and norm.running_var.is_contiguous()):
        raise ValueError("BatchNorm's running statistics must be contiguous: they are changed in place")
    running = array(norm.running_mean), array(norm.running_var)
    if not norm.training:
        inverse = 1 / np.sqrt(running[1] + running[1].dtype.type(norm.eps))
        return np.tile(running[0], len(x)).reshape(shape), np.tile(inverse, len(x)).reshape(shape)
    mean, inverse = np.empty((2, len(x), norm.num_features), running[0].dtype)
    flat = x.reshape(*x.shape[:2], -1)
    kernels.statistics(flat, norm.eps, mean, inverse, *running, norm.momentum)
    norm.num_batches_tracked.add_(len(x))
    return mean.reshape(shape), inverse.reshape(shape)
