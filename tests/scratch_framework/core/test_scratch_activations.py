"""Activations, softmax included, against torch.nn and against finite differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_same, draw
from torch import nn

import scratch_framework as sf

PAIRS = [
    (sf.ReLU(), nn.ReLU()),
    (sf.LeakyReLU(), nn.LeakyReLU()),
    (sf.LeakyReLU(0.3), nn.LeakyReLU(0.3)),
    (sf.Tanh(), nn.Tanh()),
    (sf.Sigmoid(), nn.Sigmoid()),
    (sf.Softplus(), nn.Softplus()),
    (sf.Softplus(3.0, 2.0), nn.Softplus(3.0, 2.0)),
    (sf.SiLU(), nn.SiLU()),
    (sf.GELU(), nn.GELU()),
    (sf.GELU("tanh"), nn.GELU("tanh")),
    (sf.Softmax(), nn.Softmax(dim=-1)),
    (sf.Softmax(dim=0), nn.Softmax(dim=0)),
]
CASES = pytest.mark.parametrize(("module", "twin"), PAIRS, ids=[repr(module) for module, _ in PAIRS])


@CASES
@settings(max_examples=15)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99), scale=st.floats(0, 50)
)
def test_output_and_gradient_of_an_activation_are_what_torch_finds(
    module: sf.Module, twin: nn.Module, shape: list[int], seed: int, scale: float
) -> None:
    x, grad = scale * draw(*shape, seed=seed), draw(*shape, seed=seed + 1)  # scale 0: at the kink
    leaf = x.clone().requires_grad_()
    y = twin(leaf)
    y.backward(grad)
    assert_same(module(x), y)
    assert leaf.grad is not None
    assert_same(module.backward(grad), leaf.grad)


@CASES
def test_the_gradient_of_an_activation_is_what_finite_differences_find(
    module: sf.Module, twin: nn.Module
) -> None:
    x, grad = draw(3, 4), draw(3, 4, seed=1)
    module(x)
    gradient = module.backward(grad)
    assert_same(gradient, sf.numeric_gradient(lambda x: (module(x) * grad).sum(), x), 1e-8)


@pytest.mark.parametrize("shape", [(2, 0), (0, 2)])
def test_softmax_of_no_numbers_is_empty_as_in_torch(shape: tuple[int, int]) -> None:
    layer = sf.Softmax()
    y = layer(torch.ones(shape))
    assert y.shape == layer.backward(y).shape == shape


def test_softmax_neither_overflows_nor_forgets_to_add_up_to_1() -> None:
    y = sf.Softmax()(torch.tensor([[1e4, 0.0, -1e4], [700.0, 710.0, 720.0]]))
    assert y.isfinite().all()
    torch.testing.assert_close(y.sum(-1), torch.ones(2))
