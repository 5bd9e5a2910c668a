"""Pictures: pairs of digits with captions, and the runs of each model beside the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from lightning_modules.command.atomic_io import atomic_file
from lightning_modules.results.palette import BLUE, ORANGE
from lightning_modules.results.runs import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from lightning_modules.results.table import PaperFigure

COLUMNS = 6


def write_figure(path: Path, figure: Figure, dpi: int = 130, **more: Any) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        path: The file.
        figure: The figure.
        dpi: Pixels an inch.
        **more: Other arguments of matplotlib's `savefig`.

    Raises:
        OSError: It cannot be written; the message names it.
    """
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=dpi, **more)


def pairs_figure(images: Sequence[NDArray[Any]], captions: Sequence[str]) -> Figure:
    """Show pairs of digits.

    Args:
        images: Pairs, each (2, 14, 14) in 0..255.
        captions: What to write above each.

    Returns:
        The figure, six pairs a row.
    """
    rows = max(1, -(-len(images) // COLUMNS))
    figure = Figure(figsize=(1.9 * COLUMNS, 1.25 * rows))
    axis = figure.add_axes((0, 0, 1, 1))  # one for all: an axis of its own for each takes five times as long
    axis.axis("off")
    width, height = 31, 31 * 1.25 / 1.9  # of a cell, in pixels of digits
    gap = np.full((14, 1), 128.0)  # a grey line between the two digits
    for number, ((first, second), caption) in enumerate(zip(images, captions, strict=True)):
        left, bottom = 1 + width * (number % COLUMNS), height * (1 + number // COLUMNS) - 1
        place = (left, left + 29, bottom, bottom - 14)
        axis.imshow(np.hstack([first, gap, second]), cmap="gray", vmin=0, vmax=255, extent=place)
        axis.text(left + 14.5, bottom - 15, caption, ha="center", fontsize=8)
    axis.set(xlim=(0, width * COLUMNS), ylim=(height * rows, 0))
    return figure


def results_figure(
    errors: Mapping[str, Sequence[float]],
    paper: Mapping[str, PaperFigure],
    title: str,
    counts: Mapping[str, str] | None = None,
) -> Figure:
    """Show the test error of every run, its mean and standard deviation, and the paper's beside it.

    Args:
        errors: Model to the test errors of its runs that did not diverge, as shares; there may be none.
        paper: Model to the paper's results; models without are shown alone.
        title: What to write above.
        counts: Model to the number of its runs in words, as `ModelRuns` has it; by default of the errors.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(1.5 + 1.8 * len(errors), 4.2), layout="constrained")
    axis = figure.subplots()
    handles: dict[str, Any] = {}
    for x, (model, shares) in enumerate(errors.items()):
        count = (counts or {}).get(model, str(len(shares)))
        handles |= _show_runs(axis, x, 100 * np.array(shares), paper.get(model), count)
    if handles:
        axis.legend(list(handles.values()), list(handles), fontsize=8)
    names = [model if shares else f"{model}\n(all diverged)" for model, shares in errors.items()]
    axis.set_xticks(range(len(errors)), names)
    axis.set_xlim(-0.5, len(errors) - 0.2)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("test error, %")
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(title, fontsize=9, wrap=True, parse_math=False)
    return figure


def _show_runs(
    axis: Axes, x: float, percent: NDArray[np.float64], paper: PaperFigure | None, count: str
) -> dict[str, Any]:
    """Draw one model at a place of the axis; return what the legend shows, by label."""
    handles: dict[str, Any] = {}
    means: list[tuple[float, float, str]] = []  # where, and what is written below
    if len(percent):
        average, deviation = spread(percent.tolist())
        jitter = np.linspace(-0.08, 0.08, len(percent)) if len(percent) > 1 else np.zeros(1)
        handles["a run"] = axis.plot(x - 0.12 + jitter, percent, "o", color=BLUE, alpha=0.35)[0]
        ours = axis.errorbar(x - 0.12, average, deviation, fmt="_", ms=22, color=BLUE, capsize=4)
        handles[f"ours: mean ± std, n = {count}"] = ours
        means.append((x - 0.12, average, ""))
    if paper:
        average, deviation = 100 * paper.test_mean, 100 * (paper.test_std or 0)
        theirs = axis.errorbar(x + 0.22, average, deviation, fmt="D", color=ORANGE, capsize=4)
        handles["paper: mean ± std, n = 15"] = theirs
        means.append((x + 0.22, average, paper.note))
    for place, average, note in means:
        text = f"{average:.1f}\n{note}".strip()
        axis.annotate(text, (place, average), (18, 5), textcoords="offset points", va="top", fontsize=9)
    return handles
