"""The paper's four figures, of one experiment's first run (the loss: of all runs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scratch_framework.experiments.disc.figures import (
    SHOWN,
    data_figure,
    loss_figure,
    network_figure,
    prediction_figure,
)
from scratch_framework.experiments.disc.objective import OBJECTIVES
from scratch_framework.experiments.disc.training import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from scratch_framework.experiments.disc.learner import Learner
    from scratch_framework.experiments.disc.points import DataConfig, Points
    from scratch_framework.experiments.disc.recipe import Recipe

GRID = 121  # points along a side of the square, to find the boundary by
LOSSES = {"mse": "mean squared error", "bce": "binary cross entropy", "ce": "cross entropy"}


def pictures(
    recipe: Recipe,
    data: DataConfig,
    points: Mapping[str, Points],
    learner: Learner,
    losses: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> dict[str, Figure]:
    """Draw the figures.

    Args:
        recipe: The net and its loss.
        data: How the points are drawn.
        points: Points to "train" and "test", of which the first replica's are shown.
        learner: Whose first net is shown.
        losses: (epochs, R) by tag.
        dtype: Type to compute in.

    Returns:
        Figures by the paper's number and a word.
    """
    train, (_, runs) = points["train"], losses["train/loss"].shape
    return {
        "2.1_data": data_figure(
            train.x[0].numpy(),
            train.inside[0].numpy(),
            data.radius,
            f"training points, seed {learner.seeds[0]}",
        ),
        "2.2_network": network_figure(
            recipe.layers, f"the net: units (at most {SHOWN} of a layer are drawn) and activations"
        ),
        "2.3_loss": loss_figure(
            {tag: values.numpy() for tag, values in losses.items()},
            f"mean loss of {runs} runs, 10th to 90th percentile",
            LOSSES[recipe.loss],
        ),
        "2.4_prediction": prediction(recipe, data, points["test"], learner, dtype),
    }


def prediction(
    recipe: Recipe, data: DataConfig, test: Points, learner: Learner, dtype: torch.dtype
) -> Figure:
    """Draw figure 2.4: what the first net says of its test points, and its boundary.

    Args:
        recipe: The net and its loss.
        data: How the points are drawn.
        test: Points, of which the first replica's are shown.
        learner: Whose first net is shown.
        dtype: Type to compute in.
    """
    outputs = learner.first_replica()(inputs(recipe, test.x[:1], dtype))
    said, inside = OBJECTIVES[recipe.loss].logit(outputs)[0] > 0, test.inside[0]
    error = (said != inside).double().mean().item()
    return prediction_figure(
        test.x[0].numpy(),
        said.numpy(),
        inside.numpy(),
        data.radius,
        surfaces(recipe, learner, dtype).numpy(),
        f"test points as the net has them, seed {learner.seeds[0]}: {error:.1%} wrong",
    )


def surfaces(recipe: Recipe, learner: Learner, dtype: torch.dtype) -> Tensor:
    """Scores of the first net over the square.

    Args:
        recipe: The net. With a bias for each row of a batch it is as many nets as there are rows.
        learner: Whose first net.
        dtype: Type to compute in.

    Returns:
        (K, GRID, GRID), by row of the batch, y and x.
    """
    ticks = torch.linspace(0, 1, GRID, dtype=torch.float64)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], 1)  # (GRID * GRID, 2)
    rows = recipe.batch_size if recipe.mistake == "bias_per_row" else 1
    shown = inputs(recipe, grid.repeat_interleave(rows, 0).unsqueeze(0), dtype)  # every point in every row
    scores = OBJECTIVES[recipe.loss].logit(learner.first_replica()(shown))[0]
    return scores.view(GRID, GRID, rows).permute(2, 0, 1)
