"""A picture of the most confident mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.special import expit

from lightning_modules.results.figures import pairs_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_modules.evaluation.mistakes import Mistakes


def mistakes_figure(mistakes: Mistakes) -> Figure:
    """Show the most confident mistakes, each with the right answer and the prediction.

    Args:
        mistakes: Of all runs.

    Returns:
        The figure.
    """
    captions = [
        _caption(int(first), int(second), float(odds))
        for (first, second), odds in zip(mistakes.digits, mistakes.log_odds, strict=True)
    ]
    return pairs_figure(list(mistakes.images), captions)


def _caption(first: int, second: int, log_odds: float) -> str:
    right = "≤" if first <= second else ">"
    predicted = "≤" if log_odds > 0 else ">"
    return f"is {first} {right} {second}, says {predicted} ({expit(abs(log_odds)):.0%})"
