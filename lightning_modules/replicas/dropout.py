"""Dropout whose replicas draw their masks from random streams of their own."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from lightning_modules.replicas.fused.loops.random_bits import dropout_mask


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

        Raises:
            ValueError: `p` is out of range.
        """
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p of dropout must be at least 0 and below 1, got {p}")
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

    def select(self, kept: Sequence[int], replicas: int) -> None:
        """Keep only the given replicas' random streams, at their current position.

        Args:
            kept: Which replicas stay.
            replicas: How many there are; each may have several streams.
        """
        calls, generator, streams = self.calls, self.device_generator, self.replicas // replicas
        selected = [streams * r + k for r in kept for k in range(streams)]
        self.replicas, self.places = len(selected), [self.places[number] for number in selected]
        self.seed([self.seeds[number] for number in selected], self.device_seed)
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
        return x * self.mask(x) if self.training else x

    def mask(self, x: Tensor) -> Tensor:
        """What (N, R * F, ...) is multiplied by in training: 0, or more than 1."""
        return self._cpu_mask(x) if x.device.type == "cpu" else self._device_mask(x)

    def _cpu_mask(self, x: Tensor) -> Tensor:
        # Channels last, as the fused engine counts: a place has the same number in all layouts.
        last = x.movedim(1, -1)
        shape = (last[..., 0].numel(), self.replicas, x.shape[1] // self.replicas)
        mask = np.empty(shape, np.float64 if x.dtype == torch.float64 else np.float32)
        draw = self.next_draw()
        dropout_mask(draw.keys, draw.call, draw.threshold, mask.dtype.type(draw.gain), mask)
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


class ChannelDropout(Dropout):
    """Dropout of whole channels (Tompson et al. 2015), as torch's Dropout1d, Dropout2d and Dropout3d."""

    def mask(self, x: Tensor) -> Tensor:
        """A mask for (N, R * C, ...), the same at all places of a channel."""
        if x.dim() < 3:
            raise ValueError(f"dropout of channels needs (N, C, ...), got {x.dim()} dimensions")
        return super().mask(x.new_ones(x.shape[:2])).view(*x.shape[:2], *[1] * (x.dim() - 2))
