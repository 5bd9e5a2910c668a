"""What every contestant of the step benchmark trains: a recipe's net, the same weights, the same batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import scratch_framework as sf
from scratch_framework.experiments.disc.network import initial_state
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import PAPER
from scratch_framework.experiments.disc.training import examples

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from scratch_framework.experiments.disc.recipe import Recipe

STEPS = 20  # an epoch of both recipes: 1000 points in batches of 50

Run = Callable[[], list[float]]  # trains an epoch more, gives the last loss of each replica


@dataclass(frozen=True)
class Task:
    """Weights and batches of R trainings by one recipe, at its learning rate without a schedule."""

    recipe: Recipe
    state: dict[str, Tensor]  # (R, out, in) and (R, out) by name
    x: Tensor  # (STEPS, R, N, 2)
    y: Tensor  # (STEPS, R, N, 1)

    @classmethod
    def draw(cls, replicas: int, dtype: torch.dtype, recipe: Recipe = PAPER) -> Task:
        """Draw weights and points."""
        seeds = range(replicas)
        state = sf.stack_states([initial_state(recipe, seed) for seed in seeds])
        shown = examples(recipe, DataConfig().draw("train", STEPS * recipe.batch_size, seeds), dtype)
        x, y = (part.unflatten(1, (STEPS, -1)).transpose(0, 1) for part in (shown.x, shown.target))
        return cls(recipe, {name: value.to(dtype) for name, value in state.items()}, x, y)

    def part(self, start: int, count: int) -> Task:
        """Some of the trainings."""
        chosen = slice(start, start + count)
        state = {name: value[chosen].clone() for name, value in self.state.items()}
        return Task(self.recipe, state, self.x[:, chosen], self.y[:, chosen])

    def single(self) -> Task:
        """The first of the trainings, without the dimension R."""
        return Task(self.recipe, sf.replica_state(self.state, 0), self.x[:, 0], self.y[:, 0])

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """The epoch's batches."""
        return [(x.contiguous(), y.contiguous()) for x, y in zip(self.x, self.y, strict=True)]
