"""Initialisation: random values small enough that signals neither explode nor die on their way through.

If the n inputs of a unit are independent with variance 1, its output has variance n sigma^2. So sigma^2 = 1/n
keeps the forward signal as it is, and 1/n with n outputs the backward one; Xavier takes the harmonic mean of
the two, 2 / (in + out), Kaiming makes up for the half that a ReLU cuts off. The inputs of a convolution's
unit are all numbers of its window. Functions fill their tensors in place and have torch.nn.init's names and
arguments, and one more: ``replicas``. A weight is (out, in, *kernel), as in torch. The shape (3, 8, 5) may be
a kernel of length 5 or three linear layers; so whoever has R replicas, (R, out, in, *kernel), must say it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.core.aliases import Generator

LEAKY_SLOPE = 0.01
GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}
GAINS |= {"leaky_relu": math.sqrt(2 / (1 + LEAKY_SLOPE**2)), "selu": 3 / 4}
GAINS |= {f"{kind}{dims}d": 1.0 for kind in ("conv", "conv_transpose") for dims in (1, 2, 3)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on sigma that makes up for what an activation takes from the signal.

    Args:
        nonlinearity: ``linear``, ``sigmoid``, ``tanh``, ``relu``, ``leaky_relu`` or ``selu``; ``conv2d`` and
            its like count as linear.
        param: The negative slope of ``leaky_relu``, 0.01 by default.

    Returns:
        The gain.

    Raises:
        ValueError: The nonlinearity is not known.
    """
    if nonlinearity not in GAINS:
        raise ValueError(f"nonlinearity must be one of {', '.join(GAINS)}, got {nonlinearity!r}")
    if nonlinearity == "leaky_relu" and param is not None:
        return math.sqrt(2 / (1 + param**2))
    return GAINS[nonlinearity]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator = None, replicas: int | None = None
) -> Tensor:
    """Fill with U(-a, a), a = gain sqrt(6 / (in + out)), whose variance a^2 / 3 is that of `xavier_normal_`.

    Paper: https://proceedings.mlr.press/v9/glorot10a.html

    Args:
        tensor: A weight, (out, in, *kernel) or (R, out, in, *kernel).
        gain: Factor, see `calculate_gain`.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.

    Returns:
        The tensor.
    """
    bound = gain * math.sqrt(6 / sum(fans(tensor, replicas)))
    return tensor.uniform_(-bound, bound, generator=generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator = None, replicas: int | None = None
) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain sqrt(2 / (in + out)).

    Paper: https://proceedings.mlr.press/v9/glorot10a.html

    Args:
        tensor: A weight, (out, in, *kernel) or (R, out, in, *kernel).
        gain: Factor, see `calculate_gain`.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.

    Returns:
        The tensor.
    """
    return tensor.normal_(0, gain * math.sqrt(2 / sum(fans(tensor, replicas))), generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    replicas: int | None = None,
) -> Tensor:
    """Fill with U(-b, b), b = gain sqrt(3 / fan), whose variance b^2 / 3 is that of `kaiming_normal_`.

    Paper: https://arxiv.org/abs/1502.01852

    Args:
        tensor: A weight, (out, in, *kernel) or (R, out, in, *kernel).
        a: Negative slope of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the forward signal, ``fan_out`` of the backward one.
        nonlinearity: The activation, see `calculate_gain`.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.

    Returns:
        The tensor.
    """
    bound = math.sqrt(3) * _kaiming_sigma(tensor, a, mode, nonlinearity, replicas)
    return tensor.uniform_(-bound, bound, generator=generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    replicas: int | None = None,
) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain / sqrt(fan).

    Paper: https://arxiv.org/abs/1502.01852

    Args:
        tensor: A weight, (out, in, *kernel) or (R, out, in, *kernel).
        a: Negative slope of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the forward signal, ``fan_out`` of the backward one.
        nonlinearity: The activation, see `calculate_gain`.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.

    Returns:
        The tensor.
    """
    return tensor.normal_(0, _kaiming_sigma(tensor, a, mode, nonlinearity, replicas), generator=generator)


def paper_(
    weight: Tensor,
    bias: Tensor | None,
    nonlinearity: str = "tanh",
    generator: Generator = None,
    replicas: int | None = None,
) -> None:
    """Fill weight and bias with N(0, sigma^2): sigma = sqrt(1 / (in + out)) for tanh, sqrt(2 / ...) for ReLU.

    The rule of this project's paper (2.2.3), which calls the two Xavier and He.

    Args:
        weight: (out, in, *kernel) or (R, out, in, *kernel).
        bias: (out,) or (R, out), or None.
        nonlinearity: The activation that follows, ``tanh`` or ``relu``.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.
    """
    numerators = {"tanh": 1, "relu": 2}
    if nonlinearity not in numerators:
        raise ValueError(f"nonlinearity must be one of {', '.join(numerators)}, got {nonlinearity!r}")
    sigma = math.sqrt(numerators[nonlinearity] / sum(fans(weight, replicas, bias)))
    weight.normal_(0, sigma, generator=generator)
    if bias is not None:
        bias.normal_(0, sigma, generator=generator)


def default_(
    weight: Tensor, bias: Tensor | None, generator: Generator = None, replicas: int | None = None
) -> None:
    """Fill weight and bias with U(-1/sqrt(in), 1/sqrt(in)), what torch.nn's layers start with.

    Args:
        weight: (out, in, *kernel) or (R, out, in, *kernel).
        bias: (out,) or (R, out), or None.
        generator: Source of the draws.
        replicas: R, when the first dimension counts replicas.
    """
    bound = 1 / math.sqrt(fans(weight, replicas, bias)[0])
    weight.uniform_(-bound, bound, generator=generator)
    if bias is not None:
        bias.uniform_(-bound, bound, generator=generator)


def fans(weight: Tensor, replicas: int | None = None, bias: Tensor | None = None) -> tuple[int, int]:
    """How many numbers feed a unit, and how many units a number feeds: a kernel has that of each place.

    Args:
        weight: (out, in, *kernel) or (R, out, in, *kernel).
        replicas: R, when the first dimension counts replicas.
        bias: The layer's, whose shape must fit.

    Returns:
        in and out, times the size of the kernel.

    Raises:
        ValueError: The weight has too few dimensions or another number of replicas, or the bias does not fit.
    """
    shape = tuple(weight.shape)
    own = shape if replicas is None else shape[1:]
    if len(own) < 2 or (replicas is not None and shape[0] != replicas):
        wanted = "out, in, *kernel" if replicas is None else f"{replicas}, out, in, *kernel"
        raise ValueError(f"a weight must have shape ({wanted}) with replicas={replicas}, got {shape}")
    expected = shape[: len(shape) - len(own) + 1]
    if bias is not None and tuple(bias.shape) != expected:
        raise ValueError(
            f"the bias of a weight {shape} with replicas={replicas} must have shape {expected}, got"
            f" {tuple(bias.shape)}; say replicas=R where the first dimension counts replicas"
        )
    kernel = math.prod(own[2:])
    return own[1] * kernel, own[0] * kernel


def _kaiming_sigma(tensor: Tensor, a: float, mode: str, nonlinearity: str, replicas: int | None) -> float:
    fan_in, fan_out = fans(tensor, replicas)
    by_mode = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in by_mode:
        raise ValueError(f"mode must be one of {', '.join(by_mode)}, got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(by_mode[mode])
