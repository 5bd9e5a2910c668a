"""Convolutions that no pooling follows, and their slopes, by the tile of convolution.py.

What lies outside of an image is not multiplied by, so that no image is copied into a frame of zeros: of a map
of 3x3 with a padding of 1, two fifths of all products are left out.
"""

from typing import NamedTuple

from lightning_modules.replicas.fused.loops.convolution import column_sum, compiled, inlined, permute
from lightning_modules.replicas.fused.loops.places import eight
from lightning_modules.replicas.fused.loops.vectors import (
    add_products,
    load,
    load_tile,
    store,
    store_tile,
    width,
    zeros,
)

GROUP = 8  # images whose numbers stay in the first cache


class Maps(NamedTuple):
    """Sizes of the maps (images, height, width, inputs) and (images, rows, columns, outputs)."""

    replicas: int
    images: int  # of one replica
    height: int
    width: int
    inputs: int
    rows: int
    columns: int
    outputs: int
    side: int  # of the kernel
    padding: int

    def turned(self) -> "Maps":
        """Those of the convolution that gives the slope at the images."""
        sizes = self.rows, self.columns, self.outputs, self.height, self.width, self.inputs
        return Maps(self.replicas, self.images, *sizes, self.side, self.side - 1 - self.padding)


class Order(NamedTuple):
    """How far it is from one weight of a replica to the next in memory."""

    first: int  # where the first one is
    tap: int
    input: int
    output: int


@inlined
def inside(place, length, maps):
    """Which taps of an output's place meet the image: from the first to before the last."""
    return max(0, maps.padding - place), min(maps.side, length + maps.padding - place)


@inlined
def convolve_place(x, start, maps, i, j, panel, shift, out, begin):
    """One place of all images, of as many channels of the output as a row has: eight images at a time."""
    top, bottom = inside(i, maps.height, maps)
    left, right = inside(j, maps.width, maps)
    line, many = maps.width * maps.inputs, (right - left) * maps.inputs
    corner = start + (i - maps.padding + top) * line + (j - maps.padding + left) * maps.inputs
    begin += (i * maps.columns + j) * maps.outputs
    for n in range(0, maps.images, 8):
        places = eight(corner, maps.height * line, n, maps.images - 1)
        tile = (shift, shift, shift, shift, shift, shift, shift, shift)
        for row in range(bottom - top):
            w = ((top + row) * maps.side + left) * maps.inputs * width(shift)
            for k in range(row * line, row * line + many):
                tile = add_products(tile, x, places, k, load(panel, w, shift))
                w += width(shift)
        store_tile(out, eight(begin, maps.rows * maps.columns * maps.outputs, n, maps.images - 1), tile)


@compiled
def convolution(x, maps, weight, order, bias, panel, out):
    """Convolve, replica by replica.

    Args:
        x: (R, images, height, width, inputs), flat.
        maps: Its sizes; a row of registers is not longer than outputs.
        weight: Flat.
        order: How weights lie there.
        bias: (R, outputs), flat.
        panel: Room for weights in the order in which they are read, (side, side, inputs, lanes), flat.
        out: (R, images, rows, columns, outputs), flat, written.
    """
    zero, taps = zeros(out), maps.side * maps.side
    lanes = width(zero)
    for r in range(maps.replicas):
        start = r * maps.images * maps.height * maps.width * maps.inputs
        begin = r * maps.images * maps.rows * maps.columns * maps.outputs
        for group in range(0, maps.outputs, lanes):
            channel = min(group, maps.outputs - lanes)
            first = r * taps * maps.inputs * maps.outputs + order.first + channel * order.output
            sizes, steps = (taps, maps.inputs, lanes), (order.tap, order.input, order.output)
            permute(weight, first, sizes, steps, panel, 0)
            shift = load(bias, r * maps.outputs + channel, zero)
            for i in range(maps.rows):
                for j in range(maps.columns):
                    convolve_place(x, start, maps, i, j, panel, shift, out, begin + channel)


@inlined
def tap_slope(x, start, slope, begin, maps, n, down, right, room, w):
    """The slope at one tap's weights (inputs, lanes), of a group of images: eight inputs at a time."""
    zero, far = zeros(room), maps.padding
    low, high = max(0, far - down), min(maps.rows, maps.height + far - down)
    near, end = max(0, far - right), min(maps.columns, maps.width + far - right)
    for k in range(0, maps.inputs, 8):
        own = eight(w + k * width(zero), width(zero), 0, 7)
        tile = load_tile(room, own, zero)
        for image in range(n, min(n + GROUP, maps.images)):
            for i in range(low, high):
                y = begin + ((image * maps.rows + i) * maps.columns + near) * maps.outputs
                line = (image * maps.height + i + down - far) * maps.width + near + right - far
                places = eight(start + line * maps.inputs, 1, k, maps.inputs - 1)
                for step in range(end - near):
                    row = load(slope, y + step * maps.outputs, zero)
                    tile = add_products(tile, x, places, step * maps.inputs, row)
        store_tile(room, own, tile)


@compiled
def weight_slopes(slope, x, maps, room, d_weight, d_bias):
    """The slopes of `convolution` at its weights and its bias.

    Args:
        slope: (R, images, rows, columns, outputs), flat: the slope at the output.
        x: As in `convolution`.
        maps: As in `convolution`.
        room: For (side, side, inputs, lanes), inputs filled up to a multiple of 8, flat.
        d_weight: (R, outputs, inputs, side * side), flat, written.
        d_bias: (R, outputs), flat, written.
    """
    zero, taps, pixels = zeros(room), maps.side * maps.side, maps.images * maps.rows * maps.columns
    lanes, depth = width(zero), (maps.inputs + 7) // 8 * 8 * width(zero)
    for r in range(maps.replicas):
        start = r * maps.images * maps.height * maps.width * maps.inputs
        for group in range(0, maps.outputs, lanes):
            channel = min(group, maps.outputs - lanes)
            begin = r * pixels * maps.outputs + channel
            store(d_bias, r * maps.outputs + channel, column_sum(slope, begin, pixels, maps.outputs))
            for i in range(len(room)):
                room[i] = 0
            for n in range(0, maps.images, GROUP):
                for tap in range(taps):
                    down, right = tap // maps.side, tap % maps.side
                    tap_slope(x, start, slope, begin, maps, n, down, right, room, tap * depth)
            first = (r * maps.outputs + channel) * maps.inputs * taps
            permute(room, 0, (lanes, maps.inputs, taps), (1, lanes, depth), d_weight, first)
