"""A convolution and the 2x2 maxima of it, in one loop: the convolution's own outputs are never in memory.

Replicas lie apart, ``(R, images, height, width, channels)`` in a flat array, and are computed one after the
other. Images of few channels are read as they come, ``(images, R * channels, height, width)``.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from lightning_modules.replicas.fused.loops import numba_cache
from lightning_modules.replicas.fused.loops.places import square
from lightning_modules.replicas.fused.loops.vectors import (
    above,
    add_products,
    fill,
    load,
    select,
    store,
    width,
    zeros,
)

Array = NDArray[Any]

# contract: a * b + c in one rounding. Nothing else is loosened: infinities and NaNs stay what they are.
options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
compiled = numba_cache.compiled(**options)
inlined = numba.njit(**options, inline="always")


class Images(NamedTuple):
    """How images lie in a flat array: how many there are, and how far it is from one thing to the next."""

    images: int  # of one replica
    rows: int  # of 2x2 windows
    columns: int
    channels: int  # that lie side by side; so far it is from one pixel to the next
    planes: int  # 1, or as many as an image has channels that do not lie side by side
    replica: int
    image: int
    plane: int
    line: int
    side: int  # of the kernel


class Frame(NamedTuple):
    """What is put into a frame of zeros, with as many channels as fill rows, before it is convolved."""

    height: int
    width: int
    channels: int
    padding: int


@inlined
def put_into_frame(x, start, images, frame, room, begin, back):
    """Copy the images of a replica into their frames, or back out of them."""
    at = start
    for n in range(images.images):
        for i in range(frame.padding, frame.padding + frame.height):
            for j in range(frame.padding, frame.padding + frame.width):
                place = begin + n * images.image + i * images.line + j * images.channels
                for k in range(frame.channels):
                    if back:
                        x[np.uint64(at)] = room[np.uint64(place + k)]
                    else:
                        room[np.uint64(place + k)] = x[np.uint64(at)]
                    at += 1


@inlined
def find_windows(images, out):
    """Where each 2x2 window of one replica starts."""
    window = 0
    for n in range(images.images):
        for i in range(images.rows):
            for j in range(images.columns):
                out[window] = n * images.image + 2 * i * images.line + 2 * j * images.channels
                window += 1


@inlined
def column_sum(x, begin, rows, step):
    """Sum over rows that lie so many steps apart, of as many columns as a row of registers has."""
    total = zeros(x)
    for row in range(rows):
        total = total + load(x, begin + row * step, total)
    return total


@inlined
def larger(value, number, best, place):
    """The larger of two values and the place that it is from; NaN wins, so that it is seen."""
    where = above(value, best)
    return select(where, value, best), select(where, fill(np.uint8(number), best), place)


@inlined
def largest(first, second, third, fourth):
    """Maximum of a window, and its place 0..3: the first one, where several are equal."""
    best, place = larger(second, 1, first, fill(np.uint8(0), first))
    best, place = larger(third, 2, best, place)
    return larger(fourth, 3, best, place)


@inlined
def convolve(x, start, windows, images, panel, shift, out, which, begin, outputs):
    """As many channels of the output as a row has, of one replica: maxima, plus a bias.

    Eight sums stay in registers, one for each place of two windows. A row of weights is loaded once and
    multiplied with eight pixels::

                      channels of the output
                      [ w w w w w w w w w w ]   one tap, one channel of the image
        window 1  x   [ . . . . . . . . . . ]
                  x   [ . . . . . . . . . . ]
                  x   [ . . . . . . . . . . ]
                  x   [ . . . . . . . . . . ]
        window 2  x   [ . . . . . . . . . . ]
                 ...
    """
    zero, last = zeros(out), len(windows) - 1
    for one in range(0, len(windows), 2):
        two, w = min(one + 1, last), 0
        tile = (zero, zero, zero, zero, zero, zero, zero, zero)
        for plane in range(images.planes):
            for line in range(images.side):
                at = start + plane * images.plane + line * images.line
                places = square(at + windows[np.uint64(one)], images.channels, images.line) + square(
                    at + windows[np.uint64(two)], images.channels, images.line
                )
                for k in range(images.side * images.channels):
                    tile = add_products(tile, x, places, k, load(panel, w, zero))
                    w += width(zero)
        best, place = largest(tile[0], tile[1], tile[2], tile[3])
        store(out, begin + one * outputs, best + shift)
        store(which, begin + one * outputs, place)
        best, place = largest(tile[4], tile[5], tile[6], tile[7])
        store(out, begin + two * outputs, best + shift)
        store(which, begin + two * outputs, place)


@inlined
def permute(x, start, sizes, steps, out, begin):
    """Write numbers of three dimensions one after the other, that lie so many steps apart."""
    at = begin
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            row = start + i * steps[0] + j * steps[1]
            for k in range(sizes[2]):
                out[np.uint64(at)] = x[np.uint64(row + k * steps[2])]
                at += 1


@compiled
def pooled_convolution(x, images, frame, room, weight, bias, outputs, windows, panel, out, which):
    """Convolve and pool, replica by replica.

    Args:
        x: Images, flat.
        images: How they lie there, or in their frames.
        frame: What is put into frames.
        room: Zeros, for the frames of a replica and of its slope; empty where x is read as it is.
        weight: (R, outputs, inputs, side * side), flat.
        bias: (R, outputs), flat.
        outputs: Channels of the output, a row of registers or more.
        windows: (images * rows * columns,), written: where the windows of a replica start.
        panel: Room for weights in the order in which they are read, (planes, side * side, channels,
            lanes), flat.
        out: (R, images, rows, columns, outputs), flat, written.
        which: The same in uint8, written: the place of each maximum in its window.
    """
    zero, taps = zeros(out), images.side**2 * images.planes * images.channels
    lanes, own = width(zero), images.images * frame.height * frame.width * frame.channels
    find_windows(images, windows)
    for r in range(len(bias) // outputs):
        pixels, start = x, r * images.replica
        if len(room):
            put_into_frame(x, r * own, images, frame, room, 0, False)
            pixels, start = room, 0
        for group in range(0, outputs, lanes):
            channel = min(group, outputs - lanes)
            first, begin = r * outputs + channel, r * len(windows) * outputs + channel
            if images.channels == 1:
                permute(weight, first * taps, (1, taps, lanes), (0, 1, taps), panel, 0)
            else:
                permute(weight, first * taps, (9, images.channels, lanes), (1, 9, taps), panel, 0)
            shift = load(bias, first, zero)
            convolve(pixels, start, windows, images, panel, shift, out, which, begin, outputs)
