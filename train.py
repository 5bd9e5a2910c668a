"""Which of two digits is larger? The paper's three networks, many seeds each, from one command.

Command lines:
    python train.py                                      figure 1.5 of the paper: three nets, 15 runs each
    python train.py --model auxiliary --runs 50          one net, 50 runs
    python train.py --accelerator gpu --runs 100         all runs of a net in one program on a GPU
    python train.py --strategy ddp --accelerator cpu --devices 2
    tensorboard --logdir runs
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_modules import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

Model = Literal["cnn", "weight_sharing", "auxiliary", "all"]


def train(
    model: Model = "all",
    recipe: Literal["paper"] = "paper",
    runs: int = 15,
    seed: int = 0,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    alpha: float | None = None,
    gamma: float | None = None,
    train_pairs: int = 1000,
    val_pairs: int = 500,
    test_pairs: int = 1000,
    data_dir: str | None = None,
    accelerator: str = "auto",
    devices: int | str = 1,
    strategy: str = "auto",
    num_nodes: int = 1,
    precision: str = "32-true",
    workers: int | None = None,
    log_dir: str = "runs",
    name: str | None = None,
    verbose: bool = False,
) -> None:
    """Train networks that tell which of two digits is larger, and test each run once.

    Args:
        model: Which network, or all three.
        recipe: Named settings; `paper` is the paper's.
        runs: Runs of each network, each with pairs, initialisation, order and dropout of its own.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs; the recipe's by default (paper: 25).
        batch_size: Pairs in a step of one process; the recipe's by default (paper: 50).
        lr: Learning rate; the recipe's by default (paper: 0.05, 0.1, 0.1).
        alpha: Weight of each digit loss in `auxiliary`; the recipe's by default (paper: 1).
        gamma: Weight of the comparison's loss in `auxiliary`; the recipe's by default (paper: 1).
        train_pairs: Training pairs of a run.
        val_pairs: Validation pairs of a run, of train digits that its training pairs do not use; may be 0.
        test_pairs: Test pairs of a run.
        data_dir: Folder of IDX files of MNIST or a relative; the embedded MNIST by default.
        accelerator: Lightning's: auto, cpu, gpu, ...
        devices: Lightning's: a number, a list such as 0,1, or auto.
        strategy: Lightning's: auto, ddp, ...
        num_nodes: Lightning's.
        precision: Lightning's: 32-true, bf16-mixed, 64-true, ...
        workers: Processes on CPU; one a core by default. Where Lightning distributes, and on GPU, it is 1.
        log_dir: Folder of all studies, for TensorBoard.
        name: Folder of this study in it, which must not exist; a unique one by default.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    config = {key: value for key, value in locals().items() if key not in ("name", "verbose")}
    # Heavy imports wait until the flags are known to be right: --help answers at once.
    from datamodules import DigitPairs
    from lightning_modules.experiment import Experiment
    from lightning_modules.recipes import MODULES, RECIPES, resolve

    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    chosen = RECIPES[recipe]
    max_epochs = chosen.max_epochs if max_epochs is None else max_epochs
    batch_size = chosen.batch_size if batch_size is None else batch_size
    if max_epochs < 1:
        raise ValueError(f"max_epochs must be at least 1, got {max_epochs}")
    config |= {"max_epochs": max_epochs, "batch_size": batch_size}
    Experiment(
        models=resolve(
            chosen,
            list(MODULES) if model == "all" else [model],
            {"lr": lr, "alpha": alpha, "gamma": gamma},
        ),
        recipe=recipe,
        seeds=list(range(seed, seed + runs)),
        data=partial(
            DigitPairs,
            train_pairs=train_pairs,
            val_pairs=val_pairs,
            test_pairs=test_pairs,
            batch_size=batch_size,
            data_dir=data_dir,
        ),
        trainer={
            "max_epochs": max_epochs,
            "accelerator": accelerator,
            "devices": devices,
            "strategy": strategy,
            "num_nodes": num_nodes,
            "precision": precision,
        },
        workers=workers,
        log_dir=Path(log_dir),
        name=name,
        config=config,
        command=shlex.join(["python", "train.py", *sys.argv[1:]]),
        verbose=verbose,
    ).run()


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Flags; those of the process by default.
    """
    cli.run(train, "train.py", args)


if __name__ == "__main__":
    main()
