"""Layers with a replica dimension: R networks side by side in one, none of them touching another.

Activations are (N, R * F, ...), replica r owning the r-th block of F channels. Pooling, ReLU and batch
normalisation need nothing new for that (torch.nn's own serve, with R * F channels), convolution is torch's
grouped one; what is left is here. Parameters have R blocks along their first dimension, so that with R = 1
shapes and names are those of the ordinary layer.
"""

import math

import torch
from torch import Tensor, nn

from lightning_modules.replicas.one_batch import OneBatch
from lightning_modules.replicas.products import multiply_one

MEAN, DEVIATION = 33.3184, 71.4274  # of the embedded MNIST's training pixels


def channels_last(images: Tensor) -> Tensor:
    """Lay the channels of (N, C, H, W) last in memory, as pooling and convolution on a CPU like it best.

    Unlike ``contiguous(memory_format=torch.channels_last)`` also where C = 1 makes the two layouts one in
    memory: strides then decide which kernel torch takes, and one replica must take the kernel that R take.
    A single image stays as it is, see `with_plain_gradient`.
    """
    if len(images) == 1:
        return images
    return images.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)


def with_plain_gradient(y: Tensor) -> Tensor:
    """The same tensor, whose gradient is handed back contiguous.

    torch 2.13 gives the normalisation of a single image a wrong gradient, where only one of both, the image
    and the gradient of what it becomes, has its channels last in memory.
    """
    if y.requires_grad and not torch.compiler.is_compiling():
        y.register_hook(torch.Tensor.contiguous)
    return y


def wide(x: Tensor) -> Tensor:
    """A tensor in float32 at least: in half precision sums stall, and different numbers tie."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Standardise(nn.Module):
    """Pixels 0..255 to mean 0 and deviation 1 over the embedded MNIST's training digits."""

    def forward(self, images: Tensor) -> Tensor:
        """Move and scale (N, R * C, H, W)."""
        return (images - MEAN) / DEVIATION


class Logits(nn.Linear):
    """An ordinary linear layer whose outputs are logits: also under autocast in its weights' own precision.

    In bfloat16 many of them would be equal, and a comparison needs to know more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Multiply (N, in_features)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Linear(nn.Module):
    """A linear layer for each replica, from (N, R * in_features) to (N, R * out_features)."""

    def __init__(
        self, in_features: int, out_features: int, replicas: int, bias: bool = True, last: bool = False
    ) -> None:
        """Initialise the parameters as torch does, from its global generator.

        Args:
            in_features: Input features of one replica.
            out_features: Output features of one replica.
            replicas: Number of replicas R.
            bias: Whether to add a bias.
            last: Whether its outputs are logits. Under autocast too they are computed in the weights' own
                precision then: in bfloat16 many of them would be equal, and a comparison needs to know more.
        """
        super().__init__()
        self.in_features, self.out_features, self.replicas = in_features, out_features, replicas
        self.last = last
        self.weight = nn.Parameter(torch.empty(replicas * out_features, in_features))
        self.bias = nn.Parameter(torch.empty(replicas * out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases from U(-1/sqrt(in_features), 1/sqrt(in_features))."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every replica's features by its own matrix.

        Args:
            x: (N, R * in_features), or (N, R * L, ..., in_features).
        """
        if self.last and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._multiply(x.to(self.weight.dtype))
        return self._multiply(x)

    def _multiply(self, x: Tensor) -> Tensor:
        if isinstance(x, OneBatch) and x.is_one and x.dim() == 2:
            return multiply_one(x.one, self.weight, self.bias, self.replicas).transpose(0, 1).flatten(1)
        return multiply_each(x, self.weight, self.bias, self.replicas)

    def extra_repr(self) -> str:
        """Describe the layer as torch's own does."""
        return f"{self.in_features}, {self.out_features}, replicas={self.replicas}"


def multiply_each(x: Tensor, weight: Tensor, bias: Tensor | None, replicas: int) -> Tensor:
    """A linear layer of R replicas.

    Args:
        x: (N, R * inputs), or (N, R * L, ..., inputs).
        weight: (R * outputs, inputs).
        bias: (R * outputs,).
        replicas: Number of replicas R.

    Returns:
        (N, R * outputs), or (N, R * L, ..., outputs).
    """
    outputs, inputs = len(weight) // replicas, weight.shape[1]
    each = x.unflatten(1, (replicas, x.shape[1] // replicas)).transpose(0, 1)  # (R, N, [L, ...,] inputs)
    rows, matrices = each.flatten(1, -2), weight.view(replicas, outputs, inputs)
    if bias is None:
        y = torch.bmm(rows, matrices.transpose(1, 2))
    else:
        # A product, because its gradient is one: a sum over rows would round by a replica's place among R.
        sums = x.new_ones(replicas, rows.shape[1], 1) @ bias.view(replicas, 1, outputs)
        y = torch.baddbmm(sums, rows, matrices.transpose(1, 2))
    return y.view(*each.shape[:-1], outputs).transpose(0, 1).flatten(1, 2)
