"""A convolution that no pooling follows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.fused.double_backward import slopes_by_torch
from lightning_modules.replicas.fused.loops.unpooled import Maps, Order, convolution, weight_slopes
from lightning_modules.replicas.fused.memory import (
    apart,
    channels_of,
    filled,
    flat,
    lanes,
    more_outputs,
    room_for_rows,
    side_by_side,
    up,
)
from lightning_modules.replicas.fused.shapes import fits, fitting_bias, padding_of
from lightning_modules.replicas.fused.step import Fused

if TYPE_CHECKING:
    from collections.abc import Callable


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """A convolution.

    Args:
        x: (R, N, H, W, inputs), or filled up to a row with zeros.
        weight: (R * outputs, inputs, side, side).
        bias: (R * outputs,).
        padding: Zeros around the images, less than side.

    Returns:
        (R, N, H', W', outputs), filled up to a row.

    Raises:
        ValueError: Shapes or types do not go together.
    """
    replicas, side, row = len(x), weight.shape[-1], lanes(x)
    inputs = channels_of(x, weight.shape[1])
    large = min(x.shape[2:4]) + 2 * padding >= side and 0 <= padding < side
    bias = fitting_bias(x, weight, bias, (replicas, inputs), large)
    weight, bias = (more_outputs(part, replicas, row) for part in (weight, bias))
    x = filled(x, -1, row) if x.requires_grad else x  # the slope at x has as many channels as fill a row
    return _convolve(x, filled(weight, -3, x.shape[-1]), bias, padding)


class Convolution(torch.autograd.Function):
    """A convolution; its outputs fill a row, and so do its inputs where they want a slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        """Convolve."""
        (replicas, images, height, width, inputs), side = x.shape, weight.shape[-1]
        rows, columns = height + 2 * padding - side + 1, width + 2 * padding - side + 1
        outputs, taps = len(weight) // replicas, side * side
        maps = Maps(replicas, images, height, width, inputs, rows, columns, outputs, side, padding)
        out, panel = x.new_empty(replicas, images, rows, columns, outputs), room_for_rows(x, taps * inputs)
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
            y = apart(F.conv2d(side_by_side(x), weight, padding=maps.padding, groups=len(x)), len(x))
            return *slopes_by_torch(y, (x, weight), grad), grad.sum((1, 2, 3)).flatten(), None
        d_weight, d_bias = grad.new_empty(weight.shape), grad.new_empty(len(weight))
        taps, slope = maps.side**2, flat(grad)
        room = room_for_rows(grad, taps * up(maps.inputs, 8))
        weight_slopes(slope, flat(x), maps, room, flat(d_weight), flat(d_bias))
        if ctx.needs_input_grad[0]:
            d_x, zero = grad.new_empty(x.shape), grad.new_zeros(maps.replicas * maps.inputs)
            order = Order(taps - 1, -1, taps * maps.inputs, taps)
            panel = room_for_rows(grad, taps * maps.outputs)
            convolution(slope, maps.turned(), flat(weight), order, flat(zero), panel, flat(d_x))
        return d_x, d_weight, d_bias, None


@dataclass(frozen=True)
class Unpooled(Fused):
    """A convolution that no pooling follows, in the weights' own precision."""

    conv: nn.Conv2d

    @property
    def replicas(self) -> int:
        return self.conv.groups

    @property
    def is_worth_a_layout(self) -> bool:
        return False

    @property
    def features(self) -> int:
        return self.conv.out_channels

    def takes(self, x: Tensor, replicas: int) -> bool:
        conv = self.conv
        # Worth it where channels fill a quarter of a row; images may have any number.
        outputs, inputs = conv.out_channels // conv.groups, conv.weight.shape[1]
        wide = 4 * (min(outputs, inputs) if x.requires_grad else outputs) >= lanes(conv.weight)
        return wide and fits(conv, x, replicas, conv.kernel_size[0])

    def by_torch(self, x: Tensor, calls: int) -> Tensor:
        return self.conv(x)

    def __call__(self, x: Tensor, calls: int) -> Tensor:
        conv = self.conv
        return convolve(x.to(conv.weight.dtype), conv.weight, conv.bias, padding_of(conv))


# torch.autograd.Function.apply has no annotations.
_convolve = cast("Callable[..., Tensor]", Convolution.apply)
