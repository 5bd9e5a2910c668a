"""Activations: functions applied to every number by itself, which let a net bend.

Without them a chain of linear layers would be one linear layer. As y_i depends on x_i alone, the chain rule
has one term and `backward` is a product element by element: dL/dx_i = dL/dy_i f'(x_i).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.left_out import IN_PLACE, leaves_out
from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from torch import Tensor


@leaves_out(inplace=IN_PLACE)
class ReLU(Module):
    """y = max(x, 0): positive numbers pass, negative ones become 0. NaN passes, too."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = max(x, 0)."""
        y = x.clamp(min=0)
        return self.save_for_backward(y, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy where x > 0, else 0.

        The slope is 1 above 0 and 0 below. At 0 there is none; like torch we take 0. The output is enough to
        know the slope: y differs from 0 exactly where x > 0, and `ne_(0)` makes it 1 there, 0 elsewhere. The
        product is several times as fast as a choice (`where`). But 0 times infinity is not 0. So a gradient
        that has overflowed needs the choice.
        """
        y = self.saved(grad_output)
        grad_input = y.clone().ne_(0).mul_(grad_output)
        return grad_input if math.isfinite(grad_input.sum()) else grad_output.where(y != 0, 0)


@leaves_out(inplace=IN_PLACE)
class LeakyReLU(Module):
    """y = x above 0, a small multiple of x below: every unit gets some gradient."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        """Choose the slope.

        Args:
            negative_slope: Slope below 0.
        """
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = x if x > 0 else negative_slope x."""
        return self.save_for_backward(x, x.where(x > 0, self.negative_slope * x))

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy where x > 0, else negative_slope dL/dy."""
        x = self.saved(grad_output)
        return grad_output.where(x > 0, self.negative_slope * grad_output)

    def extra_repr(self) -> str:
        """The slope, as torch prints it."""
        return f"negative_slope={self.negative_slope}"


class Tanh(Module):
    """y = tanh(x): squeezes the line into (-1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = tanh(x)."""
        y = x.tanh()
        return self.save_for_backward(y, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy (1 - y^2).

        tanh = sinh / cosh, sinh' = cosh and cosh' = sinh, so by the rule for quotients

            tanh' = (cosh^2 - sinh^2) / cosh^2 = 1 - tanh^2 = 1 - y^2:

        the output is enough, no second tanh is needed.
        """
        y = self.saved(grad_output)
        return grad_output * (1 - y * y)


class Sigmoid(Module):
    """y = 1 / (1 + e^-x): squeezes the line into (0, 1), to be read as a probability."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = 1 / (1 + e^-x)."""
        y = x.sigmoid()
        return self.save_for_backward(y, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy y (1 - y).

        With u = e^-x: y = 1 / (1 + u) and du/dx = -u, so

            dy/dx = u / (1 + u)^2 = 1 / (1 + u) * u / (1 + u) = y (1 - y).
        """
        y = self.saved(grad_output)
        return grad_output * (y * (1 - y))
