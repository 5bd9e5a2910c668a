"""Named settings: which module a model is, and how a recipe trains it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_type_hints

from lightning_modules.command.options import Settings
from lightning_modules.command.plain import plain, refuse_unknown
from lightning_modules.models.base import PairModule
from lightning_modules.models.effects import BRANCHES, DATA, KNOWN, TEAM, no_effect, why_idle, without_effect
from lightning_modules.models.three import AuxiliaryLoss, PlainCNN, WeightSharing

Value = float | int | str

MODULES: Mapping[str, Callable[..., PairModule]] = {
    module.model_name: module for module in (PlainCNN, WeightSharing, AuxiliaryLoss)
}


@dataclass(frozen=True)
class Recipe:
    """How to train each of the three models."""

    max_epochs: int
    batch_size: int  # pairs
    precision: str  # Lightning's, for a machine that is fast in it (precision.py)
    settings: Mapping[str, Mapping[str, Any]]  # model to `Settings` of it


# Section 1.2.4. The learning rates, alpha and gamma are the choice of the paper's grid search (500 training,
# 500 validation pairs, 5 runs a point), run by us with right digit labels; docs/reproduction.md.
PAPER = Recipe(
    max_epochs=25,
    batch_size=50,
    precision="32-true",
    settings={
        "cnn": {"lr": 0.05},
        "weight_sharing": {"lr": 0.1},
        "auxiliary": {"lr": 0.1, "alpha": 1.0, "gamma": 1.0},
    },
)

# What the three modern models share; docs/recipes.md says where it comes from and what each part is worth.
BASE: Settings = {
    "lr": 0.01,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "warmup_linear",
    "trunk": "modern",
    "head": "exact",
    "augment": "bicubic",
    "elastic": 0.4,
}
# What the two share that are told no digit, and find them.
LATENT: Settings = {
    "pool": "flatten",
    "prior": 1.0,
    "consistency": 1.0,
    "two_views_from": 0.2,
    "reorder": True,
    "part_merged": True,
}
MODERN = Recipe(
    max_epochs=25,
    batch_size=25,
    precision="bf16-mixed",
    settings={
        "cnn": {**BASE, **LATENT, "branches": "separate", "turns": True, "width": 24},
        "weight_sharing": {**BASE, **LATENT, "width": 32},
        "auxiliary": {
            **BASE,
            "trunk": "deep",
            "width": 32,
            "pool": "average",
            "temperature": 0.5,
            "alpha": 0.5,
            "gamma": 0.0,
            "label_smoothing": 0.1,
            "two_views_from": 0.0,
        },
    },
)
RECIPES: Mapping[str, Recipe] = {"paper": PAPER, "modern": MODERN}

RUN = {"max_epochs", "batch_size"}  # settings that are of the study, not of a model

# What each replica may have its own of; other settings are the same for all replicas.
PER_REPLICA = ("lr", "alpha", "gamma")


def resolve(
    recipe: Recipe, models: Sequence[str], overrides: Mapping[str, Value | None]
) -> dict[str, dict[str, Any]]:
    """The settings of each model: the recipe's, but for what is overridden.

    Args:
        recipe: The recipe.
        models: The models.
        overrides: Settings by name; None keeps the recipe's. One that not all models have goes to those
            that have it.

    Returns:
        Model to its settings, without those that have no effect beside the others.

    Raises:
        ValueError: An override does not exist, is not of its type, or has no effect on any of the models.
    """
    hints, owner = get_type_hints(Settings), ", ".join(models)
    given = dict[str, Any]()
    for name, value in overrides.items():
        refuse_unknown(owner, name, hints)
        if value is not None:
            given[name] = plain(name, value, hints[name])
    resolved = {
        model: {
            **recipe.settings[model],
            **{name: value for name, value in given.items() if name in KNOWN[model]},
        }
        for model in models
    }
    complete = {model: {"branches": BRANCHES[model], **settings} for model, settings in resolved.items()}
    idle = {model: without_effect(settings) for model, settings in complete.items()}
    for name in given:
        having = [model for model in models if name in KNOWN[model]]
        if all(name in idle[model] for model in having):
            reasons = [why_idle(complete[model])[name] for model in having]
            raise ValueError(no_effect(name, owner, reasons))
    return {
        model: {name: value for name, value in settings.items() if name not in idle[model]}
        for model, settings in resolved.items()
    }


def model_config(model: str, settings: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that repeat the runs of one model of a study.

    Args:
        model: The model.
        settings: All its settings, as `resolve` gives them.
        config: The flags of the study, all by name.

    Returns:
        All flags by name; None for settings that the model does not have, or that have no effect on it.
    """
    own: dict[str, Any] = {**dict.fromkeys(Settings.__annotations__.keys() - RUN), **settings}
    return {**config, "model": model, **{name: own[name] for name in config if name in own}}


def parts(settings: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
    """Divide settings by whom they go to.

    Args:
        settings: Of a model.

    Returns:
        Arguments of the module that each replica may have its own of; those that all have in common;
        arguments of the data module.
    """
    replica = {name: settings[name] for name in PER_REPLICA if name in settings}
    data = {name: settings[name] for name in DATA if name in settings}
    elsewhere = {*PER_REPLICA, *DATA, *TEAM}
    if settings.get("consistency"):
        elsewhere -= {"two_views_from"}  # of data and module: its weight rises from there
    common = {name: value for name, value in settings.items() if name not in elsewhere}
    return cast("dict[str, float]", replica), common, data
