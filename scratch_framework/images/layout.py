"""The layout of a tensor: its shape, and the order in which its dimensions lie in memory.

The layers for images work fastest where the batch dimension is innermost (see `conv2d`). A gradient must have
the shape of what it is the gradient of, and for speed it should have its order, too. So `backward` needs the
layout of the input, which takes no memory, and not the input itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Layout:
    """The layout of one tensor."""

    def __init__(self, tensor: Tensor) -> None:
        """Note shape and order: the dimension with the longest stride is the outermost."""
        self.shape, strides = tensor.shape, tensor.stride()
        self.order = sorted(range(tensor.dim()), key=strides.__getitem__, reverse=True)

    def empty(self, like: Tensor) -> Tensor:
        """A tensor of this layout, of another one's type and on its device, which is yet to be filled."""
        inner = like.new_empty([self.shape[dim] for dim in self.order])
        return inner.movedim(list(range(len(self.order))), self.order)

    def view(self, rows: Tensor) -> Tensor:
        """View rows of numbers, (R, ...), as R tensors of this layout."""
        inner = rows.view(len(rows), *[self.shape[dim] for dim in self.order])
        return inner.movedim(list(range(1, inner.dim())), [dim + 1 for dim in self.order])
