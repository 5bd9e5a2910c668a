"""The passes of a compiled net over batches of one size: forward to the loss, backward to the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.losses import MSELoss
from scratch_framework.stages import Identity, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.criterion import Criterion
    from scratch_framework.flat import Flat


class Program:
    """Forward and backward pass of a net over batches of one size."""

    def __init__(self, flat: Flat, activations: list[Identity], criterion: Criterion, points: int) -> None:
        """Make the buffers.

        Args:
            flat: The parameters.
            activations: One for each layer.
            criterion: The loss.
            points: N.
        """
        value = flat.value
        x = value.new_ones(flat.replicas, flat.shapes[0][2], points)  # (R, in + 1, N), the last row stays 1
        self.x = by_point(x[:, :-1], criterion)
        self.stages: list[Stage] = []
        for weight, grad, activation in zip(
            flat.blocks(value), flat.blocks(flat.grad), activations, strict=True
        ):
            self.stages.append(Stage(weight, grad, activation, x))
            x = self.stages[-1].y
        before = [None, *(stage.grad for stage in self.stages[:-1])]
        self.back = list(zip(self.stages, before, strict=True))[::-1]
        fused = type(criterion) is MSELoss and criterion.reduction == "mean"
        self.loss = (MeanSquare if fused else AnyLoss)(criterion, self.stages[-1])

    def run(self, x: Tensor, y: Tensor) -> Tensor:
        """Leave the gradients in the flat vector.

        Args:
            x: Points.
            y: Their targets.

        Returns:
            The loss.
        """
        self.x.copy_(x)
        for stage in self.stages:
            stage.forward()
        loss = self.loss(y)
        for stage, x_grad in self.back:
            stage.backward(x_grad)
        return loss


class AnyLoss:
    """The plain criterion, on views that show the last stage the way the plain net would."""

    def __init__(self, criterion: Criterion, last: Stage) -> None:
        """Look at the last stage.

        Args:
            criterion: The loss.
            last: The stage that predicts.
        """
        self.criterion = criterion
        self.prediction, self.grad = by_point(last.y, criterion), by_point(last.grad, criterion)

    def __call__(self, target: Tensor) -> Tensor:
        """Compute the loss, and leave its gradient with the last stage."""
        loss = self.criterion(self.prediction, target)
        self.grad.copy_(self.criterion.backward())
        return loss


class MeanSquare(AnyLoss):
    """`MSELoss` in place: of M differences in a row d the loss is d d^T / M and the slope 2 d / M."""

    def __init__(self, criterion: Criterion, last: Stage) -> None:
        """Look at the last stage.

        Args:
            criterion: The loss.
            last: The stage that predicts.
        """
        super().__init__(criterion, last)
        self.row = last.grad.view(len(last.grad), 1, -1)  # (R, 1, M)
        self.column, self.count = self.row.mT, self.row.shape[2]
        self.slope = self.row.new_ones(()).mul_(2 / self.count)
        self.square = self.row.new_zeros(len(self.row), 1, 1)
        self.loss = self.square.view(() if criterion.replicas is None else (-1,))

    def __call__(self, target: Tensor) -> Tensor:
        """Compute the loss, and leave its gradient with the last stage."""
        self.grad.copy_(self.prediction).sub_(target)
        self.square.baddbmm_(self.row, self.column, beta=0, alpha=1 / self.count)
        self.row.mul_(self.slope)
        return self.loss.clone()


def by_point(rows: Tensor, criterion: Criterion) -> Tensor:
    """View (R, features, N) as (R, N, features), or as (N, features) for a single net."""
    return rows[0].mT if criterion.replicas is None else rows.mT
