"""A shared trunk (a Siamese net): one trunk computes features of each input, and a head compares them.

                 +-------+
first input  --> | trunk | --> features (10) --+---> maybe to a loss of their own
                 +-------+                     |
                 the same                      +---> side by side (20) ---> head ---> output
                 +-------+                     |
second input --> | trunk | --> features (10) --+
                 +-------+
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_once, check_shape
from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from torch import Tensor


class SharedTrunk(Module):
    """Weight sharing: each channel of an image is an input of the one trunk.

    Shapes: (..., N, B, H, W) to the head's output. The trunk takes (..., N, 1, H, W) and gives (..., N, F),
    the head takes (..., N, B F).
    """

    features: Tensor  # (..., N, B, F), the trunk's output for each input in the latest forward pass

    def __init__(self, trunk: Module, head: Module) -> None:
        """Join a trunk, which is applied to each input, and a head, applied to all features in one row."""
        self.trunk, self.head = trunk, head
        check_once("SharedTrunk", "module", list(self.modules()))

    def forward(self, x: Tensor) -> Tensor:
        """Compute head(trunk(x_1), ..., trunk(x_B)).

        A module keeps only its latest forward pass. So each pass of the trunk is taken out before the next.
        """
        check_shape(self, "input", x, ("...", "N", "B", "H", "W"))
        self._latest = None  # the last pass is not needed any more: free its memory
        outputs, passes = [], []
        for image in x.split(1, -3):  # (..., N, 1, H, W)
            outputs.append(self.trunk(image))
            passes.append(self.trunk.saved_passes())
        *lead, features = outputs[0].shape
        self.features = outputs[0].new_empty(*lead, len(outputs), features)
        for place, output in enumerate(outputs):
            self.features.select(-2, place).copy_(output)
        return self.save_for_backward(passes, self.head(self.features.flatten(-2)))

    def backward(self, grad_output: Tensor, grad_features: Tensor | None = None) -> Tensor:
        """Walk back through the head, then through the trunk once for every input.

        Every path from a number to the loss has its share of the gradient, and shares add up:

            dL/dw = sum_b dL/da_b da_b/dw       of a trunk's weight, which acts in all features a_b: each
                                                backward pass adds to the gradient, so it adds up by itself
            dL/da_b = dL/da_b through the head + dL/da_b through the losses on a_b itself

        Args:
            grad_output: dL/dy, of the head's output.
            grad_features: dL/da, of `features`, through losses of their own; None if there are none.

        Returns:
            dL/dx.
        """
        passes = self.saved(grad_output)
        grad = self.head.backward(grad_output).view(self.features.shape)
        if grad_features is not None:
            grad = grad + grad_features
        grads = []
        for grad_feature, one in zip(grad.unbind(-2), passes, strict=True):
            self.trunk.restore(one)
            grads.append(self.trunk.backward(grad_feature))  # (..., N, 1, H, W)
        shape = (*grads[0].shape[:-3], len(grads), *grads[0].shape[-2:])
        grad_input = grad_output.new_empty(shape)
        for place, grad_image in enumerate(grads):
            grad_input.narrow(-3, place, 1).copy_(grad_image)
        return grad_input
