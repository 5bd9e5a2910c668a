"""Modules that share a parameter or lie in a list: each is trained once, and none is forgotten."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scratch_twins import assert_same, assert_twins, draw
from torch import Tensor, nn

import scratch_framework as sf
from scratch_framework.fast.compiled import compile_step

F64 = torch.float64


def linear(inputs: int = 4, outputs: int = 4) -> sf.Linear:
    return sf.Linear(inputs, outputs, dtype=F64)


def tied() -> sf.Sequential:
    net = sf.Sequential(linear(), sf.Tanh(), linear())
    net.chain[2].weight = net.chain[0].weight  # type: ignore[attr-defined]
    return net


def tied_twin() -> nn.Sequential:
    twin = nn.Sequential(nn.Linear(4, 4, dtype=F64), nn.Tanh(), nn.Linear(4, 4, dtype=F64))
    twin[2].weight = twin[0].weight
    return twin


OPTIMIZERS: list[tuple[Any, Any, dict[str, float]]] = [
    (sf.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (sf.Adam, torch.optim.Adam, {"lr": 0.1}),
    (sf.AdamW, torch.optim.AdamW, {"lr": 0.1}),
]


@pytest.mark.parametrize(("ours", "theirs", "options"), OPTIMIZERS)
def test_a_weight_that_two_layers_share_is_stepped_once(
    ours: Any, theirs: Any, options: dict[str, float]
) -> None:
    net, twin = tied(), tied_twin()
    twin.load_state_dict(net.state_dict())
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in twin.named_parameters()]
    assert list(net.state_dict()) == list(twin.state_dict())
    optimizer, reference, criterion = (
        ours(net.parameters(), **options),
        theirs(twin.parameters(), **options),
        sf.MSELoss(),
    )
    x, y = draw(8, 4), draw(8, 4, seed=1)
    for _ in range(3):
        optimizer.zero_grad()
        criterion(net(x), y)
        net.backward(criterion.backward())
        optimizer.step()
        reference.zero_grad()
        nn.functional.mse_loss(twin(x), y).backward()
        reference.step()
    for name, value in twin.state_dict().items():
        assert_same(net.state_dict()[name], value)
    net.zero_grad()
    assert not any(grad.any() for _, grad in net.param())


@pytest.mark.parametrize("kind", [sf.SGD, sf.Adam, sf.AdamW])
def test_an_optimiser_refuses_a_parameter_twice(kind: Any) -> None:
    layer = linear()
    with pytest.raises(
        ValueError, match=r"^params must hold every parameter once, got this Parameter\(.* twice$"
    ):
        kind([layer.weight, layer.bias, layer.weight])


def test_compile_refuses_layers_that_share_a_parameter() -> None:
    net = tied()
    with pytest.raises(ValueError, match=r"^compile: every layer must have parameters of its own"):
        compile_step(net, sf.MSELoss(), sf.SGD(net.parameters()))


class Listed(sf.Module):
    """A user's own module that keeps its layers in some container."""

    def __init__(self, keep: Callable[[list[sf.Module]], Any]) -> None:
        self.layers = keep([linear(2, 4), sf.Tanh(), linear()])
        self.out = linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.out(x)

    def backward(self, grad_output: Tensor) -> Tensor:
        grad_output = self.out.backward(grad_output)
        for layer in reversed(list(self.layers)):
            grad_output = layer.backward(grad_output)
        return grad_output


class TorchListed(nn.Module):
    """The same with torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 4, dtype=F64), nn.Tanh(), nn.Linear(4, 4, dtype=F64)])
        self.out = nn.Linear(4, 1, dtype=F64)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


def test_what_is_in_a_module_list_is_found_and_trained_and_printed_as_torchs() -> None:
    net, twin = Listed(sf.ModuleList), TorchListed()
    twin.load_state_dict(net.state_dict())
    assert_twins(net, twin, draw(5, 2))
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in twin.named_parameters()]
    assert not any(layer.training for layer in net.eval().layers)
    assert len(net.layers) == 3
    assert net.layers[-1] is net.layers.chain[2]


def test_a_module_list_grows_and_holds_modules_only() -> None:
    layers = sf.ModuleList()
    layers.append(linear())
    layers.append(sf.ReLU())
    assert [name for name, _ in layers.named_children()] == ["0", "1"]
    with pytest.raises(ValueError, match=r"^ModuleList must hold modules, got 3 at place 2$"):
        layers.append(3)  # type: ignore[arg-type]


HIDING: dict[str, Callable[[list[sf.Module]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "dict": lambda layers: dict(enumerate(layers)),
    "list of lists": lambda layers: [[layers[0]], layers[1:]],
    "list of parameters": lambda layers: [*layers[0].parameters()],
    "list of buffers": lambda layers: [sf.BatchNorm1d(3).running_mean],
}
WALKS: list[Callable[[sf.Module], Any]] = [
    lambda net: list(net.parameters()),
    lambda net: net.state_dict(),
    lambda net: net.eval(),
    lambda net: net.zero_grad(),
    lambda net: sf.Sequential(net).param(),
]


@pytest.mark.parametrize("name", HIDING)
@pytest.mark.parametrize("walk", WALKS)
def test_what_a_plain_container_hides_is_refused(name: str, walk: Callable[[sf.Module], Any]) -> None:
    net = Listed(HIDING[name])
    with pytest.raises(
        ValueError, match=r"^Listed: layers hides a \w+ in a \w+, where it is neither trained nor"
    ):
        walk(net)


def test_a_layer_appended_to_a_list_later_is_seen_too() -> None:
    net = Listed(lambda layers: [])
    assert len(list(net.parameters())) == 2
    net.layers.append(linear())
    with pytest.raises(ValueError, match="hides a Linear in a list"):
        list(net.parameters())


def test_a_list_of_what_attributes_hold_anyway_hides_nothing() -> None:
    net = Listed(sf.ModuleList)
    net.order = [net.layers[0], net.out, net.out.weight]  # type: ignore[attr-defined]
    assert len(list(net.parameters())) == 6


def test_a_subclass_of_sequential_may_hold_more_modules() -> None:
    net = sf.Sequential(linear(), sf.Tanh())
    net.head = linear(4, 2)  # type: ignore[attr-defined]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "head.weight", "head.bias"]
    assert len(net) == 2
