"""Search hyperparameters: the paper's grids, or a space around the modern recipes, many trials at once.

Command lines:
    python -m tune                                       the paper's grid for auxiliary losses: 320 trainings
    python -m tune --model cnn                           for the plain net
    python -m tune --model disc                          for chapter 2's net: 96 points, 480 trainings
    python -m tune --model disc --mistake bias_per_row --study_name mistaken    with its authors' mistake
    python -m tune --model cnn --space modern --sampler tpe --n_trials 24 --pruner median
    python -m tune --storage postgresql://user:password@host/database     with other machines
    python -m tune report --study_name auxiliary-paper-grid               table and files again, at any time
    tensorboard --logdir runs
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import check_range

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_TRIALS = 1_000_000

Model = Literal["cnn", "weight_sharing", "auxiliary", "disc"]


def tune(
    model: Model = "auxiliary",
    sampler: Literal["grid", "tpe", "random"] = "grid",
    space: Literal["paper", "modern"] = "paper",
    n_trials: int | None = None,
    repeats: int = 5,
    pruner: Literal["none", "median", "hyperband"] = "none",
    max_epochs: int | None = None,
    train_size: int | None = None,
    val_size: int | None = None,
    data_dir: str | None = None,
    mistake: Literal["none", "bias_per_row"] = "none",  # as recipe.Mistake, which brings torch
    seed: int = 0,
    timeout: float | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
    study_name: str | None = None,
    storage: str | None = None,
    log_dir: str = "runs",
    verbose: bool = False,
) -> None:
    """Search hyperparameters by the mean validation error over some repeats; test data are not used.

    A study that was stopped, killed or interrupted goes on by the same command, with its missing trials.

    Args:
        model: Which network.
        sampler: All points of a grid, or `n_trials` points by TPE or at random.
        space: What is searched: the paper's grid, or a space around the modern recipe.
        n_trials: Trials of the whole study, those of earlier starts included; by default a whole grid, or 50.
        repeats: Trainings of each trial, each with pairs (points) and initialisation of its own.
        pruner: Which rule drops hopeless trials from a running fit.
        max_epochs: Epochs of a training (paper: 25; disc: 100).
        train_size: Training pairs of a training (paper: 500); for disc points (1000).
        val_size: Validation pairs of a training (paper: 500); for disc points (1000).
        data_dir: Folder of IDX files of MNIST or a relative; the embedded MNIST by default.
        mistake: For disc: `bias_per_row` keeps a bias for each row of the batch, as the authors' code does.
        seed: Seed of the first repeat and of the sampler; the next repeats count up, alike in all trials.
        timeout: Seconds after which no new trial is begun; running ones are finished.
        workers: Processes; one a core by default, one where an accelerator computes.
        accelerator: Lightning's: auto, cpu, gpu, ...
        study_name: Name of the study, and its folder in log_dir; by default model, space and sampler.
        storage: URL of a database server that all machines of a study share; by default a file in the folder.
        log_dir: Folder of all studies, for TensorBoard.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if n_trials is not None:
        check_range("n_trials", n_trials, 1, MOST_TRIALS)
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be above 0, got {timeout}")
    if timeout is not None:
        check_range("timeout", timeout, 0)
    worker_context("tune.workers.worker")  # the workers' server imports while we do
    with cli.imports():
        from lightning_modules.command.atomic_io import choose_folder
        from tune.run import Run
        from tune.study.definition import Definition
        from tune.study.storage import StudyStorage

    disc = model == "disc"
    definition = Definition(
        model=model,
        space=space,
        sampler=sampler,
        pruner=pruner,
        repeats=repeats,
        seed=seed,
        max_epochs=(100 if disc else 25) if max_epochs is None else max_epochs,
        train_size=(1000 if disc else 500) if train_size is None else train_size,
        val_size=(1000 if disc else 500) if val_size is None else val_size,
        data_dir=data_dir,
        trials_per_fit=1,
        mistake=mistake,
    )
    name = f"{model}-{space}-{sampler}" if study_name is None else study_name
    where = StudyStorage(choose_folder(log_dir, name), storage)
    Run(definition, name, where, n_trials, workers, accelerator, timeout, Path(log_dir), verbose).run()


def report(
    study_name: str, storage: str | None = None, log_dir: str = "runs", top: int = 10, verbose: bool = False
) -> None:
    """Print the best trials of a study and write its files again, also while it runs.

    Args:
        study_name: Name of the study.
        storage: URL of its database server; by default the file in its folder.
        log_dir: Folder of all studies.
        top: How many trials to print.
        verbose: Whether to show tracebacks.
    """
    with cli.imports():
        from lightning_modules.command.atomic_io import choose_folder
        from lightning_modules.command.console import make_console
        from tune.report.report import conclude
        from tune.run import find
        from tune.study.storage import StudyStorage

    check_range("top", top, 1)
    where = StudyStorage(choose_folder(log_dir, study_name), storage)
    conclude(find(study_name, where), where.folder, make_console(), top)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Flags, after `report` or nothing; those of the process by default.
    """
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["report"]:
        cli.run(report, "python -m tune report", args[1:])
    else:
        cli.run(tune, "python -m tune", args)


if __name__ == "__main__":
    main()
