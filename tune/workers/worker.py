"""A worker: takes points, trains them together, writes down what came out, and looks for more.

It knows of others only what the storage says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable  # noqa: TC003  # the server of the processes reads annotations
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import optuna

from lightning_modules.command.cli import CommandError
from lightning_modules.command.masking import masked
from lightning_modules.training.runner import quiet
from tune.fit import digit_pairs, disc
from tune.fit.chunk import Chunk, Member
from tune.study.definition import Definition
from tune.study.points import Points
from tune.study.samplers import begin, parameters
from tune.study.storage import HEARTBEAT, Place, StorageError, clear_errors
from tune.study.trials import POINT

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
    until: float | None  # time.monotonic() after which nothing new is begun


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
            while (job.until is None or time.monotonic() < job.until) and points.remaining():
                with job.place.turn():
                    taken = points.take()
                    members = _members(points, taken)
                if taken:
                    chunk = Chunk(definition, storage, members, lambda: report("epoch"))
                    try:
                        _train(chunk, job.accelerator)
                    except (*StorageError, CommandError, OSError):  # not for what was to be trained
                        raise
                    except Exception as error:
                        points.give_up(taken, f"{type(error).__name__}: {error}")
                    points.held -= {trial.number for trial in taken}
                else:
                    report("waiting")
                    time.sleep(LOOK)


def _members(points: Points, taken: list[FrozenTrial]) -> list[Member]:
    """The members of a fit: trials that were taken, and points that only give them their exact values."""
    definition, own = points.definition, dict[int, Member]()
    for frozen in taken:
        point = frozen.user_attrs[POINT]
        trial = begin(points.study.study_name, points.storage, definition, frozen, point)
        own[point] = Member(trial.params, trial, frozen._trial_id)
    return [
        own[point] if point in own else Member(parameters(definition, point), None)
        for point in points.fit(own)
    ]


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
        self.thread.join(HEARTBEAT)  # not for ever, for a server that does not answer

    def _beat(self) -> None:
        said = False
        while not self.stop.wait(HEARTBEAT):
            try:
                for number in set(self.points.held):
                    study_id = self.points.study._study_id
                    trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
                    self.storage.record_heartbeat(trial_id)
            except Exception as error:  # a short trouble passes; the worker itself meets a longer one
                if not said:
                    text = " ".join(f"{type(error).__name__}: {error}".split())
                    print(
                        masked(f"tune: a heartbeat failed, others follow: {text}"),
                        file=sys.stderr,
                        flush=True,
                    )
                said = True
