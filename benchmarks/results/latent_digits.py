"""The digits that nets discover from comparisons alone: latent classes against true digits.

Command lines:
    python -m benchmarks.latent_digits                 weight sharing, 15 runs of the modern recipe
    python -m benchmarks.latent_digits --model cnn     separate trunks; the first one's latent digits

Nets are trained without a digit label. Here the labels of the test digits are looked at afterwards, to say
what the ten latent classes stand for.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.results.latent_classes import Confusion, confusion_of, draw_classes, latent_classes
from datamodules import DigitPairs, Digits, load_digits
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import atomic_write, check_file, make_folder
from lightning_modules.command.run_flags import RunFlags
from lightning_modules.models.latent.ordering import best_matching
from lightning_modules.models.loading import load_model
from lightning_modules.models.recipes import MODERN, resolve
from lightning_modules.results.figures import write_figure
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.runs import spread
from lightning_modules.results.table import percent
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import quiet, run_study
from lightning_modules.training.studies import make_study

FILES = ("checkpoint.ckpt", "confusion.json", "confusion.png")


def latent_digits(
    model: Literal["weight_sharing", "cnn"] = "weight_sharing",
    runs: int = 15,
    seed: int = 0,
    max_epochs: int = MODERN.settings["cnn"].max_epochs,
    train_pairs: int = 1000,
    workers: int | None = None,
    out: str = "runs/latent-digits",
    verbose: bool = False,
) -> None:
    """Train a net by the modern recipe and show its latent classes against the true digits.

    Args:
        model: Which, of the two that are told no digit.
        runs: Runs.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs.
        train_pairs: Training pairs of a run.
        workers: Processes; one a core by default.
        out: Folder for confusion.json, confusion.png and checkpoint.ckpt.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if not verbose:
        quiet()
    folder = Path(out)
    checkpoint, table, picture = (folder / name for name in FILES)
    for file in (checkpoint, table, picture):
        check_file(file)
    settings = resolve(MODERN, [model], {"max_epochs": max_epochs})[model]
    data, trainer = partial(DigitPairs, train_pairs=train_pairs), {"accelerator": "cpu"}
    seeds, choice = RunFlags(runs=runs, seed=seed).seeds, ExecutionConfig(workers=workers)
    study = make_study(settings, seeds, data, trainer, choice, checkpoint=checkpoint)
    make_folder(folder, anew=False, flag="out")
    with StudyProgress(Console(), {model: runs}, max_epochs) as progress:
        fit = run_study(study, partial(progress.add, model))
    if fit.unsaved:  # an older checkpoint may lie there
        raise cli.CommandError(f"{checkpoint} could not be written: {fit.unsaved}")
    _, test = load_digits()
    classes = latent_classes(load_model(checkpoint), test.images)
    rows = [
        {"seed": run.seed, "test_error": run.test_error, "diverged": bool(run.diverged)}
        | findings(confusion_of(own, test))
        for run, own in zip(fit.runs, classes, strict=True)
    ]
    atomic_write(table, json.dumps(rows, indent=1) + "\n")
    write_figure(picture, classes_figure(model, seed, classes, test), dpi=110)
    Console().print(summary(model, rows))


def findings(confusion: Confusion) -> dict[str, Any]:
    """Digits misread if class k is digit k, and if each class is the digit that suits it best."""
    matching, total = best_matching(confusion.astype(np.float64)), confusion.sum()
    return {
        "digit_error": 1 - float(np.trace(confusion) / total),
        "matched_digit_error": 1 - float(confusion[range(10), matching].sum() / total),
        "class_of_digit": matching,
        "confusion": confusion.tolist(),
    }


def classes_figure(model: str, seed: int, classes: NDArray[np.int64], digits: Digits) -> Figure:
    """The first run's table, large, and beside each digit how often all runs read it as itself.

    Args:
        model: The net's name.
        seed: Of the first run.
        classes: (R, n), each digit's latent class in each run.
        digits: The n digits.
    """
    figure = Figure(figsize=(8.6, 8.4), layout="constrained")
    axis = figure.subplots()
    draw_classes(axis, classes[0], digits, fontsize=9)
    axis.set_title(
        f"{model}, recipe modern, one run (seed {seed}): test digits by latent class and true digit\n"
        "on top: the mean image of each class",
        fontsize=10,
    )
    axis.set_xlabel("latent class, in the order that comparisons gave it")
    axis.set_ylabel("true digit, never told")
    labels = digits.labels.numpy()
    note: dict[str, Any] = {"va": "center", "fontsize": 9}
    axis.text(9.7, -1.15, f"{len(classes)} runs:\nread as itself,\n% ± std", **note)
    for digit in range(10):
        shares = (classes[:, labels == digit] == digit).mean(1).tolist()
        axis.text(9.7, digit, percent(*spread(shares)), **note)
    return figure


def summary(model: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Errors over runs, and how many found all digits in order."""
    sound = [row for row in rows if not row.get("diverged")]
    lost = f" of {len(rows)}; {len(rows) - len(sound)} diverged" if len(sound) < len(rows) else ""
    table = Table(title=f"{model}, modern recipe, error in %, mean ± std, n = {len(sound)}{lost}")
    for column in ("test pairs", "digits misread", "the same, best matching", "runs with all ten in order"):
        table.add_column(column)
    names = ("test_error", "digit_error", "matched_digit_error")
    if sound:
        in_order = sum(row["class_of_digit"] == list(range(10)) for row in sound)
        cells = [percent(*spread([row[name] for row in sound])) for name in names]
        table.add_row(*cells, f"{in_order} of {len(sound)}")
    return table


if __name__ == "__main__":
    cli.run(latent_digits, "python -m benchmarks.latent_digits")
