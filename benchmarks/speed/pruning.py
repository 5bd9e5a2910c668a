"""What pruning saves: the paper's grid of auxiliary losses with each pruner, and without.

Command lines:
    python -m benchmarks.pruning                         three grids, about 12 minutes on two cores
    python -m benchmarks.pruning --out runs/pruning.json

A pruned trial's replicas are dropped from the running fit. What that saves is counted twice: as epochs of
trainings that were not done, and as seconds of all workers' fits. Whether it costs anything is seen by the
best trial: its place in the whole grid, where all scores are known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from benchmarks.speed.machine import machine
from lightning_modules.command import cli
from tune.fit.trial_batch import SECONDS
from tune.report.report import ranked
from tune.study.storage import StudyStorage
from tune.study.trials import POINT, trials_by_point

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PRUNERS = ("none", "median", "hyperband")


def study(pruner: str, flags: dict[str, int]) -> list[FrozenTrial]:
    """Run a grid; its trials."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "tune",
            "--log_dir",
            folder,
            "--study_name",
            "grid",
            "--pruner",
            pruner,
        ]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        storage = StudyStorage(Path(folder) / "grid").open()
        return list(
            trials_by_point(optuna.load_study(study_name="grid", storage=storage).get_trials()).values()
        )


def row(pruner: str, trials: list[FrozenTrial], whole: list[FrozenTrial]) -> dict[str, Any]:
    """Figures of one grid beside the one without a pruner."""
    best = ranked(trials)[0]
    order = [trial.user_attrs[POINT] for trial in ranked(whole)]
    epochs, all_epochs = (sum(trial.last_step or 0 for trial in t) for t in (trials, whole))
    seconds, all_seconds = (sum(trial.user_attrs[SECONDS] for trial in t) for t in (trials, whole))
    return {
        "pruner": pruner,
        "pruned": sum(trial.state == TrialState.PRUNED for trial in trials),
        "epochs_saved": 1 - epochs / all_epochs,
        "seconds": seconds,
        "seconds_saved": 1 - seconds / all_seconds,
        "best": cast("float", best.value),
        "place": order.index(best.user_attrs[POINT]) + 1,
    }


def pruning(
    n_trials: int = 64, repeats: int = 5, max_epochs: int = 25, out: str | None = None, verbose: bool = False
) -> None:
    """Measure what each pruner saves.

    Args:
        n_trials: Points of the grid.
        repeats: Trainings of each.
        max_epochs: Epochs of each training.
        out: JSON file for the table and the machine.
        verbose: Whether to show tracebacks.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    flags = {"n_trials": n_trials, "repeats": repeats, "max_epochs": max_epochs}
    trials = {}
    for pruner in PRUNERS:
        with Console().status(pruner):
            trials[pruner] = study(pruner, flags)
    rows = [row(pruner, own, trials["none"]) for pruner, own in trials.items()]
    table = Table(title=f"{n_trials} trials of {repeats} trainings, {max_epochs} epochs")
    for column in ("pruner", "pruned", "epochs saved", "s of fits", "saved", "best error %", "its place"):
        table.add_column(column, justify="left" if column == "pruner" else "right")
    for own in rows:
        table.add_row(
            *(own["pruner"], str(own["pruned"]), f"{own['epochs_saved']:.0%}", f"{own['seconds']:.1f}"),
            *(f"{own['seconds_saved']:.0%}", f"{100 * own['best']:.2f}", str(own["place"])),
        )
    Console(width=100).print(table)
    if out:
        about = machine(("torch", "optuna"))
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(
            json.dumps({"command": cli.command_line(), "machine": about, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    cli.run(pruning, "python -m benchmarks.pruning")
