"""The settings of the three models; their defaults are the paper's. Light enough for a command's help.

A new setting is one field here. A new model is a class here, its module, and its name in registry.py.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from lightning_modules.command.limits import MOST_CHANNELS, MOST_EPOCHS
from lightning_modules.command.options import Augment, Branches, OptimizerName, Pool, Schedule, Trunk
from lightning_modules.command.plain import PerReplica, refuse_unknown
from lightning_modules.command.settings import Settings, changes_of, setting

MOST_MEMBERS = 1000  # trainings of one run, averaged or selected from
DATA, TRAINER, COMMAND = "DigitPairs", "pl.Trainer", "train.py"  # who takes what is not the module's

# Reasons why settings have no effect beside others, and whether it is so.
NO_MODERN_TRUNK = {
    "width and pool are of the trunks modern and deep": lambda own: own.trunk not in ("modern", "deep")
}
NO_LATENT_DIGITS = {
    "balance, consistency and reorder are of latent digits, which only head exact has": (
        lambda own: not own.has_exact_head
    )
}
NO_WARPS = {"augment is none": lambda own: own.augment == "none"}

SETTINGS: dict[str, type["PairSettings"]] = {}  # of each model, by the name that commands call it


@dataclass(frozen=True)
class PairSettings(Settings):
    """Settings that all models have, or whose value is fixed in some (`init=False`).

    What each of R replicas may have its own of is one number for all of them, or a list of R.
    """

    model: ClassVar[str]  # as commands call it

    def __init_subclass__(cls) -> None:
        """Offer the settings of a model under its name."""
        if "model" in vars(cls):
            SETTINGS[cls.model] = cls

    trunk: Trunk = setting(
        "paper",
        "`paper` is figure 1.2, `clean` the same without what follows its last layer, `modern` has four"
        " convolutions, `deep` one more and a larger first one.",
    )
    width: int = setting(
        32,
        "Channels of the first convolution of trunks modern and deep.",
        within=(1, MOST_CHANNELS),
        idle=NO_MODERN_TRUNK,
    )
    pool: Pool = setting("flatten", "How their last 3x3 maps become features.", idle=NO_MODERN_TRUNK)
    head: str = setting(
        "paper",
        "What compares two digits, a class of networks/heads.py by its name: `paper` is figure 1.4, `mlp` has"
        " one hidden layer, `exact` adds up P(a) P(b) over a <= b, `argmax` compares the likeliest digits,"
        " `subtract` is linear in the features' difference.",
        idle={"branches early have no head": lambda own: own.branches == "early"},
    )
    temperature: float = setting(
        1.0,
        "What digit logits are divided by before head `exact` compares; below 1 sharpens.",
        within=(0.01, 100),
        idle={"temperature is of head exact": lambda own: not own.has_exact_head},
    )
    branches: Branches = setting(
        "shared",
        "How digits enter: `early` as two channels, `separate` with a trunk each, `shared` with one.",
    )
    swap_trunks: bool = setting(
        False,
        "Whether separate trunks are swapped at random in training: a coin decides for each pair which reads"
        " which digit.",
        idle={"only branches separate have two trunks to swap": lambda own: own.branches != "separate"},
    )
    optimizer: OptimizerName = setting("sgd", "Which optimiser.")
    weight_decay: float = setting(
        0.0, "Weight decay of matrices, not of biases and normalisation.", within=(0, math.inf)
    )
    schedule: Schedule = setting(
        "constant",
        "`warmup_linear` raises the rate from a tenth over 20 % of the steps, then lowers it to 0.",
    )
    max_epochs: int = setting(25, "Epochs (paper: 25).", within=(1, MOST_EPOCHS), taken_by=TRAINER)
    batch_size: int = setting(50, "Pairs in a step of one process (paper: 50).", taken_by=DATA)
    lr: PerReplica = setting(0.1, "Learning rate (paper: 0.05, 0.1, 0.1).", above=0, per_replica=True)
    augment: Augment = setting(
        "none", "Interpolation of randomly warped training digits, or no warps.", taken_by=DATA
    )
    elastic: float = setting(
        0.4, "Deviation of the warps' elastic part, in pixels.", idle=NO_WARPS, taken_by=DATA
    )
    two_views_from: float = setting(
        1.0,
        "Share of training after which a pair comes in two views; 1 is never.",
        within=(0, 1),
        idle=NO_WARPS,
        taken_by=DATA,
        also_here=lambda own: isinstance(own, LatentSettings) and own.consistency,  # which rises from there
    )
    ensemble: int = setting(
        1,
        "Trainings whose probabilities are averaged for one run.",
        within=(1, MOST_MEMBERS),
        taken_by=COMMAND,
    )
    restarts: int = field(default=1, init=False)

    @property
    def has_exact_head(self) -> bool:
        """Whether two posteriors over digits are compared."""
        return self.head == "exact" and self.branches != "early"

    def idle(self) -> dict[str, str]:
        """Settings that have no effect beside the others, and why."""
        reasons = {
            name: [reason for reason, is_idle in rule.idle.items() if is_idle(self)]
            for name, rule in self.rules().items()
        }
        return {name: every[0] for name, every in reasons.items() if every}

    def settled(self, idle: Collection[str] | None = None) -> Self:
        """The same, where what has no effect has its idle value.

        Args:
            idle: What has none, where it does not follow from these settings alone.
        """
        names = self.idle() if idle is None else idle
        return replace(self, **{name: _idle_value(type(self), name) for name in names})

    def taken_by(self, owner: str) -> dict[str, Any]:
        """Arguments by name, of what is not the module: `DATA` or `TRAINER`."""
        return {name: getattr(self, name) for name, r in self.rules().items() if r.taken_by == owner}

    def of_module(self) -> dict[str, Any]:
        """Arguments of the module by name, which are the hyperparameters in its checkpoints."""
        own = {name for name, rule in self.rules().items() if not rule.taken_by or rule.also_here(self)}
        return {name: value for name, value in asdict(self).items() if name in own}

    def as_flags(self) -> dict[str, Any]:
        """The flags that give these settings, of all models' by name; None for what has no effect here."""
        own = {name: getattr(self, name) for name in self.rules()}
        return dict.fromkeys(SETTING_NAMES) | own | dict.fromkeys(self.idle())

    def take(self, replicas: Sequence[int]) -> Self:
        """Those of some of R replicas, by their numbers."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, list)}
        taken: dict[str, Any] = {name: [value[r] for r in replicas] for name, value in own.items()}
        return replace(self, **taken)

    @classmethod
    def in_python(cls, owner: str, given: Mapping[str, Any]) -> Self:
        """The settings of a module that is made by hand, beside a data module that is not known.

        Args:
            owner: The module's class, for errors.
            given: Settings by name.

        Raises:
            ValueError: One does not exist, is out of range or of another type, or has no effect.
        """
        for name in given:
            if name not in {*SETTING_NAMES, *cls.rules()}:
                refuse_unknown(owner, name, [*cls().of_module(), "seed"])
            if name not in cls.rules():
                raise ValueError(no_effect(name, owner, []))
        settings = cls(**given)
        idle = replace(settings, augment="bilinear").idle()  # the data module may warp digits
        for name, rule in cls.rules().items():
            if rule.taken_by and not rule.also_here(settings):
                idle[name] = f"{rule.taken_by} takes it"
        for name in [name for name in given if name in idle]:
            value = getattr(settings, name)
            if any(one != _idle_value(cls, name) for one in (value if isinstance(value, list) else [value])):
                raise ValueError(no_effect(name, owner, [idle[name]]))
        return settings.settled(idle)


@dataclass(frozen=True)
class LatentSettings(PairSettings):
    """Models that learn from comparisons alone; with head `exact` the outputs are latent digits."""

    # The logits of latent digits are learnt through the head: a temperature would only rescale them.
    temperature: float = field(default=1.0, init=False)
    balance: float = setting(
        0.0,
        "Weight of the loss that is least where a batch's latent digits are all equally frequent.",
        at_least=0,
        idle=NO_LATENT_DIGITS,
    )
    consistency: float = setting(
        0.0,
        "Final weight of the loss that is least where two views of a digit have the same latent digit.",
        at_least=0,
        idle={
            **NO_LATENT_DIGITS,
            "consistency needs two views: augment, and two_views_from below 1": (
                lambda own: own.augment == "none" or own.two_views_from >= 1
            ),
        },
    )
    reorder: bool = setting(
        False,
        "Whether the latent digits are put in order once an epoch, as the comparisons say.",
        idle={
            **NO_LATENT_DIGITS,
            "reorder needs a trunk whose last layer is linear: clean, modern or deep": (
                lambda own: own.trunk == "paper"
            ),
        },
    )
    split_merged: bool = setting(
        False,
        "Whether a latent digit that stands for two digits is split, where another stands for none.",
        idle={
            "split_merged needs reorder, which tells where the halves belong": (
                lambda own: not (own.reorder and own.has_exact_head and own.trunk != "paper")
            )
        },
    )
    restarts: int = setting(
        1,
        "Trainings of which the one with the best training likelihood stands for one run.",
        within=(1, MOST_MEMBERS),
        taken_by=COMMAND,
    )


@dataclass(frozen=True)
class PlainCNNSettings(LatentSettings):
    """Of a network whose two digits share nothing."""

    model = "cnn"
    branches: Branches = "early"
    lr: PerReplica = 0.05


@dataclass(frozen=True)
class WeightSharingSettings(LatentSettings):
    """Of one CNN for both digits: sharing is what makes this model."""

    model = "weight_sharing"
    branches: Branches = field(default="shared", init=False)


@dataclass(frozen=True)
class AuxiliaryLossSettings(PairSettings):
    """Of weight sharing whose CNN is also told which digits it sees."""

    model = "auxiliary"
    alpha: PerReplica = setting(
        1.0, "Weight of each digit loss in `auxiliary` (paper: 1).", at_least=0, per_replica=True
    )
    gamma: PerReplica = setting(
        1.0,
        "Weight of the comparison's loss in `auxiliary` (paper: 1).",
        at_least=0,
        per_replica=True,
        idle={"head argmax has no gradient": lambda own: own.head == "argmax" and own.branches != "early"},
        idle_value=0.0,
    )
    label_smoothing: float = setting(
        0.0, "Share of a digit label that is spread over all ten digits.", at_least=0, below=1
    )


if TYPE_CHECKING:
    ModelOrAll = str
else:  # for a command's help, and what it refuses
    ModelOrAll = Literal[(*SETTINGS, "all")]
SETTING_NAMES = [flag.name for flag in changes_of(SETTINGS.values())]


def no_effect(name: str, owner: str, reasons: Sequence[str]) -> str:
    """The line that refuses a setting without effect on its owner, and why, where the owner has it at all."""
    why = "; ".join(dict.fromkeys(reasons))
    return f"{name} has no effect on {owner}; leave it out" + (f" ({why})" if why else "")


def _idle_value(kind: type[PairSettings], name: str) -> Any:
    value = kind.rules()[name].idle_value
    return next(entry.default for entry in fields(kind) if entry.name == name) if value is None else value
