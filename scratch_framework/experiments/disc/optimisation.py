"""Optimiser and schedule of a recipe; the framework's names and arguments are torch.optim's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scratch_framework.core.parameter import Rate
    from scratch_framework.experiments.disc.recipe import Recipe

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def make_optimizer(
    library: Any, recipe: Recipe, parameters: Iterable[Any], lr: Rate, weight_decay: Rate
) -> Any:
    """Make the recipe's optimiser.

    Args:
        library: `scratch_framework` or `torch.optim`.
        recipe: Which optimiser.
        parameters: What it moves.
        lr: One rate for all, or one for each replica.
        weight_decay: Likewise.
    """
    if recipe.momentum and recipe.optimizer != "sgd":
        raise ValueError(f"momentum has no effect on {recipe.optimizer}; leave it out")
    options = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    kind = getattr(library, OPTIMIZERS[recipe.optimizer])
    return kind(parameters, lr=lr, weight_decay=weight_decay, **options)


def make_schedule(library: Any, recipe: Recipe, optimizer: Any, lr: Rate, steps: int) -> Any:
    """Make the recipe's schedule.

    Args:
        library: `scratch_framework` or `torch.optim.lr_scheduler`.
        recipe: Which schedule.
        optimizer: Whose rate to set.
        lr: The optimiser's highest rate.
        steps: Steps of the whole training.

    Returns:
        Something to `step()` after each step, or None for a constant rate.
    """
    if recipe.schedule == "one_cycle":
        return library.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False)
    if recipe.schedule == "cosine":
        return library.CosineAnnealingLR(optimizer, T_max=steps)
    return None
