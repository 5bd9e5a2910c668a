"""A whole study, ours against the student's plain loop: three nets, R runs each, the same pairs and epochs.

Command lines:
    python -m benchmarks.study                    about 12 minutes on two cores
    python -m benchmarks.study --runs 15 --turns 3 --out runs/study.json

Both train every run, validate it after each epoch and test it at the end; ours has the Trainer, its metrics
and the TensorBoard log in its time. First one core, one thread each, all contestants in turn; then the whole
machine. There the ratio is to the plain loop as one process a core, started as ours are, its runs dealt out
evenly; the plain loop in one process, with the number of threads that serves it best, stands beside it.
Before anything is timed, agreement.py proves that all compute the same.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from loky import cpu_count
from rich.console import Console
from rich.table import Table

from benchmarks.agreement import prove_agreement
from benchmarks.machine import machine, matmul_peak, one_core
from benchmarks.plain_loop import BATCH_SIZE, PlainRun, step_flops
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.results.runs import Run, percent, spread
from lightning_modules.results.tensorboard import StudyLog
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, make_trainer, quiet, run_study
from lightning_modules.training.workers import run_jobs, threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("torch", "pytorch_lightning", "numba", "numpy")
PRECISIONS = {"ours": "32-true", "ours, bf16-mixed": "bf16-mixed"}


@dataclass(frozen=True)
class Task:
    """What each contestant has to do."""

    model: str
    runs: int
    max_epochs: int
    train_pairs: int = 1000

    def data(self, seed: Any) -> DigitPairs:
        """Pairs of one or several runs, set up."""
        data = DigitPairs(train_pairs=self.train_pairs, batch_size=BATCH_SIZE, seed=seed)
        data.setup()
        return data


@dataclass(frozen=True)
class Timing:
    """One turn of one contestant."""

    seconds: float
    test_errors: list[float]


def plain_study(task: Task, thread_count: int) -> Timing:
    """The plain loop, one run after the other."""
    with threads(thread_count):
        start = time.perf_counter()
        return _timing(start, _plain_runs(task, range(task.runs), _ignore))


def plain_study_by_processes(task: Task) -> Timing:
    """The plain loop, one process a core with one thread each; runs are dealt out as evenly as ours are."""
    start = time.perf_counter()
    shares = [range(first, task.runs, cpu_count()) for first in range(min(cpu_count(), task.runs))]
    parts = run_jobs([partial(_plain_runs, task, seeds) for seeds in shares], len(shares), _ignore)
    return _timing(start, [run for part in parts for run in part])


def _plain_runs(task: Task, seeds: Sequence[int], report: Any) -> list[Run]:
    return [PlainRun(task.model, task.data(seed), seed).fit(task.max_epochs) for seed in seeds]


def _ignore(number: int, value: Any) -> None:
    pass


def our_study(task: Task, choice: ExecutionConfig, precision: str) -> Timing:
    """Our study, log included."""
    trainer = {"max_epochs": task.max_epochs, "accelerator": "cpu", "precision": precision}
    start = time.perf_counter()
    study = Study(
        module=MODULES[task.model],
        settings=PAPER.settings[task.model],
        seeds=range(task.runs),
        data=partial(DigitPairs, train_pairs=task.train_pairs),
        trainer=trainer,
        execution=choice.resolve(make_trainer(trainer), task.runs),
    )
    with tempfile.TemporaryDirectory() as folder:
        log = StudyLog(Path(folder), task.runs)
        fit = run_study(study, log.add)
        log.writer.close()
    return _timing(start, fit.runs)


def _timing(start: float, runs: list[Run]) -> Timing:
    return Timing(time.perf_counter() - start, [run.test_error for run in runs])


def per_core(task: Task, turns: int) -> dict[str, list[Timing]]:
    """All contestants in turn on one core."""
    (timings,) = run_jobs([partial(_per_core, task, turns)], 1, _ignore)
    return timings


def _per_core(task: Task, turns: int, report: Any) -> dict[str, list[Timing]]:
    """In a process of its own, because it stays on its core; a turn of one epoch warms up."""
    quiet()
    one_core()
    contestants = {"plain loop": partial(plain_study, thread_count=1)}
    for name, precision in PRECISIONS.items():
        contestants[name] = partial(our_study, choice=ExecutionConfig(workers=1), precision=precision)
    for contestant in contestants.values():
        contestant(Task(task.model, 2, 1))
    timings: dict[str, list[Timing]] = {name: [] for name in contestants}
    for _ in range(turns):
        for name, contestant in contestants.items():
            timings[name].append(contestant(task))
    return timings


def whole_machine(task: Task, turns: int) -> dict[str, list[Timing]]:
    """Ours and the plain loop with a process a core, and the plain loop with the best number of threads."""
    probe = Task(task.model, 1, 2)
    counts = range(1, cpu_count() + 1)
    probes = [(median(plain_study(probe, count).seconds for _ in range(3)), count) for count in counts]
    best = min(probes)[1]
    contestants: dict[str, Callable[[Task], Timing]] = {
        "plain loop, one process a core": plain_study_by_processes,
        f"plain loop, best of 1..{cpu_count()} threads: {best}": partial(plain_study, thread_count=best),
    }
    for name, precision in PRECISIONS.items():
        contestants[name] = partial(our_study, choice=ExecutionConfig(), precision=precision)
    our_study(Task(task.model, 2, 1), ExecutionConfig(), "32-true")
    timings: dict[str, list[Timing]] = {name: [] for name in contestants}
    for _ in range(turns):
        for name, contestant in contestants.items():
            timings[name].append(contestant(task))
    return timings


def rows(task: Task, place: str, timings: dict[str, list[Timing]], peak: float) -> list[dict[str, Any]]:
    """Median seconds, ratio to the first contestant within each turn, rate and error of every contestant.

    The rate counts the products of training steps alone, so that it leaves out validation and tests.
    """
    plain = next(iter(timings.values()))
    steps = -(-task.train_pairs // BATCH_SIZE) * task.max_epochs * task.runs
    table = []
    for name, own in timings.items():
        seconds = median(turn.seconds for turn in own)
        rate = steps * step_flops(task.model, BATCH_SIZE) / seconds / 1e9
        average, deviation = spread(own[-1].test_errors)
        table.append(
            {
                "model": task.model,
                "place": place,
                "contestant": name,
                "seconds": seconds,
                "ratio": median(a.seconds / b.seconds for a, b in zip(plain, own, strict=True)),
                "gflops": rate,
                "peak_share": rate / peak,
                "test_error_mean": average,
                "test_error_std": deviation,
                "turns": [asdict(turn) for turn in own],
            }
        )
    return table


def show(table: list[dict[str, Any]], title: str) -> None:
    """Print the rows."""
    view = Table(title=title, title_justify="left")
    for column in ("net", "where", "contestant", "s", "ratio", "GFLOP/s", "of peak", "test error %"):
        view.add_column(column, justify="left" if column in ("net", "where", "contestant") else "right")
    for row in table:
        view.add_row(
            *(row["model"], row["place"], row["contestant"], f"{row['seconds']:.1f}", f"{row['ratio']:.2f}x"),
            *(f"{row['gflops']:.0f}", f"{row['peak_share']:.0%}"),
            percent(row["test_error_mean"], row["test_error_std"]),
            end_section=row["contestant"] == "ours, bf16-mixed",
        )
    Console(width=130).print(view)


def study(
    runs: int = 15, max_epochs: int = 25, turns: int = 1, out: str | None = None, verbose: bool = False
) -> None:
    """Time whole studies of the three nets.

    Args:
        runs: Runs of each net.
        max_epochs: Epochs of each run.
        turns: How often each contestant does its study; medians are shown.
        out: JSON file for the table, every turn and the machine.
        verbose: Whether to show tracebacks.
    """
    quiet()
    table: list[dict[str, Any]] = []
    with threads(1):
        peak = matmul_peak()
    console = Console()
    for model in MODULES:
        prove_agreement(model)
        for place, cores, measure in (("one core", 1, per_core), ("machine", cpu_count(), whole_machine)):
            task = Task(model, runs, max_epochs)
            with console.status(f"{model}, {place}"):
                table += rows(task, place, measure(task, turns), peak * cores)
    about = ", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items())
    show(
        table,
        f"{runs} runs of {max_epochs} epochs, {turns} turns, sgemm peak {peak:.0f} GFLOP/s a core\n{about}",
    )
    if out:
        result = {
            "command": cli.command_line(),
            "machine": machine(PACKAGES),
            "peak_gflops": peak,
            "rows": table,
        }
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    cli.run(study, "python -m benchmarks.study")
