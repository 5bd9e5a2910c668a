"""Latent digits are mended on devices that have no float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_modules.models.latent.alignment import LatentAlignment
from lightning_modules.replicas.layers import Linear


class OnDevice(Tensor):
    """A tensor of a device without float64, as Apple's are: what is made of it is there too, until `cpu`."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if func is Tensor.cpu:
            return result.as_subclass(Tensor)
        if isinstance(result, OnDevice) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor to float64: the device does not support it")
        return result


def on_device(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(OnDevice)


def aligned(one_order: bool, move: Any) -> Tensor:
    """The last layer's weights after an epoch in which much was to be put in order and parted."""
    generator = torch.Generator().manual_seed(0)
    layer = Linear(6, 10, 2 if one_order else 4)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    optimizer = torch.optim.AdamW(layer.parameters())
    alignment = LatentAlignment([0, 1], one_order)
    for _ in range(3):
        digits = 3 * torch.randn(50, 2, 2, 10, generator=generator)
        digits[..., 3] += 4  # crowded
        digits[..., 7] -= 40  # idle
        target = torch.randint(2, (50, 2), generator=generator)
        alignment.observe(move(digits), move(target))
    alignment.align(layer, optimizer, lambda record: record, "parting 12")
    return layer.weight.detach()


def test_the_watch_itself_sees_float64() -> None:
    moved = on_device(torch.ones(3))
    assert moved.cpu().double().sum() == 3
    with pytest.raises(TypeError, match="does not support"):
        moved.double()
    with pytest.raises(TypeError, match="does not support"):
        moved.sum(dtype=torch.float64)


def test_the_alignment_makes_no_float64_there_and_does_the_same() -> None:
    for one_order in (True, False):
        assert torch.equal(aligned(one_order, on_device), aligned(one_order, lambda tensor: tensor))
