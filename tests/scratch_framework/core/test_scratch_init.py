"""Initialisations: torch.nn.init's very draws, and the paper's moments."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from scratch_twins import assert_same
from torch import Generator, Tensor, nn

from scratch_framework import Conv2d, Linear
from scratch_framework.core import init

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


SHAPES = [(7, 5), (7, 5, 3), (6, 4, 3, 2), (4, 3, 2, 3, 2)]  # linear, and kernels of 1 to 3 dimensions


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ours", "theirs", "options"), OPTIONS)
def test_an_initialisation_draws_what_torch_draws_from_the_same_seed(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    options: dict[str, Any],
    shape: tuple[int, ...],
) -> None:
    first, second = (torch.empty(shape, dtype=torch.float64) for _ in range(2))
    returned = ours(first, **options, generator=Generator().manual_seed(3))
    theirs(second, **options, generator=Generator().manual_seed(3))
    assert returned is first
    assert_same(first, second, 1e-15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ours", "theirs", "options"), OPTIONS)
def test_replicas_have_the_bounds_and_deviations_of_one(
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    options: dict[str, Any],
    shape: tuple[int, ...],
) -> None:
    together, alone = torch.empty(1, *shape, dtype=torch.float64), torch.empty(shape, dtype=torch.float64)
    ours(together, **options, generator=Generator().manual_seed(3), replicas=1)
    theirs(alone, **options, generator=Generator().manual_seed(3))
    assert_same(together[0], alone, 1e-15)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_layers_start_with_what_torchs_start_with(replicas: int | None, bias: bool) -> None:
    pairs: list[tuple[Any, Any]] = [
        (Linear(5, 4, bias, replicas=replicas, generator=Generator().manual_seed(1)), nn.Linear(5, 4, bias)),
        (
            Conv2d(3, 4, 5, bias=bias, replicas=replicas, generator=Generator().manual_seed(1)),
            nn.Conv2d(3, 4, 5, bias=bias),
        ),
    ]
    for layer, twin in pairs:
        if replicas is None:
            torch.default_generator.manual_seed(1)
            twin.reset_parameters()
            for name, value in twin.state_dict().items():
                assert torch.equal(layer.state_dict()[name], value)
        bound = twin.weight[0].numel() ** -0.5
        weight = layer.weight.value
        assert 0.8 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize("name", [*init.GAINS])
@pytest.mark.parametrize("param", [None, 0, 0.3])
def test_gains_are_torchs(name: Any, param: float | None) -> None:
    assert init.calculate_gain(name, param) == pytest.approx(nn.init.calculate_gain(name, param), rel=1e-15)


@pytest.mark.parametrize(("nonlinearity", "numerator"), [("tanh", 1), ("relu", 2)])
@pytest.mark.parametrize("replicas", [None, 3])
def test_the_papers_rule_draws_weights_and_biases_from_one_normal(
    nonlinearity: str, numerator: int, replicas: int | None
) -> None:
    layer = Linear(400, 600, replicas=replicas, dtype=torch.float64)
    assert layer.bias is not None
    init.paper_(layer.weight.value, layer.bias.value, nonlinearity, Generator().manual_seed(0), replicas)
    sigma = math.sqrt(numerator / 1000)
    for value in (layer.weight.value, layer.bias.value):
        error = sigma / math.sqrt(value.numel())
        assert abs(float(value.mean())) < 4 * error
        assert abs(float(value.std()) - sigma) < 4 * error


def test_a_leading_dimension_counts_replicas_only_where_it_is_said() -> None:
    weight = torch.empty(50, 3, 4)
    init.default_(weight, None, replicas=50)
    assert 0.49 < weight.abs().max() <= 4**-0.5
    init.default_(weight, None)
    assert 0.28 < weight.abs().max() <= 12**-0.5


def test_our_own_rules_count_the_kernel_too() -> None:
    weight, bias = torch.empty(64, 32, 3, 3), torch.empty(64)
    init.paper_(weight, bias, generator=Generator().manual_seed(0))
    assert float(weight.std()) == pytest.approx((96 * 9) ** -0.5, rel=0.02)


FILL: list[Callable[..., Any]] = [
    init.xavier_uniform_,
    init.xavier_normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    partial(init.paper_, bias=None),
    partial(init.default_, bias=None),
]


@pytest.mark.parametrize("fill", FILL)
@pytest.mark.parametrize(("shape", "replicas"), [((3,), None), ((), None), ((3, 4), 3), ((3, 5, 4), 2)])
def test_a_weight_that_does_not_fit_is_refused_untouched(
    fill: Callable[..., Any], shape: tuple[int, ...], replicas: int | None
) -> None:
    weight = torch.full(shape, 9.0)
    with pytest.raises(ValueError, match=r"^a weight must have shape \(.*out, in, \*kernel\).*, got \("):
        fill(weight, replicas=replicas)
    assert (weight == 9).all()


@pytest.mark.parametrize("fill", [init.paper_, init.default_])
@pytest.mark.parametrize(("shape", "replicas"), [((3, 5), None), ((5,), 3), ((4,), None)])
def test_a_bias_shows_that_replicas_were_forgotten(
    fill: Callable[..., None], shape: tuple[int, ...], replicas: int | None
) -> None:
    weight = torch.full((3, 5, 4), 9.0)
    with pytest.raises(ValueError, match=r"^the bias of a weight \(3, 5, 4\) .*; say replicas=R where"):
        fill(weight, torch.zeros(shape), replicas=replicas)
    assert (weight == 9).all()


def test_a_bias_may_be_missing() -> None:
    weight = torch.full((2, 3), 9.0)
    init.paper_(weight, None)
    assert (weight != 9).all()
