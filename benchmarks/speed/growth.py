"""What a study costs as it grows: with the number of pairs, of runs, of cores, and of ranks.

Command lines:
    python -m benchmarks.growth                       about 4 minutes
    python -m benchmarks.growth --pairs 1000,10000 --runs 1,4 --turns 1

Each size is measured in a process of its own, so that its peak memory is its own; medians over turns, which
alternate between the sizes. The network is `cnn`: one epoch for pairs, five for runs, ten for cores and
ranks. Ranks share four shards, and are compared with as many independent processes that were given theirs.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.speed.harness import (
    Contestant,
    Turn,
    check_call,
    in_processes,
    numbers,
    save,
    show,
    take_turns,
)
from benchmarks.speed.machine import machine_line, one_core
from datamodules import DigitPairs
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file
from lightning_modules.command.cores import core_count
from lightning_modules.models.recipes import PAPER
from lightning_modules.results.figures import write_figure
from lightning_modules.results.palette import BLUE
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import Ranks
from lightning_modules.training.runner import Study, fit, quiet, run_study
from lightning_modules.training.sharing import share
from lightning_modules.training.studies import make_study
from lightning_modules.training.workers import run_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "cnn"
LARGE = 1_000_000  # pairs from which on a size takes a minute: one turn is enough to see a line
COLUMNS = {
    "axis": "{axis}",
    "size": "{size:d}",
    "s": "{seconds:.2f}",
    "us a pair, epoch and run": "{median:.1f}",
    "x the smallest": "{relative:.2f}",
    "x independent": "{efficiency:.2f}",
    "peak MB": "{megabytes:.0f}",
}


@dataclass(frozen=True)
class Size:
    """One size of one study."""

    axis: str = ""  # "pairs", "runs", "cores", "ranks" or "independent", whichever grows
    pairs: int = 1000
    runs: int = 1
    cores: int = 1
    ranks: int = 1
    epochs: int = 1

    @property
    def count(self) -> int:
        """How much there is of what grows."""
        return getattr(self, "ranks" if self.axis == "independent" else self.axis)

    def study(self) -> Study:
        """The study, without validation: training and the tests."""
        trainer = {"max_epochs": self.epochs, "accelerator": "cpu"}
        data = partial(DigitPairs, train_pairs=self.pairs, val_pairs=0)
        choice = ExecutionConfig(workers=self.cores)
        return make_study(PAPER.settings[MODEL], range(self.runs), data, trainer, choice)

    def contestant(self) -> Contestant:
        """Times are shown for a pair, epoch and run."""
        work = self.pairs * self.runs * self.epochs
        if self.axis == "cores":
            small = Size(pairs=100, runs=self.cores, cores=self.cores)  # warms up
            return Contestant("cores", partial(side_by_side, self), work, partial(side_by_side, small))
        if self.axis in ("ranks", "independent"):
            way = sharing if self.axis == "ranks" else independent
            return Contestant(self.axis, partial(way, self), work)
        return Contestant(self.axis, partial(alone, self), work)


def side_by_side(size: Size) -> None:
    """Fit in worker processes, even in a single one, so that starting them is in the time of every size."""
    study = size.study()
    run_jobs([partial(fit, program) for program in study.shards()], study.execution.workers, _ignore)


def shared_study(size: Size, folder: str) -> Study:
    """The study in shards of 8 runs, which are kept in a folder."""
    study = replace(size, cores=1).study()
    checkpoint, execution = Path(folder) / "checkpoint.ckpt", replace(study.execution, replicas=8)
    return replace(study, checkpoint=checkpoint, execution=execution, study_id="growth")


def sharing(size: Size) -> None:
    """Ranks, which this process starts, share the study."""
    with TemporaryDirectory() as folder:
        ranks = Ranks(0, size.ranks, "this command", {}, devices=[1] * size.ranks)
        shards = dict(enumerate(shared_study(size, folder).shards()))
        share(shards, Path(folder) / "claims", ranks, _ignore)


def independent(size: Size) -> None:
    """As many processes train the same shards, dealt out before."""
    with TemporaryDirectory() as folder:
        shards = shared_study(size, folder).shards()
        in_processes([partial(_fit_each, shards[rank :: size.ranks]) for rank in range(size.ranks)])


def _fit_each(shards: Sequence[Study]) -> None:
    for shard in shards:
        fit(shard, lambda metrics: None)


def alone(size: Size) -> Turn:
    """Fit in a process of its own, which stays on one core; the turn's result is its peak memory in MB."""
    (turn,) = in_processes([partial(_alone, size)])
    return turn


def _ignore(number: int, value: Any) -> None:
    pass


def _alone(size: Size) -> Turn:
    quiet()
    one_core()
    run_study(Size(pairs=100).study(), _ignore)  # warms up
    study = size.study()
    start = time.perf_counter()
    run_study(study, _ignore)
    seconds = time.perf_counter() - start
    return Turn(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def sizes(pairs: list[int], runs: list[int]) -> list[Size]:
    """All sizes, each axis from its smallest."""
    cores = range(1, core_count() + 1)
    return [
        *(Size("pairs", pairs=count) for count in pairs),
        *(Size("runs", runs=count, epochs=5) for count in runs),
        *(Size("cores", cores=count, runs=16 * core_count(), epochs=10) for count in cores),
        *(
            Size(axis, ranks=count, runs=32, epochs=10)
            for count in cores
            for axis in ("ranks", "independent")  # one after the other, as the machine's speed drifts
        ),
    ]


def row(
    size: Size, own: Contestant, first: Contestant, independent: Contestant | None = None
) -> dict[str, Any]:
    """What is shown of a size: its cost for each unit, relative to the smallest size of its axis.

    Args:
        size: The size.
        own: Who took its turns.
        first: Who took those of the smallest size.
        independent: As many processes that share nothing, to compare ranks with.
    """
    memory = [turn.result for turn in own.turns if turn.result]
    return {
        "axis": size.axis,
        "size": size.count,
        "seconds": own.seconds,
        "relative": own.seconds / first.seconds,
        **({"megabytes": max(memory)} if memory else {}),
        **({"efficiency": own.row(independent)["ratio"]} if independent else {}),
        **own.row(first, 1e6),
    }


def plot(rows: list[dict[str, Any]]) -> Figure:
    """Time against size, both logarithmic, beside what proportion would give."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 3), ("pairs", "runs", "cores"), strict=True):
        lines = [line for line in rows if line["axis"] == axis]
        counts, seconds = [line["size"] for line in lines], [line["seconds"] for line in lines]
        power, last = (-1, 0) if axis == "cores" else (1, -1)
        ideal = [seconds[last] * (count / counts[last]) ** power for count in counts]
        axes.loglog(counts, ideal, "--", color="0.6", label="in proportion")
        axes.loglog(counts, seconds, "o-", color=BLUE, label="measured")
        axes.set_xticks(counts, [f"{count:g}" for count in counts])
        ticks = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
        ticks = seconds if axis == "cores" else [t for t in ticks if min(ideal) <= t <= 1.2 * max(seconds)]
        axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel=axis, ylabel="seconds")
        axes.legend()
    figure.suptitle(f"{MODEL}, recipe paper: time of a study", fontsize=11)
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
    check_call(f"{out}.json", turns=turns)
    check_file(Path(f"{out}.png"))
    quiet()
    everyone = {size: size.contestant() for size in sizes(numbers("pairs", pairs), numbers("runs", runs))}
    take_turns(list(everyone.values()), 1, warm_up=0)
    if turns > 1:
        again = [contestant for size, contestant in everyone.items() if size.pairs < LARGE]
        take_turns(again, turns - 1, warm_up=0)
    first = {size.axis: contestant for size, contestant in reversed(everyone.items())}
    rivals = {
        replace(size, axis="ranks"): one for size, one in everyone.items() if size.axis == "independent"
    }
    rows = [row(size, one, first[size.axis], rivals.get(size)) for size, one in everyone.items()]
    show(f"{MODEL}, {turns} turns\n{machine_line()}", COLUMNS, rows)
    save(f"{out}.json", rows=rows)
    write_figure(Path(f"{out}.png"), plot(rows), dpi=120)
    Console().print(f"{out}.json, {out}.png")


if __name__ == "__main__":
    cli.run(growth, "python -m benchmarks.growth")
