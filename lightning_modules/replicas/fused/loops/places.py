"""Where the rows of a tile lie in a flat array: tuples of places.

Each is made of LLVM's instructions. Written in Python, a tuple of nine sums would be inlined and typed sum by
sum wherever it is used, and the loops would take longer to compile.
"""

from numba.core import cgutils, types

from lightning_modules.replicas.fused.loops.vectors import intrinsic


def _grid(side):
    """The type and the code of side * side places."""

    def generate(context, builder, signature, arguments):
        first, column, line = arguments
        places = []
        for number in range(side * side):
            down, right = (cgutils.intp_t(steps) for steps in divmod(number, side))
            row = builder.add(first, builder.mul(line, down))
            places.append(builder.add(row, builder.mul(column, right)))
        return cgutils.pack_array(builder, places)

    return types.UniTuple(types.intp, side * side)(types.intp, types.intp, types.intp), generate


@intrinsic
def square(typing, first, column, line):
    """Four places, two in each of two lines."""
    return _grid(2)


@intrinsic
def taps(typing, first, column, line):
    """Nine places, three in each of three lines."""
    return _grid(3)


@intrinsic
def nine(typing, first, side, line):
    """Nine taps of a kernel of so many columns, from a number on, as places in an image."""

    def generate(context, builder, signature, arguments):
        first, side, line = arguments
        places = []
        for number in range(9):
            tap = builder.add(first, cgutils.intp_t(number))
            row, column = builder.udiv(tap, side), builder.urem(tap, side)
            places.append(builder.add(builder.mul(row, line), column))
        return cgutils.pack_array(builder, places)

    return types.UniTuple(types.intp, 9)(types.intp, types.intp, types.intp), generate


@intrinsic
def eight(typing, first, step, number, last):
    """Eight places from a number on, so many steps apart; none is after the last."""

    def generate(context, builder, signature, arguments):
        first, step, number, last = arguments
        places = []
        for ahead in range(8):
            own = builder.add(number, cgutils.intp_t(ahead))
            own = builder.select(builder.icmp_signed("<", own, last), own, last)
            places.append(builder.add(first, builder.mul(step, own)))
        return cgutils.pack_array(builder, places)

    return types.UniTuple(types.intp, 8)(types.intp, types.intp, types.intp, types.intp), generate
