"""Command for points in a disc: ``python -m scratch_framework``, its flags and what they become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from lightning_modules.command import cli
from lightning_modules.command.limits import MOST_EXAMPLES, check_range
from lightning_modules.command.settings import changes_of, flags_of, setting, split_flags
from scratch_framework.experiments.disc.recipe import RECIPES, Recipe
from scratch_framework.experiments.flags import ScratchFlags


@dataclass(frozen=True)
class DiscFlags(ScratchFlags):
    """Flags of an experiment on the disc, beside those that change its recipe."""

    recipe: Literal["paper", "modern"] = setting(
        "paper", "Named settings: the paper's, or the best that we found. Other flags replace single ones."
    )
    backend: Literal["scratch", "torch"] = setting(
        "scratch", "What computes: the framework, all runs as one; or torch.nn, run by run."
    )
    disc: Literal["radius", "diameter"] = setting(
        "radius", "What 1/sqrt(2 pi) is of the disc; the paper says diameter, its figure shows the radius."
    )
    points: Literal["uniform", "normal"] = setting(
        "uniform", "How points are drawn; the paper says normal, its figure shows uniform."
    )
    train_points: int = setting(1000, "Training points of a run.")
    val_points: int = setting(1000, "Validation points of a run; may be 0.")
    test_points: int = setting(1000, "Test points of a run.")
    compile: bool | None = setting(
        None,
        "Whether the framework trains by its compiled step; by default where there is one, which is not with"
        " --mistake or --backend torch.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net != "mlp":
            raise ValueError(f"net must be mlp for points in a disc, got {self.net}; give --net {self.net}")
        for split, count in self.counts.items():
            check_range(f"{split}_points", count, int(split != "val"), MOST_EXAMPLES // self.runs)
        if self.compile and self.backend == "torch":
            raise ValueError("compile is the framework's; leave it out with backend torch")

    @property
    def counts(self) -> dict[str, int]:
        """Points of a run by split."""
        return {"train": self.train_points, "val": self.val_points, "test": self.test_points}


FLAGS = [*flags_of(DiscFlags), *changes_of([Recipe])]


def disc(**flags: Any) -> None:
    """Train a small net to tell points inside a disc from points outside, and test each run once.

    Args:
        **flags: Fields of `DiscFlags`, and of `Recipe` where it is to be another value than the recipe's.

    Raises:
        ValueError: One is out of range or has no effect.
    """
    own, changes = split_flags(DiscFlags, flags)
    recipe = replace(RECIPES[own.recipe], **changes)
    compiled = own.backend == "scratch" and recipe.mistake == "none" if own.compile is None else own.compile
    with cli.imports(first_sign=True):
        import torch

        from scratch_framework.experiments.disc.experiment import Experiment
    torch.set_num_threads(1)
    Experiment(replace(own, compile=compiled), recipe).run()
