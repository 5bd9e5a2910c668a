"""Dropout's random numbers, each made of a key and its place alone.

A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state, so
a replica draws the same in whatever company, and in whatever order values are computed.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from lightning_modules.replicas.fused.loops import numba_cache

u32 = np.uint32
inlined = numba.njit(nogil=True, inline="always")


@inlined
def scramble(x: Any) -> Any:
    """Spread every input bit over all 32 (``lowbias32``: https://nullprogram.com/blog/2018/07/31/)."""
    x = u32(x ^ (x >> u32(16)))
    x = u32(x * u32(0x7FEB352D))
    x = u32(x ^ (x >> u32(15)))
    x = u32(x * u32(0x846CA68B))
    return u32(x ^ (x >> u32(16)))


@inlined
def call_key(keys: Any, replica: int, call: int) -> tuple[Any, Any]:
    """The key of one call of a dropout layer, (low, high)."""
    low = scramble(u32(keys[replica, 0] + u32(call) * u32(0x9E3779B9)))
    return low, scramble(u32(keys[replica, 1] ^ low))


@numba_cache.compiled(nogil=True)
def dropout_mask(
    keys: NDArray[np.uint32], call: int, threshold: Any, gain: Any, out: NDArray[np.floating[Any]]
) -> None:
    """What dropout multiplies by: 0 where a random 32-bit number is below the threshold, else the gain.

    Two rounds, with another half of the key before each: no two keys give parts of one sequence.

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
                chance = scramble(u32(scramble(u32(u32(m * out.shape[2] + f) ^ low)) ^ high))
                out[m, r, f] = gain if chance >= threshold else 0
