"""The twin: the same net of torch.nn, from the same weights, trained by autograd and torch.optim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn, optim

from scratch_framework.experiments.disc.network import twin
from scratch_framework.experiments.disc.objective import OBJECTIVES
from scratch_framework.experiments.disc.optimisation import make_optimizer, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from scratch_framework.core.parameter import State
    from scratch_framework.experiments.disc.recipe import Recipe


class TorchLearner:
    """A `Learner` of one net, which computes with torch.nn."""

    def __init__(self, recipe: Recipe, seed: int, steps: int, dtype: torch.dtype = torch.float32) -> None:
        """Build net, loss, optimiser and schedule.

        Args:
            recipe: How to train.
            seed: Seed of the replica.
            steps: Steps of the whole training.
            dtype: Type to compute in.
        """
        if recipe.mistake != "none":
            raise ValueError(f"mistake {recipe.mistake} needs the backend scratch: torch.nn does not make it")
        self.seeds: Sequence[int] = [seed]
        self.model = twin(recipe, seed, dtype)
        self.criterion = getattr(nn, OBJECTIVES[recipe.loss].criterion)(reduction=recipe.reduction)
        parameters = self.model.parameters()
        self.optimizer = make_optimizer(optim, recipe, parameters, recipe.lr, recipe.weight_decay)
        self.schedule = make_schedule(optim.lr_scheduler, recipe, self.optimizer, recipe.lr, steps)

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        """Learn from a batch."""
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x[0]), target[0])
        loss.backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach().unsqueeze(0)  # (1,)

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """Outputs of the net."""
        return self.model(x)

    def first_replica(self) -> Callable[[Tensor], Tensor]:
        """The net itself."""
        return self.outputs

    def state_dict(self) -> State:
        """Parameters by name."""
        return {name: value.detach().unsqueeze(0) for name, value in self.model.state_dict().items()}
