"""Paired t-tests between nets over the same seeds and pairs, with 95 % intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t, ttest_rel

from lightning_modules.results.runs import Run

LEVEL = 0.05  # of all comparisons of one table together
TINY = 1e-12  # a difference or deviation below it is rounding


def sound_pairs(ours: Sequence[Run], reference: Sequence[Run]) -> tuple[str, list[float], list[float]]:
    """The errors to compare of two nets, at the seeds where neither diverged.

    They are the errors over all pairs of test digits where all these runs have them, because these have no
    sampling noise, else the errors on each run's own test pairs.

    Args:
        ours: Runs of a net.
        reference: Runs of another.

    Returns:
        The metric's name in `Run`, our values and the reference's, by seed.
    """
    theirs = {run.seed: run for run in reference if not run.diverged}
    own = {run.seed: run for run in ours if not run.diverged and run.seed in theirs}
    pairs = [(own[seed], theirs[seed]) for seed in sorted(own)]
    whole = all(run.all_test_error is not None for pair in pairs for run in pair)
    metric = "all_test_error" if whole else "test_error"
    first, second = ([getattr(pair[side], metric) for pair in pairs] for side in (0, 1))
    return metric, first, second


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean; infinite for a single value.

    Args:
        values: Independent measurements.
    """
    if len(values) < 2:
        return math.inf
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


@dataclass(frozen=True)
class PairedTest:
    """A mean difference over pairs of runs, and the two-sided paired t-test of it."""

    mean: float
    half_width: float  # of the 95 % interval; infinite for a single pair
    p: float  # how likely so large a mean difference is, were there none; 1 for a single pair


def paired_test(ours: Sequence[float], reference: Sequence[float]) -> PairedTest:
    """Test whether two nets differ.

    Args:
        ours: A metric of every run.
        reference: The same metric of the reference's runs, with the same seeds and pairs, in this order.

    Returns:
        The test of ours minus reference.
    """
    differences = [one - other for one, other in zip(ours, reference, strict=True)]
    average = mean(differences)
    if len(differences) < 2:
        return PairedTest(average, math.inf, 1.0)
    if stdev(differences) < TINY:  # scipy would divide by it
        return PairedTest(average, 0.0, float(abs(average) < TINY))
    test = ttest_rel(ours, reference)
    interval = test.confidence_interval(0.95)
    return PairedTest(average, float(interval.high - interval.low) / 2, float(test.pvalue))


def verdicts(tests: Sequence[PairedTest]) -> list[str]:
    """Which of several differences are more than noise, at a level of 5 % for all of them together.

    Args:
        tests: All comparisons of one table.

    Returns:
        "differs" or "noise", in the same order.
    """
    corrected = holm([test.p for test in tests])
    return ["differs" if p < LEVEL else "noise" for p in corrected]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for several comparisons, as Holm (1979) does: of all together, 5 % err where none differs.

    Args:
        p_values: Of single comparisons.

    Returns:
        The corrected ones, in the same order.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = least
    return corrected
