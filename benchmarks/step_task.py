"""What every contestant of the step benchmark trains: the paper's net, the same weights, the same batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

import scratch_framework as sf

LAYERS = ((2, 25), (25, 25), (25, 25), (25, 1))  # Tanh, ReLU, ReLU, Tanh after them
LR, WEIGHT_DECAY = 0.005, 1e-6
STEPS, POINTS = 20, 50  # an epoch of the paper: 1000 points in batches of 50

Run = Callable[[], list[float]]  # trains an epoch more, gives the last loss of each replica


@dataclass(frozen=True)
class Task:
    """Weights and batches of R trainings."""

    state: dict[str, Tensor]  # (R, out, in) and (R, out) by name
    x: Tensor  # (STEPS, R, N, 2)
    y: Tensor  # (STEPS, R, N, 1)

    @classmethod
    def draw(cls, replicas: int, dtype: torch.dtype) -> Task:
        """Draw weights and points."""
        nets, points = [], []
        for seed in range(replicas):
            generator = Generator().manual_seed(seed)
            nets.append(scratch_net(None, torch.float64, generator).state_dict())
            points.append(torch.rand(STEPS, POINTS, 2, dtype=torch.float64, generator=generator))
        x = torch.stack(points, dim=1)
        y = ((x - 0.5).norm(dim=-1, keepdim=True) < (2 * torch.pi) ** -0.5).to(dtype)
        return cls({name: value.to(dtype) for name, value in sf.stack_states(nets).items()}, x.to(dtype), y)

    def part(self, start: int, count: int) -> Task:
        """Some of the trainings."""
        chosen = slice(start, start + count)
        state = {name: value[chosen].clone() for name, value in self.state.items()}
        return Task(state, self.x[:, chosen], self.y[:, chosen])

    def single(self) -> Task:
        """The first of the trainings, without the dimension R."""
        return Task(sf.replica_state(self.state, 0), self.x[:, 0], self.y[:, 0])

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The epoch's batches."""
        return [(x.contiguous(), y.contiguous()) for x, y in zip(self.x, self.y, strict=True)]


def scratch_net(
    replicas: int | None, dtype: torch.dtype, generator: Generator | None = None
) -> sf.Sequential:
    """The paper's net in the framework from scratch."""
    first, second, third, fourth = (
        sf.Linear(*sizes, replicas=replicas, dtype=dtype, generator=generator) for sizes in LAYERS
    )
    return sf.Sequential(first, sf.Tanh(), second, sf.ReLU(), third, sf.ReLU(), fourth, sf.Tanh())
