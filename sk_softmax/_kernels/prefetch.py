"""Asking for memory before it is needed."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from .jit import jit

CACHED = 2**17  # numbers that are in the cache in any case
AHEAD = 16  # entries of a sparse matrix whose rows of a larger array are asked for
LINE = 64  # bytes that come together
READ, DATA = 0, 1  # what LLVM is told: for what, of what kind,
FIRST, SECOND = 3, 2  # and into which cache


@jit(inlined=True)
def prefetch_rows(B, indices, first):
    """Have four rows of B on their way to the cache: ``indices[first]`` and those after it."""
    for entry in range(4):
        row = np.uint64(indices[first + np.uint64(entry)])
        for k in range(0, B.shape[1], LINE // B.itemsize):
            prefetch(B, row, k)


def prefetch(array, i, j):
    """Have what is around ``array[i, j]`` on its way to the cache; without the JIT, nothing."""


def prefetch_far(array, i, j):
    """`prefetch` to the second cache: for what comes in order, where the first one is in use."""


@overload(prefetch)
def _compiled(array, i, j):
    return lambda array, i, j: _to_first(array, i, j)


@overload(prefetch_far)
def _compiled_far(array, i, j):
    return lambda array, i, j: _to_second(array, i, j)


@intrinsic
def _to_first(context, array, i, j):
    return _instruction(array, i, j, FIRST)


@intrinsic
def _to_second(context, array, i, j):
    return _instruction(array, i, j, SECOND)


def _instruction(array, i, j, cache):
    """LLVM's ``llvm.prefetch``, which changes nothing but the time that a load takes."""

    def generate(context, builder, signature, arguments):
        struct = make_array(array)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(
            context, builder, array, struct, arguments[1:], wraparound=False
        )
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        hints = [number(hint) for hint in (READ, cache, DATA)]
        builder.call(function, [builder.bitcast(place, byte), *hints])
        return context.get_dummy_value()

    return types.void(array, i, j), generate
