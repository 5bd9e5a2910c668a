"""The data: points of the unit square, of class 1 inside a disc around its middle.

The paper writes "normal distribution on [0,1]" and "diameter 1/sqrt(2 pi)"; its figure and the course's
assignment show uniform points and that number as the radius, so that the disc covers half of the square. Both
readings of both words can be drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from lightning_modules.replicas.seeding import derive_seed

MIDDLE = 0.5
RADII = {"radius": 1 / math.sqrt(2 * math.pi), "diameter": 1 / math.sqrt(2 * math.pi) / 2}
SIGMA = 0.25  # of the normal reading: the square ends two of them from its middle


class Points(NamedTuple):
    """N points for each of R replicas."""

    x: Tensor  # (R, N, 2) float64, in [0, 1]
    inside: Tensor  # (R, N) bool, the class


@dataclass(frozen=True)
class DataConfig:
    """How the points are drawn: which of the readings of the paper's two words is meant."""

    disc: Literal["radius", "diameter"] = "radius"  # which of the two is 1/sqrt(2 pi)
    points: Literal["uniform", "normal"] = "uniform"

    @property
    def radius(self) -> float:
        """Radius of the disc."""
        return RADII[self.disc]

    def draw(self, purpose: str, count: int, seeds: Sequence[int]) -> Points:
        """Draw `count` points and their classes, for each seed and purpose from a stream of its own."""
        streams = [Generator().manual_seed(derive_seed(seed, f"{purpose} points")) for seed in seeds]
        uniform = [torch.rand(count, 2, dtype=torch.float64, generator=source) for source in streams]
        x = torch.stack(uniform)  # (R, N, 2)
        if self.points == "normal":
            x = to_normal(x)
        return Points(x, (x - MIDDLE).norm(dim=-1) < self.radius)


def to_normal(uniform: Tensor) -> Tensor:
    """Turn uniform draws into normal ones around the middle that fall into [0, 1], by inverse quantiles."""
    edge = math.erf(MIDDLE / (SIGMA * math.sqrt(2)))  # the share of the normal that falls into [0, 1]
    return MIDDLE + SIGMA * math.sqrt(2) * torch.erfinv(edge * (2 * uniform - 1))
