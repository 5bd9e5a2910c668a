"""Plots of a study: Optuna's own, and the map of a paper's grid (`grids`)."""

import warnings
from collections.abc import Sequence
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as optuna_plots

from tune.report.grids import auxiliary_grid, disc_grid
from tune.study.definition import Definition

GRIDS = {"auxiliary": auxiliary_grid, "disc": disc_grid}  # of the paper, by model
LABEL = "validation error, %"
LONG = 10  # characters of a label that has to stand upright


def draw(trials: Sequence[FrozenTrial], definition: Definition) -> dict[str, Figure]:
    """Draw what there is to draw."""
    scored = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    figures = _by_optuna(trials, scored, definition)
    if definition.space == "paper" and definition.model in GRIDS:
        figures["grid"] = GRIDS[definition.model](scored)
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
                    value=trial.value,
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
