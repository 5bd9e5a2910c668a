"""The networks serve other images and classes too: by arguments."""

from typing import Any

import pytest
import torch

from lightning_modules.command.options import Branches
from lightning_modules.networks.pairs import make_network
from lightning_modules.replicas.convert import replicate

COLOUR = {"classes": 3, "channels": 3, "side": 32}


@pytest.mark.parametrize("trunk", ["paper", "deep"])
@pytest.mark.parametrize(
    ("branches", "head"), [("early", "paper"), ("separate", "exact"), ("shared", "paper")]
)
def test_three_classes_of_colour_images_are_arguments_and_replicas_are_proven(
    branches: Branches, head: Any, trunk: Any
) -> None:
    pairs = torch.rand(5, 6, 32, 32)

    def make() -> Any:
        return make_network(branches, trunk=trunk, width=4, head=head, **COLOUR)  # type: ignore[arg-type]

    network = replicate(make, [3, 1, 4], "wide", example=pairs)
    outputs = network.each(pairs.unsqueeze(1).expand(-1, 3, -1, -1, -1))
    assert outputs.pair.shape == (5, 3, 2)
    if branches != "early":
        assert outputs.digits.shape == (5, 3, 2, 3)
