"""One start of the command: it creates or resumes a study, runs its trials, and writes its files."""

import time
from dataclasses import dataclass, replace

import optuna
from optuna.storages import RDBStorage

from lightning_modules.command.atomic_io import check_folder, make_folder
from lightning_modules.command.cli import CommandError
from lightning_modules.command.console import make_console
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import asked_trainer, quiet
from lightning_modules.training.workers import check_start
from tune.fit.digit_pairs import check
from tune.report.report import conclude
from tune.study.definition import Definition, choose_trials_per_fit
from tune.study.queue import TrialQueue
from tune.study.settings import TuneFlags
from tune.study.storage import FILE, StudyStorage, clear_errors
from tune.workers.supervisor import supervise
from tune.workers.worker import Job

TOP = 10  # trials in the final table


@dataclass
class Run:
    """One start of the command."""

    flags: TuneFlags
    definition: Definition
    storage: StudyStorage

    def run(self) -> None:
        """Run the missing trials of the study, then show it and write its files.

        Raises:
            CommandError: A setting is refused, the study is another one, or the storage cannot be used.
            ValueError: A setting is refused.
        """
        optuna.logging.set_verbosity(optuna.logging.INFO if self.flags.verbose else optuna.logging.ERROR)
        if not self.flags.verbose:
            quiet()
        check_folder(self.storage.folder, "log_dir")
        workers, whole = self._machine()
        check(self.definition)
        trials_per_fit = choose_trials_per_fit(self.definition, self.flags.n_trials, workers, whole)
        check_start()
        if self.storage.embedded:
            make_folder(self.storage.folder, anew=False)
        database = self.storage.open()
        make_folder(self.storage.folder, anew=False)
        with clear_errors(self.storage):
            _refuse_renamed(self.flags.name, self.storage, database)
            study = optuna.create_study(
                study_name=self.flags.name, storage=database, direction="minimize", load_if_exists=True
            )
            wanted = replace(self.definition, trials_per_fit=trials_per_fit)
            definition = wanted.create_or_match(study, optuna.__version__)
            try:
                self._run_missing(study, database, definition, workers)
            finally:
                conclude(study, self.storage.folder, make_console(), TOP)

    def _machine(self) -> tuple[int, bool]:
        """Workers, and whether one program computes everything."""
        accelerator = "cpu" if self.definition.model == "disc" else self.flags.accelerator
        trainer = asked_trainer({"accelerator": accelerator, "devices": 1, "max_epochs": 1})
        execution = ExecutionConfig(workers=self.flags.workers).resolve(
            trainer, self.definition.points(self.flags.n_trials)
        )
        return execution.workers, trainer.strategy.root_device.type != "cpu"

    def _run_missing(
        self, study: optuna.Study, database: RDBStorage, definition: Definition, workers: int
    ) -> None:
        count, console = definition.points(self.flags.n_trials), make_console()
        queue = TrialQueue(study, database, definition, count)
        left = queue.remaining()
        if not left:
            what = "points of the grid" if definition.sampler == "grid" else "trials"
            console.print(f"nothing is left to run: all {count} {what} of {self.flags.name} are finished")
            return
        if left < count:
            console.print(f"going on with {self.flags.name}: {count - left} of {count} trials are finished")
        until = None if self.flags.timeout is None else time.monotonic() + self.flags.timeout
        job = Job(self.storage, self.flags.name, count, self.flags.accelerator, until)
        supervise(job, min(workers, left), queue, console)


def _refuse_renamed(name: str, storage: StudyStorage, database: RDBStorage) -> None:
    """Refuse the file of another study: its folder was renamed, and a new study would begin in it."""
    held = optuna.get_all_study_names(database)
    if storage.embedded and held and name not in held:
        raise CommandError(
            f"{storage} holds the study {', '.join(held)}, not {name}: give its folder that name again"
        )


def find(name: str, storage: StudyStorage) -> optuna.Study:
    """An existing study."""
    missing = CommandError(f"there is no study {name} in {storage}; `python -m tune --study_name` begins one")
    if storage.embedded and not (storage.folder / FILE).exists():
        raise missing
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with clear_errors(storage):
        database = storage.open()
        _refuse_renamed(name, storage, database)
        try:
            study = optuna.load_study(study_name=name, storage=database)
        except KeyError as error:
            raise missing from error
        Definition.of(study)
        return study
