"""What the proofs share: draws, the paper's net in both frameworks, and gradients found without any."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

import scratch_framework as sf

LAYERS = ((2, 25), (25, 25), (25, 25), (25, 1))


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal float64 numbers, none so close to 0 that a finite difference would cross a ReLU's kink."""
    numbers = torch.randn(shape, dtype=torch.float64, generator=Generator().manual_seed(seed))
    return numbers.where(numbers.abs() > 1e-3, 1e-3)


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)


def numeric_gradient(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a function with one output by each number of x; x is moved in place and back."""
    gradient = torch.empty_like(x)
    flat = x.view(-1)
    for place in range(x.numel()):
        here = float(flat[place])
        flat[place] = here + step
        above = float(function(x))
        flat[place] = here - step
        below = float(function(x))
        flat[place] = here
        gradient.view(-1)[place] = (above - below) / (2 * step)
    return gradient


def paper_net(
    replicas: int | None = None, seed: int = 0, dtype: torch.dtype = torch.float64
) -> sf.Sequential:
    generator = Generator().manual_seed(seed)
    first, second, third, fourth = (
        sf.Linear(inputs, outputs, replicas=replicas, dtype=dtype, generator=generator)
        for inputs, outputs in LAYERS
    )
    return sf.Sequential(first, sf.Tanh(), second, sf.ReLU(), third, sf.ReLU(), fourth, sf.Tanh())


def torch_paper_net() -> nn.Sequential:
    first, second, third, fourth = (nn.Linear(*sizes, dtype=torch.float64) for sizes in LAYERS)
    return nn.Sequential(first, nn.Tanh(), second, nn.ReLU(), third, nn.ReLU(), fourth, nn.Tanh())
