"""Transposing, exactly, against NumPy and the twin in `naive`."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident, read_only

from sk_softmax._kernels import transpose

pytestmark = overflow_is_no_accident


# (p, K) around tiles of 16
TRANSPOSED = ((1, 1), (1, 17), (2, 16), (15, 3), (16, 1), (16, 16), (17, 2), (33, 5), (48, 31))


@pytest.mark.parametrize("spare", [0, 1, 3])
@pytest.mark.parametrize(("p", "K"), TRANSPOSED)
def test_transposed(p, K, spare):
    """Exactly, whatever the numbers; of A no more columns than B has rows."""
    A = np.random.default_rng(0).normal(size=(K, p + spare))
    A.flat[: min(4, A.size)] = [np.inf, 1e308, -5e-324, -0.0][: A.size]
    A[:, p:] = 7.0
    if p > 2:
        A[0, p - 1] = np.nan
    B = np.full((p, K), 3.0)
    transpose.transposed(read_only(A), B)
    np.testing.assert_array_equal(B, A[:, :p].T)
    np.testing.assert_array_equal(np.signbit(B), np.signbit(A[:, :p].T))


@pytest.mark.parametrize("spare", [0, 1, 3])
@pytest.mark.parametrize(("p", "K"), TRANSPOSED)
def test_transposed_centred(p, K, spare):
    """In a wider B the columns beyond p stay."""
    rng = np.random.default_rng(0)
    A, total, center = rng.normal(size=(p, K)), rng.normal(size=K), rng.normal(size=p)
    B = np.full((K, p + spare), 7.0)
    transpose.transposed_centred(*map(read_only, (A, total, center)), B)
    assert_close(B[:, :p], naive.transposed_centred(A, total, center))
    np.testing.assert_array_equal(B[:, p:], 7.0)
    transpose.transposed_centred(A, total, np.zeros(p), B)
    np.testing.assert_array_equal(B[:, :p], A.T)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_transposed_centred_lets_bad_numbers_travel(bad):
    A, total, center = np.ones((18, 3)), np.ones(3), np.ones(18)
    A[17, 1] = total[0] = center[5] = bad
    B = np.zeros((3, 18))
    transpose.transposed_centred(A, total, center, B)
    expected = np.zeros((3, 18), dtype=bool)
    expected[1, 17] = expected[0] = expected[:, 5] = True
    np.testing.assert_array_equal(~np.isfinite(B), expected)


def test_transposed_centred_at_extremes():
    A = np.array([[1e308, -1e308, 5e-324], [0.0, 1e308, 1.0]])
    B = np.empty((3, 2))
    transpose.transposed_centred(A, np.array([-1e154, -1.0, 0.0]), np.array([1e154, 1e308]), B)
    np.testing.assert_array_equal(B, [[np.inf, np.inf], [-1e308, np.inf], [5e-324, 1.0]])
