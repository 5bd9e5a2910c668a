"""Numbers that the loops do not know get torch's answer: what it computes of them, or its error."""

import pytest
import torch
from torch import nn

from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear

TYPES = torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64


@pytest.mark.parametrize("dtype", TYPES)
def test_a_pooling_of_them_is_torchs(dtype: torch.dtype) -> None:
    x = (torch.rand(3, 4, 6, 6) * 5).to(dtype)
    try:
        theirs = nn.MaxPool2d(2)(x)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=r"max_pool2d.* not implemented"):
            Sequential(nn.MaxPool2d(2))(x)
    else:
        ours = Sequential(nn.MaxPool2d(2))(x)
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "layers", [[nn.Conv2d(4, 16, 3), nn.MaxPool2d(2)], [nn.Flatten(), Linear(144, 8, replicas=1)]]
)
def test_weights_of_another_type_are_refused_as_torch_does(
    layers: list[nn.Module], dtype: torch.dtype
) -> None:
    x = (torch.rand(3, 4, 6, 6) * 5).to(dtype)
    with pytest.raises(RuntimeError, match=r"dtype|type|not implemented"):
        Sequential(*layers)(x)
