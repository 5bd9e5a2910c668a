"""What a recipe minimises and how: loss, optimiser and schedule, for the framework and for torch alike."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratch_framework.core.parameter import Rate
from scratch_framework.experiments.disc.recipe import Recipe


class Objective(NamedTuple):
    """A loss, the form of its target, and the logit of a net's outputs."""

    criterion: str  # its name in the framework and in torch.nn
    target: Callable[[Tensor, torch.dtype], Tensor]  # from classes (R, N) bool
    logit: Callable[[Tensor], Tensor]  # from outputs (R, N, C) to (R, N): above 0 means inside


def _numbers(inside: Tensor, dtype: torch.dtype) -> Tensor:
    return inside.unsqueeze(-1).to(dtype)  # (R, N, 1), of 0 and 1


def _classes(inside: Tensor, dtype: torch.dtype) -> Tensor:
    return inside.long()  # (R, N)


OBJECTIVES: Mapping[str, Objective] = {
    "mse": Objective("MSELoss", _numbers, lambda outputs: outputs[..., 0] - 0.5),
    "bce": Objective("BCEWithLogitsLoss", _numbers, lambda outputs: outputs[..., 0]),
    "ce": Objective("CrossEntropyLoss", _classes, lambda outputs: outputs[..., 1] - outputs[..., 0]),
}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def make_optimizer(
    library: Any, recipe: Recipe, parameters: Iterable[Any], lr: Rate, weight_decay: Rate
) -> Any:
    """Make the optimiser of `scratch_framework` or `torch.optim`; a rate may be (R,), for each replica."""
    options = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    kind = getattr(library, OPTIMIZERS[recipe.optimizer])
    return kind(parameters, lr=lr, weight_decay=weight_decay, **options)


def make_schedule(library: Any, recipe: Recipe, optimizer: Any, lr: Rate, steps: int) -> Any:
    """Make the schedule, of `scratch_framework` or `torch.optim.lr_scheduler`; None for a constant rate.

    Args:
        library: One of the two.
        recipe: Says which schedule.
        optimizer: Whose rate to set.
        lr: Its highest rate.
        steps: Steps of the whole training.
    """
    if recipe.schedule == "one_cycle":
        return library.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False)
    if recipe.schedule == "cosine":
        return library.CosineAnnealingLR(optimizer, T_max=steps)
    return None
