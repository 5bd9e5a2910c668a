"""Both chapters of the paper, learned by the framework: points in a disc, and pairs of digits.

Command lines:
    python -m scratch_framework                              the paper's recipe, its gradient mended, 15 runs
    python -m scratch_framework --mistake bias_per_row       as the authors' code has it: the paper's figures
    python -m scratch_framework --recipe modern              the best that we found
    python -m scratch_framework --backend torch              the same by torch.nn, from the same weights
    python -m tune --model disc                              the paper's grid search: 480 trainings
    python -m scratch_framework --net weight_sharing         chapter 1's networks; also cnn, auxiliary
    python -m scratch_framework --net cnn --help             their flags
    tensorboard --logdir runs
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from lightning_modules.command import cli
from lightning_modules.command.limits import MOST_EXAMPLES, MOST_RUNS, check_range
from scratch_framework.experiments.digits.command import Net, digits
from scratch_framework.experiments.disc.recipe import (  # noqa: TC001  # flags have these types
    Initialisation,
    Loss,
    Mistake,
    Optimizer,
    Order,
    Reduction,
    Schedule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    flags = {key: value for key, value in locals().items() if key not in ("name", "verbose")}
    with cli.imports():
        import torch

        from scratch_framework.experiments.disc.experiment import Experiment
        from scratch_framework.experiments.disc.points import Reading
        from scratch_framework.experiments.disc.recipe import RECIPES

    counts = {"train": train_points, "val": val_points, "test": test_points}
    check_range("runs", runs, 1, MOST_RUNS)
    check_range("seed", seed, 0)
    for split, count in counts.items():
        check_range(f"{split}_points", count, int(split != "val"), MOST_EXAMPLES // runs)
    if compile and backend == "torch":
        raise ValueError("compile is the framework's; leave it out with backend torch")
    compiled = backend == "scratch" and mistake == "none" if compile is None else compile
    torch.set_num_threads(1)
    chosen = RECIPES[recipe].overridden(flags)
    Experiment(
        recipe=chosen,
        recipe_name=recipe,
        reading=Reading(disc, points),
        counts=counts,
        seeds=list(range(seed, seed + runs)),
        backend=backend,
        compiled=compiled,
        dtype={"32-true": torch.float32, "64-true": torch.float64}[precision],
        log_dir=log_dir,
        name=name,
        config=flags | chosen.flags() | {"compile": compiled},
        command=cli.command_line(),
    ).run()


def chosen_net(args: Sequence[str]) -> str:
    """Which net the flags ask for, or the settings file that they name; the two kinds have other flags."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--net", nargs="?")
    parser.add_argument("--config", nargs="?", type=Path)
    given, _ = parser.parse_known_args(args)
    if given.net is not None or given.config is None:
        return given.net or "mlp"
    try:
        settings = yaml.safe_load(given.config.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return "mlp"  # the command itself says what is wrong with the file
    return settings.get("net", "mlp") if isinstance(settings, dict) else "mlp"


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Flags; those of the process by default.
    """
    args = sys.argv[1:] if args is None else args
    command = disc if chosen_net(args) == "mlp" else digits
    cli.run(command, "python -m scratch_framework", args)


if __name__ == "__main__":
    main()
