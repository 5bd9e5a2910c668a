"""CPU kernels that fuse pooling, ReLU, batch normalisation and dropout into few passes over memory.

Numba compiles these loops for the processor at hand, once; the machine code is kept on disk until this file
changes (so that all that is compiled stands in it). Their innermost loops run over channels, which lie last
in memory, so that each is a row of vector instructions. All arrays are C-contiguous and float32, float64 or
bfloat16, and all is computed in the first two. R replicas lie side by side in the channels, F each;
``calls`` are batches that are normalised apart, because a network with shared weights is called once for each
digit of a pair.

Dropout's random numbers are each made of a key and its place alone. A counter-based generator (Salmon et al.
2011, "Parallel random numbers: as easy as 1, 2, 3") has no state: the backward pass makes the forward pass's
mask again instead of keeping it, and a replica draws the same in whatever company.
"""

from typing import Any

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from lightning_modules.replicas.fused import numba_cache

Array = NDArray[Any]

u32 = np.uint32
bfloat16 = numba.types.uint16  # numba has none: arrays come as their 16 bits, the upper half of a float32

# contract: a * b + c in one rounding. Nothing else is loosened: infinities and NaNs stay what they are.
compiled = numba_cache.compiled(nogil=True, fastmath={"contract"}, error_model="numpy")
inlined = numba.njit(nogil=True)


def widen(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A bfloat16 as float32, which it is the upper half of; any other number as it is."""


def narrow(value, like):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A number as what ``like`` is: for bfloat16 rounded to nearest, ties to even."""


@overload(widen, inline="always")
def _widen(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if value == bfloat16:
        return lambda value: u32(u32(value) << u32(16)).view(np.float32)
    return lambda value: value


@overload(narrow, inline="always")
def _narrow(value, like):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if like != bfloat16:
        return lambda value, like: value

    def upper_half(value, like):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        bits = np.float32(value).view(u32)
        rounded = u32(bits + u32(0x7FFF) + ((bits >> u32(16)) & u32(1)))
        return np.uint16((rounded if value == value else u32(0x7FC00000)) >> u32(16))  # NaN stays NaN

    return upper_half


@inlined
def scramble(x: Any) -> Any:
    """Spread every input bit over all 32 (``lowbias32``: https://nullprogram.com/blog/2018/07/31/)."""
    x = u32(x ^ (x >> u32(16)))
    x = u32(x * u32(0x7FEB352D))
    x = u32(x ^ (x >> u32(15)))
    x = u32(x * u32(0x846CA68B))
    return u32(x ^ (x >> u32(16)))


@inlined
def is_kept(place: Any, low: Any, high: Any, threshold: Any) -> Any:
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
def dropout_mask(keys: Array, call: int, threshold: Any, gain: Any, out: Array) -> None:
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
                out[m, r, f] = gain if is_kept(u32(m * out.shape[2] + f), low, high, threshold) else 0


@compiled
def max_pool(x: Array, bias: Array, out: Array, which: Array) -> None:
    """Maximum of each 2x2 window, plus a bias; a rim of odd width is left out, as torch does.

    Args:
        x: (N, H, W, C).
        bias: (C,), of the convolution before: to add it to the maxima is a quarter of the work.
        out: (N, H // 2, W // 2, C), written.
        which: The same in uint8, written: 0..3, the first place of the maximum.
    """
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                for k in range(x.shape[3]):
                    best, place = widen(x[n, 2 * i, 2 * j, k]), np.uint8(0)
                    for other in range(1, 4):
                        value = widen(x[n, 2 * i + other // 2, 2 * j + other % 2, k])
                        if value > best or value != value:  # NaN wins, so that it is seen
                            best, place = value, np.uint8(other)
                    out[n, i, j, k] = best + bias[k]
                    which[n, i, j, k] = place


@compiled
def max_pool_backward(grad: Array, which: Array, out: Array, d_bias: Array) -> None:
    """The slope of `max_pool`: all of it goes to the place of the maximum.

    Args:
        grad: (N, H // 2, W // 2, C).
        which: As `max_pool` wrote it.
        out: (N, H, W, C), written; a rim of odd width must be 0 already.
        d_bias: (C,), written.
    """
    zero = grad.dtype.type(0)
    d_bias[:] = 0
    for n in range(grad.shape[0]):
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                for k in range(grad.shape[3]):
                    d_bias[k] += grad[n, i, j, k]
                for place in range(4):
                    for k in range(grad.shape[3]):
                        slope = grad[n, i, j, k] if which[n, i, j, k] == place else zero
                        out[n, 2 * i + place // 2, 2 * j + place % 2, k] = narrow(slope, out[0, 0, 0, 0])


@compiled
def statistics(
    x: Array,
    eps: float,
    mean: Array,
    inverse: Array,
    running_mean: Array,
    running_variance: Array,
    momentum: float,
) -> None:
    """Mean of ReLU(x) and one over its deviation, in every channel; and the running ones moved towards them.

    Args:
        x: (calls, M, C).
        eps: Added to the variance.
        mean: (calls, C), written.
        inverse: (calls, C), written.
        running_mean: (C,), changed, once for each call.
        running_variance: (C,), likewise; unbiased, as torch keeps it.
        momentum: Share of the new.
    """
    calls, rows, channels = x.shape
    zero = mean.dtype.type(0)
    mean[:] = 0
    inverse[:] = 0
    for c in range(calls):
        for m in range(rows):
            for k in range(channels):
                mean[c, k] += max(widen(x[c, m, k]), zero)
        for k in range(channels):
            mean[c, k] /= mean.dtype.type(rows)
        for m in range(rows):
            for k in range(channels):
                distance = max(widen(x[c, m, k]), zero) - mean[c, k]
                inverse[c, k] += distance * distance
        for k in range(channels):
            unbiased = inverse[c, k] / mean.dtype.type(rows - 1)
            running_mean[k] += momentum * (mean[c, k] - running_mean[k])
            running_variance[k] += momentum * (unbiased - running_variance[k])
            inverse[c, k] = 1 / np.sqrt(inverse[c, k] / mean.dtype.type(rows) + eps)


@compiled
def normalise(
    x: Array, scale: Array, shift: Array, keys: Array, call: int, threshold: Any, out: Array
) -> None:
    """Dropout(ReLU(x) * scale + shift): what is left of batch normalisation and dropout when all is known.

    Args:
        x: (calls, M, R, F).
        scale: (calls, R, F).
        shift: (calls, R, F).
        keys: (R, 2) uint32, of each replica's stream of dropout.
        call: Number of the first call.
        threshold: uint32, the share that is dropped times 2**32.
        out: (calls, M, R, F), written.
    """
    zero = scale.dtype.type(0)
    for c in range(x.shape[0]):
        for m in range(x.shape[1]):
            for r in range(x.shape[2]):
                low, high = call_key(keys, r, call + c)
                start = u32(m * x.shape[3])
                for f in range(x.shape[3]):
                    value = max(widen(x[c, m, r, f]), zero) * scale[c, r, f] + shift[c, r, f]
                    value = value if is_kept(u32(start + u32(f)), low, high, threshold) else zero
                    out[c, m, r, f] = narrow(value, out[0, 0, 0, 0])


@compiled
def normalise_backward(
    grad: Array,
    x: Array,
    mean: Array,
    inverse: Array,
    scale: Array,
    keys: Array,
    call: int,
    threshold: Any,
    count: Any,
    out: Array,
    sums: Array,
    products: Array,
) -> None:
    """The slope of `normalise`, also through the batch's own mean and deviation.

    With y = ReLU(x), z = (y - mean) * inverse, u = z * weight + bias, and g the slope at u: the slope at bias
    is sum g, at weight sum g z, and at y weight * inverse * (g - (sum g + z sum g z) / M).

    Args:
        grad: (calls, M, R, F), the slope at the output.
        x: As in `normalise`.
        mean: (calls, R, F), of ReLU(x).
        inverse: (calls, R, F), one over its deviation.
        scale: (calls, R, F), weight * inverse * gain, where gain is what dropout multiplies kept values by.
        keys: As in `normalise`.
        call: As in `normalise`.
        threshold: As in `normalise`.
        count: M; infinity where mean and deviation are constants, not the batch's own.
        out: (calls, M, R, F), written: the slope at x.
        sums: (calls, R, F), zeros; written: sum g / gain.
        products: (calls, R, F), zeros; written: sum g z / gain.
    """
    zero = scale.dtype.type(0)
    slopes = np.empty(x.shape[1:], scale.dtype)
    for c in range(x.shape[0]):
        for m in range(x.shape[1]):
            for r in range(x.shape[2]):
                low, high = call_key(keys, r, call + c)
                start = u32(m * x.shape[3])
                for f in range(x.shape[3]):
                    kept = is_kept(u32(start + u32(f)), low, high, threshold)
                    slope = widen(grad[c, m, r, f]) if kept else zero
                    z = (max(widen(x[c, m, r, f]), zero) - mean[c, r, f]) * inverse[c, r, f]
                    slopes[m, r, f] = slope
                    sums[c, r, f] += slope
                    products[c, r, f] += slope * z
        for m in range(x.shape[1]):
            for r in range(x.shape[2]):
                for f in range(x.shape[3]):
                    value = widen(x[c, m, r, f])
                    z = (value - mean[c, r, f]) * inverse[c, r, f]
                    slope = slopes[m, r, f] - (sums[c, r, f] + z * products[c, r, f]) / count
                    slope *= scale[c, r, f]
                    out[c, m, r, f] = narrow(slope if value > zero else zero, out[0, 0, 0, 0])
