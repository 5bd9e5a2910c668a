"""Max pooling: the largest number of every patch, so that a feature may move a pixel and is still found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_at_least, check_shape
from scratch_framework.core.module import Module
from scratch_framework.images.patches import check_room, kernel_offsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class MaxPool2d(Module):
    """y_ij = max_uv x_si+u,sj+v over k x k patches that lie a stride s apart.

    Shapes: (..., H, W) to (..., H', W'), whatever stands before: points, channels, replicas.
    """

    def __init__(self, kernel_size: int, stride: int | None = None) -> None:
        """Choose the patches.

        Args:
            kernel_size: Side k of a patch.
            stride: From one patch to the next; by default they lie side by side.
        """
        stride = kernel_size if stride is None else stride
        check_at_least(1, kernel_size=kernel_size, stride=stride)
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        """Compute the maximum offset by offset: k k images, one number of each patch, compared as wholes."""
        check_shape(self, "input", x, ("...", "H", "W"))
        check_room("MaxPool2d", tuple(x.shape[-2:]), self.kernel_size)
        first, *others = kernel_offsets(x, self.kernel_size, self.stride)
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
        finite = bool(grad_output.sum().isfinite())
        grad_input = x.clone().zero_()  # in the memory order of x
        pixels, grads = (kernel_offsets(image, self.kernel_size, self.stride) for image in (x, grad_input))
        for offset, taken in winners(pixels, y):
            if finite:
                grads[offset].addcmul_(taken, grad_output)
            else:  # 0 times infinity is not 0: choose, which takes longer
                grads[offset].add_(grad_output.where(taken != 0, 0))
        return grad_input

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding=0, dilation=1, ceil_mode=False"


def winners(pixels: list[Tensor], y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Find which number of each patch gets its gradient.

    Args:
        pixels: The numbers at each offset of the kernel, k k views (..., H', W').
        y: The maxima.

    Yields:
        An offset, and a tensor of 1 for each patch whose gradient goes there, else 0.
    """
    free = y.clone().fill_(1)  # 1 where no offset has taken the gradient yet
    for offset, pixel in enumerate(pixels):
        taken = pixel.clone().eq_(y).mul_(free)
        free.sub_(taken)
        yield offset, taken
    if free.sum():  # NaN, the largest of all, equals nothing, not even NaN; like torch the last one takes it
        for offset in reversed(range(len(pixels))):
            taken = pixels[offset].clone().ne_(pixels[offset]).mul_(free)
            free.sub_(taken)
            yield offset, taken
