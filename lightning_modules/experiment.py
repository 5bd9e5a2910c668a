"""An experiment: studies of one or several models, each with a run folder, and what a person gets of them.

<log_dir>/<name>/results.json, results.png
<log_dir>/<name>/<model>/            TensorBoard events, config.yaml, checkpoint.ckpt, mistakes.npz
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from rich.console import Console

from lightning_modules.cli import CommandError, command_line
from lightning_modules.execution import Choice
from lightning_modules.figures import mistakes_figure, results_figure
from lightning_modules.folder import choose_folder, make_folder, make_run_folder
from lightning_modules.options import Settings
from lightning_modules.progress import StudyProgress
from lightning_modules.protocol import Fit, make_trainer, quiet, run_study
from lightning_modules.recipes import MODULES, parts
from lightning_modules.results import ModelRuns, PaperFigure, results_table, write_results
from lightning_modules.studies import make_study, team_of
from lightning_modules.study_log import EpochFigures, StudyLog
from lightning_modules.teams import Team


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
    finished: list[ModelRuns] = field(default_factory=list, init=False)
    main_process: bool = field(default=True, init=False)  # the only one that writes and speaks

    def run(self) -> None:
        """Train and test all models; write and show the results, also of an interrupted experiment.

        Raises:
            CommandError: A setting is refused; nothing was written.
            ValueError: Likewise.
            OSError: The folder cannot be written, or the data cannot be read.
        """
        if not self.verbose:
            quiet()
        trainer = self._check()
        self.choice.on(trainer, len(self.seeds))  # refuses before anything is written
        self.folder = choose_folder(self.log_dir, self.name)
        if self.main_process:
            make_folder(self.folder)
        self.console = Console(quiet=not self.main_process)
        epochs = self.trainer["max_epochs"] * len(self.seeds)
        trainings = [model for model, settings in self.models.items() for _ in range(team_of(settings).size)]
        try:
            with StudyProgress(self.console, trainings, epochs) as progress:
                for model, settings in self.models.items():
                    self._run_model(model, settings, progress)
        finally:
            if self.finished:
                self._conclude()

    def _check(self) -> pl.Trainer:
        """Make once what the studies will make, to refuse wrong settings before anything is written."""
        try:
            trainer = make_trainer(self.trainer)
        except (MisconfigurationException, ImportError, ValueError, RuntimeError, TypeError) as error:
            raise CommandError(str(error)) from error
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            raise CommandError(
                f"strategy must start programs of their own, as ddp does, not fork this one;"
                f" got {self.trainer['strategy']}"
            )
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

    def _run_model(self, model: str, settings: Mapping[str, Any], progress: StudyProgress) -> None:
        study = make_study(
            model,
            settings,
            self.seeds,
            self.data,
            self.trainer,
            self.choice,
            all_pairs=self.all_pairs,
            checkpoint=self.folder / model / "checkpoint.ckpt",
            verbose=self.verbose,
        )
        if self.verbose:
            self.console.print(f"{model}: {study.execution}")
        if not self.main_process:
            run_study(study, lambda first, figures: None)
            return
        config = dict(self.config) | {"model": model}
        config |= {name: settings.get(name, config.get(name)) for name in Settings.__annotations__}
        log = StudyLog(make_run_folder(self.folder, model, config), len(self.seeds) * study.team.size)

        def on_epoch(first: int, figures: EpochFigures) -> None:
            log.add(first * study.team.size, figures)
            progress.add(model, figures)

        fit = run_study(study, on_epoch)
        self.finished.append(ModelRuns(model, self.recipe, fit.runs))
        write_results(self.folder / "results.json", self.finished, command_line(), self.config)
        self._log_results(log, fit, settings, study.team)
        if fit.counted:
            fit.counted.write(self.folder / model / "mistakes.npz")
        if fit.unsaved:
            raise CommandError(
                f"{study.checkpoint} could not be written: {fit.unsaved}; the results are kept"
            )

    def _log_results(self, log: StudyLog, fit: Fit, settings: Mapping[str, Any], team: Team) -> None:
        results = self.finished[-1]
        hparams = results.hparams(settings, self.config)
        # A run's error stands for each of its members: the log has as many curves as there are trainings.
        tested = {"test/error": [run.test_error for run in fit.runs for _ in range(team.size)]}
        log.add(0, EpochFigures(self.trainer["max_epochs"], log.step, tested))
        log.finish(hparams, results.metrics(), {"test/mistakes": mistakes_figure(fit.mistakes)})

    def _conclude(self) -> None:
        self.console.print(results_table(self.finished, self.paper))
        errors = {result.model: [run.test_error for run in result.runs] for result in self.finished}
        results_figure(errors, self.paper, command_line()).savefig(self.folder / "results.png", dpi=130)
        self.console.print(f"{self.folder}: results.json, results.png, and a run folder a model")
        self.console.print(f"tensorboard --logdir {self.log_dir}")
