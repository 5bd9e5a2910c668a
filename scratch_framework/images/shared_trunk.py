"""SharedTrunk: one trunk looks at every part of the input, and a head compares what it says of each.

                    +-------+
first digit   ----> | trunk | ----> 10 numbers --+---> auxiliary outputs: a loss of their own, maybe
                    +-------+                    |
                    the same                     +---> side by side (20) ---> head ---> output
                    +-------+                    |
second digit  ----> | trunk | ----> 10 numbers --+
                    +-------+
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.module import Module

if TYPE_CHECKING:
    from torch import Tensor


class SharedTrunk(Module):
    """Weight sharing (a Siamese net): the channels of an image are parts, each an input of the one trunk.

    Shapes: (..., N, B, H, W) to the head's output. The trunk takes (..., N, 1, H, W) and gives (..., N, F),
    the head takes (..., N, B F).
    """

    features: Tensor  # (..., N, B, F), what the trunk said of each part in the latest forward pass

    def __init__(self, trunk: Module, head: Module) -> None:
        """Join a trunk and a head.

        Args:
            trunk: Applied to each part.
            head: Applied to all that the trunk says, part by part in one row.
        """
        self.trunk, self.head = trunk, head
        self.refuse_repeats()

    def forward(self, x: Tensor) -> Tensor:
        """Compute head(trunk(x_1), ..., trunk(x_B)).

        A module remembers only its latest forward pass; so what the trunk remembers of each is taken out
        before the next.
        """
        if x.dim() < 4:
            raise ValueError(
                f"SharedTrunk: the input must have shape (..., N, B, H, W), got {tuple(x.shape)}"
            )
        self._saved = None  # the last pass is not needed any more: spare its memory
        outputs, memories = [], []
        for part in x.split(1, -3):  # (..., N, 1, H, W)
            outputs.append(self.trunk(part))
            memories.append(self.trunk.saved_passes())
        *lead, features = outputs[0].shape
        self.features = outputs[0].new_empty(*lead, len(outputs), features)
        for place, output in enumerate(outputs):
            self.features.select(-2, place).copy_(output)
        return self.save_for_backward(memories, self.head(self.features.flatten(-2)))

    def backward(self, grad_output: Tensor, grad_features: Tensor | None = None) -> Tensor:
        """Walk back through the head, then through the trunk once for every part.

        Every path from a number to the loss has its share of the gradient, and shares add up:

            dL/dw = sum_b dL/da_b da_b/dw       of a trunk's weight, which acts in all outputs a_b: each
                                                backward pass adds to the gradient, so it adds up by itself
            dL/da_b = dL/da_b through the head + dL/da_b through the losses on a_b itself

        Args:
            grad_output: dL/dy, of the head's output.
            grad_features: dL/da, of `features`, by what is lost there beside; None for nothing.

        Returns:
            dL/dx.
        """
        memories = self.saved(grad_output)
        grad = self.head.backward(grad_output).view(self.features.shape)
        if grad_features is not None:
            grad = grad + grad_features
        inputs = []
        for part, memory in zip(grad.unbind(-2), memories, strict=True):
            self.trunk.restore(memory)
            inputs.append(self.trunk.backward(part))  # (..., N, 1, H, W)
        shape = (*inputs[0].shape[:-3], len(inputs), *inputs[0].shape[-2:])
        grad_input = grad_output.new_empty(shape)
        for place, part in enumerate(inputs):
            grad_input.narrow(-3, place, 1).copy_(part)
        return grad_input
