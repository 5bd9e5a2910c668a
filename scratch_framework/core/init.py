"""Initialisation: random values small enough that signals neither explode nor die on their way through.

If the n inputs of a unit are independent with variance 1, its output has variance n sigma^2. So sigma^2 = 1/n
keeps the forward signal as it is, and 1/n with n outputs the backward one; Xavier takes the harmonic mean of
the two, 2 / (in + out), Kaiming makes up for the half that a ReLU cuts off. The inputs of a convolution's
unit are all numbers of its patch.

Functions fill a weight (out, in, *kernel) in place. They have torch.nn.init's names and arguments, and one
more, ``replicas``: the shape (3, 8, 5) may be a kernel of length 5 or three linear layers, so R replicas,
(R, out, in, *kernel), must be declared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scratch_framework.core.checks import check_choice, check_weight

if TYPE_CHECKING:
    from torch import Generator, Tensor

LEAKY_SLOPE = 0.01
GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
GAINS |= {"leaky_relu": math.sqrt(2 / (1 + LEAKY_SLOPE**2)), "selu": 3 / 4}
GAINS |= {f"{kind}{dims}d": 1.0 for kind in ("conv", "conv_transpose") for dims in (1, 2, 3)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on sigma that makes up for what an activation takes from the signal.

    Args:
        nonlinearity: One of `GAINS`.
        param: The negative slope of ``leaky_relu``, 0.01 by default.
    """
    check_choice("nonlinearity", nonlinearity, GAINS)
    if nonlinearity == "leaky_relu" and param is not None:
        return math.sqrt(2 / (1 + param**2))
    return GAINS[nonlinearity]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, replicas: int | None = None
) -> Tensor:
    """Fill with U(-a, a), a = gain sqrt(6 / (in + out)): its variance a^2 / 3 is that of `xavier_normal_`."""
    bound = gain * math.sqrt(6 / sum(fans(tensor, replicas)))
    return tensor.uniform_(-bound, bound, generator=generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None, replicas: int | None = None
) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain sqrt(2 / (in + out)).

    Paper: https://proceedings.mlr.press/v9/glorot10a.html
    """
    return tensor.normal_(0, gain * math.sqrt(2 / sum(fans(tensor, replicas))), generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    replicas: int | None = None,
) -> Tensor:
    """Fill with U(-b, b), b = gain sqrt(3 / fan), whose variance b^2 / 3 is that of `kaiming_normal_`."""
    bound = math.sqrt(3) * _kaiming_sigma(tensor, a, mode, nonlinearity, replicas)
    return tensor.uniform_(-bound, bound, generator=generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
    replicas: int | None = None,
) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain / sqrt(fan). Paper: https://arxiv.org/abs/1502.01852.

    Args:
        tensor: A weight.
        a: Negative slope of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the forward signal, ``fan_out`` of the backward one.
        nonlinearity: The activation, see `calculate_gain`.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.
    """
    return tensor.normal_(0, _kaiming_sigma(tensor, a, mode, nonlinearity, replicas), generator=generator)


def paper_(
    weight: Tensor,
    bias: Tensor | None,
    nonlinearity: str = "tanh",
    generator: Generator | None = None,
    replicas: int | None = None,
) -> None:
    """Fill weight and bias with N(0, sigma^2): sigma = sqrt(1 / (in + out)) for tanh, sqrt(2 / ...) for relu.

    The rule of this project's paper (2.2.3), which calls the two Xavier and He.
    """
    check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    sigma = math.sqrt((1 if nonlinearity == "tanh" else 2) / sum(fans(weight, replicas, bias)))
    for tensor in (weight,) if bias is None else (weight, bias):
        tensor.normal_(0, sigma, generator=generator)


def default_(
    weight: Tensor, bias: Tensor | None, generator: Generator | None = None, replicas: int | None = None
) -> None:
    """Fill weight and bias with U(-1/sqrt(in), 1/sqrt(in)), what torch.nn's layers start with."""
    bound = 1 / math.sqrt(fans(weight, replicas, bias)[0])
    for tensor in (weight,) if bias is None else (weight, bias):
        tensor.uniform_(-bound, bound, generator=generator)


def fans(weight: Tensor, replicas: int | None = None, bias: Tensor | None = None) -> tuple[int, int]:
    """How many numbers feed a unit, and how many units a number feeds: in and out, times the kernel."""
    outputs, inputs, *kernel = check_weight(weight, replicas, bias)
    return inputs * math.prod(kernel), outputs * math.prod(kernel)


def _kaiming_sigma(tensor: Tensor, a: float, mode: str, nonlinearity: str, replicas: int | None) -> float:
    check_choice("mode", mode, ("fan_in", "fan_out"))
    fan = fans(tensor, replicas)[("fan_in", "fan_out").index(mode)]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)
