"""Points of a study and the trials that stand for them: who is to run which, with nothing missing or double.

A point is a number below the study's size; what it means is fixed by the study (a place in its grid), or by
its first trial. Every trial carries its point. It counts unless it was lost (its process ended) or closed as
a duplicate; of several that count, the one with the lowest number stands for the point. All of this is read
off the storage, so that any process may end at any moment, and the next one to look mends what it left.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.study.owner import Owner
from tune.study.samplers import parameters
from tune.study.storage import GRACE
from tune.study.trials import BROKEN, DIVERGED, FAILED, OWNER, POINT, REASON, Trials, is_finished, standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import optuna
    from optuna.storages import RDBStorage

    from tune.study.definition import Definition

__all__ = ["DIVERGED", "OWNER", "POINT", "REASON", "Points", "close", "is_finished", "standing"]

ATTEMPTS = 3  # to train a point, of which each killed its worker or raised an exception


def close(storage: RDBStorage, trial_id: int, reason: str) -> None:
    """Fail a trial, unless somebody has finished it meanwhile.

    Args:
        storage: Of its study.
        trial_id: Optuna's.
        reason: Why.
    """
    with suppress(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, REASON, reason)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)


@dataclass
class Points:
    """The points of a study, as one process sees them."""

    study: optuna.Study
    storage: RDBStorage
    definition: Definition
    count: int  # points 0..count-1 are wanted
    held: set[int] = field(default_factory=set)  # numbers of the trials that this process runs
    met: dict[int, float] = field(default_factory=dict)  # trial of elsewhere that is being taken: since when
    start: int = 0  # all points below it are finished, but for some of these chunks, by their first points:
    deferred: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self.trials = Trials(self.study, self.count)

    def remaining(self) -> int:
        """How many points are not finished."""
        self.trials.refresh()
        return self.count - len(self.trials.finished)

    def take(self) -> list[FrozenTrial]:
        """Take the points of the next fit: all missing ones of a chunk that nobody is at, if there is one.

        Who gets a chunk's first missing point gets the others too, because everybody leaves the chunk alone
        then. Of several that make a trial for it at once, the one with the lowest number gets it. The number
        tells, and not the state of the trial, because a database counts trials one after the other, while
        in SQLite two processes may set one waiting trial running.

        Returns:
            Running trials.
        """
        self._close_lost()
        while missing := self._free():
            first, *others = missing
            trial = self._make(first, self.trials.closed[first])
            # Read anew: a trial with a lower number was made before ours, so that it is there by now, and the
            # other points may have been run since the last look, if this process was asleep.
            self.trials.refresh()
            best = self.trials.standing(first) or trial
            if best.number == trial.number:
                free = [point for point in others if self.trials.standing(point) is None]
                made = (self._make(point, self.trials.closed[point]) for point in free)
                return [own for own in chain([trial], made) if self._begin(own)]
            self.held.remove(trial.number)
            close(self.storage, trial._trial_id, f"duplicate of trial {best.number}")
            self.trials.refresh()
        return []

    def fit(self, taken: Iterable[int]) -> list[int]:
        """The points that are trained as one program with those that were taken, to give them their values.

        In float32 a value depends, in its last bits, on the other replicas of the program. So all points of a
        chunk are trained, also those whose values are known or that somebody else is to take.

        Args:
            taken: Points of a chunk.
        """
        own = set(taken)
        if self.definition.exact:
            chunks = {self._wanted(point) for point in own}
            own.update(*(chunk for chunk in chunks if not self._is_divided(chunk)))
        return sorted(own)

    def give_up(self, trials: Sequence[FrozenTrial], why: str) -> None:
        """Close the trials of a fit that killed its process or raised an exception.

        Their points are tried again, together at first. After so many attempts each is tried alone, so that
        the point at fault fails for good and the others get their values.

        Args:
            trials: Of the fit.
            why: What happened.
        """
        self.trials.refresh()
        for trial in trials:
            point = trial.user_attrs[POINT]
            chunk = self._wanted(point)
            last = self.trials.attempts(point) + 1 >= ATTEMPTS and (
                len(chunk) == 1 or self._is_divided(chunk)
            )
            close(self.storage, trial._trial_id, f"{FAILED if last else BROKEN}: {why}")

    def of_process(self, pid: int) -> list[FrozenTrial]:
        """Trials that a process of this machine holds.

        Args:
            pid: Its number.
        """
        self.trials.refresh()
        place = Owner.me().place
        owned = [trial for trial in self.trials.unfinished.values() if OWNER in trial.user_attrs]
        owners = [Owner.read(trial.user_attrs[OWNER]) for trial in owned]
        return [
            trial
            for trial, owner in zip(owned, owners, strict=True)
            if (owner.place, owner.pid) == (place, pid)
        ]

    def _wanted(self, point: int) -> range:
        """The points of a point's chunk."""
        chunk = self.definition.chunk(point)
        return range(chunk.start, min(chunk.stop, self.count))

    def _is_divided(self, chunk: range) -> bool:
        """Whether a chunk's points are trained one by one by now."""
        return any(self.trials.attempts(point) >= ATTEMPTS for point in chunk)

    def _free(self) -> list[int]:
        """The missing points of a chunk that has some and of which none is being run.

        A chunk whose fit came to nothing waits for all others: it is tried again where nothing else is left.
        """
        point, again = self.start, set(self.deferred)
        while point < self.count:
            missing, busy, attempts = self._look(point)
            if missing and not busy and not attempts:
                return missing
            if missing and not busy:
                again.add(point)
            after = self._wanted(point).stop
            if point == self.start and not busy:  # finished, and it stays so; or remembered
                self.start = after
                self.deferred.update({point} if missing else ())
            point = after
        for missing, busy, _ in sorted(map(self._look, again), key=lambda look: look[2]):
            if missing and not busy:
                return missing[:1] if self._is_divided(self._wanted(missing[0])) else missing
        return []

    def _look(self, point: int) -> tuple[list[int], bool, int]:
        """Of a point's chunk: the missing points, whether one is being run, and the most attempts at one."""
        chunk = self._wanted(point)
        stand = {place: self.trials.standing(place) for place in chunk}
        missing = [place for place, trial in stand.items() if trial is None]
        busy = any(trial is not None and not is_finished(trial) for trial in stand.values())
        return missing, busy, max(map(self.trials.attempts, chunk))

    def _close_lost(self) -> None:
        self.trials.refresh()
        owned = [trial for trial in self.trials.unfinished.values() if OWNER in trial.user_attrs]
        silent = set[int]()
        if not all(Owner.read(trial.user_attrs[OWNER]).is_here() for trial in owned):
            # Optuna's own closing gives no reason; this walks all trials, and is for other machines only.
            silent = set(self.storage._get_stale_trial_ids(self.study._study_id))
        for trial in owned:
            if reason := self._why_lost(trial, trial._trial_id in silent):
                close(self.storage, trial._trial_id, f"lost: {reason}")
        self.trials.refresh()

    def _why_lost(self, trial: FrozenTrial, silent: bool) -> str | None:
        owner = Owner.read(trial.user_attrs[OWNER])
        if owner.is_gone() or (owner == Owner.me() and trial.number not in self.held):
            return "its process ended"
        if owner.is_here():
            return None  # it lives, however long it slept
        # One that runs elsewhere has a heartbeat. One that is only being taken may not have it yet.
        met = self.met.setdefault(trial.number, time.monotonic())
        waited = trial.state == TrialState.WAITING and time.monotonic() - met > GRACE
        return f"no heartbeat for {GRACE} s" if silent or waited else None

    def _make(self, point: int, earlier: Sequence[FrozenTrial]) -> FrozenTrial:
        """A trial for a point, ours from the first; with its parameters where they are known."""
        space = self.definition.searched().distributions
        params = parameters(self.definition, point)
        for trial in earlier:
            if trial.params.keys() == space.keys():
                params = trial.params  # a lost trial's
        template = create_trial(
            state=TrialState.WAITING,
            params=dict(params),
            distributions=dict(space) if params else {},
            user_attrs={POINT: point, OWNER: Owner.me().written()},
        )
        made = self.storage.get_trial(self.storage.create_new_trial(self.study._study_id, template))
        self.held.add(made.number)
        return made

    def _begin(self, trial: FrozenTrial) -> bool:
        with suppress(UpdateFinishedTrialError):  # taken for lost meanwhile
            self.storage.record_heartbeat(trial._trial_id)  # first: a running trial must have one
            if self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return True
        self.held.remove(trial.number)
        return False
