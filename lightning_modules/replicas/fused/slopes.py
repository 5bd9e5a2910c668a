"""The slopes of a pooled convolution, at its weights and at its images: only the maxima have any."""

import numpy as np

from lightning_modules.replicas.fused.convolution import compiled, inlined, permute
from lightning_modules.replicas.fused.vectors import (
    add_products,
    add_rows,
    fill,
    load,
    load_tile,
    same,
    select,
    spread,
    store,
    store_tile,
    width,
    zeros,
)

GROUP = 32  # windows or outputs whose numbers stay in the first cache


@inlined
def taps(first, column, line):
    """Nine places, three in each of three lines."""
    second, third = first + line, first + 2 * line
    return (
        first,
        first + column,
        first + 2 * column,
        second,
        second + column,
        second + 2 * column,
        third,
        third + column,
        third + 2 * column,
    )


@inlined
def bias_slope(slope, begin, windows, outputs):
    """Sum over all windows of as many channels as a row has."""
    total = zeros(slope)
    for window in range(len(windows)):
        total = total + load(slope, begin + window * outputs, total)
    return total


@inlined
def few_slope(x, start, windows, images, slope, which, begin, outputs, out):
    """The slope at weights (planes, 9, lanes) of few input channels: rows of output channels."""
    zero = zeros(out)
    for plane in range(images.planes):
        tile = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
        for number in range(4):
            place = fill(np.uint8(number), zero)
            at = start + plane * images.plane + (number >> 1) * images.line + (number & 1)
            for window in range(len(windows)):
                i = begin + window * outputs
                row = select(same(load(which, i, zero), place), load(slope, i, zero), zero)
                tile = add_products(tile, x, taps(at + windows[np.uint64(window)], 1, images.line), 0, row)
        store_tile(out, taps(9 * plane * width(zero), width(zero), 3 * width(zero)), tile)


@inlined
def weight_slope(x, start, windows, images, offsets, slope, which, begin, outputs, out):
    """The slope at weights (outputs, 9, channels): nine sums in registers, one for each tap."""
    zero, inputs = zeros(out), images.channels
    for group in range(0, len(windows), GROUP):
        end = min(len(windows), group + GROUP)
        for o in range(outputs):
            for channel in range(0, inputs, width(zero)):
                own = taps(o * 9 * inputs + channel, inputs, 3 * inputs)
                tile = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
                if group:
                    tile = load_tile(out, own, zero)
                for window in range(group, end):
                    i = begin + window * outputs + o
                    at = (
                        start + channel + windows[np.uint64(window)] + offsets[np.uint64(which[np.uint64(i)])]
                    )
                    tile = add_rows(tile, x, taps(at, inputs, images.line), spread(slope, i, zero))
                store_tile(out, own, tile)


@inlined
def input_slope(weight, windows, images, offsets, slope, which, begin, outputs, chosen, out, start):
    """The slope at images: for each place of a window, from those outputs whose maximum was there."""
    zero, inputs = zeros(out), images.channels
    for i in range(start, start + images.replica):
        out[np.uint64(i)] = 0
    for group in range(0, outputs, GROUP):
        for window in range(len(windows)):
            row = begin + window * outputs
            counts = np.uint64(0)  # how many are chosen for each of the four places, in 16 bits each
            for o in range(group, min(outputs, group + GROUP)):
                place = np.uint64(which[np.uint64(row + o)])
                bits = place * np.uint64(16)
                chosen[place * np.uint64(GROUP) + ((counts >> bits) & np.uint64(0xFFFF))] = o
                counts += np.uint64(slope[np.uint64(row + o)] != 0) << bits  # a ReLU has stopped the others
            for corner in range(4):
                many = (counts >> np.uint64(16 * corner)) & np.uint64(0xFFFF)
                at = start + windows[np.uint64(window)] + offsets[np.uint64(corner)]
                for channel in range(0, inputs, width(zero)):
                    pixels = taps(at + channel, inputs, images.line)
                    tile = load_tile(out, pixels, zero)
                    for number in range(corner * GROUP, corner * GROUP + np.int64(many)):
                        o = chosen[np.uint64(number)]
                        weights = taps(o * 9 * inputs + channel, inputs, 3 * inputs)
                        tile = add_rows(tile, weight, weights, spread(slope, row + o, zero))
                    store_tile(out, pixels, tile)


@compiled
def pooled_convolution_backward(slope, x, images, which, windows, weight, room, d_weight, d_bias, d_x):
    """The slopes of `pooled_convolution`.

    Args:
        slope: (R, images, rows, columns, outputs), flat: the slope at the output.
        x: As in `pooled_convolution`.
        images: As in `pooled_convolution`.
        which: As `pooled_convolution` wrote it.
        windows: As `pooled_convolution` wrote it.
        weight: (R, outputs, inputs, 9), flat.
        room: For the weights of a replica, in the order in which they are read or written.
        d_weight: As weight, written.
        d_bias: (R, outputs), written.
        d_x: (R, images, height, width, channels), flat, written; empty where it is not wanted.
    """
    replicas, outputs = d_bias.shape
    zero, sums, inputs = zeros(slope), d_bias.reshape(-1), images.channels * images.planes
    lanes, line = width(zero), 9 * inputs
    offsets = np.array([0, images.channels, images.line, images.line + images.channels])
    chosen = np.empty(4 * GROUP, np.int64)
    for r in range(replicas):
        first, begin, start = r * outputs, r * len(windows) * outputs, r * images.replica
        for channel in range(0, outputs, lanes):
            store(sums, first + channel, bias_slope(slope, begin + channel, windows, outputs))
            if images.channels == 1:
                few_slope(x, start, windows, images, slope, which, begin + channel, outputs, room)
                permute(room, 0, (1, lanes, line), (0, 1, lanes), d_weight, (first + channel) * line)
        if images.channels > 1:
            weight_slope(x, start, windows, images, offsets, slope, which, begin, outputs, room)
            permute(room, 0, (outputs, inputs, 9), (line, 1, inputs), d_weight, first * line)
        if len(d_x):
            permute(weight, first * line, (outputs, 9, inputs), (line, 1, 9), room, 0)
            input_slope(room, windows, images, offsets, slope, which, begin, outputs, chosen, d_x, start)
