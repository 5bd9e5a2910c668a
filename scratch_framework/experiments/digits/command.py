"""Command for pairs of digits: ``python -m scratch_framework --net cnn``, its flags and what they become.

Data is handed in here, and only here: neither the framework nor the experiment knows where pairs come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import MOST_PROCESSES
from lightning_modules.command.run_flags import PairFlags
from lightning_modules.command.settings import changes_of, flags_of, setting, split_flags
from lightning_modules.models.recipes import PAPER, resolve
from lightning_modules.models.settings import SETTINGS
from scratch_framework.experiments.flags import Net, ScratchFlags

SEARCHED = ("lr", "alpha", "gamma")  # in the paper, which does not print its choice
LENGTH = ("max_epochs", "batch_size")
TASK = ("train_pairs", "test_pairs", "data_dir")  # with other values the paper's figures do not compare
PAIRS = (*TASK, "val_pairs")


@dataclass(frozen=True)
class DigitFlags(ScratchFlags, PairFlags):
    """Flags of an experiment on pairs of digits, beside those that change its recipe."""

    net: Net = "cnn"
    recipe: Literal["paper"] = setting(
        "paper", "Named settings: the paper's. Other flags replace single ones."
    )
    workers: int | None = setting(
        None, "Processes with one thread each; one a core by default.", within=(1, MOST_PROCESSES)
    )
    # Fewer pay more for Python, more leave the processor's caches.
    replicas: int = setting(5, "Runs that one program trains together, at most.", within=(1, math.inf))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net == "mlp":
            raise ValueError("net must be cnn, weight_sharing or auxiliary for pairs of digits, got mlp")


CHANGES = [flag for flag in changes_of(SETTINGS.values()) if flag.name in (*SEARCHED, *LENGTH)]
FLAGS = [*flags_of(DigitFlags), *CHANGES]


def digits(**flags: Any) -> None:
    """Train a network that tells which of two digits is larger, with the framework, and test each run once.

    Args:
        **flags: Fields of `DigitFlags`, and settings that are to be other than the recipe's.

    Raises:
        ValueError: One is out of range or has no effect.
    """
    own, changes = split_flags(DigitFlags, flags)
    recipe = resolve(PAPER, [own.net], changes)[own.net]
    if own.workers != 1:
        worker_context()  # the workers' server imports while we do
    with cli.imports(first_sign=True):
        import torch

        from datamodules import DigitPairs
        from lightning_modules.command.cores import core_count
        from lightning_modules.results.table import PAPER_FIGURES
        from scratch_framework.experiments.digits.experiment import Experiment
        from scratch_framework.experiments.digits.training import Training

    resolved, paper, bare = recipe.of_module(), PAPER.settings[own.net], DigitFlags()
    settings = {name: resolved[name] for name in SEARCHED if name in resolved}
    pairs: dict[str, Any] = {name: getattr(own, name) for name in PAIRS}
    data = partial(DigitPairs, **pairs, batch_size=recipe.batch_size)
    probe = data(seed=own.seeds)  # refuses wrong values, before there is a folder
    probe.setup()
    probe.train_dataloader()
    as_in_paper = all(
        getattr(ours, name) == getattr(theirs, name)
        for ours, theirs, names in ((own, bare, TASK), (recipe, paper, LENGTH))
        for name in names
    )
    dtype = torch.float32 if own.precision == "32-true" else torch.float64
    Experiment(
        training=Training(own.net, settings, own.seeds, data, recipe.max_epochs, dtype),
        workers=min(own.workers or core_count(), own.runs),
        replicas=own.replicas,
        log_dir=own.log_dir,
        name=own.name,
        config=own.config() | settings | {name: getattr(recipe, name) for name in LENGTH},
        paper=PAPER_FIGURES if as_in_paper else {},
    ).run()
