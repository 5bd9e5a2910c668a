"""Patches: the parts of an image that lie under a small square as it slides over it.

    image 4x4, kernel 3, stride 1:      2x2 patches of 3x3

    a b c d        a b c   b c d
    e f g h        e f g   f g h
    i j k l        i j k   j k l                 nothing is copied: a patch is the same numbers,
    m n o p                                      reached by other strides (``Tensor.unfold``)
                   e f g   f g h
                   i j k   j k l
                   m n o   n o p

Convolution multiplies every patch by the same weights, pooling takes the largest number of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def patches(image: Tensor, kernel_size: int, stride: int) -> Tensor:
    """View an image as patches; a rim that no whole patch fits into is left out, as torch does.

    Args:
        image: (..., H, W).
        kernel_size: Side k of a patch.
        stride: From one patch to the next.

    Returns:
        (..., H', W', k, k), a view: to change it changes the image.
    """
    return image.unfold(-2, kernel_size, stride).unfold(-2, kernel_size, stride)


def kernel_offsets(image: Tensor, kernel_size: int, stride: int) -> list[Tensor]:
    """View an image offset by offset of the kernel: first the upper left corner of every patch.

        a b c d
        e f g h        a b   b c   c d     e f   f g   g h     i j   j k   k l
        i j k l        e f   f g   g h     i j   j k   k l     m n   n o   o p
        m n o p

    Patches may overlap, but at one offset no two of them hold the same number. So a view can be added to.

    Args:
        image: (..., H, W).
        kernel_size: Side k of a patch.
        stride: From one patch to the next.

    Returns:
        k * k views (..., H', W'), row by row.
    """
    rows = patches(image, kernel_size, stride).unbind(-2)
    return [view for row in rows for view in row.unbind(-1)]


def check_room(name: str, size: tuple[int, ...], kernel_size: int) -> None:
    """Refuse an image that is smaller than the kernel.

    Args:
        name: The layer that asks.
        size: Height and width, padding included.
        kernel_size: Side of a patch.
    """
    if min(size) < kernel_size:
        raise ValueError(
            f"{name}: a patch of {kernel_size} x {kernel_size} must fit into the image, got one of"
            f" {size[0]} x {size[1]}"
        )
