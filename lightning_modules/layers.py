"""Layers with a replica dimension: R networks side by side in one, none of them touching another.

Activations are (N, R * F, ...), replica r owning the r-th block of F channels. Pooling, ReLU and batch
normalisation need nothing new for that (torch.nn's own serve, with R * F channels), convolution is torch's
grouped one; what is left is here. Parameters have R blocks along their first dimension, so that with R = 1
shapes and names are those of the ordinary layer.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn


def conv2d(in_channels: int, out_channels: int, kernel_size: int, replicas: int) -> nn.Conv2d:
    """A convolution for each replica.

    Args:
        in_channels: Input channels of one replica.
        out_channels: Output channels of one replica.
        kernel_size: Side of the kernel.
        replicas: Number of replicas R.

    Returns:
        A layer from (N, R * in_channels, H, W) to (N, R * out_channels, H', W').
    """
    return nn.Conv2d(replicas * in_channels, replicas * out_channels, kernel_size, groups=replicas)


class Linear(nn.Module):
    """A linear layer for each replica, from (N, R * in_features) to (N, R * out_features)."""

    def __init__(self, in_features: int, out_features: int, replicas: int) -> None:
        """Leave the parameters empty: `initialise` (replicas.py) fills them, each replica from its seed.

        Args:
            in_features: Input features of one replica.
            out_features: Output features of one replica.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.in_features, self.out_features, self.replicas = in_features, out_features, replicas
        self.weight = nn.Parameter(torch.empty(replicas * out_features, in_features))
        self.bias = nn.Parameter(torch.empty(replicas * out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every replica's features by its own matrix."""
        x = x.t().unflatten(0, (self.replicas, self.in_features))  # (R, in, N)
        weight = self.weight.view(self.replicas, self.out_features, self.in_features)
        bias = self.bias.view(self.replicas, self.out_features, 1)
        return torch.baddbmm(bias, weight, x).flatten(0, 1).t()  # (N, R * out), features first in memory

    def extra_repr(self) -> str:
        """Describe the layer as torch's own does."""
        return f"{self.in_features}, {self.out_features}, replicas={self.replicas}"


class BatchNorm1d(nn.BatchNorm1d):
    """Torch's, on activations (N, R * F) that lie features first in memory, as `Linear` leaves them."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every feature over the batch."""
        return super().forward(x.t().unsqueeze(0)).squeeze(0).t()  # as one image of R * F rows of N


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose replicas draw their masks from random streams of their own.

    On the CPU replica r of R drops what it would drop if trained alone. A value is dropped where a random
    16-bit integer lies below a threshold: several times faster than torch's Bernoulli draw; the rate is p
    rounded to 1/65536 and the kept values are scaled by exactly its complement. Other devices draw all masks
    in one launch, from one stream that the first replica's seed starts: replicas are as independent, but draw
    otherwise than each alone would.
    """

    def __init__(self, p: float, replicas: int) -> None:
        """Seed the streams from torch's global generator; `seed` does so by replica.

        Args:
            p: Probability of dropping a value.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.p, self.threshold = p, round(p * 2**16)
        self.generators = [Generator() for _ in range(replicas)]
        self.seed(torch.randint(2**32, (replicas,)).tolist())

    def seed(self, seeds: Sequence[int]) -> None:
        """Start the streams.

        Args:
            seeds: R seeds.
        """
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(seed)
        self.device_generator: Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of (N, R * F, ...) in training; pass them on in evaluation."""
        if not self.training:
            return x
        if x.device.type != "cpu":
            return x * self._device_mask(x)
        # Features last, as channels_last activations lie in memory: then no step of this copies.
        x = x.movedim(1, -1).unflatten(-1, (len(self.generators), -1))  # (N, ..., R, F)
        mask = self._mask(x.select(-2, 0).shape, x.dtype)  # (R, N, ..., F)
        return (x * mask.movedim(0, -2)).flatten(-2).movedim(-1, 1)

    def _device_mask(self, x: Tensor) -> Tensor:
        if self.device_generator is None:
            start = self.generators[0].initial_seed()
            self.device_generator = Generator(x.device).manual_seed(start)
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.device_generator)
        return keep.div_(1 - self.p)

    def _mask(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        count = shape.numel()
        bits = torch.empty(len(self.generators), (count + 3) // 4, dtype=torch.int64)
        for row, generator in zip(bits, self.generators, strict=True):
            row.random_(-(2**63), None, generator=generator)  # all 64 bits, four draws of 16 at a time
        keep = bits.view(torch.int16)[:, :count] >= self.threshold - 2**15
        return keep.to(dtype).mul_(2**16 / (2**16 - self.threshold)).view(-1, *shape)

    def extra_repr(self) -> str:
        """Describe the layer as torch's own does."""
        return f"p={self.p}, replicas={len(self.generators)}"
