"""The loops with their gradients, as functions for autograd; shapes are checked here, before a loop runs.

Where a gradient is to be differentiated again, as with ``create_graph=True``, torch's operations compute it.

Between these functions replicas lie apart in memory, (R, calls * N, ...), and channels last. Where channels
do not fill rows of registers they are filled up with zeros, which are cut off again.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.convolution import Frame, Images, pooled_convolution
from lightning_modules.replicas.fused.normalisation import (
    Batches,
    Layer,
    Moments,
    Stream,
    normalise,
    normalise_backward,
)
from lightning_modules.replicas.fused.slopes import pooled_convolution_backward
from lightning_modules.replicas.fused.unpooled import Maps, Order, convolution, weight_slopes
from lightning_modules.replicas.fused.vectors import ROW_BITS

if TYPE_CHECKING:
    from collections.abc import Callable

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def lanes(x: Tensor) -> int:
    """Numbers of a tensor's type in a row of registers."""
    return ROW_BITS // (8 * x.element_size())


def flat(x: Tensor) -> NDArray[Any]:
    """The memory of a tensor as one row of numbers; a copy, where it is not contiguous or not aligned."""
    memory = x.detach().numpy().reshape(-1)
    return memory if memory.flags.aligned else memory.copy()


def filled(x: Tensor, dim: int, size: int) -> Tensor:
    """Zeros added to a dimension, up to a size."""
    missing = size - x.shape[dim]
    return F.pad(x, [0, 0] * (-dim - 1) + [0, missing]) if missing > 0 else x


def up(number: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-number // step) * step


def cut(x: Tensor, channels: int) -> Tensor:
    """The first channels; the slope of a slice is a copy, even where it is of all."""
    return x if x.shape[-1] == channels else x[..., :channels]


def convolve_and_pool(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, planar: bool) -> Tensor:
    """2x2 maxima of a convolution.

    Args:
        x: (R, N, H, W, inputs).
        weight: (R * outputs, inputs, side, side); the side is 3, or another odd number if x is planar.
        bias: (R * outputs,).
        padding: Zeros around the images.
        planar: Whether x is (N, R, inputs, H, W) instead; then it has no gradient.

    Returns:
        (R, N, H', W', outputs).

    Raises:
        ValueError: Shapes or types do not go together.
    """
    (replicas, inputs), sides = (x.shape[1:3], x.shape[3:]) if planar else (x.shape[::4], x.shape[2:4])
    side, row, outputs = weight.shape[-1], lanes(x), len(weight) // replicas
    known = side == 3 or (planar and side > 3 and side % 2 == 1)
    bias = _fitting(x, weight, bias, (replicas, inputs), known and min(sides) + 2 * padding > side)
    weight, bias = (_more_outputs(part, replicas, up(outputs, row)) for part in (weight, bias))
    if planar:
        return cut(_pooled(F.pad(x, [padding] * 4), weight, bias, 0, planar), outputs)
    return cut(_pooled(x, filled(weight, -3, up(inputs, row)), bias, padding, planar), outputs)


class PooledConvolution(torch.autograd.Function):
    """2x2 maxima of a convolution, of output channels that fill rows; weights of the input's do too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int, planar: bool) -> Tensor:
        """Convolve, and save the places of the maxima."""
        images, replicas = _images(x, weight, padding, planar), x.shape[planar]
        out = x.new_empty(replicas, images.images, images.rows, images.columns, len(bias) // replicas)
        which = torch.empty(out.shape, dtype=torch.uint8)
        windows = np.empty(images.images * images.rows * images.columns, np.int64)
        height, width, channels = (0, 0, 0) if planar else x.shape[2:]
        frame = Frame(height, width, channels, padding)
        is_framed = not planar and (padding > 0 or x.shape[-1] < images.channels)
        room = flat(x.new_zeros(2 * images.replica * is_framed))
        arguments = flat(weight), flat(bias), out.shape[-1], windows, _panel(x, weight[0].numel())
        pooled_convolution(flat(x), images, frame, room, *arguments, flat(out), flat(which))
        ctx.save_for_backward(x, weight)
        ctx.arguments = images, frame, room, flat(which), windows
        ctx.planar = planar
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient to the maxima, and from there on."""
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad[0]
        if torch.is_grad_enabled():
            wide = x.flatten(1, 2) if ctx.planar else _side_by_side(filled(x, -1, weight.shape[1]))
            y = F.conv2d(wide, weight, padding=ctx.arguments[1].padding, groups=len(grad))
            slopes = _slopes_by_torch(_apart(F.max_pool2d(y, 2), len(grad)), (x, weight), grad)
            return *slopes, grad.sum((1, 2, 3)).flatten(), None, None
        d_weight, d_bias = grad.new_empty(weight.shape), grad.new_empty(len(grad), grad.shape[-1])
        d_x, room = grad.new_empty(x.shape if wanted else 0), grad.new_empty(weight.numel() // len(grad))
        results = flat(room), flat(d_weight), d_bias.numpy(), flat(d_x)
        pooled_convolution_backward(flat(grad), flat(x), *ctx.arguments, flat(weight), *results)
        return d_x if wanted else None, d_weight, d_bias.flatten(), None, None


def _images(x: Tensor, weight: Tensor, padding: int, planar: bool) -> Images:
    side = weight.shape[-1]
    if planar:
        count, replicas, planes, height, width = x.shape
        channels, line, plane = 1, width, height * width
        replica, image = planes * plane, replicas * planes * plane
    else:
        _, count, height, width, _ = x.shape
        channels, height, width = weight.shape[1], height + 2 * padding, width + 2 * padding
        planes, line, plane = 1, width * channels, 0
        replica, image = count * height * line, height * line
    windows = (height - side + 1) // 2, (width - side + 1) // 2
    return Images(count, *windows, channels, planes, replica, image, plane, line, side)


class Layers(NamedTuple):
    """A batch normalisation and what stands beside it."""

    norm: Norm
    dropout: Dropout | None = None  # last
    relu_before: bool = False
    relu_after: bool = False


def normalise_and_drop(x: Tensor, layers: Layers, calls: int) -> Tensor:
    """Dropout(ReLU(BatchNorm(ReLU(x)))), of which some may be missing.

    Args:
        x: (R, calls * N, ..., channels).
        layers: The norm normalises by the batch's statistics in training, by the running ones in evaluation;
            the dropout draws for each call of each replica.
        calls: Batches that are normalised apart.

    Returns:
        The same shape.

    Raises:
        ValueError: What is normalised does not fit the layer.
    """
    norm = layers.norm
    rows, odd = divmod(math.prod(x.shape[1:-1]), calls)
    statistics = norm.running_mean, norm.running_var
    if odd:
        raise ValueError(f"{x.shape[1]} samples cannot be divided into {calls} calls")
    if norm.num_features != len(x) * x.shape[-1]:
        raise ValueError(f"BatchNorm has {norm.num_features} features, its input {len(x) * x.shape[-1]}")
    if norm.training and rows < 2:
        raise ValueError("BatchNorm needs more than 1 value per channel when training")
    for s in statistics:  # changed in place
        if s is None or s.dtype != x.dtype or not s.is_contiguous() or s.data_ptr() % s.element_size():
            raise ValueError(f"BatchNorm's running statistics must be {x.dtype}, contiguous and aligned")
    wide = filled(x, -1, lanes(x))
    return cut(_normalise(wide, norm.weight, norm.bias, layers, calls), x.shape[-1])


class Normalise(torch.autograd.Function):
    """Dropout(ReLU(BatchNorm(ReLU(x)))), of channels that fill a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layers: Layers, calls: int) -> Tensor:
        """Normalise, and save what was kept."""
        (norm, dropout, *relus), replicas, room = layers, len(x), x.shape[-1]
        rows, channels = math.prod(x.shape[1:-1]) // calls, norm.num_features // replicas
        size = Batches(replicas, calls, rows, channels, room)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        running, floors = (flat(norm.running_mean), flat(norm.running_var)), [-math.inf, 0.0]
        bounds = floors[relus[0]], floors[relus[1]]
        layer = Layer(flat(weight), flat(bias), *running, norm.momentum, norm.eps, norm.training, bounds)
        stream = Stream(np.zeros((replicas, 2), np.uint32), 0, np.uint32(0), 1.0)
        if dropout:
            draw = dropout.next_draw(calls)
            stream = Stream(draw.keys, draw.call, draw.threshold, draw.gain)
        moments = Moments(*x.new_empty(4, replicas * calls * room).numpy())
        out, kept = x.new_empty(x.shape), torch.empty(x.shape, dtype=torch.uint8)
        normalise(flat(x), size, layer, stream, moments, flat(out), flat(kept))
        if norm.training:
            norm.num_batches_tracked.add_(calls)
        share = moments.mean.dtype.type(1 / rows if norm.training else 0)
        ctx.save_for_backward(x, weight, bias)
        ctx.eps = norm.eps
        ctx.arguments = flat(kept), size, moments, bounds[0], share, stream.gain
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate, in training also through the batch's statistics."""
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (
                *_slopes_by_torch(Normalise.by_torch(ctx, x, weight, bias), (x, weight, bias), grad),
                None,
                None,
            )
        size, out = ctx.arguments[1], grad.new_empty(grad.shape)
        slopes = grad.new_empty(2, size.replicas, size.room)
        normalise_backward(flat(grad), flat(x), *ctx.arguments, flat(out), *slopes.flatten(1).numpy())
        d_bias, d_weight = slopes[..., : size.channels].flatten(1)
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
        return torch.where(torch.from_numpy(kept).view_as(x).bool(), y, 0)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """A convolution.

    Args:
        x: (R, N, H, W, inputs).
        weight: (R * outputs, inputs, side, side).
        bias: (R * outputs,).
        padding: Zeros around the images, less than side.

    Returns:
        (R, N, H', W', outputs).

    Raises:
        ValueError: Shapes or types do not go together.
    """
    replicas, side, row, outputs = len(x), weight.shape[-1], lanes(x), len(weight) // len(x)
    large = min(x.shape[2:4]) + 2 * padding >= side and 0 <= padding < side
    bias = _fitting(x, weight, bias, (replicas, x.shape[-1]), large)
    weight, bias = (_more_outputs(part, replicas, row) for part in (weight, bias))
    return cut(_convolve(filled(x, -1, row), filled(weight, -3, row), bias, padding), outputs)


class Convolution(torch.autograd.Function):
    """A convolution of channels that fill a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        """Convolve."""
        (replicas, images, height, width, inputs), side = x.shape, weight.shape[-1]
        rows, columns = height + 2 * padding - side + 1, width + 2 * padding - side + 1
        outputs, taps = len(weight) // replicas, side * side
        maps = Maps(replicas, images, height, width, inputs, rows, columns, outputs, side, padding)
        out, panel = x.new_empty(replicas, images, rows, columns, outputs), _panel(x, taps * inputs)
        order = Order(0, 1, taps, taps * inputs)
        convolution(flat(x), maps, flat(weight), order, flat(bias), panel, flat(out))
        ctx.save_for_backward(x, weight)
        ctx.maps = maps
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate; the slope at the images is a convolution by the weights turned around."""
        (x, weight), maps, d_x = ctx.saved_tensors, ctx.maps, None
        if torch.is_grad_enabled():
            y = _apart(F.conv2d(_side_by_side(x), weight, padding=maps.padding, groups=len(x)), len(x))
            return *_slopes_by_torch(y, (x, weight), grad), grad.sum((1, 2, 3)).flatten(), None
        d_weight, d_bias = grad.new_empty(weight.shape), grad.new_empty(len(weight))
        taps, slope = maps.side**2, flat(grad)
        room = _panel(grad, taps * up(maps.inputs, 8))
        weight_slopes(slope, flat(x), maps, room, flat(d_weight), flat(d_bias))
        if ctx.needs_input_grad[0]:
            d_x, zero = grad.new_empty(x.shape), grad.new_zeros(maps.replicas * maps.inputs)
            order, panel = Order(taps - 1, -1, taps * maps.inputs, taps), _panel(grad, taps * maps.outputs)
            convolution(slope, maps.turned(), flat(weight), order, flat(zero), panel, flat(d_x))
        return d_x, d_weight, d_bias, None


def _slopes_by_torch(y: Tensor, inputs: tuple[Tensor, ...], grad: Tensor) -> list[Tensor | None]:
    """Slopes that can be differentiated again, of what torch computed."""
    wanted = [value for value in inputs if value.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True) if wanted else ())
    return [next(found) if value.requires_grad else None for value in inputs]


def _side_by_side(x: Tensor) -> Tensor:
    """(N, R * channels, H, W) of (R, N, H, W, channels)."""
    return x.permute(1, 0, 4, 2, 3).flatten(1, 2)


def _apart(x: Tensor, replicas: int) -> Tensor:
    """(R, N, H, W, channels) of (N, R * channels, H, W)."""
    return x.unflatten(1, (replicas, -1)).permute(1, 0, 3, 4, 2)


def _panel(x: Tensor, rows: int) -> NDArray[Any]:
    """Room for rows of registers."""
    return flat(x.new_empty(rows * lanes(x)))


def _fitting(x: Tensor, weight: Tensor, bias: Tensor | None, sizes: tuple[int, int], fits: bool) -> Tensor:
    """The bias, or zeros; what does not fit images of (replicas, inputs), or is said not to, is refused."""
    (rows, *shape), (replicas, inputs) = weight.shape, sizes
    bias = weight.new_zeros(rows) if bias is None else bias
    fits &= shape == [inputs, shape[-1], shape[-1]] and bias.shape == (rows,) and rows % replicas == 0
    if not fits or not x.dtype == weight.dtype == bias.dtype:
        raise ValueError(f"images {tuple(x.shape)} do not fit weights {tuple(weight.shape)}")
    return bias


def _more_outputs(x: Tensor, replicas: int, size: int) -> Tensor:
    """Zeros added to each replica's part of weights or a bias, up to a number of outputs."""
    return filled(x.unflatten(0, (replicas, -1)), -x.dim(), size).flatten(0, 1)


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
_pooled = cast("Callable[..., Tensor]", PooledConvolution.apply)
_convolve = cast("Callable[..., Tensor]", Convolution.apply)
_normalise = cast("Callable[..., Tensor]", Normalise.apply)
multiply = cast("Callable[[Tensor, Tensor, Tensor | None], Tensor]", Multiply.apply)
