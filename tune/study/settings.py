"""Settings that the values of a study follow from, as flags. Light enough for a command's help."""

import math
from dataclasses import dataclass
from typing import Literal

from lightning_modules.command.limits import MOST_EPOCHS, MOST_EXAMPLES, MOST_RUNS, check_range
from lightning_modules.command.settings import Settings, setting

SIZES = {"disc": (100, 1000, 1000)}  # epochs, training and validation points
PAIRS = (25, 500, 500)  # likewise of pairs, for the other models


@dataclass(frozen=True)
class StudySettings(Settings):
    """Settings of a study; of sizes that are None the model's take their place."""

    model: Literal["cnn", "weight_sharing", "auxiliary", "disc"] = setting("auxiliary", "Which network.")
    space: Literal["paper", "modern"] = setting(
        "paper", "What is searched: the paper's grid, or a space around the modern recipe."
    )
    sampler: Literal["grid", "tpe", "random"] = setting(
        "grid", "All points of a grid, or `n_trials` points by TPE or at random."
    )
    pruner: Literal["none", "median", "hyperband"] = setting(
        "none", "Which rule drops hopeless trials from a running fit."
    )
    repeats: int = setting(
        5,
        "Trainings of each trial, each with pairs (points) and initialisation of its own.",
        within=(1, MOST_RUNS),
    )
    seed: int = setting(
        0,
        "Seed of the first repeat and of the sampler; the next repeats count up, alike in all trials.",
        within=(0, math.inf),
    )
    max_epochs: int = setting(None, "Epochs of a training (paper: 25; disc: 100).", within=(1, MOST_EPOCHS))
    train_size: int = setting(None, "Training pairs of a training (paper: 500); for disc points (1000).")
    val_size: int = setting(None, "Validation pairs of a training (paper: 500); for disc points (1000).")
    data_dir: str | None = setting(
        None, "Folder of IDX files of MNIST or a relative; the embedded MNIST by default."
    )
    mistake: Literal["none", "bias_per_row"] = setting(  # as recipe.Mistake, whose package brings torch
        "none", "For disc: `bias_per_row` keeps a bias for each row of the batch, as the authors' code does."
    )

    def __post_init__(self) -> None:
        sizes = SIZES.get(self.model, PAIRS)
        for name, size in zip(("max_epochs", "train_size", "val_size"), sizes, strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, size)
        super().__post_init__()
        most = MOST_EXAMPLES // self.repeats
        check_range("train_size", self.train_size, 2, most)
        check_range("val_size", self.val_size, 1, most)
        if self.model == "disc" and self.data_dir is not None:
            raise ValueError("data_dir has no effect on disc, whose points are drawn; leave it out")
        if self.model != "disc" and self.mistake != "none":
            raise ValueError(f"mistake has no effect on {self.model}, only on disc; leave it out")

    @property
    def seeds(self) -> list[int]:
        """Seeds of the repeats, the same in every trial: trials are compared over the same pairs."""
        return list(range(self.seed, self.seed + self.repeats))


@dataclass(frozen=True)
class TuneFlags(StudySettings):
    """And those of one call of ``python -m tune``."""

    n_trials: int | None = setting(
        None,
        "Trials of the whole study, those of earlier starts included; by default a whole grid, or 50.",
        within=(1, 1_000_000),
    )
    timeout: float | None = setting(
        None, "Seconds after which no new trial is begun; running ones are finished.", above=0
    )
    workers: int | None = setting(
        None, "Processes; one a core by default, one where an accelerator computes."
    )
    accelerator: str = setting("auto", "Lightning's: auto, cpu, gpu, ...")
    study_name: str | None = setting(
        None, "Name of the study, and its folder in log_dir; by default model, space and sampler."
    )
    storage: str | None = setting(
        None,
        "URL of a database server that all machines of a study share; by default a file in the folder.",
    )
    log_dir: str = setting("runs", "Folder of all studies, for TensorBoard.")
    verbose: bool = setting(False, "Whether to show what libraries say, and tracebacks.")

    @property
    def name(self) -> str:
        own = f"{self.model}-{self.space}-{self.sampler}"
        return own if self.study_name is None else self.study_name
