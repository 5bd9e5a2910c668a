"""Learners: R nets that take a step together, computed by the framework, or one net by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn, optim

import scratch_framework as sf
from scratch_framework.experiments.disc.network import network, twin
from scratch_framework.experiments.disc.objective import OBJECTIVES, make_optimizer, make_schedule
from scratch_framework.fast.compiled import compile_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scratch_framework.core.parameter import Rate, State
    from scratch_framework.experiments.disc.recipe import Recipe


class Learner(Protocol):
    """R nets."""

    seeds: Sequence[int]

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        """Learn from a batch.

        Args:
            x: (R, B, 2).
            target: (R, B, ...), as the objective wants it.

        Returns:
            The losses before the step, (R,), reduced as in training.
        """
        ...

    def outputs(self, x: Tensor) -> Tensor:
        """From points (R, N, 2) to outputs (R, N, C)."""
        ...

    def first_replica(self) -> Callable[[Tensor], Tensor]:
        """The first net alone, a function from (1, N, 2) to (1, N, C)."""
        ...

    def state_dict(self) -> State:
        """Parameters (R, ...) by name."""
        ...


class ScratchLearner:
    """R nets of the framework, trained as one."""

    def __init__(
        self,
        recipe: Recipe,
        seeds: Sequence[int],
        steps: int,
        dtype: torch.dtype = torch.float32,
        compiled: bool = True,
        lr: Rate | None = None,
        weight_decay: Rate | None = None,
    ) -> None:
        """Build net, loss, optimiser and schedule.

        Args:
            recipe: How to train.
            seeds: R seeds.
            steps: Steps of the whole training.
            dtype: Type to compute in.
            compiled: Whether to train by `fast.compiled`, or by the formulas as they are read.
            lr: One rate for each replica, (R,); the recipe's by default.
            weight_decay: Likewise.
        """
        self.recipe, self.seeds, self.steps, self.dtype, self.compiled = recipe, seeds, steps, dtype, compiled
        self.lr = lr = recipe.lr if lr is None else lr
        self.weight_decay = recipe.weight_decay if weight_decay is None else weight_decay
        self.model = network(recipe, seeds, dtype)
        criterion = getattr(sf, OBJECTIVES[recipe.loss].criterion)
        self.criterion: sf.Criterion = criterion(reduction=recipe.reduction, replicas=len(seeds))
        self.optimizer = make_optimizer(sf, recipe, self.model.parameters(), lr, self.weight_decay)
        self.schedule = make_schedule(sf, recipe, self.optimizer, lr, steps)
        self.descend = self._compile() if compiled else self._descend

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        loss = self.descend(x, target)
        if self.schedule is not None:
            self.schedule.step()
        return loss

    def outputs(self, x: Tensor) -> Tensor:
        return self.model(x)

    def first_replica(self) -> Callable[[Tensor], Tensor]:
        net = network(self.recipe, self.seeds[:1], self.dtype)
        net.load_state_dict({name: value[:1] for name, value in self.state_dict().items()})
        return net

    def state_dict(self) -> State:
        return self.model.state_dict()

    def select(self, kept: Sequence[int]) -> ScratchLearner:
        """A learner of some of the replicas, which go on exactly as they would have."""
        rows, seeds = list(kept), [self.seeds[k] for k in kept]
        lr, weight_decay = (
            rate if isinstance(rate, (int, float)) else rate[rows] for rate in (self.lr, self.weight_decay)
        )
        other = ScratchLearner(self.recipe, seeds, self.steps, self.dtype, self.compiled, lr, weight_decay)
        other.model.load_state_dict({name: value[rows] for name, value in self.state_dict().items()})
        other.optimizer.steps = self.optimizer.steps
        for name, tensors in self.optimizer.state.items():
            for own, past in zip(other.optimizer.state[name], tensors, strict=True):
                own.copy_(past[rows])
        if other.schedule is not None:
            other.schedule.last_epoch = self.schedule.last_epoch
            other.optimizer.lr = other.schedule.rate(other.schedule.last_epoch)
        return other

    def _descend(self, x: Tensor, target: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), target)
        self.model.backward(self.criterion.backward())
        self.optimizer.step()
        return loss

    def _compile(self) -> Callable[[Tensor, Tensor], Tensor]:
        try:
            return compile_step(self.model, self.criterion, self.optimizer)
        except ValueError as error:
            raise ValueError(f"{error}; --compile false trains without") from error


class TorchLearner:
    """The twin: one net of torch.nn, from the same weights, trained by autograd and torch.optim."""

    def __init__(self, recipe: Recipe, seed: int, steps: int, dtype: torch.dtype = torch.float32) -> None:
        if recipe.mistake != "none":
            raise ValueError(f"mistake {recipe.mistake} needs the backend scratch: torch.nn does not make it")
        self.seeds: Sequence[int] = [seed]
        self.model = twin(recipe, seed, dtype)
        self.criterion = getattr(nn, OBJECTIVES[recipe.loss].criterion)(reduction=recipe.reduction)
        parameters = self.model.parameters()
        self.optimizer = make_optimizer(optim, recipe, parameters, recipe.lr, recipe.weight_decay)
        self.schedule = make_schedule(optim.lr_scheduler, recipe, self.optimizer, recipe.lr, steps)

    def step(self, x: Tensor, target: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x[0]), target[0])
        loss.backward()
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach().unsqueeze(0)  # (1,)

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        return self.model(x)

    def first_replica(self) -> Callable[[Tensor], Tensor]:
        return self.outputs

    def state_dict(self) -> State:
        return {name: value.detach().unsqueeze(0) for name, value in self.model.state_dict().items()}
