"""Three losses: for numbers (MSE), for yes or no (BCE), for one class among many (cross entropy)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_shape, check_share
from scratch_framework.core.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor


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


class BCEWithLogitsLoss(Criterion):
    """Binary cross entropy, l = -t log p - (1 - t) log(1 - p) with p = sigmoid(x).

    Shapes: prediction and target alike; targets lie in [0, 1].
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = (1 - t) x - min(x, 0) + log(1 + e^-|x|).

        As p = 1 / (1 + e^-x) and 1 - p = e^-x p, the loss is l = (1 - t) x + log(1 + e^-x). For a very
        negative x the power overflows; log(1 + e^-x) = -x + log(1 + e^x) then serves. The formula takes the
        safe one on either side of 0.
        """
        target = self.match(x, target)
        losses = (1 - target) * x - x.clamp(max=0) + x.abs().neg().exp().log1p()
        return self.reduce(losses, x, target)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx = p - t.

        From l = x - x t + log(1 + e^-x):  dl/dx = 1 - t - e^-x / (1 + e^-x) = 1 - t - (1 - p) = p - t.
        """
        x, target = self.saved()
        return self.scale_gradient(x.sigmoid() - target, grad_output)


class CrossEntropyLoss(Criterion):
    """Minus the log of the probability that softmax gives to the right class.

    Shapes: scores (N, C) and classes (N,); with replicas (R, N, C) and (R, N), or (N,) for all.
    """

    def __init__(
        self, reduction: str = "mean", label_smoothing: float = 0.0, replicas: int | None = None
    ) -> None:
        """Choose reduction and smoothing.

        Args:
            reduction: ``mean``, ``sum`` or ``none``.
            label_smoothing: The share e of every target that is divided among all classes, in [0, 1], so
                that the net need not be infinitely sure (https://arxiv.org/abs/1512.00567).
            replicas: R, when the first dimension of the scores counts replicas.
        """
        super().__init__(reduction, replicas)
        check_share(label_smoothing=label_smoothing)
        self.label_smoothing = label_smoothing

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = -sum_c q_c log p_c, with q_c = (1 - e) [c is the right class] + e / C.

        p is the softmax of the scores x. Its log is x_c - log sum_j e^x_j, with the largest score taken from
        all beforehand, so that no power overflows and no log sees 0.
        """
        target = self.match(x, target)
        scores = x - x.amax(-1, keepdim=True)
        log_p = scores - scores.exp().sum(-1, keepdim=True).log()  # (N, C)
        losses = log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1).neg()  # (N,)
        if self.label_smoothing:  # else 0 * log 0 could make a NaN of nothing
            losses = (1 - self.label_smoothing) * losses - self.label_smoothing * log_p.mean(-1)
        return self.reduce(losses, log_p, target)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx_j = p_j - q_j: the probabilities as they are, minus as they should be.

        log p_c = x_c - log sum_k e^x_k, so d log p_c / dx_j = [c = j] - e^x_j / sum_k e^x_k = [c = j] - p_j,
        and, as the q_c add up to 1,

            dl/dx_j = -sum_c q_c ([c = j] - p_j) = p_j - q_j.

        Without smoothing and with the mean this is (p - onehot) / N.
        """
        log_p, target = self.saved()
        rest = self.label_smoothing / log_p.shape[-1]
        q = log_p.new_empty(log_p.shape).fill_(rest)
        q.scatter_(-1, target.unsqueeze(-1), 1 - self.label_smoothing + rest)
        return self.scale_gradient(log_p.exp() - q, grad_output)

    def match(self, x: Tensor, target: Tensor) -> Tensor:
        """Check scores and classes; return the classes as int64."""
        self.check_prediction(x)
        check_shape(self, "scores", x, (*self.lead, "N", "C"))
        if target.is_floating_point() or target.is_complex():
            raise ValueError(
                f"CrossEntropyLoss: the target must hold classes as integers, got {target.dtype}"
            )
        target, classes = self.broadcast_target(target.long(), tuple(x.shape[:-1])), x.shape[-1]
        low, high = (int(bound) for bound in target.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"CrossEntropyLoss: the target must lie in 0..{classes - 1}, got {low if low < 0 else high}"
            )
        return target

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, label_smoothing={self.label_smoothing})"
