"""The command's own process: starts workers, replaces those that die, and shows how far the study is."""

from __future__ import annotations

import time
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

from lightning_modules.progress import progress_bar
from lightning_modules.results import percent
from lightning_modules.workers import WorkerError, receive, start
from tune.chunk import STD
from tune.points import is_finished, standing
from tune.worker import work

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    import optuna
    from rich.console import Console
    from rich.progress import Progress

    from tune.definition import Definition
    from tune.worker import Job

LOOK = 1.0  # seconds between two looks at the storage
DEATHS = 3  # of each worker, without a trial finished in between, before it is given up


def supervise(job: Job, workers: int, study: optuna.Study, definition: Definition, console: Console) -> None:
    """Run a study's points in worker processes.

    Args:
        job: What the workers do.
        workers: Their number.
        study: The study, to look at.
        definition: Its definition.
        console: Where to show it.

    Raises:
        WorkerError: Workers die, and no trial is finished any more.
        Exception: What a worker raised.
    """
    with progress_bar(console) as bar:
        view = View(bar, study, definition, job.count)
        _run(partial(work, job), workers, view.look)


class View:
    """The progress bar: epochs of all points, trials, and the best so far."""

    def __init__(self, bar: Progress, study: optuna.Study, definition: Definition, count: int) -> None:
        """Start the bar.

        Args:
            bar: Where to draw.
            study: What to look at.
            definition: Its definition.
            count: Its points.
        """
        self.bar, self.study, self.definition, self.count = bar, study, definition, count
        self.task = bar.add_task("starting", total=count * definition.max_epochs)

    def look(self) -> int:
        """Draw what the storage says; return the number of finished trials."""
        stand = standing(self.study.get_trials(deepcopy=False))
        trials = [trial for point, trial in stand.items() if point < self.count]
        done = [trial for trial in trials if is_finished(trial)]
        epochs = len(done) * self.definition.max_epochs
        epochs += sum(trial.last_step or 0 for trial in trials if not trial.state.is_finished())
        self.bar.update(self.task, description=self._text(done), completed=epochs)
        return len(done)

    def _text(self, done: list[optuna.trial.FrozenTrial]) -> str:
        text = f"{self.definition.model}: {len(done)} of {self.count} trials"
        scored = [trial for trial in done if trial.state.name == "COMPLETE" and trial.value is not None]
        if not scored:
            return text
        best = min(scored, key=lambda trial: cast("float", trial.value))
        assert best.value is not None
        return f"{text}, best {percent(best.value, best.user_attrs.get(STD))} % (trial {best.number})"


def _run(job: Callable[..., None], workers: int, look: Callable[[], int]) -> None:
    running: dict[Connection, BaseProcess] = dict(start(job) for _ in range(workers))
    finished, deaths, looked = look(), 0, time.monotonic()
    try:
        while running:
            for ready in wait(list(running), LOOK):
                connection = cast("Connection", ready)
                try:
                    kind, value = receive(connection, running[connection])
                except WorkerError:
                    del running[connection]
                    deaths += 1
                    if deaths >= DEATHS * workers:
                        raise
                    running |= [start(job)]
                    continue
                if kind == "error":
                    raise value
                if kind == "result":
                    running.pop(connection).join()
            if time.monotonic() - looked >= LOOK or not running:
                looked = time.monotonic()
                if (now := look()) > finished:
                    finished, deaths = now, 0
    finally:
        for process in running.values():
            process.kill()
