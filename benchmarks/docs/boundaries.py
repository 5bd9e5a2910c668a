"""Pictures of what one missing sum does: docs/disc-boundaries.png, and the moving docs/disc.gif.

Command line:
    python -m benchmarks.boundaries                half a minute

A bias serves all points of a batch, so its gradient is a sum over them. Without the sum, broadcasting makes a
bias for each row of the batch: one net becomes fifty, whose boundaries come apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file, make_folder
from lightning_modules.command.run_flags import RunFlags
from lightning_modules.results.animation import write_animation
from lightning_modules.results.figures import write_figure
from lightning_modules.results.tensorboard import EpochMetrics
from scratch_framework.experiments.disc.figures import (
    Numbers,
    draw_boundaries,
    draw_circle,
    draw_prediction,
    scatter,
    square,
    surfaces,
)
from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig, Points
from scratch_framework.experiments.disc.recipe import MODERN, PAPER, Recipe
from scratch_framework.experiments.disc.training import evaluate, examples, fit, steps_per_epoch

DOCS = Path(__file__).parents[2] / "docs"
MISTAKEN = replace(PAPER, mistake="bias_per_row")
DTYPE, DATA, POINTS = torch.float32, DataConfig(), 1000
TITLES = ("bias gradient not summed over the batch", "bias gradient summed over the batch")
FRAMES, SECONDS, LAST = 40, 0.15, 3.0  # of the moving picture


@dataclass
class Training:
    """One run of a recipe, and its boundaries at some epochs."""

    recipe: Recipe
    learner: ScratchLearner
    scores: dict[int, Numbers] = field(default_factory=dict)  # epoch to (K, G, G), as `surfaces` returns them
    errors: dict[int, str] = field(default_factory=dict)  # epoch to errors, in words


def boundaries(seed: int = 0, max_epochs: int = 250, folder: str = str(DOCS), verbose: bool = False) -> None:
    """Train the paper's net with its mistake and corrected, and the modern one; draw one run of each.

    Args:
        seed: The runs' seed.
        max_epochs: Epochs.
        folder: Where to put disc-boundaries.png and disc.gif.
        verbose: Whether to show tracebacks.
    """
    path = Path(folder)
    picture, moving = path / "disc-boundaries.png", path / "disc.gif"
    for file in (picture, moving):
        check_file(file, flag="folder")
    RunFlags(seed=seed)  # refuses a number that is none
    recipes = [replace(recipe, max_epochs=max_epochs) for recipe in (MISTAKEN, PAPER, MODERN)]
    points = {split: DATA.draw(split, POINTS, [seed]) for split in ("train", "test")}
    epochs = [0, *np.unique(np.geomspace(1, max_epochs, FRAMES).round().astype(int)).tolist()]
    trainings = [train(recipe, seed, points, epochs) for recipe in recipes]
    make_folder(path, anew=False, flag="folder")
    write_figure(picture, still(trainings, points["test"]), dpi=110)
    frames = (frame(trainings[:2], epoch, points["train"]) for epoch in epochs)
    write_animation(moving, frames, [SECONDS] * (len(epochs) - 1) + [LAST])
    Console().print(f"{path}: disc-boundaries.png, disc.gif")


def train(recipe: Recipe, seed: int, points: Mapping[str, Points], epochs: Sequence[int]) -> Training:
    """Train one run, and look at its boundaries after these epochs."""
    steps = recipe.max_epochs * steps_per_epoch(recipe, POINTS)
    learner = ScratchLearner(recipe, [seed], steps, DTYPE, compiled=recipe.mistake == "none")
    training = Training(recipe, learner)
    data = {split: examples(recipe, drawn, DTYPE) for split, drawn in points.items()}

    def look(epoch: int) -> None:
        wrong = [100 * evaluate(learner, recipe, data[split])[1].item() for split in ("train", "test")]
        training.errors[epoch] = "wrong: {:.1f} % of training, {:.1f} % of test points".format(*wrong)
        training.scores[epoch] = surfaces(recipe, learner, DTYPE).numpy()

    def report(metrics: EpochMetrics) -> None:
        if metrics.epoch + 1 in epochs:
            look(metrics.epoch + 1)

    look(0)
    fit(learner, recipe, data, report)
    return training


def still(trainings: Sequence[Training], test: Points) -> Figure:
    """Figure 2.4 of each net, side by side."""
    figure = Figure(figsize=(4.1 * len(trainings), 5), layout="constrained")
    for part, each in zip(figure.subfigures(1, len(trainings), squeeze=False).flat, trainings, strict=True):
        draw_prediction(part, each.recipe, DATA, test, each.learner, DTYPE)
    return figure


def frame(trainings: Sequence[Training], epoch: int, points: Points) -> Figure:
    """The boundaries after an epoch, over the training points; first of the net with the mistake."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    figure.suptitle(f"the report's net, one run, dashed: the true circle; epoch {epoch}", fontsize=13)
    for part, title, each in zip(
        figure.subfigures(1, len(trainings), squeeze=False).flat, TITLES, trainings, strict=True
    ):
        nets = len(each.scores[epoch])
        count = f"{nets} boundaries" if nets > 1 else "one boundary"
        axis = square(part, f"{title}: {count}\n{each.errors[epoch]}")
        scatter(axis, points.x[0].numpy(), points.inside[0].numpy(), "outside", "inside")
        draw_circle(axis, DATA.radius)
        draw_boundaries(axis, each.scores[epoch])
    return figure


if __name__ == "__main__":
    cli.run(boundaries, "python -m benchmarks.boundaries")
