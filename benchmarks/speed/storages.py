"""Which of Optuna's embedded storages survives kill -9, and what a write costs.

Command lines:
    python -m benchmarks.storages                        200 kills of each, about a minute

A process writes trials until it is killed at a random moment; what it leaves behind is looked at. Then one
process reports the epochs of some trials, and is timed.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from rich.console import Console
from rich.table import Table

from lightning_modules.command import cli
from tune.study.storage import StudyStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage

JOURNAL = "study.log"
TRIALS, EPOCHS = 20, 25  # of the timing


def _journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def _plain_sqlite(folder: Path) -> BaseStorage:
    return optuna.storages.get_storage(RDBStorage(f"sqlite:///{folder / 'plain.db'}"))


def _ours(folder: Path) -> BaseStorage:
    return StudyStorage(folder).open()


STORAGES: dict[str, Callable[[Path], BaseStorage]] = {
    "SQLite, write-ahead log (ours)": _ours,
    "SQLite, as Optuna opens it": _plain_sqlite,
    "journal file": _journal,
}


def write(name: str, folder: Path) -> None:
    """Write trials for ever."""
    study = optuna.load_study(study_name="study", storage=STORAGES[name](folder))
    curve = [[0.1] * 5] * 60  # more than a page of memory, so that a write can be torn
    while True:
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs={"curve": curve}))


def kill(name: str, kills: int, folder: Path) -> tuple[int, str]:
    """Kill writers; how many locks they left, and whether all trials can be read."""
    optuna.create_study(study_name="study", storage=STORAGES[name](folder))
    chance, locks, context = random.Random(0), 0, multiprocessing.get_context("fork")
    for _ in range(kills):
        writer = context.Process(target=write, args=(name, folder))
        writer.start()
        time.sleep(chance.uniform(0.05, 0.15))
        writer.kill()
        writer.join()
        for lock in folder.glob("*.lock"):
            locks += 1
            lock.unlink()
    try:
        count = len(optuna.load_study(study_name="study", storage=STORAGES[name](folder)).trials)
    except Exception as error:  # whatever a broken file makes of it
        return locks, f"no: {type(error).__name__}"
    return locks, f"all {count}"


def milliseconds(name: str, folder: Path) -> float:
    """Time of one write, of the epochs of some trials."""
    storage = STORAGES[name](folder)
    study = optuna.create_study(study_name="timing", storage=storage)
    ids = [storage.create_new_trial(study._study_id) for _ in range(TRIALS)]
    start = time.perf_counter()
    for trial_id in ids:
        for epoch in range(EPOCHS):
            storage.set_trial_intermediate_value(trial_id, epoch, 0.1)
    return 1000 * (time.perf_counter() - start) / (TRIALS * EPOCHS)


def storages(kills: int = 200, verbose: bool = False) -> None:
    """Compare Optuna's embedded storages.

    Args:
        kills: How many writers of each to kill.
        verbose: Whether to show tracebacks.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    table = Table(title=f"{kills} kills while trials are written, optuna {optuna.__version__}")
    for column in ("storage", "locks left behind", "trials readable", "ms a write"):
        table.add_column(column, justify="left" if column == "storage" else "right")
    for name in STORAGES:
        with tempfile.TemporaryDirectory() as folder:
            locks, readable = kill(name, kills, Path(folder))
            table.add_row(name, str(locks), readable, f"{milliseconds(name, Path(folder)):.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    cli.run(storages, "python -m benchmarks.storages")
