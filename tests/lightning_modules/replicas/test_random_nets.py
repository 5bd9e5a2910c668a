"""Nets of random layers: replica k is what seed k makes of the net alone, whichever engine computes it."""

from collections.abc import Callable

import pytest
import torch
from each_alone import SEEDS, Make, assert_each_is_its_seed_alone
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from lightning_modules.replicas.convert import replicate

# Layers by the number of dimensions of (N, ...); n is the number of channels or features.
ACTIVATIONS: list[Callable[[int], nn.Module]] = [
    lambda n: nn.GELU(),
    lambda n: nn.LeakyReLU(),
    lambda n: nn.Softplus(),
    lambda n: nn.PReLU(),
    lambda n: nn.PReLU(n),
    lambda n: nn.Dropout(0.3),
    lambda n: nn.Softmax(1),
]
IMAGES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Sequential(
        nn.Conv2d(n, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4), nn.Dropout(0.2)
    ),
    lambda n: nn.Conv2d(n, 2 * n, 3, stride=2, padding=1, groups=n),
    lambda n: nn.Conv2d(n, 4, (3, 1), padding="same", dilation=2, padding_mode="circular", bias=False),
    lambda n: nn.ConvTranspose2d(n, 3 * n, 2, stride=2, output_padding=1, groups=n),
    lambda n: nn.BatchNorm2d(n, momentum=None),
    lambda n: nn.GroupNorm(n, n),
    lambda n: nn.GroupNorm(1, n, affine=False),
    lambda n: nn.InstanceNorm2d(n, affine=True, track_running_stats=True),
    lambda n: nn.Dropout2d(0.4),
    lambda n: nn.AvgPool2d(2),
    lambda n: nn.LPPool2d(2, 2),
    lambda n: nn.AdaptiveMaxPool2d(5),
    lambda n: nn.Upsample(scale_factor=2),
    lambda n: nn.ChannelShuffle(n),
    lambda n: nn.LocalResponseNorm(3),
]
SEQUENCES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Conv1d(n, 3, 3, padding=2),
    lambda n: nn.ConvTranspose1d(n, 4, 3),
    lambda n: nn.BatchNorm1d(n),
    lambda n: nn.InstanceNorm1d(n),
    lambda n: nn.Dropout1d(0.3),
    lambda n: nn.MaxPool1d(2),
    lambda n: nn.AdaptiveAvgPool1d(4),
]
FEATURES: list[Callable[[int], nn.Module]] = [
    *ACTIVATIONS,
    lambda n: nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2)),
    lambda n: nn.Linear(n, 6, bias=False),
    lambda n: nn.LayerNorm(n),
    lambda n: nn.LayerNorm(n, elementwise_affine=False),
    lambda n: nn.Sequential(nn.Linear(n, 4), nn.GLU(1)),
    lambda n: nn.Sequential(nn.Linear(n, 6), nn.Unflatten(1, (2, 3)), nn.Flatten()),
]


@st.composite
def random_nets(draw: st.DrawFn) -> tuple[Make, Tensor]:
    """A net of random layers, and a batch of its inputs (4, R, ...), one for each replica."""
    inputs = torch.rand(4, len(SEEDS), 2, 9, 9, dtype=torch.float64, generator=Generator().manual_seed(0))
    picks = list[tuple[Callable[[int], nn.Module], int]]()
    x = inputs[:, 0].float()
    for layers, flatten in ((IMAGES, nn.Flatten(2)), (SEQUENCES, nn.Flatten()), (FEATURES, nn.Identity())):
        for make in draw(st.lists(st.sampled_from(layers), max_size=3)):
            if x[0, 0].dim() and min(x.shape[2:]) < 4:  # a convolution and a pooling
                break
            picks.append((make, x.shape[1]))
            x = make(x.shape[1])(x)
        picks.append((lambda n, flatten=flatten: flatten, 0))  # type: ignore[misc]
        x = flatten(x)
    picks.append((lambda n: nn.Linear(n, 3), x.shape[1]))
    return lambda: nn.Sequential(*[make(n) for make, n in picks]), inputs


@settings(max_examples=25, deadline=None)
@given(net=random_nets())
def test_replicas_of_random_nets_are_each_their_seed_alone(net: tuple[Make, Tensor]) -> None:
    # Normalisations one after the other, of few numbers, make a hundred times as much of torch's rounding.
    assert_each_is_its_seed_alone(*net, "wide", atol=1e-10)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.InstanceNorm1d, (81,)), (nn.InstanceNorm2d, (9, 9)), (nn.InstanceNorm3d, (3, 3, 9))],
)
def test_the_instance_normalisation_of_a_single_image_has_its_gradient_in_any_layout(
    norm: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    def make() -> nn.Module:
        block = nn.BatchNorm1d(2), nn.Dropout(0.3), nn.Flatten(), nn.Linear(162, 3)
        return nn.Sequential(norm(2, affine=True), nn.Flatten(2), *block)

    for seeds in (SEEDS, SEEDS[:1]):
        replicate(make, seeds, "wide").prove(torch.rand(4, 2, *shape))


@settings(max_examples=6, deadline=None)
@given(net=random_nets())
def test_replicas_of_random_nets_by_vmap_are_each_their_seed_alone(net: tuple[Make, Tensor]) -> None:
    assert_each_is_its_seed_alone(*net, "vmap", atol=1e-10)
