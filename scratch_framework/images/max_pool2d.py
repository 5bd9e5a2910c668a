"""Max pooling: the largest number of every patch, so that a feature may move a pixel and is still found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_shape
from scratch_framework.core.left_out import WHOLE_PATCHES, LeftOut, leaves_out
from scratch_framework.core.module import Module
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
        """Compute the maximum offset by offset: k k images, one number of each patch, compared as wholes."""
        check_shape(self, "input", x, ("...", "H", "W"))
        self.window.check_room("MaxPool2d", x.shape)
        first, *others = self.window.offsets(self.window.pad(x, float("-inf")))
        y = first.clone()
        for view in others:
            y = y.maximum(view)
        return self.save_for_backward((x, y), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij over the patches whose first maximum is the pixel p.

        The maximum changes as fast as the largest number and does not depend on the others: the slope is 1
        there and 0 elsewhere. Where several are equal, one of them gets the whole gradient: the first, row by
        row, as in torch. Digits on black tie in most patches, so this is no rare case.
        """
        x, y = self.saved(grad_output)
        grad = self.window.pad(x).clone().zero_()  # in the memory order of x, its border included
        grads = self.window.offsets(grad)
        pixels = self.window.offsets(self.window.pad(x, float("nan")))  # a border that equals nothing
        left = grad_output.clone()  # what no offset has taken yet
        if not (y.sum() + grad_output.sum()).isfinite():
            self._choose(pixels, self.window.offsets(self.window.pad(x)), y, left, grads)
            return self.window.unpad(grad)
        for pixel, into in zip(pixels[:-1], grads[:-1], strict=True):
            taken = pixel.clone().eq_(y)  # 1 where the offset holds the maximum, else 0
            into.addcmul_(taken, left)
            left.addcmul_(taken, left, value=-1)
        grads[-1].add_(left)
        return self.window.unpad(grad)

    def _choose(
        self, pixels: list[Tensor], inside: list[Tensor], y: Tensor, left: Tensor, grads: list[Tensor]
    ) -> None:
        """The same where numbers are not finite: 0 times infinity is not 0, so choose, which takes longer.

        NaN, the largest of all, equals nothing, not even NaN. Like torch the last one takes the gradient.
        """
        takers = [(pixel == y, into) for pixel, into in zip(pixels, grads, strict=True)]
        takers += [(pixel != pixel, into) for pixel, into in zip(inside[::-1], grads[::-1], strict=True)]
        for taken, into in takers:
            into.add_(left.where(taken, 0))
            left.masked_fill_(taken, 0)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{sizes}, dilation={self.dilation}, ceil_mode=False"
