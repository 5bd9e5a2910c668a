"""Search spaces: for each model the paper's grid, and a space around the modern recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import prod
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from lightning_modules.models.settings import SETTINGS, LatentSettings

# Per-replica hyperparameters of a net on the disc.
DISC_REPLICA: tuple[str, ...] = ("lr", "weight_decay")


@dataclass(frozen=True)
class Space:
    """Parameters by the names of the flags that they become."""

    distributions: Mapping[str, BaseDistribution]
    per_replica: frozenset[str]  # names of those that may differ within a fit

    def grid(self) -> list[dict[str, Any]]:
        """All points, the last parameter varying fastest.

        Raises:
            ValueError: A parameter has a range, not a choice.
        """
        return self._grid

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        choices = {name: self._choices(name) for name in self.distributions}
        return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]

    def block(self) -> int:
        """How many consecutive points of the grid differ in per-replica hyperparameters only."""
        return prod(len(self._choices(name)) for name in self.per_replica)

    def _choices(self, name: str) -> tuple[Any, ...]:
        distribution = self.distributions[name]
        if not isinstance(distribution, CategoricalDistribution):
            raise ValueError(f"sampler grid needs choices, but {name} has a range; take tpe or random")
        return distribution.choices


def _choice(*values: Any) -> CategoricalDistribution:
    return CategoricalDistribution(values)


def _log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


# Section 1.2.4; section 2.3 for the disc.
LR, WEIGHTS = _choice(0.05, 0.1, 0.5, 1.0), _choice(0.2, 0.5, 0.8, 1.0)
PAPER: Mapping[str, Mapping[str, BaseDistribution]] = {
    **{model: {"lr": LR} for model in SETTINGS},
    "auxiliary": {"lr": LR, "alpha": WEIGHTS, "gamma": WEIGHTS},
    "disc": {
        "activations": _choice(*map(",".join, product(("tanh", "relu"), repeat=4))),
        "lr": _choice(1e-3, 5e-3, 1e-2),
        "weight_decay": _choice(0.0, 1e-6),
    },
}

# Around the modern recipes, which lie inside; what they share, and what those share that find the digits.
SHARED = {
    "lr": _log(1e-3, 5e-2),
    "weight_decay": _log(1e-4, 1e-1),
    "batch_size": _choice(25, 50),
    "elastic": FloatDistribution(0.0, 1.0),
}
LATENT = {
    "balance": _log(0.3, 3.0),
    "consistency": _log(0.1, 3.0),
    "two_views_from": FloatDistribution(0.0, 0.6),
}
MODERN: Mapping[str, Mapping[str, BaseDistribution]] = {
    **{
        model: SHARED | (LATENT if issubclass(kind, LatentSettings) else {})
        for model, kind in SETTINGS.items()
    },
    "auxiliary": SHARED
    | {"label_smoothing": FloatDistribution(0.0, 0.3), "gamma": FloatDistribution(0.0, 1.0)},
    "disc": {
        "widths": _choice("15,15,15,15", "25,25,25,25", "50,50,50,50"),
        "optimizer": _choice("adam", "adamw"),
        "schedule": _choice("one_cycle", "cosine"),
        "batch_size": _choice(25, 50, 100),
        "lr": _log(1e-4, 1e-2),
        "weight_decay": _log(1e-8, 1e-3),
    },
}
SPACES = {"paper": PAPER, "modern": MODERN}


@cache
def space_of(model: str, name: str) -> Space:
    """The space of a model."""
    distributions = SPACES[name][model]
    own = DISC_REPLICA
    if model != "disc":
        own = tuple(name for name, rule in SETTINGS[model].rules().items() if rule.per_replica)
    return Space(distributions, frozenset(distributions.keys() & set(own)))


# What the paper's authors took from their grids: their code for chapter 1, the text for chapter 2.
PAPER_CHOICE: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"lr": 0.05},
    "weight_sharing": {"lr": 0.1},
    "auxiliary": {"lr": 1.0, "alpha": 0.2, "gamma": 0.2},
    "disc": {"activations": "tanh,relu,relu,tanh", "lr": 5e-3, "weight_decay": 1e-6},
}
