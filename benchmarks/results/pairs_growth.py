"""How the error falls with the number of training pairs, for three nets and both recipes.

Command lines:
    python -m benchmarks.pairs_growth                              100 to 30,000 pairs, 6 to 2 runs each
    python -m benchmarks.pairs_growth --most_pairs 10000           without the largest size, and the floor
    python -m benchmarks.pairs_growth --resume                     after an interruption
    python -m benchmarks.pairs_growth --devices 2                  two processes share it; docs/distributed.md
    python -m benchmarks.pairs_growth --quick --runs 2             a smoke run: two sizes, one epoch

Up to 30,000 pairs of different digits fit into MNIST's 60,000; validation pairs are left out for that. The
recipes keep their number of epochs up to 10,000 pairs; 30,000 are seen 8 times instead of 25. From 10,000
pairs on, where runs differ little and cost much, fewer are made. The floor is the modern auxiliary net's
error at 30,000 pairs: a digit classifier, trained on all 60,000 labelled digits, turned into pair error.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.table import Table

from benchmarks.results.ablation import UNSHARPENED
from benchmarks.results.rows import Plan, Record, Row, Trained, share_rows, train_rows
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file
from lightning_modules.command.cli import CommandError
from lightning_modules.command.run_flags import RunFlags
from lightning_modules.models.recipes import RECIPES
from lightning_modules.models.registry import MODULES
from lightning_modules.results.figures import write_figure
from lightning_modules.results.palette import COLOURS
from lightning_modules.results.runs import ModelRuns, spread
from lightning_modules.results.table import percent
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.ranks import find_ranks
from lightning_modules.training.runner import quiet

PAIRS = (100, 300, 1000, 3000, 10_000, 30_000)
BUDGET = 20_000  # pairs of all runs of a size together, but for two runs that there are at least
FLOOR = "floor, a digit classifier trained on all 60,000 digits"
# What the three modern nets differ in is what they are told, not their depth.
SAME_TRUNK = {("modern", "auxiliary"): UNSHARPENED}
PAIRED = "all pairs of test digits (recipe paper: each test digit in one pair)"
SEEN = 250_000  # pairs that a run sees in all its epochs, at most

BESIDE: Any = {"textcoords": "offset points", "fontsize": 8}  # a label, some points from its place

Errors = Mapping[tuple[str, str], Mapping[int, Sequence[float]]]  # (recipe, model) to pairs to errors


def pairs_growth(
    runs: int = 6,
    seed: int = 0,
    max_epochs: int | None = None,
    most_pairs: int = PAIRS[-1],
    quick: bool = False,
    workers: int | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    out: str = "runs/pairs-growth",
    resume: bool = False,
    verbose: bool = False,
) -> None:
    """Train all nets at all sizes; write a CSV file and a plot.

    Args:
        runs: Runs of each, at most.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs; the recipes' by default.
        most_pairs: The largest size; larger ones are left out, and then the floor too.
        quick: Two small sizes and one epoch, to see that it runs.
        workers: Processes; one a core by default.
        devices: Processes that share the runs of all rows, where not torchrun has started them.
        num_nodes: Machines on which SLURM has started this command.
        out: Folder for pairs-growth.csv and pairs-growth.png.
        resume: Whether to keep the rows that an interrupted command, else the same, left in the CSV file.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if not verbose:
        quiet()
    if most_pairs < PAIRS[0]:
        raise CommandError(f"most_pairs must be at least {PAIRS[0]}, got {most_pairs}")
    if quick and (max_epochs, most_pairs) != (None, PAIRS[-1]):
        raise CommandError("max_epochs and most_pairs have no effect with quick; leave them out")
    sizes, epochs = (PAIRS[:2], 1) if quick else ([size for size in PAIRS if size <= most_pairs], max_epochs)
    folder, choice = Path(out), ExecutionConfig(workers=workers)
    RunFlags(runs=runs, seed=seed)  # refuses numbers that are none
    planned = [(row, plan_of(row, runs, seed, epochs, choice)) for row in growth_rows(sizes)]
    ranks = find_ranks({"accelerator": "cpu", "devices": devices, "num_nodes": num_nodes})
    parts = folder / "parts" if ranks else None
    record, picture = Record(folder / "pairs-growth.csv", resume, parts), folder / "pairs-growth.png"
    check_file(picture)
    if ranks and parts:
        share_rows([(record, *row) for row in planned], parts, ranks)
        if ranks.rank:
            return
    errors = collect(train_rows("growth", planned, record))
    labelled = errors["modern", "auxiliary"].get(PAIRS[-1])
    floor = spread(labelled)[0] if labelled else None
    record.clear()
    write_figure(picture, growth_figure(errors, floor))
    Console().print(growth_table(errors, floor))


def plan_of(row: Row, runs: int, seed: int, max_epochs: int | None, choice: ExecutionConfig) -> Plan:
    """Fewer runs and epochs of large rows; no validation pairs, which would take digits from training."""
    length = min(row.settings(max_epochs).max_epochs, SEEN // row.train_pairs)
    seeds = range(seed, seed + min(runs, max(2, BUDGET // row.train_pairs)))
    return Plan(seeds, length, choice, val_pairs=0)


def growth_rows(sizes: Sequence[int]) -> list[Row]:
    """Every net by every recipe at every size."""
    return [
        Row(f"{recipe}, {model}", model, recipe, SAME_TRUNK.get((recipe, model), {}), pairs)
        for pairs in sizes
        for recipe in RECIPES
        for model in MODULES
    ]


def collect(trained: Trained) -> Errors:
    """Sort the errors over all test digits by net and size: over all their pairs, or the fixed ones.

    Runs that diverged are left out.
    """
    errors: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row, runs in trained:
        by_size = errors.setdefault((row.recipe, row.model), {})
        results = ModelRuns(row.model, row.recipe, runs)
        by_size[row.train_pairs] = results.errors("all_test_error") or results.errors("fixed_pairs_error")
    return errors


def growth_table(errors: Errors, floor: float | None = None) -> Table:
    """Mean and deviation of every net at every size; the floor is known with the largest size only."""
    table = Table(title=f"error over {PAIRED} in %, mean ± std")
    if floor is not None:
        table.caption = f"{FLOOR}: {100 * floor:.2f} %"
    counts: dict[int, int] = {}
    for by_size in errors.values():
        counts |= {size: max(len(values), counts.get(size, 0)) for size, values in by_size.items()}
    for column in ("training pairs", *(f"{size}, n = {runs}" for size, runs in counts.items())):
        table.add_column(column)
    for (recipe, model), by_size in errors.items():
        cells = [_cell(by_size[size], most) for size, most in counts.items()]
        table.add_row(f"{recipe}, {model}", *cells)
    return table


def _cell(values: Sequence[float], most: int) -> str:
    """Mean and deviation, and how many runs they are of, where some diverged."""
    text = percent(*spread(values)) if values else percent(None, None)
    return text if len(values) == most else f"{text} (n = {len(values)})"


def growth_figure(errors: Errors, floor: float | None = None) -> Figure:
    """Mean and band of one standard deviation, both axes logarithmic."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axis = figure.subplots()
    for (recipe, model), by_size in errors.items():
        measured = {size: values for size, values in by_size.items() if values}
        if not measured:
            continue
        sizes, spreads = list(measured), map(spread, measured.values())
        average, deviation = 100 * np.array([(average, deviation or 0.0) for average, deviation in spreads]).T
        number, style = list(MODULES).index(model), "-" if recipe == "modern" else "--"
        colour = COLOURS[number]
        axis.plot(sizes, average, style, marker="os^"[number % 3], ms=5, color=colour)
        edge: Any = {"xycoords": axis.get_yaxis_transform(), "color": colour}
        axis.annotate(f"{model}, {recipe}", (1, average[-1]), (5, -3), **edge, **BESIDE)
        low = np.maximum(average - deviation, average / 3)  # a band that reaches 0 has no place on a log axis
        axis.fill_between(sizes, low, average + deviation, color=colour, alpha=0.15, lw=0)
    if floor is not None:
        axis.axhline(100 * floor, color="0.5", ls=":")
        axis.annotate(FLOOR, (PAIRS[0], 100 * floor), (0, -11), color="0.4", **BESIDE)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("training pairs")
    axis.set_ylabel(f"error in %, mean ± std, over\n{PAIRED}", fontsize=8)
    axis.grid(which="both", alpha=0.2)
    return figure


if __name__ == "__main__":
    cli.run(pairs_growth, "python -m benchmarks.pairs_growth")
