"""The slopes of a pooled convolution, at its weights and at its images: only the maxima have any."""

import numpy as np

from lightning_modules.replicas.fused.loops.convolution import (
    column_sum,
    compiled,
    inlined,
    permute,
    put_into_frame,
)
from lightning_modules.replicas.fused.loops.places import nine, taps
from lightning_modules.replicas.fused.loops.vectors import (
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
def corner(place, images):
    """How far the place of a maximum, 0..3, is from the first one of its window."""
    return (place & 1) * images.channels + (place >> 1) * images.line


@inlined
def few_slope(x, start, windows, images, slope, which, begin, outputs, out, channel):
    """The slope at weights (planes, side * side, outputs) of few input channels: rows of output channels.

    Nine taps have their sums in registers. Of 5x5 taps the ninth and the seventeenth are summed twice.
    """
    zero, many = zeros(out), images.side**2
    for number in range(0, images.planes * (many - 1), 8):
        plane, first = number // (many - 1), number % (many - 1)
        tile = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
        places = nine(first, images.side, images.line)
        for place in range(4):
            chosen = fill(np.uint8(place), zero)
            at = start + plane * images.plane + corner(place, images)
            for window in range(len(windows)):
                i = begin + window * outputs
                row = select(same(load(which, i, zero), chosen), load(slope, i, zero), zero)
                tile = add_products(tile, x, places, at + windows[np.uint64(window)], row)
        w = (plane * many + first) * outputs + channel
        store_tile(out, taps(w, outputs, 3 * outputs), tile)


@inlined
def weight_slope(x, start, windows, images, slope, which, begin, outputs, out):
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
                    at = start + channel + windows[np.uint64(window)]
                    at += corner(np.int64(which[np.uint64(i)]), images)
                    tile = add_rows(tile, x, taps(at, inputs, images.line), spread(slope, i, zero))
                store_tile(out, own, tile)


@inlined
def input_slope(weight, windows, images, slope, which, begin, outputs, chosen, out, start):
    """The slope at images: for each place of a window, from those outputs whose maximum was there."""
    zero, inputs = zeros(out), images.channels
    for i in range(start, start + images.replica):
        out[np.uint64(i)] = 0
    for group in range(0, outputs, GROUP):
        for window in range(len(windows)):
            row = begin + window * outputs
            counts = np.uint64(0)  # how many are chosen for each of the four places, in 16 bits each
            for o in range(group, min(outputs, group + GROUP)):
                own = np.uint64(which[np.uint64(row + o)])
                bits = own * np.uint64(16)
                chosen[own * np.uint64(GROUP) + ((counts >> bits) & np.uint64(0xFFFF))] = o
                counts += np.uint64(slope[np.uint64(row + o)] != 0) << bits  # a ReLU has stopped the others
            for place in range(4):
                many = np.int64((counts >> np.uint64(16 * place)) & np.uint64(0xFFFF))
                at = start + windows[np.uint64(window)] + corner(place, images)
                for channel in range(0, inputs, width(zero)):
                    pixels = taps(at + channel, inputs, images.line)
                    tile = load_tile(out, pixels, zero)
                    for number in range(place * GROUP, place * GROUP + many):
                        o = chosen[np.uint64(number)]
                        weights = taps(o * 9 * inputs + channel, inputs, 3 * inputs)
                        tile = add_rows(tile, weight, weights, spread(slope, row + o, zero))
                    store_tile(out, pixels, tile)


@compiled
def pooled_convolution_backward(
    slope, x, images, frame, framed, which, windows, weight, outputs, chosen, room, d_weight, d_bias, d_x
):
    """The slopes of `pooled_convolution`.

    Args:
        slope: (R, images, rows, columns, outputs), flat: the slope at the output.
        x: As in `pooled_convolution`.
        images: As in `pooled_convolution`.
        frame: As in `pooled_convolution`.
        framed: As `room` in `pooled_convolution`.
        which: As `pooled_convolution` wrote it.
        windows: As `pooled_convolution` wrote it.
        weight: (R, outputs, inputs, 9), flat.
        outputs: Channels of the output.
        chosen: (4 * GROUP,), room for numbers of outputs.
        room: For the weights of a replica, in the order in which they are read or written.
        d_weight: As weight, written.
        d_bias: (R, outputs), flat, written.
        d_x: As x, flat, written; empty where it is not wanted.
    """
    zero, inputs = zeros(slope), images.channels * images.planes
    lanes, line = width(zero), images.side**2 * inputs
    own = images.images * frame.height * frame.width * frame.channels
    for r in range(len(d_bias) // outputs):
        first, begin, start = r * outputs, r * len(windows) * outputs, r * images.replica
        pixels, d_pixels, d_start = x, d_x, start
        if len(framed):
            put_into_frame(x, r * own, images, frame, framed, 0, False)
            pixels, d_pixels, start, d_start = framed, framed, 0, images.replica
        for group in range(0, outputs, lanes):
            channel = min(group, outputs - lanes)
            store(d_bias, first + channel, column_sum(slope, begin + channel, len(windows), outputs))
            if images.channels == 1:
                few_slope(
                    pixels, start, windows, images, slope, which, begin + channel, outputs, room, channel
                )
        sizes, steps = (1, outputs, line), (0, 1, outputs)
        if images.channels > 1:
            weight_slope(pixels, start, windows, images, slope, which, begin, outputs, room)
            sizes, steps = (outputs, inputs, 9), (line, 1, inputs)
        permute(room, 0, sizes, steps, d_weight, first * line)
        if len(d_x):
            permute(weight, first * line, (outputs, 9, inputs), (line, 1, 9), room, 0)
            input_slope(room, windows, images, slope, which, begin, outputs, chosen, d_pixels, d_start)
            if len(framed):
                put_into_frame(d_x, r * own, images, frame, framed, d_start, True)
