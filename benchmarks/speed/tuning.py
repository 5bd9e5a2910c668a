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

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

from rich.console import Console

from benchmarks.speed.harness import Contestant, Turn, check_call, in_processes, save, show, take_turns
from benchmarks.speed.machine import machine_line
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, digit_pairs
from lightning_modules.command import cli
from lightning_modules.command.cores import core_count
from lightning_modules.command.limits import check_range
from lightning_modules.training.workers import threads
from tune.study.spaces import space_of

PAIRS = 500  # of training, and of validation
COLUMNS = {
    "contestant": "{contestant}",
    "s": "{seconds:.1f}",
    "ms a step": "{median:.2f}",
    "ratio to a plain process a core": "{ratio:.2f}x",
}


@dataclass(frozen=True)
class Grid:
    """What each contestant has to do."""

    n_trials: int  # points
    repeats: int
    max_epochs: int

    @property
    def trainings(self) -> int:
        """Of all points together."""
        return self.n_trials * self.repeats

    @property
    def steps(self) -> int:
        """Of all trainings together."""
        return self.trainings * self.max_epochs * -(-PAIRS // BATCH_SIZE)


def grid_of(n_trials: int | None, repeats: int, max_epochs: int) -> Grid:
    """The paper's grid, or its first points; more points than it has would be counted, but not trained."""
    whole = len(space_of("auxiliary", "paper").grid())
    if n_trials is not None:
        check_range("n_trials", n_trials, 1, whole)
    return Grid(n_trials or whole, repeats, max_epochs)


def plain(grid: Grid, measured: int, processes: int, thread_count: int) -> Turn:
    """The plain loop in some processes; its time for the grid is extrapolated from some trainings of each."""
    parts = in_processes([partial(_plain_seconds, grid.max_epochs, measured, thread_count)] * processes)
    return Turn(grid.trainings * median(seconds for part in parts for seconds in part) / processes)


def _plain_seconds(max_epochs: int, measured: int, thread_count: int) -> list[float]:
    seconds = []
    with threads(thread_count):
        PlainRun("auxiliary", digit_pairs(0, PAIRS, PAIRS), 0).epoch()  # warm up
        for seed in range(measured):
            start = time.perf_counter()
            run = PlainRun("auxiliary", digit_pairs(seed, PAIRS, PAIRS), seed)
            for _ in range(max_epochs):
                run.epoch()
                run.error(*run.val[:2])
            seconds.append(time.perf_counter() - start)
    return seconds


def ours(grid: Grid, workers: int, accelerator: str = "auto") -> None:
    """The whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tune", "--log_dir", folder, "--workers", str(workers)]
        command += ["--accelerator", accelerator]
        for name, value in asdict(grid).items():
            command += [f"--{name}", str(value)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


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
    check_call(out, repeats=repeats, max_epochs=max_epochs, plain_trainings=plain_trainings)
    grid = grid_of(n_trials, repeats, max_epochs)
    cores, everyone = core_count(), []
    for processes, count in dict.fromkeys(((1, 1), (1, cores), (cores, 1))):
        name = f"plain loop, processes: {processes}, threads of each: {count} (extrapolated)"
        everyone.append(Contestant(name, partial(plain, grid, plain_trainings, processes, count), grid.steps))
    reference = everyone[-1]
    for count in sorted({1, cores}):
        name = f"python -m tune, workers: {count}"
        everyone.append(Contestant(name, partial(ours, grid, count), grid.steps))
    with Console().status("plain loop, then python -m tune"):
        take_turns(everyone, 1, warm_up=0)
    rows = [{"seconds": one.seconds, **one.row(reference, 1e3)} for one in everyone]
    title = f"{grid.n_trials} points, {grid.trainings} trainings, {grid.steps} steps"
    show(f"{title}\n{machine_line()}", COLUMNS, rows)
    save(out, rows=rows)


if __name__ == "__main__":
    cli.run(tuning, "python -m benchmarks.tuning")
