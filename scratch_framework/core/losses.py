"""Losses that compare number with number: MSE, L1 and Huber for quantities, BCE for yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.broadcasting import check_broadcast
from scratch_framework.core.checks import check_above_zero
from scratch_framework.core.criterion import Criterion
from scratch_framework.core.left_out import REDUCTION, leaves_out

if TYPE_CHECKING:
    from torch import Tensor


@leaves_out(size_average=REDUCTION, reduce=REDUCTION)
class MSELoss(Criterion):
    """Mean squared error, l = (x - t)^2.

    Shapes: prediction and target alike. The mean is over all numbers, not over points only.
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = (x - t)^2."""
        difference = x - self.match(x, target)
        return self.reduce(difference * difference, difference)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx = 2 (x - t), by the rule for powers."""
        (difference,) = self.saved()
        return self.scale_gradient(2 * difference, grad_output)


@leaves_out(size_average=REDUCTION, reduce=REDUCTION)
class L1Loss(Criterion):
    """Mean absolute error, l = |x - t|: an error twice as large counts twice, not four times.

    Shapes: prediction and target alike.
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = |x - t|."""
        difference = x - self.match(x, target)
        return self.reduce(difference.abs(), difference)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx = 1 above the target, -1 below, and at the target, where there is none, 0 as in torch."""
        (difference,) = self.saved()
        return self.scale_gradient(difference.sign(), grad_output)


class HuberLoss(Criterion):
    """With d = x - t: l = d^2 / 2 for a small error |d| <= delta, delta (|d| - delta / 2) for a large one.

    So an outlier pulls with a limited force. Shapes: prediction and target alike.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0, *, replicas: int | None = None) -> None:
        """Choose the reduction, and the error ``delta`` above which the loss grows on a straight line."""
        super().__init__(reduction=reduction, replicas=replicas)
        check_above_zero(delta=delta)
        self.delta = delta

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute the parabola and the line, which meet at delta^2 / 2, and take one of them."""
        difference = x - self.match(x, target)
        size = difference.abs()
        losses = (difference * difference / 2).where(size <= self.delta, self.delta * (size - self.delta / 2))
        return self.reduce(losses, difference)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx = d where |d| <= delta, else delta sign(d): that is d, cut off at -delta and delta."""
        (difference,) = self.saved()
        return self.scale_gradient(difference.clamp(-self.delta, self.delta), grad_output)


@leaves_out(size_average=REDUCTION, reduce=REDUCTION)
class BCEWithLogitsLoss(Criterion):
    """Binary cross entropy, l = -t log p - (1 - t) log(1 - p) with p = sigmoid(x).

    Shapes: prediction and target alike; targets lie in [0, 1].
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        replicas: int | None = None,
    ) -> None:
        """Choose the weights, which broadcast to the prediction's shape.

        Args:
            weight: How often each loss counts; the mean divides by the number of losses all the same.
            reduction: ``mean``, ``sum`` or ``none``.
            pos_weight: How often the part of yes, -t log p, counts: above 1 where yes is rare.
            replicas: R, when the first dimension of the prediction counts replicas.
        """
        super().__init__(reduction=reduction, replicas=replicas)
        self.weight, self.pos_weight = weight, pos_weight

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = (1 - t) x - min(x, 0) + log(1 + e^-|x|).

        As p = 1 / (1 + e^-x) and 1 - p = e^-x p, the loss is l = (1 - t) x + log(1 + e^-x). For a very
        negative x the power overflows; log(1 + e^-x) = -x + log(1 + e^x) then serves. The formula takes the
        safe one on either side of 0. With ``pos_weight`` a the part -t log p is there a - 1 times more.
        """
        target = self.match(x, target)
        check_broadcast(self, "weight", self.weight, x)
        check_broadcast(self, "pos_weight", self.pos_weight, x)
        rest = x.abs().neg().exp().log1p()
        losses = (1 - target) * x - x.clamp(max=0) + rest
        if self.pos_weight is not None:
            losses += (self.pos_weight - 1) * target * (rest - x.clamp(max=0))
        return self.reduce(losses if self.weight is None else losses * self.weight, x, target)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx = p - t, with ``pos_weight`` a: p - t - (a - 1) t (1 - p).

        From l = x - x t + log(1 + e^-x):  dl/dx = 1 - t - e^-x / (1 + e^-x) = 1 - t - (1 - p) = p - t,
        and from -log p = log(1 + e^-x):  d(-log p)/dx = -(1 - p).
        """
        x, target = self.saved()
        p = x.sigmoid()
        slopes = p - target
        if self.pos_weight is not None:
            slopes -= (self.pos_weight - 1) * target * (1 - p)
        return self.scale_gradient(slopes if self.weight is None else slopes * self.weight, grad_output)
