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
        replicas, _, inputs = vector.shapes[0]
        x = vector.value.new_ones(replicas, inputs, points)  # (R, in + 1, N), the last row stays 1
        self.x = by_point(x[:, :-1], criterion)
        self.layers: list[FusedLinear] = []
        weights, grads = vector.blocks(vector.value), vector.blocks(vector.grad)
        for weight, grad, activation in zip(weights, grads, activations, strict=True):
            self.layers.append(FusedLinear(weight, grad, activation, x))
            x = self.layers[-1].y
        x_grads = [None, *(layer.grad for layer in self.layers[:-1])]
        self.backward = list(zip(self.layers, x_grads, strict=True))[::-1]
        self.loss = fused_loss(criterion, self.layers[-1])

    def run(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute the loss, and write the gradients into the vector.

        Args:
            x: Points.
            y: Their targets.

        Returns:
            The loss.
        """
        self.x.copy_(x)
        for layer in self.layers:
            layer.forward()
        loss = self.loss(y)
        for layer, x_grad in self.backward:
            layer.backward(x_grad)
        return loss
