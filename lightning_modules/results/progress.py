"""One progress bar over all trainings of an experiment; where there is no terminal, a line a minute."""

from __future__ import annotations

import math
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from lightning_modules.command.console import make_console

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from rich.console import Console

    from lightning_modules.results.tensorboard import EpochMetrics

# Cost of an epoch, for the time left: a net that passes each digit through its CNN costs twice the plain one.
COST = {"cnn": 1.0}
OTHERS = 2.0
MINUTE = 60.0  # seconds


class Bar(Progress):
    """A bar that a log file gets a line a minute of."""

    def start(self) -> None:
        super().start()
        self._stopped = Event()
        if not (self.console.is_terminal or self.console.is_jupyter):
            Thread(target=self._print_lines, daemon=True).start()

    def _print_lines(self) -> None:
        while not self._stopped.wait(MINUTE):
            self.console.print(self.get_renderable())
            self.console.file.flush()

    def stop(self) -> None:
        self._stopped.set()
        super().stop()


def progress_bar(console: Console | None = None) -> Bar:
    """A bar that says what is being done, how much of it is, and how long the rest will take.

    Args:
        console: Where to draw; one of its own by default.
    """
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),  # what is left of the line
        TaskProgressColumn(),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn("left"),
        TimeRemainingColumn(table_column=Column(min_width=7)),
        console=console or make_console(),
    )


class StudyProgress:
    """Says which model is loaded, trained or tested, how good it is, and how long all of it will take.

    The error is the mean over all replicas after the latest epoch that all of them have done. So it compares
    like with like, and the epoch never goes backwards, though several processes report.
    """

    def __init__(self, console: Console, replicas: Mapping[str, int], epochs: int) -> None:
        """Set the length.

        Args:
            console: Where to draw.
            replicas: Model to the number of its trainings; the first is shown until one has begun.
            epochs: Of each training.
        """
        self.progress, self.replicas, self.epochs = progress_bar(console), replicas, epochs
        total = sum(COST.get(model, OTHERS) * count for model, count in replicas.items()) * epochs
        self.task = self.progress.add_task(f"{next(iter(replicas))}: loading", total=total)
        # By model, epoch and replica.
        self.errors: dict[str, dict[int, dict[int, float]]] = {model: {} for model in replicas}

    def add(self, model: str, first: int, metrics: EpochMetrics, kept: bool = False) -> None:
        """Advance by one epoch of some replicas.

        Args:
            model: One of them; several may train at once.
            first: Number of the first of these replicas.
            metrics: Their metrics.
            kept: Whether they were trained before, so that they say nothing about the time that is left.
        """
        tag = "val/error" if "val/error" in metrics.values else "train/error"
        errors = self.errors[model].setdefault(metrics.epoch, {})
        errors |= dict(enumerate(metrics.values[tag], first))
        if len(errors) == self.replicas[model]:
            finite = [error for error in errors.values() if math.isfinite(error)]
            mean = f"{tag} {100 * sum(finite) / len(finite):.1f} %" if finite else "diverged"
            done = metrics.epoch + 1
            stage = "testing" if done == self.epochs else f"training {done}/{self.epochs}"
            self.progress.update(self.task, description=f"{model}: {stage}, {mean}")
        elif len(self.errors[model]) == 1:
            self.progress.update(self.task, description=f"{model}: training")
        cost = COST.get(model, OTHERS) * len(metrics.values[tag])
        if kept:  # rich measures the speed by what is advanced
            self.progress.tasks[self.task].completed += cost
        self.progress.update(self.task, advance=0 if kept else cost)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
