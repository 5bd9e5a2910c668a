"""Settings of chapter 2's net: how it is built and trained. Light enough for a command's help."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast, get_args

from lightning_modules.command.limits import MOST_CHANNELS, MOST_EPOCHS, MOST_EXAMPLES
from lightning_modules.command.settings import Settings, setting

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
class Recipe(Settings):
    """All that makes one training, but for its seed and data.

    The defaults are those of section 2.3. Where the paper says nothing, they follow the authors' code: the
    gradient is the batch's sum, not its mean, and batches come in the same order in every epoch.
    """

    mistake: Mistake = setting(
        "none", "`bias_per_row` keeps a bias for each row of the batch, as the authors' code does."
    )
    widths: str = setting("25,25,25", "Units of the hidden layers (paper: 25,25,25).")
    activations: str = setting(
        "tanh,relu,relu,tanh",
        "One after each layer, the last included (paper: tanh,relu,relu,tanh); also leaky_relu, sigmoid,"
        " none.",
    )
    initialisation: Initialisation = setting("paper", "The paper's rule, or torch's default.")
    standardise: bool = setting(False, "Whether to move and scale inputs to mean 0 and variance 1.")
    loss: Loss = setting(
        "mse", "Mean squared error of a number, binary cross entropy of one logit, cross entropy of two."
    )
    reduction: Reduction = setting("sum", "Whether a step follows the batch's mean or its sum (paper: sum).")
    optimizer: Optimizer = setting("sgd", "Which optimiser.")
    lr: float = setting(0.005, "Learning rate, the highest one of a schedule (paper: 0.005).", at_least=0)
    weight_decay: float = setting(1e-6, "Weight decay (paper: 1e-6).", at_least=0)
    momentum: float = setting(0.0, "Momentum of SGD (paper: 0).", at_least=0)
    schedule: Schedule = setting("constant", "How the learning rate changes over the training.")
    max_epochs: int = setting(250, "Epochs (paper: 250).", within=(1, MOST_EPOCHS))
    batch_size: int = setting(50, "Points in a step (paper: 50).", within=(1, MOST_EXAMPLES))
    order: Order = setting(
        "fixed", "Whether batches are the same in every epoch (paper: fixed) or drawn anew."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        widths, activations = self._widths(), self.activations.split(",")
        if min(widths) < 1:
            raise ValueError(f"widths must be sizes of at least 1, got {self.widths}")
        if max(widths) > MOST_CHANNELS:
            raise ValueError(f"widths must be sizes of at most {MOST_CHANNELS}, got {self.widths}")
        if len(activations) != len(widths) + 1:
            raise ValueError(
                f"activations must be one after each of the {len(widths) + 1} layers,"
                f" got {len(activations)}: {self.activations}"
            )
        for activation in activations:
            if activation not in get_args(Activation):
                known = ", ".join(get_args(Activation))
                raise ValueError(f"activations must be among {known}, got {activation!r}")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum has no effect on {self.optimizer}; leave it out")

    @property
    def layers(self) -> list[tuple[int, int, Activation]]:
        """Inputs, outputs and activation of every layer."""
        sizes = pairwise((2, *self._widths(), 2 if self.loss == "ce" else 1))
        activations = cast("list[Activation]", self.activations.split(","))
        return [(*size, activation) for size, activation in zip(sizes, activations, strict=True)]

    def _widths(self) -> list[int]:
        try:
            return [int(size) for size in self.widths.split(",")]
        except ValueError as error:
            raise ValueError(
                f"widths must be whole numbers with commas between, got {self.widths!r}"
            ) from error


PAPER = Recipe()

# Chosen on validation points; docs/disc.md.
MODERN = Recipe(
    widths="25,25,25,25",
    activations="tanh,tanh,tanh,tanh,none",
    initialisation="default",
    standardise=True,
    loss="bce",
    reduction="mean",
    optimizer="adam",
    lr=1e-3,
    weight_decay=0.0,
    schedule="one_cycle",
    order="shuffled",
)

RECIPES: Mapping[str, Recipe] = {"paper": PAPER, "modern": MODERN}
