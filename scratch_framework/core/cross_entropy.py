"""Losses for one class among many: minus the log of the probability that the net gives to the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_share
from scratch_framework.core.class_targets import ClassCriterion
from scratch_framework.core.left_out import REDUCTION, leaves_out

if TYPE_CHECKING:
    from torch import Tensor


@leaves_out(size_average=REDUCTION, reduce=REDUCTION)
class NLLLoss(ClassCriterion):
    """Negative log likelihood, l = -w_c x_c of the right class c, for a net that ends in log p itself.

    Shapes and arguments: see `ClassCriterion`; x holds log-probabilities, the target classes.
    """

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = -sum_c q_c x_c, with q_c = w_c [c is the right class]."""
        x, q, weights = self.shares(x, target)
        return self.reduce(expected(q, x).neg(), q, weights=weights)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx_c = -q_c."""
        (q,) = self.saved()
        return self.scale_gradient(-q, grad_output)


@leaves_out(size_average=REDUCTION, reduce=REDUCTION)
class CrossEntropyLoss(ClassCriterion):
    """Softmax and the negative log likelihood in one: minus the log of the right class's probability.

    Shapes and arguments: see `ClassCriterion`; x holds scores of any size, the target classes, or for each
    point the probabilities of all classes in the shape of x.
    """

    takes_probabilities = True

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        replicas: int | None = None,
    ) -> None:
        """Choose the smoothing; for the other arguments see `ClassCriterion`.

        Args:
            weight: How much each class counts, (C,).
            ignore_index: The class of points that do not count.
            reduction: ``mean``, ``sum`` or ``none``.
            label_smoothing: The share e of every target that is divided among all classes, in [0, 1], so
                that the net need not be infinitely sure (https://arxiv.org/abs/1512.00567).
            replicas: R, when the first dimension of the scores counts replicas.
        """
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction, replicas=replicas)
        check_share(label_smoothing=label_smoothing)
        self.label_smoothing = label_smoothing

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute l = -sum_c q_c log p_c, with q_c = w_c ((1 - e) t_c + e / C).

        t_c is the target: 1 for the right class and 0 for the others, or probabilities. p is the softmax of
        the scores x. Its log is x_c - log sum_j e^x_j, with the largest score taken from all beforehand, so
        that no power overflows and no log sees 0.
        """
        x, q, weights = self.shares(x, target)
        scores = x - x.amax(-1, keepdim=True)
        log_p = scores - scores.exp().sum(-1, keepdim=True).log()  # (..., C)
        return self.reduce(expected(q, log_p).neg(), log_p, q, weights=weights)

    def backward(self, grad_output: Tensor | None = None) -> Tensor:
        """dl/dx_j = p_j sum_c q_c - q_j: the probabilities as they are, minus as they should be.

        log p_c = x_c - log sum_k e^x_k, so d log p_c / dx_j = [c = j] - e^x_j / sum_k e^x_k = [c = j] - p_j,
        and

            dl/dx_j = -sum_c q_c ([c = j] - p_j) = p_j sum_c q_c - q_j.

        Without weights the q_c add up to 1. Without smoothing and with the mean this is (p - onehot) / N.
        """
        log_p, q = self.saved()
        slopes = log_p.exp() * q.sum(-1, keepdim=True) - q
        return self.scale_gradient(slopes, grad_output)

    def smoothed(self, target: Tensor) -> Tensor:
        """(1 - e) t_c + e / C."""
        if not self.label_smoothing:
            return target
        return (1 - self.label_smoothing) * target + self.label_smoothing / target.shape[-1]

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, label_smoothing={self.label_smoothing})"


def expected(q: Tensor, log_p: Tensor) -> Tensor:
    """Sum of q_c log p_c over the classes; a class of share 0 adds nothing, where log p is -inf neither."""
    return (q * log_p).where(q != 0, 0).sum(-1)
