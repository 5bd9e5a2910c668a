"""The passes of a compiled net over batches of one size: forward to the loss, backward to the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.fast.fused_layers import FusedLinear
from scratch_framework.fast.fused_losses import by_point, fused_loss

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.criterion import Criterion
    from scratch_framework.fast.fused_layers import Identity
    from scratch_framework.fast.parameter_vector import ParameterVector


class CompiledPass:
    """Forward and backward pass of a net over batches of one size."""

    def __init__(
        self, vector: ParameterVector, activations: list[Identity], criterion: Criterion, points: int
    ) -> None:
        """Make the buffers.

        Args:
            vector: The parameters.
            activations: One for each layer.
            criterion: The loss.
            points: N.
        """
        value = vector.value
        x = value.new_ones(
            vector.replicas, vector.shapes[0][2], points
        )  # (R, in + 1, N), the last row stays 1
        self.x = by_point(x[:, :-1], criterion)
        self.stages: list[FusedLinear] = []
        for weight, grad, activation in zip(
            vector.blocks(value), vector.blocks(vector.grad), activations, strict=True
        ):
            self.stages.append(FusedLinear(weight, grad, activation, x))
            x = self.stages[-1].y
        before = [None, *(stage.grad for stage in self.stages[:-1])]
        self.back = list(zip(self.stages, before, strict=True))[::-1]
        self.loss = fused_loss(criterion, self.stages[-1])

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
