"""Columns: the patches of all images as one matrix, and the way back (im2col, or unfolding).

A patch is k x k numbers of each of C channels. Written one below the other they are a column:

    images (..., N, C, H, W)   --- unfold -->   columns (..., C k k, H' W' N)
    their gradient             <--- fold ---    the gradient of the columns

The batch dimension is innermost in memory (CHWN), so columns are copied in runs of W' N numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.images.patches import Window


def points_last(images: Tensor) -> Tensor:
    """Images (..., N, C, H, W) in the order in memory that has points last: a copy unless they have it."""
    return images.movedim(-4, -1).contiguous().movedim(-1, -4)


def unfold(images: Tensor, window: Window) -> Tensor:
    """Copy the patches of images (..., N, C, H, W) into columns, (..., C k k, H' W' N)."""
    rows = images.movedim(-4, -1)  # (..., C, H, W, N); contiguous if points lie last
    padded = window.pad(rows, width=-2).movedim(-1, -4)
    view = window.patches(padded)  # (..., N, C, H', W', k, k)
    view = view.movedim((-6, -4, -3), (-1, -3, -2))  # (..., C, k, k, H', W', N)
    return view.flatten(-3).flatten(-4, -2)


def fold(grad_columns: Tensor, window: Window, shape: tuple[int, ...]) -> Tensor:
    """Add up the gradients of each pixel in all patches.

    Args:
        grad_columns: (..., C k k, H' W' N).
        window: How the patches lie.
        shape: That of the images, (..., N, C, H, W).

    Returns:
        The gradient of the images.
    """
    *lead, points, channels, _, _ = shape
    patch = math.prod(window.kernel_size)  # k k
    patch_grads = grad_columns.view(*lead, channels, patch, *window.output(shape), points).movedim(-1, -5)
    grad = grad_columns.new_zeros(*lead, channels, *window.padded(shape), points).movedim(-1, -4)
    for view, patch_grad in zip(window.offsets(grad), patch_grads.unbind(-3), strict=True):
        view.add_(patch_grad)  # (..., N, C, H', W')
    return window.unpad(grad)
