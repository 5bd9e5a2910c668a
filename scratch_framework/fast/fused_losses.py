"""Losses of a compiled net: loss and gradient of a batch, on the buffers of the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.losses import BCEWithLogitsLoss, MSELoss

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.criterion import Criterion
    from scratch_framework.fast.fused_layers import FusedLinear


class PlainLoss:
    """The plain criterion, on views of the last layer's buffers that have the shapes of the plain net."""

    def __init__(self, criterion: Criterion, last: FusedLinear) -> None:
        """Make views of the last layer's buffers.

        Args:
            criterion: The loss.
            last: The layer that predicts.
        """
        self.criterion = criterion
        self.prediction, self.grad = by_point(last.y, criterion), by_point(last.grad, criterion)
        self.row = last.grad.view(len(last.grad), 1, -1)  # (R, 1, M)
        self.share = (
            1 / self.row.shape[2] if criterion.reduction == "mean" else 1.0
        )  # of a number in the loss

    def __call__(self, target: Tensor) -> Tensor:
        """Compute the loss, and write its gradient into the last layer's buffer."""
        loss = self.criterion(self.prediction, target)
        self.grad.copy_(self.criterion.backward())
        return loss


class SquaredError(PlainLoss):
    """`MSELoss` in place: with the differences in a row d the sum is d d^T and its slope 2 d."""

    def __init__(self, criterion: Criterion, last: FusedLinear) -> None:
        """Make views of the last layer's buffers.

        Args:
            criterion: The loss.
            last: The layer that predicts.
        """
        super().__init__(criterion, last)
        self.column = self.row.mT
        self.slope = self.row.new_ones(()).mul_(2 * self.share)
        self.square = self.row.new_zeros(len(self.row), 1, 1)
        self.loss = self.square.view(() if criterion.replicas is None else (-1,))

    def __call__(self, target: Tensor) -> Tensor:
        """Compute the loss, and write its gradient into the last layer's buffer."""
        self.grad.copy_(self.prediction).sub_(target)
        self.square.baddbmm_(self.row, self.column, beta=0, alpha=self.share)
        self.row.mul_(self.slope)
        return self.loss.clone()


class BinaryCrossEntropy(PlainLoss):
    """`BCEWithLogitsLoss` in place: l = max(x, 0) - x t + log(1 + e^-|x|), with the slope sigmoid(x) - t."""

    def __init__(self, criterion: Criterion, last: FusedLinear) -> None:
        """Make views of the last layer's buffers.

        Args:
            criterion: The loss.
            last: The layer that predicts.
        """
        super().__init__(criterion, last)
        self.losses = by_point(last.y.new_zeros(last.y.shape), criterion)
        self.slope = self.row.new_ones(()).mul_(self.share)

    def __call__(self, target: Tensor) -> Tensor:
        """Compute the loss, and write its gradient into the last layer's buffer."""
        x, losses = self.prediction, self.losses
        losses.copy_(x).abs_().neg_().exp_().log1p_().add_(x.relu()).addcmul_(x, target, value=-1)
        self.grad.copy_(x).sigmoid_().sub_(target)
        self.row.mul_(self.slope)
        return losses.sum((-2, -1)).mul_(self.slope)


def fused_loss(criterion: Criterion, last: FusedLinear) -> PlainLoss:
    """Find the form of a loss that works in place; a loss that has none is computed by its plain form."""
    if type(criterion) is MSELoss:
        return SquaredError(criterion, last)
    if type(criterion) is BCEWithLogitsLoss and criterion.weight is None and criterion.pos_weight is None:
        return BinaryCrossEntropy(criterion, last)
    return PlainLoss(criterion, last)


def by_point(rows: Tensor, criterion: Criterion) -> Tensor:
    """View (R, features, N) as (R, N, features), or as (N, features) for a single net."""
    return rows[0].mT if criterion.replicas is None else rows.mT
