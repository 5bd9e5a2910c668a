"""Patches: the parts of an image that lie under a small window as it slides over it.

    image 4x4, kernel 3, stride 1:      2x2 patches of 3x3

    a b c d        a b c   b c d
    e f g h        e f g   f g h
    i j k l        i j k   j k l                 nothing is copied: a patch is the same numbers,
    m n o p                                      reached by other strides (``Tensor.unfold``)
                   e f g   f g h
                   i j k   j k l
                   m n o   n o p

Convolution multiplies every patch by the same weights, pooling takes the largest number of each, or the mean.
All that makes windows general (rectangles, strides, dilation, zeros around the image) stands in this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scratch_framework.core.argument_types import check_count
from scratch_framework.core.checks import check_choice

if TYPE_CHECKING:
    from torch import Tensor

Pair: TypeAlias = "int | tuple[int, ...]"  # one number for height and width, or one for each


class Window(NamedTuple):
    """How a window lies on an image: every field has one number for the height and one for the width."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]  # from one patch to the next
    padding: tuple[tuple[int, int], tuple[int, int]]  # rows above and below the image, columns left and right
    dilation: tuple[int, int]  # from one number of a patch to the next

    @classmethod
    def of(cls, kernel_size: Pair, stride: Pair, padding: Pair | str = 0, dilation: Pair = 1) -> Window:
        """Read torch's arguments: padding ``same`` keeps the size of the image, ``valid`` is 0."""
        kernel, step, gap = (
            pair(name, value, 1)
            for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        if not isinstance(padding, str):
            around = pair("padding", padding, 0)
            return cls(kernel, step, ((around[0], around[0]), (around[1], around[1])), gap)
        check_choice("padding", padding, ("same", "valid"))
        if padding == "same" and step != (1, 1):
            raise ValueError(f"padding 'same' needs stride 1, got {step}; give the padding as a number")
        missing = [
            space * (size - 1) if padding == "same" else 0 for size, space in zip(kernel, gap, strict=True)
        ]
        above, left = (rows // 2 for rows in missing)
        return cls(kernel, step, ((above, missing[0] - above), (left, missing[1] - left)), gap)

    @property
    def border(self) -> tuple[int, int]:
        """The padding as torch prints it: rows above, columns on the left."""
        return self.padding[0][0], self.padding[1][0]

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns from the first to the last number of a patch, gaps included."""
        (height, width), (down, across) = self.kernel_size, self.dilation
        return down * (height - 1) + 1, across * (width - 1) + 1

    def padded(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of an image of this size with its padding."""
        (above, below), (left, right) = self.padding
        return above + size[-2] + below, left + size[-1] + right

    def output(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of patches, H' and W', of an image of this size."""
        (height, width), (down, across) = self.padded(size), self.span
        return (height - down) // self.stride[0] + 1, (width - across) // self.stride[1] + 1

    def tiles(self, size: tuple[int, ...]) -> bool:
        """Whether the patches of a padded image of this size cover each of its numbers exactly once."""
        rest = [side % step for side, step in zip(size[-2:], self.stride, strict=True)]
        return self.span == self.kernel_size == self.stride and not any(rest)

    def check_room(self, name: str, size: tuple[int, ...]) -> None:
        """Refuse an image that is smaller than the window; ``name`` is the layer that asks."""
        (height, width), (down, across) = self.padded(size), self.span
        if height < down or width < across:
            raise ValueError(
                f"{name}: a patch of {down} x {across} must fit into the image, got one of {height} x {width}"
            )

    def check_border(self, name: str) -> None:
        """Refuse a border so wide that a patch could lie in it alone; ``name`` is the layer that asks."""
        for side, kernel in zip(self.border, self.kernel_size, strict=True):
            if side > kernel // 2:
                raise ValueError(f"{name}: padding must be at most half of kernel_size {kernel}, got {side}")

    def pad(self, image: Tensor, value: float = 0.0, width: int = -1) -> Tensor:
        """Lay a border of ``value`` around images; ``width`` is the dimension after that of the height."""
        if self.padding == ((0, 0), (0, 0)):
            return image
        shape = list(image.shape)
        shape[width - 1], shape[width] = self.padded((shape[width - 1], shape[width]))
        padded = image.new_full(shape, value)
        self.unpad(padded, width).copy_(image)
        return padded

    def unpad(self, padded: Tensor, width: int = -1) -> Tensor:
        """View the image without its border."""
        if self.padding == ((0, 0), (0, 0)):
            return padded
        for dim, (before, after) in zip((width - 1, width), self.padding, strict=True):
            padded = padded.narrow(dim, before, padded.shape[dim] - before - after)
        return padded

    def patches(self, padded: Tensor) -> Tensor:
        """View padded images (..., H, W) as patches (..., H', W', kh, kw): to change it changes the image.

        A rim that no whole patch fits into is left out, as torch does.
        """
        (down, across), (rows, columns) = self.span, self.stride
        view = padded.unfold(-2, down, rows).unfold(-2, across, columns)
        return view if self.dilation == (1, 1) else view[..., :: self.dilation[0], :: self.dilation[1]]

    def offsets(self, padded: Tensor) -> list[Tensor]:
        """View padded images offset by offset of the kernel: first the upper left corner of every patch.

            a b c d
            e f g h        a b   b c   c d     e f   f g   g h     i j   j k   k l
            i j k l        e f   f g   g h     i j   j k   k l     m n   n o   o p
            m n o p

        Patches may overlap, but at one offset no two of them hold the same number. So a view can be added to.

        Returns:
            kh * kw views (..., H', W'), row by row.
        """
        return [view for row in self.patches(padded).unbind(-2) for view in row.unbind(-1)]


def pair(name: str, value: Pair, minimum: int) -> tuple[int, int]:
    """Read one number for both directions, or one for each; refuse others, and those below the minimum."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{name} must be one number or two, got {value}")
    for number in both:
        check_count(minimum, **{name: number})
    return both[0], both[1]
