"""An experiment on the disc: R runs of one recipe, their results, and the run folder.

<log_dir>/<name>/results.json
<log_dir>/<name>/disc/            TensorBoard events, config.yaml, checkpoint.pt, figures 2.1 to 2.4
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

import torch

from lightning_modules.command.atomic_io import choose_folder, make_folder, make_run_folder
from lightning_modules.command.cli import command_line
from lightning_modules.command.console import make_console
from lightning_modules.replicas.checkpoints import save_checkpoint
from lightning_modules.results.figures import write_figure
from lightning_modules.results.progress import progress_bar
from lightning_modules.results.runs import (
    ModelRuns,
    PaperFigure,
    percent,
    refuse_diverged,
    results_table,
    spread,
    write_results,
)
from lightning_modules.results.tensorboard import StudyLog
from scratch_framework.experiments.disc.monitor import Monitor
from scratch_framework.experiments.disc.pictures import pictures
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import PAPER
from scratch_framework.experiments.disc.scratch_learner import ScratchLearner
from scratch_framework.experiments.disc.torch_learner import TorchLearner
from scratch_framework.experiments.disc.training import Examples, examples, fit, steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_modules.results.runs import Run
    from scratch_framework.experiments.disc.learner import Learner
    from scratch_framework.experiments.disc.points import Points
    from scratch_framework.experiments.disc.recipe import Recipe

# Section 2.3: "approximately 10% of error [...] for the test set, and 1.5% on the train set".
PAPER_FIGURES: Mapping[str, PaperFigure] = {"disc": PaperFigure(0.015, None, 0.10, None)}
PAPER_SIZES = (1000, 1000)  # training and test points
HPARAMS = ("lr", "weight_decay", "loss", "optimizer", "schedule", "max_epochs", "batch_size", "mistake")


@dataclass
class Experiment:
    """Settings of an experiment; `run` trains, tests and writes."""

    recipe: Recipe
    recipe_name: str
    data: DataConfig
    train_points: int
    val_points: int  # may be 0
    test_points: int
    seeds: list[int]
    backend: Literal["scratch", "torch"]
    compiled: bool
    precision: Literal["32-true", "64-true"]
    log_dir: str
    name: str | None

    @property
    def dtype(self) -> torch.dtype:
        """The type to compute in."""
        return torch.float32 if self.precision == "32-true" else torch.float64

    @property
    def config(self) -> dict[str, Any]:
        """The flags that repeat this experiment, but for its name."""
        return {
            "net": "mlp",
            "recipe": self.recipe_name,
            "runs": len(self.seeds),
            "seed": self.seeds[0],
            "backend": self.backend,
            **self.recipe.flags(),
            "disc": self.data.disc,
            "points": self.data.points,
            "train_points": self.train_points,
            "val_points": self.val_points,
            "test_points": self.test_points,
            "compile": self.compiled,
            "precision": self.precision,
            "log_dir": self.log_dir,
        }

    def run(self) -> None:
        """Train and test all runs; write and show the results.

        Raises:
            CommandError: A setting is refused, nothing was written; or only the checkpoint could not be.
            ValueError: A setting is refused.
            OSError: The folder cannot be written.
        """
        learners = self._learners()  # refuses wrong values, before there is a folder
        counts = {"train": self.train_points, "val": self.val_points, "test": self.test_points}
        points = {split: self.data.draw(split, count, self.seeds) for split, count in counts.items() if count}
        self.folder = choose_folder(self.log_dir, self.name)
        make_folder(self.folder)
        self.run_folder = make_run_folder(self.folder, "disc", self.config)
        log = StudyLog(self.run_folder, len(self.seeds))
        with closing(log):  # an interrupted training keeps its curves
            with progress_bar() as bar:
                monitor = Monitor(log, bar, self.recipe.max_epochs, len(self.seeds))
                results = self._train(learners, points, monitor)
            write_results(self.folder / "results.json", [results], command_line(), self.config)
            figures = pictures(self.recipe, self.data, points, learners[0], monitor.losses, self.dtype)
            for name, figure in figures.items():
                write_figure(self.run_folder / f"figure_{name}.png", figure)
            tagged = {f"figure/{name}": figure for name, figure in figures.items()}
            log.finish(self._hparams(), results.metrics(), tagged)
        try:
            self._save(learners)  # last: a full disk costs nothing else
        finally:
            self._conclude(results)
        refuse_diverged([results])

    def _learners(self) -> list[Learner]:
        """All replicas as one, or a twin for each."""
        steps = self.recipe.max_epochs * steps_per_epoch(self.recipe, self.train_points)
        if self.backend == "scratch":
            return [ScratchLearner(self.recipe, self.seeds, steps, self.dtype, self.compiled)]
        return [TorchLearner(self.recipe, seed, steps, self.dtype) for seed in self.seeds]

    def _train(
        self, learners: Sequence[Learner], points: Mapping[str, Points], monitor: Monitor
    ) -> ModelRuns:
        data = {split: examples(self.recipe, drawn, self.dtype) for split, drawn in points.items()}
        runs: list[Run] = []
        for learner in learners:
            own = slice(len(runs), len(runs) + len(learner.seeds))
            part = {split: Examples(*(tensor[own] for tensor in shown)) for split, shown in data.items()}
            runs += fit(learner, self.recipe, part, partial(monitor.add, len(runs)))
        return ModelRuns("disc", self.recipe_name, runs)

    def _save(self, learners: Sequence[Learner]) -> None:
        """Write all replicas' parameters, (R, ...) by name, with the recipe that made them."""
        states = [learner.state_dict() for learner in learners]
        joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
        checkpoint = {"state_dict": joined, "recipe": asdict(self.recipe), "seeds": self.seeds}
        save_checkpoint(checkpoint, self.run_folder / "checkpoint.pt")

    def as_in_paper(self) -> bool:
        """Whether the paper's figures are of this task and this net; it searched for three settings."""
        ours, theirs = asdict(self.recipe), asdict(PAPER)
        changed = {name for name in ours if ours[name] != theirs[name]}
        same_net = changed <= {"activations", "lr", "weight_decay", "mistake"}
        sizes = (self.train_points, self.test_points)
        return same_net and sizes == PAPER_SIZES and self.data == DataConfig()

    def _hparams(self) -> dict[str, Any]:
        hparams = {"model": "disc", "recipe": self.recipe_name, "backend": self.backend}
        hparams |= {name: getattr(self.recipe, name) for name in HPARAMS}
        hparams["activations"] = ",".join(self.recipe.activations)
        return hparams | {"runs": len(self.seeds), "train_points": self.train_points}

    def _conclude(self, results: ModelRuns) -> None:
        console = make_console()
        console.print(results_table([results], PAPER_FIGURES if self.as_in_paper() else {}))
        if val_errors := results.errors("val_error"):
            console.print(f"validation error {percent(*spread(val_errors))} %")
        console.print(f"{self.folder}: results.json, and the run folder disc with figures 2.1 to 2.4")
        console.print(f"tensorboard --logdir {quote(self.log_dir)}")
