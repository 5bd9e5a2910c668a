"""Every sample by which torch tests its own layers, losses and optimisers, computed by ours and by torch.

The samples are those of the installed torch (`torch.testing._internal`), so a new release brings its own. All
are computed in float64, in training and in evaluation: outputs, gradients of the input (of a loss: of its
prediction) and of the parameters, and running statistics. The package `expecttest` is needed because torch's
module imports it.
"""

from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import pytest
import torch
from scratch_twins import draw
from torch import Tensor, nn, optim

import scratch_framework as sf

F64 = torch.float64
KINDS = {name: getattr(sf, name) for name in sf.__all__ if isinstance(getattr(sf, name), type)}
BASES = {sf.Module, sf.ModuleList, sf.Sequential, sf.Criterion, sf.Optimizer}
MODULES = [
    name
    for name, kind in KINDS.items()
    if issubclass(kind, (sf.Module, sf.Criterion)) and kind not in BASES and hasattr(nn, name)
]
OPTIMIZERS = [name for name, kind in KINDS.items() if issubclass(kind, sf.Optimizer) and kind not in BASES]
COMPARED = [name for name in MODULES if name not in {"Dropout", "Flatten"}]  # torch has no samples of these

# Left out on purpose: layer, the argument that is refused, and why. At most a tenth of all samples.
LEFT_OUT = {
    ("MaxPool2d", "return_indices"): "a second output would need a second gradient; a module has one output",
}


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Equal to 1e-12; the mean of a batch whose points are all ignored is NaN, here as there."""
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12, equal_nan=True)


class Sample(NamedTuple):
    """One of torch's samples: how to make the module, and what to give it."""

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[Tensor, ...]
    training: bool


@cache
def samples(name: str) -> list[Sample]:
    """All samples of a layer or loss, those of training first."""
    from torch.testing._internal.common_modules import module_db

    found = []
    (info,) = (info for info in module_db if info.module_cls is getattr(nn, name))
    for training in (True, False):
        torch.manual_seed(0)
        options = {"device": "cpu", "dtype": F64, "requires_grad": False, "training": training}
        for one in info.module_inputs_func(info, **options):
            make, call = one.constructor_input, one.forward_input
            inputs = (*call.args, *call.kwargs.values())
            found.append(Sample(name, make.args, make.kwargs, inputs, training))
    return found


def twins(sample: Sample) -> tuple[Any, Any]:
    """Ours and torch's, with the same parameters and statistics, none of them trivial."""
    twin = getattr(nn, sample.name)(*sample.args, **sample.options).to(F64)
    for seed, value in enumerate(twin.state_dict().values()):
        if value.is_floating_point():
            value.copy_(0.5 + draw(*value.shape, seed=seed).abs())
    kind = KINDS[sample.name]
    if issubclass(kind, sf.Criterion):
        return kind(*sample.args, **sample.options), twin
    typed = {"dtype": F64} if list(twin.state_dict()) else {}
    ours = kind(*sample.args, **sample.options, **typed)
    ours.load_state_dict(twin.state_dict())
    return ours.train(sample.training), twin.train(sample.training)


def compare(sample: Sample) -> None:
    """Compute a sample both ways."""
    ours, twin = twins(sample)
    x, *others = sample.inputs
    leaf = x.clone().requires_grad_(x.is_floating_point())
    theirs = twin(leaf, *others)
    y = ours(x, *others)
    assert_same(y, theirs)
    grad = draw(*theirs.shape, seed=99)
    theirs.backward(grad)
    grad_input = ours.backward(grad)
    if leaf.grad is not None:
        assert_same(grad_input, leaf.grad)
    if isinstance(ours, sf.Module):
        for parameter, theirs_too in zip(ours.parameters(), twin.parameters(), strict=True):
            assert_same(parameter.grad, theirs_too.grad)
        for key, value in twin.state_dict().items():
            assert_same(ours.state_dict()[key], value)


def refused(sample: Sample) -> set[str]:
    """The arguments of a sample that are left out on purpose."""
    return {argument for name, argument in LEFT_OUT if name == sample.name and argument in sample.options}


@pytest.mark.parametrize("name", COMPARED)
def test_a_layer_or_loss_computes_torchs_samples(name: str) -> None:
    for sample in samples(name):
        for argument in refused(sample):
            with pytest.raises(ValueError, match=rf"^{name}: {argument} must be \S+, got .*; use [^\n]+$"):
                compare(sample)
        if not refused(sample):
            compare(sample)


def test_at_most_a_tenth_of_all_samples_is_left_out() -> None:
    everything = [sample for name in COMPARED for sample in samples(name)]
    assert len(everything) > 400
    assert 0 < sum(bool(refused(sample)) for sample in everything) <= len(everything) / 10


def optimizer_options(name: str) -> list[dict[str, Any]]:
    """The options of torch's samples of an optimiser."""
    from torch.testing._internal.common_optimizers import optim_db

    (info,) = (info for info in optim_db if info.optim_cls is getattr(optim, name))
    return [one.kwargs for one in info.optim_inputs_func(device="cpu", dtype=F64)]


def walk(name: str, options: dict[str, Any]) -> None:
    """Walk 20 steps down a noisy bowl both ways, over two parameters."""
    starts = [draw(3, 4), draw(5, seed=1)]
    parameters, leaves = [sf.Parameter(one.clone()) for one in starts], [one.clone() for one in starts]
    ours, theirs = KINDS[name](parameters, **options), getattr(optim, name)(leaves, **options)
    for step in range(20):
        for parameter, leaf in zip(parameters, leaves, strict=True):
            leaf.grad = 0.3 * leaf + draw(*leaf.shape, seed=step)
            parameter.grad.copy_(leaf.grad)
        ours.step()
        theirs.step()
        for parameter, leaf in zip(parameters, leaves, strict=True):
            assert_same(parameter.value, leaf)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_walks_torchs_samples(name: str) -> None:
    for options in optimizer_options(name):
        walk(name, options)


def test_torchs_samples_of_our_schedules_have_torchs_rates() -> None:
    from torch.testing._internal.common_optimizers import optim_db

    compared = 0
    schedules = {name: kind for name, kind in KINDS.items() if issubclass(kind, sf.LRScheduler)}
    for info in optim_db:
        kind: Any = info.optim_cls
        for made in info.scheduler_inputs if kind.__name__ in KINDS else ():
            if len(made) > 1 or not set(made[0].__code__.co_names) <= set(schedules):
                continue  # of another schedule, or two in a row
            ours, theirs = KINDS[kind.__name__]([sf.Parameter(draw(2))]), kind([draw(2)])
            schedule, twin = FunctionType(made[0].__code__, schedules)(ours), made[0](theirs)
            for _ in range(50):
                assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
                theirs.step()
                schedule.step()
                twin.step()
            compared += 1
    assert compared
