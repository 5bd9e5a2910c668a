"""What a study costs as it grows: with the number of pairs, of runs, and of cores.

Command lines:
    python -m benchmarks.growth                       about 4 minutes
    python -m benchmarks.growth --pairs 1000,10000 --runs 1,4 --turns 1

Each point is measured in a process of its own, so that its peak memory is its own; medians over turns, which
alternate between the points. The network is `cnn`: one epoch for pairs, five for runs, ten for cores.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from loky import cpu_count
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine, one_core
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import write_whole
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.registry import MODULES
from lightning_modules.training.execution import Execution, ExecutionConfig
from lightning_modules.training.runner import Study, fit, make_trainer, quiet, run_study
from lightning_modules.training.workers import run_jobs

PACKAGES = ("torch", "pytorch_lightning", "numba", "numpy")
MODEL = "cnn"


@dataclass
class Point:
    """One size of one study."""

    axis: str  # "pairs", "runs" or "cores"
    value: int
    pairs: int = 1000
    runs: int = 1
    cores: int = 1
    epochs: int = 1
    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0  # peak memory of the process that trains

    def study(self) -> Study:
        """The study, without its data's validation: an epoch of training and the tests."""
        trainer = {"max_epochs": self.epochs, "accelerator": "cpu"}
        return Study(
            module=MODULES[MODEL],
            settings=PAPER.settings[MODEL],
            seeds=range(self.runs),
            data=partial(DigitPairs, train_pairs=self.pairs, val_pairs=0),
            trainer=trainer,
            execution=ExecutionConfig(workers=self.cores).resolve(make_trainer(trainer), self.runs),
        )


def measure(point: Point) -> None:
    """Take a turn and note its time and memory."""
    if point.axis == "cores":
        _side_by_side(Point("", 0, pairs=100, runs=point.cores, cores=point.cores).study())
        start = time.perf_counter()
        _side_by_side(point.study())
        point.seconds.append(time.perf_counter() - start)
        return
    ((seconds, megabytes),) = run_jobs([partial(_alone, point)], 1, _ignore)
    point.seconds.append(seconds)
    point.megabytes = max(point.megabytes, megabytes)


def _side_by_side(study: Study) -> None:
    """Fit in worker processes, even in a single one, so that starting them is in the time of every point."""
    run_jobs([partial(fit, program) for program in study.shards()], study.execution.workers, _ignore)


def _ignore(number: int, value: Any) -> None:
    pass


def _alone(point: Point, report: Any) -> tuple[float, float]:
    one_core()
    warm_up = Point("", 0, pairs=100)
    run_study(warm_up.study(), lambda first, figures: None)
    study = point.study()
    assert isinstance(study.execution, Execution)
    start = time.perf_counter()
    run_study(study, lambda first, figures: None)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def points(pairs: list[int], runs: list[int]) -> list[Point]:
    """All sizes."""
    cores = range(1, cpu_count() + 1)
    return [
        *(Point("pairs", count, pairs=count) for count in pairs),
        *(Point("runs", count, runs=count, epochs=5) for count in runs),
        *(Point("cores", count, cores=count, runs=16 * cpu_count(), epochs=10) for count in cores),
    ]


def row(point: Point, first: Point) -> dict[str, Any]:
    """What is shown of a point: its cost for each unit, relative to the smallest size of its axis."""
    seconds = median(point.seconds)
    work = point.pairs * point.runs * point.epochs
    return {
        "axis": point.axis,
        "value": point.value,
        "seconds": seconds,
        "microseconds_per_pair": seconds / work * 1e6,
        "relative": seconds / median(first.seconds),
        "peak_megabytes": point.megabytes or None,
        "turns": point.seconds,
    }


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for column in ("axis", "size", "s", "us a pair, epoch and run", "x the smallest", "peak MB"):
        table.add_column(column, justify="left" if column == "axis" else "right")
    for line in rows:
        memory = f"{line['peak_megabytes']:.0f}" if line["peak_megabytes"] else ""
        table.add_row(
            *(line["axis"], str(line["value"]), f"{line['seconds']:.2f}"),
            *(f"{line['microseconds_per_pair']:.1f}", f"{line['relative']:.2f}", memory),
        )
    Console(width=110).print(table)


def plot(rows: list[dict[str, Any]]) -> Figure:
    """Time against size, both logarithmic, beside what proportion would give."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 3), ("pairs", "runs", "cores"), strict=True):
        own = [line for line in rows if line["axis"] == axis]
        sizes, seconds = [line["value"] for line in own], [line["seconds"] for line in own]
        if axis == "cores":
            ideal = [seconds[0] / size for size in sizes]
        else:
            ideal = [seconds[-1] * size / sizes[-1] for size in sizes]
        axes.loglog(sizes, ideal, "--", color="0.6", label="in proportion")
        axes.loglog(sizes, seconds, "o-", label="measured")
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        ticks = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
        ticks = seconds if axis == "cores" else [t for t in ticks if min(ideal) <= t <= 1.2 * max(seconds)]
        axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel=axis, ylabel="seconds")
        axes.legend()
    return figure


def growth(
    pairs: str = "1000,10000,100000,1000000",
    runs: str = "1,2,4,8,16,32,64",
    turns: int = 3,
    out: str = "runs/growth",
    verbose: bool = False,
) -> None:
    """Time studies of growing size, and plot them.

    Args:
        pairs: Numbers of training pairs, separated by commas.
        runs: Numbers of runs, separated by commas.
        turns: Turns of each size; medians are shown.
        out: JSON and PNG file to write, without the ending.
        verbose: Whether to show tracebacks.
    """
    quiet()
    sizes = points([int(count) for count in pairs.split(",")], [int(count) for count in runs.split(",")])
    for turn in range(turns):
        for point in sizes:
            if turn == 0 or point.pairs < 1_000_000:  # a minute each: once is enough to see a line
                measure(point)
    first = {point.axis: point for point in reversed(sizes)}
    rows = [row(point, first[point.axis]) for point in sizes]
    about = ", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items())
    show(rows, f"{MODEL}, {turns} turns\n{about}")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    result = {"command": cli.command_line(), "machine": machine(PACKAGES), "rows": rows}
    write_whole(Path(f"{out}.json"), json.dumps(result, indent=1))
    plot(rows).savefig(f"{out}.png", dpi=120)
    Console().print(f"{out}.json, {out}.png")


if __name__ == "__main__":
    cli.run(growth, "python -m benchmarks.growth")
