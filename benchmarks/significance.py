"""Is a difference more than noise? Paired over the same seeds and pairs, with 95 % intervals."""

import math
from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t


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
