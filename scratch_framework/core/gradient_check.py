"""The proof of a backward pass: gradients by hand beside those that finite differences find.

Move one number by a small step up and down, and see how much the loss moves:

    dL/dx_i ~ (L(x_i + h) - L(x_i - h)) / 2h        with an error of the order of h^2

It is far too slow to train with, two forward passes for each number, but it needs no calculus, so that it
cannot repeat a mistake of one. In float64 the two agree to about 1e-9; float32 is too coarse for the check.
Where the loss has a kink between x - h and x + h, as ReLU has at 0 and MaxPool2d where two numbers are equal,
the difference is the mean of two slopes and agrees with neither: draw inputs that keep away from kinks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

    from scratch_framework.core.module import Module


def numeric_gradient(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a function with one output by each number of x.

    Args:
        function: Called with x.
        x: The numbers, moved in place and back.
        step: By how much.

    Returns:
        The gradient, of x's shape.
    """
    gradient = x.new_empty(x.shape)
    flat, found = x.view(-1), gradient.view(-1)
    for place in range(x.numel()):
        here = float(flat[place])
        flat[place] = here + step
        above = float(function(x))
        flat[place] = here - step
        below = float(function(x))
        flat[place] = here
        found[place] = (above - below) / (2 * step)
    return gradient


def check_gradients(module: Module, x: Tensor, generator: Generator | None = None) -> dict[str, float]:
    """Compare a module's `backward` with finite differences.

    The loss is a sum of the outputs with random weights, so that every output counts and none alike.

    Args:
        module: What to check, in float64; in evaluation, if it drops at random.
        x: An input, float64.
        generator: Source of the weights.

    Returns:
        The largest difference in the gradient of the input, ``"x"``, and of each parameter by its name;
        infinite where a gradient has not even its parameter's shape.
    """
    y = module(x)
    weights = y.new_empty(y.shape).normal_(generator=generator)
    module.zero_grad()
    x_grad = module.backward(weights)
    by_hand = [("x", x, x_grad)]
    by_hand += [(name, parameter.value, parameter.grad) for name, parameter in module.named_parameters()]
    return {
        name: _difference(grad, numeric_gradient(lambda _: (module(x) * weights).sum(), value))
        for name, value, grad in by_hand
    }


def _difference(ours: Tensor, found: Tensor) -> float:
    # Shapes first: (5, 4) minus (4,) is computed without a complaint.
    return float((ours - found).abs().max()) if ours.shape == found.shape else math.inf
