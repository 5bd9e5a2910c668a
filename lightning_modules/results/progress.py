"""One progress bar over all trainings of an experiment."""

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lightning_modules.command.console import make_console
from lightning_modules.results.tensorboard import EpochMetrics

# Cost of an epoch, for the time left: a net that passes each digit through its CNN costs twice the plain one.
COST = {"cnn": 1.0}
OTHERS = 2.0


def progress_bar(console: Console | None = None) -> Progress:
    """A bar that says what is being done, how much of it is, and how long the rest will take.

    Args:
        console: Where to draw; one of its own by default.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console or make_console(),
    )


class StudyProgress:
    """Says which model trains, how far it is, how good it is, and how long all of it will take."""

    def __init__(self, console: Console, models: Sequence[str], epochs: int) -> None:
        """Set the length.

        Args:
            console: Where to draw.
            models: The models, in order.
            epochs: Epochs of one model, summed over its runs.
        """
        self.progress = progress_bar(console)
        total = sum(COST.get(model, OTHERS) for model in models) * epochs
        self.task = self.progress.add_task("starting", total=total)

    def add(self, model: str, figures: EpochMetrics, kept: bool = False) -> None:
        """Advance by one epoch of some replicas.

        Args:
            model: Their model.
            figures: Their figures.
            kept: Whether they were trained before, so that they say nothing about the time that is left.
        """
        tag = "val/error" if "val/error" in figures.values else "train/error"
        errors = figures.values[tag]
        finite = [error for error in errors if math.isfinite(error)]
        said = f"{100 * sum(finite) / len(finite):.1f} %" if finite else "diverged"
        text = f"{model}: epoch {figures.epoch + 1}, {tag} {said}"
        done = COST.get(model, OTHERS) * len(errors)
        if kept:  # rich measures the speed by what is advanced
            self.progress.tasks[self.task].completed += done
        self.progress.update(self.task, description=text, advance=0 if kept else done)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
