"""An experiment: studies of one or several models, each with a run folder, and what a person gets of them.

<log_dir>/<name>/study.json, results.json, results.png
<log_dir>/<name>/<model>/            TensorBoard events, config.yaml, checkpoint.ckpt, mistakes.npz;
                                     *.part until it is done
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from rich.console import Console

from lightning_modules.cli import CommandError, command_line
from lightning_modules.execution import Choice
from lightning_modules.figures import mistakes_figure, results_figure, write_figure
from lightning_modules.folder import choose_folder, make_run_folder
from lightning_modules.measuring import Fit
from lightning_modules.options import Settings
from lightning_modules.progress import StudyProgress
from lightning_modules.protocol import Study, make_trainer, quiet, run_study
from lightning_modules.recipes import MODULES, parts
from lightning_modules.record import Record, device_name, opened
from lightning_modules.results import (
    ModelRuns,
    PaperFigure,
    read_results,
    refuse_diverged,
    results_table,
    write_results,
)
from lightning_modules.studies import make_study, team_of
from lightning_modules.study_log import EpochFigures, StudyLog


@dataclass
class Experiment:
    """Which models to train, how, and where to put what comes out."""

    models: Mapping[str, Mapping[str, Any]]  # model to its settings, alike for all runs
    recipe: str
    seeds: list[int]
    data: Callable[..., pl.LightningDataModule]  # called with seeds and the model's settings of data
    trainer: Mapping[str, Any]  # arguments of pl.Trainer, max_epochs among them
    choice: Choice
    log_dir: Path
    name: str | None  # None: a unique one
    config: Mapping[str, Any]  # the settings as a person gave them
    paper: Mapping[str, PaperFigure]  # model to figures to show beside ours; none where they do not compare
    all_pairs: bool = False
    verbose: bool = False
    resume: bool = False  # go on with the study of this name
    checkpoint_every: float = 10.0  # seconds
    remark: str = ""  # what was chosen for the machine, and a person should know
    finished: list[ModelRuns] = field(default_factory=list, init=False)
    main_process: bool = field(default=True, init=False)  # the only one that writes and speaks
    command: str = field(default="", init=False)  # that began it

    def run(self) -> None:
        """Train and test all models; write and show the results, also of an interrupted experiment.

        Raises:
            CommandError: A setting is refused, nothing was written; or something failed later.
            ValueError: A setting is refused.
            OSError: The folder cannot be written, or the data cannot be read.
        """
        if not self.verbose:
            quiet()
        self.folder = choose_folder(self.log_dir, self.name)
        trainer = self._check()
        self.console = Console(quiet=not self.main_process)
        studies = {model: self._study(model) for model in self.models}  # refuses before anything is written
        if not self.main_process:
            self._run_models(studies)
            return
        programs = {model: study.division() for model, study in studies.items()}
        now = Record(command_line(), self.config, device_name(trainer), programs)
        with opened(self.folder, now, self.resume) as begun:
            self.command, self.config = begun.command, begun.config
            left = self._left(studies, begun, trainer.world_size == 1)
            if self.remark:
                self.console.print(self.remark, soft_wrap=True)
            try:
                self._run_models(left)
            except (KeyboardInterrupt, CommandError, OSError):
                self.console.print(f"to go on, add --name {self.folder.name} --resume")
                raise
            finally:
                if self.finished:
                    self._conclude()
            refuse_diverged(self.finished)

    def _left(self, studies: Mapping[str, Study], begun: Record, resumable: bool) -> dict[str, Study]:
        """What is to be done; refuses a torn file before anything is."""
        self.finished += read_results(self.folder / "results.json")
        left = {}
        for model, study in studies.items():
            owner = f"{begun.study} {model}" if resumable else None
            as_begun = replace(study, sizes=begun.programs[model], owner=owner)
            if any(model == results.model for results in self.finished):
                as_begun.clear()  # killed after its results were written, before this was done
                continue
            for chunk in as_begun.chunks():
                if chunk.file:
                    chunk.file.read()
            left[model] = as_begun
        return left

    def _run_models(self, studies: Mapping[str, Study]) -> None:
        if not studies:
            return
        epochs = self.trainer["max_epochs"] * len(self.seeds)
        trainings = [model for model, study in studies.items() for _ in range(study.team.size)]
        with StudyProgress(self.console, trainings, epochs) as progress:
            for model, study in studies.items():
                self._run_model(model, study, progress)

    def _check(self) -> pl.Trainer:
        """Make once what the studies will make, to refuse wrong settings before anything is written."""
        if self.resume and self.name is None:
            raise CommandError("resume needs the name of the study to go on with; give --name")
        try:
            trainer = make_trainer(self.trainer)
        except (MisconfigurationException, ImportError, ValueError, RuntimeError, TypeError) as error:
            raise CommandError(str(error)) from error
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            raise CommandError(
                f"strategy must start programs of their own, as ddp does, not fork this one;"
                f" got {self.trainer['strategy']}"
            )
        if self.resume and trainer.world_size > 1:
            raise CommandError(f"resume goes on with one process, but there are {trainer.world_size}")
        if self.all_pairs and trainer.world_size > 1:
            raise CommandError("all_pairs are tested by one process, but there are several")
        for model, settings in self.models.items():
            replica, common, data_settings = parts(settings)
            MODULES[model](seed=self.seeds[0], **replica, **common)
            team_of(settings)
            data = self.data(seed=self.seeds, **data_settings)
        data.trainer = trainer
        data.setup("fit")
        data.train_dataloader()
        self.main_process = trainer.is_global_zero
        return trainer

    def _study(self, model: str) -> Study:
        return make_study(
            model,
            self.models[model],
            self.seeds,
            self.data,
            self.trainer,
            self.choice,
            all_pairs=self.all_pairs,
            checkpoint=self.folder / model / "checkpoint.ckpt",
            checkpoint_every=self.checkpoint_every,
            verbose=self.verbose,
        )

    def _run_model(self, model: str, study: Study, progress: StudyProgress) -> None:
        settings = self.models[model]
        if self.verbose:
            self.console.print(f"{model}: {study.execution}")
        if not self.main_process:
            run_study(study, lambda first, figures: None)
            return
        config = dict(self.config) | {"model": model}
        config |= {name: settings.get(name, config.get(name)) for name in Settings.__annotations__}
        run_folder = make_run_folder(self.folder, model, config)
        log = StudyLog(run_folder, len(self.seeds) * study.team.size, anew=self.resume)

        def on_epoch(first: int, figures: EpochFigures) -> None:
            log.add(first * study.team.size, figures)
            progress.add(model, figures)

        fit = run_study(study, on_epoch)
        self.finished.append(ModelRuns(model, self.recipe, fit.runs))
        try:
            self._log_results(log, fit, settings)
            if fit.mistakes:
                fit.mistakes.write(self.folder / model / "mistakes.npz")
        except Exception:  # a log that cannot be written does not cost the figures
            self._write_results()
            raise
        self._write_results()  # says that the model is done, and so is done last
        study.clear()
        if fit.unsaved:
            raise CommandError(
                f"{study.checkpoint} could not be written: {fit.unsaved}; the results are kept"
            )

    def _write_results(self) -> None:
        write_results(self.folder / "results.json", self.finished, self.command, self.config)

    def _log_results(self, log: StudyLog, fit: Fit, settings: Mapping[str, Any]) -> None:
        results = self.finished[-1]
        hparams = results.hparams(settings, self.config)
        log.add_runs({"test/error": results.errors()})
        figures = {"test/mistakes": mistakes_figure(fit.mistakes)} if fit.mistakes else {}
        log.finish(hparams, results.metrics(), figures)

    def _conclude(self) -> None:
        self.console.print(results_table(self.finished, self.paper))
        errors = {results.model: results.errors() for results in self.finished}
        counts = {results.model: results.count for results in self.finished}
        write_figure(self.folder / "results.png", results_figure(errors, self.paper, self.command, counts))
        self.console.print(f"{self.folder}: results.json, results.png, and a run folder a model")
        self.console.print(f"tensorboard --logdir {self.log_dir}")
