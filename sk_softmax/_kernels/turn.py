"""Square tiles of rows turned into columns, in registers."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

LANES = 8  # numbers in a vector register, rows and columns of a tile
NUMBERS = {types.float64, types.float32}


def turn_tile(X, row, column, center, A, place):
    """``A[column + j, place + i] = X[row + i, column + j] - center[column + j]``, i, j < 8."""
    for j in range(column, column + LANES):
        for i in range(LANES):
            A[j, place + i] = np.float64(X[row + i, j]) - center[j]


@overload(turn_tile)
def _compiled(X, row, column, center, A, place):
    if {X.dtype, A.dtype} <= NUMBERS and all(array.layout == "C" for array in (X, center, A)):
        return lambda X, row, column, center, A, place: _in_registers(
            X, row, column, center, A, place
        )
    return turn_tile


@intrinsic
def _in_registers(context, X, row, column, center, A, place):
    """`turn_tile` with eight loads and eight stores.

    Registers of rows whose numbers differ in one bit exchange the lanes whose numbers have that
    bit for those that do not; after all three bits rows are columns.
    """
    del context
    wide = ir.VectorType(ir.DoubleType(), LANES)

    def generate(context, builder, signature, arguments):
        X, row, column, center, A, place = arguments
        of_X, _, _, of_center, of_A, _ = signature.args
        row, column, place = (
            context.cast(builder, arguments[at], signature.args[at], types.intp) for at in (1, 2, 5)
        )

        def after(position, count):
            return builder.add(position, position.type(count))

        def at(array, kind, *position):
            """Where eight numbers in a row of an array begin, and the bytes of one."""
            struct = make_array(kind)(context, builder, array)
            first = cgutils.get_item_pointer(
                context, builder, kind, struct, position, wraparound=False
            )
            number = context.get_data_type(kind.dtype)
            vector = ir.VectorType(number, LANES).as_pointer()
            return builder.bitcast(first, vector), context.get_abi_sizeof(number)

        def load(*where):
            first, size = at(*where)
            numbers = builder.load(first, align=size)
            return numbers if size == 8 else builder.fpext(numbers, wide)

        middle = load(center, of_center, column)
        rows = [builder.fsub(load(X, of_X, after(row, i), column), middle) for i in range(LANES)]
        if of_A.dtype == types.float32:
            narrow = ir.VectorType(ir.FloatType(), LANES)
            rows = [builder.fptrunc(numbers, narrow) for numbers in rows]
        for bit in (1, 2, 4):
            for i in range(LANES):
                if not i & bit:
                    rows[i], rows[i | bit] = _exchanged(builder, rows[i], rows[i | bit], bit)
        for j in range(LANES):
            first, size = at(A, of_A, after(column, j), place)
            builder.store(rows[j], first, align=size)
        return context.get_dummy_value()

    return types.void(X, row, column, center, A, place), generate


def _exchanged(builder, low, high, bit):
    """``low`` and ``high``, its lanes with the bit and their lanes without it exchanged."""
    of_low = [lane ^ bit | LANES if lane & bit else lane for lane in range(LANES)]
    of_high = [lane | LANES if lane & bit else lane ^ bit for lane in range(LANES)]
    masks = (
        ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes) for lanes in (of_low, of_high)
    )
    return tuple(builder.shuffle_vector(low, high, mask) for mask in masks)
