"""What each ingredient of the modern recipes is worth, and the 2x2 of weight sharing and auxiliary losses.

Command lines:
    python -m benchmarks.ablation                             all tables, 10 runs a row
    python -m benchmarks.ablation --table auxiliary --runs 5
    python -m benchmarks.ablation --resume                    after an interruption
    python -m benchmarks.ablation --devices 2                 two processes share them; docs/distributed.md
    python -m benchmarks.ablation --runs 2 --max_epochs 1     a smoke run

Every row is trained over the same seeds and pairs; a difference is from the table's first row, paired by run,
with its 95 % interval (t): over all pairs of test digits where both rows have that error, else over own test
pairs. Runs that diverged are left out. All nets of the modern 2x2 have the same trunk of four
convolutions; the table of `auxiliary` starts there too, and its recipe is a row.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from benchmarks.results.rows import Plan, Record, Row, Trained, share_rows, train_rows
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file
from lightning_modules.command.run_flags import RunFlags
from lightning_modules.evaluation.significance import (
    TTest,
    compare_runs,
    half_width,
    verdicts,
)
from lightning_modules.results.figures import write_figure
from lightning_modules.results.palette import BLUE, ORANGE
from lightning_modules.results.runs import ModelRuns, Run, spread
from lightning_modules.results.table import percent
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import find_ranks
from lightning_modules.training.runner import quiet

PAPER_LOSSES = {"head": "paper", "alpha": 1.0, "gamma": 1.0}
FOUR = {"trunk": "modern"}  # convolutions, as the other two nets have
SGD = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0}
SEPARATE = {"branches": "separate"}
UNSHARPENED = FOUR | {"temperature": 1.0}  # the rest of `auxiliary` is its recipe's
PLAIN = {"head": "mlp", "swap_trunks": False, "augment": "bilinear", "two_views_from": 1.0}
TABLES: Mapping[str, Sequence[Row]] = {
    "2x2, paper": (
        Row("neither", "cnn", "paper", SEPARATE),
        Row("sharing", "weight_sharing", "paper"),
        Row("auxiliary losses", "auxiliary", "paper", SEPARATE),
        Row("both", "auxiliary", "paper"),
    ),
    "2x2, modern": (
        Row("neither", "cnn"),
        Row("sharing", "weight_sharing"),
        Row("auxiliary losses", "auxiliary", changes=UNSHARPENED | SEPARATE),
        Row("both", "auxiliary", changes=UNSHARPENED),
    ),
    "auxiliary": (
        Row("four convolutions", "auxiliary", changes=UNSHARPENED),
        Row("five, sharpened: recipe", "auxiliary"),
        Row("five convolutions", "auxiliary", changes={"temperature": 1.0}),
        Row("four, sharpened", "auxiliary", changes=FOUR),
        Row("one view", "auxiliary", changes=UNSHARPENED | {"two_views_from": 1.0}),
        Row("no warps", "auxiliary", changes=UNSHARPENED | {"augment": "none"}),
        Row("no elastic warps", "auxiliary", changes=UNSHARPENED | {"elastic": 0.0}),
        Row("bilinear warps", "auxiliary", changes=UNSHARPENED | {"augment": "bilinear"}),
        Row("paper's CNN, clean", "auxiliary", changes={"trunk": "clean", "temperature": 1.0}),
        Row("flattened map", "auxiliary", changes=UNSHARPENED | {"pool": "flatten"}),
        Row("no label smoothing", "auxiliary", changes=UNSHARPENED | {"label_smoothing": 0.0}),
        Row("comparison's loss too", "auxiliary", changes=UNSHARPENED | {"gamma": 1.0}),
        Row("paper's head and losses", "auxiliary", changes=FOUR | PAPER_LOSSES),
        Row("difference head", "auxiliary", changes=FOUR | {"head": "subtract", "gamma": 1.0}),
        Row("argmax head", "auxiliary", changes=FOUR | {"head": "argmax"}),
        Row("constant lr 0.003", "auxiliary", changes=UNSHARPENED | {"lr": 0.003, "schedule": "constant"}),
        Row("no weight decay", "auxiliary", changes=UNSHARPENED | {"weight_decay": 0.0}),
        Row("SGD, lr 0.1", "auxiliary", changes=UNSHARPENED | SGD),
    ),
    "weight sharing": (
        Row("recipe", "weight_sharing"),
        Row("no reordering", "weight_sharing", changes={"reorder": False}),
        Row("merged digits not split", "weight_sharing", changes={"split_merged": False}),
        Row("no second view", "weight_sharing", changes={"two_views_from": 1.0}),
        Row("second view, no consistency", "weight_sharing", changes={"consistency": 0.0}),
        Row("no balance loss", "weight_sharing", changes={"balance": 0.0}),
        Row("no warps", "weight_sharing", changes={"augment": "none"}),
        Row("averaged map", "weight_sharing", changes={"pool": "average"}),
    ),
    "cnn": (
        Row("recipe", "cnn"),
        Row("trunks not swapped", "cnn", changes={"swap_trunks": False}),
        Row("no reordering", "cnn", changes={"reorder": False}),
        Row("merged digits not split", "cnn", changes={"split_merged": False}),
        Row("no second view", "cnn", changes={"two_views_from": 1.0}),
        Row("no balance loss", "cnn", changes={"balance": 0.0}),
        Row("no warps", "cnn", changes={"augment": "none"}),
        Row("trunks not swapped, MLP head", "cnn", changes=PLAIN),
        Row("trunks swapped, MLP head", "cnn", changes=PLAIN | {"swap_trunks": True}),
        Row("early fusion", "cnn", changes={"branches": "early"}),
    ),
}


def ablation(
    table: Literal["all", "2x2, paper", "2x2, modern", "auxiliary", "weight sharing", "cnn"] = "all",
    runs: int = 10,
    seed: int = 0,
    max_epochs: int | None = None,
    workers: int | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    out: str = "runs/ablation",
    resume: bool = False,
    verbose: bool = False,
) -> None:
    """Train the rows of one or all tables.

    Args:
        table: Which table.
        runs: Runs of each row.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs; the recipes' by default.
        workers: Processes; one a core by default.
        devices: Processes that share the runs of all rows, where not torchrun has started them.
        num_nodes: Machines on which SLURM has started this command.
        out: Folder for a CSV file and a plot of each table.
        resume: Whether to keep the rows that an interrupted command, else the same, left in the CSV files.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if not verbose:
        quiet()
    seeds, choice = RunFlags(runs=runs, seed=seed).seeds, ExecutionConfig(workers=workers)
    folder, plan = Path(out), Plan(seeds, max_epochs, choice)
    ranks = find_ranks({"accelerator": "cpu", "devices": devices, "num_nodes": num_nodes})
    parts = folder / "parts" if ranks else None
    names = list(TABLES) if table == "all" else [table]
    records = {name: Record(folder / f"{slug(name)}.csv", resume, parts) for name in names}
    pictures = {name: folder / f"{slug(name)}.png" for name in names}
    for picture in pictures.values():
        check_file(picture)
    if ranks and parts:
        share_rows([(records[name], row, plan) for name in names for row in TABLES[name]], parts, ranks)
        if ranks.rank:
            return
    known: Trained = []  # tables share rows, which are trained once
    for name in names:
        trained = train_rows(name, [(row, plan) for row in TABLES[name]], records[name], known)
        known = [*known, *trained]
        Console().print(ablation_table(name, trained))
        write_figure(pictures[name], ablation_figure(name, trained))
    for record in records.values():
        record.clear()


def slug(name: str) -> str:
    """A table's name for files."""
    return name.replace(", ", "-").replace(" ", "-")


def ablation_table(name: str, trained: Trained) -> Table:
    """Errors, and differences from the first row."""
    first = trained[0][0]
    table = Table(title=f"{name}: error in %")
    for column in ("", "n", "own test pairs", "all pairs", f"minus {first.name} (95 %)", ""):
        table.add_column(column)
    differences = _differences(trained)
    for row, runs in trained:
        results = ModelRuns(row.model, row.recipe, runs)
        figures = [results.errors(figure) for figure in ("test_error", "all_test_error")]
        cells = [percent(*spread(errors)) if errors else percent(None, None) for errors in figures]
        table.add_row(row.name, results.count, *cells, *differences[row.name])
    table.caption = f"differs: p < 0.05 after Holm's correction for {len(trained) - 1} comparisons"
    return table


def _differences(trained: Trained) -> dict[str, tuple[str, str]]:
    """Row to its difference from the first one with its interval, and whether it is more than noise."""
    (first, reference), *others = trained
    cells = {first.name: ("", "")}
    tested: dict[str, TTest] = {}
    for row, runs in others:
        compared = compare_runs(runs, reference)
        if compared is None or not compared.paired:
            cells[row.name] = ("", "too few runs")
            continue
        test = tested[row.name] = compared.test
        own = "" if compared.metric == "all_test_error" else " (own pairs)"
        cells[row.name] = (f"{100 * test.mean:+.2f} ± {100 * test.half_width:.2f}{own}", "")
    for name, verdict in zip(tested, verdicts(list(tested.values())), strict=True):
        cells[name] = (cells[name][0], verdict)
    return cells


def ablation_figure(name: str, trained: Trained) -> Figure:
    """Every run's error, and the mean with its 95 % interval: the first row, then the others, best first."""
    figure = Figure(figsize=(7, 1.6 + 0.35 * len(trained)), layout="constrained")
    axis = figure.subplots()
    others = sorted(trained[1:], key=lambda other: fmean(_percent(*other) or [math.inf]))
    names, counts = list[str](), list[str]()
    for y, (row, runs) in enumerate([trained[0], *others]):
        results, values = ModelRuns(row.model, row.recipe, runs), _percent(row, runs)
        whole = results.errors("all_test_error")
        counts.append(f"n = {results.count}")
        names.append(row.name + ("" if whole else ", own pairs"))
        if not values:
            continue
        if y == 0:
            axis.axvline(fmean(values), color="0.7", zorder=0, label=f"mean of {row.name}")
        beside = y + np.resize([0, -0.15, 0.15], len(values))  # equal errors stay apart
        axis.plot(values, beside, "o", color=BLUE, alpha=0.4, ms=4, label="a run")
        width = half_width(values) if len(values) > 1 else 0.0
        mean: Any = {"fmt": "|", "color": ORANGE, "capsize": 4, "ms": 14, "label": "mean, 95 % interval"}
        axis.errorbar(fmean(values), y, xerr=width, **mean)
    if len(set(counts)) > 1:
        names = [f"{row}, {count}" for row, count in zip(names, counts, strict=True)]
    axis.set_yticks(range(len(trained)), names)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("error over all pairs of test digits in %, logarithmic scale")
    axis.set_title(name if len(set(counts)) > 1 else f"{name}, {counts[0]}", fontsize=10)
    axis.grid(axis="x", alpha=0.3)
    shown = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))  # label to its last handle
    if shown:
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _percent(row: Row, runs: Sequence[Run]) -> list[float]:
    """The errors that the figure shows: over all pairs of test digits, or over own ones."""
    results = ModelRuns(row.model, row.recipe, runs)
    return [100 * error for error in results.errors("all_test_error") or results.errors()]


if __name__ == "__main__":
    cli.run(ablation, "python -m benchmarks.ablation")
