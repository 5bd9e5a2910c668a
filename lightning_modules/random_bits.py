"""Dropout's random numbers, each made of a key and its place alone.

A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state:
the backward pass makes the forward pass's mask again instead of keeping it, numbers come in rows of vector
instructions, and a replica draws the same in whatever company.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

u32 = np.uint32

# contract: a * b + c in one rounding. Nothing else is loosened: infinities and NaNs stay what they are.
compiled = numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy", cache=True)
inlined = numba.njit(nogil=True)


@inlined
def scramble(x: Any) -> Any:
    """Spread every input bit over all 32 (``lowbias32``: https://nullprogram.com/blog/2018/07/31/)."""
    x = u32(x ^ (x >> u32(16)))
    x = u32(x * u32(0x7FEB352D))
    x = u32(x ^ (x >> u32(15)))
    x = u32(x * u32(0x846CA68B))
    return u32(x ^ (x >> u32(16)))


@inlined
def keep(place: Any, low: Any, high: Any, threshold: Any) -> Any:
    """Whether dropout keeps the value at a place: a random 32-bit number is not below the threshold.

    Two rounds, with another half of the key before each: no two keys give parts of one sequence.
    """
    return scramble(u32(scramble(u32(place ^ low)) ^ high)) >= threshold


@inlined
def call_key(keys: Array, replica: int, call: int) -> tuple[Any, Any]:
    """The key of one call of a layer, (low, high)."""
    low = scramble(u32(keys[replica, 0] + u32(call) * u32(0x9E3779B9)))
    return low, scramble(u32(keys[replica, 1] ^ low))


@compiled
def keep_mask(keys: Array, call: int, threshold: Any, gain: Any, out: Array) -> None:
    """The mask by itself: what `normalise` multiplies by, 0 or the gain.

    Args:
        keys: (R, 2) uint32.
        call: Number of the call.
        threshold: uint32.
        gain: What kept values are multiplied by.
        out: (M, R, F), written.
    """
    for m in range(out.shape[0]):
        for r in range(out.shape[1]):
            low, high = call_key(keys, r, call)
            for f in range(out.shape[2]):
                out[m, r, f] = gain if keep(u32(m * out.shape[2] + f), low, high, threshold) else 0
