"""The paper's figures 2.1 to 2.4, of the first run: data, net, loss (of all runs), and predictions."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from lightning_modules.results.palette import BLUE, COLOURS, GREEN, ORANGE
from scratch_framework.experiments.disc.learners import Learner
from scratch_framework.experiments.disc.objective import OBJECTIVES
from scratch_framework.experiments.disc.points import DataConfig, Points
from scratch_framework.experiments.disc.recipe import RECIPES, Recipe
from scratch_framework.experiments.disc.training import inputs

Numbers = NDArray[np.floating]
Flags = NDArray[np.bool_]

SHOWN = 14  # units drawn of a layer that has more
GRID = 121  # points along a side of the square, to find the boundary by
LOSSES = {"mse": "mean squared error", "bce": "binary cross entropy", "ce": "cross entropy"}


def figures(
    recipe: Recipe,
    data: DataConfig,
    points: Mapping[str, Points],
    learner: Learner,
    losses: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> dict[str, Figure]:
    """Draw the figures.

    Args:
        recipe: The net and its loss.
        data: How the points are drawn.
        points: Points to "train" and "test", of which the first replica's are shown.
        learner: Whose first net is shown.
        losses: (epochs, R) by tag.
        dtype: Type to compute in.

    Returns:
        Figures by the paper's number and a word.
    """
    (x, inside), (_, runs) = points["train"], losses["train/loss"].shape
    title = f"training points, seed {learner.seeds[0]}"
    return {
        "2.1_data": data_figure(x[0].numpy(), inside[0].numpy(), data.radius, title),
        "2.2_network": network_figure(recipe),
        "2.3_loss": loss_figure(
            {tag: values.numpy() for tag, values in losses.items()},
            f"{name_of(recipe)}: mean loss of {runs} runs, 10th to 90th percentile",
            LOSSES[recipe.loss],
        ),
        "2.4_prediction": prediction(recipe, data, points["test"], learner, dtype),
    }


def prediction(
    recipe: Recipe, data: DataConfig, test: Points, learner: Learner, dtype: torch.dtype
) -> Figure:
    """Draw figure 2.4: what the first net says of its test points, and its boundary."""
    figure = _figure()
    draw_prediction(figure, recipe, data, test, learner, dtype)
    return figure


def draw_prediction(
    figure: Figure | SubFigure,
    recipe: Recipe,
    data: DataConfig,
    test: Points,
    learner: Learner,
    dtype: torch.dtype,
) -> Axes:
    """Draw figure 2.4 into a figure that may be part of another."""
    outputs = learner.first_replica()(inputs(recipe, test.x[:1], dtype))
    said = (OBJECTIVES[recipe.loss].logit(outputs)[0] > 0).numpy()
    x, wrong = test.x[0].numpy(), said != test.inside[0].numpy()
    error = f"{100 * wrong.mean():.1f} % of test points wrong"
    axis = square(figure, f"{name_of(recipe)}\none run (seed {learner.seeds[0]}): {error}")
    scatter(axis, x, said, "said to be outside", "said to be inside")
    axis.scatter(x[wrong, 0], x[wrong, 1], 42, "none", edgecolors="black", label=f"wrong: {wrong.sum()}")
    draw_circle(axis, data.radius)
    draw_boundaries(axis, surfaces(recipe, learner, dtype).numpy())
    _legend(axis)
    return axis


def name_of(recipe: Recipe) -> str:
    """A recipe's name in words, with its mistake."""
    right = replace(recipe, mistake="none")
    name = next((f"recipe {name}" for name, known in RECIPES.items() if known == right), "a changed recipe")
    return name if recipe == right else f"{name}, with a bias for each row of the batch"


def surfaces(recipe: Recipe, learner: Learner, dtype: torch.dtype) -> Tensor:
    """Scores of the first net over the square.

    Returns:
        (K, GRID, GRID), by row of the batch, y and x: with a bias for each row of a batch the net is as many
        nets as there are rows.
    """
    ticks = torch.linspace(0, 1, GRID, dtype=torch.float64)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], 1)  # (GRID * GRID, 2)
    rows = recipe.batch_size if recipe.mistake == "bias_per_row" else 1
    shown = inputs(recipe, grid.repeat_interleave(rows, 0).unsqueeze(0), dtype)  # every point in every row
    scores = OBJECTIVES[recipe.loss].logit(learner.first_replica()(shown))[0]
    return scores.view(GRID, GRID, rows).permute(2, 0, 1)


def data_figure(x: Numbers, inside: Flags, radius: float, title: str) -> Figure:
    """Figure 2.1: the points (N, 2) and their classes (N,)."""
    figure = _figure()
    axis = square(figure, title)
    scatter(axis, x, inside, "class 0, outside", "class 1, inside")
    draw_circle(axis, radius)
    _legend(axis)
    return figure


def network_figure(recipe: Recipe) -> Figure:
    """Figure 2.2: the layers, their sizes and activations."""
    layers = recipe.layers
    sizes = [layers[0][0], *(outputs for _, outputs, _ in layers)]
    figure = Figure(figsize=(1.7 * len(sizes), 4.6), layout="constrained")
    axis = figure.subplots()
    axis.axis("off")
    axis.set_title(
        f"{name_of(recipe)}: units (at most {SHOWN} of a layer are drawn) and activations", fontsize=10
    )
    columns = [_heights(size) for size in sizes]
    for number, (left, right) in enumerate(pairwise(columns)):
        for start in left:
            for end in right:
                axis.plot([number, number + 1], [start, end], color="0.82", linewidth=0.3, zorder=1)
    names = ["input"] + [f"Linear\n{activation.replace('none', '')}" for *_, activation in layers]
    for number, (size, heights, name) in enumerate(zip(sizes, columns, names, strict=True)):
        axis.scatter([number] * len(heights), heights, s=52, color=BLUE, edgecolors="white", zorder=2)
        axis.text(number, -0.04, f"{size}\n{name}", ha="center", va="top", fontsize=9)
    axis.set_xlim(-0.4, len(sizes) - 0.6)
    axis.set_ylim(-0.2, 1.02)
    return figure


def loss_figure(losses: Mapping[str, Numbers], title: str, label: str) -> Figure:
    """Figure 2.3: the mean of losses (epochs, R) over all runs, and a band that holds four runs of five."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for number, (tag, values) in enumerate(losses.items()):
        epochs, color = np.arange(1, len(values) + 1), COLOURS[number]
        low, high = np.percentile(values, [10, 90], axis=1)
        axis.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
        axis.plot(epochs, values.mean(1), "-" if number == 0 else "--", color=color, linewidth=1.2, label=tag)
    axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=9)
    axis.set_title(title, fontsize=10)
    return figure


def draw_boundaries(axis: Axes, surfaces: Numbers) -> None:
    """Draw where scores (K, G, G) over the square, as `surfaces` returns them, are 0."""
    ticks, many = np.linspace(0, 1, surfaces.shape[-1]), len(surfaces) > 1
    line: Any = {"colors": "black", "linewidths": 0.6 if many else 2, "alpha": 0.6 if many else 1}
    for surface in surfaces:
        if surface.min() < 0 < surface.max():  # else there is no boundary
            axis.contour(ticks, ticks, surface, levels=[0], zorder=0, **line)
    label = f"boundaries, one for each of {len(surfaces)} rows" if many else "the net's boundary"
    axis.plot([], [], color="black", linewidth=line["linewidths"], label=label)


def square(figure: Figure | SubFigure, title: str) -> Axes:
    """The unit square, as axes of a figure that may be part of another."""
    axis = figure.subplots()
    axis.set_aspect("equal")
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_title(title, fontsize=10)
    return axis


def scatter(axis: Axes, x: Numbers, inside: Flags, outside_label: str, inside_label: str) -> None:
    """Draw points (N, 2) of two classes (N,), which differ in colour and in shape."""
    marks = (~inside, "^", ORANGE, outside_label), (inside, "o", BLUE, inside_label)
    for part, marker, color, label in marks:
        label = f"{label}: {part.sum()}"
        axis.scatter(x[part, 0], x[part, 1], 11, color, marker=marker, linewidths=0, label=label)


def draw_circle(axis: Axes, radius: float) -> None:
    """Draw the disc's edge."""
    angle = np.linspace(0, 2 * np.pi, 181)
    x, y = 0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)
    axis.plot(x, y, color=GREEN, linestyle="--", linewidth=2, label="the true circle")


def _figure() -> Figure:
    return Figure(figsize=(6, 6.6), layout="constrained")


def _legend(axis: Axes) -> None:
    axis.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)


def _heights(size: int) -> Numbers:
    shown = min(size, SHOWN)
    return 0.5 + (np.arange(shown) - (shown - 1) / 2) / SHOWN
