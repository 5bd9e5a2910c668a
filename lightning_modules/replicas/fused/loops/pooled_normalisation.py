"""Batch normalisation and the 2x2 pooling after it, with what `normalise` has besides.

The normalised images are never in memory, and of their slopes only what the batch's statistics give is not 0
away from the maxima. Images lie as for `normalise`; rows are those of all images of a call.
"""

import numpy as np

from lightning_modules.replicas.fused.loops.convolution import compiled, inlined, largest
from lightning_modules.replicas.fused.loops.normalisation import (
    clip,
    find_scale,
    scramble_row,
    statistics,
)
from lightning_modules.replicas.fused.loops.places import square
from lightning_modules.replicas.fused.loops.random_bits import call_key
from lightning_modules.replicas.fused.loops.vectors import (
    above,
    count,
    fill,
    fma,
    load,
    load_tile,
    passes,
    same,
    select,
    store,
    width,
    zeros,
)

u8, u32 = np.uint8, np.uint32
NONE = u8(4)  # in place of the place of a maximum that was dropped, or stopped by the second ReLU


@inlined
def pool(x, begin, size, channel, floors, moments, first, key, threshold, out, start, kept):
    """The maxima, of as many channels as a row has, and their places."""
    zero, kind = zeros(out), out.dtype.type
    floor, lowest = fill(kind(floors[0]), zero), fill(kind(floors[1]), zero)
    low, high, limit = fill(key[0], zero), fill(key[1], zero), fill(threshold, zero)
    scale, shift = load(moments.scale, first + channel, zero), load(moments.shift, first + channel, zero)
    number, step = count(zero) + fill(u32(channel), zero), fill(u32(size.channels), zero)
    inside, none = above(step, number), fill(NONE, zero)  # the rest fills channels up to a row
    to = start + channel
    for line in range(size.rows // size.width // size.height * (size.height // 2)):
        image, i = divmod(line, size.height // 2)
        for j in range(size.width // 2):
            row = (image * size.height + 2 * i) * size.width + 2 * j
            corner = begin + row * size.room + channel
            a, b, c, d = load_tile(x, square(corner, size.room, size.width * size.room), zero)
            value, place = largest(
                fma(clip(a, floor), scale, shift),
                fma(clip(b, floor), scale, shift),
                fma(clip(c, floor), scale, shift),
                fma(clip(d, floor), scale, shift),
            )
            value = select(inside, value, zero)
            place, value = select(passes(value, lowest), place, none), clip(value, lowest)
            if threshold:
                dropped = above(limit, scramble_row(scramble_row(number ^ low) ^ high))
                value, place = select(dropped, zero, value), select(dropped, none, place)
            store(out, to, value)
            store(kept, to, place)
            to, number = to + size.room, number + step


@compiled
def normalise_and_pool(x, size, layer, stream, moments, out, kept):
    """Dropout(MaxPool(ReLU(BatchNorm(ReLU(x))))).

    Args:
        x: (R, calls, rows, room), flat; rows are images, their lines and their columns.
        size: How many numbers these are.
        layer: As of `normalise`.
        stream: Likewise.
        moments: Likewise.
        out: As x, with half as many lines and columns, written.
        kept: As `out`, in uint8, written: 0..3, the place of the maximum; 4 where nothing goes on.
    """
    lanes, floors = width(zeros(out)), layer.floors
    pooled = size.rows // size.width // size.height * (size.height // 2) * (size.width // 2)
    for r in range(size.replicas):
        for c in range(size.calls):
            call = r * size.calls + c
            first, begin, last = call * size.room, call * size.room * size.rows, size.room - lanes
            if layer.training:
                for group in range(0, size.room, lanes):
                    statistics(x, begin, size, min(group, last), floors[0], moments, first)
            find_scale(layer, r * size.channels, size, stream.gain, moments, first)
            key, start = call_key(stream.keys, r, stream.call + c), call * size.room * pooled
            for group in range(0, size.room, lanes):
                channel = min(group, last)
                pool(x, begin, size, channel, floors, moments, first, key, stream.threshold, out, start, kept)


@inlined
def spread_slope(x, value, slope, at, normed, floor, out):
    """The slope at one number of x."""
    centre, product, total, scale = normed
    slope = slope - fma(value - centre, product, total)
    store(out, at, select(passes(value, floor), slope * scale, zeros(out)))


@inlined
def totals(grad, x, kept, size, call, channel, centre, floor):
    """Sums over a call of the slopes at the maxima, and of their products with what is normalised."""
    zero = zeros(grad)
    total, product = zero, zero
    lines, columns = size.height // 2, size.width // 2
    images = size.rows // size.width // size.height
    start = call * images * lines * columns * size.room + channel
    for line in range(images * lines):
        image, i = divmod(line, lines)
        corner = ((call * images + image) * size.height + 2 * i) * size.width * size.room + channel
        for _ in range(columns):
            place = load(kept, start, zero)
            a, b, c, d = load_tile(x, square(corner, size.room, size.width * size.room), zero)
            slope = select(same(place, fill(NONE, zero)), zero, load(grad, start, zero))
            value = select(same(place, fill(u8(1), zero)), b, a)
            value = select(same(place, fill(u8(2), zero)), c, value)
            value = select(same(place, fill(u8(3), zero)), d, value)
            total = total + slope
            product = fma(slope, clip(value, floor) - centre, product)
            start, corner = start + size.room, corner + 2 * size.room
    return total, product


@inlined
def spread(grad, x, kept, size, call, channel, normed, floor, out):
    """The slopes at all numbers of a call."""
    zero = zeros(grad)
    lines, columns = size.height // 2, size.width // 2
    images = size.rows // size.width // size.height
    start = call * images * lines * columns * size.room + channel
    at = call * size.rows * size.room + channel
    for _ in range(images):
        for i in range(size.height):
            for j in range(size.width):
                slope = zero
                if i < 2 * lines and j < 2 * columns:
                    source = start + (i // 2 * columns + j // 2) * size.room
                    own = fill(u8(i % 2 * 2 + j % 2), zero)
                    slope = select(same(load(kept, source, zero), own), load(grad, source, zero), zero)
                spread_slope(x, load(x, at, zero), slope, at, normed, floor, out)
                at += size.room
        start += lines * columns * size.room


@compiled
def normalise_and_pool_backward(grad, x, kept, size, moments, floor, share, gain, out, d_bias, d_weight):
    """The slope of `normalise_and_pool`: that of `normalise`, whose slopes are those of the maxima.

    `grad` and `kept` are as `out` of `normalise_and_pool`; other arguments are those of `normalise_backward`.
    """
    zero = zeros(out)
    lanes, part, last = width(zero), fill(share, zero), size.room - width(zero)
    factor, floor = fill(out.dtype.type(gain), zero), fill(out.dtype.type(floor), zero)
    for r in range(size.replicas):
        for group in range(0, size.room, lanes):
            channel = min(group, last)
            all_totals, all_products = zero, zero
            for call in range(r * size.calls, (r + 1) * size.calls):
                first = call * size.room + channel
                centre, inverse = load(moments.mean, first, zero), load(moments.inverse, first, zero)
                total, product = totals(grad, x, kept, size, call, channel, centre, floor)
                product = product * inverse
                all_totals, all_products = all_totals + total, all_products + product
                scale = load(moments.scale, first, zero)
                normed = centre, product * part * inverse, total * part, scale
                spread(grad, x, kept, size, call, channel, normed, floor, out)
            store(d_bias, r * size.room + channel, all_totals * factor)
            store(d_weight, r * size.room + channel, all_products * factor)
