"""Is a difference more than noise? Paired over the same seeds and pairs, with 95 % intervals."""

import math
from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t

from lightning_modules.results import Run


def sound_pairs(ours: Sequence[Run], reference: Sequence[Run]) -> tuple[str, list[float], list[float]]:
    """What to compare of two nets: the same figure, of the seeds at which neither diverged.

    It is the error over all pairs of test digits where all these runs have it, because it has no sampling
    noise, else that of each run's own test pairs.

    Args:
        ours: Runs of a net.
        reference: Runs of another.

    Returns:
        The figure's name, ours and the reference's, by seed.
    """
    theirs = {run.seed: run for run in reference if not run.diverged}
    own = {run.seed: run for run in ours if not run.diverged and run.seed in theirs}
    pairs = [(own[seed], theirs[seed]) for seed in sorted(own)]
    whole = all(run.all_test_error is not None for pair in pairs for run in pair)
    figure = "all_test_error" if whole else "test_error"
    first, second = ([getattr(pair[side], figure) for pair in pairs] for side in (0, 1))
    return figure, first, second


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean; infinite for a single value.

    Args:
        values: Independent measurements.
    """
    if len(values) < 2:
        return math.inf
    return float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def paired(ours: Sequence[float], reference: Sequence[float]) -> tuple[float, float]:
    """Mean difference and half of its 95 % interval.

    Args:
        ours: A figure of every run.
        reference: The same of the reference's runs, with the same seeds and pairs, in the same order.

    Returns:
        Mean of ours less reference, half width.
    """
    differences = [one - other for one, other in zip(ours, reference, strict=True)]
    return mean(differences), half_width(differences)


def p_value(ours: Sequence[float], reference: Sequence[float]) -> float:
    """Of the two-sided paired t-test: how likely so large a mean difference is, were there none.

    Args:
        ours: A figure of every run, of two at least.
        reference: See `paired`.
    """
    differences = [one - other for one, other in zip(ours, reference, strict=True)]
    average, deviation = mean(differences), stdev(differences)
    if deviation == 0:
        return float(average == 0)
    return 2 * float(t.sf(abs(average) / deviation * math.sqrt(len(differences)), len(differences) - 1))


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
