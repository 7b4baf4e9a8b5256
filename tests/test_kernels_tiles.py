"""Products in register tiles, rows of X along the last axis, against their twins in `naive`."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident, read_only

from sk_softmax._kernels import tiles

pytestmark = overflow_is_no_accident

KS = range(1, 10)  # outputs and features: no tile of 4, one, two, and what is left beside them
QS = range(1, 18)
MS = (1, 7, 8, 9, 17)  # rows: on and beside vectors of 8
over_outputs = pytest.mark.parametrize("K", KS)
over_features = pytest.mark.parametrize("q", QS)
over_rows = pytest.mark.parametrize("m", MS)


def features(q, m, seed=0):
    """A (q, m) and factors (m,) of both signs, read-only."""
    rng = np.random.default_rng(seed)
    return read_only(rng.normal(size=(q, m))), read_only(rng.normal(size=m))


def powers_of_two(size, seed):
    """Units in which a number keeps its digits."""
    return np.ldexp(1.0, np.random.default_rng(seed).integers(-200, 200, size=size))


# ---- rows turned ----------------------------------------------------------------------------


def centred_columns(X, first, last, center, q, m):
    """A from the kernel, which was nan before."""
    A = np.full((q, m), np.nan)
    tiles.centred_columns(X, first, last, center, A)
    return A


@pytest.mark.parametrize("m", [1, 7, 8, 9, 40])
@pytest.mark.parametrize(
    ("first", "last"), [(0, 30), (0, 1), (1, 8), (3, 11), (5, 14), (7, 23), (16, 30), (29, 30)]
)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("p", [0, 1, 3, 8, 17])
def test_centred_columns(p, intercept, first, last, m):
    """To the bit: each number is one difference.  Rows that are not asked for may be anything."""
    rng = np.random.default_rng(0)
    X, center = rng.normal(size=(30, p)), read_only(rng.normal(size=p))
    stop = min(last, first + m)
    X[:first] = X[stop:] = np.nan
    A = centred_columns(read_only(X), first, last, center, p + intercept, m)
    exact = naive.centred_columns(X, first, last, center, p + intercept, m).astype(np.float64)
    np.testing.assert_array_equal(A, exact)


# p, rows: on and beside tiles of 8 by 8, and enough for rows to be asked for ahead
MANY = (
    *((1, n) for n in (4095, 4096, 4097, 4105, 8200)),
    *((40, n) for n in (95, 96, 97, 104, 193)),
    *((256, n) for n in (8, 15, 16, 17, 24, 33)),
    *((p, n) for p in (257, 511, 512, 513, 600) for n in (7, 8, 9, 16, 23, 25)),
    *((4100, n) for n in (1, 7, 8, 9, 16, 17)),
)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("p", "n"), MANY)
def test_centred_columns_of_more_numbers_than_are_turned_at_a_time(p, n, intercept):
    """To the bit, from a row in the midst of X on, with columns beyond them and without."""
    rng = np.random.default_rng(0)
    X, center = np.full((n + 8, p), np.nan), rng.normal(size=p)
    X[3 : n + 3] = rng.normal(size=(n, p))
    exact = np.ones((p + intercept, n))
    exact[:p] = (X[3 : n + 3] - center).T
    for more in (0, 1, 9):
        A = centred_columns(read_only(X), 3, n + 3, center, p + intercept, n + more)
        np.testing.assert_array_equal(A[:, :n], exact)
        assert not A[:, n:].any()
    fewer = max(1, n - 5)
    A = centred_columns(read_only(X), 3, n + 3, center, p + intercept, fewer)
    np.testing.assert_array_equal(A, exact[:, :fewer])


@pytest.mark.parametrize("first", [0, 13, 30])
def test_centred_columns_of_no_rows_are_0(first):
    X = read_only(np.full((30, 3), np.nan))
    A = centred_columns(X, first, first, np.ones(3), 4, 9)
    np.testing.assert_array_equal(A, np.zeros((4, 9)))


def test_centred_columns_of_a_block_after_another_forget_it():
    """Columns beyond the last row hold no more of it."""
    rng = np.random.default_rng(0)
    X = read_only(rng.normal(size=(20, 3)))
    A, center = np.empty((4, 16)), np.zeros(3)
    tiles.centred_columns(X, 0, 20, center, A)
    tiles.centred_columns(X, 16, 20, center, A)
    np.testing.assert_array_equal(A[:3, :4], X[16:].T)
    np.testing.assert_array_equal(A[3], np.arange(16) < 4)
    assert not A[:, 4:].any()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centred_columns_of_x_in_any_form_are_those_of_its_numbers(dtype, order):
    """To the bit: the difference is made in float64."""
    rng = np.random.default_rng(0)
    for p in (5, 600):  # turned at once, and in parts
        X, center = rng.normal(size=(21, p)).astype(dtype), rng.normal(size=p)
        A = centred_columns(read_only(np.asarray(X, order=order)), 2, 20, center, p + 1, 24)
        np.testing.assert_array_equal(A[:p, :18], (X.astype(np.float64)[2:20] - center).T)


def test_centred_columns_of_bad_and_extreme_numbers():
    X = np.array([[np.nan, 1e308, 5e-324], [-np.inf, -1e308, 0.0]])
    A = centred_columns(X, 0, 2, np.array([1.0, 1e308, -5e-324]), 4, 3)
    expected = [[np.nan, -np.inf, 0.0], [0.0, -np.inf, 0.0], [1e-323, 5e-324, 0.0], [1.0, 1.0, 0.0]]
    np.testing.assert_array_equal(A, expected)


# ---- logits ---------------------------------------------------------------------------------


@over_outputs
@over_features
def test_column_logits(q, K):
    """What is there before does not count."""
    W = np.random.default_rng(1).normal(size=(K, q))
    for m in MS:
        A, _ = features(q, m)
        P = np.full((K, m), np.nan)
        tiles.column_logits(A, read_only(W), P)
        assert_close(P, naive.wide(W) @ naive.wide(A), scale=q)


def test_column_logits_without_features_are_0():
    P = np.full((5, 9), np.nan)
    tiles.column_logits(np.empty((0, 9)), np.empty((5, 0)), P)
    assert not P.any()


@pytest.mark.parametrize("K", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("q", [1, 3, 4, 6, 9])
def test_column_logits_in_other_units_are_the_same(q, K):
    """Bit for bit with powers of 2: outputs and rows in units of their own, features in none."""
    A, _ = features(q, 9)
    W = np.random.default_rng(1).normal(size=(K, q))
    P = np.empty((2, K, 9))
    by_output, by_feature, by_row = (powers_of_two(size, size) for size in (K, q, 9))
    tiles.column_logits(A, W, P[0])
    tiles.column_logits(A * by_feature[:, None] * by_row, W * by_output[:, None] / by_feature, P[1])
    np.testing.assert_array_equal(P[0] * np.outer(by_output, by_row), P[1])


@pytest.mark.parametrize("K", [2, 4, 7])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
@pytest.mark.parametrize("j", range(6))
def test_column_logits_let_bad_numbers_travel(j, bad, K):
    """A feature's to its column, a coefficient's to its row."""
    A, W = np.ones((6, 9)), np.full((K, 6), 2.0)
    P = np.empty((K, 9))
    A[j, 3] = bad
    tiles.column_logits(A, W, P)
    np.testing.assert_array_equal(~np.isfinite(P), np.tile(np.arange(9) == 3, (K, 1)))
    A[j, 3], W[1, j] = 2.0, bad
    tiles.column_logits(A, W, P)
    assert np.isfinite(np.delete(P, 1, axis=0)).all()
    assert not np.isfinite(P[1, 3])
    assert np.isfinite(P[1, :3]).all() == (bad == 1e308)


# ---- sums of products -----------------------------------------------------------------------


@over_outputs
@over_features
def test_add_products(q, K):
    """Added to a part of G, from a feature on: all else stays."""
    before = np.random.default_rng(1).normal(size=(K + 3, q + 4))
    for m, first in zip((*MS, 8), (0, 1, min(3, q), q // 2, q - 1, q), strict=True):
        A, _ = features(q, m)
        B, _ = features(K, m, seed=2)
        for row, column in ((0, 0), (3, 0), (1, 2), (0, 4)):
            G = before.copy()
            tiles.add_products(B, A, first, G, row, column)
            part = slice(row, row + K), slice(column + first, column + q)
            assert_close((G - before)[part], naive.products(B, A[first:]), scale=m)
            G[part] = before[part]
            np.testing.assert_array_equal(G, before)


def test_add_products_of_no_rows_adds_nothing():
    G = np.ones((5, 6))
    tiles.add_products(np.empty((5, 0)), np.empty((6, 0)), 0, G, 0, 0)
    np.testing.assert_array_equal(G, 1.0)


@pytest.mark.parametrize("K", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("q", [1, 3, 4, 6, 9])
def test_add_products_in_other_units_is_the_same(q, K):
    """Bit for bit with powers of 2."""
    A, _ = features(q, 9)
    B, _ = features(K, 9, seed=2)
    G = np.zeros((2, K, q))
    by_output, by_feature, by_row = (powers_of_two(size, size) for size in (K, q, 9))
    tiles.add_products(B, A, 0, G[0], 0, 0)
    tiles.add_products(
        B * by_output[:, None] * by_row, A * by_feature[:, None] / by_row, 0, G[1], 0, 0
    )
    np.testing.assert_array_equal(G[0] * np.outer(by_output, by_feature), G[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("row", [0, 7, 8])
def test_add_products_let_bad_numbers_travel(row, at, bad):
    """A feature's to its column, a factor's to its row, and to no neighbour in a tile."""
    A, B = np.ones((7, 9)), np.full((7, 9), 2.0)
    A[at, row] = bad
    G = np.zeros((7, 7))
    tiles.add_products(B, A, 0, G, 0, 0)
    np.testing.assert_array_equal(~np.isfinite(G), np.tile(np.arange(7) == at, (7, 1)))
    A[at, row], B[at, row] = 1.0, bad
    G = np.zeros((7, 7))
    tiles.add_products(B, A, 0, G, 0, 0)
    np.testing.assert_array_equal(~np.isfinite(G), np.tile(np.arange(7) == at, (7, 1)).T)


@pytest.mark.parametrize("K", [2, 3, 5, 6])
def test_outputs_of_zeros_fill_up_tiles_and_add_nothing(K):
    """Not even where a feature is bad does anything come from them to the others."""
    A, _ = (array.copy() for array in features(6, 9))
    whole = K + -K % 4
    W = np.zeros((whole, 6))
    W[:K] = np.random.default_rng(1).normal(size=(K, 6))
    P, G = np.empty((whole, 9)), np.zeros((whole, 6))
    tiles.column_logits(A, W, P)
    assert_close(P[:K], naive.wide(W[:K]) @ naive.wide(A), scale=6)
    assert not P[K:].any()
    tiles.add_products(P, A, 0, G, 0, 0)
    assert_close(G[:K], naive.products(P[:K], A), scale=30)
    assert not G[K:].any()
    P[K:, 4] = np.nan
    filled = np.zeros_like(G)
    tiles.add_products(P, A, 0, filled, 0, 0)
    np.testing.assert_array_equal(filled[:K], G[:K])
    assert np.isnan(filled[K:]).all()


def test_add_four():
    H = np.zeros((3, 9))
    for _ in range(2):
        tiles.add_four(H, 1, 4, 1.0, 2.0, np.nan, 1e308)
    expected = np.zeros((3, 9))
    expected[1, 4:8] = [2.0, 4.0, np.nan, np.inf]
    np.testing.assert_array_equal(H, expected)


# ---- weighted sums of squares and products of features --------------------------------------


def add_weighted_gram(A, d, H, row=0, column=0):
    """With a scratch of nan."""
    tiles.add_weighted_gram(A, d, np.full((4, A.shape[1]), np.nan), H, row, column)


def within_tiles(q):
    """Where an upper triangle (q, q) may be written to: four rows begin where the first does."""
    return np.arange(q) >= (np.arange(q) // 4 * 4)[:, None]


@over_features
@over_rows
def test_add_weighted_gram(q, m):
    """Added to a part of H; beyond the tiles of its upper triangle H stays."""
    A, d = features(q, m)
    before = np.random.default_rng(1).normal(size=(q + 5, q + 4))
    for row, column in ((0, 0), (5, 0), (2, 3), (0, 4)):
        H = before.copy()
        add_weighted_gram(A, d, H, row, column)
        part = slice(row, row + q), slice(column, column + q)
        upper = np.triu_indices(q)
        assert_close((H - before)[part][upper], naive.weighted_gram(A, d)[upper], scale=m)
        may_change = np.zeros(H.shape, dtype=bool)
        may_change[part] = within_tiles(q)
        np.testing.assert_array_equal(H[~may_change], before[~may_change])


def test_add_weighted_gram_of_no_rows_adds_nothing():
    A, d = features(5, 0)
    H = np.ones((5, 5))
    add_weighted_gram(A, d, H)
    np.testing.assert_array_equal(H, 1.0)


@pytest.mark.parametrize("q", [1, 4, 6, 9])
def test_add_weighted_gram_in_other_units_is_the_same(q):
    """Bit for bit with powers of 2, however large."""
    A, d = features(q, 9)
    units = np.ldexp(1.0, np.random.default_rng(2).integers(-400, 400, size=q))
    H = np.zeros((2, q, q))
    add_weighted_gram(A, d, H[0])
    add_weighted_gram(A * units[:, None], d, H[1])
    np.testing.assert_array_equal(np.triu(H[0] * np.outer(units, units)), np.triu(H[1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("j", range(7))
def test_add_weighted_gram_lets_bad_features_travel(bad, j):
    """nan and inf; and the square, no more, of what is too large to be squared."""
    A, d = (array.copy() for array in features(7, 9))
    A[j, 5] = bad
    H = np.zeros((7, 7))
    add_weighted_gram(A, d, H)
    touched = np.zeros((7, 7), dtype=bool)
    if bad == 1e200:
        touched[j, j] = True
    else:
        touched[j] = touched[:, j] = True
    upper = np.triu_indices(7)
    np.testing.assert_array_equal(~np.isfinite(H[upper]), touched[upper])


@pytest.mark.parametrize("q", [1, 4, 6])
@pytest.mark.parametrize("row", [0, 7, 8])
def test_add_weighted_gram_lets_bad_weights_travel(row, q):
    A, d = (array.copy() for array in features(q, 9))
    d[row] = np.nan
    H = np.zeros((q, q))
    add_weighted_gram(A, d, H)
    assert np.isnan(H[np.triu_indices(q)]).all()


@pytest.mark.parametrize("q", [3, 4, 9])
def test_rows_of_weight_0_add_nothing_to_a_gram(q):
    A, d = (array.copy() for array in features(q, 17))
    d[::3] = 0.0
    H = np.zeros((q, q))
    add_weighted_gram(A, d, H)
    upper = np.triu_indices(q)
    assert_close(H[upper], naive.weighted_gram(A[:, d != 0], d[d != 0])[upper], scale=17)
