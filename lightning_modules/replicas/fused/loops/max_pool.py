"""2x2 maxima after a convolution of torch's, also in bfloat16, of which numba sees the 16 bits."""

from typing import Any

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from lightning_modules.replicas.fused.loops import numba_cache

Array = NDArray[Any]
u32 = np.uint32
compiled = numba_cache.compiled(nogil=True, error_model="numpy")


def widen(value):
    """A bfloat16 as float32, which it is the upper half of; any other number as it is."""


@overload(widen, inline="always")
def _widen(value):
    if value == numba.types.uint16:
        return lambda value: u32(u32(value) << u32(16)).view(np.float32)
    return lambda value: value


@compiled
def max_pool_forward(x: Array, out: Array, which: Array) -> None:
    """Maximum of each 2x2 window; a rim of odd width is left out, as torch does.

    Args:
        x: (N, H, W, C).
        out: (N, H // 2, W // 2, C), written.
        which: The same in uint8, written: 0..3, the first place of the maximum.
    """
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                for k in range(x.shape[3]):
                    best, place = x[n, 2 * i, 2 * j, k], np.uint8(0)
                    for other in range(1, 4):
                        value = x[n, 2 * i + other // 2, 2 * j + other % 2, k]
                        number = widen(value)
                        if number > widen(best) or number != number:  # NaN wins, so that it is seen
                            best, place = value, np.uint8(other)
                    out[n, i, j, k] = best
                    which[n, i, j, k] = place


@compiled
def max_pool_backward(grad: Array, which: Array, out: Array) -> None:
    """The slope of `max_pool_forward`: all of it goes to the place of the maximum.

    Args:
        grad: (N, H // 2, W // 2, C).
        which: As `max_pool_forward` wrote it.
        out: (N, H, W, C), written; a rim of odd width must be 0 already.
    """
    for n in range(grad.shape[0]):
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                for place in range(4):
                    for k in range(grad.shape[3]):
                        slope = grad[n, i, j, k] if which[n, i, j, k] == place else 0
                        out[n, 2 * i + place // 2, 2 * j + place % 2, k] = slope
