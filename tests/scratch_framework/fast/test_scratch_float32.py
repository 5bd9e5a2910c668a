"""In float32, the type that the commands compute in, plain, compiled and torch.nn stay together."""

import pytest
import torch
from torch import Tensor

from scratch_framework.experiments.disc.learners import Learner, ScratchLearner, TorchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import RECIPES
from scratch_framework.experiments.disc.training import examples
from scratch_framework.fast.fused_layers import FusedLinear, Identity, InPlaceTanh
from scratch_framework.fast.fused_losses import PlainLoss, fused_loss

SEEDS, STEPS = [0, 1], 100


def trained(learner: Learner, name: str, steps: int, replicas: slice) -> list[Tensor]:
    """Loss of the last step and parameters, after some steps of a recipe."""
    recipe = RECIPES[name]
    data = examples(recipe, DataConfig().draw("train", 200, SEEDS), torch.float32)
    for step in range(steps):
        batch = slice(50 * (step % 4), 50 * (step % 4) + 50)
        loss = learner.step(data.x[replicas, batch], data.target[replicas, batch])
    return [loss, *learner.state_dict().values()]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-5), (STEPS, 1e-3)])
def test_plain_compiled_and_torch_compute_the_same(name: str, steps: int, tolerance: float) -> None:
    recipe, every = RECIPES[name], slice(None)
    plain, compiled = (
        trained(ScratchLearner(recipe, SEEDS, STEPS, compiled=flag), name, steps, every)
        for flag in (False, True)
    )
    twins = [trained(TorchLearner(recipe, k, STEPS), name, steps, slice(k, k + 1)) for k in SEEDS]
    for ours, same, *theirs in zip(plain, compiled, *twins, strict=True):
        torch.testing.assert_close(same, ours, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(ours, torch.cat(theirs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", RECIPES)
def test_the_compiled_step_of_a_recipe_has_its_loss_in_place(name: str) -> None:
    learner = ScratchLearner(RECIPES[name], SEEDS, STEPS)
    weight = torch.zeros(2, 1, 3)
    last = FusedLinear(weight, weight.clone(), Identity(), torch.ones(2, 3, 50))
    assert type(fused_loss(learner.criterion, last)) is not PlainLoss


def test_tanh_by_sigmoid_is_off_by_an_absolute_not_a_relative_error() -> None:
    z = torch.cat([torch.logspace(-8, 1, 500), -torch.logspace(-8, 1, 500)])
    y = (2 * z).view(1, 1, -1)
    InPlaceTanh(torch.ones(())).forward(y)
    torch.testing.assert_close(y.view(-1), z.tanh(), rtol=0, atol=2e-7)
