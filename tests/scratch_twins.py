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


def assert_twins(module: sf.Module, twin: nn.Module, x: Tensor, tolerance: float = 1e-12) -> None:
    """Output, gradient of the input, gradients of parameters, and buffers are what torch finds."""
    leaf = x.clone().requires_grad_()
    theirs = twin(leaf)
    grad = draw(*theirs.shape, seed=99)
    theirs.backward(grad)
    assert_same(module(x), theirs, tolerance)
    assert leaf.grad is not None
    assert_same(module.backward(grad), leaf.grad, tolerance)
    for parameter, theirs_too in zip(module.parameters(), twin.parameters(), strict=True):
        assert theirs_too.grad is not None
        assert_same(parameter.grad, theirs_too.grad, tolerance)
    for name, value in twin.state_dict().items():
        assert_same(module.state_dict()[name], value, tolerance)


def assert_gradients(module: sf.Module, x: Tensor, tolerance: float = 1e-8) -> None:
    """The gradients of the input and of parameters are what finite differences find."""
    grad = draw(*module(x).shape, seed=99)
    assert_same(module.backward(grad), sf.numeric_gradient(lambda x: (module(x) * grad).sum(), x), tolerance)
    for parameter in module.parameters():
        found = sf.numeric_gradient(lambda _: (module(x) * grad).sum(), parameter.value)
        assert_same(parameter.grad, found, tolerance)


def assert_replicas(make: Callable[[int | None], sf.Module], x: Tensor, tolerance: float = 1e-12) -> None:
    """Each of R replicas computes what it computes alone, forward and backward, and keeps the same buffers.

    Args:
        make: Makes a module of R replicas, or with None a single one.
        x: Inputs (R, ...).
        tolerance: Largest difference.
    """
    singles = [make(None) for _ in x]
    together = make(len(x))
    together.load_state_dict(sf.stack_states([single.state_dict() for single in singles]))
    y = together(x)
    grad = draw(*y.shape, seed=99)
    grad_input = together.backward(grad)
    for k, alone in enumerate(singles):
        assert_same(y[k], alone(x[k]), tolerance)
        assert_same(grad_input[k], alone.backward(grad[k]), tolerance)
        for parameter, single in zip(together.parameters(), alone.parameters(), strict=True):
            assert_same(parameter.grad[k], single.grad, tolerance)
        for name, value in sf.replica_state(together.state_dict(), k).items():
            assert_same(value, alone.state_dict()[name], tolerance)


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
