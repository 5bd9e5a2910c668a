"""The settings of a recipe: their names, types and meaning, light enough for a command's help."""

from typing import Literal, TypedDict

Trunk = Literal["paper", "clean", "modern", "deep"]
Pool = Literal["flatten", "average"]
Head = Literal["paper", "mlp", "exact", "subtract", "argmax"]
Branches = Literal["early", "separate", "shared"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["constant", "warmup_linear"]
Augment = Literal["none", "bilinear", "bicubic"]


class NetworkOptions(TypedDict, total=False):
    """How a network is built; what is left out is the paper's. `Settings` says what each means."""

    trunk: Trunk | None
    width: int | None
    pool: Pool | None
    head: Head | None
    temperature: float | None
    branches: Branches | None
    turns: bool | None


class Options(NetworkOptions, total=False):
    """How a network is built and moved. `Settings` says what each means."""

    optimizer: OptimizerName | None
    weight_decay: float | None
    schedule: Schedule | None


class LatentOptions(Options, total=False):
    """The options of models that are told no digit. `Settings` says what each means."""

    prior: float | None
    consistency: float | None
    two_views_from: float | None
    reorder: bool | None
    part_merged: bool | None


class Settings(LatentOptions, total=False):
    """All that a recipe sets, and a flag or a file may set otherwise.

    Attributes:
        trunk: `paper` is figure 1.2, `clean` the same without what follows its last layer, `modern` has
            four convolutions, `deep` one more and a larger first one.
        width: Channels of the modern and the deep trunk's first convolution.
        pool: How their last 3x3 maps become features.
        head: What compares two digits: `paper` is figure 1.4, `mlp` has one hidden layer, `exact` adds up
            P(a) P(b) over a <= b, `argmax` compares the likeliest digits, `subtract` is linear in the
            features' difference.
        temperature: What digit logits are divided by before head `exact` compares; below 1 sharpens.
        branches: How digits enter: `early` as two channels, `separate` with a trunk each, `shared` with one.
        turns: Whether separate trunks take turns in training: which reads which digit is drawn anew.
        optimizer: Which optimiser.
        weight_decay: Weight decay of matrices; biases and normalisation have none.
        schedule: `warmup_linear` raises the rate from a tenth over 20 % of the steps, then lowers it to 0.
        max_epochs: Epochs (paper: 25).
        batch_size: Pairs in a step of one process (paper: 50).
        lr: Learning rate (paper: 0.05, 0.1, 0.1).
        alpha: Weight of each digit loss in `auxiliary` (paper: 1).
        gamma: Weight of the comparison's loss in `auxiliary` (paper: 1).
        label_smoothing: Share of a digit label that is spread over all ten digits.
        prior: Weight of the loss by which a batch's latent digits are all equally frequent.
        consistency: Final weight of the loss by which two views of a digit have one latent digit.
        augment: Interpolation of randomly warped training digits, or no warps.
        elastic: Deviation of the warps' elastic part, in pixels.
        two_views_from: Share of training after which a pair comes in two views; 1 is never.
        reorder: Whether comparisons mend the order of the latent digits once an epoch.
        part_merged: Whether a latent digit that stands for two becomes two, where another stands for none.
        ensemble: Trainings whose probabilities are averaged for one run.
        restarts: Trainings of which the one with the best training likelihood stands for one run.
    """

    max_epochs: int | None
    batch_size: int | None
    lr: float | None
    alpha: float | None
    gamma: float | None
    label_smoothing: float | None
    augment: Augment | None
    elastic: float | None
    ensemble: int | None
    restarts: int | None


# What a setting is where nobody says otherwise: the paper's. How digits enter is the model's (effects.py).
DEFAULTS: Settings = {
    "trunk": "paper",
    "width": 32,
    "pool": "flatten",
    "head": "paper",
    "temperature": 1.0,
    "turns": False,
    "optimizer": "sgd",
    "weight_decay": 0.0,
    "schedule": "constant",
    "prior": 0.0,
    "consistency": 0.0,
    "two_views_from": 1.0,
    "reorder": False,
    "part_merged": False,
    "augment": "none",
}
