"""The choices that a setting may have, and the options of a network, light enough for a command's help."""

from typing import Literal, TypedDict

Trunk = Literal["paper", "clean", "modern", "deep"]
Pool = Literal["flatten", "average"]
Head = Literal["paper", "mlp", "exact", "ordinal", "subtract", "argmax"]
Branches = Literal["early", "separate", "shared"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["constant", "warmup_linear"]
Augment = Literal["none", "bilinear", "bicubic"]


class NetworkOptions(TypedDict, total=False):
    """How a network is built; what is left out is the paper's. `PairSettings` says what each means."""

    trunk: Trunk | None
    width: int | None
    pool: Pool | None
    head: Head | None
    temperature: float | None
    branches: Branches | None
    turns: bool | None


# What an option is where nobody says otherwise: the paper's.
DEFAULTS: NetworkOptions = {
    "trunk": "paper",
    "width": 32,
    "pool": "flatten",
    "head": "paper",
    "temperature": 1.0,
    "turns": False,
}
