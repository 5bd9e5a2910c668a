"""A convolution and the 2x2 pooling after it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.fused.double_backward import slopes_by_torch
from lightning_modules.replicas.fused.loops.convolution import Frame, Images, pooled_convolution
from lightning_modules.replicas.fused.loops.slopes import GROUP, pooled_convolution_backward
from lightning_modules.replicas.fused.memory import (
    apart,
    channels_of,
    filled,
    flat,
    lanes,
    more_outputs,
    room_for_rows,
    side_by_side,
    space,
    up,
)
from lightning_modules.replicas.fused.pool import Pool
from lightning_modules.replicas.fused.shapes import fits, fitting_bias, padding_of
from lightning_modules.replicas.fused.step import Fused

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = 8  # channels below this are read one by one, as images have them


def convolve_and_pool(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, planar: bool) -> Tensor:
    """2x2 maxima of a convolution.

    Args:
        x: (R, N, H, W, inputs), or filled up to a row with zeros.
        weight: (R * outputs, inputs, side, side); the side is 3, or another odd number if x is planar.
        bias: (R * outputs,).
        padding: Zeros around the images.
        planar: Whether x is (N, R, inputs, H, W) instead; then it has no gradient.

    Returns:
        (R, N, H', W', outputs), filled up to a row.

    Raises:
        ValueError: Shapes or types do not go together.
    """
    side, row, sides = weight.shape[-1], lanes(x), x.shape[3:] if planar else x.shape[2:4]
    replicas, inputs = x.shape[1:3] if planar else (len(x), channels_of(x, weight.shape[1]))
    known = side == 3 or (planar and side > 3 and side % 2 == 1)
    bias = fitting_bias(x, weight, bias, (replicas, inputs), known and min(sides) + 2 * padding > side)
    weight, bias = (more_outputs(part, replicas, row) for part in (weight, bias))
    if planar:
        x = F.pad(x, [padding] * 4) if padding else x.contiguous()  # to pad by 0 is a copy
        return _pooled(x, weight, bias, 0, planar)
    return _pooled(x, filled(weight, -3, up(inputs, row)), bias, padding, planar)


class PooledConvolution(torch.autograd.Function):
    """2x2 maxima of a convolution, of outputs that fill a row, and weights of inputs that fill rows."""

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
        framed = space(x, 2 * images.replica * is_framed)
        framed.fill(0)
        panel = room_for_rows(x, weight.numel() // len(weight))
        arguments = flat(weight), flat(bias), out.shape[-1], windows, panel
        pooled_convolution(flat(x), images, frame, framed, *arguments, flat(out), flat(which))
        ctx.save_for_backward(x, weight)
        ctx.arguments = images, frame, framed, flat(which), windows
        ctx.planar = planar
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient to the maxima, and from there on."""
        (x, weight), wanted = ctx.saved_tensors, ctx.needs_input_grad[0]
        if torch.is_grad_enabled():
            wide = x.flatten(1, 2) if ctx.planar else side_by_side(filled(x, -1, weight.shape[1]))
            y = F.conv2d(wide, weight, padding=ctx.arguments[1].padding, groups=len(grad))
            slopes = slopes_by_torch(apart(F.max_pool2d(y, 2), len(grad)), (x, weight), grad)
            return *slopes, grad.sum((1, 2, 3)).flatten(), None, None
        d_weight, d_bias = grad.new_empty(weight.shape), grad.new_empty(len(weight))
        d_x = grad.new_empty(x.shape if wanted else 0)
        rooms = np.empty(4 * GROUP, np.int64), space(grad, weight.numel() // len(grad))
        arguments = *ctx.arguments, flat(weight), grad.shape[-1], *rooms
        pooled_convolution_backward(flat(grad), flat(x), *arguments, flat(d_weight), flat(d_bias), flat(d_x))
        return d_x if wanted else None, d_weight, d_bias, None, None


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


@dataclass(frozen=True)
class Convolution(Fused):
    """A convolution and the pooling after it, in the weights' own precision."""

    conv: nn.Conv2d

    @property
    def replicas(self) -> int:
        return self.conv.groups

    @property
    def features(self) -> int:
        return self.conv.out_channels

    def reads(self, x: Tensor) -> bool:
        return self.conv.weight.shape[1] < FEW and not x.requires_grad

    def takes(self, x: Tensor, replicas: int) -> bool:
        conv, (side, _) = self.conv, self.conv.kernel_size
        known = side == 3 or (side % 2 == 1 and side > 3 and not replicas and self.reads(x))
        # Worth it where the output's channels fill a quarter of a row.
        wide = 4 * conv.out_channels // conv.groups >= lanes(conv.weight)
        return known and wide and fits(conv, x, replicas, side + 1)

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return Pool().by_torch(self.conv(x), calls)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        conv, planar = self.conv, x.dim() == 4
        x = (x.unflatten(1, (conv.groups, -1)) if planar else x).to(conv.weight.dtype)
        return convolve_and_pool(x, conv.weight, conv.bias, padding_of(conv), planar)


# torch.autograd.Function.apply has no annotations.
_pooled = cast("Callable[..., Tensor]", PooledConvolution.apply)
