"""Points of a study and the trials that stand for them: who is to run which, with nothing missing or double.

A point is a number below the study's size; what it means is fixed by the study (a place in its grid), or by
its first trial. Every trial carries its point. It counts unless it was lost (its process ended) or closed as
a duplicate; of several that count, the one with the lowest number stands for the point. All of this is read
off the storage, so that any process may end at any moment, and the next one to look mends what it left.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.owner import Owner
from tune.storage import GRACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.storages import RDBStorage

    from tune.definition import Definition

# Attributes of a trial.
POINT, OWNER, REASON = "point", "owner", "reason"
DIVERGED = "diverged"  # how the reason of a finished trial without a score begins


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial has said what it has to say: a score, that it is hopeless, or that it diverged."""
    if trial.state == TrialState.FAIL:
        return str(trial.user_attrs.get(REASON, "")).startswith(DIVERGED)
    return trial.state.is_finished()


def standing(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The trial that stands for each point, by point.

    Args:
        trials: All of a study, by number.
    """
    chosen: dict[int, FrozenTrial] = {}
    for trial in trials:
        if POINT in trial.user_attrs and (is_finished(trial) or not trial.state.is_finished()):
            chosen.setdefault(trial.user_attrs[POINT], trial)
    return chosen


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

    def remaining(self) -> int:
        """How many points are not finished."""
        stand = standing(self.study.get_trials(deepcopy=False))
        return sum(point not in stand or not is_finished(stand[point]) for point in range(self.count))

    def take(self) -> list[FrozenTrial]:
        """Take the points of the next fit: all missing ones of a chunk that nobody is at, if there is one.

        Who gets a chunk's first missing point gets the others too, because everybody leaves the chunk alone
        then. Of several that make a trial for it at once, the one with the lowest number gets it.

        Returns:
            Running trials.
        """
        self._close_lost()
        while missing := self._free(trials := self.study.get_trials(deepcopy=False)):
            first, *others = missing
            trial = self._make(first, trials)
            # Read anew: a trial with a lower number was made before ours, so that it is there by now, and the
            # other points may have been run since the last look, if this process was asleep.
            stand = standing(self.study.get_trials(deepcopy=False))
            best = stand.get(first, trial)
            if best.number == trial.number:
                made = (self._make(point, trials) for point in others if point not in stand)
                return [own for own in chain([trial], made) if self._begin(own)]
            self.held.remove(trial.number)
            close(self.storage, trial._trial_id, f"duplicate of trial {best.number}")
        return []

    def _free(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """The missing points of the first chunk that has some and of which none is being run."""
        stand = standing(trials)
        missing: dict[str, list[int]] = defaultdict(list)
        busy = set[str]()
        for point in range(self.count):
            chunk = self.definition.chunk(point)
            if point not in stand:
                missing[chunk].append(point)
            elif not is_finished(stand[point]):
                busy.add(chunk)
        return next((points for chunk, points in missing.items() if chunk not in busy), [])

    def _close_lost(self) -> None:
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        silent = set(self.storage._get_stale_trial_ids(study_id))  # Optuna's own closing gives no reason
        for trial in self.study.get_trials(deepcopy=False):
            if OWNER not in trial.user_attrs or trial.state.is_finished():
                continue
            if reason := self._why_lost(trial, trial._trial_id in silent):
                close(self.storage, trial._trial_id, f"lost: {reason}")

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

    def _make(self, point: int, trials: Sequence[FrozenTrial]) -> FrozenTrial:
        """A trial for a point, ours from the first; with its parameters where they are known."""
        space = self.definition.searched().distributions
        params: Mapping[str, Any] = {}
        if self.definition.sampler == "grid":
            params = self.definition.searched().grid()[point]
        for trial in trials:
            if trial.user_attrs.get(POINT) == point and trial.params.keys() == space.keys():
                params = trial.params  # a lost trial's
        template = create_trial(
            state=TrialState.WAITING,
            params=dict(params),
            distributions=dict(space) if params else {},
            user_attrs={POINT: point, OWNER: Owner.me().written()},
        )
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        made = self.storage.get_trial(self.storage.create_new_trial(study_id, template))
        self.held.add(made.number)
        return made

    def _begin(self, trial: FrozenTrial) -> bool:
        with suppress(UpdateFinishedTrialError):  # taken for lost meanwhile
            self.storage.record_heartbeat(trial._trial_id)  # first: a running trial must have one
            if self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return True
        self.held.remove(trial.number)
        return False
