"""Replicas are their ordinary nets in layouts and modes that torch treats in ways of its own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from each_alone import SEEDS, Make
from torch import Tensor, nn

from lightning_modules.replicas.convert import Engine, Replicas, replicate
from lightning_modules.replicas.state import take_replicas

R = len(SEEDS)


class Own(nn.Module):
    """A forward of one's own around layers."""

    def __init__(self, forward: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.call, self.layers = forward, nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(*self.layers, *inputs)


def assert_each_alone(net: Replicas, x: Tensor, atol: float = 1e-12) -> None:
    """Outputs and gradients of a shared batch, against plain nets with the same weights."""
    alone: list[Any] = [net.replica(k) for k in range(R)]
    alone = [one.to(memory_format=torch.contiguous_format) for one in alone]
    outputs = net(x)
    weights = torch.arange(outputs[:, 0].numel(), dtype=torch.float64).cos().view_as(outputs[:, 0])
    (outputs * weights.unsqueeze(1)).sum().backward()
    for k, one in enumerate(alone):
        own = one(x.detach().clone(memory_format=torch.contiguous_format))
        (own * weights).sum().backward()
        torch.testing.assert_close(outputs[:, k], own, rtol=0, atol=atol)
        scale = max(1.0, *(p.grad.abs().max().item() for p in one.parameters() if p.grad is not None))
        for ours, theirs in zip(net.parameters(), one.parameters(), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(ours.grad.chunk(R)[k], theirs.grad, rtol=0, atol=scale * atol)


@pytest.mark.parametrize("engine", ["wide", "vmap"])
def test_a_net_may_change_its_inputs_in_place(engine: Engine) -> None:
    net = replicate(lambda: Own(lambda layer, x: layer(x.mul_(2)), nn.Linear(9, 3)), SEEDS, engine).double()
    x = torch.rand(4, R, 9, dtype=torch.float64)
    outputs = net.each(x.clone())
    for k in range(R):
        torch.testing.assert_close(outputs[:, k], net.replica(k)(x[:, k].clone()))


def test_images_of_one_channel_may_be_changed_in_place_by_each_replica() -> None:
    make = lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(9, 3))  # noqa: E731
    x = torch.randn(4, 1, 3, 3, requires_grad=True)
    assert replicate(make, SEEDS, "wide")(x * 1).shape == (4, R, 3)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_group_normalisation_of_images_that_need_no_gradient(size: int, channels_last: bool) -> None:
    make = lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4 * size**2, 2))  # noqa: E731
    x = torch.randn(5, 4, size, size, dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    assert_each_alone(replicate(make, SEEDS, "wide").double(), x)


@pytest.mark.parametrize("layer", [nn.LocalResponseNorm(3), nn.Softmax(1), nn.ChannelShuffle(3)])
def test_what_comes_after_a_layer_of_samples_has_its_gradient_for_one_image(layer: nn.Module) -> None:
    def make() -> nn.Module:
        return nn.Sequential(layer, nn.BatchNorm2d(3, momentum=None), nn.Flatten(), nn.Linear(75, 5))

    assert_each_alone(
        replicate(make, SEEDS, "wide").double(), torch.randn(1, 3, 5, 5, dtype=torch.float64), atol=1e-9
    )


def with_instance_norm() -> nn.Module:
    layers = nn.Conv2d(3, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 2, 2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(18, 2))


def to_one_channel() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Flatten(), nn.Linear(25, 2))


@pytest.mark.parametrize("make", [with_instance_norm, to_one_channel])
def test_weights_may_have_channels_last(make: Make) -> None:
    """For some of them torch has a wrong gradient, or none, which the proof must not meet."""
    net: Any = replicate(make, SEEDS, "wide").double()
    net.to(memory_format=torch.channels_last)
    for count in (4, 1):
        x = torch.randn(count, 3, 5, 5, dtype=torch.float64)
        net.zero_grad()
        assert_each_alone(net, x, atol=1e-9)
        net.replica(0)(x).sum().backward()


@pytest.mark.parametrize("kept", [[1], [2, 0]])
def test_replicas_that_are_taken_are_contiguous(kept: list[int]) -> None:
    value = torch.randn(R, 31, 3, 3).to(memory_format=torch.channels_last)
    taken = take_replicas(value, kept, R)
    assert torch.equal(taken, value[kept])
    assert taken.is_contiguous()


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("in_forward", [False, True])
def test_autocast_is_that_of_the_ordinary_net_wherever_it_begins(each: bool, in_forward: bool) -> None:
    def forward(body: nn.Module, x: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return body(x)

    def body() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(18, 7), nn.ReLU(), nn.Linear(7, 3))

    net = replicate(lambda: Own(forward, body()) if in_forward else body(), SEEDS, "wide")
    x = torch.randn(4, 2, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net.each(x.unsqueeze(1).repeat(1, R, 1, 1, 1)) if each else net(x)
        for k in range(R):
            torch.testing.assert_close(outputs[:, k], net.replica(k)(x), rtol=0, atol=0.05)
    outputs.float().sum().backward()
    if in_forward and not each:  # no autocast but its own, for a batch that the replicas share
        net(x).float().sum().backward()


def test_autocast_leaves_float64_as_it_is() -> None:
    def make() -> nn.Module:
        pooled = nn.Conv2d(2, 8, 3), nn.MaxPool2d(2), nn.ReLU()
        return nn.Sequential(*pooled, nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 3))

    net, x = replicate(make, SEEDS, "wide").double(), torch.randn(4, 2, 8, 8, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert_each_alone(net, x)


def test_a_sequence_may_pass_several_tensors_on() -> None:
    def block() -> nn.Module:
        return Own(lambda layer, both: (layer(both[0]).tanh(), both[0] + both[1]), nn.Linear(4, 4))

    def make() -> nn.Module:
        return Own(lambda body, x: body((x, x))[1], nn.Sequential(block(), block()))

    net, x = replicate(make, SEEDS, "wide").double(), torch.randn(5, 4, dtype=torch.float64)
    outputs = net(x)
    for k in range(R):
        torch.testing.assert_close(outputs[:, k], net.replica(k)(x))


def test_attention_by_vmap_has_gradients_in_evaluation_and_torch_its_fast_path_afterwards() -> None:
    def forward(encoder: nn.Module, x: Tensor) -> Any:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return encoder(x, src_mask=mask)

    def make() -> nn.Module:
        return Own(forward, nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True))

    net = replicate(make, SEEDS, "vmap").double().eval()
    assert_each_alone(net, torch.randn(5, 7, 8, dtype=torch.float64), atol=1e-9)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("engine", ["wide", "vmap"])
def test_outputs_may_be_complex_numbers(engine: Engine) -> None:
    net = replicate(lambda: Own(lambda a, x: torch.complex(a(x), a(x) * 2), nn.Linear(6, 4)), SEEDS, engine)
    x = torch.randn(4, 6)
    outputs = net(x)
    for k in range(R):
        torch.testing.assert_close(outputs[:, k], net.replica(k)(x))
