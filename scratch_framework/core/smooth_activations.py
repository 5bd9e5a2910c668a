"""Smooth activations: like ReLU far from 0, but without its kink.

Softplus   log(1 + e^x)       the integral of the sigmoid
SiLU       x sigmoid(x)       ReLU's choice, 1 or 0, made soft by a sigmoid
GELU       x Phi(x)           the same with the normal distribution Phi
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.argument_types import check_floats
from scratch_framework.core.checks import check_above_zero, check_choice
from scratch_framework.core.left_out import IN_PLACE, leaves_out
from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from torch import Tensor


class Softplus(Module):
    """y = log(1 + e^(beta x)) / beta: positive everywhere, so that it can be a variance or a rate."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        """Choose how sharp the bend is: ``beta``. Above ``threshold`` = beta x, y = x: no power overflows."""
        check_above_zero(beta=beta)
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = log(1 + e^(beta x)) / beta, or x where that is x in all digits."""
        z = x * self.beta
        y = x.where(z > self.threshold, z.exp().log1p() / self.beta)
        return self.save_for_backward(x, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy sigmoid(beta x).

        With u = e^(beta x):  dy/dx = (1 / beta) beta u / (1 + u) = u / (1 + u) = sigmoid(beta x), and 1 where
        y = x.
        """
        z = self.saved(grad_output) * self.beta
        return grad_output.where(z > self.threshold, grad_output * z.sigmoid())

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        return f"beta={self.beta}, threshold={self.threshold}"


@leaves_out(inplace=IN_PLACE)
class SiLU(Module):
    """y = x sigmoid(x), also called swish. Paper: https://arxiv.org/abs/1702.03118."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = x sigmoid(x)."""
        return self.save_for_backward(x, x * x.sigmoid())

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy s (1 + x (1 - s)), with s = sigmoid(x).

        By the rule for products dy/dx = s + x s', and s' = s (1 - s).
        """
        x = self.saved(grad_output)
        s = x.sigmoid()
        return grad_output * (s * (1 + x * (1 - s)))


class GELU(Module):
    """y = x Phi(x), where Phi(x) is the probability that a normal number is below x.

    Paper: https://arxiv.org/abs/1606.08415
    """

    def __init__(self, approximate: str = "none") -> None:
        """Choose the formula: ``none`` is the exact one, ``tanh`` an approximation."""
        check_choice("approximate", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Compute y = x Phi(x): Phi(x) = (1 + erf(x / sqrt 2)) / 2, approximately (1 + tanh(a(x))) / 2.

        a(x) = sqrt(2 / pi) (x + 0.044715 x^3).
        """
        check_floats(self, "input", x)
        below = (x / math.sqrt(2)).erf() if self.approximate == "none" else self._inner(x).tanh()
        return self.save_for_backward((x, below), x * ((1 + below) / 2))

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dx = dL/dy (Phi(x) + x Phi'(x)), by the rule for products.

        Phi' is the density e^(-x^2 / 2) / sqrt(2 pi). With t = tanh(a(x)) it is (1 - t^2) a'(x) / 2, and
        a'(x) = sqrt(2 / pi) (1 + 3 * 0.044715 x^2).
        """
        x, below = self.saved(grad_output)
        if self.approximate == "none":
            density = (-x * x / 2).exp() / math.sqrt(2 * math.pi)
        else:
            density = (1 - below * below) * (math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)) / 2
        return grad_output * ((1 + below) / 2 + x * density)

    def _inner(self, x: Tensor) -> Tensor:
        return math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)

    def extra_repr(self) -> str:
        """The formula, as torch prints it."""
        return f"approximate={self.approximate!r}"
