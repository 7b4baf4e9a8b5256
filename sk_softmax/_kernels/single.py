"""exp and log in single precision, and which precision serves: that of the number."""

import math

import numpy as np
from numba import types
from numba.extending import overload

from .jit import jit
from .pointwise import LN2_HIGH, LOG2_E, exp_nonpositive, log1p_unit

LEAST = np.float32(-87.0)  # below which exp would be subnormal
LOG2_E_SINGLE = np.float32(LOG2_E)
LN2_SHORT = np.float32(0.693359375)  # 10 bits, so that its products with integers are exact
LN2_REST = np.float32(LN2_HIGH - 0.693359375)
ROUND_SINGLE = np.float32(1.5 * 2**23)  # as `ROUND` of `pointwise`
ZERO, HALF, ONE, TWO = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0))
TAYLOR_SINGLE = tuple(np.float32(1.0 / math.factorial(i)) for i in range(8))
ATANH_SINGLE = tuple(np.float32(1.0 / (2 * i + 1)) for i in range(9))


@jit(in_order=True)
def exp_nonpositive_single(x):
    """`exp_nonpositive` of a float32, by the Taylor series of degree 7; 0 below -87."""
    clipped = LEAST if x < LEAST else x
    shifted = clipped * LOG2_E_SINGLE + ROUND_SINGLE
    k = shifted - ROUND_SINGLE
    r = (clipped - k * LN2_SHORT) - k * LN2_REST
    series = TAYLOR_SINGLE[7]
    for degree in range(6, -1, -1):
        series = series * r + TAYLOR_SINGLE[degree]
    power = np.int32((np.float32(shifted).view(np.int32) + 127) << 23).view(np.float32)
    return ZERO if x < LEAST else series * power


@jit(in_order=True)
def log1p_unit_single(t):
    """`log1p_unit` of a float32; the first term left out is below 2e-9 of the sum."""
    u = t / (TWO + t)
    square = u * u
    tail = ATANH_SINGLE[8]
    for degree in range(7, 0, -1):
        tail = tail * square + ATANH_SINGLE[degree]
    return t - u * (t - TWO * square * tail)


def exponential(x):
    """``exp(x)`` for ``x <= 0``, in the precision of x."""
    return exp_nonpositive_single(x) if isinstance(x, np.float32) else exp_nonpositive(x)


@overload(exponential)
def _exponential(x):
    if x == types.float32:
        return lambda x: exp_nonpositive_single(x)
    return lambda x: exp_nonpositive(x)


def logarithm(t):
    """``log(1 + t)`` for ``0 <= t <= 1``, in the precision of t."""
    return log1p_unit_single(t) if isinstance(t, np.float32) else log1p_unit(t)


@overload(logarithm)
def _logarithm(t):
    if t == types.float32:
        return lambda t: log1p_unit_single(t)
    return lambda t: log1p_unit(t)
