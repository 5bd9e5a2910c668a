"""Pairwise tests between the nets of a page, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lightning_modules.evaluation.significance import LEVEL, PairedTest, holm, paired_test, sound_pairs
from lightning_modules.report.study import Net


@dataclass(frozen=True)
class Difference:
    """Test error of one net minus another's, as shares."""

    first: Net
    second: Net
    metric: str  # its name in `Run`
    n: int  # seeds at which neither diverged
    test: PairedTest
    corrected: float  # p by Holm, of all on the page

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


def compare_all(nets: Sequence[Net]) -> tuple[list[Difference], list[str]]:
    """Compare every two nets.

    Args:
        nets: All of the page.

    Returns:
        Comparisons, and why the nets of which studies could not be compared.
    """
    found: list[tuple[Net, Net, str, list[float], list[float]]] = []
    unpaired: dict[str, None] = {}  # the nets of a study have mostly the same reason: it is said once
    for first, second in combinations(nets, 2):
        if reason := why_not(first, second):
            studies = " and ".join(dict.fromkeys((first.study, second.study)))
            unpaired[f"{studies}: {reason}"] = None
            continue
        found.append((first, second, *sound_pairs(first.runs, second.runs)))
    tests = [paired_test(ours, theirs) for *_, ours, theirs in found]
    corrected = holm([test.p for test in tests])
    differences = [
        Difference(first, second, metric, len(ours), test, p)
        for (first, second, metric, ours, _), test, p in zip(found, tests, corrected, strict=True)
    ]
    return differences, list(unpaired)


def why_not(first: Net, second: Net) -> str | None:
    """Why two nets cannot be paired, or None.

    Args:
        first: A net.
        second: Another.
    """
    if (first.data["train_pairs"] is None) != (second.data["train_pairs"] is None):
        return "not the same task"
    other = [name for name, value in first.data.items() if value != second.data[name]]
    if other:
        values = (f"{name} {first.data[name]} and {second.data[name]}" for name in other)
        return f"not the same data: {', '.join(values)}"
    if sorted(first.seeds) != sorted(second.seeds):
        return f"not the same seeds: {seed_range(first.seeds)} and {seed_range(second.seeds)}"
    if len(first.runs) < 2:
        return "a single run has no deviation"
    if len(sound_pairs(first.runs, second.runs)[1]) < 2:
        return f"{first.model} and {second.model} have no two seeds at which neither diverged"
    return None


def seed_range(seeds: Sequence[int]) -> str:
    """Seeds in few words.

    Args:
        seeds: One at least.
    """
    low, high = min(seeds), max(seeds)
    if len(seeds) > 2 and sorted(seeds) == list(range(low, high + 1)):
        return f"{low} to {high}"
    return ", ".join(map(str, seeds))
