"""The paper's figures 2.1 to 2.4: the data, the net, the loss, and what the trained net says."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from scratch_framework.experiments.disc.recipe import Activation

    Numbers = NDArray[np.floating]
    Flags = NDArray[np.bool_]

OUTSIDE, INSIDE, WRONG = "#d9472b", "#2a9d5c", "black"  # the paper's red and green
SHOWN = 14  # units drawn of a layer that has more


def data_figure(x: Numbers, inside: Flags, radius: float, title: str) -> Figure:
    """Figure 2.1: the points and their classes.

    Args:
        x: (N, 2).
        inside: (N,) bool.
        radius: The disc's.
        title: What to write above.
    """
    figure, axis = _square(title)
    _scatter(axis, x, inside, "class 0, outside", "class 1, inside")
    _circle(axis, radius)
    _legend(axis)
    return figure


def network_figure(layers: Sequence[tuple[int, int, Activation]], title: str) -> Figure:
    """Figure 2.2: the layers, their sizes and activations.

    Args:
        layers: Inputs, outputs and activation of each.
        title: What to write above.
    """
    sizes = [layers[0][0], *(outputs for _, outputs, _ in layers)]
    figure = Figure(figsize=(1.7 * len(sizes), 4.6), layout="constrained")
    axis = figure.subplots()
    axis.axis("off")
    axis.set_title(title, fontsize=10)
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
    """Figure 2.3: the mean loss of all runs by epoch, and between which losses four of five runs lie.

    Args:
        losses: (epochs, R) by tag.
        title: What to write above.
        label: Name of the loss.
    """
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
        surfaces: (K, G, G), the net's scores over a grid of the square; one for each net it holds.
        title: What to write above.
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
