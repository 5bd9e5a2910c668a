"""Sequential: a chain that runs forward and backward as torch.nn's does."""

from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scratch_twins import assert_same, draw, paper_net
from torch import nn

import scratch_framework as sf

ACTIVATIONS: dict[str, tuple[Callable[[], sf.Module], Callable[[], nn.Module]]] = {
    "relu": (sf.ReLU, nn.ReLU),
    "leaky": (sf.LeakyReLU, nn.LeakyReLU),
    "tanh": (sf.Tanh, nn.Tanh),
    "sigmoid": (sf.Sigmoid, nn.Sigmoid),
    "softmax": (sf.Softmax, lambda: nn.Softmax(dim=-1)),
}


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=2, max_size=5),
    names=st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=4, max_size=4),
    points=st.integers(1, 8),
)
def test_a_net_of_any_layers_has_the_gradients_that_autograd_finds(
    sizes: list[int], names: list[str], points: int
) -> None:
    ours: list[sf.Module] = []
    theirs: list[nn.Module] = []
    for inputs, outputs, name in zip(sizes, sizes[1:], names, strict=False):
        ours += [sf.Linear(inputs, outputs, dtype=torch.float64), ACTIVATIONS[name][0]()]
        theirs += [nn.Linear(inputs, outputs, dtype=torch.float64), ACTIVATIONS[name][1]()]
    net, twin = sf.Sequential(*ours), nn.Sequential(*theirs)
    net.load_state_dict(twin.state_dict())
    x, grad = draw(points, sizes[0]), draw(points, sizes[-1], seed=1)
    leaf = x.clone().requires_grad_()
    y = twin(leaf)
    y.backward(grad)
    assert_same(net(x), y)
    assert leaf.grad is not None
    assert_same(net.backward(grad), leaf.grad)
    for parameter, theirs_too in zip(net.parameters(), twin.parameters(), strict=True):
        assert theirs_too.grad is not None
        assert_same(parameter.grad, theirs_too.grad)


def test_the_gradients_of_the_papers_net_are_what_finite_differences_find() -> None:
    net, criterion = paper_net(), sf.MSELoss()
    x, target = draw(5, 2), draw(5, 1, seed=1)
    criterion(net(x), target)
    net.backward(criterion.backward())
    for value, grad in net.param():
        assert_same(grad, sf.numeric_gradient(lambda _: criterion(net(x), target), value), 1e-8)


def test_a_chain_has_a_length_places_and_an_order() -> None:
    layers = [sf.Linear(2, 3), sf.ReLU(), sf.Linear(3, 1)]
    net = sf.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0]
    assert net[-1] is layers[-1]


def test_names_in_a_chain_inside_a_chain_are_torchs() -> None:
    ours = sf.Sequential(sf.Sequential(sf.Linear(2, 3), sf.ReLU()), sf.Linear(3, 1, bias=False))
    theirs = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1, bias=False))
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["0.0.weight", "0.0.bias", "1.weight"]
