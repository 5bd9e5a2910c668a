"""Layers with a replica dimension: R networks side by side in one, none of them touching another.

Activations are (N, R * F, ...), replica r owning the r-th block of F channels. Pooling, ReLU and batch
normalisation need nothing new for that (torch.nn's own serve, with R * F channels), convolution is torch's
grouped one; what is left is here. Parameters have R blocks along their first dimension, so that with R = 1
shapes and names are those of the ordinary layer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from lightning_modules.replicas.fused.kernels import keep_mask

MEAN, DEVIATION = 33.3184, 71.4274  # of the embedded MNIST's training pixels


def channels_last(images: Tensor) -> Tensor:
    """Lay the channels of (N, C, H, W) last in memory, as pooling and convolution on a CPU like it best.

    Unlike ``contiguous(memory_format=torch.channels_last)`` also where C = 1 makes the two layouts one in
    memory: strides then decide which kernel torch takes, and one replica must take the kernel that R take.
    """
    return images.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    replicas: int,
    padding: int = 0,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution for each replica.

    Args:
        in_channels: Input channels of one replica.
        out_channels: Output channels of one replica.
        kernel_size: Side of the kernel.
        replicas: Number of replicas R.
        padding: Zeros around the image.
        bias: Whether to add a bias.

    Returns:
        A layer from (N, R * in_channels, H, W) to (N, R * out_channels, H', W').
    """
    return nn.Conv2d(
        replicas * in_channels,
        replicas * out_channels,
        kernel_size,
        padding=padding,
        groups=replicas,
        bias=bias,
    )


def wide(x: Tensor) -> Tensor:
    """A tensor in float32 at least: in half precision sums stall, and different numbers tie."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Standardise(nn.Module):
    """Pixels 0..255 to mean 0 and deviation 1 over the embedded MNIST's training digits."""

    def forward(self, images: Tensor) -> Tensor:
        """Move and scale (N, R * C, H, W)."""
        return (images - MEAN) / DEVIATION


class Linear(nn.Module):
    """A linear layer for each replica, from (N, R * in_features) to (N, R * out_features)."""

    def __init__(
        self, in_features: int, out_features: int, replicas: int, bias: bool = True, last: bool = False
    ) -> None:
        """Leave the parameters empty: `initialise` (replicas.py) fills them, each replica from its seed.

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

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every replica's features by its own matrix."""
        if self.last and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._multiply(x.to(self.weight.dtype))
        return self._multiply(x)

    def _multiply(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (self.replicas, self.in_features)).transpose(0, 1)  # (R, N, in)
        weight = self.weight.view(self.replicas, self.out_features, self.in_features)
        if self.bias is None:
            return torch.bmm(x, weight.transpose(1, 2)).transpose(0, 1).flatten(1)  # (N, R * out)
        # A product, because its gradient is one: a sum over rows would round by a replica's place among R.
        bias = x.new_ones(self.replicas, x.shape[1], 1) @ self.bias.view(self.replicas, 1, self.out_features)
        return torch.baddbmm(bias, x, weight.transpose(1, 2)).transpose(0, 1).flatten(1)  # (N, R * out)

    def extra_repr(self) -> str:
        """Describe the layer as torch's own does."""
        return f"{self.in_features}, {self.out_features}, replicas={self.replicas}"


@dataclass(frozen=True)
class Draw:
    """What fixes the masks of one or several calls of a dropout layer."""

    keys: NDArray[np.uint32]  # (R, 2)
    call: int  # number of the first call
    threshold: np.uint32  # the share that is dropped, times 2**32
    gain: float  # what the kept values are multiplied by


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose replicas draw their masks from random streams of their own.

    On the CPU replica r of R drops what it would drop if trained alone: a value is dropped where a random
    32-bit integer, made of the stream's key and the value's place, lies below p * 2**32. The rate is p
    rounded to 2**-32, and the kept values are scaled by exactly its complement. Other devices draw all masks
    in one launch, from one stream that the first replica's seed starts: replicas are as independent, but draw
    otherwise than each alone would. There a layer goes on drawing for replicas that were dropped, so that the
    others drop what they would have.
    """

    first_seed: int | None = None  # of the replica whose streams start those of other devices

    def __init__(self, p: float, replicas: int) -> None:
        """Seed the streams from torch's global generator; `seed` does so by replica.

        Args:
            p: Probability of dropping a value, below 1.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.p, self.replicas = p, replicas
        self.drawn, self.places = replicas, list(range(replicas))  # of other devices: drawn, and used of them
        self.seed(torch.randint(2**32, (replicas,)).tolist())

    def seed(self, seeds: Sequence[int], device_seed: int | None = None) -> None:
        """Start the streams.

        Args:
            seeds: R seeds.
            device_seed: Seed of the one stream of other devices; the first of the seeds by default.
        """
        self.seeds, self.calls = list(seeds), 0
        self.device_seed = self.seeds[0] if device_seed is None else device_seed
        halves = [(random.Random(seed).getrandbits(32), seed % 2**32) for seed in seeds]
        self.keys = np.array(halves, np.uint32)
        self.device_generator: Generator | None = None

    def keep(self, kept: Sequence[int], replicas: int) -> None:
        """Drop all streams but those of some replicas, which go on as they would have.

        Args:
            kept: Which replicas stay.
            replicas: How many there are; each may have several streams.
        """
        calls, generator, streams = self.calls, self.device_generator, self.replicas // replicas
        chosen = [streams * r + k for r in kept for k in range(streams)]
        self.replicas, self.places = len(chosen), [self.places[number] for number in chosen]
        self.seed([self.seeds[number] for number in chosen], self.device_seed)
        self.calls, self.device_generator = calls, generator

    @property
    def draws_for_all(self) -> bool:
        """Whether what other devices draw is all used, in its order: no replica was dropped."""
        return self.places == list(range(self.drawn))

    def next_draw(self, calls: int = 1) -> Draw:
        """Go on in the streams; in evaluation nothing is drawn, and nothing dropped.

        Args:
            calls: How many calls of the layer the draw is for.
        """
        if not self.training:
            return Draw(self.keys, 0, np.uint32(0), 1.0)
        first, self.calls = self.calls, self.calls + calls
        threshold = round(self.p * 2**32)
        return Draw(self.keys, first, np.uint32(threshold), 2**32 / (2**32 - threshold))

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of (N, R * F, ...) in training; pass them on in evaluation."""
        if not self.training:
            return x
        return x * (self._mask(x) if x.device.type == "cpu" else self._device_mask(x))

    def _mask(self, x: Tensor) -> Tensor:
        # Channels last, as the fused engine counts: a place has the same number in all layouts.
        last = x.movedim(1, -1)
        shape = (last[..., 0].numel(), self.replicas, x.shape[1] // self.replicas)
        mask = np.empty(shape, np.float64 if x.dtype == torch.float64 else np.float32)
        draw = self.next_draw()
        keep_mask(draw.keys, draw.call, draw.threshold, mask.dtype.type(draw.gain), mask)
        return torch.from_numpy(mask).view(last.shape).movedim(-1, 1).to(x.dtype)

    def _device_mask(self, x: Tensor) -> Tensor:
        if self.device_generator is None:
            self.device_generator = Generator(x.device).manual_seed(self.device_seed)
        if self.draws_for_all:
            keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.device_generator)
            return keep.div_(1 - self.p)
        width = x.shape[1] // self.replicas
        shape = (len(x), self.drawn * width, *x.shape[2:])
        layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
        keep = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        keep.bernoulli_(1 - self.p, generator=self.device_generator)
        return keep.unflatten(1, (self.drawn, width))[:, self.places].flatten(1, 2).div_(1 - self.p)

    def extra_repr(self) -> str:
        """Describe the layer as torch's own does."""
        return f"p={self.p}, replicas={self.replicas}"
