"""Max pooling: the largest number of every patch, so that a feature may move a pixel and is still found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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

        What `backward` needs is which numbers are smaller than the maximum, at a byte for each. The sign of a
        difference is 0 or 1 and takes a fraction of the time of a comparison.
        """
        check_shape(self, "input", x, ("...", "H", "W"))
        self.window.check_room("MaxPool2d", x.shape)
        padded = self.window.pad(x, float("-inf"))
        pixels = self.window.offsets(padded)
        y = pixels[0].clone()
        for pixel in pixels[1:]:
            y = y.maximum(pixel)
        if math.isfinite(y.sum()):
            smaller = [(y - pixel).sign_().char() for pixel in pixels[:-1]]
        else:
            smaller = self._compare(pixels, self.window.offsets(self.window.pad(x.new_ones(x.shape))))
        return self.save_for_backward((smaller, Layout(padded)), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij over the patches whose first maximum is the pixel p.

        The maximum changes as fast as the largest number and does not depend on the others: the slope is 1
        there and 0 elsewhere. Where several are equal, one of them gets the whole gradient: the first, row by
        row, as in torch. Digits on black tie in most patches, so this is no rare case.

        0 times infinity is not 0. So a gradient that has overflowed needs a choice (`where`), which takes
        several times as long as a product.
        """
        smaller, layout = self.saved(grad_output)
        grad = layout.empty(grad_output).zero_()  # in the memory order of x, its border included
        *places, last = self.window.offsets(grad)
        left, finite = grad_output, math.isfinite(grad_output.sum())  # what no offset has taken yet
        for less, into in zip(smaller, places, strict=True):
            rest = left * less if finite else left.where(less != 0, 0)
            into.add_(left - rest if finite else left.where(less == 0, 0))
            left = rest
        last.add_(left)
        return self.window.unpad(grad)

    def _compare(self, pixels: list[Tensor], inside: list[Tensor]) -> list[Tensor]:
        """Find the smaller numbers where some are not finite, one by one as torch does.

        NaN is the largest of all, and of several NaN the last one counts. The border, where ``inside`` is 0,
        is never the largest, not even of numbers that are all -inf.
        """
        largest = pixels[0].clone().fill_(float("-inf"))
        place = largest.clone().fill_(-1)  # of the largest so far, none yet
        for number, (pixel, within) in enumerate(zip(pixels, inside, strict=True)):
            larger = ((pixel > largest) | (pixel != pixel) | (place < 0)) & (within != 0)
            largest = pixel.where(larger, largest)
            place.masked_fill_(larger, number)
        return [(place != number).char() for number in range(len(pixels) - 1)]

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode=False"
