"""Convolution against torch.nn.Conv2d and against finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_gradients, assert_replicas, assert_same, assert_twins, draw
from torch import Tensor, nn

import scratch_framework as sf

F64 = torch.float64
SIZES = st.integers(1, 3)
PAIRS = st.tuples(SIZES, SIZES)


@settings(max_examples=40)
@given(
    points=SIZES,
    channels=st.tuples(SIZES, SIZES),
    kernel_size=SIZES | PAIRS,
    stride=SIZES | PAIRS,
    padding=st.sampled_from([0, 1, 2, (0, 1), (2, 0), "valid"]),
    dilation=st.sampled_from([1, 2, (1, 2)]),
    groups=st.integers(1, 2),
    more=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    bias=st.booleans(),
)
def test_output_and_gradients_of_any_convolution_are_what_torch_finds(
    points: int,
    channels: tuple[int, int],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    more: tuple[int, int],
    bias: bool,
) -> None:
    inputs, outputs = (groups * count for count in channels)
    sizes = (inputs, outputs, kernel_size, stride, padding, dilation, groups, bias)
    layer, twin = sf.Conv2d(*sizes, dtype=F64), nn.Conv2d(*sizes, dtype=F64)
    twin.load_state_dict(layer.state_dict())
    height, width = (span + extra for span, extra in zip(layer.window.span, more, strict=True))
    assert_twins(layer, twin, draw(points, inputs, height, width))
    assert repr(layer) == repr(twin)
    assert_twins(layer, twin, draw(inputs, height, width))


@pytest.mark.parametrize("kernel_size", [1, 2, 3, (3, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_same_keeps_the_size_of_the_image_as_torchs_does(kernel_size: Any, dilation: int) -> None:
    options: dict[str, Any] = {"padding": "same", "dilation": dilation, "dtype": F64}
    layer, twin = sf.Conv2d(2, 3, kernel_size, **options), nn.Conv2d(2, 3, kernel_size, **options)
    twin.load_state_dict(layer.state_dict())
    assert layer(draw(2, 2, 5, 4)).shape == (2, 3, 5, 4)
    assert_twins(layer, twin, draw(2, 2, 5, 4))


@settings(max_examples=20)
@given(
    kernel_size=SIZES,
    stride=SIZES,
    padding=st.sampled_from([0, 1, (2,), "valid"]),
    dilation=SIZES,
    groups=st.integers(1, 2),
    batch=st.sampled_from([(), (3,)]),
)
def test_a_convolution_of_signals_is_torchs(
    kernel_size: int, stride: int, padding: Any, dilation: int, groups: int, batch: tuple[int, ...]
) -> None:
    sizes = (2, 4, kernel_size, stride, padding, dilation, groups)
    layer, twin = sf.Conv1d(*sizes, dtype=F64), nn.Conv1d(*sizes, dtype=F64)
    twin.load_state_dict(layer.state_dict())
    assert_twins(layer, twin, draw(*batch, 2, 9))
    assert repr(layer) == repr(twin)


def test_a_convolution_of_signals_has_the_gradients_of_finite_differences_and_its_replicas() -> None:
    assert_gradients(sf.Conv1d(2, 4, 3, 2, 1, groups=2, dtype=F64), draw(2, 2, 6))
    make = partial(sf.Conv1d, 2, 3, 3, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas), draw(4, 5, 2, 7))


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_the_gradients_of_a_convolution_are_what_finite_differences_find(
    replicas: int | None, shared: bool, stride: int, padding: int
) -> None:
    layer = sf.Conv2d(2, 3, 3, stride, padding, replicas=replicas, dtype=F64)
    lead = () if replicas is None or shared else (replicas,)
    assert_gradients(layer, draw(*lead, 2, 2, 5, 4))


@pytest.mark.parametrize(
    "options", [{}, {"padding": 1}, {"padding": "same", "groups": 2, "dilation": (1, 2)}]
)
def test_a_replica_of_a_convolution_is_the_layer_alone(options: dict[str, Any]) -> None:
    make = partial(sf.Conv2d, 2, 4, 3, **options, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas), draw(4, 5, 2, 6, 7))


def test_replicas_that_share_their_images_convolve_as_if_each_had_a_copy() -> None:
    layer = sf.Conv2d(2, 3, 3, replicas=4, dtype=F64)
    x = draw(5, 2, 6, 6)
    shared = layer(x)
    grad = draw(*shared.shape, seed=1)
    grad_input = layer.backward(grad)
    once = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    assert_same(layer(x.repeat(4, 1, 1, 1, 1)), shared)
    assert_same(layer.backward(grad).sum(0), grad_input)
    for parameter, first in zip(layer.parameters(), once, strict=True):
        assert_same(parameter.grad, first)


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "torch's": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "points last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
    "every other row": lambda x: x.repeat_interleave(2, 2)[:, :, ::2],
}


@pytest.mark.parametrize("order", ORDERS)
def test_how_images_and_gradients_lie_in_memory_makes_no_difference(order: str) -> None:
    layer, twin = sf.Conv2d(2, 3, 3, dtype=F64), sf.Conv2d(2, 3, 3, dtype=F64)
    twin.load_state_dict(layer.state_dict())
    x, grad = draw(4, 2, 6, 6), draw(4, 3, 4, 4, seed=1)
    arranged = ORDERS[order]
    assert_same(layer(arranged(x)), twin(x))
    assert_same(layer.backward(arranged(grad)), twin.backward(grad))
    for parameter, theirs in zip(layer.parameters(), twin.parameters(), strict=True):
        assert_same(parameter.grad, theirs.grad)


def test_a_convolution_draws_the_weights_that_torch_draws_from_the_same_seed() -> None:
    torch.manual_seed(5)
    twin = nn.Conv2d(3, 4, 3)
    torch.manual_seed(5)
    layer = sf.Conv2d(3, 4, 3)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], value)


def test_gradients_of_a_convolution_add_up_until_they_are_zeroed() -> None:
    layer = sf.Conv2d(2, 3, 3, replicas=2, dtype=F64)
    grad = draw(*layer(draw(2, 4, 2, 5, 5)).shape, seed=1)
    layer.backward(grad)
    once = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.backward(grad)
    for parameter, first in zip(layer.parameters(), once, strict=True):
        assert_same(parameter.grad, 2 * first)


def test_a_first_layer_spares_itself_the_gradient_of_the_images_and_hands_none_out() -> None:
    first = sf.Conv2d(2, 3, 3, input_grad=False, dtype=F64)
    whole = sf.Conv2d(2, 3, 3, dtype=F64)
    whole.load_state_dict(first.state_dict())
    x, grad = draw(4, 2, 6, 6), draw(4, 3, 4, 4, seed=1)
    given: list[Tensor] = []
    for layer in (first, whole):
        layer(x)
        given.append(layer.backward(grad))
    assert given[0].shape == x.shape
    assert given[0].isnan().all()
    for parameter, theirs in zip(first.parameters(), whole.parameters(), strict=True):
        assert_same(parameter.grad, theirs.grad)


@pytest.mark.parametrize("groups", [1, 2])
def test_an_empty_batch_goes_both_ways(groups: int) -> None:
    layer = sf.Conv2d(2, 4, 3, groups=groups)
    y = layer(torch.ones(0, 2, 5, 5))
    assert y.shape == (0, 4, 3, 3)
    assert layer.backward(y).shape == (0, 2, 5, 5)
    assert not layer.weight.grad.any()
