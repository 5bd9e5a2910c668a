"""A fused layer of a compiled net: a linear layer and its activation, on buffers that are made once.

Numbers lie feature by feature: a batch is (R, features, N), the transpose of what the plain net sees. A row
is then one unit's output for all N points, the product of weights (R, out, in) with it needs no transposing,
and the row of ones (see `parameter_vector`) is simply the last. Everything happens in place:

    forward     y <- f(W x)             the next layer's x
    backward    g is dL/dy, handed over by the next layer
                g      <- g f'          y is no longer needed and becomes the slope
                dL/dW  <- g x^T
                dL/dx  <- W^T g         the g of the layer before
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scratch_framework.core.activations import LeakyReLU, ReLU, Sigmoid, Tanh

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.module import Module

SATURATED = 40.0  # sigmoid of it is exactly 1, in float64 too


class Identity:
    """No activation, and the base of those that do something."""

    gain = 1.0  # `forward` wants gain * z: a product scales its result for free
    constant = 1.0  # the z that the activation turns into 1

    def forward(self, y: Tensor) -> None:
        """Turn gain * z into y = f(z), in place."""

    def backward(self, y: Tensor, grad: Tensor) -> None:
        """Turn dL/dy into dL/dz, in place; y may be spent."""


class InPlaceReLU(Identity):
    """y = max(z, 0), and y's sign is the slope: 1 above 0, else 0."""

    def forward(self, y: Tensor) -> None:
        """Turn z into max(z, 0)."""
        y.relu_()

    def backward(self, y: Tensor, grad: Tensor) -> None:
        """Keep the gradient where y > 0."""
        grad.mul_(y.sign_())


class InPlaceLeakyReLU(Identity):
    """y = max(z, a z) for a slope a in [0, 1]."""

    def __init__(self, slope: float) -> None:
        """Choose the slope.

        Args:
            slope: Slope below 0.
        """
        if not 0 <= slope <= 1:
            raise ValueError(f"compile needs LeakyReLU's negative_slope in [0, 1], got {slope}")
        self.slope = slope

    def forward(self, y: Tensor) -> None:
        """Turn z into max(z, a z)."""
        y.clamp_(min=y.mul(self.slope))

    def backward(self, y: Tensor, grad: Tensor) -> None:
        """Multiply by 1 where y > 0, by the slope elsewhere."""
        grad.mul_(y.sign_().clamp_(min=self.slope))


class InPlaceSigmoid(Identity):
    """y = 1 / (1 + e^-z), slope y - y^2."""

    constant = SATURATED

    def forward(self, y: Tensor) -> None:
        """Turn z into sigmoid(z)."""
        y.sigmoid_()

    def backward(self, y: Tensor, grad: Tensor) -> None:
        """Multiply by y - y^2."""
        grad.mul_(y.addcmul_(y, y, value=-1))


class InPlaceTanh(Identity):
    """y = tanh(z) = 2 sigmoid(2z) - 1, slope 1 - y^2.

    On a CPU torch's sigmoid runs on whole vectors of numbers and is several times as fast as its tanh.
    """

    gain, constant = 2.0, SATURATED / 2

    def __init__(self, one: Tensor) -> None:
        """Keep what `forward` needs.

        Args:
            one: The number 1 as a tensor, so that no call needs to convert it.
        """
        self.one = one

    def forward(self, y: Tensor) -> None:
        """Turn 2z into tanh(z) = 2s - 1, s = sigmoid(2z): one `lerp_`, which computes s + -1 (1 - s)."""
        y.sigmoid_().lerp_(self.one, -1)

    def backward(self, y: Tensor, grad: Tensor) -> None:
        """Subtract y^2 times the gradient from the gradient."""
        grad.addcmul_(grad, y.square_(), value=-1)


def in_place(module: Module, like: Tensor) -> Identity | None:
    """Find the in-place form of an activation.

    Args:
        module: The activation.
        like: A tensor of the dtype and device of the net.

    Returns:
        Its in-place form, or None if it has none.
    """
    if type(module) is LeakyReLU:
        return InPlaceLeakyReLU(module.negative_slope)
    if type(module) is Tanh:
        return InPlaceTanh(like.new_ones(()))
    return InPlaceReLU() if type(module) is ReLU else InPlaceSigmoid() if type(module) is Sigmoid else None


class FusedLinear:
    """A linear layer with its activation, for one size of batch."""

    def __init__(self, weight: Tensor, weight_grad: Tensor, activation: Identity, x: Tensor) -> None:
        """Make the buffers.

        Args:
            weight: Block of the layer, see `parameter_vector`.
            weight_grad: Its gradient.
            activation: What follows the product.
            x: The input, the y of the layer before.
        """
        self.weight, self.weight_t, self.weight_grad = weight, weight.mT, weight_grad
        self.x, self.x_t, self.activation = x, x.mT, activation
        replicas, rows, _ = weight.shape
        self.y, self.grad = (
            weight.new_zeros(replicas, rows, x.shape[2]) for _ in range(2)
        )  # (R, out + 1, N)

    def forward(self) -> None:
        """Compute y from x."""
        self.y.baddbmm_(self.weight, self.x, beta=0, alpha=self.activation.gain)
        self.activation.forward(self.y)

    def backward(self, x_grad: Tensor | None) -> None:
        """Compute the gradients of the weight and of x from that of y.

        Args:
            x_grad: Where to put dL/dx, the gradient of the layer before; None if there is none.
        """
        self.activation.backward(self.y, self.grad)
        self.weight_grad.baddbmm_(self.grad, self.x_t, beta=0)
        if x_grad is not None:
            x_grad.baddbmm_(self.weight_t, self.grad, beta=0)
