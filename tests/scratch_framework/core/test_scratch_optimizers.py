"""Optimisers against torch.optim after 1, 10 and 1000 steps, and replica by replica."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import assert_same, draw
from torch import Tensor, optim

import scratch_framework as sf
from scratch_framework import Parameter

Options = dict[str, Any]
Kind = Callable[..., Any]

OPTIONS: list[tuple[Kind, Kind, Options]] = [
    (sf.SGD, optim.SGD, {}),
    (sf.SGD, optim.SGD, {"lr": 0.05}),
    (sf.SGD, optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    (sf.SGD, optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (sf.SGD, optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    (sf.SGD, optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (sf.SGD, optim.SGD, {"lr": 0.02, "momentum": 0.5, "nesterov": True, "weight_decay": 1e-3}),
    (sf.Adam, optim.Adam, {}),
    (sf.Adam, optim.Adam, {"lr": 0.05}),
    (sf.Adam, optim.Adam, {"lr": 0.05, "betas": (0.8, 0.95)}),
    (sf.Adam, optim.Adam, {"lr": 0.05, "betas": (0.0, 0.0)}),
    (sf.Adam, optim.Adam, {"lr": 0.05, "eps": 1e-2, "weight_decay": 0.1}),
    (sf.AdamW, optim.AdamW, {}),
    (sf.AdamW, optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    (sf.AdamW, optim.AdamW, {"lr": 0.05, "weight_decay": 0.0, "betas": (0.5, 0.9), "eps": 1e-4}),
    (sf.Adam, optim.Adam, {"lr": 0.05, "amsgrad": True}),
    (sf.AdamW, optim.AdamW, {"lr": 0.05, "amsgrad": True}),
    (sf.RMSprop, optim.RMSprop, {}),
    (sf.RMSprop, optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.1}),
    (sf.RMSprop, optim.RMSprop, {"lr": 0.02, "centered": True, "eps": 1e-3}),
    (sf.Adagrad, optim.Adagrad, {}),
    (sf.Adagrad, optim.Adagrad, {"lr": 0.2, "lr_decay": 0.01, "initial_accumulator_value": 0.3}),
]
CASES = pytest.mark.parametrize(
    ("ours", "theirs", "options"), OPTIONS, ids=[f"{ours.__name__} {options}" for ours, _, options in OPTIONS]
)


def slope(value: Tensor, noise: Tensor) -> Tensor:
    """The gradient of a bowl, and noise that keeps it from vanishing."""
    return 0.3 * value + noise


def noises(*shape: int) -> Tensor:
    return draw(1000, *shape, seed=1)


@CASES
def test_an_optimizer_goes_where_torchs_goes(ours: Kind, theirs: Kind, options: Options) -> None:
    start = draw(3, 4)
    parameter, twin = Parameter(start.clone()), start.clone().requires_grad_()
    optimizer, torch_optimizer = ours([parameter], **options), theirs([twin], **options)
    for step, noise in enumerate(noises(3, 4), 1):
        optimizer.zero_grad()
        parameter.grad.add_(slope(parameter.value, noise))
        twin.grad = slope(twin.detach(), noise)
        optimizer.step()
        torch_optimizer.step()
        if step in (1, 10, 1000):
            assert_same(parameter.value, twin)


@CASES
def test_each_replica_goes_where_it_goes_alone_at_its_own_rates(
    ours: Kind, theirs: Kind, options: Options
) -> None:
    start, lr, decay = draw(3, 2, 4), [0.01, 0.0, 0.05], [0.0, 0.1, 0.01]
    together = Parameter(start.clone(), replicas=3)
    alone = [Parameter(value.clone()) for value in start]
    rates: Options = {"lr": torch.tensor(lr).double(), "weight_decay": torch.tensor(decay).double()}
    optimizers = [
        ours(
            [parameter],
            **options | {"lr": float(rates["lr"][k]), "weight_decay": float(rates["weight_decay"][k])},
        )
        for k, parameter in enumerate(alone)
    ]
    optimizers.append(ours([together], **options | rates))
    for noise in noises(3, 2, 4)[:100]:
        for k, parameter in enumerate(alone):
            parameter.grad.copy_(slope(parameter.value, noise[k]))
        together.grad.copy_(slope(together.value, noise))
        for optimizer in optimizers:
            optimizer.step()
    for k, parameter in enumerate(alone):
        assert_same(together.value[k], parameter.value)


def test_one_optimizer_moves_all_parameters_each_with_a_past_of_its_own() -> None:
    shapes = [(2, 3), (4,)]
    both = [Parameter(draw(*shape)) for shape in shapes]
    each = [Parameter(draw(*shape)) for shape in shapes]
    optimizers = [sf.Adam(both, 0.1), *(sf.Adam([parameter], 0.1) for parameter in each)]
    for seed in range(5):
        for parameter in both + each:
            parameter.grad.copy_(draw(*parameter.value.shape, seed=seed))
        for optimizer in optimizers:
            optimizer.step()
    for ours, alone in zip(both, each, strict=True):
        assert_same(ours.value, alone.value)


def test_a_rate_for_each_replica_takes_the_type_of_the_parameter() -> None:
    parameter = Parameter(torch.ones(2, 3), replicas=2)
    parameter.grad.fill_(1)
    sf.SGD([parameter], torch.tensor([0.25, 0.5], dtype=torch.float64)).step()
    assert torch.equal(parameter.value, torch.tensor([[0.75] * 3, [0.5] * 3]))
