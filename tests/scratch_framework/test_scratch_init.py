"""Initialisations: torch.nn.init's very draws, and the paper's moments."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import assert_same
from torch import Generator, Tensor, nn

from scratch_framework import Linear, init

OPTIONS: list[tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, Any]]] = [
    (init.xavier_uniform_, nn.init.xavier_uniform_, {}),
    (init.xavier_uniform_, nn.init.xavier_uniform_, {"gain": 5 / 3}),
    (init.xavier_normal_, nn.init.xavier_normal_, {}),
    (init.xavier_normal_, nn.init.xavier_normal_, {"gain": 2.0}),
    (init.kaiming_uniform_, nn.init.kaiming_uniform_, {}),
    (init.kaiming_uniform_, nn.init.kaiming_uniform_, {"a": 0.2, "mode": "fan_out"}),
    (init.kaiming_uniform_, nn.init.kaiming_uniform_, {"nonlinearity": "tanh"}),
    (init.kaiming_normal_, nn.init.kaiming_normal_, {"nonlinearity": "relu"}),
    (init.kaiming_normal_, nn.init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "sigmoid"}),
]


@pytest.mark.parametrize(("ours", "theirs", "options"), OPTIONS)
def test_an_initialisation_draws_what_torch_draws_from_the_same_seed(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], options: dict[str, Any]
) -> None:
    first, second = (torch.empty(7, 5, dtype=torch.float64) for _ in range(2))
    returned = ours(first, **options, generator=Generator().manual_seed(3))
    theirs(second, **options, generator=Generator().manual_seed(3))
    assert returned is first
    assert_same(first, second)


@pytest.mark.parametrize(
    ("name", "param"),
    [*((name, None) for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu")), ("leaky_relu", 0.3)],
)
def test_gains_are_torchs(name: Any, param: float | None) -> None:
    assert init.calculate_gain(name, param) == pytest.approx(nn.init.calculate_gain(name, param), rel=1e-15)


@pytest.mark.parametrize(("nonlinearity", "numerator"), [("tanh", 1), ("relu", 2)])
@pytest.mark.parametrize("replicas", [None, 3])
def test_the_papers_rule_draws_weights_and_biases_from_one_normal(
    nonlinearity: str, numerator: int, replicas: int | None
) -> None:
    layer = Linear(400, 600, replicas=replicas, dtype=torch.float64)
    assert layer.bias is not None
    init.paper_(layer.weight.value, layer.bias.value, nonlinearity, Generator().manual_seed(0))
    sigma = math.sqrt(numerator / 1000)
    for value in (layer.weight.value, layer.bias.value):
        error = sigma / math.sqrt(value.numel())
        assert abs(float(value.mean())) < 4 * error
        assert abs(float(value.std()) - sigma) < 4 * error


def test_replicas_do_not_count_as_inputs() -> None:
    weight = torch.empty(50, 3, 4)
    init.default_(weight, None)
    assert 0.49 < weight.abs().max() <= 0.5


def test_a_bias_may_be_missing() -> None:
    weight = torch.full((2, 3), 9.0)
    init.paper_(weight, None)
    assert (weight != 9).all()
