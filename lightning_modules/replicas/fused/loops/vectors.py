"""Rows of numbers in registers: LLVM's vectors as a type of numba's, and tiles, which are tuples of rows.

Numba by itself keeps the sums of a convolution in memory and multiplies at a quarter of the processor's rate.
A row is as many numbers as leave room for the eight or nine sums of a tile: two registers of AVX-512, one of
AVX2, two of NEON. `zeros` makes the first row of a kernel; others take their number of lanes from a row that
is there (``like``). ``+ - * ^ >>`` work on rows as they do on numbers. Indices are those of flat arrays. They
are not checked and must not be negative: whoever calls a loop checks shapes before.
"""

import operator
from typing import Any

import numba.extending
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from lightning_modules.replicas.fused.support import cpu_features

intrinsic: Any = numba.extending.intrinsic  # whose annotations do not know what a kernel calls

# Two registers of AVX-512, one of AVX2, two of NEON.
ROW_BITS = 1024 if "+avx512f" in cpu_features() else 256


class Row(types.Type):
    """So many numbers of one type."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Row({dtype}, {lanes})")


@register_model(Row)
class RowModel(models.PrimitiveModel):
    """A row is a vector of LLVM's."""

    def __init__(self, manager: Any, row: Row) -> None:
        item = ir.IntType(1) if row.dtype == types.boolean else manager.lookup(row.dtype).get_value_type()
        super().__init__(manager, row, ir.VectorType(item, row.lanes))


def _pointer(context, builder, array, value, index, kind):
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _load(context, builder, array, value, index, kind):
    pointer = _pointer(context, builder, array, value, index, kind)
    return builder.load(pointer, align=array.dtype.bitwidth // 8)


def _store(context, builder, array, value, index, row):
    pointer = _pointer(context, builder, array, value, index, row.type)
    builder.store(row, pointer, align=array.dtype.bitwidth // 8)


def _spread(builder, value, kind):
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
    )


def _fma(builder, x, y, z):
    kind = z.type
    name = f"llvm.fma.v{kind.count}f{32 if kind.element == ir.FloatType() else 64}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [x, y, z])


@intrinsic
def zeros(typing, array):
    """A row of zeros of an array's type."""
    row = Row(array.dtype, ROW_BITS // array.dtype.bitwidth)
    return row(array), lambda context, builder, signature, arguments: ir.Constant(
        context.get_value_type(row), None
    )


@intrinsic
def width(typing, like):
    """The number of lanes."""
    return types.intp(like), lambda context, builder, signature, arguments: context.get_constant(
        types.intp, like.lanes
    )


@intrinsic
def load(typing, array, index, like):
    """``array[index : index + lanes]``."""
    row = Row(array.dtype, like.lanes)

    def generate(context, builder, signature, arguments):
        return _load(context, builder, array, arguments[0], arguments[1], context.get_value_type(row))

    return row(array, types.intp, like), generate


@intrinsic
def store(typing, array, index, row):
    """``array[index : index + lanes] = row``."""

    def generate(context, builder, signature, arguments):
        _store(context, builder, array, *arguments)
        return context.get_dummy_value()

    return types.void(array, types.intp, row), generate


@intrinsic
def fill(typing, value, like):
    """A number in each lane."""
    row = Row(types.unliteral(value), like.lanes)

    def generate(context, builder, signature, arguments):
        return _spread(builder, arguments[0], context.get_value_type(row))

    return row(row.dtype, like), generate


@intrinsic
def spread(typing, array, index, like):
    """``array[index]`` in each lane."""
    row = Row(array.dtype, like.lanes)

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(row)
        return _spread(
            builder, _load(context, builder, array, arguments[0], arguments[1], kind.element), kind
        )

    return row(array, types.intp, like), generate


@intrinsic
def count(typing, like):
    """0, 1, 2, ... as 32-bit integers."""
    row = Row(types.uint32, like.lanes)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(row), list(range(row.lanes)))

    return row(like), generate


@intrinsic
def fma(typing, x, y, z):
    """``x * y + z``, rounded once."""
    return z(z, z, z), lambda context, builder, signature, arguments: _fma(builder, *arguments)


@intrinsic
def above(typing, x, y):
    """Where x > y, or x is not a number."""

    def generate(context, builder, signature, arguments):
        x, y = arguments
        if isinstance(signature.args[0].dtype, types.Float):
            return builder.or_(builder.fcmp_ordered(">", x, y), builder.fcmp_unordered("uno", x, x))
        return builder.icmp_unsigned(">", x, y)

    return Row(types.boolean, x.lanes)(x, y), generate


@intrinsic
def passes(typing, x, y):
    """Where x > y, or one of them is not a number: one comparison, where `above` of floats takes two."""
    where = Row(types.boolean, x.lanes)
    return where(x, y), lambda context, builder, signature, arguments: builder.fcmp_unordered(">", *arguments)


@intrinsic
def same(typing, x, y):
    """Where rows of integers are equal."""
    where = Row(types.boolean, x.lanes)
    return where(x, y), lambda context, builder, signature, arguments: builder.icmp_unsigned("==", *arguments)


@intrinsic
def select(typing, where, x, y):
    """Numbers of x where it is so, else of y."""
    return x(where, x, x), lambda context, builder, signature, arguments: builder.select(*arguments)


@intrinsic
def load_tile(typing, array, places, like):
    """A row of the array from each place."""
    row = Row(array.dtype, like.lanes)

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(row)
        starts = cgutils.unpack_tuple(builder, arguments[1])
        rows = [_load(context, builder, array, arguments[0], start, kind) for start in starts]
        return cgutils.pack_array(builder, rows)

    return types.UniTuple(row, places.count)(array, places, like), generate


@intrinsic
def store_tile(typing, array, places, tile):
    """Rows of a tile to as many places."""

    def generate(context, builder, signature, arguments):
        value, starts, rows = arguments[0], *(cgutils.unpack_tuple(builder, one) for one in arguments[1:])
        for start, row in zip(starts, rows, strict=True):
            _store(context, builder, array, value, start, row)
        return context.get_dummy_value()

    return types.void(array, places, tile), generate


@intrinsic
def add_products(typing, tile, array, places, offset, row):
    """To each row of a tile add ``array[place + offset] * row``."""

    def generate(context, builder, signature, arguments):
        sums, starts = (cgutils.unpack_tuple(builder, arguments[number]) for number in (0, 2))
        _, value, _, shift, factors = arguments
        for number, start in enumerate(starts):
            kind = factors.type
            item = _load(context, builder, array, value, builder.add(start, shift), kind.element)
            sums[number] = _fma(builder, _spread(builder, item, kind), factors, sums[number])
        return cgutils.pack_array(builder, sums)

    return tile(tile, array, places, types.intp, row), generate


@intrinsic
def add_rows(typing, tile, array, places, factor):
    """To each row of a tile add ``array[place : place + lanes] * factor``, a row too."""

    def generate(context, builder, signature, arguments):
        sums, starts = (cgutils.unpack_tuple(builder, arguments[number]) for number in (0, 2))
        for number, start in enumerate(starts):
            row = _load(context, builder, array, arguments[1], start, arguments[3].type)
            sums[number] = _fma(builder, row, arguments[3], sums[number])
        return cgutils.pack_array(builder, sums)

    return tile(tile, array, places, factor), generate


def _operator(symbol: Any, on_integers: str, on_floats: str) -> None:
    @infer_global(symbol)
    class RowTemplate(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and isinstance(arguments[0], Row) and arguments[0] == arguments[1]:
                return signature(arguments[0], *arguments)
            return None

    @lower_builtin(symbol, Row, Row)
    def lower(context, builder, signature, arguments):
        name = on_floats if isinstance(signature.args[0].dtype, types.Float) else on_integers
        return getattr(builder, name)(*arguments)


_operator(operator.add, "add", "fadd")
_operator(operator.sub, "sub", "fsub")
_operator(operator.mul, "mul", "fmul")
_operator(operator.xor, "xor", "")
_operator(operator.rshift, "lshr", "")
