"""Rows of a comparison: named changes of a recipe, each trained over the same seeds and pairs."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from datamodules import DigitPairs
from lightning_modules.execution import Choice
from lightning_modules.protocol import run_study
from lightning_modules.recipes import RECIPES, resolve
from lightning_modules.results import Run
from lightning_modules.studies import make_study
from lightning_modules.study_log import EpochFigures


@dataclass(frozen=True)
class Row:
    """A model, a recipe, and what is changed of it."""

    name: str
    model: str
    recipe: str = "modern"
    changes: Mapping[str, Any] = field(default_factory=dict)
    train_pairs: int = 1000

    def train(
        self,
        seeds: Sequence[int],
        max_epochs: int | None,
        choice: Choice,
        tick: Callable[[EpochFigures], None],
        val_pairs: int = 500,
    ) -> list[Run]:
        """Train and test it.

        Args:
            seeds: Of the runs.
            max_epochs: Epochs; the recipe's for None.
            choice: How to compute.
            tick: Called with every epoch's figures.
            val_pairs: Validation pairs of a run.

        Returns:
            The runs, with their errors over all pairs of test digits.
        """
        recipe = RECIPES[self.recipe]
        changes = {name: value for name, value in self.changes.items() if name != "batch_size"}
        batch_size = self.changes.get("batch_size", recipe.batch_size)
        data = partial(DigitPairs, train_pairs=self.train_pairs, val_pairs=val_pairs, batch_size=batch_size)
        (settings,) = resolve(recipe, [self.model], changes).values()
        trainer = {"max_epochs": max_epochs or recipe.max_epochs, "accelerator": "cpu"}
        study = make_study(self.model, settings, seeds, data, trainer, choice, all_pairs=True)
        return run_study(study, lambda first, figures: tick(figures)).runs


def write_runs(path: Path, rows: Sequence[tuple[Row, Sequence[Run]]]) -> None:
    """Write a line for every run of every row.

    Args:
        path: The CSV file.
        rows: Rows with their runs.
    """
    names = ["row", "model", "recipe", "train_pairs", "changes", *Run.__annotations__]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        for row, runs in rows:
            changes = " ".join(f"{name}={value}" for name, value in row.changes.items())
            about = {"row": row.name, "model": row.model, "recipe": row.recipe}
            about |= {"train_pairs": str(row.train_pairs), "changes": changes}
            table.writerows(about | asdict(run) for run in runs)
