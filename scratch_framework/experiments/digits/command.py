"""Command for pairs of digits: ``python -m scratch_framework --net cnn``, its flags and what they become.

Data is handed in here, and only here: neither the framework nor the experiment knows where pairs come from.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, TypeAlias

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import MOST_EPOCHS, MOST_PROCESSES, MOST_RUNS, check_range

Net: TypeAlias = Literal["mlp", "cnn", "weight_sharing", "auxiliary"]  # mlp is the disc's

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
    if workers != 1:
        worker_context()  # the workers' server imports while we do
    with cli.imports():
        import torch

        from datamodules import DigitPairs
        from lightning_modules.command.cores import core_count
        from lightning_modules.models.recipes import PAPER, resolve
        from lightning_modules.results.runs import PAPER_FIGURES
        from scratch_framework.experiments.digits.experiment import Experiment
        from scratch_framework.experiments.digits.training import Training

    paper = PAPER.settings[net]
    max_epochs = paper.max_epochs if max_epochs is None else max_epochs
    batch_size = paper.batch_size if batch_size is None else batch_size
    check_range("runs", runs, 1, MOST_RUNS)
    check_range("max_epochs", max_epochs, 1, MOST_EPOCHS)
    check_range("workers", 1 if workers is None else workers, 1, MOST_PROCESSES)
    check_range("replicas", replicas, 1)
    searched = {"lr": lr, "alpha": alpha, "gamma": gamma}  # the paper's choice of them is not printed
    resolved = resolve(PAPER, [net], searched)[net].of_module()
    settings = {setting: resolved[setting] for setting in searched if setting in resolved}
    pairs: dict[str, Any] = {
        "train_pairs": train_pairs,
        "val_pairs": val_pairs,
        "test_pairs": test_pairs,
        "batch_size": batch_size,
        "data_dir": data_dir,
    }
    config: dict[str, Any] = {"net": net, "recipe": recipe, "runs": runs, "seed": seed, **settings, **pairs}
    config |= {"max_epochs": max_epochs, "workers": workers, "replicas": replicas}
    config |= {"precision": precision, "log_dir": log_dir}
    own = AS_IN_PAPER | {"max_epochs": paper.max_epochs, "batch_size": paper.batch_size}
    seeds = list(range(seed, seed + runs))
    data = partial(DigitPairs, **pairs)
    probe = data(seed=seeds)  # refuses wrong values, before there is a folder
    probe.setup()
    probe.train_dataloader()
    dtype = {"32-true": torch.float32, "64-true": torch.float64}[precision]
    Experiment(
        training=Training(net, settings, seeds, data, max_epochs, dtype),
        workers=min(workers or core_count(), runs),
        replicas=replicas,
        log_dir=log_dir,
        name=name,
        config=config,
        paper=PAPER_FIGURES if all(config[flag] == value for flag, value in own.items()) else {},
    ).run()
