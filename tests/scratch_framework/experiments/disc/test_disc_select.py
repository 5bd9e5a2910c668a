"""Replicas that are dropped from a learner leave the others as they were."""

from dataclasses import replace

import pytest
import torch

from scratch_framework.experiments.disc.learners import ScratchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import MODERN, PAPER, Recipe
from scratch_framework.experiments.disc.training import Examples, examples, train_epoch

SEEDS = [3, 1, 4, 1]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "recipe",
    [PAPER, replace(PAPER, momentum=0.9), MODERN, replace(MODERN, optimizer="adamw", weight_decay=0.1)],
)
def test_replicas_that_stay_go_on_as_in_an_undisturbed_training(recipe: Recipe, compiled: bool) -> None:
    """In float64, with learning rates of their own, after two drops."""
    lr = recipe.lr * torch.tensor([1.0, 0.5, 2.0, 0.7], dtype=torch.float64)
    shown = examples(recipe, DataConfig().draw("train", 120, SEEDS), torch.float64)
    whole = ScratchLearner(recipe, SEEDS, 18, torch.float64, compiled, lr=lr)
    kept, part = ScratchLearner(recipe, SEEDS, 18, torch.float64, compiled, lr=lr), shown
    for epoch in range(6):
        train_epoch(whole, recipe, shown, epoch)
        train_epoch(kept, recipe, part, epoch)
        if chosen := {1: [0, 2, 3], 3: [1]}.get(epoch):
            kept, part = kept.select(chosen), Examples(*(tensor[chosen] for tensor in part))
    assert kept.seeds == [4]
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(value[0], whole.state_dict()[name][2], rtol=0, atol=1e-12)
