"""The paper's grid of auxiliary losses by `python -m tune`, against the student's plain loop doing the same.

Command lines:
    python -m benchmarks.tuning                          about 10 minutes on two cores
    python -m benchmarks.tuning --out runs/tuning.json

Both train 64 points 5 times, 25 epochs on 500 pairs, and count the errors of 500 validation pairs each epoch:
80,000 steps. Ours is the whole command, from its start to its plots. The plain loop is measured on some
trainings only, and its time for all is extrapolated: every training has the same number of steps, whatever
its learning rate and weights of losses. It runs in one process, with one thread and with one a core, and as
one process a core; ratios are to the latter, which uses the whole machine as ours does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from loky import cpu_count
from rich.console import Console
from rich.table import Table

from benchmarks.speed.machine import machine
from benchmarks.speed.plain_loop import PlainRun
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.training.workers import run_jobs, threads
from tune.study.spaces import space_of

PACKAGES = ("torch", "pytorch_lightning", "optuna", "numba", "numpy")
PAIRS = 500  # of training, and of validation


def plain(max_epochs: int, trainings: int, processes: int, thread_count: int) -> float:
    """Seconds that the plain loop takes for one training, the median of some.

    Args:
        max_epochs: Epochs of a training.
        trainings: Trainings that each process makes.
        processes: Processes that train at the same time; their time is shared out among the trainings.
        thread_count: Threads of each process.
    """
    jobs = [partial(_plain_seconds, max_epochs, trainings, thread_count)] * processes
    parts = run_jobs(jobs, processes, lambda number, value: None)
    return median(seconds for part in parts for seconds in part) / processes


def _plain_seconds(max_epochs: int, trainings: int, thread_count: int, report: Any) -> list[float]:
    seconds = []
    with threads(thread_count):
        PlainRun("auxiliary", _data(0), 0).epoch()  # warm up
        for seed in range(trainings):
            start = time.perf_counter()
            run = PlainRun("auxiliary", _data(seed), seed)
            for _ in range(max_epochs):
                run.epoch()
                run.error(*run.val[:2])
            seconds.append(time.perf_counter() - start)
    return seconds


def _data(seed: int) -> DigitPairs:
    data = DigitPairs(train_pairs=PAIRS, val_pairs=PAIRS, seed=seed)
    data.setup()
    return data


def ours(max_epochs: int, points: int, repeats: int, workers: int) -> float:
    """Seconds of the whole command."""
    flags = {"max_epochs": max_epochs, "n_trials": points, "repeats": repeats, "workers": workers}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tune", "--log_dir", folder]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def tuning(
    n_trials: int | None = None,
    repeats: int = 5,
    max_epochs: int = 25,
    plain_trainings: int = 5,
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Time a study of the grid of auxiliary losses.

    Args:
        n_trials: Points of the grid; all 64 by default.
        repeats: Trainings of each.
        max_epochs: Epochs of each training.
        plain_trainings: Trainings by which each process of the plain loop is measured.
        out: JSON file for the table and the machine.
        verbose: Whether to show tracebacks.
    """
    points, cores = n_trials or len(space_of("auxiliary", "paper").grid()), cpu_count()
    rows: list[dict[str, Any]] = []
    with Console().status("plain loop"):
        for processes, count in dict.fromkeys(((1, 1), (1, cores), (cores, 1))):
            seconds = points * repeats * plain(max_epochs, plain_trainings, processes, count)
            name = f"plain loop, processes: {processes}, threads of each: {count} (extrapolated)"
            rows.append({"contestant": name, "seconds": seconds})
    reference = rows[-1]["seconds"]
    for count in sorted({1, cores}):
        seconds = ours(max_epochs, points, repeats, count)
        rows.append({"contestant": f"python -m tune, workers: {count}", "seconds": seconds})
    steps = points * repeats * max_epochs * -(-PAIRS // 50)
    about = ", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items())
    table = Table(title=f"{points} points, {points * repeats} trainings, {steps} steps\n{about}")
    for column in ("contestant", "s", "ms a step", "ratio to a plain process a core"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for row in rows:
        row |= {"ms_a_step": 1000 * row["seconds"] / steps, "ratio": reference / row["seconds"]}
        table.add_row(
            row["contestant"], f"{row['seconds']:.1f}", f"{row['ms_a_step']:.2f}", f"{row['ratio']:.2f}x"
        )
    Console(width=110).print(table)
    if out:
        result = {"command": cli.command_line(), "machine": machine(PACKAGES), "rows": rows}
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    cli.run(tuning, "python -m benchmarks.tuning")
