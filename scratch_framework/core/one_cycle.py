"""The one-cycle schedule: warm up to a large learning rate, then cool down to almost none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scratch_framework.core.checks import check_above_zero, check_at_least, check_choice, check_share
from scratch_framework.core.left_out import FROM_THE_START, leaves_out
from scratch_framework.core.optim_checks import check_rate
from scratch_framework.core.schedules import LRScheduler, cosine, linear

if TYPE_CHECKING:
    from scratch_framework.core.optim import Optimizer
    from scratch_framework.core.parameter import Rate

SLOPES = {"cos": cosine, "linear": linear}


class Phase(NamedTuple):
    """A stretch over which rate and momentum go from one value to another."""

    last_step: float  # counted from 0; not always a whole number, as pct_start is a share
    lr: tuple[Rate, Rate]
    momentum: tuple[float, float]


@leaves_out(last_epoch=FROM_THE_START)
class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr, then down to almost nothing; momentum goes the other way.

    A high rate early explores and regularises. Momentum is lowered meanwhile, as both add to the step.
    Paper: https://arxiv.org/abs/1708.07120
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Rate,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        """Choose the cycle.

        Args:
            optimizer: Whose rate to set.
            max_lr: The highest rate; one for all or (R,).
            total_steps: Steps of the whole cycle, counted in batches; or else
            epochs: epochs times
            steps_per_epoch: steps of an epoch.
            pct_start: Share of the steps that go up, in [0, 1].
            anneal_strategy: Shape of the slopes, ``cos`` or ``linear``.
            cycle_momentum: Whether to move SGD's momentum, or Adam's first beta, against the rate.
            base_momentum: Momentum at the highest rate.
            max_momentum: Momentum at the lowest rates.
            div_factor: The first rate is max_lr / div_factor.
            final_div_factor: The last rate is the first / final_div_factor.
            three_phase: Whether to go down as fast as up, and only then on to the last rate.
        """
        check_share(pct_start=pct_start)
        check_choice("anneal_strategy", anneal_strategy, SLOPES)
        check_above_zero(div_factor=div_factor, final_div_factor=final_div_factor)
        check_rate("max_lr", max_lr, optimizer.params)
        self.total_steps = count_steps(total_steps, epochs, steps_per_epoch)
        self.slope, self.cycle_momentum = SLOPES[anneal_strategy], cycle_momentum
        first, rise, end = max_lr / float(div_factor), pct_start * self.total_steps, self.total_steps - 1
        last, high, low = first / float(final_div_factor), max_momentum, base_momentum
        self.phases = [Phase(rise - 1, (first, max_lr), (high, low))]
        if three_phase:
            self.phases.append(Phase(2 * rise - 2, (max_lr, first), (low, high)))
            self.phases.append(Phase(end, (first, last), (high, high)))
        else:
            self.phases.append(Phase(end, (max_lr, last), (low, high)))
        super().__init__(optimizer)

    def step(self) -> None:
        """Go one step on and set the optimiser's rate and momentum."""
        super().step()
        if self.cycle_momentum:
            phase, share = self._place(self.last_epoch)
            start, end = phase.momentum
            self.optimizer.set_momentum(float(self.slope(start, end, share)))

    def rate(self, step: int) -> Rate:
        """The learning rate at a step."""
        phase, share = self._place(step)
        return self.slope(*phase.lr, share)

    def _place(self, step: int) -> tuple[Phase, float]:
        """The phase of a step, and the share of it that is done."""
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR must end after total_steps {self.total_steps}, got step {step}")
        start = 0.0
        for phase in self.phases[:-1]:
            if step <= phase.last_step:
                break
            start = phase.last_step
        else:
            phase = self.phases[-1]
        length = phase.last_step - start
        return phase, (step - start) / length if length else 1.0


def count_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """Steps of a whole training: ``total_steps`` as they are, or else epochs times their steps."""
    check_at_least(1, total_steps=total_steps, epochs=epochs, steps_per_epoch=steps_per_epoch)
    if total_steps is not None:
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError("total_steps, or epochs and steps_per_epoch, must be given")
    return epochs * steps_per_epoch
