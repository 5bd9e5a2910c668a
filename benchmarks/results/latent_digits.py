"""The digits that nets discover from comparisons alone: latent classes against true digits.

Command lines:
    python -m benchmarks.latent_digits                 weight sharing, 15 runs of the modern recipe
    python -m benchmarks.latent_digits --model cnn     separate trunks; the first one's latent digits

Nets are trained without a digit label; the labels of the test digits are looked at afterwards, here, to say
what the ten latent classes stand for.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from datamodules import DigitPairs, load_digits
from lightning_modules import PairModule
from lightning_modules.command import cli
from lightning_modules.models.latent.ordering import best_matching
from lightning_modules.models.loading import load_model
from lightning_modules.models.recipes import MODERN, resolve
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.runs import spread
from lightning_modules.results.table import percent
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import quiet, run_study
from lightning_modules.training.studies import make_study

Confusion = NDArray[np.int64]  # (10, 10), rows digits, columns latent classes


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
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.ckpt"
    settings = resolve(MODERN, [model], {"max_epochs": max_epochs})[model]
    data, trainer = partial(DigitPairs, train_pairs=train_pairs), {"accelerator": "cpu"}
    seeds, choice = range(seed, seed + runs), ExecutionConfig(workers=workers)
    study = make_study(settings, seeds, data, trainer, choice, checkpoint=checkpoint)
    with StudyProgress(Console(), {model: runs}, max_epochs) as progress:
        progress.begin(model, runs)
        fit = run_study(study, progress.add)
    confusions = confusions_of(load_model(checkpoint))
    rows = [
        {"seed": run.seed, "test_error": run.test_error, "diverged": bool(run.diverged)} | findings(confusion)
        for run, confusion in zip(fit.runs, confusions, strict=True)
    ]
    (folder / "confusion.json").write_text(json.dumps(rows, indent=1) + "\n")
    confusion_figure(confusions, rows).savefig(folder / "confusion.png", dpi=110)
    Console().print(summary(model, rows))


def confusions_of(module: PairModule) -> list[Confusion]:
    """A table a replica: how often each true digit was read as each latent class, over all test digits."""
    _, test = load_digits()
    replicas, tables = len(module.seeds), []
    with torch.no_grad():
        parts = [
            module.network(part.unsqueeze(1).expand(-1, 2 * replicas, 14, 14)).digits[:, :, 0].argmax(-1)
            for part in test.images.split(250)
        ]
    for latent in torch.cat(parts).unbind(1):  # (10000,) of each replica
        counts = torch.bincount(10 * test.labels + latent, minlength=100)
        tables.append(counts.view(10, 10).numpy())
    return tables


def findings(confusion: Confusion) -> dict[str, Any]:
    """Digits misread if class k is digit k, and if each class is the digit that suits it best."""
    matching, total = best_matching(confusion.astype(np.float64)), confusion.sum()
    return {
        "digit_error": 1 - float(np.trace(confusion) / total),
        "matched_digit_error": 1 - float(confusion[range(10), matching].sum() / total),
        "class_of_digit": matching,
        "confusion": confusion.tolist(),
    }


def confusion_figure(confusions: Sequence[Confusion], rows: Sequence[dict[str, Any]]) -> Figure:
    """The tables of all runs as pictures."""
    columns = min(5, len(confusions))
    lines = -(-len(confusions) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.7 * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis in axes[len(confusions) :]:
        axis.axis("off")
    for axis, confusion, row in zip(axes, confusions, rows, strict=False):
        axis.imshow(confusion / confusion.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
        for digit, latent in np.argwhere(confusion > 0):
            count = confusion[digit, latent]
            shade = "white" if count > 500 else "0.3"
            axis.text(latent, digit, str(count), ha="center", va="center", fontsize=4, color=shade)
        axis.set_title(f"seed {row['seed']}: {100 * row['digit_error']:.1f} % of digits misread", fontsize=7)
        axis.set_xticks(range(10))
        axis.set_yticks(range(10))
        axis.tick_params(labelsize=6, length=0)
    figure.supxlabel("latent class, in the order that comparisons gave it", fontsize=9)
    figure.supylabel("true digit, never told", fontsize=9)
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
