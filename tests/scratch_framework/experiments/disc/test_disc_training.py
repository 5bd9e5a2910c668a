"""The plain loop: replicas are single runs, the twin and the compiled step give the same losses."""

from dataclasses import replace

import pytest
import torch

from lightning_modules.results.runs import Run
from lightning_modules.results.tensorboard import EpochMetrics
from scratch_framework.experiments.disc.learners import Learner, ScratchLearner, TorchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import MODERN, PAPER, Recipe
from scratch_framework.experiments.disc.training import epoch_order, examples, fit, steps_per_epoch

COUNT = 130  # not a multiple of the batch size
SHORT, SHORT_MODERN = replace(PAPER, max_epochs=6), replace(MODERN, max_epochs=6)
RECIPES = {
    "paper": SHORT,
    "modern": SHORT_MODERN,
    "cross entropy": replace(SHORT_MODERN, loss="ce", optimizer="adamw", weight_decay=0.01),
    "momentum": replace(SHORT, momentum=0.9, order="shuffled", schedule="cosine", lr=1e-3),
    "sigmoids": replace(SHORT, activations="leaky_relu,sigmoid,leaky_relu,none"),
}
MISTAKE = replace(SHORT, mistake="bias_per_row")


def train(learner: Learner, recipe: Recipe) -> tuple[list[EpochMetrics], list[Run]]:
    data = {
        split: examples(recipe, DataConfig().draw(split, COUNT, learner.seeds), torch.float64)
        for split in ("train", "val", "test")
    }
    history: list[EpochMetrics] = []
    return history, fit(learner, recipe, data, history.append)


def scratch(recipe: Recipe, seeds: list[int], compiled: bool = False) -> ScratchLearner:
    steps = recipe.max_epochs * steps_per_epoch(recipe, COUNT)
    return ScratchLearner(recipe, seeds, steps, torch.float64, compiled)


def curves(history: list[EpochMetrics], tag: str) -> torch.Tensor:
    return torch.tensor([figures.values[tag] for figures in history if tag in figures.values])  # (epochs, R)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), MISTAKE], ids=[*RECIPES, "mistake"])
def test_replica_k_is_the_run_of_seed_k_alone(recipe: Recipe) -> None:
    history, runs = train(scratch(recipe, [4, 5, 6]), recipe)
    for k, seed in enumerate([4, 5, 6]):
        alone, (run,) = train(scratch(recipe, [seed]), recipe)
        for tag in ("train/loss", "val/loss"):
            torch.testing.assert_close(
                curves(history, tag)[:, k], curves(alone, tag)[:, 0], rtol=0, atol=1e-12
            )
        assert run == runs[k]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_torch_gives_the_same_losses_from_the_same_weights_and_batches(recipe: Recipe) -> None:
    ours, runs = train(scratch(recipe, [3]), recipe)
    steps = recipe.max_epochs * steps_per_epoch(recipe, COUNT)
    theirs, their_runs = train(TorchLearner(recipe, 3, steps, torch.float64), recipe)
    for tag in ("train/loss", "val/loss"):
        torch.testing.assert_close(curves(ours, tag), curves(theirs, tag), rtol=0, atol=1e-9)
    assert runs == their_runs


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_compiled_step_gives_the_same_losses(recipe: Recipe) -> None:
    plain, runs = train(scratch(recipe, [1, 2]), recipe)
    compiled, compiled_runs = train(scratch(recipe, [1, 2], compiled=True), recipe)
    for tag in ("train/loss", "val/loss"):
        torch.testing.assert_close(curves(plain, tag), curves(compiled, tag), rtol=0, atol=1e-9)
    assert runs == compiled_runs


def test_each_replica_has_its_own_rates() -> None:
    recipe = RECIPES["paper"]
    steps = recipe.max_epochs * steps_per_epoch(recipe, COUNT)
    lr, decay = torch.tensor([0.001, 0.01]), torch.tensor([0.0, 0.1])
    both = ScratchLearner(recipe, [2, 2], steps, torch.float64, compiled=False, lr=lr, weight_decay=decay)
    history, _ = train(both, recipe)
    for k in range(2):
        single = replace(recipe, lr=lr[k].item(), weight_decay=decay[k].item())
        alone, _ = train(scratch(single, [2]), single)
        torch.testing.assert_close(
            curves(history, "train/loss")[:, k], curves(alone, "train/loss")[:, 0], rtol=0, atol=1e-12
        )


def test_an_epoch_shows_every_point_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(40, [0, 1], epoch) for epoch in range(2)]
    for order in orders:
        assert torch.equal(order.sort(-1).values, torch.arange(40).expand(2, -1))
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])
    assert torch.equal(epoch_order(40, [1], 1)[0], orders[1][1])


def test_the_loss_is_the_mean_over_points_whatever_the_reduction_and_the_last_batch() -> None:
    still = replace(PAPER, lr=0.0, max_epochs=1)  # so every step sees the same weights
    for recipe in (still, replace(still, reduction="mean"), replace(still, batch_size=COUNT)):
        history, _ = train(scratch(recipe, [0]), recipe)
        first, _ = train(scratch(still, [0]), still)
        torch.testing.assert_close(curves(history, "train/loss"), curves(first, "train/loss"))


def test_steps_are_counted_in_batches_and_the_test_comes_once_at_the_end() -> None:
    recipe = RECIPES["paper"]
    history, _ = train(scratch(recipe, [0]), recipe)
    assert [figures.step for figures in history] == [3, 6, 9, 12, 15, 18, 18]
    assert ["test/error" in figures.values for figures in history] == [False] * 6 + [True]


def test_the_test_points_have_no_say_in_the_training() -> None:
    recipe = RECIPES["paper"]
    _, (theirs,) = train(scratch(recipe, [0]), recipe)
    learner = scratch(recipe, [0])
    points = {"train": ("train", COUNT), "val": ("val", COUNT), "test": ("other", 7)}
    data = {
        split: examples(recipe, DataConfig().draw(purpose, count, [0]), torch.float64)
        for split, (purpose, count) in points.items()
    }
    (others,) = fit(learner, recipe, data, lambda figures: None)
    assert replace(others, test_error=0.0) == replace(theirs, test_error=0.0)
