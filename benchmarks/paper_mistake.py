"""The mistake in the paper's auxiliary-loss result: digit labels of another draw of pairs.

In the authors' final runs each run draws its pairs anew, but the digit labels were taken once, from an
earlier draw. The images of pair n then come with the digits of another pair n: the auxiliary losses ask the
CNN to read digits that are not there. The comparison's target is right. Here the same nets are trained both
ways.

Command line:
    python -m benchmarks.paper_mistake
"""

from dataclasses import replace
from functools import partial
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from datamodules import DigitPairs, PairSet
from datamodules.pairs import draw_splits
from lightning_modules import AuxiliaryLoss, cli
from lightning_modules.protocol import Study, run_study
from lightning_modules.recipes import PAPER
from lightning_modules.results import PAPER_FIGURES
from lightning_modules.workers import available_cores

EARLIER_DRAW = 2**40  # the seed of a draw that is none of the runs'

SETTINGS = {
    "recipe paper (lr 0.1, alpha 1, gamma 1)": PAPER.settings["auxiliary"],
    "the authors' choice (lr 1, alpha 0.2, gamma 0.2)": {"lr": 1.0, "alpha": 0.2, "gamma": 0.2},
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


def paper_mistake(runs: int = 15, seed: int = 0, max_epochs: int = 25, verbose: bool = False) -> None:
    """Train the auxiliary-loss net with right and with stale digit labels, at two settings.

    Args:
        runs: Runs of each.
        seed: Seed of the first run; the next ones count up.
        max_epochs: Epochs.
        verbose: Whether to show what libraries say, and tracebacks.
    """
    paper = PAPER_FIGURES["auxiliary"]
    assert paper.test_std is not None
    table = Table(title=f"auxiliary losses, error in %, mean ± std, n = {runs}, seeds from {seed}")
    for column in ("settings", "digit labels", "train", "test"):
        table.add_column(column)
    table.add_row("the paper's figure 1.5 (n = 15)", "", "1.84 ± 1.13", "15.20 ± 0.90", end_section=True)
    for title, settings in SETTINGS.items():
        for labels, data in (("right", DigitPairs), ("stale", StaleLabels)):
            study = Study(
                module=AuxiliaryLoss,
                settings=[{"seed": seed + k, **settings} for k in range(runs)],
                data=partial(data, batch_size=PAPER.batch_size),
                trainer={"max_epochs": max_epochs, "accelerator": "cpu"},
                verbose=verbose,
            )
            results = run_study(study, min(available_cores(), runs), ignore).runs
            errors = [[run.train_error for run in results], [run.test_error for run in results]]
            table.add_row(title, labels, *(percent(values) for values in errors))
    Console().print(table)


def ignore(*_: Any) -> None:
    """Nobody watches the epochs."""


def percent(values: list[float]) -> str:
    """Mean and standard deviation of shares, in percent."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.2f} ± {100 * deviation:.2f}"


if __name__ == "__main__":
    cli.run(paper_mistake, "python -m benchmarks.paper_mistake")
