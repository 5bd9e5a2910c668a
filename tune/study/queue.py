"""The queue of a study: which trial stands for each point, and which points a process is to train next.

A point is a number below the study's size. Its meaning is fixed by the study (a place in its grid), or by its
first trial. Every trial carries its point, and its owner: the process that runs it. A trial counts unless it
was lost (its process ended) or closed as a duplicate.

Of several trials of one point that count, the one with the lowest number stands for the point. This rule is
needed because no state of a trial can be trusted to be set by one process alone: Optuna's change from WAITING
to RUNNING is a compare-and-set on PostgreSQL (SELECT ... FOR UPDATE), but SQLite ignores that clause, so that
`Study.ask` may hand one waiting trial to two processes. A trial's number is safe on both. The database counts
it inside the transaction that inserts the trial; so whoever reads the storage after inserting its own trial
sees every trial with a lower number, and all processes agree.

Everything is read from the storage. So any process may end at any moment, and the next one that reads closes
what it left behind.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.study.definition import Definition
from tune.study.process_identity import ProcessIdentity
from tune.study.samplers import parameters
from tune.study.storage import GRACE
from tune.study.trials import BROKEN, FAILED, OWNER, POINT, REASON, Trials, is_finished

ATTEMPTS = 3  # to train a point, of which each killed its worker or raised an exception


def fail_trial(storage: RDBStorage, trial_id: int, reason: str) -> None:
    """Fail a trial, unless somebody has finished it meanwhile."""
    with suppress(UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, REASON, reason)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)


@dataclass
class TrialQueue:
    """The queue of a study, as one process sees it."""

    study: optuna.Study
    storage: RDBStorage
    definition: Definition
    count: int  # points 0..count-1 are wanted
    own_trials: set[int] = field(default_factory=set)  # numbers of the trials that this process runs
    first_seen: dict[int, float] = field(default_factory=dict)  # waiting trials of other machines: since when
    start: int = 0  # all points below it are finished, but for those of the deferred batches
    deferred: set[int] = field(default_factory=set)  # batches that failed before, by their first points

    def __post_init__(self) -> None:
        """Start with an empty copy of the storage's trials."""
        self.trials = Trials(self.study, self.count)

    def remaining(self) -> int:
        """How many points are not finished."""
        self.trials.refresh()
        return self.count - len(self.trials.finished)

    def claim(self) -> list[FrozenTrial]:
        """Claim the points of the next fit: all missing points of a batch that no process is training.

        Claiming a batch's first missing point claims the batch: other processes skip a batch that has a
        running trial.

        Returns:
            Running trials; none if no batch is free.
        """
        self._close_lost()
        while missing := self._free_points():
            first, *others = missing
            trial = self._create_trial(first, self.trials.closed[first])
            # Read again: every trial with a lower number is visible by now, and the other points may have
            # been trained since the last reading, if this process was asleep.
            self.trials.refresh()
            best = self.trials.trial_of_point(first) or trial
            if best.number == trial.number:
                free = [point for point in others if self.trials.trial_of_point(point) is None]
                created = (self._create_trial(point, self.trials.closed[point]) for point in free)
                return [own for own in chain([trial], created) if self._start(own)]
            self.own_trials.remove(trial.number)
            fail_trial(self.storage, trial._trial_id, f"duplicate of trial {best.number}")
            self.trials.refresh()
        return []

    def points_of_fit(self, claimed: Iterable[int]) -> list[int]:
        """The points that are trained as one program with the claimed ones, so that these get exact values.

        In float32 the last bits of a value depend on the other replicas of the program. So all points of a
        batch are trained, also those whose values are known or that another process is to train.
        """
        own = set(claimed)
        if self.definition.exact:
            batches = {self._batch(point) for point in own}
            own.update(*(batch for batch in batches if not self._is_divided(batch)))
        return sorted(own)

    def give_up(self, trials: Sequence[FrozenTrial], why: str) -> None:
        """Close the trials of a fit that killed its process or raised an exception.

        Their points are tried again, at first together. After `ATTEMPTS` attempts each is tried alone, so
        that the point at fault fails for good and the others get their values.
        """
        self.trials.refresh()
        for trial in trials:
            point = trial.user_attrs[POINT]
            batch = self._batch(point)
            last = self.trials.attempts(point) + 1 >= ATTEMPTS and (
                len(batch) == 1 or self._is_divided(batch)
            )
            fail_trial(self.storage, trial._trial_id, f"{FAILED if last else BROKEN}: {why}")

    def of_process(self, pid: int) -> list[FrozenTrial]:
        """The unfinished trials of a process of this machine."""
        self.trials.refresh()
        machine = ProcessIdentity.current().machine
        return [
            trial for trial, owner in self._owned_trials() if (owner.machine, owner.pid) == (machine, pid)
        ]

    def _owned_trials(self) -> list[tuple[FrozenTrial, ProcessIdentity]]:
        """The unfinished trials of `python -m tune`, each with its process."""
        return [
            (trial, ProcessIdentity(**trial.user_attrs[OWNER]))
            for trial in self.trials.unfinished.values()
            if OWNER in trial.user_attrs
        ]

    def _batch(self, point: int) -> range:
        """The wanted points of a point's batch."""
        batch = self.definition.batch(point)
        return range(batch.start, min(batch.stop, self.count))

    def _is_divided(self, batch: range) -> bool:
        """Whether a batch failed so often that its points are trained one by one."""
        return any(self.trials.attempts(point) >= ATTEMPTS for point in batch)

    def _free_points(self) -> list[int]:
        """The missing points of the first batch that has some, and of which no trial runs.

        A batch whose fit failed waits for all others: it is tried again when nothing else is left.
        """
        point, again = self.start, set(self.deferred)
        while point < self.count:
            missing, busy, attempts = self._batch_state(point)
            if missing and not busy and not attempts:
                return missing
            if missing and not busy:
                again.add(point)
            after = self._batch(point).stop
            if point == self.start and not busy:  # finished for good, or kept as deferred
                self.start = after
                self.deferred.update({point} if missing else ())
            point = after
        for missing, busy, _ in sorted(map(self._batch_state, again), key=lambda state: state[2]):
            if missing and not busy:
                return missing[:1] if self._is_divided(self._batch(missing[0])) else missing
        return []

    def _batch_state(self, point: int) -> tuple[list[int], bool, int]:
        """A batch: its missing points, whether a trial of it runs, and the most attempts at a point."""
        batch = self._batch(point)
        trials = {point: self.trials.trial_of_point(point) for point in batch}
        missing = [point for point, trial in trials.items() if trial is None]
        busy = any(trial is not None and not is_finished(trial) for trial in trials.values())
        return missing, busy, max(map(self.trials.attempts, batch))

    def _close_lost(self) -> None:
        self.trials.refresh()
        owned = self._owned_trials()
        silent = set[int]()
        if not all(owner.is_local() for _, owner in owned):
            # This query walks all trials; only those of other machines need it. Optuna's own function, which
            # fails stale trials, would write no reason.
            silent = set(self.storage._get_stale_trial_ids(self.study._study_id))
        for trial, owner in owned:
            if reason := self._why_lost(trial, owner, trial._trial_id in silent):
                fail_trial(self.storage, trial._trial_id, f"lost: {reason}")
        self.trials.refresh()

    def _why_lost(self, trial: FrozenTrial, owner: ProcessIdentity, silent: bool) -> str | None:
        if owner.is_dead() or (owner == ProcessIdentity.current() and trial.number not in self.own_trials):
            return "its process ended"
        if owner.is_local():
            return None  # alive, however long it slept
        # A running trial of another machine has a heartbeat. A waiting one, just created, may have none yet.
        seen = self.first_seen.setdefault(trial.number, time.monotonic())
        waited = trial.state == TrialState.WAITING and time.monotonic() - seen > GRACE
        return f"no heartbeat for {GRACE} s" if silent or waited else None

    def _create_trial(self, point: int, earlier: Sequence[FrozenTrial]) -> FrozenTrial:
        """Create a waiting trial of a point, owned by this process; with its parameters if they are known."""
        space = self.definition.searched().distributions
        params = parameters(self.definition, point)
        for trial in earlier:
            if trial.params.keys() == space.keys():
                params = trial.params  # a lost trial's
        template = create_trial(
            state=TrialState.WAITING,
            params=dict(params),
            distributions=dict(space) if params else {},
            user_attrs={POINT: point, OWNER: asdict(ProcessIdentity.current())},
        )
        trial = self.storage.get_trial(self.storage.create_new_trial(self.study._study_id, template))
        self.own_trials.add(trial.number)
        return trial

    def _start(self, trial: FrozenTrial) -> bool:
        """Set a trial running; False if another process took it for lost and closed it meanwhile."""
        with suppress(UpdateFinishedTrialError):
            self.storage.record_heartbeat(trial._trial_id)  # first: a running trial must have one
            if self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return True
        self.own_trials.remove(trial.number)
        return False
