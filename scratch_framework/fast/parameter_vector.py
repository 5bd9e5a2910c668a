"""All parameters of a net in one vector, so that an optimiser moves them by one operation, not one for each.

Layer by layer the vector holds a block (R, out + 1, in + 1): weight, bias and one unit more.

    [ W  b ] [ x ]   [ W x + b ]
    [ 0  c ] [ 1 ] = [    c    ]

If every input ends in a 1, a bias is the weight of that input, and one product computes the whole layer. The
last row hands a 1 on to the next layer: c is chosen so that the activation makes 1 of it. The last layer has
no such row. The zeros and c are no parameters: `trainable` is 0 there, and rates are multiplied by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from scratch_framework.core.aliases import Rate
    from scratch_framework.core.linear import Linear


class ParameterVector:
    """Values and gradients of a chain of linear layers as two vectors; the parameters become views of them.

    So the plain net, its state_dict and its optimiser see every change here, and theirs are seen here.
    """

    def __init__(self, layers: Sequence[Linear], constants: Iterable[float]) -> None:
        """Move the parameters into vectors.

        Args:
            layers: The linear layers in the order of the chain, alike in replicas and dtype.
            constants: c of every layer but the last.
        """
        self.layers, self.replicas = layers, layers[0].replicas or 1
        self.shapes = [(self.replicas, one.out_features + 1, one.in_features + 1) for one in layers]
        self.shapes[-1] = (self.replicas, layers[-1].out_features, layers[-1].in_features + 1)
        self.sizes = [count * rows * columns for count, rows, columns in self.shapes]
        self.value, self.grad, self.trainable = (
            layers[0].weight.value.new_zeros(sum(self.sizes)) for _ in range(3)
        )
        for constant, block in zip(constants, self.blocks(self.value)[:-1], strict=True):
            block[:, -1, -1] = constant
        for view in self.views(self.trainable):
            view.fill_(1)
        self.attach()

    def attach(self) -> None:
        """Copy the parameters here and make them views."""
        parameters = [one for layer in self.layers for one in (layer.weight, layer.bias) if one is not None]
        values, grads = self.views(self.value), self.views(self.grad)
        for parameter, value, grad in zip(parameters, values, grads, strict=True):
            parameter.value, parameter.grad = value.copy_(parameter.value), grad.copy_(parameter.grad)
        self.attached = values[0]

    def check_attached(self) -> None:
        """Refuse to train a vector that the parameters have left."""
        if self.layers[0].weight.value is not self.attached:
            raise RuntimeError("compile: this step is out of date, the model was compiled again since")

    def blocks(self, vector: Tensor) -> list[Tensor]:
        """The blocks of a vector, (R, out + 1, in + 1) for each layer."""
        return [part.view(shape) for part, shape in zip(vector.split(self.sizes), self.shapes, strict=True)]

    def views(self, vector: Tensor) -> list[Tensor]:
        """The parts of a vector that belong to parameters, in their order and shapes."""
        views = []
        for layer, block in zip(self.layers, self.blocks(vector), strict=True):
            rows = (block[0] if layer.replicas is None else block)[..., : layer.out_features, :]
            views.append(rows[..., :-1])  # (out, in), or (R, out, in)
            if layer.bias is not None:
                views.append(rows[..., -1])  # (out,), or (R, out)
        return views

    def broadcast_rate(self, rate: Rate, rates: Tensor) -> None:
        """Write a rate beside every number that it acts on, and 0 where there is no parameter.

        Args:
            rate: A number, or (R,).
            rates: Vector to write to.
        """
        rates.copy_(self.trainable)
        if isinstance(rate, (int, float)):
            rates.mul_(rate)
        else:
            for block in self.blocks(rates):
                block.mul_(rate.to(rates).view(-1, 1, 1))
