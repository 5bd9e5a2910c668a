"""Named settings: which module a model is, and how a recipe trains it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lightning_modules.comparison import Comparison
from lightning_modules.models import AuxiliaryLoss, PlainCNN, WeightSharing
from lightning_modules.options import Options, Settings

Value = float | int | str

MODULES: Mapping[str, Callable[..., Comparison]] = {
    "cnn": PlainCNN,
    "weight_sharing": WeightSharing,
    "auxiliary": AuxiliaryLoss,
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

# Settings by whom they go to; the rest are the module's, the same for all replicas.
PER_REPLICA = ("lr", "alpha", "gamma")
DATA = ("batch_size", "augment", "elastic", "two_views_from")

_COMMON = {"lr", "augment", "elastic", "two_views_from", "ensemble", *Options.__annotations__}
_LATENT = {"prior", "consistency", "reorder", "part_merged", "restarts"}
KNOWN: Mapping[str, set[str]] = {
    # Latent digits are what the head takes them for: a temperature would only rescale what is learnt.
    "cnn": (_COMMON | _LATENT) - {"temperature"},
    "weight_sharing": (_COMMON | _LATENT) - {"branches", "temperature"},
    "auxiliary": _COMMON | {"alpha", "gamma", "label_smoothing"},
}


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
        ValueError: An override has no effect on any of the models.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    resolved = {
        model: {
            **recipe.settings[model],
            **{name: value for name, value in given.items() if name in KNOWN[model]},
        }
        for model in models
    }
    idle = {model: without_effect(settings) for model, settings in resolved.items()}
    for name in given:
        if not any(name in KNOWN[model] - idle[model] for model in models):
            raise ValueError(f"{name} has no effect on {', '.join(models)}; leave it out")
    return {
        model: {name: value for name, value in settings.items() if name not in idle[model]}
        for model, settings in resolved.items()
    }


def without_effect(settings: Mapping[str, Any]) -> set[str]:
    """Settings that have no effect beside the others.

    Args:
        settings: Of a model.

    Returns:
        Their names, whether given or not.
    """
    idle = set[str]()
    if settings.get("branches") != "separate":
        idle |= {"turns"}
    if settings.get("trunk", "paper") not in ("modern", "deep"):
        idle |= {"width", "pool"}
    if settings.get("branches") == "early":
        idle |= {"head"}
    if settings.get("head") != "exact" or settings.get("branches") == "early":
        # Only this head's features are latent digits.
        idle |= {"temperature", "prior", "consistency", "reorder"}
    if not settings.get("reorder") or "reorder" in idle:
        idle |= {"part_merged"}
    if settings.get("augment", "none") == "none":
        idle |= {"elastic", "two_views_from", "consistency"}
    if settings.get("two_views_from", 1.0) >= 1:
        idle |= {"consistency"}
    return idle


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
    elsewhere = {*PER_REPLICA, *DATA, "ensemble", "restarts"}
    if "consistency" in settings:
        elsewhere -= {"two_views_from"}  # of data and module: its weight rises from there
    common = {name: value for name, value in settings.items() if name not in elsewhere}
    return cast("dict[str, float]", replica), common, data
