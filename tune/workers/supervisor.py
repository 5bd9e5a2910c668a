"""Supervisor: it starts workers, replaces those that die, and shows the study's progress."""

import time
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.progress import Progress

from lightning_modules.command.cli import CommandError
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.table import percent
from lightning_modules.training.workers import WorkerError, receive, start
from tune.fit.trial_batch import STD, error_of
from tune.study.queue import TrialQueue
from tune.study.trials import FAILED, POINT, Trials, is_finished, reason
from tune.workers.worker import Job, work

POLL_INTERVAL = 1.0  # seconds between two looks at the storage
DEATHS = 3  # in a row, per worker and before its first trial, after which the study stops
FAILURES = 10  # failed trials in a row after which the study stops


def supervise(job: Job, workers: int, queue: TrialQueue, console: Console) -> None:
    """Run a study's points in worker processes.

    Raises:
        WorkerError: Workers die before they begin a trial.
        CommandError: Trials fail, one after the other.
        Exception: What a worker raised.
    """
    with progress_bar(console) as bar:
        _run(job, workers, queue, View(bar, queue))


class View:
    """The progress bar: epochs of all points, trials, and the best so far."""

    def __init__(self, bar: Progress, queue: TrialQueue) -> None:
        self.bar, self.queue = bar, queue
        self.trials = Trials(queue.study, queue.count)
        self.best: FrozenTrial | None = None
        self.failed: list[FrozenTrial] = []  # for good, since the last one with a score
        self.task = bar.add_task("starting", total=queue.count * queue.definition.max_epochs)

    def refresh(self) -> bool:
        """Draw the storage's state; return whether a trial has got a score since the last time."""
        done = [trial for trial in self.trials.refresh() if is_finished(trial)]
        failed = [trial for trial in done if reason(trial).startswith(FAILED)]
        scored = len(failed) < len(done)
        self.failed = failed if scored else self.failed + failed
        for trial in done:
            if trial.state.name == "COMPLETE" and (self.best is None or _value(trial) < _value(self.best)):
                self.best = trial
        epochs = len(self.trials.finished) * self.queue.definition.max_epochs
        epochs += sum(
            trial.last_step or 0
            for trial in self.trials.unfinished.values()
            if trial.user_attrs.get(POINT, self.queue.count) < self.queue.count
        )
        self.bar.update(self.task, description=self._text(), completed=epochs)
        return scored

    def _text(self) -> str:
        text = f"{self.queue.definition.model}: {len(self.trials.finished)} of {self.queue.count} trials"
        if self.best is None:
            return text
        error = percent(error_of(self.best), self.best.user_attrs.get(STD))
        return f"{text}, best {error} % (trial {self.best.number})"


def _value(trial: FrozenTrial) -> float:
    return cast("float", trial.value)


def _run(job: Job, workers: int, queue: TrialQueue, view: View) -> None:
    running = dict[Connection, BaseProcess]()
    deaths, looked = 0, time.monotonic()
    view.refresh()
    view.failed = []  # those of earlier commands
    try:
        for _ in range(workers):
            start(partial(work, job), running)
        while running:
            for ready in wait(list(running), POLL_INTERVAL):
                connection = cast("Connection", ready)
                try:
                    kind, value = receive(connection, running[connection])
                except WorkerError as error:
                    trials = queue.of_process(cast("int", running.pop(connection).pid))
                    queue.give_up(trials, str(error))
                    deaths += not trials
                    if deaths >= DEATHS * workers:
                        raise
                    start(partial(work, job), running)
                    continue
                if kind == "error":
                    raise value
                if kind == "result":
                    running.pop(connection).join()
            if time.monotonic() - looked >= POLL_INTERVAL or not running:
                looked = time.monotonic()
                deaths = 0 if view.refresh() else deaths
                if len(view.failed) >= min(FAILURES, queue.count):
                    raise CommandError(
                        f"{len(view.failed)} trials in a row failed, the last one: {reason(view.failed[-1])}"
                    )
    finally:
        for process in running.values():
            process.kill()
