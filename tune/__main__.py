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
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from lightning_modules.command import cli
from lightning_modules.command.forkserver import worker_context
from lightning_modules.command.limits import check_range
from lightning_modules.command.settings import flags_of
from tune.study.settings import StudySettings, TuneFlags

if TYPE_CHECKING:
    from collections.abc import Sequence


def tune(**flags: Any) -> None:
    """Search hyperparameters by the mean validation error over some repeats; test data are not used.

    A study that was stopped, killed or interrupted goes on by the same command, with its missing trials.

    Args:
        **flags: Fields of `TuneFlags`.

    Raises:
        ValueError: One is out of range or has no effect.
    """
    own = TuneFlags(**flags)
    worker_context("tune.workers.worker")  # the workers' server imports while we do
    with cli.imports(first_sign=True):
        from lightning_modules.command.atomic_io import choose_folder
        from tune.run import Run
        from tune.study.definition import Definition
        from tune.study.storage import StudyStorage

    definition = Definition(**{entry.name: getattr(own, entry.name) for entry in fields(StudySettings)})
    Run(own, definition, StudyStorage(choose_folder(own.log_dir, own.name), own.storage)).run()


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
    """Run the command line."""
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["report"]:
        cli.run(report, "python -m tune report", args[1:])
    else:
        cli.run(tune, "python -m tune", args, flags=flags_of(TuneFlags))


if __name__ == "__main__":
    main()
