"""A whole study, ours against the student's plain loop: three nets, R runs each, the same pairs and epochs.

Command lines:
    python -m benchmarks.study                    about 12 minutes on two cores
    python -m benchmarks.study --runs 16 --max_epochs 4 --short    about 3 minutes
    python -m benchmarks.study --runs 15 --turns 3 --out runs/study.json

Both train every run, validate it after each epoch and test it at the end; ours has the Trainer, its metrics
and the TensorBoard log in its time. First one core, one thread each, all contestants in turn; then the whole
machine. There the ratio is to the plain loop as one process a core, started as ours are, its runs dealt out
evenly; the plain loop in one process, with the number of threads that serves it best, stands beside it.
Before anything is timed, agreement.py proves that all compute the same.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.speed.agreement import prove_agreement
from benchmarks.speed.harness import Contestant, check_call, in_processes, save, show, take_turns
from benchmarks.speed.machine import machine_line, matmul_peak, one_core
from benchmarks.speed.plain_loop import BATCH_SIZE, PlainRun, digit_pairs, step_flops
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.command.cores import core_count
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.results.runs import spread
from lightning_modules.results.table import percent
from lightning_modules.results.tensorboard import StudyLog
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import quiet, run_study
from lightning_modules.training.studies import make_study
from lightning_modules.training.workers import threads

PAIRS, VAL_PAIRS = 1000, 500
PRECISIONS = {"ours": "32-true", "ours, bf16-mixed": "bf16-mixed"}
COLUMNS = {
    "net": "{model}",
    "where": "{place}",
    "contestant": "{contestant}",
    "s": "{median:.1f}",
    "ratio": "{ratio:.2f}x",
    "GFLOP/s": "{gflops:.0f}",
    "of peak": "{peak_share:.0%}",
    "test error %": "{test_error:>}",
}


@dataclass(frozen=True)
class Task:
    """What each contestant has to do; a turn gives the test errors of all runs."""

    model: str
    runs: int
    max_epochs: int
    short: bool = False  # whether bf16-mixed and the plain loop with several threads are left out

    def contestant(self, name: str, run: Callable[[], list[float]]) -> Contestant:
        """Somebody who does it; products of training steps are counted, not those of validation and tests."""
        steps = self.runs * self.max_epochs * -(-PAIRS // BATCH_SIZE)
        return Contestant(name, run, flops=steps * step_flops(self.model, BATCH_SIZE))


def plain_study(task: Task, thread_count: int, seeds: Sequence[int] | None = None) -> list[float]:
    """The plain loop, one run after the other; all runs of the task by default."""
    errors, seeds = list[float](), range(task.runs) if seeds is None else seeds
    with threads(thread_count):
        data = digit_pairs(seeds, PAIRS, VAL_PAIRS)  # the digits are read once
        for replica, seed in enumerate(seeds):
            run = PlainRun(task.model, data, seed, replica)
            errors.append(run.fit(task.max_epochs).test_error)
    return errors


def plain_study_by_processes(task: Task) -> list[float]:
    """The plain loop, one process a core with one thread each; runs are dealt out as evenly as ours are."""
    shares = [range(first, task.runs, core_count()) for first in range(min(core_count(), task.runs))]
    parts = in_processes([partial(plain_study, task, 1, seeds) for seeds in shares])
    return [error for errors in parts for error in errors]


def our_study(task: Task, choice: ExecutionConfig, precision: str) -> list[float]:
    """Our study, log included."""
    trainer = {"max_epochs": task.max_epochs, "accelerator": "cpu", "precision": precision}
    data = partial(DigitPairs, train_pairs=PAIRS, val_pairs=VAL_PAIRS)
    study = make_study(PAPER.settings[task.model], range(task.runs), data, trainer, choice)
    with tempfile.TemporaryDirectory() as folder:
        log = StudyLog(Path(folder), task.runs)
        fit = run_study(study, log.add)
        log.writer.close()
    return [run.test_error for run in fit.runs]


def ours(task: Task, choice: ExecutionConfig) -> list[Contestant]:
    """Ours in each precision."""
    return [
        task.contestant(name, partial(our_study, task, choice, precision))
        for name, precision in list(PRECISIONS.items())[: 1 if task.short else None]
    ]


def one_core_study(task: Task, turns: int) -> list[Contestant]:
    """All contestants in turn on one core; in a process of its own, because it stays there."""
    quiet()
    one_core()
    small, choice = replace(task, runs=2, max_epochs=1), ExecutionConfig(workers=1)  # to warm up
    for work, count in ((small, 1), (task, turns)):
        everyone = [work.contestant("plain loop", partial(plain_study, work, 1)), *ours(work, choice)]
        take_turns(everyone, count, warm_up=0)
    return everyone


def threaded(task: Task) -> Contestant:
    """The plain loop in one process, with the number of threads that serves it best."""
    probe, counts = replace(task, runs=1, max_epochs=2), range(1, core_count() + 1)
    probes = [probe.contestant(str(count), partial(plain_study, probe, count)) for count in counts]
    take_turns(probes, 3, warm_up=0)
    best = int(min(probes, key=lambda one: one.seconds).name)
    name = f"plain loop, best of 1..{core_count()} threads: {best}"
    return task.contestant(name, partial(plain_study, task, best))


def whole_machine(task: Task, turns: int) -> list[Contestant]:
    """Ours and the plain loop with a process a core, and the plain loop with several threads."""
    our_study(replace(task, runs=2, max_epochs=1), ExecutionConfig(), "32-true")  # to warm up
    everyone = [
        task.contestant("plain loop, one process a core", partial(plain_study_by_processes, task)),
        *([] if task.short else [threaded(task)]),
        *ours(task, ExecutionConfig()),
    ]
    take_turns(everyone, turns, warm_up=0)
    return everyone


def study(
    runs: int = 15,
    max_epochs: int = 25,
    turns: int = 1,
    short: bool = False,
    out: str | None = None,
    verbose: bool = False,
) -> None:
    """Time whole studies of the three nets.

    Args:
        runs: Runs of each net.
        max_epochs: Epochs of each run.
        turns: How often each contestant does its study; medians are shown.
        short: Whether to leave out bf16-mixed and the plain loop with several threads.
        out: JSON file for the table, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    check_call(out, runs=runs, max_epochs=max_epochs, turns=turns)
    quiet()
    rows: list[dict[str, Any]] = []
    with threads(1):
        peak = matmul_peak()
    console = Console()
    for model in MODULES:
        prove_agreement(model)
        task = Task(model, runs, max_epochs, short)
        with console.status(f"{model}, one core"):
            (everyone,) = in_processes([partial(one_core_study, task, turns)])
            rows += [row(model, "one core", one, everyone[0], peak) for one in everyone]
        with console.status(f"{model}, machine"):
            everyone = whole_machine(task, turns)
            rows += [row(model, "machine", one, everyone[0], peak * core_count()) for one in everyone]
    title = f"{runs} runs of {max_epochs} epochs, {turns} turns, sgemm peak {peak:.0f} GFLOP/s a core"
    show(f"{title}\n{machine_line()}", COLUMNS, rows)
    save(out, peak_gflops=peak, rows=rows)


def row(model: str, place: str, one: Contestant, plain: Contestant, peak: float) -> dict[str, Any]:
    """What is shown of a contestant: the errors are those of its last turn."""
    errors = one.turns[-1].result
    return {
        "model": model,
        "place": place,
        "test_error": percent(*spread(errors)),
        "test_errors": errors,
        **one.row(plain, peaks={torch.float32: peak}),
    }


if __name__ == "__main__":
    cli.run(study, "python -m benchmarks.study")
