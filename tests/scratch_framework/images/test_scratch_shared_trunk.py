"""Flatten, and a shared trunk for several inputs, whose gradients add up, with losses on its features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_gradients, assert_replicas, assert_same, assert_twins, draw
from torch import Tensor, nn

import scratch_framework as sf

F64 = torch.float64


@settings(max_examples=20)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    start=st.integers(-2, 1),
    end=st.integers(-1, 1),
)
def test_flatten_and_its_gradient_are_torchs(shape: list[int], start: int, end: int) -> None:
    if start % len(shape) <= end % len(shape):
        assert_twins(sf.Flatten(start, end), nn.Flatten(start, end), draw(*shape))


def test_with_replicas_flatten_counts_dimensions_as_a_single_net_does() -> None:
    assert_replicas(lambda replicas: sf.Flatten(replicas=replicas), draw(3, 4, 2, 5, 5))
    assert_replicas(lambda replicas: sf.Flatten(0, 1, replicas=replicas), draw(3, 4, 2, 5))


def trunk(replicas: int | None = None) -> sf.Sequential:
    """All layers that a trunk may have."""
    return sf.Sequential(
        sf.Conv2d(1, 3, 3, replicas=replicas, dtype=F64),
        sf.MaxPool2d(2),
        sf.ReLU(),
        sf.BatchNorm2d(3, replicas=replicas, dtype=F64),
        sf.Flatten(replicas=replicas),
        sf.Linear(12, 4, replicas=replicas, dtype=F64),
        sf.BatchNorm1d(4, replicas=replicas, dtype=F64),
    )


def shared(replicas: int | None = None, parts: int = 2) -> sf.SharedTrunk:
    return sf.SharedTrunk(trunk(replicas), sf.Linear(4 * parts, 2, replicas=replicas, dtype=F64))


class TorchSharedTrunk(nn.Module):
    """What one writes with autograd."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 3, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.BatchNorm2d(3),
            nn.Flatten(),
            nn.Linear(12, 4),
            nn.BatchNorm1d(4),
        )
        self.head = nn.Linear(4 * parts, 2)

    def features(self, x: Tensor) -> Tensor:
        return torch.stack([self.trunk(part) for part in x.split(1, 1)], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).flatten(1))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_gradients_of_a_shared_trunk_add_up_as_autograd_adds_them(parts: int, train: bool) -> None:
    ours, theirs = shared(parts=parts), TorchSharedTrunk(parts).double()
    ours.load_state_dict(theirs.state_dict())
    x = draw(6, parts, 6, 6)
    for net in (ours, theirs):
        net(x)  # statistics to evaluate with
        net.train(train)
    assert_twins(ours, theirs, x)


def test_the_gradients_of_a_shared_trunk_are_what_finite_differences_find() -> None:
    torch.manual_seed(2)  # one in eight draws has a ReLU or a maximum so near its kink that a step crosses it
    assert_gradients(shared(), draw(3, 2, 6, 6), 1e-7)


def test_a_replica_of_a_shared_trunk_is_the_net_alone() -> None:
    assert_replicas(shared, draw(3, 4, 2, 6, 6))


def test_losses_on_the_features_have_their_share_of_the_gradient() -> None:
    ours, theirs = shared(), TorchSharedTrunk(2).double()
    ours.load_state_dict(theirs.state_dict())
    x, grad, grad_features = draw(5, 2, 6, 6), draw(5, 2, seed=1), draw(5, 2, 4, seed=2)
    features = theirs.features(x)
    pair = theirs.head(features.flatten(1))
    torch.autograd.backward([pair, features], [grad, grad_features])
    assert_same(ours(x), pair)
    assert_same(ours.features, features)
    ours.backward(grad, grad_features)
    for parameter, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert twin.grad is not None
        assert_same(parameter.grad, twin.grad)


def test_a_trunk_may_hold_a_shared_trunk_itself() -> None:
    inner = sf.SharedTrunk(
        sf.Sequential(sf.Flatten(), sf.Linear(4, 2, dtype=F64), sf.Tanh()), sf.Linear(2, 3, dtype=F64)
    )
    net = sf.SharedTrunk(inner, sf.Linear(6, 1, dtype=F64))
    assert_gradients(net, draw(3, 2, 2, 2))


def test_what_a_module_saved_can_be_taken_out_and_given_back() -> None:
    net = trunk()
    first, second = draw(4, 1, 6, 6), draw(5, 1, 6, 6, seed=1)
    y = net(first)
    passes = net.saved_passes()
    grad = draw(*y.shape, seed=2)
    expected = net.backward(grad)
    net(second)
    with pytest.raises(ValueError, match="the output's shape"):
        net.backward(grad)
    net.restore(passes)
    assert_same(net.backward(grad), expected)


def test_an_image_that_is_both_inputs_counts_twice_in_the_gradient() -> None:
    layer = sf.Linear(3, 2, dtype=F64)
    net = sf.SharedTrunk(sf.Sequential(sf.Flatten(), layer), sf.Linear(4, 1, dtype=F64))
    x = draw(4, 1, 1, 3).expand(-1, 2, -1, -1).clone()  # the same image as both parts
    grad = draw(*net(x).shape, seed=1)
    net.backward(grad)
    found = sf.numeric_gradient(lambda _: (net(x) * grad).sum(), layer.weight.value)
    assert_same(layer.weight.grad, found, 1e-8)
