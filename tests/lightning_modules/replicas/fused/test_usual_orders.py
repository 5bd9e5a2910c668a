"""Layers in the orders in which people write them: the loops compute them, and what torch computes."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused import steps
from lightning_modules.replicas.fused.block import Block
from lightning_modules.replicas.fused.pool import Pool
from lightning_modules.replicas.fused.pooled_convolution import Convolution
from lightning_modules.replicas.fused.sequential import Sequential, set_engine
from lightning_modules.replicas.fused.step import Fused
from lightning_modules.replicas.fused.steps import find_steps
from lightning_modules.replicas.fused.unpooled_convolution import Unpooled

R, SIDE = 2, 14
POOLINGS: tuple[Callable[[], nn.Module], ...] = (
    lambda: nn.MaxPool2d(2),
    lambda: nn.MaxPool2d((2, 2), (2, 2)),
    lambda: nn.MaxPool2d(2, ceil_mode=True),
    lambda: nn.MaxPool2d(3, 2),
    lambda: nn.AvgPool2d(2),
    lambda: nn.AdaptiveAvgPool2d(2),
    lambda: nn.AdaptiveMaxPool2d(2),
)
RISING: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU,
    lambda: nn.ReLU(inplace=True),
    nn.Tanh,
    nn.Sigmoid,
    lambda: nn.LeakyReLU(0.1),
)
ACTIVATIONS = (nn.ReLU, *RISING[2:], nn.GELU, nn.ELU, lambda: nn.LeakyReLU(-0.5))
KERNELS: list[tuple[int, str | int]] = [(1, 0), (3, 0), (3, 1), (3, "same"), (3, "valid"), (5, 2), (5, 1)]

Plan = tuple[int, tuple[int, str | int], bool, list[Any]]  # outputs, kernel and padding, bias, what follows


def layers_of(plans: list[Plan]) -> Sequential:
    """Convolutions for 9 channels of R replicas, and what follows each; poolings only where there is room."""
    layers, inputs, x = list[nn.Module](), 9, torch.zeros(1, R * 9, SIDE, SIDE)
    for outputs, (side, padding), bias, followers in plans:
        conv = nn.Conv2d(R * inputs, R * outputs, side, padding=padding, groups=R, bias=bias)
        if min(x.shape[2:]) < 5:
            break
        made: dict[Any, nn.Module] = {"norm": nn.BatchNorm2d(R * outputs), "drop": Dropout(0.3, R)}
        own = [made[follower] if follower in made else follower() for follower in followers]
        for layer in (conv, *own):
            if type(layer).__module__.endswith("pooling") and min(x.shape[2:]) < 4:
                continue
            layers.append(layer)
            x = nn.Sequential(layer).eval()(x)
        inputs = outputs
    return Sequential(*layers).double()


def everything(net: Sequential, images: Tensor, calls: int) -> list[Tensor]:
    """Outputs, gradients and statistics after a step."""
    for layer in net:
        if isinstance(layer, Dropout):
            layer.seed([1, 2])
    x = images.detach().clone().requires_grad_(images.requires_grad)
    y = net(x, calls)
    (y * torch.arange(y.numel()).view(y.shape).cos()).sum().backward()
    return [y, *(p.grad for p in (x, *net.parameters()) if p.grad is not None), *net.buffers()]


def agree(net: Sequential, images: Tensor, calls: int = 1) -> None:
    plain = deepcopy(net)
    set_engine(net, "fused")
    set_engine(plain, "torch")
    for ours, theirs in zip(*(everything(one, images, calls) for one in (net, plain)), strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * scale)


@settings(max_examples=50, deadline=None)
@given(
    plans=st.lists(
        st.tuples(
            st.sampled_from([8, 9, 20, 32, 40]),
            st.sampled_from(KERNELS),
            st.booleans(),
            st.lists(st.sampled_from(["norm", "drop", *POOLINGS, *ACTIVATIONS]), max_size=4, unique=True),
        ),
        min_size=1,
        max_size=3,
    ),
    pairs=st.sampled_from([(1, 2), (1, 9), (2, 6)]),
    training=st.booleans(),
    needs_grad=st.booleans(),
)
def test_layers_in_any_order_compute_what_they_compute_by_torch(
    plans: list[Plan],
    pairs: tuple[int, int],
    training: bool,
    needs_grad: bool,
) -> None:
    torch.manual_seed(0)
    (calls, count), net = pairs, layers_of(plans).train(training)
    agree(net, torch.randn(count, R * 9, SIDE, SIDE, dtype=torch.float64, requires_grad=needs_grad), calls)


@pytest.mark.parametrize("rising", RISING)
@pytest.mark.parametrize("pooling", POOLINGS[:2])
@pytest.mark.parametrize("padding", [0, 1, "same", "valid"])
def test_a_convolution_is_pooled_in_one_loop_whatever_rises_in_between(
    rising: Callable[[], nn.Module], pooling: Callable[[], nn.Module], padding: str | int
) -> None:
    conv, layer = nn.Conv2d(R * 3, R * 32, 3, padding=padding, groups=R), rising()
    net = Sequential(conv, layer, pooling()).double()
    assert find_steps(list(net)) == [Convolution(conv), layer]
    agree(net, torch.randint(-2, 3, (4, R * 3, 8, 8)).double())  # small integers tie


def test_a_pooling_waits_for_what_does_not_rise() -> None:
    layers = [nn.Conv2d(3, 32, 3), nn.LeakyReLU(-0.5), nn.MaxPool2d(2)]
    assert [type(step) for step in find_steps(layers)] == [Unpooled, nn.LeakyReLU, Pool]


@pytest.mark.parametrize("images", [1, 3])
def test_the_loops_compute_all_of_convolution_normalisation_relu_and_pooling(
    images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Sequential(
        *(
            nn.Conv2d(R * images, R * 24, 3, padding=1, groups=R),
            nn.BatchNorm2d(R * 24),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(
            nn.Conv2d(R * 24, R * 32, 3, padding=1, groups=R),
            nn.BatchNorm2d(R * 32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
    )
    steps = find_steps(list(net))
    assert [type(step) for step in steps] == 2 * [Unpooled, Block]
    for kind in (Unpooled, Block):
        monkeypatch.setattr(kind, "by_torch", None)
    net(torch.randn(2, R * images, 12, 12)).sum().backward()
    assert all(isinstance(step, Fused) for step in steps)


def block(inputs: int, outputs: int) -> Sequential:
    conv = nn.Conv2d(R * inputs, R * outputs, 3, padding=1, groups=R)
    return Sequential(conv, nn.BatchNorm2d(R * outputs), nn.ReLU(), nn.MaxPool2d(2))


@pytest.mark.parametrize("calls", [1, 2])
def test_sequences_within_a_sequence_are_computed_as_one(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Sequential(block(3, 16), Sequential(block(16, 32))).double()
    images = torch.randn(4, R * 3, 12, 12, dtype=torch.float64)
    agree(net, images, calls)
    compute, found = steps.compute, list[list[steps.Step]]()

    def watch(own: list[steps.Step], x: Tensor, calls: int) -> Tensor:
        found.append(own)
        return compute(own, x, calls)

    monkeypatch.setattr(steps, "compute", watch)
    net(images, calls)
    assert [len(own) for own in found] == [4]


@pytest.mark.parametrize("place", ["on it", "within it"])
def test_a_hook_of_a_sequence_within_a_sequence_is_called(place: str) -> None:
    net, called = Sequential(block(3, 16), block(16, 32)), list[Tensor]()
    inner: Any = net[1]
    watched = inner if place == "on it" else inner[2]
    watched.register_forward_hook(lambda layer, given, made: called.append(made))
    net(torch.randn(4, R * 3, 12, 12))
    assert len(called) == 1


class Mean(nn.Flatten):
    """Averages, whatever its class is called."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Twice(nn.AdaptiveAvgPool2d):
    """Averages, and doubles."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Thrice(nn.MaxPool2d):
    """Pools, and trebles."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


class Falling(nn.ReLU):
    """Makes less of more."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


@pytest.mark.parametrize("layer", [Mean(), Twice(1), Twice(2), Thrice(2), Thrice(3), Falling()], ids=repr)
def test_a_layer_of_ones_own_computes_what_its_forward_says(layer: nn.Module) -> None:
    net = Sequential(block(3, 32), nn.Conv2d(R * 32, R * 32, 3, groups=R), nn.BatchNorm2d(R * 32), layer)
    agree(net.double(), torch.randn(4, R * 3, 16, 16, dtype=torch.float64))


def test_a_pooling_waits_for_a_relu_of_ones_own() -> None:
    conv = nn.Conv2d(R * 3, R * 32, 3, groups=R)
    agree(Sequential(conv, Falling(), nn.MaxPool2d(2)).double(), torch.randn(4, R * 3, 8, 8).double())
