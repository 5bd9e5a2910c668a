"""The paper's grid (section 2.3): 3 learning rates x 2 weight decays x 2^4 activations, some runs of each.

All settings of one choice of activations are one net of replicas, each with its own rates. So the grid is 16
groups; a finished group is a file, and a search that was stopped anywhere goes on with the groups that are
missing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import product
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch
import yaml

from lightning_modules.command.atomic_io import make_folder, write_whole
from lightning_modules.command.cli import CommandError
from lightning_modules.command.limits import MOST_EPOCHS, MOST_EXAMPLES, MOST_RUNS, check_range
from scratch_framework.experiments.disc.points import Reading
from scratch_framework.experiments.disc.recipe import PAPER
from scratch_framework.experiments.disc.scratch_learner import ScratchLearner
from scratch_framework.experiments.disc.training import evaluate, examples, steps_per_epoch, train_epoch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scratch_framework.experiments.disc.recipe import Activation, Mistake, Recipe

RATES = list(product((1e-3, 5e-3, 1e-2), (0.0, 1e-6)))  # learning rate and weight decay
KINDS: tuple[Activation, ...] = ("tanh", "relu")
REMOVE = "remove it, and the same command goes on without"
GROUPS = list(product(KINDS, repeat=4))


@dataclass(frozen=True)
class Setting:
    """A point of the grid and its score."""

    activations: tuple[Activation, ...]
    lr: float
    weight_decay: float
    val_errors: list[float]  # one a run

    @property
    def val_error(self) -> float:
        """The mean over the runs."""
        return mean(self.val_errors)


@dataclass(frozen=True)
class Search:
    """How every point of the grid is scored."""

    repeats: int
    seed: int
    max_epochs: int
    batch_size: int
    train_points: int
    val_points: int
    mistake: Mistake
    compiled: bool  # whether to train by the compiled step

    def __post_init__(self) -> None:
        check_range("repeats", self.repeats, 1, MOST_RUNS)
        check_range("seed", self.seed, 0)
        check_range("max_epochs", self.max_epochs, 1, MOST_EPOCHS)
        check_range("batch_size", self.batch_size, 1, MOST_EXAMPLES)
        most = MOST_EXAMPLES // (self.repeats * len(RATES))
        check_range("train_points", self.train_points, 1, most)
        check_range("val_points", self.val_points, 1, most)

    def open(self, folder: Path) -> None:
        """Make the folder of this search, or find it.

        Args:
            folder: Its path.

        Raises:
            CommandError: The folder is another search's, or no search's at all.
        """
        config = folder / "grid.yaml"
        if not config.exists():
            if folder.exists() and any(path.suffix != ".tmp" for path in folder.iterdir()):
                raise CommandError(f"{folder} exists and holds no grid; choose another name")
            make_folder(folder, anew=False)
            write_whole(config, yaml.safe_dump(asdict(self), sort_keys=False))
        try:
            begun = dict(yaml.safe_load(config.read_text()))
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise CommandError(f"{config} is damaged: it must hold a grid's settings; {REMOVE}") from error
        for name, value in asdict(self).items():
            if begun.get(name) != value:
                before = begun.get(name, "unknown, by an older version of this program")
                raise CommandError(
                    f"{folder} was begun with {name} {before}, not {value}; choose another name"
                )

    def missing(self, folder: Path) -> list[tuple[Activation, ...]]:
        """The groups that are still to be trained."""
        return [group for group in GROUPS if not _path(folder, group).exists()]

    def train(self, folder: Path, group: tuple[Activation, ...], on_epoch: Callable[[], None]) -> None:
        """Train all settings of a group at once and write down their validation errors.

        Args:
            folder: Where to.
            group: Activations of the group.
            on_epoch: Called after each epoch.
        """
        recipe, seeds = self._recipe(group), self._seeds() * len(RATES)  # every setting has the same draws
        lr, weight_decay = torch.tensor(RATES).repeat_interleave(self.repeats, 0).T.contiguous()  # (R,) each
        steps = self.max_epochs * steps_per_epoch(recipe, self.train_points)
        learner = ScratchLearner(
            recipe, seeds, steps, compiled=self.compiled, lr=lr, weight_decay=weight_decay
        )
        train, val = (
            examples(recipe, Reading().draw(purpose, count, seeds), torch.float32)
            for purpose, count in (("train", self.train_points), ("val", self.val_points))
        )
        for epoch in range(self.max_epochs):
            train_epoch(learner, recipe, train, epoch)
            on_epoch()
        errors = evaluate(learner, recipe, val)[1].view(len(RATES), self.repeats).tolist()
        settings = [Setting(group, *rates, scores) for rates, scores in zip(RATES, errors, strict=True)]
        write_whole(_path(folder, group), json.dumps([asdict(setting) for setting in settings]))

    def _recipe(self, group: tuple[Activation, ...]) -> Recipe:
        sizes = {"max_epochs": self.max_epochs, "batch_size": self.batch_size}
        return PAPER.overridden({"activations": ",".join(group), "mistake": self.mistake} | sizes)

    def _seeds(self) -> list[int]:
        return list(range(self.seed, self.seed + self.repeats))

    def settings(self, folder: Path) -> list[Setting]:
        """All points of a finished grid, the best first."""
        settings = [setting for group in GROUPS for setting in _read(_path(folder, group))]
        return sorted(settings, key=lambda setting: round(setting.val_error, 9))  # equal shares tie


def _read(path: Path) -> list[Setting]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return [Setting(**row | {"activations": tuple(row["activations"])}) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is damaged: it must hold the scores of a group; {REMOVE}") from error


def _path(folder: Path, group: tuple[Activation, ...]) -> Path:
    return folder / f"group_{'_'.join(group)}.json"
