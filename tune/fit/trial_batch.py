"""The trials that train in one fit: what is reported of each, which are pruned, and what each scores."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from lightning_modules.results.runs import spread
from tune.study.definition import Definition
from tune.study.queue import fail_trial
from tune.study.trials import DIVERGED

# Attributes of a trial.
ERRORS, STD, CURVE, SECONDS = "val_errors", "val_error_std", "val_error_curve", "seconds"


def error_of(trial: FrozenTrial) -> float | None:
    """The validation error of a trial with a score, as a share; its value in Optuna is in percent."""
    errors = trial.user_attrs.get(ERRORS)
    return mean(errors) if errors else None


@dataclass
class BatchedTrial:
    """A point of the fit, and the trial that stands for it."""

    params: Mapping[str, Any]
    trial: Trial | None  # None: its value is not wanted; it trains so that the others' are exact
    trial_id: int = -1
    curve: list[list[float]] = field(default_factory=list)  # validation errors, by report and repeat
    seconds: float = 0.0  # its share of the fit so far


@dataclass
class TrialBatch:
    """The trials that are still in the fit, in the order of their replicas; each has `repeats` of them."""

    definition: Definition
    storage: RDBStorage
    members: list[BatchedTrial]
    on_epoch: Callable[[], None]  # called after each epoch
    epoch_start: float = field(default_factory=time.perf_counter)

    def record_epoch(self) -> None:
        """Add an equal share of the time since the last epoch to each member's seconds."""
        now = time.perf_counter()
        for member in self.members:
            member.seconds += (now - self.epoch_start) / len(self.members)
        self.epoch_start = now
        self.on_epoch()

    def report(self, epoch: int, errors: Sequence[float], finite: Sequence[bool]) -> list[int]:
        """Report an epoch's errors; end the trials that diverged and those that the pruner drops.

        Args:
            epoch: Its number, from 0.
            errors: Validation error of every replica, as a share.
            finite: Whether the numbers of each replica are finite.

        Returns:
            The surviving replicas; none if no trial is left.
        """
        repeats, members, surviving = self.definition.repeats, list[BatchedTrial](), list[int]()
        for number, member in enumerate(self.members):
            own = range(number * repeats, (number + 1) * repeats)
            diverged = [self.definition.seeds[r - own.start] for r in own if not finite[r]]
            # float32 holds seven digits
            if self._survives(member, epoch, [round(errors[r], 7) for r in own], diverged):
                members.append(member)
                surviving += own
        self.members = members
        return surviving if any(member.trial for member in members) else []

    def finish(self) -> None:
        """Complete the trials that were trained to the end."""
        for member in self.members:
            self._tell(member, TrialState.COMPLETE)

    def _survives(self, member: BatchedTrial, epoch: int, errors: list[float], diverged: list[int]) -> bool:
        if diverged:
            seeds = ", ".join(map(str, diverged))
            self._tell(
                member, TrialState.FAIL, f"{DIVERGED}: not finite after epoch {epoch + 1}, seed {seeds}"
            )
            return False
        member.curve.append(errors)
        if member.trial is None:
            return True
        with suppress(UpdateFinishedTrialError):
            member.trial.report(100 * mean(errors), epoch + 1)
        if self.definition.pruner == "none" or epoch + 1 == self.definition.max_epochs:
            return True
        if pruned := member.trial.should_prune():
            self._tell(member, TrialState.PRUNED)
        return not pruned

    def _tell(self, member: BatchedTrial, state: TrialState, reason: str | None = None) -> None:
        if member.trial is None:
            return
        with suppress(UpdateFinishedTrialError):  # another process took it for lost, and trains it again
            self.storage.set_trial_user_attr(member.trial_id, SECONDS, round(member.seconds, 3))
            if reason is not None:
                fail_trial(self.storage, member.trial_id, reason)
                return
            errors = member.curve[-1]
            for name, value in ((ERRORS, errors), (STD, spread(errors)[1]), (CURVE, member.curve)):
                self.storage.set_trial_user_attr(member.trial_id, name, value)
            self.storage.set_trial_state_values(member.trial_id, state, [100 * mean(errors)])
