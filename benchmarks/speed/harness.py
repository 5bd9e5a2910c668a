"""The harness of the speed commands: contestants take turns; a table comes out, and every turn as JSON.

A command makes its contestants, proves that they compute the same, lets them take turns, and reports::

    def replicate(turns: int = 15, out: str | None = None, verbose: bool = False) -> None:
        \"\"\"Time ... (this docstring and the arguments are the command's flags and their help).\"\"\"
        check_call(out, turns=turns)
        one_core()  # of machine.py, as matmul_peak and the rest of what a machine can
        loop, vmap = PlainLoop(), Vmap(16)  # have `epoch`, which takes STEPS steps, and `losses`, in float64
        prove_equal("vmap: losses", vmap.losses(), loop.losses())
        everyone = [Contestant("plain loop", loop.epoch, STEPS), Contestant("vmap", vmap.epoch, 16 * STEPS)]
        take_turns(everyone, turns)
        rows = [one.row(everyone[0], scale=1e3) for one in everyone]
        show("one core", {"": "{contestant}", "ms a step": "{median:.2f}", "ratio": "{ratio:.2f}x"}, rows)
        save(out, rows=rows)

    if __name__ == "__main__":
        restart_on_one_core()  # before numpy starts a thread for each core
        cli.run(replicate, "python -m benchmarks.replicate")

Turns are interleaved (first, second, first, second, ...), so that whatever else the machine does slows all
alike. A ratio is of two turns that follow each other, the median over all turns. What warms up is not kept.
Rivals that compute in several processes start them by `in_processes`. Peak memory is that of
`machine.peak_memory`, or of a process of its own, as in growth.py.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from string import Formatter
from types import MappingProxyType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed.machine import machine
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import atomic_write, check_file, make_folder
from lightning_modules.command.limits import MOST_EXAMPLES, check_range
from lightning_modules.training.workers import run_jobs


def check_call(out: str | None, **counts: int | None) -> None:
    """Refuse the file that `save` is to write, and numbers below 1, before anything is measured.

    Args:
        out: The file, if one is asked for.
        **counts: By the names of their flags, such as turns; what is None is not asked for.

    Raises:
        CommandError: The file cannot be written.
        ValueError: A number is below 1.
    """
    for name, count in counts.items():
        if count is not None:
            check_range(name, count, 1)
    if out:
        check_file(Path(out))


@dataclass(frozen=True)
class Turn:
    """The time of one turn, and what the contestant returned."""

    seconds: float
    result: Any = None


@dataclass
class Contestant:
    """One way to do the work."""

    name: str
    run: Callable[[], Any]  # takes a turn; may return a `Turn` that it timed itself, say in another process
    work: float = 1.0  # units in a turn, such as steps of one replica; times are shown for one unit
    prepare: Callable[[], Any] | None = None  # called before each turn, untimed
    flops: float = 0.0  # floating-point operations of a unit
    dtype: torch.dtype = torch.float32  # in which most of them are made
    turns: list[Turn] = field(default_factory=list)

    def turn(self, clock: Callable[[], float] = time.perf_counter) -> Turn:
        """Take a turn, timed by a clock that gives seconds."""
        if self.prepare:
            self.prepare()
        start = clock()
        result = self.run()
        return result if isinstance(result, Turn) else Turn(clock() - start, result)

    @property
    def seconds(self) -> float:
        """Of a whole turn, the median over turns."""
        return median(turn.seconds for turn in self.turns)

    def row(
        self,
        reference: "Contestant",
        scale: float = 1.0,
        peaks: Mapping[torch.dtype, float] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """A line of the table.

        Args:
            reference: Whom it is compared with.
            scale: What times are multiplied by: 1e3 for milliseconds.
            peaks: GFLOP/s that the machine reaches, by number format.

        Returns:
            Times of a unit: `median`, `quartiles` and those of all `turns`; `ratio`, which is 2 for twice as
            fast as the reference; with `peaks` also `gflops`, and `peak_share` of them.
        """
        times = [turn.seconds / self.work * scale for turn in self.turns]
        pairs = zip(reference.turns, self.turns, strict=False)  # a long one may have taken fewer turns
        ratios = [(theirs.seconds / reference.work) / (own.seconds / self.work) for theirs, own in pairs]
        row = {
            "contestant": self.name,
            "median": median(times),
            "quartiles": quantiles(times)[::2] if len(times) > 1 else times * 2,
            "ratio": median(ratios),
            "turns": times,
        }
        if peaks:
            gflops = self.flops * self.work / self.seconds / 1e9
            row |= {"gflops": gflops, "peak_share": gflops / peaks[self.dtype]}
        return row


def take_turns(
    contestants: Sequence[Contestant],
    turns: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Let all take turns, one after the other, and keep them.

    Args:
        contestants: Who takes part.
        turns: Turns of each.
        warm_up: Turns of each before those, which are not kept.
        clock: `time.process_time` counts the time of all threads, and leaves out that of other programs.

    Raises:
        ValueError: No turn is asked for.
    """
    check_range("turns", turns, 1)
    for number in range(warm_up + turns):
        for one in contestants:
            turn = one.turn(clock)
            if number >= warm_up:
                one.turns.append(turn)


def in_processes(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run picklable jobs at the same time, each in a process of its own with one thread; their results."""
    return run_jobs([partial(_call, job) for job in jobs], len(jobs), lambda number, report: None)


def _call(job: Callable[[], Any], report: object) -> Any:
    return job()


def prove_equal(what: str, values: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Refuse a contestant that computes something else: its time would say nothing about the others'.

    Args:
        what: Is compared, and whose it is.
        values: Numbers or a tensor.
        expected: The same of the reference.
        tolerance: Largest difference, absolute and relative.

    Raises:
        RuntimeError: They differ.
    """
    ours, theirs = (torch.as_tensor(part, dtype=torch.float64) for part in (values, expected))
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance):
        difference = f"{(ours - theirs).abs().max():.1e}" if ours.shape == theirs.shape else "their number"
        raise RuntimeError(f"{what} differ by {difference} from the reference's")


def numbers(name: str, text: str) -> list[int]:
    """Read a flag that holds whole numbers of at least 1 with commas between.

    Raises:
        CommandError: It holds something else.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise cli.CommandError(f"{name} must be whole numbers of at least 1 with commas between, got {text}")
    found = [int(part) for part in parts]
    check_range(name, max(found), 1, MOST_EXAMPLES)
    return found


def show(title: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table.

    Args:
        title: Stands above it.
        columns: Heading to a format such as "{ratio:.2f}x", which a row's values fill.
        rows: A row without the value that a column shows leaves it empty.
    """
    console, table = Console(width=130, highlight=False, markup=False), Table()
    for heading, form in columns.items():
        table.add_column(heading, justify="right" if ":" in form else "left")
    for row in rows:
        table.add_row(*(form.format(**row) if _keys(form) <= row.keys() else "" for form in columns.values()))
    console.print(title)
    console.print(table)


def _keys(form: str) -> set[str]:
    return {name.partition("[")[0] for _, name, _, _ in Formatter().parse(form) if name}


def save(out: str | None, **tables: Any) -> None:
    """Write a JSON file, if one is asked for: the command, the machine, and what the tables show."""
    if out:
        result = {"command": cli.command_line(), "machine": machine(), **tables}
        make_folder(Path(out).parent, anew=False, flag="out")
        atomic_write(Path(out), json.dumps(result, indent=1) + "\n")
