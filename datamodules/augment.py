"""Random warps: digits a little turned, scaled, sheared, shifted and kneaded, and still the same digits.

A warp says for each pixel where in the image it comes from (Simard, Steinkraus & Platt 2003, "Best practices
for convolutional neural networks"): an affine map of its place plus a smooth field, sixteen random vectors
that are interpolated to all pixels. Both are linear in the warp's 19 numbers per axis, so that all warps of a
batch are one matrix product, and all digits one look-up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from datamodules.seeding import derive_seed

SIDE = 14  # pixels
KNOTS = 4  # of the smooth field, in each direction
PIXEL = 2 / (SIDE - 1)  # in the coordinates of `grid_sample`, where the image's centres of pixels span -1..1

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Augmentation:
    """How far digits are warped; uniform within the limits, but for the smooth field, which is normal."""

    interpolation: Interpolation = "bicubic"
    elastic: float = 0.4  # standard deviation of the smooth field, in pixels
    rotation: float = math.radians(12)
    scale: float = 0.12  # of the logarithm, for each axis
    shear: float = 0.2
    shift: float = 1.0  # pixels, for each axis

    def __call__(
        self, images: Tensor, seeds: Sequence[int], step: int, rank: int = 0, views: int = 1
    ) -> Tensor:
        """Warp every digit by itself.

        Args:
            images: (N, 2R, 14, 14) in 0..255.
            seeds: R seeds.
            step: Number of the batch in training: a replica's warps are a function of it and its seed alone.
            rank: Number of this process: each warps otherwise.
            views: How often to warp each, V.

        Returns:
            (V * N, 2R, 14, 14) in 0..255, one view after the other.
        """
        pairs, digits, *_ = images.shape
        count = views * pairs * digits // len(seeds)  # digits of a replica
        streams = [derive_seed("augmentation", seed, step, rank) for seed in seeds]
        uniform, normal = _draw(streams, count)
        uniform, normal = uniform.to(images.device), normal.to(images.device)
        grid = self._grid(uniform, normal).unflatten(1, (views, pairs, 2))  # (R, V, N, 2, 14, 14, 2)
        grid = grid.permute(1, 2, 0, 3, 4, 5, 6)  # (V, N, R, 2, 14, 14, 2)
        sources = images.float().repeat(views, 1, 1, 1).view(-1, 1, SIDE, SIDE)
        warped = F.grid_sample(
            sources, grid.reshape(-1, SIDE, SIDE, 2), self.interpolation, align_corners=True
        )  # outside of the image is 0, the background
        return warped.view(views * pairs, digits, SIDE, SIDE).clamp_(0, 255).to(images.dtype)

    def _grid(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Where pixels come from, (R, M, 14, 14, 2), by numbers (R, M, 6) and (R, M, 2, 16)."""
        angle, shear = self.rotation * uniform[..., 0], self.shear * uniform[..., 1]
        scale, shift = (self.scale * uniform[..., 2:4]).exp(), self.shift * PIXEL * uniform[..., 4:6]
        cos, sin = angle.cos(), angle.sin()
        linear = torch.stack([cos, shear * cos - sin, sin, shear * sin + cos], -1).unflatten(-1, (2, 2))
        linear = linear * scale.unsqueeze(-2)  # (R, M, 2, 2): rotation after shear after scale
        numbers = torch.cat([linear, shift.unsqueeze(-1), self.elastic * PIXEL * normal], -1)  # (R, M, 2, 19)
        basis = _basis().to(numbers.device).expand(len(numbers), -1, -1)  # (R, 19, 196)
        # A product for each replica: one of all would round by their number.
        grid = torch.bmm(numbers.flatten(1, 2), basis)  # (R, 2 * M, 196)
        return grid.unflatten(1, (-1, 2)).transpose(2, 3).unflatten(2, (SIDE, SIDE))


def _draw(streams: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """Numbers of warps from each stream: uniform in -1..1 (R, count, 6), normal (R, count, 2, 16)."""
    uniform = torch.empty(len(streams), count, 6, dtype=torch.float32)  # whatever the program computes in
    normal = torch.empty(len(streams), count, 2, KNOTS**2, dtype=torch.float32)
    for stream, one, other in zip(streams, uniform, normal, strict=True):
        generator = Generator().manual_seed(stream)
        one.uniform_(-1, 1, generator=generator)
        other.normal_(generator=generator)
    return uniform, normal


@cache
def _basis() -> Tensor:
    """What each of a warp's 19 numbers does to an axis of every pixel, (19, 196)."""
    line = torch.linspace(-1, 1, SIDE, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    knots = torch.eye(KNOTS**2, dtype=torch.float32).view(1, -1, KNOTS, KNOTS)
    field = F.interpolate(knots, (SIDE, SIDE), mode="bicubic", align_corners=True)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]), field[0]]).flatten(1)
