"""A worker process: claims points of a study, trains them as one program, and claims more.

Workers know of each other only through the storage.
"""

import time
from collections.abc import Callable  # the server of the processes reads annotations
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from lightning_modules.command.cli import CommandError
from lightning_modules.training.runner import quiet
from tune.fit import digit_pairs, disc
from tune.fit.trial_batch import BatchedTrial, TrialBatch
from tune.study.definition import Definition
from tune.study.queue import TrialQueue
from tune.study.samplers import parameters, suggest_parameters
from tune.study.storage import StorageError, StudyStorage, clear_errors
from tune.study.trials import POINT
from tune.workers.heartbeat import Heartbeat

POLL_INTERVAL = 1.0  # seconds between two looks for free points, while other workers train the last ones


@dataclass(frozen=True)
class Job:
    """What a worker needs to know."""

    storage: StudyStorage
    name: str  # of the study
    count: int  # of its points
    accelerator: str
    until: float | None  # time.monotonic() after which nothing new is begun


def work(job: Job, report: Callable[[Any], None]) -> None:
    """Train points until all are finished; `report`, called each epoch, raises once the command has ended."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    quiet()
    database = job.storage.open()
    with clear_errors(job.storage):
        study = optuna.load_study(study_name=job.name, storage=database)
        definition = Definition.of(study)
        queue = TrialQueue(study, database, definition, job.count)
        with Heartbeat(database, queue):
            while (job.until is None or time.monotonic() < job.until) and queue.remaining():
                with job.storage.claim_lock():
                    claimed = queue.claim()
                    members = _members(queue, claimed)
                if claimed:
                    batch = TrialBatch(definition, database, members, lambda: report("epoch"))
                    try:
                        _train(batch, job.accelerator)
                    except (*StorageError, CommandError, OSError):  # no fault of the trials
                        raise
                    except Exception as error:
                        queue.give_up(claimed, f"{type(error).__name__}: {error}")
                    queue.own_trials -= {trial.number for trial in claimed}
                else:
                    report("waiting")
                    time.sleep(POLL_INTERVAL)


def _members(queue: TrialQueue, claimed: list[FrozenTrial]) -> list[BatchedTrial]:
    """The members of a fit: the claimed trials, and the points beside which their values are exact."""
    definition, own = queue.definition, dict[int, BatchedTrial]()
    for frozen in claimed:
        point = frozen.user_attrs[POINT]
        trial = suggest_parameters(queue.study.study_name, queue.storage, definition, frozen, point)
        own[point] = BatchedTrial(trial.params, trial, frozen._trial_id)
    return [
        own[point] if point in own else BatchedTrial(parameters(definition, point), None)
        for point in queue.points_of_fit(own)
    ]


def _train(batch: TrialBatch, accelerator: str) -> None:
    if batch.definition.model == "disc":
        disc.train(batch)
    else:
        digit_pairs.train(batch, accelerator)
