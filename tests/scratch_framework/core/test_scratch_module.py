"""Modules: how they find their parameters, exchange them with torch.nn, switch modes and print themselves."""

import pickle
from copy import deepcopy

import pytest
import torch
from scratch_twins import assert_same, draw, paper_net, torch_paper_net
from torch import Tensor, nn

import scratch_framework as sf
from scratch_framework.core.module import Module


class Twice(Module):
    """A user's own module: a layer and a net inside, applied one after the other."""

    def __init__(self) -> None:
        self.inner = sf.Linear(3, 3, dtype=torch.float64)
        self.head = sf.Sequential(sf.Tanh(), sf.Linear(3, 2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x))

    def backward(self, grad_output: Tensor) -> Tensor:
        return self.inner.backward(self.head.backward(grad_output))


def test_param_lists_values_with_their_gradients_in_the_order_of_the_layers() -> None:
    net = paper_net()
    pairs = net.param()
    assert [tuple(value.shape) for value, _ in pairs] == [
        (25, 2), (25,), (25, 25), (25,), (25, 25), (25,), (1, 25), (1,)
    ]  # fmt: skip
    for (value, grad), parameter in zip(pairs, net.parameters(), strict=True):
        assert value is parameter.value
        assert grad is parameter.grad
    assert sf.ReLU().param() == []


def test_a_module_finds_what_it_holds_by_the_names_of_its_attributes() -> None:
    net = Twice()
    assert [name for name, _ in net.named_parameters()] == [
        "inner.weight", "inner.bias", "head.1.weight", "head.1.bias"
    ]  # fmt: skip
    net(draw(4, 3))
    net.backward(draw(4, 2, seed=1))
    assert all(grad.any() for _, grad in net.param())
    net.zero_grad()
    assert not any(grad.any() for _, grad in net.param())


def test_a_state_dict_moves_both_ways() -> None:
    ours, theirs, x = paper_net(), torch_paper_net(), draw(6, 2)
    ours.load_state_dict(theirs.state_dict())
    assert_same(ours(x), theirs(x))
    other = paper_net(seed=1)
    theirs.load_state_dict(other.state_dict())
    assert_same(other(x), theirs(x))
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_loaded_state_is_a_copy() -> None:
    ours, theirs = paper_net(), torch_paper_net()
    ours.load_state_dict(dict(theirs.named_parameters()))  # these require grad, ours must not
    with torch.no_grad():
        theirs.get_parameter("0.weight").zero_()
    assert ours.state_dict()["0.weight"].any()
    assert not any(value.requires_grad for value in ours.state_dict().values())


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    net = paper_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items()} | {"6.bias": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"6\.bias must have shape \(1,\), got \(2,\)"):
        net.load_state_dict(state)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_train_and_eval_reach_every_module_and_return_the_net() -> None:
    net = sf.Sequential(sf.Linear(2, 2), sf.Sequential(sf.Dropout()))
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (paper_net(), torch_paper_net()),
        (sf.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)),
        (sf.LeakyReLU(0.2), nn.LeakyReLU(0.2)),
        (sf.Conv2d(2, 32, 3), nn.Conv2d(2, 32, 3)),
        (sf.Conv2d(2, 32, 3, 2, 1, bias=False), nn.Conv2d(2, 32, 3, 2, 1, bias=False)),
        (sf.MaxPool2d(2), nn.MaxPool2d(2)),
        (sf.Flatten(), nn.Flatten()),
        (sf.Softmax(dim=1), nn.Softmax(dim=1)),
        (
            sf.Sequential(sf.Sequential(sf.Linear(1, 2), sf.Sigmoid()), sf.Tanh()),
            nn.Sequential(nn.Sequential(nn.Linear(1, 2), nn.Sigmoid()), nn.Tanh()),
        ),
    ],
)
def test_a_module_prints_itself_as_torch_does(ours: sf.Module, theirs: nn.Module) -> None:
    assert repr(ours) == repr(theirs)


def test_dropout_replicas_and_parameters_print_themselves() -> None:
    assert repr(sf.Dropout(0.2)) == "Dropout(p=0.2)"
    layer = sf.Linear(2, 3, replicas=4)
    assert repr(layer) == "Linear(in_features=2, out_features=3, bias=True, replicas=4)"
    assert repr(sf.Conv2d(1, 2, 3, replicas=4)).endswith("stride=(1, 1), replicas=4)")
    same = (
        "BatchNorm2d(7, eps=0.001, momentum=0.2, affine=True"  # what follows differs between torch's versions
    )
    assert repr(sf.BatchNorm2d(7, 1e-3, 0.2)).startswith(same)
    assert repr(nn.BatchNorm2d(7, 1e-3, 0.2)).startswith(same)
    assert repr(sf.BatchNorm1d(2, replicas=4)).endswith("track_running_stats=True, replicas=4)")
    assert repr(sf.BatchNorm1d(2).running_mean) == "Buffer(shape=(2,), dtype=torch.float32)"
    assert repr(layer.weight) == "Parameter(shape=(4, 3, 2), dtype=torch.float32)"
    assert layer.weight.numel() == 24


def test_a_copy_has_the_weights_but_not_the_latest_forward_pass() -> None:
    net = sf.Sequential(sf.Linear(3, 2), sf.Sequential(sf.Tanh()))
    net(torch.ones(5, 3))
    for copy in (deepcopy(net), pickle.loads(pickle.dumps(net))):
        with pytest.raises(RuntimeError, match=r"^Tanh: backward before forward"):
            copy.backward(torch.ones(5, 2))
        copy.load_state_dict({name: value + 1 for name, value in net.state_dict().items()})
        assert not torch.equal(copy(torch.ones(5, 3)), net(torch.ones(5, 3)))
    net.backward(torch.ones(5, 2))
