"""An experiment on pairs of digits: R runs of one net, their results, and the run folder.

<log_dir>/<name>/results.json, results.png
<log_dir>/<name>/<net>/             TensorBoard events, config.yaml, checkpoint.pt

Names, keys and tags are those of ``train.py``, so that its curves and these lie in one dashboard.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from shlex import quote
from typing import Any

import torch
from rich.console import Console

from lightning_modules.command.atomic_io import check_new_folder, choose_folder, make_folder, make_run_folder
from lightning_modules.command.cli import command_line
from lightning_modules.command.console import make_console
from lightning_modules.replicas.checkpoints import save_checkpoint
from lightning_modules.results.figures import results_figure, write_figure
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.runs import ModelRuns, refuse_diverged, write_results
from lightning_modules.results.table import PaperFigure, results_table
from lightning_modules.results.tensorboard import EpochMetrics, StudyLog
from lightning_modules.training.execution import divide
from lightning_modules.training.workers import check_start, run_jobs, threads
from scratch_framework.experiments.digits.training import Fit, Training


@dataclass
class Experiment:
    """Settings of an experiment; `run` trains, tests and writes."""

    training: Training  # of all runs
    workers: int  # processes
    replicas: int  # at most so many runs in one program
    log_dir: str
    name: str | None
    config: Mapping[str, Any]  # all settings by the names of their flags
    paper: Mapping[str, PaperFigure]  # errors in the paper, to show beside ours where they compare

    def run(self) -> None:
        """Train and test all runs; write and show the results.

        Raises:
            CommandError: A setting is refused, nothing was written; or only the checkpoint could not be.
            ValueError: A setting is refused.
            OSError: The folder cannot be written.
        """
        net, seeds = self.training.net, self.training.seeds
        self.folder = choose_folder(self.log_dir, self.name)
        check_new_folder(self.folder)
        if self.workers > 1:
            check_start()
        make_folder(self.folder)
        self.run_folder = make_run_folder(self.folder, net, self.config)
        log, console = StudyLog(self.run_folder, len(seeds)), make_console()
        with closing(log):  # an interrupted training keeps its curves
            with StudyProgress(console, {net: len(seeds)}, self.training.max_epochs) as progress:
                fits = self._fit(log, progress)
            results = ModelRuns(net, "paper", [run for fit in fits for run in fit.runs])
            write_results(self.folder / "results.json", [results], command_line(), self.config)
            log.finish(results.hparams(self.training.settings, self.config), results.metrics(), {})
        figure = results_figure({net: results.errors()}, self.paper, command_line(), {net: results.count})
        try:
            write_figure(self.folder / "results.png", figure)
            self._save(fits)  # last: a full disk costs nothing else
        finally:
            self._conclude(console, results)
        refuse_diverged([results])

    def _fit(self, log: StudyLog, progress: StudyProgress) -> list[Fit]:
        """Train in worker processes, one thread each; with a single one here."""
        seeds = self.training.seeds
        shards = divide(len(seeds), self.workers, self.replicas)

        def report(number: int, metrics: EpochMetrics) -> None:
            log.add(shards[number].start, metrics)
            if "test/error" not in metrics.values:
                progress.add(self.training.net, shards[number].start, metrics)

        jobs = [replace(self.training, seeds=seeds[runs]).fit for runs in shards]
        if self.workers > 1:
            return run_jobs(jobs, self.workers, report)
        with threads(1):
            return [job(partial(report, number)) for number, job in enumerate(jobs)]

    def _save(self, fits: Sequence[Fit]) -> None:
        """Write the weights of all replicas, (R, ...) by name, with the settings that made them."""
        joined = {
            name: torch.cat([torch.from_numpy(fit.state[name]) for fit in fits]) for name in fits[0].state
        }
        checkpoint = {"state_dict": joined, "net": self.training.net, "seeds": list(self.training.seeds)}
        checkpoint["settings"] = dict(self.training.settings)
        save_checkpoint(checkpoint, self.run_folder / "checkpoint.pt")

    def _conclude(self, console: Console, results: ModelRuns) -> None:
        console.print(results_table([results], self.paper))
        console.print(f"{self.folder}: results.json, results.png, and the run folder {results.model}")
        console.print(f"tensorboard --logdir {quote(self.log_dir)}")
