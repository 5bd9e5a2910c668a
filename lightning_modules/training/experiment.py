"""Experiment: the studies of one or several models, their run folders, and the files that they leave.

<log_dir>/<name>/study.json, results.json, results.png; .claims where ranks shared it
<log_dir>/<name>/<model>/            TensorBoard events, config.yaml, checkpoint.ckpt, mistakes.npz;
                                     *.part until it is done
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher

from lightning_modules.command.atomic_io import check_new_folder, choose_folder, make_run_folder
from lightning_modules.command.cli import CommandError, command_line, set_rank
from lightning_modules.command.console import make_console
from lightning_modules.evaluation.evaluate import Fit
from lightning_modules.evaluation.mistakes_figure import mistakes_figure
from lightning_modules.models.registry import MODULES
from lightning_modules.models.settings import DATA, TRAINER, PairSettings
from lightning_modules.results.figures import results_figure, write_figure
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.provenance import DigitData, data_digest
from lightning_modules.results.reading import read_results
from lightning_modules.results.runs import ModelRuns, refuse_diverged, write_results
from lightning_modules.results.table import PaperFigure, results_table
from lightning_modules.results.tensorboard import EpochMetrics, StudyLog
from lightning_modules.training.dashboard import log_net, log_text
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.manifest import Manifest, check_begun, device_name, join_study, open_study
from lightning_modules.training.ranks import Ranks, find_ranks
from lightning_modules.training.runner import Study, asked_trainer, quiet, run_studies
from lightning_modules.training.sharing import share
from lightning_modules.training.studies import make_study
from lightning_modules.training.workers import check_start

CLAIMS = ".claims"


@dataclass
class Experiment:
    """Which models to train, how, and where the results go."""

    models: Mapping[str, PairSettings]  # model to its settings, alike for all runs
    recipe: str
    seeds: list[int]
    data: Callable[..., pl.LightningDataModule]  # called with seeds and the settings of data
    trainer: Mapping[str, Any]  # arguments of pl.Trainer but max_epochs, which is the model's
    execution: ExecutionConfig
    log_dir: Path
    name: str | None  # None: a unique one
    config: Mapping[str, Any]  # the flags as the user gave them
    paper: Mapping[str, PaperFigure]  # errors in the paper, to show beside ours where they compare
    all_pairs: bool = False
    verbose: bool = False
    resume: bool = False  # resume the study of this name
    checkpoint_every: float = 10.0  # seconds
    remark: str = ""  # what was chosen for the machine, to tell the user
    finished: list[ModelRuns] = field(default_factory=list, init=False)
    saved_epochs: dict[tuple[str, int], int] = field(
        default_factory=dict, init=False
    )  # epochs by model, first run
    logs: dict[str, StudyLog] = field(default_factory=dict, init=False)  # by model, once it has trained
    posteriors: dict[str, dict[int, str]] = field(
        default_factory=dict, init=False
    )  # by model and the number of epochs before them
    main_process: bool = field(default=True, init=False)  # which alone writes and prints
    ranks: Ranks | None = field(default=None, init=False)  # who share the runs, if several do
    command: str = field(default="", init=False)  # that began the study

    def run(self) -> None:
        """Train and test all models; write and show the results, also of an interrupted experiment.

        Raises:
            CommandError: A setting is refused, nothing was written; or something failed later.
            ValueError: A setting is refused.
            OSError: The folder cannot be written, or the data cannot be read.
        """
        if not self.verbose:
            quiet()
        trainer, data = self._check()
        self.digits = cast("DigitData", data)
        job = self.ranks.job if self.ranks else None
        self.folder = choose_folder(self.log_dir, self.name or job)
        if self.resume:
            check_begun(self.folder)
        elif self.main_process and not job:  # else another process may have made it
            check_new_folder(self.folder)
        resumable = trainer.world_size == 1
        self.console = make_console(quiet=not self.main_process)
        studies = {model: self._study(model) for model in self.models}  # refuses before anything is written
        if not self.main_process and not self.ranks:
            self._run_models(studies)
            return
        starts = self.ranks.devices if self.ranks else ()
        if starts or any(study.execution.workers > 1 for study in studies.values()):
            check_start()
        now = self._manifest(trainer, studies, job)
        if not self.main_process:
            begun = join_study(self.folder, now, self.resume)
            self._run_models(self._left(studies, begun, resumable), begun)
            return
        with open_study(self.folder, now, self.resume, shared=bool(job)) as begun:
            self._run_begun(begun, self._left(studies, begun, resumable), resumable)

    def _manifest(self, trainer: pl.Trainer, studies: Mapping[str, Study], job: str | None) -> Manifest:
        """What this study would be begun with; `job` is its name where ranks were started together."""
        shards = {model: study.divide() for model, study in studies.items()}
        device, digest = device_name(trainer), data_digest(self.digits)
        now = Manifest(command_line(), self.config, device, trainer.world_size, shards, digest)
        return replace(now, study=job) if job else now

    def _run_begun(self, begun: Manifest, left: Mapping[str, Study], resumable: bool) -> None:
        """Run what is left of a study, as the process that writes and prints."""
        self.command, self.config = begun.command, begun.config
        if self.remark:
            self.console.print(self.remark)
        if self.ranks:
            shards = [runs for sizes in begun.shards.values() for runs in sizes]
            self.console.print(self.ranks.describe(shards))
        try:
            self._run_models(left, begun)
        except BaseException:  # whatever it was: what is finished or saved is not lost
            if resumable:
                self.console.print(f"to go on, add --name {quote(self.folder.name)} --resume")
            raise
        finally:
            if self.finished:
                self._conclude()
        refuse_diverged(self.finished)

    def _left(self, studies: Mapping[str, Study], begun: Manifest, resumable: bool) -> dict[str, Study]:
        """The studies that are not finished; a torn file is refused before anything is computed."""
        self.finished += read_results(self.folder / "results.json")
        left = {}
        for model, study in studies.items():
            study_id = f"{begun.study} {model}" if resumable else None
            as_begun = replace(study, shard_sizes=begun.shards[model], study_id=study_id)
            if any(model == results.model for results in self.finished):
                as_begun.clear()  # killed after its results were written, before this was done
                continue
            for part in as_begun.shards():
                self.saved_epochs[model, part.first] = len(part.shard.read().metrics) if part.shard else 0
            left[model] = as_begun
        return left

    def _run_models(self, studies: Mapping[str, Study], begun: Manifest | None = None) -> None:
        if not studies:
            return
        epochs = max(settings.max_epochs for settings in self.models.values())
        replicas = {model: len(self.seeds) * study.ensembling.size for model, study in studies.items()}
        with StudyProgress(self.console, replicas, epochs) as progress:
            if self.ranks and begun:
                self._share(self.ranks, studies, begun, progress)
                if not self.main_process:
                    return
            self._run_in_turn(studies, progress)

    def _run_in_turn(self, studies: Mapping[str, Study], progress: StudyProgress) -> None:
        """Train all models here or in worker processes, and write what is left of each when it is done."""

        def on_epoch(model: str, first: int, metrics: EpochMetrics) -> None:
            if self.main_process:
                self._log(model, studies[model]).add(first * studies[model].ensembling.size, metrics)
                if metrics.posteriors:
                    self.posteriors.setdefault(model, {})[metrics.epoch] = metrics.posteriors
                if not self.ranks:  # else it was shown while it was trained
                    self._show(progress, model, studies[model], first, metrics)

        if self.verbose:
            for model, study in studies.items():
                self.console.print(f"{model}: {study.execution}")
        with closing(run_studies(studies, on_epoch)) as fits:
            for model, fit in fits:
                if self.main_process:
                    self._finish(model, studies[model], fit)

    def _show(
        self, progress: StudyProgress, model: str, study: Study, first: int, metrics: EpochMetrics
    ) -> None:
        kept = metrics.epoch < self.saved_epochs[model, first]
        progress.add(model, first * study.ensembling.size, metrics, kept)

    def _share(
        self, ranks: Ranks, studies: Mapping[str, Study], begun: Manifest, progress: StudyProgress
    ) -> None:
        """Train the shards of all models on all ranks, so that their files hold the results."""
        shards, models, number = dict[int, Study](), dict[int, str](), 0
        for model, sizes in begun.shards.items():
            if model in studies:
                own = dict(enumerate(studies[model].shards(), number))
                shards |= own
                models |= dict.fromkeys(own, model)
            number += len(sizes)  # a finished model keeps its numbers

        def report(number: int, metrics: EpochMetrics) -> None:
            self._show(progress, models[number], shards[number], shards[number].first, metrics)

        share(shards, self.folder / CLAIMS, ranks, report)

    def _check(self) -> tuple[pl.Trainer, pl.LightningDataModule]:
        """Make once what the studies will make, to refuse wrong settings before anything is written."""
        if self.resume and self.name is None:
            raise CommandError("resume needs the name of the study to go on with; give --name")
        if ranks := find_ranks(self.trainer):
            self.ranks, self.trainer = ranks, ranks.trainer
        trainer = asked_trainer({**next(iter(self.models.values())).taken_by(TRAINER), **self.trainer})
        set_rank(self.ranks.rank if self.ranks else trainer.global_rank)
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            raise CommandError(
                f"strategy must start programs of their own, as ddp does, not fork this one;"
                f" got {self.trainer['strategy']}"
            )
        if self.resume and trainer.world_size > 1:
            raise CommandError(
                f"resume goes on with one process, but there are {trainer.world_size}: give --devices 1 and"
                " --num_nodes 1 if the study was begun so; one of several processes must be started anew"
            )
        if self.all_pairs and trainer.world_size > 1:
            raise CommandError("all_pairs are tested by one process, but there are several")
        for model, settings in self.models.items():
            MODULES[model].from_settings(settings, self.seeds[0])
            data = self.data(seed=self.seeds, **settings.taken_by(DATA))
        data.trainer = trainer
        data.setup("fit")
        for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
            loader()  # refuses numbers of pairs
        self.main_process = self.ranks.rank == 0 if self.ranks else trainer.is_global_zero
        return trainer, data

    def _study(self, model: str) -> Study:
        return make_study(
            self.models[model],
            self.seeds,
            self.data,
            self.trainer,
            self.execution,
            shared=self.ranks is not None,
            all_pairs=self.all_pairs,
            checkpoint=self.folder / model / "checkpoint.ckpt",
            checkpoint_every=self.checkpoint_every,
            verbose=self.verbose,
            notes_posteriors=True,
        )

    def _log(self, model: str, study: Study) -> StudyLog:
        """The log of a model, which is begun at its first epoch."""
        if model not in self.logs:
            config = {**self.config, "model": model, **self.models[model].as_flags()}
            run_folder = make_run_folder(self.folder, model, config)
            replicas = len(self.seeds) * study.ensembling.size
            self.logs[model] = StudyLog(run_folder, replicas, anew=self.resume)
        return self.logs[model]

    def _finish(self, model: str, study: Study, fit: Fit) -> None:
        """Write the results of a model."""
        self.finished.append(ModelRuns(model, self.recipe, fit.runs))
        try:
            self._log_results(
                self._log(model, study), study, fit, self.models[model], self.posteriors.get(model, {})
            )
            if fit.mistakes:
                fit.mistakes.write(self.folder / model / "mistakes.npz")
        except Exception:  # a log that cannot be written does not cost the results
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

    def _log_results(
        self, log: StudyLog, study: Study, fit: Fit, settings: PairSettings, posteriors: Mapping[int, str]
    ) -> None:
        results = self.finished[-1]
        hparams = results.hparams(asdict(settings), {**self.config, **asdict(settings)})
        log.add_runs(results.tagged())
        log_text(log, self.command)
        if study.checkpoint and not fit.unsaved:
            log_net(log, study.checkpoint, self.digits, posteriors, settings.max_epochs)
        figures = {"test/mistakes": mistakes_figure(fit.mistakes)} if fit.mistakes else {}
        log.finish(hparams, results.metrics(), figures)

    def _conclude(self) -> None:
        errors = {results.model: results.errors() for results in self.finished}
        counts = {results.model: results.count for results in self.finished}
        write_figure(self.folder / "results.png", results_figure(errors, self.paper, self.command, counts))
        self.console.print(results_table(self.finished, self.paper))  # last: a console may fail, too
        self.console.print(f"{self.folder}: results.json, results.png, and a run folder a model")
        self.console.print(f"tensorboard --logdir {quote(str(self.log_dir))}")
