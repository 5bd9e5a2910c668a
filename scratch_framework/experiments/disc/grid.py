"""The paper's grid search on the disc: 96 settings, 5 runs of 100 epochs each, 480 trainings.

Command lines:
    python -m scratch_framework.experiments.disc.grid --name grid     may be stopped; the same command goes on
    python -m scratch_framework.experiments.disc.grid --name mistaken --mistake bias_per_row
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_modules.command import cli
from scratch_framework.experiments.disc.recipe import Mistake  # noqa: TC001  # a flag has this type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from scratch_framework.experiments.disc.search import Search


def grid(
    repeats: int = 5,
    seed: int = 0,
    max_epochs: int = 100,
    batch_size: int = 50,
    train_points: int = 1000,
    val_points: int = 1000,
    mistake: Mistake = "none",
    compile: bool | None = None,  # noqa: A002  # a flag's name
    log_dir: str = "runs",
    name: str | None = None,
    verbose: bool = False,
) -> None:
    """Score all settings of the paper's grid by their validation error; no test point is drawn.

    Args:
        repeats: Runs of every setting, each with points and initialisation of its own.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs of each run.
        batch_size: Points in a step.
        train_points: Training points of a run.
        val_points: Validation points of a run.
        mistake: `bias_per_row` keeps a bias for each row of the batch, as the authors' code does.
        compile: Whether to train by the compiled step; by default where there is one, which is not with
            --mistake.
        log_dir: Folder of all studies.
        name: Folder of this grid in it. Where it exists, the grid goes on; a unique one by default.
        verbose: Whether to show tracebacks.
    """
    import torch

    from lightning_modules.command.atomic_io import choose_folder
    from lightning_modules.command.console import make_console
    from scratch_framework.experiments.disc.grid_report import grid_table, write_grid
    from scratch_framework.experiments.disc.search import Search

    if compile and mistake != "none":
        raise ValueError(f"compile cannot train with mistake {mistake}; leave it out")
    torch.set_num_threads(1)
    compiled = mistake == "none" if compile is None else compile
    search = Search(repeats, seed, max_epochs, batch_size, train_points, val_points, mistake, compiled)
    folder, console = choose_folder(log_dir, name), make_console()
    search.open(folder)
    _train(search, folder, console)
    settings = search.settings(folder)
    write_grid(folder, settings)
    console.print(grid_table(settings, f"{repeats} runs of {max_epochs} epochs"))
    console.print(f"{folder}: grid.json, grid.csv, grid.png")


def _train(search: Search, folder: Path, console: Console) -> None:
    from lightning_modules.results.progress import progress_bar
    from scratch_framework.experiments.disc.search import GROUPS

    missing = search.missing(folder)
    done = len(GROUPS) - len(missing)
    if not missing:
        console.print(f"nothing is left to train: {folder} holds the whole grid")
        return
    if done:
        console.print(f"going on where {folder} was left: {done} of {len(GROUPS)} groups are done")
    with progress_bar(console) as bar:
        task = bar.add_task("", total=len(GROUPS) * search.max_epochs, completed=done * search.max_epochs)
        for group in missing:
            bar.update(task, description=", ".join(group))
            search.train(folder, group, lambda: bar.advance(task))


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: Flags; those of the process by default.
    """
    cli.run(grid, "python -m scratch_framework.experiments.disc.grid", args)


if __name__ == "__main__":
    main()
