"""Maps of the paper's grids: the validation error of every point, as a number and a colour."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from lightning_modules.results.palette import LOW_IS_BRIGHT
from tune.fit.trial_batch import ERRORS

Numbers = NDArray[np.float64]


def auxiliary_grid(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw scored trials of the grid of auxiliary losses: a map of alpha and gamma for each learning rate."""
    rates, alphas, gammas = (_values(trials, name) for name in ("lr", "alpha", "gamma"))
    errors = np.full((len(rates), len(alphas), len(gammas)), np.nan)
    for trial in trials:
        lr, alpha, gamma = (trial.params[name] for name in ("lr", "alpha", "gamma"))
        errors[rates.index(lr), alphas.index(alpha), gammas.index(gamma)] = _percent(trial)
    figure = Figure(figsize=(0.8 + 2.3 * len(rates), 3.1), layout="constrained")
    axes = figure.subplots(1, len(rates), squeeze=False)[0]
    for axis, rate, values in zip(axes, rates, errors, strict=True):
        _draw_map(axis, values, errors, origin="lower")
        axis.set_title(f"lr {rate:g}", fontsize=10)
        axis.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
        axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        axis.set_xlabel("gamma")
        axis.set_ylabel("alpha")
    figure.suptitle(_title("auxiliary", trials), fontsize=10)
    return figure


def disc_grid(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw scored trials on the disc: the best activations on top, a column for each pair of rates."""
    ranked = sorted(trials, key=_percent)
    groups = list(dict.fromkeys(trial.params["activations"] for trial in ranked))
    columns = sorted({(trial.params["lr"], trial.params["weight_decay"]) for trial in trials})
    errors = np.full((len(groups), len(columns)), np.nan)
    for trial in trials:
        rates = trial.params["lr"], trial.params["weight_decay"]
        errors[groups.index(trial.params["activations"]), columns.index(rates)] = _percent(trial)
    figure = Figure(figsize=(7.4, 6.6), layout="constrained")
    axis = figure.subplots()
    _draw_map(axis, errors, errors, aspect="auto")
    axis.set_yticks(range(len(groups)), [group.replace(",", " ") for group in groups], fontsize=8)
    axis.set_xticks(range(len(columns)), [f"lr {lr:g}\nwd {decay:g}" for lr, decay in columns], fontsize=8)
    axis.set_title(_title("disc", trials), fontsize=10)
    return figure


def _values(trials: Sequence[FrozenTrial], name: str) -> list[float]:
    return sorted({trial.params[name] for trial in trials})


def _percent(trial: FrozenTrial) -> float:
    return cast("float", trial.value)


def _title(net: str, trials: Sequence[FrozenTrial]) -> str:
    runs = len(trials[0].user_attrs[ERRORS])
    return f"{net}: validation error in %, mean of {runs} runs; the brighter, the lower"


def _draw_map(axis: Axes, values: Numbers, whole: Numbers, **options: Any) -> None:
    """Write each value (rows, columns) into a field, coloured by its logarithm on the `whole`'s scale."""
    shades, (low, high) = _logs(values), (np.nanmin(_logs(whole)), np.nanmax(_logs(whole)))
    axis.imshow(shades, cmap=LOW_IS_BRIGHT, vmin=low, vmax=high, **options)
    for row, column in zip(*np.isfinite(values).nonzero(), strict=True):
        color = "white" if shades[row, column] > (low + high) / 2 else "black"
        label = f"{values[row, column]:.1f}"
        axis.text(column, row, label, ha="center", va="center", color=color, fontsize=8)


def _logs(errors: Numbers) -> Numbers:
    return np.log(errors.clip(min=0.1))
