"""Command for points in a disc: ``python -m scratch_framework``, its flags and what they become."""

from __future__ import annotations

from typing import Literal

from lightning_modules.command import cli
from lightning_modules.command.limits import MOST_EXAMPLES, MOST_RUNS, check_range
from scratch_framework.experiments.digits.command import Net  # noqa: TC001  # flags have these types
from scratch_framework.experiments.disc.recipe import (
    RECIPES,
    Initialisation,
    Loss,
    Mistake,
    Optimizer,
    Order,
    Reduction,
    Schedule,
)


def disc(
    net: Net = "mlp",
    recipe: Literal["paper", "modern"] = "paper",
    runs: int = 15,
    seed: int = 0,
    backend: Literal["scratch", "torch"] = "scratch",
    mistake: Mistake = "none",
    widths: str | None = None,
    activations: str | None = None,
    initialisation: Initialisation | None = None,
    standardise: bool | None = None,
    loss: Loss | None = None,
    reduction: Reduction | None = None,
    optimizer: Optimizer | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    momentum: float | None = None,
    schedule: Schedule | None = None,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    order: Order | None = None,
    disc: Literal["radius", "diameter"] = "radius",
    points: Literal["uniform", "normal"] = "uniform",
    train_points: int = 1000,
    val_points: int = 1000,
    test_points: int = 1000,
    compile: bool | None = None,  # noqa: A002  # a flag's name
    precision: Literal["32-true", "64-true"] = "32-true",
    log_dir: str = "runs",
    name: str | None = None,
    verbose: bool = False,
) -> None:
    """Train a small net to tell points inside a disc from points outside, and test each run once.

    Args:
        net: This net; cnn, weight_sharing and auxiliary, for digits, have other flags: --net cnn --help.
        recipe: Named settings: the paper's, or the best that we found. What follows replaces single ones.
        runs: Runs, each with points, initialisation and order of its own.
        seed: Seed of the first run; the next ones count up.
        backend: What computes: the framework, all runs as one; or torch.nn, run by run.
        mistake: `bias_per_row` keeps a bias for each row of the batch, as the authors' code does.
        widths: Units of the hidden layers (paper: 25,25,25).
        activations: One after each layer, the last included (paper: tanh,relu,relu,tanh); also leaky_relu,
            sigmoid, none.
        initialisation: The paper's rule, or torch's default.
        standardise: Whether to move and scale inputs to mean 0 and variance 1.
        loss: Mean squared error of a number, binary cross entropy of one logit, cross entropy of two.
        reduction: Whether a step follows the batch's mean or its sum (paper: sum).
        optimizer: Its kind.
        lr: Learning rate, the highest one of a schedule (paper: 0.005).
        weight_decay: Weight decay (paper: 1e-6).
        momentum: Momentum of SGD (paper: 0).
        schedule: How the learning rate changes over the training.
        max_epochs: Epochs (paper: 250).
        batch_size: Points in a step (paper: 50).
        order: Whether batches are the same in every epoch (paper: fixed) or drawn anew.
        disc: What 1/sqrt(2 pi) is of the disc; the paper says diameter, its figure shows the radius.
        points: How points are drawn; the paper says normal, its figure shows uniform.
        train_points: Training points of a run.
        val_points: Validation points of a run; may be 0.
        test_points: Test points of a run.
        compile: Whether the framework trains by its compiled step; by default where there is one, which is
            not with --mistake or --backend torch.
        precision: Type to compute in, by Lightning's names.
        log_dir: Folder of all studies, for TensorBoard.
        name: Folder of this study in it, which must not exist; a unique one by default.
        verbose: Whether to show tracebacks.
    """
    check_range("runs", runs, 1, MOST_RUNS)
    check_range("seed", seed, 0)
    counts = {"train_points": train_points, "val_points": val_points, "test_points": test_points}
    for flag, count in counts.items():
        check_range(flag, count, int(flag != "val_points"), MOST_EXAMPLES // runs)
    if compile and backend == "torch":
        raise ValueError("compile is the framework's; leave it out with backend torch")
    compiled = backend == "scratch" and mistake == "none" if compile is None else compile
    overrides = {
        "mistake": mistake,
        "widths": widths,
        "activations": activations,
        "initialisation": initialisation,
        "standardise": standardise,
        "loss": loss,
        "reduction": reduction,
        "optimizer": optimizer,
        "lr": lr,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "schedule": schedule,
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "order": order,
    }
    chosen = RECIPES[recipe].overridden(overrides)
    with cli.imports():
        import torch

        from scratch_framework.experiments.disc.experiment import Experiment
        from scratch_framework.experiments.disc.points import DataConfig
    torch.set_num_threads(1)
    Experiment(
        recipe=chosen,
        recipe_name=recipe,
        data=DataConfig(disc, points),
        train_points=train_points,
        val_points=val_points,
        test_points=test_points,
        seeds=list(range(seed, seed + runs)),
        backend=backend,
        compiled=compiled,
        precision=precision,
        log_dir=log_dir,
        name=name,
    ).run()
