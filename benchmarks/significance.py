"""Is a difference more than noise? Paired over the same seeds and pairs, with 95 % intervals."""

import math
from collections.abc import Sequence
from statistics import mean, stdev

import numpy as np


def t_quantile(freedom: int, share: float = 0.975) -> float:
    """The quantile of Student's t distribution.

    With t = sqrt(freedom) tan(angle) the density of the angle is cos(angle) ** (freedom - 1), up to a factor.

    Args:
        freedom: Degrees of freedom.
        share: Probability below the quantile, at least one half.
    """
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = np.interp((share - 0.5) * 2, below / below[-1], angles)
    return float(np.sqrt(freedom) * np.tan(angle))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean; infinite for a single value.

    Args:
        values: Independent measurements.
    """
    if len(values) < 2:
        return math.inf
    return t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


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
