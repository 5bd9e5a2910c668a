"""The mistake in the paper's auxiliary-loss result: digit labels of another draw of pairs.

In the authors' final runs each run draws its pairs anew, but the digit labels were taken once, from an
earlier draw. The images of pair n then come with the digits of another pair n: the auxiliary losses ask the
CNN to read digits that are not there. The comparison's target is right. Here the same nets are trained both
ways.

Command line:
    python -m benchmarks.paper_mistake
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from datamodules import DigitPairs, PairSet
from datamodules.pairs import draw_splits
from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file, make_folder
from lightning_modules.command.run_flags import RunFlags
from lightning_modules.models.recipes import PAPER
from lightning_modules.models.settings import AuxiliaryLossSettings
from lightning_modules.results.progress import StudyProgress
from lightning_modules.results.runs import ModelRuns, spread, write_results
from lightning_modules.results.table import PAPER_FIGURES, percent
from lightning_modules.training.execution import ExecutionConfig
from lightning_modules.training.runner import Study, quiet, run_studies
from lightning_modules.training.studies import make_study

EARLIER_DRAW = 2**32 - 1  # the seed of a draw that is none of the runs'

SETTINGS = {
    "recipe paper: lr 0.1, alpha 1, gamma 1": PAPER.settings["auxiliary"],
    "the authors' code: lr 1, alpha 0.2, gamma 0.2": AuxiliaryLossSettings(lr=1.0, alpha=0.2, gamma=0.2),
}


class StaleLabels(DigitPairs):
    """Pairs whose training images come with the digit labels of an earlier draw, the same for all runs."""

    def setup(self, stage: str | None = None) -> None:
        """Draw the pairs, then replace the digits of the training pairs."""
        super().setup(stage)
        sizes = (len(self.train_digits), len(self.test_digits))
        earlier = draw_splits(self.counts, sizes, EARLIER_DRAW).train
        labels = PairSet.of([earlier] * len(self.seeds), self.train_digits).classes
        self.train_set = replace(self.train_set, classes=labels)


def paper_mistake(
    runs: int = 15,
    seed: int = 0,
    max_epochs: int = 25,
    out: str = "runs/paper-mistake.json",
    verbose: bool = False,
) -> None:
    """Train the auxiliary-loss net with right and with stale digit labels, at two settings.

    Args:
        runs: Runs of each.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs.
        out: File for every run's figures.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    if not verbose:
        quiet()
    check_file(Path(out))
    finished: list[ModelRuns] = []
    seeds, trainer = RunFlags(runs=runs, seed=seed).seeds, {"accelerator": "cpu"}
    studies, titles = dict[str, Study](), dict[str, str]()
    for title, settings in SETTINGS.items():
        settings = replace(settings, max_epochs=max_epochs)
        for labels, data in (("right", DigitPairs), ("stale", StaleLabels)):
            name = f"lr {settings.lr:g}, {labels} labels"
            studies[name] = make_study(settings, seeds, data, trainer, ExecutionConfig(), verbose=verbose)
            titles[name] = f"{title}, {labels} labels"
    config = {"runs": runs, "seed": seed, "max_epochs": max_epochs}
    with (
        StudyProgress(Console(), dict.fromkeys(studies, runs), max_epochs) as progress,
        closing(run_studies(studies, progress.add)) as fits,
    ):
        for name, fit in fits:
            finished.append(ModelRuns("auxiliary", titles[name], fit.runs))
            make_folder(Path(out).parent, anew=False, flag="out")
            write_results(Path(out), finished, cli.command_line(), config)
    Console().print(mistake_table(finished))


def mistake_table(studies: Sequence[ModelRuns]) -> Table:
    """Errors with right and with stale labels, below the paper's."""
    count, first = len(studies[0].runs), studies[0].runs[0].seed
    table = Table(title=f"auxiliary losses, error in %, mean ± std, n = {count}, seeds from {first}")
    for column in ("", "train", "test", "test, digits"):
        table.add_column(column)
    paper = PAPER_FIGURES["auxiliary"]
    train, test = percent(paper.train_mean, paper.train_std), percent(paper.test_mean, paper.test_std)
    table.add_row("the paper's figure 1.5 (n = 15)", train, test, end_section=True)
    for study in studies:
        names = ("train_error", "test_error", "test_digit_error")
        figures = [study.errors(name) for name in names]
        cells = [percent(*spread(errors)) if errors else percent(None, None) for errors in figures]
        lost = len(study.runs) - len(study.sound)
        table.add_row(study.recipe + (f" (n = {study.count}; {lost} diverged)" if lost else ""), *cells)
    return table


if __name__ == "__main__":
    cli.run(paper_mistake, "python -m benchmarks.paper_mistake")
