"""bfloat16 for numba, which has none: arrays come as their 16 bits, which are the upper half of a float32."""

import numba
import numpy as np
from numba.extending import overload

u32 = np.uint32
bfloat16 = numba.types.uint16


def widen(value):
    """A bfloat16 as float32, which it is the upper half of; any other number as it is."""


def narrow(value, like):
    """A number as what ``like`` is: for bfloat16 rounded to nearest, ties to even."""


@overload(widen, inline="always")
def _widen(value):
    if value == bfloat16:
        return lambda value: u32(u32(value) << u32(16)).view(np.float32)
    return lambda value: value


@overload(narrow, inline="always")
def _narrow(value, like):
    if like != bfloat16:
        return lambda value, like: value

    def upper_half(value, like):
        bits = np.float32(value).view(u32)
        rounded = u32(bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1)))
        return np.uint16((rounded if value == value else u32(0x7FC00000)) >> u32(16))  # NaN stays NaN

    return upper_half
