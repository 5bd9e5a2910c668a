"""A study from its command line to its files."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import optuna
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning_modules.command.atomic_io import make_folder
from lightning_modules.command.cli import CommandError
from lightning_modules.command.console import make_console
from lightning_modules.training.execution import Choice
from lightning_modules.training.runner import make_trainer, quiet
from lightning_modules.training.workers import check_start
from tune.fit.digit_pairs import check
from tune.report.report import conclude
from tune.study.definition import Definition, choose_together
from tune.study.points import Points
from tune.study.storage import FILE, Place, clear_errors
from tune.workers.supervisor import supervise
from tune.workers.worker import Job

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import RDBStorage

TOP = 10  # trials in the final table


@dataclass
class Run:
    """One start of the command."""

    definition: Definition
    name: str
    place: Place
    n_trials: int | None
    workers: int | None
    accelerator: str
    timeout: float | None
    log_dir: Path
    verbose: bool

    def run(self) -> None:
        """Run what is missing of the study, then show it and write its files.

        Raises:
            CommandError: A setting is refused, the study is another one, or the storage cannot be used.
            ValueError: A setting is refused.
        """
        optuna.logging.set_verbosity(optuna.logging.INFO if self.verbose else optuna.logging.ERROR)
        if not self.verbose:
            quiet()
        workers, whole = self._machine()
        check(self.definition)
        together = choose_together(self.definition, self.n_trials, workers, whole)
        check_start()
        if self.place.embedded:
            make_folder(self.place.folder, anew=False)
        storage = self.place.open()
        make_folder(self.place.folder, anew=False)
        with clear_errors(self.place):
            study = optuna.create_study(
                study_name=self.name, storage=storage, direction="minimize", load_if_exists=True
            )
            definition = replace(self.definition, together=together).enter(study, optuna.__version__)
            try:
                self._fill(study, storage, definition, workers)
            finally:
                conclude(study, self.place.folder, make_console(), TOP)

    def _machine(self) -> tuple[int, bool]:
        """Workers, and whether one program computes everything."""
        accelerator = "cpu" if self.definition.model == "disc" else self.accelerator
        try:
            trainer = make_trainer({"accelerator": accelerator, "devices": 1, "max_epochs": 1})
        except (MisconfigurationException, ValueError) as error:
            raise CommandError(str(error)) from error
        execution = Choice(workers=self.workers).on(trainer, self.definition.points(self.n_trials))
        return execution.workers, trainer.strategy.root_device.type != "cpu"

    def _fill(self, study: optuna.Study, storage: RDBStorage, definition: Definition, workers: int) -> None:
        count, console = definition.points(self.n_trials), make_console()
        points = Points(study, storage, definition, count)
        left = points.remaining()
        if not left:
            what = "points of the grid" if definition.sampler == "grid" else "trials"
            console.print(f"nothing is left to run: all {count} {what} of {self.name} are finished")
            return
        if left < count:
            console.print(f"going on with {self.name}: {count - left} of {count} trials are finished")
        until = None if self.timeout is None else time.monotonic() + self.timeout
        job = Job(self.place, self.name, count, self.accelerator, until)
        supervise(job, min(workers, left), points, console)


def find(name: str, place: Place) -> optuna.Study:
    """An existing study.

    Args:
        name: Its name.
        place: Where its state lies.

    Raises:
        CommandError: There is none.
    """
    missing = CommandError(f"there is no study {name} in {place}; `python -m tune --study_name` begins one")
    if place.embedded and not (place.folder / FILE).exists():
        raise missing
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with clear_errors(place):
        try:
            study = optuna.load_study(study_name=name, storage=place.open())
        except KeyError as error:
            raise missing from error
        Definition.of(study)
        return study
