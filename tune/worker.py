"""A worker: takes points, trains them together, writes down what came out, and looks for more.

It knows of others only what the storage says.
"""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003  # the server of the processes reads annotations
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import optuna

from lightning_modules.protocol import quiet
from tune import digit_pairs, disc
from tune.chunk import Chunk, Member
from tune.definition import Definition
from tune.points import POINT, Points, is_finished, standing
from tune.samplers import begin
from tune.storage import HEARTBEAT, Place, StorageError, clear_errors

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

LOOK = 1.0  # seconds between two looks for points, while the last ones are run by others


@dataclass(frozen=True)
class Job:
    """What a worker needs to know."""

    place: Place
    name: str  # of the study
    count: int  # of its points
    accelerator: str
    until: float | None  # time.time() after which nothing new is begun


def work(job: Job, report: Callable[[Any], None]) -> None:
    """Run points until all are finished, by whomever.

    Args:
        job: The study.
        report: Called now and then; raises where nobody listens any more.

    Raises:
        CommandError: The storage cannot be used.
        ValueError: A setting is refused.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    quiet()
    storage = job.place.open()
    with clear_errors(job.place):
        study = optuna.load_study(study_name=job.name, storage=storage)
        definition = Definition.of(study)
        points = Points(study, storage, definition, job.count)
        with Heartbeat(storage, points):
            while (job.until is None or time.time() < job.until) and points.remaining():
                with job.place.turn():
                    taken = points.take()
                    trials = [begin(job.name, storage, definition, trial) for trial in taken]
                if taken:
                    members = _members(points, taken, trials)
                    _train(Chunk(definition, storage, members, lambda: report("epoch")), job.accelerator)
                    points.held -= {trial.number for trial in taken}
                else:
                    report("waiting")
                    time.sleep(LOOK)


def _members(points: Points, taken: list[FrozenTrial], trials: list[optuna.Trial]) -> list[Member]:
    """The members of a fit: trials that were taken, and finished ones that give them their exact values."""
    definition, own = points.definition, dict[int, Member]()
    for frozen, trial in zip(taken, trials, strict=True):
        own[frozen.user_attrs[POINT]] = Member(trial.params, trial, frozen._trial_id)
    if definition.exact:
        chunks = {definition.chunk(point) for point in own}
        for point, known in standing(points.study.get_trials(deepcopy=False)).items():
            if point < points.count and is_finished(known) and definition.chunk(point) in chunks:
                own.setdefault(point, Member(known.params, None))
    return [own[point] for point in sorted(own)]


def _train(chunk: Chunk, accelerator: str) -> None:
    if chunk.definition.model == "disc":
        disc.train(chunk)
    else:
        digit_pairs.train(chunk, accelerator)


class Heartbeat:
    """Tells other machines that this process still runs its trials; Optuna does so in `optimize` only."""

    def __init__(self, storage: RDBStorage, points: Points) -> None:
        """Prepare a thread.

        Args:
            storage: Where to.
            points: Whose held trials live.
        """
        self.storage, self.points, self.stop = storage, points, Event()
        self.thread = Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _beat(self) -> None:
        while not self.stop.wait(HEARTBEAT):
            try:
                for trial in self.points.study.get_trials(deepcopy=False):
                    if trial.number in set(self.points.held):
                        self.storage.record_heartbeat(trial._trial_id)
            except StorageError:
                continue  # the worker itself meets the trouble; a short one passes
