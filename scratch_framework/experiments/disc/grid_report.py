"""What comes out of a grid: files, a picture, and the table of the best."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lightning_modules.command.atomic_io import write_whole
from lightning_modules.results.figures import write_figure
from lightning_modules.results.runs import percent, spread
from scratch_framework.experiments.disc.recipe import PAPER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scratch_framework.experiments.disc.search import Setting

BEST = 10


def write_grid(folder: Path, settings: Sequence[Setting]) -> None:
    """Write all scores as JSON and CSV, and draw them.

    Args:
        folder: Where to.
        settings: All points of the grid, the best first.
    """
    rows = [
        {
            "rank": rank,
            "activations": ",".join(setting.activations),
            "lr": setting.lr,
            "weight_decay": setting.weight_decay,
            "val_error_mean": setting.val_error,
            "val_error_std": spread(setting.val_errors)[1],
        }
        for rank, setting in enumerate(settings, 1)
    ]
    full = [row | {"val_errors": s.val_errors} for row, s in zip(rows, settings, strict=True)]
    write_whole(folder / "grid.json", json.dumps(full, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "grid.csv", text.getvalue())
    write_figure(folder / "grid.png", grid_figure(settings))


def grid_table(settings: Sequence[Setting], how: str) -> Table:
    """The best settings, and the paper's choice among all.

    Args:
        settings: All points of the grid, the best first.
        how: What a score is the mean of.

    Returns:
        A table for the console.
    """
    table = Table(
        title=f"validation error in %, mean ± std over {how}\nthe best {BEST} of {len(settings)} settings",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("rank", "activations", "lr", "weight decay", "error"):
        table.add_column(column, justify="left" if column == "activations" else "right", no_wrap=True)
    chosen = (PAPER.activations, PAPER.lr, PAPER.weight_decay)
    for rank, setting in enumerate(settings, 1):
        papers = (setting.activations, setting.lr, setting.weight_decay) == chosen
        if rank > BEST and not papers:
            continue
        table.add_row(
            f"paper's: {rank}" if papers else str(rank),
            " ".join(setting.activations),
            f"{setting.lr:g}",
            f"{setting.weight_decay:g}",
            percent(*spread(setting.val_errors)),
            end_section=rank == BEST,
        )
    return table


def grid_figure(settings: Sequence[Setting]) -> Figure:
    """Draw every score: a row for a choice of activations, the best row on top, a column for the rates.

    Args:
        settings: All points of the grid, the best first.
    """
    groups = list(dict.fromkeys(setting.activations for setting in settings))
    rates = sorted({(setting.lr, setting.weight_decay) for setting in settings})
    errors = np.full((len(groups), len(rates)), np.nan)
    for setting in settings:
        place = groups.index(setting.activations), rates.index((setting.lr, setting.weight_decay))
        errors[place] = 100 * setting.val_error
    figure = Figure(figsize=(7.4, 6.6), layout="constrained")
    axis = figure.subplots()
    shades = np.log(errors.clip(min=0.1))  # a ratio of errors is a step of colour
    axis.imshow(shades, cmap="viridis_r", aspect="auto")
    for row, column in np.ndindex(errors.shape):
        color = "white" if shades[row, column] > (shades.min() + shades.max()) / 2 else "black"
        label = f"{errors[row, column]:.1f}"
        axis.text(column, row, label, ha="center", va="center", color=color, fontsize=8)
    axis.set_yticks(range(len(groups)), [" ".join(group) for group in groups], fontsize=8)
    axis.set_xticks(range(len(rates)), [f"lr {lr:g}\nwd {decay:g}" for lr, decay in rates], fontsize=8)
    axis.set_title(f"validation error in %, mean of {len(settings[0].val_errors)} runs", fontsize=10)
    return figure
