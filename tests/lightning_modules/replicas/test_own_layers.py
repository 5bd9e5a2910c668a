"""Layers of one's own can be registered, and hooks of layers see the replicas side by side."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from each_alone import IMAGES_OF_EACH, SEEDS, assert_each_is_its_seed_alone
from torch import Tensor, nn

from lightning_modules.replicas.convert import replicate
from lightning_modules.replicas.registry import register


class Shift(nn.Module):
    """A layer of one's own."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.by = nn.Parameter(torch.rand(features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by.view(-1, 1, 1)


class WideShift(Shift):
    """The same for several replicas."""


def test_a_layer_of_ones_own_can_be_registered() -> None:
    def make() -> nn.Module:
        return nn.Sequential(Shift(2), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(147, 3))

    with pytest.raises(ValueError, match=r"Shift has tensors of its own \(by\)"):
        replicate(make, SEEDS, "wide")

    def select(layer: WideShift, kept: Sequence[int], replicas: int) -> None:
        layer.features = layer.features // replicas * len(kept)

    register(Shift, widen=lambda layer, replicas: WideShift(replicas * layer.features), select=select)
    assert_each_is_its_seed_alone(make, IMAGES_OF_EACH, "wide")


@pytest.mark.parametrize("place", ["0", "1", "3"])  # of a registered layer, and of one that is kept as it is
def test_the_hooks_of_a_layer_are_called_with_the_replicas_side_by_side(place: str) -> None:
    seen = dict[str, set[int]](outputs=set(), gradients=set())

    def change(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        seen["outputs"].add(output.shape[1])
        return 2 * output

    def steepen(layer: nn.Module, gradients: Any) -> tuple[Tensor]:
        seen["gradients"].add(gradients[0].shape[1])
        return (3 * gradients[0],)

    def add(layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return (args[0] + 1,), kwargs

    def make() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(196, 4))
        layer = net.get_submodule(place)
        layer.register_forward_hook(change)
        layer.register_forward_pre_hook(add, with_kwargs=True)
        layer.register_full_backward_pre_hook(steepen)
        return net

    assert_each_is_its_seed_alone(make, IMAGES_OF_EACH, "wide")
    assert seen == {"outputs": {4, 8, 12}, "gradients": {4, 8, 12}}  # of 1, 2 and 3 replicas


@pytest.mark.parametrize("place", ["", "0", "1"])
def test_a_hook_of_the_replicas_is_none_of_the_ordinary_net(place: str) -> None:
    net = replicate(lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh()), SEEDS)
    net.net.get_submodule(place).register_forward_hook(lambda *_: None)
    assert not net.replica(0).get_submodule(place)._forward_hooks
