"""How replicas lie in memory, and tensors as the loops take them.

For the loops replicas lie apart, (R, N, ..., channels). Torch's layers have them side by side, (N, R *
channels, ...). Channels that are fewer than a row of registers has lanes are filled up to as many: then x is
(R, N, ..., lanes), and whoever wants its channels cuts the rest off.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.replicas.fused.loops.vectors import ROW_BITS
from lightning_modules.replicas.layers import with_plain_gradient

NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64}


def lanes(x: Tensor) -> int:
    """Numbers of a tensor's type in a row of registers."""
    return ROW_BITS // (8 * x.element_size())


def flat(x: Tensor) -> NDArray[Any]:
    """The memory of a tensor as one row of numbers; a copy, where it is not contiguous or not aligned."""
    memory = x.detach().numpy().reshape(-1)  # of numbers in one row that lie apart, a view of these
    return memory if memory.flags.c_contiguous and memory.flags.aligned else memory.copy()


def filled(x: Tensor, dim: int, size: int) -> Tensor:
    """Zeros added to a dimension, up to a size."""
    missing = size - x.shape[dim]
    return F.pad(x, [0, 0] * (-dim - 1) + [0, missing]) if missing > 0 else x


def up(number: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-number // step) * step


def channels_of(x: Tensor, expected: int) -> int:
    """How many channels x has: as many as expected, where it may be those that are filled up to a row."""
    return expected if x.shape[-1] == max(expected, lanes(x)) else x.shape[-1]


def cut(x: Tensor, channels: int) -> Tensor:
    """The first channels of (..., channels or more)."""
    # Of all there are none to cut: the slope of a slice would be a copy.
    return x if x.shape[-1] == channels else x[..., :channels]


def space(x: Tensor, numbers: int) -> NDArray[Any]:
    """Room for numbers of a tensor's type."""
    return np.empty(numbers, NUMPY_TYPES[x.dtype])


def room_for_rows(x: Tensor, rows: int) -> NDArray[Any]:
    """Room for rows of registers."""
    return space(x, rows * lanes(x))


def more_outputs(x: Tensor, replicas: int, size: int) -> Tensor:
    """Zeros added to each replica's part of weights or a bias, up to a number of outputs."""
    if len(x) >= replicas * size:  # mostly: two views would take as long as a small loop
        return x
    return filled(x.unflatten(0, (replicas, -1)), -x.dim(), size).flatten(0, 1)


def apart(x: Tensor, replicas: int) -> Tensor:
    """Replicas of (N, R * F, ...) one after the other, (R, N, ..., F)."""
    x = with_plain_gradient(x.view_as(x)) if len(x) == 1 and x.requires_grad else x
    return x.unflatten(1, (replicas, -1)).movedim((1, 2), (0, -1)).contiguous()


def side_by_side(x: Tensor) -> Tensor:
    """The same back; channels lie last in memory, but for a single image (see `with_plain_gradient`)."""
    y = x.movedim(0, -2).flatten(-2).movedim(-1, 1)
    return y.contiguous() if len(y) == 1 else y
