"""Recipes: named settings of the three models, and how flags change them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning_modules.command.plain import refuse_unknown
from lightning_modules.models.settings import (
    SETTING_NAMES,
    SETTINGS,
    LatentSettings,
    PairSettings,
    no_effect,
)


@dataclass(frozen=True)
class Recipe:
    """The settings of each model, and the precision to train in."""

    precision: str  # Lightning's, for a machine that is fast in it (precision.py)
    settings: Mapping[str, PairSettings]  # by model


# Section 1.2.4, and the defaults of all settings. The learning rates, alpha and gamma are what the paper's
# grid search (500 training, 500 validation pairs, 5 runs a point) chooses when we run it with right digit
# labels; docs/reproduction.md.
PAPER = Recipe("32-true", {model: kind() for model, kind in SETTINGS.items()})


# docs/recipes.md says where the modern settings come from, and how much each part lowers the error.
SHARED: Mapping[str, Any] = {
    "lr": 0.01,
    "batch_size": 25,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "warmup_linear",
    "head": "exact",
    "augment": "bicubic",
    "elastic": 0.4,
}
LATENT: Mapping[str, Any] = {  # of models that discover the digits
    "trunk": "modern",
    "pool": "flatten",
    "balance": 1.0,
    "consistency": 1.0,
    "two_views_from": 0.2,
    "reorder": True,
    "split_merged": True,
}
OWN: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"branches": "separate", "swap_trunks": True, "width": 24},
    "auxiliary": {
        "trunk": "deep",
        "pool": "average",
        "temperature": 0.5,
        "alpha": 0.5,
        "gamma": 0.0,
        "label_smoothing": 0.1,
        "two_views_from": 0.0,
    },
}


def _modern(model: str, kind: type[PairSettings]) -> PairSettings:
    latent = LATENT if issubclass(kind, LatentSettings) else {}
    return kind(**(dict(SHARED) | dict(latent) | dict(OWN.get(model, {}))))


MODERN = Recipe("bf16-mixed", {model: _modern(model, kind) for model, kind in SETTINGS.items()})
RECIPES: Mapping[str, Recipe] = {"paper": PAPER, "modern": MODERN}


def resolve(recipe: Recipe, models: Sequence[str], changes: Mapping[str, Any]) -> dict[str, PairSettings]:
    """The settings of each model: the recipe's, but for what is changed.

    Args:
        recipe: The recipe.
        models: The models.
        changes: Settings by name; None keeps the recipe's. One that not all models have goes to those that
            have it.

    Returns:
        Model to its settings; those that have no effect beside the others have their idle values.

    Raises:
        ValueError: A change does not exist, is out of range or not of its type, or has no effect on any of
            the models.
    """
    owner, given = ", ".join(models), {name: value for name, value in changes.items() if value is not None}
    for name in changes:
        refuse_unknown(owner, name, SETTING_NAMES)
    chosen = dict[str, PairSettings]()
    for model in models:
        settings = recipe.settings[model]
        own = {name: value for name, value in given.items() if name in settings.rules()}
        chosen[model] = replace(settings, **own)
    idle = {model: settings.idle() for model, settings in chosen.items()}
    for name in given:
        having = [model for model in models if name in chosen[model].rules()]
        if all(name in idle[model] for model in having):
            raise ValueError(no_effect(name, owner, [idle[model][name] for model in having]))
    return {model: settings.settled() for model, settings in chosen.items()}
