"""A batch of one image: torch misreads it where image and gradient lie in memory each in another way."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lightning_modules.replicas.convert import replicate


def norm() -> nn.Module:
    return nn.BatchNorm2d(2, momentum=None)  # which no loop computes


def start() -> list[nn.Module]:
    """What needs the right gradient, and a layer that passes strides on."""
    return [nn.Conv2d(2, 2, 1), norm(), nn.LocalResponseNorm(3)]


def pooled() -> list[nn.Module]:
    """What the loops compute."""
    return [nn.Conv2d(2, 32, 3, padding=1), nn.MaxPool2d(2)]


NETS: dict[str, Callable[[], list[nn.Module]]] = {
    "torch's layers alone": lambda: [*start(), norm()],
    "the gradient of loops": lambda: [*start(), *pooled()],
    "the gradient of loops, without a layer between": lambda: [nn.Softmax(1), norm(), *pooled()],
    "the output of loops": lambda: [
        *pooled(),
        nn.Conv2d(32, 2, 1),
        norm(),
        nn.LocalResponseNorm(3),
        norm(),
    ],
    "a pooling alone": lambda: [*start(), nn.MaxPool2d(2), nn.LocalResponseNorm(3), norm()],
    "a normalisation in loops": lambda: [*start(), nn.BatchNorm2d(2), nn.Dropout(0.1), *start()],
}


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("layers", NETS.values(), ids=NETS)
def test_replicas_have_the_gradients_of_a_single_image_that_each_has_alone(
    layers: Callable[[], list[nn.Module]], replicas: int
) -> None:
    images = torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))

    def make() -> nn.Module:
        block = nn.Sequential(*layers(), nn.Flatten())
        return block.append(nn.Linear(block(images).shape[1], 3))

    replicate(make, range(replicas), "wide").prove(images)
