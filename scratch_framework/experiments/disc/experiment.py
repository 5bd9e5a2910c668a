"""An experiment on the disc: R runs of one recipe, their results, and the run folder.

<log_dir>/<name>/results.json
<log_dir>/<name>/disc/            TensorBoard events, config.yaml, checkpoint.pt, figures 2.1 to 2.4
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from shlex import quote
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from lightning_modules.command.atomic_io import choose_folder, make_folder, make_run_folder
from lightning_modules.command.cli import command_line
from lightning_modules.command.console import make_console
from lightning_modules.replicas.checkpoints import save_checkpoint
from lightning_modules.results.figures import write_figure
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.runs import ModelRuns, Run, refuse_diverged, spread, write_results
from lightning_modules.results.table import PaperFigure, percent, results_table
from lightning_modules.results.tensorboard import EpochMetrics, StudyLog
from scratch_framework.experiments.disc.command import DiscFlags
from scratch_framework.experiments.disc.figures import figures
from scratch_framework.experiments.disc.learners import Learner, ScratchLearner, TorchLearner
from scratch_framework.experiments.disc.points import DataConfig, Points
from scratch_framework.experiments.disc.recipe import PAPER, Recipe
from scratch_framework.experiments.disc.training import Examples, examples, fit, steps_per_epoch

# Section 2.3: "approximately 10% of error [...] for the test set, and 1.5% on the train set".
PAPER_FIGURES: Mapping[str, PaperFigure] = {"disc": PaperFigure(0.015, None, 0.10, None)}
HPARAMS = ("lr", "weight_decay", "loss", "optimizer", "schedule", "max_epochs", "batch_size", "mistake")


class Monitor:
    """Curves for TensorBoard and figure 2.3, and a progress bar, of all replicas at once or one by one."""

    def __init__(self, log: StudyLog, bar: Progress, epochs: int, replicas: int) -> None:
        self.log, self.bar, self.shape = log, bar, (epochs, replicas)
        self.losses: dict[str, Tensor] = {}  # (epochs, R) by tag
        self.task = bar.add_task("starting", total=epochs * replicas)

    def add(self, first: int, metrics: EpochMetrics) -> None:
        """Add the metrics of an epoch, or of the test, of replicas whose first one has this number."""
        self.log.add(first, metrics)
        for tag, values in metrics.values.items():
            if tag.endswith("/loss"):
                losses = self.losses.setdefault(tag, torch.empty(self.shape))
                losses[metrics.epoch, first : first + len(values)] = torch.tensor(values)
        if errors := metrics.values.get("train/error"):
            mean = sum(errors) / len(errors)
            text = f"epoch {metrics.epoch + 1}, train/error {100 * mean:.1f} %"
            self.bar.update(self.task, description=text, advance=len(errors))


@dataclass
class Experiment:
    """Settings of an experiment; `run` trains, tests and writes."""

    flags: DiscFlags
    recipe: Recipe

    def __post_init__(self) -> None:
        self.data = DataConfig(self.flags.disc, self.flags.points)
        self.dtype = torch.float32 if self.flags.precision == "32-true" else torch.float64
        self.config = self.flags.config() | asdict(self.recipe)

    def run(self) -> None:
        """Train and test all runs; write and show the results.

        Raises:
            CommandError: A setting is refused, nothing was written; or only the checkpoint could not be.
            ValueError: A setting is refused.
            OSError: The folder cannot be written.
        """
        learners, seeds = self._learners(), self.flags.seeds  # refuses values, before there is a folder
        points = {
            split: self.data.draw(split, count, seeds) for split, count in self.flags.counts.items() if count
        }
        self.folder = choose_folder(self.flags.log_dir, self.flags.name)
        make_folder(self.folder)
        self.run_folder = make_run_folder(self.folder, "disc", self.config)
        log = StudyLog(self.run_folder, len(seeds))
        with closing(log):  # an interrupted training keeps its curves
            with progress_bar() as bar:
                monitor = Monitor(log, bar, self.recipe.max_epochs, len(seeds))
                results = self._train(learners, points, monitor)
            write_results(self.folder / "results.json", [results], command_line(), self.config)
            drawn = figures(self.recipe, self.data, points, learners[0], monitor.losses, self.dtype)
            for name, figure in drawn.items():
                write_figure(self.run_folder / f"figure_{name}.png", figure)
            tagged = {f"figure/{name}": figure for name, figure in drawn.items()}
            log.finish(self._hparams(), results.metrics(), tagged)
        try:
            self._save(learners)  # last: a full disk costs nothing else
        finally:
            self._conclude(results)
        refuse_diverged([results])

    def _learners(self) -> list[Learner]:
        """All replicas as one, or a twin for each."""
        flags, steps = (
            self.flags,
            self.recipe.max_epochs * steps_per_epoch(self.recipe, self.flags.train_points),
        )
        if flags.backend == "scratch":
            return [ScratchLearner(self.recipe, flags.seeds, steps, self.dtype, bool(flags.compile))]
        return [TorchLearner(self.recipe, seed, steps, self.dtype) for seed in flags.seeds]

    def _train(
        self, learners: Sequence[Learner], points: Mapping[str, Points], monitor: Monitor
    ) -> ModelRuns:
        data = {split: examples(self.recipe, drawn, self.dtype) for split, drawn in points.items()}
        runs: list[Run] = []
        for learner in learners:
            own = slice(len(runs), len(runs) + len(learner.seeds))
            part = {split: Examples(*(tensor[own] for tensor in shown)) for split, shown in data.items()}
            runs += fit(learner, self.recipe, part, partial(monitor.add, len(runs)))
        return ModelRuns("disc", self.flags.recipe, runs)

    def _save(self, learners: Sequence[Learner]) -> None:
        """Write all replicas' parameters, (R, ...) by name, with the recipe that made them."""
        states = [learner.state_dict() for learner in learners]
        joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
        checkpoint = {"state_dict": joined, "recipe": asdict(self.recipe), "seeds": self.flags.seeds}
        save_checkpoint(checkpoint, self.run_folder / "checkpoint.pt")

    def as_in_paper(self) -> bool:
        """Whether the paper's figures are of this task and this net; it searched for three settings."""
        ours, theirs = asdict(self.recipe), asdict(PAPER)
        changed = {name for name in ours if ours[name] != theirs[name]}
        same_net = changed <= {"activations", "lr", "weight_decay", "mistake"}
        same_sizes = self.flags.train_points == self.flags.test_points == 1000
        return same_net and same_sizes and self.data == DataConfig()

    def _hparams(self) -> dict[str, Any]:
        hparams = {"model": "disc", "recipe": self.flags.recipe, "backend": self.flags.backend}
        hparams |= {name: getattr(self.recipe, name) for name in (*HPARAMS, "activations")}
        return hparams | {"runs": self.flags.runs, "train_points": self.flags.train_points}

    def _conclude(self, results: ModelRuns) -> None:
        console = make_console()
        console.print(results_table([results], PAPER_FIGURES if self.as_in_paper() else {}))
        if val_errors := results.errors("val_error"):
            console.print(f"validation error {percent(*spread(val_errors))} %")
        console.print(f"{self.folder}: results.json, and the run folder disc with figures 2.1 to 2.4")
        console.print(f"tensorboard --logdir {quote(self.flags.log_dir)}")
