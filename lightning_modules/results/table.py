"""The table of results on the console: our errors, and the paper's beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from lightning_modules.results.runs import METRICS, ModelRuns, spread


@dataclass(frozen=True)
class PaperFigure:
    """What the paper reports of one model: errors as shares, None where it gives no deviation."""

    train_mean: float
    train_std: float | None
    test_mean: float
    test_std: float | None
    note: str = ""  # what a figure says beside it


# Figure 1.5, 15 runs each.
PAPER_FIGURES: Mapping[str, PaperFigure] = {
    "cnn": PaperFigure(6.67e-4, 1.01e-3, 1.70e-1, 1.63e-2),
    "weight_sharing": PaperFigure(2.60e-3, 1.85e-3, 1.23e-1, 1.30e-2),
    "auxiliary": PaperFigure(1.84e-2, 1.13e-2, 1.52e-1, 8.98e-3, "a mistake"),
}


def results_table(models: Sequence[ModelRuns], paper: Mapping[str, PaperFigure]) -> Table:
    """Our results beside the paper's.

    Args:
        models: What is finished.
        paper: Model to the paper's results; without them the table has ours only.

    Returns:
        A table for the console.
    """
    title = "error in %, mean ± std over n runs"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    table.caption, table.caption_justify = "\n".join(_remarks(models)) or None, "left"
    table.collapse_padding = True  # for 80 columns
    table.add_column("model", no_wrap=True)
    for column in ("train", "test", "n", *(("paper: train", "paper: test") if paper else ())):
        table.add_column(column, justify="right", no_wrap=True)
    for model in models:
        ours, theirs = model.summary(), paper.get(model.model)
        cells = [
            percent(ours["train_error_mean"], ours["train_error_std"]),
            percent(ours["test_error_mean"], ours["test_error_std"]),
            model.count,
        ]
        if theirs:
            cells.append(percent(theirs.train_mean, theirs.train_std))
            cells.append(percent(theirs.test_mean, theirs.test_std))
        table.add_row(model.model, *cells)
        for name, about in METRICS.items():
            if about.row and (errors := model.errors(name)):
                table.add_row(f"  {about.row}", "", percent(*spread(errors)))
    wide = Console(width=10_000)
    table.width = Measurement.get(wide, wide.options, table).maximum  # a narrow terminal cuts no figure
    return table


def _remarks(models: Sequence[ModelRuns]) -> list[str]:
    """The notes below the table."""
    remarks = [
        f"{about.row}: {about.remark}"
        for name, about in METRICS.items()
        if about.row and about.remark and any(model.errors(name) for model in models)
    ]
    lost = {model.model: len(model.runs) - len(model.sound) for model in models}
    if diverged := [f"{count} of {model}" for model, count in lost.items() if count]:
        remarks.append(f"diverged, and left out: {', '.join(diverged)}")
    return remarks


def percent(average: float | None, deviation: float | None) -> str:
    """Mean and deviation of shares, in percent, for a table; a dash where there is none."""
    if average is None:
        return "\N{EN DASH}"
    return f"{100 * average:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")
