"""All parameters of a net in one vector, so that an optimiser moves them by one operation, not one for each.

Layer by layer the vector holds a block (R, out + 1, in + 1): weight, bias and one unit more.

    [ W  b ] [ x ]   [ W x + b ]
    [ 0  c ] [ 1 ] = [    c    ]

If every input ends in a 1, a bias is the weight of that input, and one product computes the whole layer. The
last row hands a 1 on to the next layer: c is chosen so that the activation makes 1 of it. The last layer has
no such row. The zeros and c are not parameters: the mask `trainable` is 0 there, and learning rates are
multiplied by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from scratch_framework.core.linear import Linear
    from scratch_framework.core.optim import Optimizer
    from scratch_framework.core.parameter import Rate


class ParameterVector(Parameter):
    """One parameter in place of all parameters of a chain of linear layers, which become views of it.

    So the plain net, its state_dict and its optimiser see every change here, and theirs are seen here.
    """

    def __init__(self, layers: Sequence[Linear], constants: Iterable[float]) -> None:
        """Make the vector and attach the layers' parameters.

        Args:
            layers: The linear layers in the order of the chain, alike in replicas and dtype.
            constants: c of every layer but the last.
        """
        replicas = layers[0].replicas or 1
        self.layers = layers
        self.rates: dict[str, tuple[object, Tensor]] = {}  # by name: the rate, and the vector made of it
        self.shapes = [(replicas, one.out_features + 1, one.in_features + 1) for one in layers]
        self.shapes[-1] = (replicas, layers[-1].out_features, layers[-1].in_features + 1)
        self.sizes = [count * rows * columns for count, rows, columns in self.shapes]
        super().__init__(layers[0].weight.value.new_zeros(sum(self.sizes)), replicas)
        for constant, block in zip(constants, self.blocks(self.value)[:-1], strict=True):
            block[:, -1, -1] = constant
        self.trainable = self.value.new_zeros(self.value.shape)
        for view in self.views(self.trainable):
            view.fill_(1)
        self.attach()

    def attach(self) -> None:
        """Copy the layers' parameters here and make them views of the vector."""
        parameters = [one for layer in self.layers for one in (layer.weight, layer.bias) if one is not None]
        values, grads = self.views(self.value), self.views(self.grad)
        for parameter, value, grad in zip(parameters, values, grads, strict=True):
            parameter.value, parameter.grad = value.copy_(parameter.value), grad.copy_(parameter.grad)
        self.attached = values[0]

    def attach_optimizer(self, optimizer: Optimizer) -> None:
        """Let an optimiser of these parameters move the vector from now on; its state becomes vectors too."""
        vectors = []
        for name, tensors in optimizer.state.items():
            vector = self.value.new_zeros(self.value.shape)
            views = self.views(vector)
            optimizer.state[name] = [view.copy_(past) for view, past in zip(views, tensors, strict=True)]
            vectors.append(vector)
        optimizer.moved = [(self, vectors)]

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

    def broadcast_rate(self, name: str, rate: Rate) -> Tensor:
        """Give the vector of rates: beside every number its replica's rate, or 0 if it is not a parameter.

        It is written anew only when the rate has changed.

        Raises:
            RuntimeError: The parameters have been attached to another vector since.
        """
        if self.layers[0].weight.value is not self.attached:
            raise RuntimeError("compile: this step is out of date, the model was compiled again since")
        latest = rate if isinstance(rate, (int, float)) else rate.tolist()
        known, rates = self.rates.get(name, (None, self.trainable))
        if known != latest:
            rates = self.trainable.clone()
            if isinstance(rate, (int, float)):
                rates.mul_(rate)
            else:
                for block in self.blocks(rates):
                    block.mul_(rate.to(rates).view(-1, 1, 1))
            self.rates[name] = (latest, rates)
        return rates
