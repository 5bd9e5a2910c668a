"""Initialisation: random values small enough that signals neither explode nor die on their way through.

If the n inputs of a unit are independent with variance 1, its output has variance n sigma^2. So sigma^2 = 1/n
keeps the forward signal as it is, and 1/n with n outputs the backward one; Xavier takes their mean, Kaiming
makes up for the half that a ReLU cuts off. Functions fill their tensors in place and have torch.nn.init's
names and arguments. The last two dimensions are (out, in); those before them count replicas.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scratch_framework.aliases import Generator

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on sigma that makes up for what an activation takes from the signal.

    Args:
        nonlinearity: ``linear``, ``sigmoid``, ``tanh``, ``relu`` or ``leaky_relu``.
        param: The negative slope of ``leaky_relu``, 0.01 by default.

    Returns:
        The gain.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise ValueError(f"nonlinearity must be one of {known}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with U(-a, a), a = gain sqrt(6 / (in + out)), whose variance a^2 / 3 is that of `xavier_normal_`.

    Paper: https://proceedings.mlr.press/v9/glorot10a.html

    Args:
        tensor: A weight, (..., out, in).
        gain: Factor, see `calculate_gain`.
        generator: Source of the draws.

    Returns:
        The tensor.
    """
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return tensor.uniform_(-bound, bound, generator=generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain sqrt(2 / (in + out)).

    Paper: https://proceedings.mlr.press/v9/glorot10a.html

    Args:
        tensor: A weight, (..., out, in).
        gain: Factor, see `calculate_gain`.
        generator: Source of the draws.

    Returns:
        The tensor.
    """
    return tensor.normal_(0, gain * math.sqrt(2 / sum(fans(tensor))), generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill with U(-b, b), b = gain sqrt(3 / fan), whose variance b^2 / 3 is that of `kaiming_normal_`.

    Paper: https://arxiv.org/abs/1502.01852

    Args:
        tensor: A weight, (..., out, in).
        a: Negative slope of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the forward signal, ``fan_out`` of the backward one.
        nonlinearity: The activation, see `calculate_gain`.
        generator: Source of the draws.

    Returns:
        The tensor.
    """
    bound = math.sqrt(3) * _kaiming_sigma(tensor, a, mode, nonlinearity)
    return tensor.uniform_(-bound, bound, generator=generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Fill with N(0, sigma^2), sigma = gain / sqrt(fan).

    Paper: https://arxiv.org/abs/1502.01852

    Args:
        tensor: A weight, (..., out, in).
        a: Negative slope of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the forward signal, ``fan_out`` of the backward one.
        nonlinearity: The activation, see `calculate_gain`.
        generator: Source of the draws.

    Returns:
        The tensor.
    """
    return tensor.normal_(0, _kaiming_sigma(tensor, a, mode, nonlinearity), generator=generator)


def paper_(
    weight: Tensor, bias: Tensor | None, nonlinearity: str = "tanh", generator: Generator = None
) -> None:
    """Fill weight and bias with N(0, sigma^2): sigma = sqrt(1 / (in + out)) for tanh, sqrt(2 / ...) for ReLU.

    The rule of this project's paper (2.2.3), which calls the two Xavier and He.

    Args:
        weight: (..., out, in).
        bias: (..., out), or None.
        nonlinearity: The activation that follows, ``tanh`` or ``relu``.
        generator: Source of the draws.
    """
    numerators = {"tanh": 1, "relu": 2}
    if nonlinearity not in numerators:
        raise ValueError(f"nonlinearity must be one of {', '.join(numerators)}, got {nonlinearity!r}")
    sigma = math.sqrt(numerators[nonlinearity] / sum(fans(weight)))
    weight.normal_(0, sigma, generator=generator)
    if bias is not None:
        bias.normal_(0, sigma, generator=generator)


def default_(weight: Tensor, bias: Tensor | None, generator: Generator = None) -> None:
    """Fill weight and bias with U(-1/sqrt(in), 1/sqrt(in)), what torch.nn.Linear starts with.

    Args:
        weight: (..., out, in).
        bias: (..., out), or None.
        generator: Source of the draws.
    """
    bound = 1 / math.sqrt(fans(weight)[0])
    weight.uniform_(-bound, bound, generator=generator)
    if bias is not None:
        bias.uniform_(-bound, bound, generator=generator)


def fans(weight: Tensor) -> tuple[int, int]:
    """Inputs and outputs of a layer, by its weight (..., out, in)."""
    if weight.dim() < 2:
        raise ValueError(f"a weight must have shape (..., out, in), got {tuple(weight.shape)}")
    return weight.shape[-1], weight.shape[-2]


def _kaiming_sigma(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = fans(tensor)
    by_mode = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in by_mode:
        raise ValueError(f"mode must be one of {', '.join(by_mode)}, got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(by_mode[mode])
