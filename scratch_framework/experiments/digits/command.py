"""The command's second half: ``python -m scratch_framework --net cnn``, its flags and what they become.

Data is handed in here, and only here: neither the framework nor the experiment knows where pairs come from.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import MOST_EPOCHS, MOST_PROCESSES, MOST_RUNS, check_range

if TYPE_CHECKING:
    from collections.abc import Mapping

Net: TypeAlias = Literal["mlp", "cnn", "weight_sharing", "auxiliary"]  # mlp is the other half's

DATA = ("train_pairs", "val_pairs", "test_pairs", "batch_size", "data_dir")

# With these flags, and no setting of the recipe changed, the paper's figures are about the same task.
AS_IN_PAPER = {"train_pairs": 1000, "test_pairs": 1000, "data_dir": None}
REPLICAS = 5  # runs of one program: fewer pay more for Python, more leave the processor's caches


def digits(
    net: Net = "cnn",
    recipe: Literal["paper"] = "paper",
    runs: int = 15,
    seed: int = 0,
    lr: float | None = None,
    alpha: float | None = None,
    gamma: float | None = None,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    train_pairs: int = 1000,
    val_pairs: int = 500,
    test_pairs: int = 1000,
    data_dir: str | None = None,
    workers: int | None = None,
    replicas: int = REPLICAS,
    precision: Literal["32-true", "64-true"] = "32-true",
    log_dir: str = "runs",
    name: str | None = None,
    verbose: bool = False,
) -> None:
    """Train a network that tells which of two digits is larger, with the framework, and test each run once.

    Args:
        net: Which network (`mlp`, the net of chapter 2, has flags of its own: --net mlp --help).
        recipe: Named settings: the paper's. What follows replaces single ones.
        runs: Runs, each with pairs, initialisation, order and dropout of its own.
        seed: Seed of the first run; the next ones count up.
        lr: Learning rate (paper: 0.05, 0.1, 0.1).
        alpha: Weight of each digit loss in `auxiliary` (paper: 1).
        gamma: Weight of the comparison's loss in `auxiliary` (paper: 1).
        max_epochs: Epochs (paper: 25).
        batch_size: Pairs in a step (paper: 50).
        train_pairs: Training pairs of a run.
        val_pairs: Validation pairs of a run, of train digits that its training pairs do not use; may be 0.
        test_pairs: Test pairs of a run.
        data_dir: Folder of IDX files of MNIST or a relative; the embedded MNIST by default.
        workers: Processes with one thread each; one a core by default.
        replicas: Runs that one program trains together, at most.
        precision: Type to compute in, by Lightning's names.
        log_dir: Folder of all studies, for TensorBoard.
        name: Folder of this study in it, which must not exist; a unique one by default.
        verbose: Whether to show tracebacks.
    """
    flags = {key: value for key, value in locals().items() if key not in ("name", "verbose")}
    searched = {"lr": lr, "alpha": alpha, "gamma": gamma}  # the paper's choice of them is not printed
    if workers != 1:
        worker_context()  # the workers' server imports while we do
    with cli.imports():
        from lightning_modules.models.recipes import PAPER, resolve

    paper = PAPER.settings[net]
    for setting, value in (("max_epochs", paper.max_epochs), ("batch_size", paper.batch_size)):
        flags[setting] = value if flags[setting] is None else flags[setting]
    check_range("runs", runs, 1, MOST_RUNS)
    check_range("max_epochs", flags["max_epochs"], 1, MOST_EPOCHS)
    check_range("workers", 1 if workers is None else workers, 1, MOST_PROCESSES)
    check_range("replicas", replicas, 1)
    resolved = resolve(PAPER, [net], searched)[net].of_module()
    settings = {setting: resolved[setting] for setting in searched if setting in resolved}
    own = AS_IN_PAPER | {"max_epochs": paper.max_epochs, "batch_size": paper.batch_size}
    run(flags, settings, name, as_in_paper=all(flags[flag] == value for flag, value in own.items()))


def run(flags: dict[str, Any], settings: Mapping[str, float], name: str | None, as_in_paper: bool) -> None:
    """Make checked flags an experiment, and run it.

    Args:
        flags: The arguments of `digits`.
        settings: Those of the net: lr, and maybe alpha and gamma.
        name: Folder of the study.
        as_in_paper: Whether the paper's figures are about the same task.
    """
    with cli.imports():
        import torch

        from datamodules import DigitPairs
        from lightning_modules.command.cores import core_count
        from lightning_modules.results.runs import PAPER_FIGURES
        from scratch_framework.experiments.digits.experiment import Experiment
        from scratch_framework.experiments.digits.training import Training

    seeds = list(range(flags["seed"], flags["seed"] + flags["runs"]))
    data = partial(DigitPairs, **{argument: flags[argument] for argument in DATA})
    probe = data(seed=seeds)  # refuses wrong values, before there is a folder
    probe.setup()
    probe.train_dataloader()
    dtype = {"32-true": torch.float32, "64-true": torch.float64}[flags["precision"]]
    Experiment(
        training=Training(flags["net"], settings, seeds, data, flags["max_epochs"], dtype),
        workers=min(flags["workers"] or core_count(), len(seeds)),
        replicas=flags["replicas"],
        log_dir=flags["log_dir"],
        name=name,
        config={**flags, **settings},
        paper=PAPER_FIGURES if as_in_paper else {},
    ).run()
