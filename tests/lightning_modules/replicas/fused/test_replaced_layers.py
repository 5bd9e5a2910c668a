"""Whatever layer stands in a trunk, the loops and torch compute the same."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.sequential import Engine, Sequential, set_engine


class Doubled(nn.Conv2d):
    """A subclass may compute anything."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Centred(nn.Module):
    """Takes away the mean over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Shifted(nn.ReLU):
    """Another subclass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - 0.1)


def conv(**settings: Any) -> nn.Conv2d:
    return nn.Conv2d(2, 8, 3, **{"groups": 2, **settings})


def changed(layer: nn.Module, **settings: Any) -> nn.Module:
    for name, value in settings.items():
        setattr(layer, name, value)
    return layer


def frozen(layer: nn.Module) -> nn.Module:
    return layer.requires_grad_(False)


def parametrised(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    return layer


def pruned(layer: nn.Module) -> nn.Module:
    return cast("nn.Module", prune.l1_unstructured(layer, "weight", 0.3))


# The place of a layer in `small_trunk`, and what may stand there.
REPLACEMENTS: list[tuple[int, Callable[[], nn.Module]]] = [
    (0, lambda: conv(padding=1, padding_mode="circular")),
    (0, lambda: conv(stride=2, padding=3)),
    (0, lambda: conv(dilation=2, padding=2)),
    (0, lambda: conv(bias=False)),
    (0, lambda: conv(groups=1)),
    (0, lambda: Doubled(2, 8, 3, groups=2)),
    (0, lambda: frozen(conv())),
    (0, lambda: parametrised(conv())),
    (0, lambda: pruned(conv())),
    (0, lambda: nn.Sequential(conv(), nn.BatchNorm2d(8))),
    (0, lambda: changed(conv(), forward=lambda x: x.repeat(1, 4, 1, 1) + x.mean())),
    (1, lambda: nn.MaxPool2d(2, stride=1)),
    (1, lambda: nn.MaxPool2d(2, padding=1)),
    (1, lambda: nn.MaxPool2d(2, ceil_mode=True)),
    (1, lambda: nn.MaxPool2d(2, dilation=2)),
    (1, lambda: nn.MaxPool2d(3)),
    (1, lambda: nn.MaxPool2d((2, 2))),
    (1, lambda: nn.AvgPool2d(2)),
    (1, nn.Identity),
    *((place, make) for place in (2, 7) for make in (nn.GELU, nn.Identity, nn.ReLU6, Centred, Shifted)),
    *((place, lambda: nn.ReLU(inplace=True)) for place in (2, 7)),
    (3, nn.Identity),
    (3, lambda: nn.BatchNorm2d(8, affine=False)),
    (3, lambda: nn.BatchNorm2d(8, momentum=None)),
    (3, lambda: nn.BatchNorm2d(8, momentum=0.3, eps=0.1)),
    (3, lambda: nn.BatchNorm2d(8, track_running_stats=False)),
    (3, lambda: nn.BatchNorm2d(8).eval()),
    (3, lambda: frozen(nn.BatchNorm2d(8))),
    (3, lambda: nn.InstanceNorm2d(8, affine=True)),
    (3, lambda: nn.GroupNorm(2, 8)),
    *((place, nn.Identity) for place in (4, 9)),
    *((place, lambda: nn.Dropout(0.0)) for place in (4, 9)),
    *((place, lambda: nn.Dropout(0.4)) for place in (4, 9)),
    *((place, lambda: Dropout(0.3, 2).eval()) for place in (4, 9)),
    (4, Centred),
    (5, lambda: nn.Flatten(-3)),
    (5, lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(72))),
    (5, lambda: nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.5))),
    (8, lambda: nn.BatchNorm1d(6, affine=False)),
    (8, lambda: nn.BatchNorm1d(6, momentum=None)),
    (8, lambda: nn.BatchNorm1d(6).eval()),
    (8, Centred),
]


def small_trunk() -> Sequential:
    """Two replicas: 2 images of 8x8 pixels to 6 numbers."""
    return Sequential(
        conv(),
        nn.MaxPool2d(2),  # (N, 8, 3, 3)
        nn.ReLU(),
        nn.BatchNorm2d(8),
        Dropout(0.2, 2),
        nn.Flatten(),  # (N, 72)
        nn.LazyLinear(6),
        nn.ReLU(),
        nn.BatchNorm1d(6),
        Dropout(0.3, 2),
    )


def with_layer(place: int, make: Callable[[], nn.Module], x: Tensor) -> Sequential:
    """A small trunk with another layer, the same each time."""
    torch.manual_seed(0)
    layers = small_trunk()
    layers[place] = make()
    layers.double()(x)  # makes the linear layer as large as its input
    return Sequential(*list(layers)[:8]) if place == 5 else layers  # a second BatchNorm magnifies rounding


def trained(layers: Sequential, engine: Any, calls: int, x: Tensor) -> list[Tensor]:
    """Outputs, gradients, statistics and counts of two steps."""
    set_engine(layers, engine)
    for place, layer in enumerate(layers):
        if isinstance(layer, Dropout):
            layer.seed([place, place + 1])
    torch.manual_seed(1)
    found = []
    for step in range(2):
        layers.zero_grad()
        out = layers(x.roll(step, 0), calls=calls)
        (out * torch.arange(out.numel(), dtype=out.dtype).view(out.shape).cos()).sum().backward()
        found += [out.detach(), *(p.grad.clone() for p in layers.parameters() if p.grad is not None)]
    return [*found, *(value.clone() for value in layers.state_dict().values())]


@pytest.mark.parametrize(("place", "make"), REPLACEMENTS)
@pytest.mark.parametrize("calls", [1, 2])
def test_engines_agree_whatever_layer_stands_in_a_trunk(
    place: int, make: Callable[[], nn.Module], calls: int
) -> None:
    x = torch.randn(12, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x += torch.arange(12.0).view(-1, 1, 1, 1) / 6
    both = [trained(with_layer(place, make, x), engine, calls, x) for engine in ("torch", "fused")]
    for number, (one, other) in enumerate(zip(*both, strict=True)):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=f"number {number}")


@pytest.mark.parametrize(
    ("place", "make"),
    [(2, nn.Tanh), (0, lambda: nn.Sequential(conv(), nn.Tanh()))],
    ids=["a convolution with its pooling", "a pooling elsewhere"],
)
def test_a_penalty_on_gradients_has_the_gradients_of_torchs_operations(
    place: int, make: Callable[[], nn.Module]
) -> None:
    def slopes(engine: Engine) -> tuple[Tensor, ...]:
        layers = with_layer(place, make, images).train()
        set_engine(layers, engine)
        x = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layers(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), tuple(layers.parameters()))

    images = torch.randn(12, 2, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for one, other in zip(slopes("torch"), slopes("fused"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_global_hook_sees_every_layer() -> None:
    layers, seen = small_trunk().double(), list[str]()
    layers(torch.randn(4, 2, 8, 8, dtype=torch.float64))
    hook = nn.modules.module.register_module_forward_hook(lambda layer, *_: seen.append(type(layer).__name__))
    try:
        layers(torch.randn(4, 2, 8, 8, dtype=torch.float64))
    finally:
        hook.remove()
    assert seen == [type(layer).__name__ for layer in layers] + ["Sequential"]
