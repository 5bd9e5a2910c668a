"""The trials of a study by their points, read once and then kept up to date.

Optuna's `Study.get_trials` walks all trials at every call, so that a study of N points would take N^2 steps.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState

# Attributes of a trial.
POINT, OWNER, REASON = "point", "owner", "reason"
# How the reason of a trial without a score begins: two that are final, and one of a failed attempt.
DIVERGED, FAILED, BROKEN = "diverged", "failed", "broken"


def reason(trial: FrozenTrial) -> str:
    """Why a trial has no score."""
    return str(trial.user_attrs.get(REASON, ""))


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial is done with: it has a score, or it is certain that it will have none."""
    if trial.state == TrialState.FAIL:
        return reason(trial).startswith((DIVERGED, FAILED))
    return trial.state.is_finished()


def trials_by_point(trials: Sequence[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The trial that stands for each point: of those that count, the one with the lowest number."""
    chosen: dict[int, FrozenTrial] = {}
    for trial in trials:
        if POINT in trial.user_attrs and (is_finished(trial) or not trial.state.is_finished()):
            chosen.setdefault(trial.user_attrs[POINT], trial)
    return chosen


@dataclass
class Trials:
    """The trials of a study, as of the last `refresh`."""

    study: optuna.Study
    count: int  # points 0..count-1 are wanted
    finished: set[int] = field(default_factory=set)  # points that are wanted and finished
    unfinished: dict[int, FrozenTrial] = field(default_factory=dict)  # by Optuna's trial id
    closed: dict[int, list[FrozenTrial]] = field(
        default_factory=lambda: defaultdict(list)
    )  # by point: lost, duplicate and failed attempts
    _counting: dict[int, dict[int, FrozenTrial]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # point, number
    _last: int = -1  # the largest trial id so far

    def refresh(self) -> list[FrozenTrial]:
        """Read what is new, and what may have changed; return it."""
        storage = cast("Any", self.study._storage)._backend
        # A trial's id is drawn while its study is locked, so that none appears below the last one later.
        changed = storage._get_trials(self.study._study_id, None, set(self.unfinished), self._last)
        for trial in changed:
            self._last = max(self._last, trial._trial_id)
            if trial.state.is_finished():
                self.unfinished.pop(trial._trial_id, None)
            else:
                self.unfinished[trial._trial_id] = trial
            if POINT in trial.user_attrs:
                self._count(trial, trial.user_attrs[POINT])
        return changed

    def _count(self, trial: FrozenTrial, point: int) -> None:
        if trial.state.is_finished() and not is_finished(trial):
            self._counting[point].pop(trial.number, None)
            self.closed[point].append(trial)
        else:
            self._counting[point][trial.number] = trial
        trial_of_point = self.trial_of_point(point)
        if point < self.count and trial_of_point is not None and is_finished(trial_of_point):
            self.finished.add(point)

    def trial_of_point(self, point: int) -> FrozenTrial | None:
        """The trial that stands for a point: of those that count, the one with the lowest number."""
        counting = self._counting.get(point)
        return counting[min(counting)] if counting else None

    def attempts(self, point: int) -> int:
        """How often the training of a point killed its process or raised an exception."""
        return sum(reason(trial).startswith(BROKEN) for trial in self.closed.get(point, ()))
