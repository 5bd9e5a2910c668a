"""Max pooling: of every window the largest number, so that a feature may move a pixel and is still found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.module import Module
from scratch_framework.images.patches import check_room, kernel_offsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class MaxPool2d(Module):
    """y_ij = max_uv x_si+u,sj+v over k x k windows that lie a stride s apart.

    Shapes: (..., H, W) to (..., H', W'), whatever stands before: points, channels, replicas.
    """

    def __init__(self, kernel_size: int, stride: int | None = None) -> None:
        """Choose the windows.

        Args:
            kernel_size: Side k of a window.
            stride: From one window to the next; by default they lie side by side.
        """
        stride = kernel_size if stride is None else stride
        for name, size in (("kernel_size", kernel_size), ("stride", stride)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        """Compute the maximum place by place: k k images of a number from each window, compared as wholes."""
        shape = tuple(x.shape)
        if len(shape) < 2:
            raise ValueError(f"MaxPool2d: the input must have shape (..., H, W), got {shape}")
        check_room("MaxPool2d", shape[-2:], self.kernel_size)
        first, *others = kernel_offsets(x, self.kernel_size, self.stride)
        y = first.clone()
        for place in others:
            y = y.maximum(place)
        return self.save_for_backward((x, y), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij over the windows whose first maximum is the pixel p.

        The maximum changes as fast as the number that it is, and does not notice the others: the slope is 1
        there and 0 elsewhere. Where several are equal any of them will do, but not all: of the common
        gradient there is one share. Like torch we give it to the first, row by row. Digits on black tie in
        most windows, so this is no rare case.
        """
        x, y = self.saved(grad_output)
        finite = bool(grad_output.sum().isfinite())
        grad_input = x.clone().zero_()  # in the memory order of x
        pixels, grads = (kernel_offsets(image, self.kernel_size, self.stride) for image in (x, grad_input))
        for place, taken in winners(pixels, y):
            if finite:
                grads[place].addcmul_(taken, grad_output)
            else:  # 0 times infinity is not 0: choose, which takes longer
                grads[place].add_(grad_output.where(taken != 0, 0))
        return grad_input

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding=0, dilation=1, ceil_mode=False"


def winners(pixels: list[Tensor], y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Find who takes the gradient of each window.

    Args:
        pixels: What each place of the windows shows, (..., H', W').
        y: The maxima.

    Yields:
        A place, and 1 for each window that it takes the gradient of, else 0.
    """
    free = y.clone().fill_(1)  # 1 where no place has taken the gradient yet
    for place, pixel in enumerate(pixels):
        taken = pixel.clone().eq_(y).mul_(free)
        free.sub_(taken)
        yield place, taken
    if free.sum():  # NaN, the largest of all, equals nothing, not even NaN; like torch the last one takes it
        for place in reversed(range(len(pixels))):
            taken = pixels[place].clone().ne_(pixels[place]).mul_(free)
            free.sub_(taken)
            yield place, taken
