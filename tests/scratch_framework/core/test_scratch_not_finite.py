"""inf, NaN, -0.0 and denormals go through every layer and loss as they go through torch's."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import draw
from torch import Tensor, nn

import scratch_framework as sf

F64 = torch.float64
SPECIAL = [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, -1e-310, 1e3, -1e3, 1.0, -1.0]
NUMBERS = st.sampled_from(SPECIAL) | st.floats(-3, 3)


def sprinkled(data: st.DataObject, *shape: int) -> Tensor:
    """Ordinary numbers, some of which are replaced."""
    numbers = draw(*shape, seed=data.draw(st.integers(0, 99)))
    places = st.dictionaries(st.integers(0, numbers.numel() - 1), NUMBERS, max_size=5)
    for place, number in data.draw(places).items():
        numbers.view(-1)[place] = number
    return numbers


def assert_alike(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-9, equal_nan=True)


def twins(ours: sf.Module, theirs: nn.Module) -> tuple[sf.Module, nn.Module]:
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


Pair = Callable[[], tuple[sf.Module, nn.Module]]
LAYERS: dict[str, tuple[Pair, tuple[int, ...]]] = {
    "relu": (lambda: (sf.ReLU(), nn.ReLU()), (4, 5)),
    "leaky": (lambda: (sf.LeakyReLU(), nn.LeakyReLU()), (4, 5)),
    "leaky, slope 0": (lambda: (sf.LeakyReLU(0), nn.LeakyReLU(0)), (4, 5)),
    "tanh": (lambda: (sf.Tanh(), nn.Tanh()), (4, 5)),
    "sigmoid": (lambda: (sf.Sigmoid(), nn.Sigmoid()), (4, 5)),
    "softplus": (lambda: (sf.Softplus(), nn.Softplus()), (4, 5)),
    "silu": (lambda: (sf.SiLU(), nn.SiLU()), (4, 5)),
    "gelu": (lambda: (sf.GELU(), nn.GELU()), (4, 5)),
    "softmax": (lambda: (sf.Softmax(), nn.Softmax(-1)), (4, 3)),
    "linear": (lambda: twins(sf.Linear(3, 2, dtype=F64), nn.Linear(3, 2, dtype=F64)), (4, 3)),
    "conv": (lambda: twins(sf.Conv2d(2, 3, 2, dtype=F64), nn.Conv2d(2, 3, 2, dtype=F64)), (2, 2, 3, 4)),
    "pool": (lambda: (sf.MaxPool2d(2), nn.MaxPool2d(2)), (1, 2, 4, 4)),
    "padded pool": (lambda: (sf.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1)), (1, 2, 4, 5)),
    "mean pool": (lambda: (sf.AvgPool2d(2), nn.AvgPool2d(2)), (1, 2, 4, 4)),
    "adaptive pool": (lambda: (sf.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(2)), (1, 2, 5, 4)),
    "overlapping pool": (lambda: (sf.MaxPool2d(3, 1), nn.MaxPool2d(3, 1)), (1, 2, 5, 4)),
    "flatten": (lambda: (sf.Flatten(), nn.Flatten()), (2, 2, 3)),
    "dropout, evaluation": (lambda: (sf.Dropout().eval(), nn.Dropout().eval()), (4, 5)),
    "dropout of nothing": (lambda: (sf.Dropout(0), nn.Dropout(0)), (4, 5)),
    "dropout of all": (lambda: (sf.Dropout(1), nn.Dropout(1)), (4, 5)),
    "norm, training": (lambda: twins(sf.BatchNorm1d(3, dtype=F64), nn.BatchNorm1d(3, dtype=F64)), (5, 3)),
    "norm, evaluation": (
        lambda: twins(sf.BatchNorm1d(3, dtype=F64).eval(), nn.BatchNorm1d(3, dtype=F64).eval()),
        (5, 3),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_layer_computes_what_torch_computes_of_any_numbers(name: str, data: st.DataObject) -> None:
    make, shape = LAYERS[name]
    module, twin = make()
    x = sprinkled(data, *shape)
    leaf = x.clone().requires_grad_()
    theirs = twin(leaf)
    assert_alike(module(x), theirs)
    grad = sprinkled(data, *theirs.shape)
    theirs.backward(grad)
    assert leaf.grad is not None
    assert_alike(module.backward(grad), leaf.grad)
    for parameter, same in zip(module.parameters(), twin.parameters(), strict=True):
        assert same.grad is not None
        assert_alike(parameter.grad, same.grad)


NORMS: list[Pair] = [
    lambda: (sf.LayerNorm(4), nn.LayerNorm(4)),
    lambda: (sf.LayerNorm(4, elementwise_affine=False), nn.LayerNorm(4, elementwise_affine=False)),
    lambda: (sf.BatchNorm1d(4), nn.BatchNorm1d(4)),
    lambda: (sf.BatchNorm1d(4).eval(), nn.BatchNorm1d(4).eval()),
]


@pytest.mark.parametrize("make", NORMS)
@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 1e8, 1e18])
@pytest.mark.parametrize("slope", [1e-38, 1e-8, 1.0, 1e8, 1e35])
def test_a_norm_of_huge_or_tiny_float32_is_what_torch_finds_in_float64(
    make: Pair, size: float, slope: float
) -> None:
    # Not in float32: there torch's gradient overflows, or a deviation's cube vanishes, where ours does not.
    norm, twin = make()
    x, grad = size * draw(6, 4).float(), slope * draw(6, 4, seed=1).float()
    leaf = x.double().requires_grad_()
    theirs = twin.double()(leaf)
    theirs.backward(grad.double())
    assert leaf.grad is not None
    torch.testing.assert_close(norm(x), theirs.detach().float(), rtol=1e-4, atol=1e-4)
    tolerance = 1e-4 * float(leaf.grad.abs().max()) + 1e-38
    torch.testing.assert_close(norm.backward(grad), leaf.grad.float(), rtol=1e-4, atol=tolerance)


LOSSES: dict[str, tuple[Callable[..., sf.Criterion], Callable[..., Any]]] = {
    "mse": (sf.MSELoss, nn.MSELoss),
    "l1": (sf.L1Loss, nn.L1Loss),
    "huber": (sf.HuberLoss, nn.HuberLoss),
    "bce": (sf.BCEWithLogitsLoss, nn.BCEWithLogitsLoss),
    "ce": (sf.CrossEntropyLoss, nn.CrossEntropyLoss),
    "ce, smoothed": (
        lambda reduction: sf.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1),
        lambda reduction: nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=40)
@given(reduction=st.sampled_from(["mean", "sum", "none"]), data=st.data())
def test_a_loss_computes_what_torch_computes_of_any_numbers(
    name: str, reduction: str, data: st.DataObject
) -> None:
    ours, theirs = (kind(reduction=reduction) for kind in LOSSES[name])
    x = sprinkled(data, 4, 3)
    target = draw(4, 3, seed=5).argmax(-1) if name.startswith("ce") else sprinkled(data, 4, 3)
    leaf = x.clone().requires_grad_()
    loss = theirs(leaf, target)
    assert_alike(ours(x, target), loss)
    grad = draw(*loss.shape, seed=3)
    loss.backward(grad)
    assert leaf.grad is not None
    assert_alike(ours.backward(grad), leaf.grad)
