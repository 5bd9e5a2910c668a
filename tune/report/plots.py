"""Plots of a study: Optuna's own, and a map of the paper's grid."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.trial import TrialState
from optuna.visualization import matplotlib as optuna_plots

from scratch_framework.experiments.disc.grid_report import grid_figure
from scratch_framework.experiments.disc.search import Setting
from tune.fit.chunk import ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from tune.study.definition import Definition

LABEL = "validation error, %"
LONG = 10  # characters of a label that has to stand upright


def draw(trials: Sequence[FrozenTrial], definition: Definition) -> dict[str, Figure]:
    """Draw what there is to draw.

    Args:
        trials: Of the study, at least one with a score.
        definition: The study's.

    Returns:
        Figures by name.
    """
    scored = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    figures = _by_optuna(trials, scored, definition)
    if definition.space == "paper" and definition.model == "auxiliary":
        figures["grid"] = weights_figure(scored)
    if definition.space == "paper" and definition.model == "disc":
        figures["grid"] = grid_figure(_settings(scored))
    return figures


def _by_optuna(
    trials: Sequence[FrozenTrial], scored: Sequence[FrozenTrial], definition: Definition
) -> dict[str, Figure]:
    study = _in_percent(trials)
    names = list(definition.searched().distributions)
    # All of them warn that they are experimental, and set pyplot's style, which is to be theirs alone.
    with warnings.catch_warnings(), plt.rc_context():
        warnings.simplefilter("ignore")
        slices = optuna_plots.plot_slice(study, names, target_name=LABEL)
        for axis in np.ravel(np.array(slices, dtype=object)):
            if max(len(str(label.get_text())) for label in axis.get_xticklabels()) > LONG:
                axis.tick_params("x", labelrotation=90)
        figures = {
            "history": _figure(optuna_plots.plot_optimization_history(study, target_name=LABEL)),
            "parallel": _figure(optuna_plots.plot_parallel_coordinate(study, names, target_name=LABEL)),
            "slice": _figure(slices),
        }
        figures["parallel"].set_size_inches(3 + 2.5 * len(names), 5)
        # An importance is a share of what differs: one parameter has all of it, equal scores have none.
        if len(names) > 1 and len({trial.value for trial in scored}) > 1:
            axes = optuna_plots.plot_param_importances(study, params=names, target_name=LABEL)
            figures["importances"] = _figure(axes)
    return figures


def _in_percent(trials: Sequence[FrozenTrial]) -> optuna.Study:
    """A study in memory of the trials with a value."""
    study = optuna.create_study()
    for trial in trials:
        if trial.value is not None and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            study.add_trial(
                optuna.trial.create_trial(
                    state=trial.state,
                    value=100 * trial.value,
                    params=trial.params,
                    distributions=trial.distributions,
                )
            )
    return study


def _figure(axes: Axes | NDArray[np.object_]) -> Figure:
    """The figure of some axes, taken out of pyplot, which would keep it for ever."""
    axis: Axes = np.ravel(np.array(axes, dtype=object))[0]
    figure = cast("Figure", axis.figure)
    plt.close(figure)
    return figure


def weights_figure(trials: Sequence[FrozenTrial]) -> Figure:
    """Draw every error of the grid of auxiliary losses: a map of alpha and gamma for each learning rate.

    Args:
        trials: With scores.
    """
    rates, alphas, gammas = (
        sorted({trial.params[name] for trial in trials}) for name in ("lr", "alpha", "gamma")
    )
    errors = np.full((len(rates), len(alphas), len(gammas)), np.nan)
    for trial in trials:
        lr, alpha, gamma = (trial.params[name] for name in ("lr", "alpha", "gamma"))
        place = rates.index(lr), alphas.index(alpha), gammas.index(gamma)
        errors[place] = 100 * cast("float", trial.value)
    figure = Figure(figsize=(0.8 + 2.3 * len(rates), 3.1), layout="constrained")
    shades = np.log(errors.clip(min=0.1))  # a ratio of errors is a step of colour
    for axis, rate, values, tones in zip(
        figure.subplots(1, len(rates), squeeze=False)[0], rates, errors, shades, strict=True
    ):
        _map(axis, values, tones, (np.nanmin(shades), np.nanmax(shades)))
        axis.set_title(f"lr {rate:g}", fontsize=10)
        axis.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
        axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        axis.set_xlabel("gamma")
        axis.set_ylabel("alpha")
    figure.suptitle(f"{LABEL}, mean of {len(trials[0].user_attrs[ERRORS])} runs", fontsize=10)
    return figure


def _map(
    axis: Axes, values: NDArray[np.float64], shades: NDArray[np.float64], limits: tuple[float, float]
) -> None:
    axis.imshow(shades, cmap="viridis_r", vmin=limits[0], vmax=limits[1], origin="lower")
    for row, column in zip(*np.isfinite(values).nonzero(), strict=True):
        color = "white" if shades[row, column] > sum(limits) / 2 else "black"
        label = f"{values[row, column]:.1f}"
        axis.text(column, row, label, ha="center", va="center", color=color, fontsize=9)


def _settings(trials: Sequence[FrozenTrial]) -> list[Setting]:
    """Trials on the disc as its own grid's picture takes them, the best first."""
    settings = [
        Setting(
            activations=tuple(trial.params["activations"].split(",")),
            lr=trial.params["lr"],
            weight_decay=trial.params["weight_decay"],
            val_errors=trial.user_attrs[ERRORS],
        )
        for trial in trials
    ]
    return sorted(settings, key=lambda setting: setting.val_error)
