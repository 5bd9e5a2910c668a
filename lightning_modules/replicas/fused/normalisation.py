"""A batch normalisation, the ReLU before or after it, and the 2x2 pooling and the dropout after that."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.double_backward import slopes_by_torch
from lightning_modules.replicas.fused.loops.normalisation import (
    Batches,
    Layer,
    Moments,
    Stream,
    normalise,
    normalise_backward,
)
from lightning_modules.replicas.fused.loops.pooled_normalisation import (
    normalise_and_pool,
    normalise_and_pool_backward,
)
from lightning_modules.replicas.fused.memory import channels_of, cut, filled, flat, lanes, space
from lightning_modules.replicas.fused.pool import refuse_small

if TYPE_CHECKING:
    from collections.abc import Callable

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class Layers(NamedTuple):
    """A batch normalisation and what stands beside it."""

    norm: Norm
    dropout: Dropout | None = None  # last
    relu_before: bool = False
    relu_after: bool = False
    pools: bool = False  # before the dropout


def normalise_and_drop(x: Tensor, layers: Layers, calls: int) -> Tensor:
    """Dropout(MaxPool2d(ReLU(BatchNorm(ReLU(x))))), of which some may be missing.

    Args:
        x: (R, calls * N, ..., channels), or filled up to a row with anything.
        layers: The norm normalises by the batch's statistics in training, by the running ones in evaluation;
            the dropout draws for each call of each replica.
        calls: Batches that are normalised apart.

    Returns:
        The same shape, or that of 2x2 maxima, filled up to a row with zeros.

    Raises:
        ValueError: What is normalised does not fit the layer.
    """
    norm = layers.norm
    rows, odd = divmod(math.prod(x.shape[1:-1]), calls)
    statistics = norm.running_mean, norm.running_var
    if odd:
        raise ValueError(f"{x.shape[1]} samples cannot be divided into {calls} calls")
    features = len(x) * channels_of(x, norm.num_features // len(x))
    if norm.num_features != features:
        raise ValueError(f"BatchNorm has {norm.num_features} features, its input {features}")
    if layers.pools:
        refuse_small(*x.shape[2:4])
    if norm.training and rows < 2:
        raise ValueError("BatchNorm needs more than 1 value per channel when training")
    for s in statistics:  # changed in place
        if s is None or s.dtype != x.dtype or not s.is_contiguous() or s.data_ptr() % s.element_size():
            raise ValueError(f"BatchNorm's running statistics must be {x.dtype}, contiguous and aligned")
    return _normalise(filled(x, -1, lanes(x)), norm.weight, norm.bias, layers, calls)


class Normalise(torch.autograd.Function):
    """Dropout(ReLU(BatchNorm(ReLU(x)))), of channels that fill a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layers: Layers, calls: int) -> Tensor:
        """Normalise, and save what was kept."""
        norm, dropout, *relus, pools = layers
        replicas, room = len(x), x.shape[-1]
        height, width = x.shape[2:4] if pools else (1, 1)
        rows, channels = math.prod(x.shape[1:-1]) // calls, norm.num_features // replicas
        size = Batches(replicas, calls, rows, channels, room, height, width)
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        assert norm.momentum is not None
        floor, lowest = (0.0 if relu else -math.inf for relu in relus)
        running = flat(mean), flat(variance), norm.momentum
        layer = Layer(flat(weight), flat(bias), *running, norm.eps, norm.training, (floor, lowest))
        stream = Stream(np.zeros((replicas, 2), np.uint32), 0, np.uint32(0), 1.0)
        if dropout:
            draw = dropout.next_draw(calls)
            stream = Stream(draw.keys, draw.call, draw.threshold, draw.gain)
        moments = Moments(*(space(x, replicas * calls * room) for _ in Moments._fields))
        out = x.new_empty((*x.shape[:2], height // 2, width // 2, room) if pools else x.shape)
        kept = torch.empty(out.shape, dtype=torch.uint8)
        loop = normalise_and_pool if pools else normalise
        loop(flat(x), size, layer, stream, moments, flat(out), flat(kept))
        if norm.training:
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(calls)
        share = moments.mean.dtype.type(1 / rows if norm.training else 0)
        ctx.save_for_backward(x, weight, bias)
        ctx.eps, ctx.pools = norm.eps, pools
        ctx.arguments = flat(kept), size, moments, floor, share, stream.gain
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, in training also through the batch's statistics."""
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (
                *slopes_by_torch(Normalise.by_torch(ctx, x, weight, bias), (x, weight, bias), grad),
                None,
                None,
            )
        size, out = ctx.arguments[1], grad.new_empty(x.shape)
        d_weight, d_bias = (grad.new_empty(size.replicas, size.room) for _ in range(2))
        loop = normalise_and_pool_backward if ctx.pools else normalise_backward
        loop(flat(grad), flat(x), *ctx.arguments, flat(out), flat(d_bias), flat(d_weight))
        d_weight, d_bias = (cut(part, size.channels).flatten() for part in (d_weight, d_bias))
        return out, d_weight, d_bias, None, None

    @staticmethod
    def by_torch(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same by torch's operations, dropping what was dropped."""
        kept, size, moments, floor, share, gain = ctx.arguments
        rows = (x if floor else x.relu()).view(size.replicas, size.calls, size.rows, size.room)
        if share:
            mean, inverse = (
                rows.mean(2, keepdim=True),
                1 / (rows.var(2, correction=0, keepdim=True) + ctx.eps).sqrt(),
            )
        else:
            shape = size.replicas, size.calls, 1, size.room
            mean, inverse = (torch.from_numpy(part).view(shape) for part in (moments.mean, moments.inverse))
        scale, shift = (
            filled(part.view(size.replicas, 1, 1, -1), -1, size.room) * gain for part in (weight, bias)
        )
        y = ((rows - mean) * inverse * scale + shift).view_as(x)
        if not ctx.pools:
            return torch.where(torch.from_numpy(kept).view_as(x).bool(), y, 0)
        even = y[:, :, : size.height // 2 * 2, : size.width // 2 * 2]
        lines = even.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (R, N, H // 2, 2, W // 2, 2, room)
        windows = lines.transpose(3, 4).flatten(4, 5)  # (R, N, H // 2, W // 2, 4, room)
        place = torch.from_numpy(kept).view_as(windows[..., 0, :]).long()
        maxima = windows.gather(4, place.clamp(max=3).unsqueeze(4)).squeeze(4)
        return torch.where(place < 4, maxima, 0)


# torch.autograd.Function.apply has no annotations.
_normalise = cast("Callable[..., Tensor]", Normalise.apply)
