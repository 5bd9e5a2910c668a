"""Recipes: how the net of chapter 2 is built and trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from lightning_modules.command.limits import MOST_CHANNELS, MOST_EPOCHS, MOST_EXAMPLES, check_range

if TYPE_CHECKING:
    from collections.abc import Mapping

Activation = Literal["tanh", "relu", "leaky_relu", "sigmoid", "none"]
Loss = Literal["mse", "bce", "ce"]
Reduction = Literal["mean", "sum"]
Initialisation = Literal["paper", "default"]
Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "one_cycle"]
Order = Literal["fixed", "shuffled"]
Mistake = Literal["none", "bias_per_row"]


@dataclass(frozen=True)
class Recipe:
    """All that makes one training, but for its seed and data."""

    widths: tuple[int, ...]  # of the hidden layers
    activations: tuple[Activation, ...]  # one after each layer, the last one included
    initialisation: Initialisation
    standardise: bool  # whether the net sees inputs of mean 0 and variance 1, or of [0, 1] as they are
    loss: Loss
    reduction: Reduction  # of the gradient, over the batch
    optimizer: Optimizer
    lr: float
    weight_decay: float
    momentum: float  # of SGD
    schedule: Schedule
    max_epochs: int
    batch_size: int
    order: Order  # whether every epoch has an order of its own
    mistake: Mistake = "none"

    def __post_init__(self) -> None:
        if min(self.widths, default=0) < 1:
            raise ValueError(f"widths must be sizes of at least 1, got {_listed(self.widths)}")
        if max(self.widths) > MOST_CHANNELS:
            raise ValueError(f"widths must be sizes of at most {MOST_CHANNELS}, got {_listed(self.widths)}")
        if len(self.activations) != len(self.widths) + 1:
            raise ValueError(
                f"activations must be one after each of the {len(self.widths) + 1} layers,"
                f" got {len(self.activations)}: {_listed(self.activations)}"
            )
        for activation in self.activations:
            if activation not in get_args(Activation):
                known = ", ".join(get_args(Activation))
                raise ValueError(f"activations must be among {known}, got {activation!r}")
        for name in ("lr", "weight_decay", "momentum"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        check_range("max_epochs", self.max_epochs, 1, MOST_EPOCHS)
        check_range("batch_size", self.batch_size, 1, MOST_EXAMPLES)

    @property
    def layers(self) -> list[tuple[int, int, Activation]]:
        """Inputs, outputs and activation of every layer."""
        outputs = 2 if self.loss == "ce" else 1
        sizes = pairwise((2, *self.widths, outputs))
        return [(*size, activation) for size, activation in zip(sizes, self.activations, strict=True)]

    def overridden(self, flags: Mapping[str, Any]) -> Recipe:
        """The recipe but for some settings.

        Args:
            flags: Values by name, in the form of flags; None keeps the recipe's, other names do not matter.
        """
        names = {field.name for field in fields(self)}
        given = {name: value for name, value in flags.items() if name in names and value is not None}
        if "widths" in given:
            given["widths"] = _sizes(given["widths"])
        if "activations" in given:
            given["activations"] = tuple(given["activations"].split(","))
        return replace(self, **given)

    def flags(self) -> dict[str, Any]:
        """All settings in the form of flags."""
        return asdict(self) | {"widths": _listed(self.widths), "activations": _listed(self.activations)}


# Section 2.3. What the paper does not say is the authors' code's: the gradient is the batch's sum, not its
# mean, and batches come in the same order in every epoch.
PAPER = Recipe(
    widths=(25, 25, 25),
    activations=("tanh", "relu", "relu", "tanh"),
    initialisation="paper",
    standardise=False,
    loss="mse",
    reduction="sum",
    optimizer="sgd",
    lr=0.005,
    weight_decay=1e-6,
    momentum=0.0,
    schedule="constant",
    max_epochs=250,
    batch_size=50,
    order="fixed",
)

# Chosen on validation points; docs/disc.md.
MODERN = Recipe(
    widths=(25, 25, 25, 25),
    activations=("tanh", "tanh", "tanh", "tanh", "none"),
    initialisation="default",
    standardise=True,
    loss="bce",
    reduction="mean",
    optimizer="adam",
    lr=1e-3,
    weight_decay=0.0,
    momentum=0.0,
    schedule="one_cycle",
    max_epochs=250,
    batch_size=50,
    order="shuffled",
)

RECIPES: Mapping[str, Recipe] = {"paper": PAPER, "modern": MODERN}


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError as error:
        raise ValueError(f"widths must be whole numbers with commas between, got {text!r}") from error


def _listed(items: tuple[object, ...]) -> str:
    return ",".join(map(str, items))
