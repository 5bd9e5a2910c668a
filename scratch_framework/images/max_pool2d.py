"""Max pooling: the largest number of every patch, so that a feature may move a pixel and is still found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_floats
from scratch_framework.core.checks import check_shape
from scratch_framework.core.left_out import WHOLE_PATCHES, LeftOut, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.images.layout import Layout
from scratch_framework.images.patches import Window

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.images.patches import Pair


@leaves_out(
    return_indices=LeftOut(False, "backward(ones), which is not 0 at the places of the maxima"),
    ceil_mode=WHOLE_PATCHES,
)
class MaxPool2d(Module):
    """y_ij = max_uv x_si+u,sj+v over k x k patches that lie a stride s apart.

    Shapes: (..., H, W) to (..., H', W'), whatever stands before: points, channels, replicas.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
    ) -> None:
        """Choose the patches; each argument is one number or a pair, see `Window`.

        Args:
            kernel_size: Side k of a patch.
            stride: From one patch to the next; by default they lie side by side.
            padding: Rows and columns around the image that are never the largest, at most k / 2.
            dilation: From one number of a patch to the next.
        """
        stride = kernel_size if stride is None else stride
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.window = Window.of(kernel_size, stride, padding, dilation)
        self.window.check_border("MaxPool2d")

    def forward(self, x: Tensor) -> Tensor:
        """Compute the maximum offset by offset: k k images, one number of each patch, compared as wholes.

        `backward` needs to know where an offset makes the maximum grow. There the maximum before differs from
        the one after: `ne_` writes 1 over it there, and 0 elsewhere. It is kept as a byte a number.
        """
        check_shape(self, "input", x, ("...", "H", "W"))
        check_floats(self, "input", x)
        self.window.check_room("MaxPool2d", x.shape)
        padded = self.window.pad(x, float("-inf"))
        pixels = self.window.offsets(padded)
        y, grows = pixels[0].clone(), []
        for pixel in pixels[1:]:
            larger = y.maximum(pixel)
            grows.append(y.ne_(larger).char())
            y = larger
        if not math.isfinite(y.sum()):
            grows = self._compare(pixels, self.window.offsets(self.window.pad(x.new_ones(x.shape))))
        return self.save_for_backward((grows, Layout(padded)), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij over the patches whose first maximum is the pixel p.

        The maximum changes as fast as the largest number and does not depend on the others: the slope is 1
        there and 0 elsewhere. Where several are equal, one of them gets the whole gradient: the first, row by
        row, as in torch. Digits on black tie in most patches, so this is no rare case. The first maximum is
        where the maximum grew last; hence the walk from the last offset to the first.

        Where patches tile the image, each number is computed in its place; else numbers add up from 0.
        0 times infinity is not 0. So a gradient that has overflowed needs a choice (`where`), which takes
        several times as long as a product.
        """
        grows, layout = self.saved(grad_output)
        grad = layout.empty(grad_output)  # in the memory order of x, its border included
        first, *places = self.window.offsets(grad)
        tiles, finite = self.window.tiles(layout.shape), math.isfinite(grad_output.sum())
        if not tiles:
            grad.zero_()
        left = grad_output.clone()  # what no offset has taken yet
        for grown, into in zip(reversed(grows), reversed(places), strict=True):
            taken = into if tiles else left.clone()
            taken.copy_(grown).mul_(left) if finite else taken.copy_(left.where(grown != 0, 0))
            left = left.sub_(taken) if finite else left.where(grown == 0, 0)
            if not tiles:
                into.add_(taken)
        first.copy_(left) if tiles else first.add_(left)
        return self.window.unpad(grad)

    def _compare(self, pixels: list[Tensor], inside: list[Tensor]) -> list[Tensor]:
        """Find where the maximum grows if some numbers are not finite, one by one as torch does.

        NaN is the largest of all, and of several NaN the last one counts. The border, where ``inside`` is 0,
        is never the largest, not even of numbers that are all -inf.
        """
        largest, grows = pixels[0].clone().fill_(float("nan")), []
        started = largest.clone().zero_()
        for pixel, within in zip(pixels, inside, strict=True):
            grown = ((pixel > largest) | (pixel != pixel) | (started == 0)) & (within != 0)
            largest = pixel.where(grown, largest)
            started.masked_fill_(grown, 1)
            grows.append(grown.char())
        return grows[1:]

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode=False"
