"""Named settings: which module a model is, and how a recipe trains it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.comparison import Comparison
from lightning_modules.models import AuxiliaryLoss, PlainCNN, WeightSharing

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
    settings: Mapping[str, Mapping[str, float]]  # model to arguments of its module


# Section 1.2.4. The learning rates, alpha and gamma are the choice of the paper's grid search (500 training,
# 500 validation pairs, 5 runs a point), run by us with right digit labels; docs/reproduction.md.
PAPER = Recipe(
    max_epochs=25,
    batch_size=50,
    settings={
        "cnn": {"lr": 0.05},
        "weight_sharing": {"lr": 0.1},
        "auxiliary": {"lr": 0.1, "alpha": 1.0, "gamma": 1.0},
    },
)


def resolve(
    recipe: Recipe, models: Sequence[str], overrides: Mapping[str, float | None]
) -> dict[str, dict[str, float]]:
    """The settings of each model: the recipe's, but for what is overridden.

    Args:
        recipe: The recipe.
        models: The models.
        overrides: Settings by name; None keeps the recipe's. One that not all models have goes to those
            that have it.

    Returns:
        Model to the arguments of its module.

    Raises:
        ValueError: An override has no effect on any of the models.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in given:
        if not any(name in recipe.settings[model] for model in models):
            raise ValueError(f"{name} has no effect on {', '.join(models)}; leave it out")
    return {
        model: {name: given.get(name, value) for name, value in recipe.settings[model].items()}
        for model in models
    }


RECIPES: Mapping[str, Recipe] = {"paper": PAPER}
