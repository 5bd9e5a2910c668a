"""The paper's figures 2.1 to 2.4: they show what is there, and nothing where nothing is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from scratch_framework.experiments.disc.figures import GRID, figures, surfaces
from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig, Points
from scratch_framework.experiments.disc.recipe import PAPER, Recipe
from scratch_framework.experiments.disc.training import evaluate, examples

POINTS = {split: DataConfig().draw(split, 60, [0, 1]) for split in ("train", "test")}
LOSSES = {"train/loss": torch.rand(3, 2), "val/loss": torch.rand(3, 2)}


def learner_of(recipe: Recipe) -> ScratchLearner:
    return ScratchLearner(recipe, [0, 1], 1, compiled=False)


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def draw(learner: ScratchLearner, points: dict[str, Points] = POINTS) -> dict[str, Figure]:
    return figures(learner.recipe, DataConfig(), points, learner, LOSSES, torch.float32)


def test_the_figures_count_classes_and_wrong_points() -> None:
    learner = learner_of(PAPER)
    shown = draw(learner)
    assert list(shown) == ["2.1_data", "2.2_network", "2.3_loss", "2.4_prediction"]
    inside = int(POINTS["train"].inside[0].sum())
    assert f"class 1, inside: {inside}" in labels(shown["2.1_data"])
    _, error = evaluate(learner, PAPER, examples(PAPER, POINTS["test"], torch.float32))
    assert f"wrong: {round(60 * error[0].item())}" in labels(shown["2.4_prediction"])


def test_the_network_is_drawn_with_its_sizes_and_activations() -> None:
    recipe = replace(PAPER, widths="7", activations="relu,none", loss="ce")
    texts = [text.get_text() for text in draw(learner_of(recipe))["2.2_network"].axes[0].texts]
    assert texts == ["2\ninput", "7\nLinear\nrelu", "2\nLinear\n"]


def test_the_surface_is_the_first_nets_score() -> None:
    learner = learner_of(PAPER)
    surface = surfaces(PAPER, learner, torch.float32)
    assert surface.shape == (1, GRID, GRID)
    corner = learner.outputs(torch.tensor([[1.0, 0.0]]).expand(2, 1, 2))[0, 0, 0] - 0.5  # x = 1, y = 0
    assert surface[0, 0, -1].item() == pytest.approx(corner.item(), abs=1e-6)


def test_a_net_with_a_bias_per_row_has_a_surface_for_each_row() -> None:
    recipe = replace(PAPER, mistake="bias_per_row", batch_size=3)
    learner = learner_of(recipe)
    last = learner.model.state_dict()["6.bias"]  # (R, rows, 1)
    last[0] = torch.tensor([[5.0], [0.0], [-5.0]])
    rows = surfaces(recipe, learner, torch.float32)
    assert rows.shape == (3, GRID, GRID)
    assert rows[0].min() > rows[1].max() > rows[1].min() > rows[2].max()


@pytest.mark.filterwarnings("error")
def test_a_net_that_has_no_boundary_or_only_nan_is_drawn_without_complaint(tmp_path: Path) -> None:
    for value in (3.0, np.nan):
        learner = learner_of(PAPER)
        learner.model.state_dict()["6.bias"].fill_(value)
        for figure in draw(learner).values():
            figure.savefig(tmp_path / "figure.png")
