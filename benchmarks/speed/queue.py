"""What a study's bookkeeping costs a worker, by the number of points; nothing is trained.

Command lines:
    python -m benchmarks.queue --points 10000            some seconds
    python -m benchmarks.queue --points 100000           a minute, most of it to fill the study
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy import insert

from lightning_modules.command import cli
from lightning_modules.command.limits import check_range
from tune.study.definition import Definition
from tune.study.queue import TrialQueue
from tune.study.storage import StudyStorage
from tune.study.trials import POINT
from tune.workers import worker

if TYPE_CHECKING:
    from optuna.storages._cached_storage import _CachedStorage
    from sqlalchemy.orm import Session

    from tune.fit.trial_batch import TrialBatch


def _fill(session: Session, study_id: int, definition: Definition, points: int) -> None:
    """Write finished trials as fast as the database takes them, with what a look at a study reads."""
    ids = range(1, points + 1)
    space = {name: distribution_to_json(one) for name, one in definition.searched().distributions.items()}
    rows: dict[type[Any], list[dict[str, Any]]] = {
        models.TrialModel: [
            {"trial_id": i, "number": i - 1, "study_id": study_id, "state": TrialState.COMPLETE} for i in ids
        ],
        models.TrialValueModel: [
            {"trial_id": i, "objective": 0, "value": 0.5, "value_type": "FINITE"} for i in ids
        ],
        models.TrialUserAttributeModel: [
            {"trial_id": i, "key": POINT, "value_json": str(i - 1)} for i in ids
        ],
        models.TrialParamModel: [
            {"trial_id": i, "param_name": name, "param_value": 0.0, "distribution_json": space[name]}
            for i in ids
            for name in space
        ],
    }
    for table, values in rows.items():
        session.execute(insert(table), values)
    session.commit()


class Clock:
    """Finishes fits instead of training them, with as many reports; notes the processor time of each."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, batch: TrialBatch, accelerator: str) -> None:
        errors = [0.1] * (len(batch.members) * batch.definition.repeats)
        for epoch in range(batch.definition.max_epochs):
            batch.record_epoch()
            batch.report(epoch, errors, [True] * len(errors))
        batch.finish()
        self.seconds.append(time.process_time())


def queue(points: int = 10_000, measured: int = 300, trials_per_fit: int = 3, verbose: bool = False) -> None:
    """Measure the processor time of one worker for the last points of a large study.

    Args:
        points: Of the study.
        measured: How many are left to be run, and are measured.
        trials_per_fit: Trials of one fit.
        verbose: Whether to show tracebacks.
    """
    check_range("trials_per_fit", trials_per_fit, 1)
    check_range("points", points, 2 * trials_per_fit, 1_000_000)
    check_range("measured", measured, 2 * trials_per_fit, points)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    definition = Definition(
        "auxiliary", "paper", "random", "none", 5, 0, 1, 500, 500, trials_per_fit=trials_per_fit
    )
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(worker, "_train", Clock()) as clock:
        storage = StudyStorage(Path(folder))
        database = storage.open()
        study = optuna.create_study(study_name="study", storage=database)
        definition.create_or_match(study, optuna.__version__)
        session = cast("_CachedStorage", database)._backend.scoped_session()
        _fill(session, study._study_id, definition, points - measured)
        start = time.process_time()
        assert TrialQueue(study, database, definition, points).remaining() == measured
        first = time.process_time() - start
        worker.work(worker.Job(storage, "study", points, "cpu", None), lambda value: None)
    fits = clock.seconds
    each = 1000 * (fits[-1] - fits[0]) / (len(fits) - 1) / trials_per_fit
    Console(width=100).print(
        f"{points} points, processor time: first look {first:.2f} s, then {each:.1f} ms a point"
    )


if __name__ == "__main__":
    cli.run(queue, "python -m benchmarks.queue")
