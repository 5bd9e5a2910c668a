"""The paper's figures 2.1 to 2.4, of the first run: data, net, loss (of all runs), and predictions."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from scratch_framework.experiments.disc.learners import Learner
from scratch_framework.experiments.disc.objective import OBJECTIVES
from scratch_framework.experiments.disc.points import DataConfig, Points
from scratch_framework.experiments.disc.recipe import Activation, Recipe
from scratch_framework.experiments.disc.training import inputs

Numbers = NDArray[np.floating]
Flags = NDArray[np.bool_]

OUTSIDE, INSIDE, WRONG = "#d9472b", "#2a9d5c", "black"  # the paper's red and green
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
        "2.2_network": network_figure(recipe.layers),
        "2.3_loss": loss_figure(
            {tag: values.numpy() for tag, values in losses.items()},
            f"mean loss of {runs} runs, 10th to 90th percentile",
            LOSSES[recipe.loss],
        ),
        "2.4_prediction": prediction(recipe, data, points["test"], learner, dtype),
    }


def prediction(
    recipe: Recipe, data: DataConfig, test: Points, learner: Learner, dtype: torch.dtype
) -> Figure:
    """Draw figure 2.4: what the first net says of its test points, and its boundary."""
    outputs = learner.first_replica()(inputs(recipe, test.x[:1], dtype))
    said, inside = OBJECTIVES[recipe.loss].logit(outputs)[0] > 0, test.inside[0]
    error = (said != inside).double().mean().item()
    return prediction_figure(
        test.x[0].numpy(),
        said.numpy(),
        inside.numpy(),
        data.radius,
        surfaces(recipe, learner, dtype).numpy(),
        f"test points as the net has them, seed {learner.seeds[0]}: {error:.1%} wrong",
    )


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
    figure, axis = _square(title)
    _scatter(axis, x, inside, "class 0, outside", "class 1, inside")
    _circle(axis, radius)
    _legend(axis)
    return figure


def network_figure(layers: Sequence[tuple[int, int, Activation]]) -> Figure:
    """Figure 2.2: the layers, their sizes and activations."""
    sizes = [layers[0][0], *(outputs for _, outputs, _ in layers)]
    figure = Figure(figsize=(1.7 * len(sizes), 4.6), layout="constrained")
    axis = figure.subplots()
    axis.axis("off")
    axis.set_title(f"the net: units (at most {SHOWN} of a layer are drawn) and activations", fontsize=10)
    columns = [_heights(size) for size in sizes]
    for number, (left, right) in enumerate(pairwise(columns)):
        for start in left:
            for end in right:
                axis.plot([number, number + 1], [start, end], color="0.82", linewidth=0.3, zorder=1)
    names = ["input"] + [f"Linear\n{activation.replace('none', '')}" for *_, activation in layers]
    for number, (size, heights, name) in enumerate(zip(sizes, columns, names, strict=True)):
        axis.scatter([number] * len(heights), heights, s=52, color="C0", edgecolors="white", zorder=2)
        axis.text(number, -0.04, f"{size}\n{name}", ha="center", va="top", fontsize=9)
    axis.set_xlim(-0.4, len(sizes) - 0.6)
    axis.set_ylim(-0.2, 1.02)
    return figure


def loss_figure(losses: Mapping[str, Numbers], title: str, label: str) -> Figure:
    """Figure 2.3: the mean of losses (epochs, R) over all runs, and a band that holds four runs of five."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for number, (tag, values) in enumerate(losses.items()):
        epochs, color = np.arange(1, len(values) + 1), f"C{number}"
        low, high = np.percentile(values, [10, 90], axis=1)
        axis.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
        axis.plot(epochs, values.mean(1), color=color, linewidth=1.2, label=tag)
    axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=9)
    axis.set_title(title, fontsize=10)
    return figure


def prediction_figure(
    x: Numbers, said: Flags, inside: Flags, radius: float, surfaces: Numbers, title: str
) -> Figure:
    """Figure 2.4: what the net says of points, its boundary, and where it is wrong.

    Args:
        x: (N, 2).
        said: (N,) bool, whether the net says inside.
        inside: (N,) bool, whether the point is.
        radius: The disc's.
        surfaces: (K, G, G), as the function `surfaces` returns them.
        title: To write above.
    """
    figure, axis = _square(title)
    _scatter(axis, x, said, "said to be outside", "said to be inside")
    wrong = said != inside
    axis.scatter(x[wrong, 0], x[wrong, 1], 42, "none", edgecolors=WRONG, label=f"wrong: {wrong.sum()}")
    _circle(axis, radius)
    ticks = np.linspace(0, 1, surfaces.shape[-1])
    width = 1.6 if len(surfaces) == 1 else 0.5
    for surface in surfaces:
        if surface.min() < 0 < surface.max():  # else there is no boundary
            axis.contour(ticks, ticks, surface, levels=[0], colors="C0", linewidths=width, zorder=0)
    many = "" if len(surfaces) == 1 else f", one for each of {len(surfaces)} rows"
    axis.plot([], [], color="C0", linewidth=width, label=f"the net's boundary{many}")
    _legend(axis)
    return figure


def _square(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 6.6), layout="constrained")
    axis = figure.subplots()
    axis.set_aspect("equal")
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_title(title, fontsize=10)
    return figure, axis


def _scatter(axis: Axes, x: Numbers, green: Flags, red_label: str, green_label: str) -> None:
    for part, color, label in ((~green, OUTSIDE, red_label), (green, INSIDE, green_label)):
        axis.scatter(x[part, 0], x[part, 1], 9, color, linewidths=0, label=f"{label}: {part.sum()}")


def _circle(axis: Axes, radius: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 181)
    x, y = 0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)
    axis.plot(x, y, color="black", linestyle="--", linewidth=1, label="the true circle")


def _legend(axis: Axes) -> None:
    axis.figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def _heights(size: int) -> Numbers:
    shown = min(size, SHOWN)
    return 0.5 + (np.arange(shown) - (shown - 1) / 2) / SHOWN
