"""Tests between every two nets of some studies, corrected for their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lightning_modules.evaluation.significance import (
    LEVEL,
    MOST_SEEDS,
    Comparison,
    TTest,
    compare_runs,
    holm,
    seeds_needed,
)
from lightning_modules.report.study import Net

SEEN = 0.002  # a difference of errors, as a share: how many seeds show it?


@dataclass(frozen=True)
class Difference:
    """Test error of one net minus another's, as shares."""

    first: Net
    second: Net
    metric: str  # its name in `Run`
    runs: str  # how many were compared, and how
    test: TTest
    corrected: float  # p by Holm, of all comparisons

    @property
    def differs(self) -> bool:
        """Whether it is more than noise, all comparisons counted."""
        return self.corrected < LEVEL

    @property
    def better(self) -> str:
        """The net with the lower error."""
        return (self.first if self.test.mean < 0 else self.second).name

    @property
    def name(self) -> str:
        """The two nets, in few words."""
        same = self.first.study == self.second.study
        return f"{self.first.name} minus {self.second.model if same else self.second.name}"

    @property
    def seeds(self) -> str:
        """How many seeds show a difference of `SEEN` with 80 % power."""
        return str(seeds_needed(SEEN, self.test.deviations) or f"over {MOST_SEEDS}")


def compare_all(nets: Sequence[Net]) -> tuple[list[Difference], list[str]]:
    """Compare every two nets: run by run over the seeds that both have, else by Welch's test.

    Args:
        nets: All of a page.

    Returns:
        Comparisons, and why the nets of which studies could not be compared.
    """
    found = []
    reasons: dict[str, None] = {}  # the nets of a study have mostly the same reason: it is said once
    for first, second in combinations(nets, 2):
        reason, compared = _other_task(first, second), compare_runs(first.runs, second.runs)
        if compared and not reason:
            found.append((first, second, compared))
            continue
        few = f"{first.model} and {second.model} have too few runs that did not diverge"
        if min(len(first.runs), len(second.runs)) < 2:
            few = "a single run has no deviation"
        studies = " and ".join(dict.fromkeys((first.study, second.study)))
        reasons[f"{studies}: {reason or few}"] = None
    corrected = holm([compared.test.p for *_, compared in found])
    differences = [
        Difference(first, second, compared.metric, _count(first, second, compared), compared.test, p)
        for (first, second, compared), p in zip(found, corrected, strict=True)
    ]
    return differences, list(reasons)


def _count(first: Net, second: Net, compared: Comparison) -> str:
    every, counted = (len(first.runs), len(second.runs)), compared.counts
    if not compared.paired:
        return f"{counted[0]} and {counted[1]} runs, not paired"
    if counted == every:
        return f"{counted[0]} runs"
    return f"{counted[0]} of {' and '.join(map(str, dict.fromkeys(every)))} runs"


def _other_task(first: Net, second: Net) -> str | None:
    """Why the errors of two nets are not of the same task and data; None where they are."""
    if (first.data["train_pairs"] is None) != (second.data["train_pairs"] is None):
        return "not the same task"
    other = [name for name, value in first.data.items() if value != second.data[name]]
    values = (f"{name} {first.data[name]} and {second.data[name]}" for name in other)
    return f"not the same data: {', '.join(values)}" if other else None


def seed_range(seeds: Sequence[int]) -> str:
    """Seeds in few words.

    Args:
        seeds: One at least.
    """
    low, high = min(seeds), max(seeds)
    if len(seeds) > 2 and sorted(seeds) == list(range(low, high + 1)):
        return f"{low} to {high}"
    return ", ".join(map(str, seeds))
