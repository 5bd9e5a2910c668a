"""In float32, the type that the commands compute in, plain, compiled and torch.nn stay together."""

import pytest
import torch
from scratch_twins import assert_same, draw
from torch import Tensor, nn, optim

import scratch_framework as sf
from scratch_framework.experiments.disc.learners import Learner, ScratchLearner, TorchLearner
from scratch_framework.experiments.disc.points import DataConfig
from scratch_framework.experiments.disc.recipe import RECIPES
from scratch_framework.experiments.disc.training import examples
from scratch_framework.fast.fused_layers import FusedLinear, Identity, InPlaceTanh
from scratch_framework.fast.fused_losses import PlainLoss, fused_loss

SEEDS, STEPS = [0, 1], 100


def trained(learner: Learner, name: str, steps: int, replicas: slice, scale: float) -> list[Tensor]:
    """Loss of the last step and parameters, after some steps of a recipe on points times a scale."""
    recipe = RECIPES[name]
    data = examples(recipe, DataConfig().draw("train", 200, SEEDS), torch.float32)
    for step in range(steps):
        batch = slice(50 * (step % 4), 50 * (step % 4) + 50)
        loss = learner.step(scale * data.x[replicas, batch], data.target[replicas, batch])
    return [loss, *learner.state_dict().values()]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-5), (STEPS, 1e-3)])
@pytest.mark.parametrize("scale", [1.0, 1e-5])  # the latter: every tanh is near 0
def test_plain_compiled_and_torch_compute_the_same(
    name: str, steps: int, tolerance: float, scale: float
) -> None:
    recipe, every = RECIPES[name], slice(None)
    plain, compiled = (
        trained(ScratchLearner(recipe, SEEDS, STEPS, compiled=flag), name, steps, every, scale)
        for flag in (False, True)
    )
    twins = [trained(TorchLearner(recipe, k, STEPS), name, steps, slice(k, k + 1), scale) for k in SEEDS]
    for ours, same, *theirs in zip(plain, compiled, *twins, strict=True):
        torch.testing.assert_close(same, ours, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(ours, torch.cat(theirs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e-5), (STEPS, 1e-3)])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_a_net_for_images_computes_what_torchs_does(steps: int, tolerance: float, scale: float) -> None:
    torch.manual_seed(0)
    ours = sf.Sequential(
        *(sf.Conv2d(1, 4, 3, padding=1), sf.MaxPool2d(2), sf.GELU(), sf.BatchNorm2d(4), sf.AvgPool2d(2)),
        *(sf.Flatten(), sf.Linear(16, 8), sf.LayerNorm(8), sf.SiLU(), sf.Linear(8, 3)),
    )
    theirs = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.GELU(), nn.BatchNorm2d(4), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 3)),
    )
    theirs.load_state_dict(ours.state_dict())
    criterion, optimizer = sf.CrossEntropyLoss(), sf.SGD(ours.parameters(), 0.05)
    torch_criterion, torch_optimizer = nn.CrossEntropyLoss(), optim.SGD(theirs.parameters(), 0.05)
    for step in range(steps):
        x, target = scale * draw(20, 1, 8, 8, seed=step).float(), torch.arange(20) % 3
        optimizer.zero_grad()
        loss = criterion(ours(x), target)
        ours.backward(criterion.backward())
        optimizer.step()
        torch_optimizer.zero_grad()
        torch_loss = torch_criterion(theirs(x), target)
        torch_loss.backward()
        torch_optimizer.step()
    assert_same(loss, torch_loss, tolerance)
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value, tolerance)


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
