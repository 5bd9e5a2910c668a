"""The trials of one fit: what is written down of each while they train, and which of them go on."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from lightning_modules.results.runs import spread
from tune.study.points import close
from tune.study.trials import DIVERGED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.storages import RDBStorage
    from optuna.trial import Trial

    from tune.study.definition import Definition

# Attributes of a trial.
ERRORS, STD, CURVE, SECONDS = "val_errors", "val_error_std", "val_error_curve", "seconds"


@dataclass
class Member:
    """A point of the fit."""

    params: Mapping[str, Any]
    trial: Trial | None  # None: its value is known, and it only keeps the others company
    trial_id: int = -1
    curve: list[list[float]] = field(default_factory=list)  # validation errors, by report and repeat
    seconds: float = 0.0  # its share of the fit so far


@dataclass
class Chunk:
    """The members that are still in the fit; each has `repeats` replicas, in order."""

    definition: Definition
    storage: RDBStorage
    members: list[Member]
    tick: Callable[[], None]  # called after each epoch
    since: float = field(default_factory=time.perf_counter)

    def pace(self) -> None:
        """An epoch is done: it took every member its share of the time."""
        now = time.perf_counter()
        for member in self.members:
            member.seconds += (now - self.since) / len(self.members)
        self.since = now
        self.tick()

    def report(self, epoch: int, errors: Sequence[float], sound: Sequence[bool]) -> list[int]:
        """Write down an epoch, and finish the members that diverged or are hopeless.

        Args:
            epoch: Its number, from 0.
            errors: Validation error of every replica, as a share.
            sound: Whether every replica's numbers are finite.

        Returns:
            The replicas that go on; none if all members are finished.
        """
        repeats, going, kept = self.definition.repeats, list[Member](), list[int]()
        for place, member in enumerate(self.members):
            own = range(place * repeats, (place + 1) * repeats)
            broken = [self.definition.seeds[r - own.start] for r in own if not sound[r]]
            # float32 holds seven digits
            if self._goes_on(member, epoch, [round(errors[r], 7) for r in own], broken):
                going.append(member)
                kept += own
        self.members = going
        wanted = any(member.trial for member in going)
        return kept if wanted else []

    def finish(self) -> None:
        """Give those that came to the end their scores."""
        for member in self.members:
            self._tell(member, TrialState.COMPLETE)

    def _goes_on(self, member: Member, epoch: int, errors: list[float], broken: list[int]) -> bool:
        if broken:
            seeds = ", ".join(map(str, broken))
            self._tell(
                member, TrialState.FAIL, f"{DIVERGED}: not finite after epoch {epoch + 1}, seed {seeds}"
            )
            return False
        member.curve.append(errors)
        if member.trial is None:
            return True
        with suppress(UpdateFinishedTrialError):
            member.trial.report(mean(errors), epoch + 1)
        if self.definition.pruner == "none" or epoch + 1 == self.definition.max_epochs:
            return True
        if hopeless := member.trial.should_prune():
            self._tell(member, TrialState.PRUNED)
        return not hopeless

    def _tell(self, member: Member, state: TrialState, reason: str | None = None) -> None:
        if member.trial is None:
            return
        with suppress(UpdateFinishedTrialError):  # taken for lost meanwhile, and run by somebody else
            self.storage.set_trial_user_attr(member.trial_id, SECONDS, round(member.seconds, 3))
            if reason is not None:
                close(self.storage, member.trial_id, reason)
                return
            errors = member.curve[-1]
            for name, value in ((ERRORS, errors), (STD, spread(errors)[1]), (CURVE, member.curve)):
                self.storage.set_trial_user_attr(member.trial_id, name, value)
            self.storage.set_trial_state_values(member.trial_id, state, [mean(errors)])
