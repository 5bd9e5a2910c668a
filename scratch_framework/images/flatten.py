"""Flatten: an image becomes a row of features, so that a linear layer can follow a convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_count
from scratch_framework.core.checks import check_shape
from scratch_framework.core.module import Module
from scratch_framework.images.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor


class Flatten(Module):
    """Joins dimensions into one: (N, C, H, W) to (N, C H W), row by row; with replicas R stands before."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1, *, replicas: int | None = None) -> None:
        """Choose dimensions.

        Args:
            start_dim: The first to be joined, as a single net counts them.
            end_dim: The last.
            replicas: R, when a leading dimension counts replicas.
        """
        check_count(1, replicas=replicas)
        self.start_dim, self.end_dim, self.replicas = start_dim, end_dim, replicas

    def forward(self, x: Tensor) -> Tensor:
        """Compute the same numbers in another shape."""
        lead = () if self.replicas is None else (self.replicas, "N")
        check_shape(self, "input", x, (*lead, "..."))
        shift = 1 if lead else 0
        start, end = (dim + shift if dim >= 0 else dim for dim in (self.start_dim, self.end_dim))
        count = x.dim() or 1  # a single number counts as a row of one
        inside = -count <= start < count and -count <= end < count
        if not inside or start % count > end % count:
            raise ValueError(
                "Flatten: start_dim and end_dim must be dimensions of the input, in this order, got"
                f" {self.start_dim} and {self.end_dim} for shape {tuple(x.shape)}"
            )
        return self.save_for_backward(Layout(x), x.flatten(start, end))

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx is dL/dy in the shape of x: every number has gone through unchanged.

        It is copied into the memory order of x, which the layers below work fastest in.
        """
        layout = self.saved(grad_output)
        return layout.empty(grad_output).copy_(grad_output.reshape(layout.shape))

    def extra_repr(self) -> str:
        """The dimensions, as torch prints them."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
