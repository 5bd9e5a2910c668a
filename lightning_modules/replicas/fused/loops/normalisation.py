"""ReLU, batch normalisation, ReLU and dropout in two passes over memory, and their slopes in two.

Either ReLU may be missing: its floor, below which nothing goes, is 0 or minus infinity.

Replicas lie apart: (R, calls, rows, channels) in a flat array. ``calls`` are batches that are normalised
apart, because a network with shared weights is called once for each digit of a pair.
"""

from typing import NamedTuple

import numpy as np

from lightning_modules.replicas.fused.loops.convolution import Array, compiled, inlined
from lightning_modules.replicas.fused.loops.random_bits import call_key
from lightning_modules.replicas.fused.loops.vectors import (
    above,
    count,
    fill,
    fma,
    load,
    passes,
    same,
    select,
    store,
    width,
    zeros,
)

u32 = np.uint32
ROUNDED = 2.0**-30  # square of the share of the deviation by which a mean may be off


class Batches(NamedTuple):
    """How many numbers there are."""

    replicas: int
    calls: int
    rows: int
    channels: int
    room: int  # of the channels in memory, at least a row
    height: int  # of an image, where rows are to be pooled
    width: int


class Layer(NamedTuple):
    """What a layer of batch normalisation holds, of R * channels."""

    weight: Array
    bias: Array
    running_mean: Array
    running_variance: Array
    momentum: float  # share of the new in the running statistics
    eps: float  # added to the variance
    training: bool  # whether to normalise by the batch's own statistics
    floors: tuple[float, float]  # of what is normalised, and of what comes out


class Moments(NamedTuple):
    """How values are normalised, (R, calls, room), flat: ``max(x, floor) * scale + shift``."""

    mean: Array  # of max(x, floor)
    inverse: Array  # one over its deviation
    scale: Array  # weight * inverse * what dropout multiplies kept values by
    shift: Array


class Stream(NamedTuple):
    """Dropout's random numbers."""

    keys: Array  # (R, 2) uint32
    call: int  # number of the first call
    threshold: np.uint32  # the share that is dropped, times 2**32
    gain: float  # what kept values are multiplied by


@inlined
def clip(x, floor):
    """The larger of x and a floor; NaN stays."""
    return select(passes(x, floor), x, floor)


@inlined
def scramble_row(x):
    """As random_bits.py does to a number."""
    x = x ^ (x >> fill(u32(16), x))
    x = x * fill(u32(0x7FEB352D), x)
    x = x ^ (x >> fill(u32(15), x))
    x = x * fill(u32(0x846CA68B), x)
    return x ^ (x >> fill(u32(16), x))


@inlined
def statistics(x, begin, size, channel, floor, moments, first):
    """Mean and variance of max(x, floor), of as many channels as a row has; `inverse` holds the variance.

    A sum of many numbers far from 0 is rounded far. Where the mean is off by more than a share of the
    deviation, what is left of the distances from it is taken into account.
    """
    kind, zero = moments.mean.dtype.type, zeros(moments.mean)
    share, total, floor = fill(kind(1) / kind(size.rows), zero), zero, fill(kind(floor), zero)
    for m in range(size.rows):
        total = total + clip(load(x, begin + m * size.room + channel, zero), floor)
    centre, total, rest = total * share, zero, zero
    for m in range(size.rows):
        distance = clip(load(x, begin + m * size.room + channel, zero), floor) - centre
        total, rest = fma(distance, distance, total), rest + distance
    variance, rest = total * share, rest * share
    fine = above(variance * fill(kind(ROUNDED), zero), rest * rest)
    store(moments.mean, first + channel, select(fine, centre, centre + rest))
    store(moments.inverse, first + channel, select(fine, variance, clip(variance - rest * rest, zero)))


@inlined
def find_scale(layer, own, size, gain, moments, first):
    """Scale and shift of each channel; in training the running statistics are moved."""
    kind, rows = moments.mean.dtype.type, size.rows
    for c in range(first + size.channels, first + size.room):  # what fills them up to a row has no slope
        moments.mean[c], moments.inverse[c], moments.scale[c], moments.shift[c] = (
            kind(0),
            kind(0),
            kind(0),
            kind(0),
        )
    for c in range(size.channels):
        mean, variance = layer.running_mean[own + c], layer.running_variance[own + c]
        if layer.training:
            new_mean, new_variance = moments.mean[first + c], moments.inverse[first + c]
            unbiased = new_variance * kind(rows) / kind(rows - 1)  # as torch keeps it
            layer.running_mean[own + c] = mean + layer.momentum * (new_mean - mean)
            layer.running_variance[own + c] = variance + layer.momentum * (unbiased - variance)
            mean, variance = new_mean, new_variance
        inverse = 1 / np.sqrt(variance + kind(layer.eps))
        scale = inverse * layer.weight[own + c] * kind(gain)
        moments.mean[first + c], moments.inverse[first + c] = mean, inverse
        moments.scale[first + c] = scale
        moments.shift[first + c] = layer.bias[own + c] * kind(gain) - mean * scale


@inlined
def drop(x, begin, size, channel, floors, moments, first, key, threshold, out, kept):
    """What comes out, of as many channels as a row has, and which of it has a slope."""
    zero, kind = zeros(out), out.dtype.type
    floor, lowest = fill(kind(floors[0]), zero), fill(kind(floors[1]), zero)
    no, yes = fill(np.uint8(0), zero), fill(np.uint8(1), zero)
    low, high, limit = fill(key[0], zero), fill(key[1], zero), fill(threshold, zero)
    scale, shift = load(moments.scale, first + channel, zero), load(moments.shift, first + channel, zero)
    place, step = count(zero) + fill(u32(channel), zero), fill(u32(size.channels), zero)
    inside = above(step, place)  # the rest fills channels up to a row
    for m in range(size.rows):
        i = begin + m * size.room + channel
        value = select(inside, fma(clip(load(x, i, zero), floor), scale, shift), zero)
        rises = select(passes(value, lowest), yes, no)
        value = clip(value, lowest)
        if threshold:
            dropped = above(limit, scramble_row(scramble_row(place ^ low) ^ high))
            value, rises = select(dropped, zero, value), select(dropped, no, rises)
        store(out, i, value)
        store(kept, i, rises)
        place = place + step


@compiled
def normalise(x, size, layer, stream, moments, out, kept):
    """Dropout(ReLU(BatchNorm(ReLU(x)))).

    Args:
        x: (R, calls, rows, room), flat.
        size: How many numbers these are.
        layer: Its running statistics are changed in training, once for each call.
        stream: Dropout's.
        moments: Written.
        out: As x, written.
        kept: As x, in uint8, written: 0 where a value was dropped, or stopped by the second ReLU.
    """
    lanes, floors = width(zeros(out)), layer.floors
    for r in range(size.replicas):
        for c in range(size.calls):
            first = (r * size.calls + c) * size.room
            begin, last = first * size.rows, size.room - lanes
            if layer.training:
                for group in range(0, size.room, lanes):
                    statistics(x, begin, size, min(group, last), floors[0], moments, first)
            find_scale(layer, r * size.channels, size, stream.gain, moments, first)
            key = call_key(stream.keys, r, stream.call + c)
            for group in range(0, size.room, lanes):
                channel = min(group, last)
                drop(x, begin, size, channel, floors, moments, first, key, stream.threshold, out, kept)


@compiled
def normalise_backward(grad, x, kept, size, moments, floor, share, gain, out, d_bias, d_weight):
    """The slope of `normalise`, in training also through the batch's own mean and deviation.

    With y = max(x, floor), z = (y - mean) * inverse, u = z * weight + bias, and g the slope at u: that at
    bias is sum g, at weight sum g z, at y weight * inverse * (g - (sum g + z sum g z) / rows).

    Args:
        grad: (R, calls, rows, room), flat: the slope at the output.
        x: As in `normalise`.
        kept: As `normalise` wrote it.
        size: How many numbers these are.
        moments: As `normalise` wrote it.
        floor: Of what is normalised.
        share: 1 / rows; 0 where mean and deviation are constants, not the batch's own.
        gain: What kept values were multiplied by.
        out: As x, written: the slope at x.
        d_bias: (R, room), flat, written.
        d_weight: Likewise.
    """
    zero = zeros(out)
    lanes, none, part = width(zero), fill(np.uint8(0), zero), fill(share, zero)
    factor, last = fill(out.dtype.type(gain), zero), size.room - width(zero)
    floor = fill(out.dtype.type(floor), zero)
    for r in range(size.replicas):
        for group in range(0, size.room, lanes):
            channel = min(group, last)
            all_totals, all_products = zero, zero
            for call in range(r * size.calls, (r + 1) * size.calls):
                first, begin = call * size.room + channel, call * size.room * size.rows + channel
                centre, inverse = load(moments.mean, first, zero), load(moments.inverse, first, zero)
                total, product = zero, zero
                for m in range(size.rows):
                    i = begin + m * size.room
                    slope = select(same(load(kept, i, zero), none), zero, load(grad, i, zero))
                    total = total + slope
                    product = fma(slope, clip(load(x, i, zero), floor) - centre, product)
                product = product * inverse
                all_totals, all_products = all_totals + total, all_products + product
                total, product = total * part, product * part * inverse
                scale = load(moments.scale, first, zero)
                for m in range(size.rows):
                    i = begin + m * size.room
                    slope = select(same(load(kept, i, zero), none), zero, load(grad, i, zero))
                    value = load(x, i, zero)
                    slope = slope - fma(value - centre, product, total)
                    store(out, i, select(passes(value, floor), slope * scale, zero))
            store(d_bias, r * size.room + channel, all_totals * factor)
            store(d_weight, r * size.room + channel, all_products * factor)
