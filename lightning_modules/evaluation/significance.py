"""t-tests between nets, paired by seed or by Welch, with 95 % intervals, and the seeds that they need."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import nct, t, ttest_ind, ttest_rel

from lightning_modules.results.runs import Run

LEVEL = 0.05  # of all comparisons of one table together
POWER = 0.8  # share of studies in which a true difference is found
MOST_SEEDS = 2000
TINY = 1e-12  # a difference or deviation below it is rounding


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean; infinite for a single value.

    Args:
        values: Independent measurements.
    """
    if len(values) < 2:
        return math.inf
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


@dataclass(frozen=True)
class TTest:
    """A mean difference of two nets' errors, and the two-sided t-test of it."""

    mean: float
    half_width: float  # of the 95 % interval; infinite for a single pair
    p: float  # how likely so large a mean difference is, were there none; 1 for a single pair
    # Standard deviations seen: of the differences, where runs are paired, else of each net's errors.
    deviations: tuple[float, ...] = ()


def paired_test(ours: Sequence[float], reference: Sequence[float]) -> TTest:
    """Test whether two nets differ, run by run.

    Args:
        ours: A metric of every run.
        reference: The same metric of the reference's runs, with the same seeds and pairs, in this order.

    Returns:
        The test of ours minus reference.
    """
    differences = [one - other for one, other in zip(ours, reference, strict=True)]
    if len(differences) < 2:
        return TTest(mean(differences), math.inf, 1.0)
    return _test(mean(differences), (stdev(differences),), lambda: ttest_rel(ours, reference))


def welch_test(ours: Sequence[float], reference: Sequence[float]) -> TTest:
    """Test whether two nets differ whose runs have nothing in common (Welch 1947).

    Args:
        ours: A metric of two runs at least.
        reference: The same metric of the reference's runs, two at least.

    Returns:
        The test of ours minus reference.
    """
    deviations = stdev(ours), stdev(reference)
    return _test(
        mean(ours) - mean(reference), deviations, lambda: ttest_ind(ours, reference, equal_var=False)
    )


def _test(average: float, deviations: tuple[float, ...], by_scipy: Callable[[], Any]) -> TTest:
    if max(deviations) < TINY:  # scipy would divide by it
        return TTest(average, 0.0, float(abs(average) < TINY), deviations)
    test = by_scipy()
    interval = test.confidence_interval(0.95)
    return TTest(average, float(interval.high - interval.low) / 2, float(test.pvalue), deviations)


def seeds_needed(difference: float, deviations: Sequence[float]) -> int | None:
    """How many seeds a study needs, so that a t-test at the 5 % level finds a difference with 80 % power.

    The noncentral t distribution tells the power, for normal errors whose true deviations are those given
    (Cohen 1988). With n seeds its noncentrality is difference * sqrt(n / sum(s^2)). Its degrees of freedom
    are (n - 1) * sum(s^2)^2 / sum(s^4): n - 1 for one deviation, and Welch's for two.

    Args:
        difference: The true difference, above 0.
        deviations: One, of paired differences; or two, of the errors of nets that are not paired.

    Returns:
        Seeds of each net; None where `MOST_SEEDS` are too few.
    """
    variance = sum(s**2 for s in deviations)
    if variance < TINY**2:
        return 2
    freedom = variance**2 / sum(s**4 for s in deviations)
    n = np.arange(2, MOST_SEEDS + 1)
    bound, shift = t.isf(LEVEL / 2, (n - 1) * freedom), difference * np.sqrt(n / variance)
    enough = nct.sf(bound, (n - 1) * freedom, shift) >= POWER  # the other tail finds the wrong sign
    return int(n[enough][0]) if enough.any() else None


@dataclass(frozen=True)
class Comparison:
    """The errors of two nets, compared."""

    metric: str  # its name in `Run`
    counts: tuple[int, int]  # runs of each that were compared
    paired: bool
    test: TTest


def compare_runs(ours: Sequence[Run], reference: Sequence[Run]) -> Comparison | None:
    """Compare two nets: paired over the seeds that both have, by Welch's test where these are fewer than two.

    Runs that diverged do not count. The errors are those over all pairs of test digits where all these runs
    have them, because these have no sampling noise, else the errors on each run's own test pairs.

    Args:
        ours: Runs of a net.
        reference: Runs of another.

    Returns:
        Ours minus reference; None where there are too few runs.
    """
    first, second = ({run.seed: run for run in runs if not run.diverged} for runs in (ours, reference))
    shared = sorted(first.keys() & second.keys())
    paired = len(shared) > 1
    if not paired and min(len(first), len(second)) < 2:
        return None
    sides = [[net[seed] for seed in (shared if paired else net)] for net in (first, second)]
    whole = all(run.all_test_error is not None for side in sides for run in side)
    metric = "all_test_error" if whole else "test_error"
    own, theirs = ([getattr(run, metric) for run in side] for side in sides)
    test = paired_test(own, theirs) if paired else welch_test(own, theirs)
    return Comparison(metric, (len(own), len(theirs)), paired, test)


def verdicts(tests: Sequence[TTest]) -> list[str]:
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
