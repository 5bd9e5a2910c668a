"""Schedules: the learning rate as a function of time, large steps first and small ones to settle.

A schedule sets its optimiser's ``lr`` when it is made and then at each ``schedule.step()``, which is called
after ``optimizer.step()``, once an epoch or once a batch as its lengths are counted. Rates of replicas keep
their proportions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.annotations import Checked
from scratch_framework.core.checks import check_at_least
from scratch_framework.core.left_out import FROM_THE_START, leaves_out

if TYPE_CHECKING:
    from scratch_framework.core.optim import Optimizer
    from scratch_framework.core.parameter import Rate


@leaves_out(last_epoch=FROM_THE_START)
class LRScheduler(Checked):
    """Base of the schedules: counts the steps from 0."""

    def __init__(self, optimizer: Optimizer) -> None:
        """Take over an optimiser's rate.

        Args:
            optimizer: Whose ``lr``, as it stands now, is the schedule's base.
        """
        self.optimizer, self.base_lr = optimizer, optimizer.lr
        self.last_epoch = -1
        self.step()

    def step(self) -> None:
        """Go one step on and set the optimiser's rate."""
        self.last_epoch += 1
        self.optimizer.lr = self.rate(self.last_epoch)

    def rate(self, step: int) -> Rate:
        """The learning rate at a step."""
        raise NotImplementedError(f"{type(self).__name__} defines no rate")

    def get_last_lr(self) -> list[Rate]:
        """The rate in force, in a list as torch gives it."""
        return [self.optimizer.lr]


@leaves_out(last_epoch=FROM_THE_START)
class StepLR(LRScheduler):
    """lr = base gamma^k after k times step_size steps: a staircase."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        """Choose the stairs.

        Args:
            optimizer: Whose rate to set.
            step_size: Steps from one stair to the next.
            gamma: Factor from one stair to the next.
        """
        check_at_least(1, step_size=step_size)
        self.step_size, self.gamma = step_size, float(gamma)
        super().__init__(optimizer)

    def rate(self, step: int) -> Rate:
        """The learning rate at a step."""
        return self.base_lr * self.gamma ** (step // self.step_size)


@leaves_out(last_epoch=FROM_THE_START)
class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2: half a wave down to eta_min.

    Paper: https://arxiv.org/abs/1608.03983
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803
        """Choose the wave.

        Args:
            optimizer: Whose rate to set.
            T_max: Steps down to ``eta_min``; beyond them the wave rises again.
            eta_min: The lowest rate.
        """
        check_at_least(1, T_max=T_max)
        self.T_max, self.eta_min = T_max, float(eta_min)
        super().__init__(optimizer)

    def rate(self, step: int) -> Rate:
        """The learning rate at a step."""
        return cosine(self.base_lr, self.eta_min, step / self.T_max)


def linear(start: Rate, end: Rate, share: float) -> Rate:
    """Go from start to end on a straight line, of which ``share`` is done."""
    return start + (end - start) * share


def cosine(start: Rate, end: Rate, share: float) -> Rate:
    """Go from start to end on half a wave, flat at both ends, of which ``share`` is done."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
