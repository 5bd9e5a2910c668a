"""Average pooling: the mean of every patch, or of the rectangles of a grid that covers the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_count, check_floats
from scratch_framework.core.checks import check_shape
from scratch_framework.core.left_out import WHOLE_PATCHES, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.images.layout import Layout
from scratch_framework.images.patches import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from scratch_framework.images.patches import Pair


@leaves_out(ceil_mode=WHOLE_PATCHES)
class AvgPool2d(Module):
    """y_ij = (1 / k k) sum_uv x_si+u,sj+v over k x k patches that lie a stride s apart.

    Shapes: (..., H, W) to (..., H', W'), whatever stands before: points, channels, replicas.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        *,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        """Choose the patches; sizes are one number or a pair, see `Window`.

        Args:
            kernel_size: Side k of a patch.
            stride: From one patch to the next; by default they lie side by side.
            padding: Rows and columns of zeros around the image, at most k / 2.
            count_include_pad: Whether these zeros count in the mean.
            divisor_override: What to divide the sum by, in place of how many numbers there are.
        """
        check_count(1, divisor_override=divisor_override)
        stride = kernel_size if stride is None else stride
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.window = Window.of(kernel_size, stride, padding)
        self.window.check_border("AvgPool2d")
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """Compute the sum offset by offset, and divide it."""
        check_shape(self, "input", x, ("...", "H", "W"))
        check_floats(self, "input", x)
        self.window.check_room("AvgPool2d", x.shape)
        count = self._count(x)
        padded = self.window.pad(x)
        return self.save_for_backward((Layout(padded), count), self._sum(padded) / count)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij / (k k) over the patches that the pixel p lies in.

        dy_ij/dx_p is 1 / (k k) there and 0 elsewhere: the gradient of a mean is shared out evenly.
        """
        layout, count = self.saved(grad_output)
        share, grad = grad_output / count, layout.empty(grad_output).zero_()
        for view in self.window.offsets(grad):
            view.add_(share)
        return self.window.unpad(grad)

    def _sum(self, padded: Tensor) -> Tensor:
        first, *others = self.window.offsets(padded)
        y = first.clone()
        for view in others:
            y.add_(view)
        return y

    def _count(self, x: Tensor) -> Tensor | int:
        """How many numbers each patch has, (H', W') where the border does not count."""
        if self.divisor_override is not None:
            return self.divisor_override
        if self.count_include_pad:
            return self.window.kernel_size[0] * self.window.kernel_size[1]
        return self._sum(self.window.pad(x.new_ones(x.shape[-2:])))

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of each rectangle of a grid, whatever the image's size: the output has always the same.

    Rectangle i of H' has the rows from i H / H' rounded down to (i + 1) H / H' rounded up; columns likewise.
    Shapes: (..., H, W) to (..., H', W').
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        """Choose H' and W', or one number for both; None is the image's own."""
        both = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
        for size in both:
            check_count(1, output_size=size)
        self.output_size = both

    def forward(self, x: Tensor) -> Tensor:
        """Compute y_ij, the mean of rectangle (i, j)."""
        check_shape(self, "input", x, ("...", "H", "W"))
        check_floats(self, "input", x)
        size = [
            own if wanted is None else wanted
            for own, wanted in zip(x.shape[-2:], self.output_size, strict=True)
        ]
        y = x.new_empty(*x.shape[:-2], *size)
        for (i, j), (rows, columns) in grid(x.shape, y.shape):
            y[..., i, j] = x[..., rows, columns].mean((-2, -1))
        return self.save_for_backward(Layout(x), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_p = sum of dL/dy_ij / area_ij over the rectangles that the pixel p lies in."""
        layout = self.saved(grad_output)
        grad = layout.empty(grad_output).zero_()
        for (i, j), (rows, columns) in grid(layout.shape, grad_output.shape):
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            grad[..., rows, columns] += grad_output[..., i : i + 1, j : j + 1] / area
        return grad

    def extra_repr(self) -> str:
        """The size, as torch prints it."""
        return f"output_size={self.output_size}"


def grid(
    image: tuple[int, ...], output: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """The cells (i, j) of an output, each with the rows and columns of its rectangle in the image."""
    for i in range(output[-2]):
        for j in range(output[-1]):
            yield (i, j), (part(i, output[-2], image[-2]), part(j, output[-1], image[-1]))


def part(place: int, parts: int, size: int) -> slice:
    """One of so many parts of a size, which overlap where they do not divide it."""
    return slice(place * size // parts, -(-(place + 1) * size // parts))
