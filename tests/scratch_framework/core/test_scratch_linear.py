"""The linear layer against torch.nn.Linear and against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_same, draw
from torch import Generator, nn

from scratch_framework import Linear, numeric_gradient, replica_state

SIZES = st.integers(1, 6)


@settings(max_examples=40)
@given(lead=st.lists(SIZES, max_size=3), inputs=SIZES, outputs=SIZES, bias=st.booleans(), seed=SIZES)
def test_output_and_gradients_of_linear_are_what_torch_finds(
    lead: list[int], inputs: int, outputs: int, bias: bool, seed: int
) -> None:
    layer = Linear(inputs, outputs, bias, dtype=torch.float64, generator=Generator().manual_seed(seed))
    twin = nn.Linear(inputs, outputs, bias, dtype=torch.float64)
    twin.load_state_dict(layer.state_dict())
    x, grad = draw(*lead, inputs, seed=seed), draw(*lead, outputs, seed=seed + 1)
    leaf = x.clone().requires_grad_()
    y = twin(leaf)
    y.backward(grad)
    assert_same(layer(x), y)
    assert leaf.grad is not None
    assert_same(layer.backward(grad), leaf.grad)
    for parameter, theirs in zip(layer.parameters(), twin.parameters(), strict=True):
        assert theirs.grad is not None
        assert_same(parameter.grad, theirs.grad)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_the_gradients_of_linear_are_what_finite_differences_find(replicas: int | None, shared: bool) -> None:
    layer = Linear(4, 2, replicas=replicas, dtype=torch.float64)
    lead = () if replicas is None or shared else (replicas,)
    x = draw(*lead, 5, 4)
    grad = draw(*layer(x).shape, seed=1)
    grad_input = layer.backward(grad)
    assert_same(grad_input, numeric_gradient(lambda x: (layer(x) * grad).sum(), x), 1e-8)
    for parameter in layer.parameters():
        found = numeric_gradient(lambda _: (layer(x) * grad).sum(), parameter.value)
        assert_same(parameter.grad, found, 1e-8)


@pytest.mark.parametrize("replicas", [None, 3])
def test_gradients_add_up_until_they_are_zeroed(replicas: int | None) -> None:
    layer = Linear(3, 2, replicas=replicas, dtype=torch.float64)
    grad = draw(*layer(draw(4, 3)).shape, seed=1)
    layer.backward(grad)
    once = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.backward(grad)
    for parameter, first in zip(layer.parameters(), once, strict=True):
        assert first.any()
        assert_same(parameter.grad, 2 * first)
    layer.zero_grad()
    assert not any(parameter.grad.any() for parameter in layer.parameters())


def test_linear_draws_the_weights_that_torch_draws_from_the_same_seed() -> None:
    torch.manual_seed(5)
    twin = nn.Linear(7, 3)
    torch.manual_seed(5)
    layer = Linear(7, 3)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], value)


@settings(max_examples=20)
@given(replicas=SIZES, points=SIZES, inputs=SIZES, outputs=SIZES, bias=st.booleans(), shared=st.booleans())
def test_a_replica_of_linear_is_the_layer_alone(
    replicas: int, points: int, inputs: int, outputs: int, bias: bool, shared: bool
) -> None:
    layer = Linear(inputs, outputs, bias, replicas=replicas, dtype=torch.float64)
    x = draw(points, inputs) if shared else draw(replicas, points, inputs)
    grad = draw(replicas, points, outputs, seed=1)
    y = layer(x)
    grad_input = layer.backward(grad)
    assert y.shape == (replicas, points, outputs)
    assert grad_input.shape == x.shape
    summed = torch.zeros_like(x)
    for k in range(replicas):
        alone = Linear(inputs, outputs, bias, dtype=torch.float64)
        alone.load_state_dict(replica_state(layer.state_dict(), k))
        assert_same(y[k], alone(x if shared else x[k]))
        if shared:
            summed += alone.backward(grad[k])
        else:
            summed[k] = alone.backward(grad[k])
        for parameter, single in zip(layer.parameters(), alone.parameters(), strict=True):
            assert_same(parameter.grad[k], single.grad)
    assert_same(grad_input, summed)
