"""In float32 the loops are as accurate as torch's operations, where a mean is far above the deviation too."""

import pytest
import torch
from torch import nn

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.normalisation import Layers, normalise_and_drop


@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("shift", "deviation"),
    [(0.0, 0.0), (3.3, 0.0), (3.3, 1e-6), (0.0, 1.0), (3.3, 1.0), (100.0, 1.0), (1e4, 1.0)],
)
def test_a_normalisation_is_as_near_to_float64_as_torchs(
    shift: float, deviation: float, relu: bool, pools: bool
) -> None:
    x = shift + deviation * torch.randn(2, 512, 8, 8, 32, generator=torch.Generator().manual_seed(0))
    dropout = None if pools else Dropout(0.0, 2)
    norm = nn.BatchNorm2d(64)
    ours = normalise_and_drop(x, Layers(norm, dropout, relu_before=relu, pools=pools), 1)
    for r, images in enumerate(x.movedim(-1, 2)):
        found = []
        for dtype in (torch.float64, torch.float32):
            alone = nn.BatchNorm2d(32).to(dtype)
            y = alone(images.to(dtype).relu() if relu else images.to(dtype))
            y = nn.functional.max_pool2d(y, 2) if pools else y
            found.append((y.double(), alone.running_var, alone.running_mean))
        (exact, variance, mean), (theirs, *_) = found
        error = (ours[r].movedim(-1, 1).double() - exact).abs().max()
        assert error <= 10 * (theirs - exact).abs().max() + 4e-5
        own = slice(32 * r, 32 * (r + 1))
        torch.testing.assert_close(norm.running_mean[own].double(), mean, rtol=1e-5, atol=1e-5)  # type: ignore[index]
        torch.testing.assert_close(norm.running_var[own].double(), variance, rtol=1e-4, atol=1e-6)  # type: ignore[index]
