"""Points of a study and the trials that stand for them: who is to run which, with nothing missing or double.

A point is a number below the study's size; what it means is fixed by the study (a place in its grid), or by
its first trial. Every trial carries its point. It counts unless it was lost (its process ended) or closed as
a duplicate; of several that count, the one with the lowest number stands for the point. All of this is read
off the storage, so that any process may end at any moment, and the next one to look mends what it left.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.owner import Owner
from tune.storage import GRACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

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
    alone: bool  # whether nobody else takes points meanwhile
    held: set[int] = field(default_factory=set)  # numbers of the trials that this process runs
    met_without_owner: dict[int, float] = field(default_factory=dict)  # trial number to when

    def remaining(self) -> int:
        """How many points are not finished."""
        stand = standing(self.study.get_trials(deepcopy=False))
        return sum(point not in stand or not is_finished(stand[point]) for point in range(self.count))

    def take(self) -> list[FrozenTrial]:
        """Take the points of the next fit, all that are waiting of one chunk; none if there are none.

        A chunk of which points are being run is left alone: they and its other points belong together.
        """
        self._mend()
        stand = standing(self.study.get_trials(deepcopy=False))
        waiting: dict[str, list[FrozenTrial]] = defaultdict(list)
        busy = set[str]()
        for point in range(self.count):
            chunk, trial = self.definition.chunk(point), stand.get(point)
            if trial is None or trial.state == TrialState.RUNNING:
                busy.add(chunk)
            elif trial.state == TrialState.WAITING:
                waiting[chunk].append(trial)
        for chunk, trials in waiting.items():
            if chunk not in busy and (taken := self._take_all(trials)):
                return taken
        return []

    def _mend(self) -> None:
        """Close what is lost and what is double, and enqueue what is missing."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)  # those of other machines, by their heartbeat
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_lost(trial):
                close(self.storage, trial._trial_id, "lost: its process ended")
        trials = self.study.get_trials(deepcopy=False)
        stand = standing(trials)
        for point in range(self.count):
            if point not in stand:
                self.study.add_trial(self._waiting(point, trials))
        # Read again: a trial that somebody else enqueued before ours has the lower number, and is there now.
        trials = self.study.get_trials(deepcopy=False)
        stand = standing(trials)
        for trial in trials:
            first = stand.get(trial.user_attrs.get(POINT, -1), trial)
            if trial.state == TrialState.WAITING and first is not trial:
                close(self.storage, trial._trial_id, f"duplicate of trial {first.number}")

    def _is_lost(self, trial: FrozenTrial) -> bool:
        written = trial.user_attrs.get(OWNER)
        if written is None:  # its process is just taking it, or was killed at that
            met = self.met_without_owner.setdefault(trial.number, time.monotonic())
            return self.alone or time.monotonic() - met > GRACE
        owner = Owner.read(written)
        return owner.is_gone() or (owner == Owner.me() and trial.number not in self.held)

    def _waiting(self, point: int, trials: Sequence[FrozenTrial]) -> FrozenTrial:
        """A trial for a point, with its parameters where they are known."""
        space = self.definition.searched().distributions
        params: Mapping[str, Any] = {}
        if self.definition.sampler == "grid":
            params = self.definition.searched().grid()[point]
        for trial in trials:
            if trial.user_attrs.get(POINT) == point and trial.params.keys() == space.keys():
                params = trial.params  # a lost trial's
        return create_trial(
            state=TrialState.WAITING,
            params=dict(params),
            distributions=dict(space) if params else {},
            user_attrs={POINT: point},
        )

    def _take_all(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Take trials of a chunk: whoever gets the first gets all, for then others leave the chunk alone."""
        taken: list[FrozenTrial] = []
        for trial in trials:
            if self._take(trial):
                taken.append(trial)
            elif not taken:
                break
        return taken

    def _take(self, trial: FrozenTrial) -> bool:
        with suppress(UpdateFinishedTrialError):  # closed meanwhile
            if self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                # In this order: a trial with an owner has a heartbeat, which others may miss some day.
                self.storage.record_heartbeat(trial._trial_id)
                self.storage.set_trial_user_attr(trial._trial_id, OWNER, Owner.me().written())
                self.held.add(trial.number)
                return True
        return False
