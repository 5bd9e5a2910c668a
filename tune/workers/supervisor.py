"""The command's own process: starts workers, replaces those that die, and shows how far the study is."""

from __future__ import annotations

import time
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

from lightning_modules.command.cli import CommandError
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.runs import percent
from lightning_modules.training.workers import WorkerError, receive, start
from tune.fit.chunk import STD
from tune.study.trials import FAILED, POINT, Trials, is_finished, reason
from tune.workers.worker import work

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from optuna.trial import FrozenTrial
    from rich.console import Console
    from rich.progress import Progress

    from tune.study.points import Points
    from tune.workers.worker import Job

LOOK = 1.0  # seconds between two looks at the storage
DEATHS = 3  # of each worker before it has a trial, without a score in between, before it is given up
FAILURES = 10  # trials that fail, without a score in between, before the study is given up


def supervise(job: Job, workers: int, points: Points, console: Console) -> None:
    """Run a study's points in worker processes.

    Args:
        job: What the workers do.
        workers: Their number.
        points: The study's.
        console: Where to show it.

    Raises:
        WorkerError: Workers die before they begin a trial.
        CommandError: Trials fail, one after the other.
        Exception: What a worker raised.
    """
    with progress_bar(console) as bar:
        _run(job, workers, points, View(bar, points))


class View:
    """The progress bar: epochs of all points, trials, and the best so far."""

    def __init__(self, bar: Progress, points: Points) -> None:
        """Start the bar.

        Args:
            bar: Where to draw.
            points: What to look at.
        """
        self.bar, self.points = bar, points
        self.trials = Trials(points.study, points.count)
        self.best: FrozenTrial | None = None
        self.failed: list[FrozenTrial] = []  # for good, since the last one with a score
        self.task = bar.add_task("starting", total=points.count * points.definition.max_epochs)

    def look(self) -> bool:
        """Draw what the storage says; return whether a trial has a score that had none."""
        done = [trial for trial in self.trials.refresh() if is_finished(trial)]
        failed = [trial for trial in done if reason(trial).startswith(FAILED)]
        went_on = len(failed) < len(done)
        self.failed = failed if went_on else self.failed + failed
        for trial in done:
            if trial.state.name == "COMPLETE" and (self.best is None or _value(trial) < _value(self.best)):
                self.best = trial
        epochs = len(self.trials.finished) * self.points.definition.max_epochs
        epochs += sum(
            trial.last_step or 0
            for trial in self.trials.unfinished.values()
            if trial.user_attrs.get(POINT, self.points.count) < self.points.count
        )
        self.bar.update(self.task, description=self._text(), completed=epochs)
        return went_on

    def _text(self) -> str:
        text = f"{self.points.definition.model}: {len(self.trials.finished)} of {self.points.count} trials"
        if self.best is None:
            return text
        error = percent(_value(self.best), self.best.user_attrs.get(STD))
        return f"{text}, best {error} % (trial {self.best.number})"


def _value(trial: FrozenTrial) -> float:
    return cast("float", trial.value)


def _run(job: Job, workers: int, points: Points, view: View) -> None:
    running: dict[Connection, BaseProcess] = dict(start(partial(work, job)) for _ in range(workers))
    deaths, looked = 0, time.monotonic()
    view.look()
    view.failed = []  # those of earlier commands
    try:
        while running:
            for ready in wait(list(running), LOOK):
                connection = cast("Connection", ready)
                try:
                    kind, value = receive(connection, running[connection])
                except WorkerError as error:
                    held = points.of_process(cast("int", running.pop(connection).pid))
                    points.give_up(held, str(error))
                    deaths += not held
                    if deaths >= DEATHS * workers:
                        raise
                    running |= [start(partial(work, job))]
                    continue
                if kind == "error":
                    raise value
                if kind == "result":
                    running.pop(connection).join()
            if time.monotonic() - looked >= LOOK or not running:
                looked = time.monotonic()
                deaths = 0 if view.look() else deaths
                if len(view.failed) >= min(FAILURES, points.count):
                    raise CommandError(
                        f"{len(view.failed)} trials in a row failed, the last one: {reason(view.failed[-1])}"
                    )
    finally:
        for process in running.values():
            process.kill()
