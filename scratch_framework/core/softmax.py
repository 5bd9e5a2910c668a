"""Softmax: turns scores of any size into probabilities that add up to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_floats
from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from torch import Tensor


class Softmax(Module):
    """y_i = e^x_i / sum_j e^x_j.

    To train a classifier, end the net with the scores and use `CrossEntropyLoss`, which holds a softmax of
    its own and never divides by a vanishing probability.
    """

    def __init__(self, dim: int = -1) -> None:
        """Choose the dimension.

        Args:
            dim: The dimension along which probabilities add up to 1.
        """
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Compute y_i = e^x_i / sum_j e^x_j.

        A constant taken from all x cancels out. We take the largest, so that no power can overflow.
        """
        check_floats(self, "input", x)
        if not -max(x.dim(), 1) <= self.dim < max(x.dim(), 1):
            raise ValueError(
                f"Softmax: dim must be a dimension of the input, got {self.dim} for shape {tuple(x.shape)}"
            )
        largest = x.amax(self.dim, keepdim=True) if x.numel() else 0  # of no numbers none is the largest
        powers = (x - largest).exp()
        y = powers / powers.sum(self.dim, keepdim=True)
        return self.save_for_backward(y, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx_j = y_j (g_j - sum_i g_i y_i), with g = dL/dy.

        With S = sum_k e^x_k, every output depends on every input:

            dy_i/dx_j = [i = j] e^x_i / S - e^x_i e^x_j / S^2 = y_i ([i = j] - y_j)
            dL/dx_j   = sum_i g_i y_i ([i = j] - y_j) = y_j g_j - y_j sum_i g_i y_i.
        """
        y = self.saved(grad_output)
        mean_grad = (grad_output * y).sum(self.dim, keepdim=True)
        return y * (grad_output - mean_grad)

    def extra_repr(self) -> str:
        """The dimension, as torch prints it."""
        return f"dim={self.dim}"
