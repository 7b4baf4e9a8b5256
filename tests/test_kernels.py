"""Every kernel against its twin in `naive`, with the JIT on or off (``NUMBA_DISABLE_JIT=1``)."""

import math
from itertools import pairwise
from types import SimpleNamespace

import naive
import numba
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import brentq, minimize

from sk_softmax._kernels import (
    conjugate_gradient,
    csr,
    curvature,
    dense,
    hessian,
    jit,
    newton,
    pointwise,
    transpose,
)

NS = (1, 2, 3, 4, 5, 63, 64, 65, 130)  # around the unrolled 4 rows and the blocks of 64
KMS = ((1, 1), (1, 4), (2, 3), (3, 5), (4, 8), (5, 1), (8, 67))
PKS = ((1, 1), (1, 3), (2, 2), (3, 5), (4, 1), (5, 4), (9, 8), (17, 3))
LN2 = math.log(2)

MODULES = conjugate_gradient, csr, curvature, dense, hessian, newton, pointwise, transpose
KERNELS = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if getattr(value, "__module__", None) == module.__name__
}

needs_wide = pytest.mark.skipif(
    not naive.WIDE_IS_WIDER, reason="no float here is wide enough to measure ulps of float64"
)
needs_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the JIT is off")


@pytest.fixture(autouse=True)
def _overflow_is_no_accident():
    """In pure Python, NumPy's scalars warn where compiled code is silent."""
    with np.errstate(all="ignore"):
        yield


def read_only(array):
    """A view of ``array`` that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def assert_close(result, exact, scale=1.0):
    """Equal up to the rounding of sums of terms about as large as ``scale``."""
    exact = np.asarray(exact, dtype=np.float64)
    np.testing.assert_allclose(result, exact, rtol=1e-13, atol=1e-13 * scale)


def rows_of_logits(n, K, seed=0):
    """Logits (n, K), classes and weights."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=5.0, size=(n, K)), rng.integers(K, size=n), rng.uniform(0, 2, n)


def dense_problem(n, p, K, seed=0):
    """X, y, s, W, b; X as the package passes it on, read-only."""
    rng = np.random.default_rng(seed)
    X = read_only(rng.normal(size=(n, p)))
    W, b = rng.normal(size=(K, p)), rng.normal(size=K)
    return X, rng.integers(K, size=n), rng.uniform(0, 2, n), W, b


def ova_sides(K, seed=0, classes=0):
    """columns, positive, negative; the columns not in order, of K or more classes."""
    rng = np.random.default_rng(seed)
    columns = rng.permutation(max(K, classes))[:K]
    return columns, rng.uniform(0.5, 2, K), rng.uniform(0.5, 2, K)


def run_dense_softmax(X, y, s, W, b):
    G, g = np.zeros_like(W), np.zeros_like(b)
    return dense.dense_softmax(X, y, s, W, b, G, g), G, g


def run_dense_sigmoid(X, y, s, sides, W, b):
    G, g, loss = np.zeros_like(W), np.zeros_like(b), np.zeros_like(b)
    dense.dense_sigmoid(X, y, s, *sides, W, b, G, g, loss)
    return loss, G, g


# ---- exp and log ------------------------------------------------------------------------


def exp_arguments():
    """[-708, 0]: evenly, near 0, and at both sides of where the range reduction turns over."""
    rng = np.random.default_rng(0)
    turns = -(np.arange(1021) + 0.5) * LN2
    near = turns[:, None] + np.arange(-2, 3) * np.spacing(turns)[:, None]
    even = rng.uniform(-708, 0, 20_000)
    small = -(10.0 ** rng.uniform(-20, 0, 5_000))
    return np.concatenate([even, small, near.ravel(), [-708.0, -LN2, -1.0]])


@needs_wide
def test_exp_is_within_one_and_a_half_ulps():
    x = exp_arguments()
    result = np.array([pointwise.exp_nonpositive(value) for value in x])
    assert naive.ulps(result, np.exp(naive.wide(x))).max() <= 1.5


@needs_wide
def test_exp_in_a_loop_is_as_accurate_as_by_itself():
    x = exp_arguments()
    x = x[x > -700]  # e^x / (1 + e^x) is normal
    Z = np.column_stack([np.zeros_like(x), x])
    pointwise.softmax_residual(Z, np.zeros(x.size, dtype=np.int64), np.ones(x.size))
    e = np.exp(naive.wide(x))
    assert naive.ulps(Z[:, 1], e / (1 + e)).max() <= 4


@pytest.mark.parametrize("x", [0.0, -0.0, -5e-324, -1e-300, -1e-17])
def test_exp_of_nothing_is_exactly_1(x):
    assert pointwise.exp_nonpositive(x) == 1.0


@pytest.mark.parametrize("x", [np.nextafter(-708.0, -np.inf), -709.0, -745.2, -1e308, -np.inf])
def test_exp_below_minus_708_is_exactly_0(x):
    assert pointwise.exp_nonpositive(x) == 0.0


def test_exp_of_nan_is_nan():
    assert np.isnan(pointwise.exp_nonpositive(np.nan))


@needs_wide
def test_log1p_is_within_one_and_a_half_ulps():
    rng = np.random.default_rng(0)
    edges = [0.0, 5e-324, 1.5e-323, 2.3e-308, 1e-16, 0.5, np.nextafter(1.0, 0.0), 1.0]
    t = np.concatenate([rng.uniform(0, 1, 20_000), 10.0 ** rng.uniform(-320, 0, 10_000), edges])
    result = np.array([pointwise.log1p_unit(value) for value in t])
    assert naive.ulps(result, np.log1p(naive.wide(t))).max() <= 1.5


def test_log1p_of_nan_is_nan():
    assert np.isnan(pointwise.log1p_unit(np.nan))


# ---- losses and residuals of a block of rows ------------------------------------------------


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 8, 17])
@pytest.mark.parametrize("n", NS)
def test_softmax_residual(n, K):
    Z, y, s = rows_of_logits(n, K)
    R = Z.copy()
    loss = pointwise.softmax_residual(R, y, s)
    exact_loss, exact = naive.softmax_residual(Z, y, s)
    assert_close(loss, exact_loss, scale=n)
    assert_close(R, exact)


@pytest.mark.parametrize("K", [1, 2, 3, 8])
@pytest.mark.parametrize("n", NS)
def test_sigmoid_residual(n, K):
    """Some rows are of a class that has no column."""
    Z, _, s = rows_of_logits(n, K)
    y = np.random.default_rng(1).integers(K + 2, size=n)
    sides = ova_sides(K, classes=K + 2)
    R, loss = Z.copy(), np.arange(K, dtype=np.float64)
    pointwise.sigmoid_residual(R, y, s, *sides, loss)
    exact_loss, exact = naive.sigmoid_residual(Z, y, s, *sides)
    assert_close(loss - np.arange(K), exact_loss, scale=n)
    assert_close(R, exact)


@needs_wide
@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("own", [True, False])
def test_sigmoid_residuals_are_accurate_however_small(own, K):
    margin = np.concatenate([-exp_arguments()[::20], exp_arguments()[::20], [0.0]])
    margin = margin[margin > -700]  # all results are normal
    sign = 1.0 if own else -1.0
    n = margin.size
    Z = np.zeros((n, K))
    Z[:, 0] = sign * margin  # logits far on the right side, and some on the wrong one
    exact_loss, exact = naive.softplus(-naive.wide(margin)), naive.sigmoid(-naive.wide(margin))
    ones = np.ones(K)
    for i in range(0, n, 97):
        loss, R = np.zeros(K), Z[i : i + 1].copy()
        y = np.array([1 if own else 0])
        pointwise.sigmoid_residual(R, y, np.ones(1), np.arange(1, K + 1), ones, ones, loss)
        assert naive.ulps(loss[:1], exact_loss[i : i + 1]) <= 3
    y = np.full(n, 1 if own else 0)
    pointwise.sigmoid_residual(Z, y, np.ones(n), np.arange(1, K + 1), ones, ones, np.zeros(K))
    assert naive.ulps(-sign * Z[:, 0], exact).max() <= 4


@pytest.mark.parametrize("K", [1, 2, 5])
def test_residuals_of_no_rows(K):
    Z, y, s = np.empty((0, K)), np.empty(0, dtype=np.int64), np.empty(0)
    loss = np.arange(1.0, K + 1)
    assert pointwise.softmax_residual(Z, y, s) == 0.0
    pointwise.sigmoid_residual(Z, y, s, *ova_sides(K), loss)
    np.testing.assert_array_equal(loss, np.arange(1.0, K + 1))


@pytest.mark.parametrize("c", [-1e6, -700.0, 700.0, 1e6])
def test_softmax_residual_does_not_see_a_shift_of_all_logits(c):
    Z, y, s = rows_of_logits(20, 4)
    Z = np.round(Z * 1024) / 1024  # so that the shift itself is exact
    R, shifted = Z.copy(), Z + c
    loss = pointwise.softmax_residual(R, y, s)
    assert_close(pointwise.softmax_residual(shifted, y, s), loss, scale=20)
    np.testing.assert_array_equal(shifted, R)


SOFTMAX_EXTREMES = {
    # logits, class, loss, residual
    "far right": ([1e308, -1e308, 0.0], 0, 0.0, [0, 0, 0]),
    "far wrong": ([8e307, -8e307, 0.0], 1, 1.6e308, [1, -1, 0]),
    "wrong beyond what a float holds": ([1e308, -1e308, 0.0], 1, np.inf, [1, -1, 0]),
    "all large": ([1e308, 1e308], 0, LN2, [-0.5, 0.5]),
    "all very negative": ([-1e308, -1e308], 1, LN2, [0.5, -0.5]),
    "impossible class": ([-np.inf, 0.0], 1, 0.0, [0, 0]),
    "impossible class came": ([-np.inf, 0.0], 0, np.inf, [-1, 1]),
    "subnormal": ([5e-324, -5e-324], 0, LN2, [-0.5, 0.5]),
    "negative zero": ([-0.0, 0.0], 0, LN2, [-0.5, 0.5]),
}


@pytest.mark.parametrize("case", SOFTMAX_EXTREMES)
def test_softmax_residual_at_extremes(case):
    z, label, loss, residual = SOFTMAX_EXTREMES[case]
    R = np.array([z])
    assert pointwise.softmax_residual(R, np.array([label]), np.ones(1)) == pytest.approx(loss)
    np.testing.assert_allclose(R[0], residual, rtol=1e-15)


SIGMOID_EXTREMES = {
    # logit, is of the class, loss, residual
    "far right": (1e308, True, 0.0, 0.0),
    "far wrong": (-1e308, True, 1e308, -1.0),
    "other class, far right": (-1e308, False, 0.0, 0.0),
    "other class, far wrong": (1e308, False, 1e308, 1.0),
    "infinitely right": (np.inf, True, 0.0, 0.0),
    "infinitely wrong": (-np.inf, True, np.inf, -1.0),
    "subnormal": (5e-324, True, LN2, -0.5),
    "negative zero": (-0.0, False, LN2, 0.5),
    "loss below 1e-300": (-700.0, False, math.exp(-700.0), math.exp(-700.0)),
}


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("case", SIGMOID_EXTREMES)
def test_sigmoid_residual_at_extremes(case, K):
    """By itself, and beside outputs that are none of it."""
    z, own, exact_loss, residual = SIGMOID_EXTREMES[case]
    R, loss = np.zeros((1, K)), np.zeros(K)
    R[0, 0] = z
    y, columns = np.array([1 if own else 0]), np.array([1, 5, 6])[:K]
    pointwise.sigmoid_residual(R, y, np.ones(1), columns, np.ones(K), np.ones(K), loss)
    np.testing.assert_allclose(loss, [exact_loss, LN2, LN2][:K], rtol=1e-15)
    np.testing.assert_allclose(R[0], [residual, 0.5, 0.5][:K], rtol=1e-15)


@pytest.mark.parametrize("bad", [[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [np.inf, 0.0, 1.0]])
def test_softmax_residual_of_a_bad_row_is_nan_and_of_the_others_is_not(bad):
    Z, y, s = rows_of_logits(5, 3)
    exact = naive.softmax_residual(Z, y, s)[1]
    Z[2] = bad
    assert np.isnan(pointwise.softmax_residual(Z, y, s))
    assert np.isnan(Z[2]).all()
    assert_close(np.delete(Z, 2, axis=0), np.delete(exact, 2, axis=0))


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("own", [True, False])
def test_sigmoid_residual_of_nan_is_nan_and_of_the_others_is_not(own, K):
    Z, _, s = rows_of_logits(5, K)
    y = np.array([0, 1, 0, 1, 1])
    sides = np.array([0, 2, 1])[:K], *ova_sides(K)[1:]
    exact_loss, exact = naive.sigmoid_residual(Z, y, s, *sides)
    bad = (2 if own else 3), 0
    Z[bad] = exact[bad] = exact_loss[0] = np.nan
    loss = np.zeros(K)
    pointwise.sigmoid_residual(Z, y, s, *sides, loss)
    assert_close(loss, exact_loss)
    assert_close(Z, exact)


# ---- dense sweeps ---------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "K"), PKS)
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 4), (3, 10), (5, 5), (1, 70)])
def test_block_logits_and_gradient_touch_their_rows_only(start, stop, p, K):
    X, _, _, W, b = dense_problem(70, p, K)
    rows = slice(start, stop)
    Z = np.full((stop - start + 2, K), 7.0)
    dense.block_logits(X, start, stop, W, b, Z)
    assert_close(Z[:-2], naive.logits(X[rows], W, b), scale=p)
    np.testing.assert_array_equal(Z[-2:], 7.0)

    G, g = W.copy(), b.copy()  # what is there already stays
    dense.block_gradient(X, start, stop, Z, G, g)
    exact_G, exact_g = naive.gradient(X[rows], Z[:-2])
    assert_close(G - W, exact_G, scale=70 * p)
    assert_close(g - b, exact_g, scale=70 * p)


@pytest.mark.parametrize(("p", "K"), PKS)
@pytest.mark.parametrize("n", NS)
def test_dense_softmax(n, p, K):
    problem = dense_problem(n, p, K)
    for result, exact in zip(
        run_dense_softmax(*problem), naive.dense_softmax(*problem), strict=True
    ):
        assert_close(result, exact, scale=n)


@pytest.mark.parametrize(("p", "K"), PKS)
@pytest.mark.parametrize("n", NS)
def test_dense_sigmoid(n, p, K):
    X, _, s, W, b = dense_problem(n, p, K)
    y = np.random.default_rng(1).integers(K + 1, size=n)
    sides = ova_sides(K, classes=K + 1)
    results = run_dense_sigmoid(X, y, s, sides, W, b)
    exact = naive.dense_sigmoid(X, y, s, *sides, W, b)
    for result, expected in zip(results, exact, strict=True):
        assert_close(result, expected, scale=n)


def test_dense_sweeps_add_to_what_is_there():
    X, y, s, W, b = dense_problem(65, 3, 4)
    sides = ova_sides(4)
    G, g, loss = W.copy(), b.copy(), np.arange(4.0)
    dense.dense_softmax(X, y, s, W, b, G, g)
    dense.dense_sigmoid(X, y, s, *sides, W, b, G, g, loss)
    _, softmax_G, softmax_g = naive.dense_softmax(X, y, s, W, b)
    sigmoid_loss, sigmoid_G, sigmoid_g = naive.dense_sigmoid(X, y, s, *sides, W, b)
    assert_close(G - W, softmax_G + sigmoid_G, scale=65)
    assert_close(g - b, softmax_g + sigmoid_g, scale=65)
    assert_close(loss - np.arange(4), sigmoid_loss, scale=65)


def test_rows_without_weight_add_nothing():
    X, y, s, W, b = dense_problem(67, 3, 4)
    s[::3] = 0.0
    kept = s > 0
    exact = naive.dense_softmax(X[kept], y[kept], s[kept], W, b)
    for result, expected in zip(run_dense_softmax(X, y, s, W, b), exact, strict=True):
        assert_close(result, expected, scale=67)


def with_one_bad_entry(X, row, bad):
    X = X.copy()
    X[row, 1] = bad
    return read_only(X)


@pytest.mark.parametrize("row", [0, 63, 64, 129])  # in a group of four, and in the rest
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dense_softmax_does_not_hide_bad_data(bad, row):
    X, y, s, W, b = dense_problem(130, 3, 2)
    for result in run_dense_softmax(with_one_bad_entry(X, row, bad), y, s, W, b):
        assert np.isnan(result).all()


@pytest.mark.parametrize("row", [0, 63, 64, 129])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dense_sigmoid_does_not_hide_bad_data(bad, row):
    X, y, s, W, b = dense_problem(130, 3, 2)
    X = with_one_bad_entry(X, row, bad)
    loss, G, g = run_dense_sigmoid(X, y, s, ova_sides(2), W, b)
    assert not np.isfinite(G[:, 1]).any()
    if np.isnan(bad):  # an infinite logit has a probability, and on one side a finite loss
        assert np.isnan(loss).all()
        assert np.isnan(g).all()


def test_dense_sweeps_take_read_only_input():
    X, y, s, W, b = dense_problem(5, 3, 4)
    sides = ova_sides(4)
    softmax = run_dense_softmax(X, y, s, W, b)
    sigmoid = run_dense_sigmoid(X, y, s, sides, W, b)
    y, s, W, b = map(read_only, (y, s, W, b))
    frozen = [read_only(array) for array in sides]
    G, g, loss = np.zeros((4, 3)), np.zeros(4), np.zeros(4)
    assert dense.dense_softmax(X, y, s, W, b, G, g) == pytest.approx(softmax[0], rel=1e-15)
    assert_close(G, softmax[1])
    dense.dense_sigmoid(X, y, s, *frozen, W, b, np.zeros((4, 3)), np.zeros(4), loss)
    assert_close(loss, sigmoid[0])


def derivative(f, point, at):
    """Five-point central difference of ``f`` in the coordinate ``at`` of ``point``."""
    h = 1e-3
    values = []
    for step in (-2, -1, 1, 2):
        moved = point.copy()
        moved[at] += step * h
        values.append(f(moved))
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_gradients_are_differences_of_the_loss(loss, K):
    X, y, s, W, b = dense_problem(70, 3, K)
    sides = ova_sides(K)

    def value(W, b):
        if loss == "softmax":
            return run_dense_softmax(X, y, s, W, b)[0]
        return run_dense_sigmoid(X, y, s, sides, W, b)[0].sum()

    _, G, g = (
        run_dense_softmax(X, y, s, W, b)
        if loss == "softmax"
        else run_dense_sigmoid(X, y, s, sides, W, b)
    )
    for at in np.ndindex(G.shape):
        assert G[at] == pytest.approx(derivative(lambda V: value(V, b), W, at), abs=1e-8)
    for k in range(K):
        assert g[k] == pytest.approx(derivative(lambda c: value(W, c), b, k), abs=1e-8)


# ---- sparse products ------------------------------------------------------------------------


def csr_problem(data_type=np.float64, index_type=np.int32, n=40, p=11):
    """A CSR matrix with empty rows and columns, duplicate and explicit zero entries."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 10, n)  # around the unrolled 4
    counts[[0, 3, n - 1]] = 0  # rows; column p - 1 is empty too
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index_type)
    indices = rng.integers(0, p - 1, indptr[-1]).astype(index_type)
    data = rng.normal(size=indices.size).astype(data_type)
    data[::7] = 0.0
    return read_only(data), read_only(indices), read_only(indptr)


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_product(data_type, index_type, K):
    matrix = csr_problem(data_type, index_type)
    rng = np.random.default_rng(1)
    B, C = rng.normal(size=(11, K)), rng.normal(size=(40, K))
    result = C.copy()
    csr.csr_product(*matrix, 0, 40, B, result)
    assert_close(result, C + naive.csr_product(*matrix, B))


over_ranges = pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (3, 4), (7, 40), (11, 12), (40, 40)]
)


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_product_touches_its_rows_only(start, stop, K):
    matrix = csr_problem()
    B = np.random.default_rng(1).normal(size=(11, K))
    C = np.zeros((40, K))
    csr.csr_product(*matrix, start, stop, B, C)
    exact = naive.csr_product(*matrix, B)
    assert_close(C[start:stop], exact[start:stop])
    assert not C[:start].any()
    assert not C[stop:].any()


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_product_with_rows_that_begin_further_on(start, stop, K):
    """A part of ``indptr`` stands for those rows alone, whose entries stay where they are."""
    data, indices, indptr = csr_problem()
    B = np.random.default_rng(1).normal(size=(11, K))
    C = np.ones((stop - start, K))
    csr.csr_product(data, indices, indptr[start : stop + 1], 0, stop - start, B, C)
    exact = naive.csr_product(data, indices, indptr, B)[start:stop]
    assert_close(C - 1, exact)


@pytest.mark.parametrize("K", [1, 2])
def test_csr_products_with_no_entries_at_all(K):
    nothing = np.empty(0), np.empty(0, dtype=np.int32), np.zeros(4, dtype=np.int32)
    matrix = [read_only(array) for array in nothing]
    C = np.ones((3, K))
    csr.csr_product(*matrix, 0, 3, np.ones((5, K)), C)
    csr.csr_centred_squares(*matrix, 0, 3, np.ones(3), np.ones((5, K)), C)
    np.testing.assert_array_equal(C, 1.0)


def with_one_bad_value(matrix, bad):
    """The matrix with a bad first entry of a row, and that row."""
    data, indices, indptr = matrix
    data = data.copy()
    row = int(np.flatnonzero(np.diff(indptr) > 1)[0])
    data[indptr[row]] = bad
    return (read_only(data), indices, indptr), row


@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_csr_products_let_bad_entries_travel(bad, K):
    matrix, row = with_one_bad_value(csr_problem(), bad)
    C = np.zeros((2, 40, K))
    csr.csr_product(*matrix, 0, 40, np.ones((11, K)), C[0])
    csr.csr_centred_squares(*matrix, 0, 40, np.ones(40), np.ones((11, K)), C[1])
    assert not np.isfinite(C[:, row]).any()
    assert np.isfinite(np.delete(C, row, axis=1)).all()


@pytest.mark.parametrize("K", [1, 2])
def test_csr_product_with_bad_weights_is_bad_where_they_are_used(K):
    """And nowhere else: entries that are not stored are no products with 0."""
    data, indices, indptr = csr_problem()
    B, C = np.ones((11, K)), np.zeros((40, K))
    B[4, K - 1] = np.nan
    csr.csr_product(data, indices, indptr, 0, 40, B, C)
    uses = [4 in indices[first:last] for first, last in pairwise(indptr)]
    assert 0 < sum(uses) < 40
    np.testing.assert_array_equal(np.isnan(C[:, K - 1]), uses)


@pytest.mark.parametrize("K", [1, 2])
def test_csr_products_of_extremes(K):
    """Squares may go beyond what a float holds; nothing else does, and nothing is lost."""
    data = read_only(np.array([1e308, 5e-324, -1e308, 1e-160]))
    indices, indptr = np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3, 4])
    C = np.zeros((4, K))
    csr.csr_product(data, indices, indptr, 0, 4, np.ones((2, K)), C)
    np.testing.assert_array_equal(C, np.tile(data[:, None], K))
    C[:] = 0.0
    csr.csr_centred_squares(data, indices, indptr, 0, 4, np.zeros(4), np.ones((2, K)), C)
    np.testing.assert_array_equal(C, np.tile(data[:, None] ** 2, K))


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_centred_squares(data_type, index_type, K):
    matrix = csr_problem(data_type, index_type)
    rng = np.random.default_rng(1)
    center = read_only(rng.normal(scale=3.0, size=40))
    B, C = rng.normal(size=(11, K)), rng.normal(size=(40, K))
    result = C.copy()
    csr.csr_centred_squares(*matrix, 0, 40, center, B, result)
    assert_close(result - C, naive.csr_centred_squares(*matrix, center, B), scale=10)


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_centred_squares_touch_their_rows_only(start, stop, K):
    matrix = csr_problem()
    rng = np.random.default_rng(1)
    center, B, C = rng.normal(size=40), rng.normal(size=(11, K)), np.zeros((40, K))
    csr.csr_centred_squares(*matrix, start, stop, center, B, C)
    exact = naive.csr_centred_squares(*matrix, center, B)
    assert_close(C[start:stop], exact[start:stop], scale=10)
    assert not C[:start].any()
    assert not C[stop:].any()


@pytest.mark.parametrize("K", [1, 3])
def test_csr_centred_squares_are_squares_of_centred_entries(K):
    """With the entries that are not stored, which add center_j^2 each."""
    data, indices, indptr = ascending_csr()
    rng = np.random.default_rng(1)
    center, B = rng.normal(size=40), rng.uniform(size=(11, K))
    C = center[:, None] ** 2 * B.sum(axis=0)
    csr.csr_centred_squares(data, indices, indptr, 0, 40, center, B, C)
    entries = naive.csr_product(data, indices, indptr, np.eye(11))
    assert_close(C, (entries - center[:, None]) ** 2 @ B, scale=10)


# ---- transposing ----------------------------------------------------------------------------

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


# ---- conjugate gradients, features along the first axis ---------------------------------------


class Vectors:
    """What the kernels of conjugate gradients take: (q, K) each, and what goes with them."""

    def __init__(self, K, p=9, intercept=True, seed=0):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q = K, p, p + intercept
        names = "x", "direction", "residual", "image", "scale"
        for name, values in zip(names, rng.normal(size=(5, self.q, K)), strict=True):
            setattr(self, name, values)
        self.g, self.ridge, self.length, self.ratio, self.dots = rng.normal(size=(5, K))
        self.center, self.at_mean = rng.normal(size=p), rng.normal(size=self.q)

    def finish_product(self, start, stop):
        frozen = map(read_only, (self.g, self.center, self.ridge))
        direction = read_only(self.direction)
        conjugate_gradient.finish_product(
            self.image, direction, start, stop, self.p, *frozen, self.dots
        )

    def advance(self, start, stop, softmax):
        direction, length, scale = map(read_only, (self.direction, self.length, self.scale))
        vectors = self.x, direction, self.residual, self.image, length, scale
        conjugate_gradient.advance(*vectors, softmax, start, stop, self.dots)

    def turn(self, start, stop):
        frozen = map(read_only, (self.image, self.ratio, self.at_mean))
        conjugate_gradient.turn(self.direction, *frozen, start, stop, self.dots)


over_vectors = pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 9])
over_features = pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (0, 0), (0, 9), (2, 5), (9, 10), (10, 10)]
)


def assert_of_features(result, before, exact, start, stop):
    """As the twin has it between start and stop, as before elsewhere."""
    assert_close(result[start:stop], exact[start:stop])
    np.testing.assert_array_equal(
        np.delete(result, slice(start, stop), axis=0), np.delete(before, slice(start, stop), axis=0)
    )


@over_vectors
@over_features
def test_finish_product(start, stop, K):
    """The last feature is the intercept; what is there of it does not count."""
    now, before = Vectors(K), Vectors(K)
    now.image[9] = before.image[9] = np.nan
    now.finish_product(start, stop)
    exact = naive.finish_product(
        before.image, before.direction, before.g, before.center, before.ridge
    )
    assert_of_features(now.image, before.image, exact, start, stop)
    dots = (naive.wide(before.direction) * exact)[start:stop].sum(axis=0)
    assert_close(now.dots - before.dots, dots, scale=10)


@pytest.mark.parametrize("softmax", [True, False])
@over_vectors
@over_features
def test_advance(start, stop, K, softmax):
    now, before = Vectors(K), Vectors(K)
    now.advance(start, stop, softmax)
    x, residual, z = naive.advance(
        before.x,
        before.direction,
        before.residual,
        before.image,
        before.length,
        before.scale,
        softmax,
    )
    assert_of_features(now.x, before.x, x, start, stop)
    assert_of_features(now.residual, before.residual, residual, start, stop)
    assert_of_features(now.image, before.image, z, start, stop)
    assert_close(now.dots - before.dots, (residual * z)[start:stop].sum(axis=0), scale=10)


@over_vectors
@over_features
def test_turn(start, stop, K):
    now, before = Vectors(K), Vectors(K)
    now.turn(start, stop)
    d = naive.wide(before.image) + naive.wide(before.ratio) * naive.wide(before.direction)
    assert_of_features(now.direction, before.direction, d, start, stop)
    dots = (before.at_mean[:, None] * d)[start:stop].sum(axis=0)
    assert_close(now.dots - before.dots, dots, scale=10)


@pytest.mark.parametrize("K", [1, 3])
def test_conjugate_gradients_without_an_intercept(K):
    now, before = Vectors(K, intercept=False), Vectors(K, intercept=False)
    now.finish_product(0, 9)
    exact = naive.finish_product(
        before.image, before.direction, before.g, before.center, before.ridge
    )
    assert_close(now.image, exact)


@pytest.mark.parametrize("softmax", [True, False])
def test_conjugate_gradients_let_a_nan_travel_in_its_output(softmax):
    """For softmax to all outputs of its feature."""
    vectors = Vectors(3)
    vectors.direction[4, 1] = np.nan
    vectors.finish_product(0, 10)
    np.testing.assert_array_equal(np.isnan(vectors.dots), [False, True, False])
    assert np.isnan(vectors.image[4, 1])
    assert np.isnan(vectors.image).sum() == 1
    vectors.dots[:] = 0.0
    vectors.advance(0, 10, softmax)
    assert np.isnan(vectors.x).sum() == np.isnan(vectors.residual).sum() == 1
    assert np.isnan(vectors.image[4]).sum() == np.isnan(vectors.image).sum()
    np.testing.assert_array_equal(np.isnan(vectors.image[4]), [softmax, True, softmax])
    np.testing.assert_array_equal(np.isnan(vectors.dots), [softmax, True, softmax])
    vectors.dots[:] = 0.0
    vectors.turn(0, 10)
    np.testing.assert_array_equal(np.isnan(vectors.direction[4]), [softmax, True, softmax])
    np.testing.assert_array_equal(np.isnan(vectors.dots), [softmax, True, softmax])


# ---- second derivatives: rows side by side --------------------------------------------------


def columns_of_logits(K, m, seed=0):
    """Logits (K, m), classes and weights."""
    Z, y, s = rows_of_logits(m, K, seed)
    return np.ascontiguousarray(Z.T), y, s


@pytest.mark.parametrize(("K", "m"), KMS)
def test_softmax_columns(K, m):
    Z, _, _ = columns_of_logits(K, m)
    P, log_total = Z.copy(), np.full(m, np.nan)
    curvature.softmax_columns(P, log_total)
    assert_close(P, naive.softmax(naive.wide(Z.T)).T)
    assert_close(log_total, naive.logsumexp(naive.wide(Z.T)))


EXTREME_COLUMNS = {
    # logits, probabilities, logsumexp
    "far apart": ([1e300, -1e300, 0.0], [1, 0, 0], 1e300),
    "far below": ([-1e300, 1e300, 0.0], [0, 1, 0], 1e300),
    "apart beyond what a float holds": ([1e308, -1e308, 0.0], [1, 0, 0], 1e308),
    "all large": ([1e300, 1e300], [0.5, 0.5], 1e300),
    "all very negative": ([-1e300, -1e300], [0.5, 0.5], -1e300),
    "impossible class": ([-np.inf, 0.0], [0, 1], 0.0),
    "nearly impossible": ([0.0, -700.0], [1, math.exp(-700.0)], 0.0),
    "one class": ([1e300], [1], 1e300),
    "subnormal": ([5e-324, -5e-324], [0.5, 0.5], LN2),
    "negative zero": ([-0.0, 0.0], [0.5, 0.5], LN2),
}


@pytest.mark.parametrize("case", EXTREME_COLUMNS)
@pytest.mark.parametrize("m", [1, 5])
def test_softmax_columns_at_extremes(case, m):
    z, probabilities, total = EXTREME_COLUMNS[case]
    Z, log_total = np.tile(np.array(z)[:, None], (1, m)), np.empty(m)
    curvature.softmax_columns(Z, log_total)
    np.testing.assert_allclose(Z, np.tile(np.array(probabilities)[:, None], (1, m)), rtol=1e-15)
    np.testing.assert_allclose(log_total, total, rtol=1e-15)


@pytest.mark.parametrize("c", [-1e6, -700.0, 700.0, 1e6])
def test_softmax_columns_do_not_see_a_shift_of_all_logits(c):
    Z, _, _ = columns_of_logits(4, 20)
    Z = np.round(Z * 1024) / 1024  # so that the shift itself is exact
    shifted, log_total = Z + c, np.empty((2, 20))
    curvature.softmax_columns(Z, log_total[0])
    curvature.softmax_columns(shifted, log_total[1])
    np.testing.assert_array_equal(shifted, Z)
    np.testing.assert_allclose(log_total[1] - c, log_total[0], atol=1e-9)


@pytest.mark.parametrize(
    "bad", [[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [7.0, np.nan, 5.0], [np.inf, 0.0, 1.0]]
)
def test_softmax_of_a_bad_column_is_nan_and_of_the_others_is_not(bad):
    Z, _, _ = columns_of_logits(3, 6)
    exact = naive.softmax(naive.wide(Z.T)).T
    Z[:, 2] = bad
    log_total = np.empty(6)
    curvature.softmax_columns(Z, log_total)
    assert np.isnan(Z[:, 2]).all()
    assert np.isnan(log_total[2])
    assert_close(np.delete(Z, 2, axis=1), np.delete(exact, 2, axis=1))
    assert np.isfinite(np.delete(log_total, 2)).all()


@pytest.mark.parametrize(("K", "m"), KMS)
def test_sigmoid_columns(K, m):
    Z, _, _ = columns_of_logits(K, m)
    P = Z.copy()
    curvature.sigmoid_columns(P)
    assert_close(P, naive.sigmoid(naive.wide(Z)))


def test_sigmoid_columns_at_extremes():
    e = math.exp(-700.0)
    Z = np.array([[1e300, -1e300, np.inf, -np.inf, 0.0, -0.0, 5e-324, -700.0, 700.0, np.nan]])
    curvature.sigmoid_columns(Z)
    exact = np.array([[1.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.5, e, 1.0, np.nan]])
    np.testing.assert_allclose(Z, exact, rtol=1e-15)


def probabilities(K, m, seed=0):
    """P (K, m), some of them 0 and 1, and weights."""
    Z, _, s = columns_of_logits(K, m, seed)
    P = naive.softmax(naive.wide(Z.T)).T.astype(np.float64)
    P[:, 0] = np.arange(K) == K - 1
    return np.ascontiguousarray(P), s


@pytest.mark.parametrize(("K", "m"), KMS)
def test_class_products(K, m):
    P, s = probabilities(K, m)
    D = np.full((K * (K + 1) // 2, m), 7.0)
    curvature.class_products(P, s, D)
    assert_close(D, naive.class_products(P, s))
    assert not D[:, 0].any()


def test_class_products_let_nan_travel():
    P, s = probabilities(3, 5)
    D = np.empty((2, 6, 5))
    curvature.class_products(P, s, D[0])
    P[1, 2] = np.nan
    curvature.class_products(P, s, D[1])
    of_bad_class = [1 in pair for pair in naive.pairs(3)]
    assert np.isnan(D[1, of_bad_class, 2]).all()
    D[:, of_bad_class, 2] = 0.0
    np.testing.assert_array_equal(D[0], D[1])


def curvature_state(n, K, softmax, seed=0):
    """What `couple_rows` takes, (n, K), and weights."""
    P, s = probabilities(K, n, seed)
    P = np.ascontiguousarray(P.T)
    return (P if softmax else s[:, None] * P * (1 - P)), s


over_coupling = pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "one-vs-all"])


@over_coupling
@pytest.mark.parametrize(("K", "m"), KMS)
def test_couple_rows(K, m, softmax):
    state, s = curvature_state(m, K, softmax)
    T = np.random.default_rng(1).normal(size=(m, K))
    result = T.copy()
    curvature.couple_rows(state, s, softmax, result)
    assert_close(result, naive.couple_rows(state, s, softmax, T))


@over_coupling
def test_couple_rows_lets_a_nan_travel_in_its_row_only(softmax):
    state, s = curvature_state(5, 3, softmax)
    T = np.random.default_rng(1).normal(size=(5, 3))
    exact = naive.couple_rows(state, s, softmax, T)
    T[3, 1] = np.nan
    curvature.couple_rows(state, s, softmax, T)
    assert np.isnan(T[3, slice(None) if softmax else 1]).all()
    T[3] = exact[3] = 0.0
    assert_close(T, exact)


@over_coupling
@pytest.mark.parametrize(("p", "K"), PKS)
@pytest.mark.parametrize("n", [1, 4, 63, 65, 130])
def test_dense_curvature_product(n, p, K, softmax):
    X, _, _, V, v = dense_problem(n, p, K)
    center = np.random.default_rng(1).normal(size=p)
    state, s = curvature_state(n, K, softmax)
    G, g = V.copy(), v.copy()  # what is there already stays
    curvature.dense_curvature_product(X, center, state, s, softmax, V, v, G, g)
    exact = naive.curvature_product(X, center, state, s, softmax, V, v)
    assert_close(G - V, exact[0], scale=10 * n)
    assert_close(g - v, exact[1], scale=10 * n)


@over_coupling
@pytest.mark.parametrize("row", [0, 63, 64, 129])
def test_dense_curvature_product_does_not_hide_bad_data(softmax, row):
    X, _, _, V, v = dense_problem(130, 3, 2)
    state, s = curvature_state(130, 2, softmax, seed=1)
    state[row], s[row] = 0.25, 1.0
    G, g = np.zeros_like(V), np.zeros_like(v)
    X = with_one_bad_entry(X, row, np.nan)
    curvature.dense_curvature_product(X, np.zeros(3), state, s, softmax, V, v, G, g)
    assert np.isnan(G).all()
    assert np.isnan(g).all()


def ascending_csr(data_type=np.float64, index_type=np.int32, n=40, p=11):
    """A CSR matrix in canonical order, with empty rows and columns and explicit zeros."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(rng.random(p - 1) < 0.4) for _ in range(n)]
    rows[0] = rows[3] = rows[n - 1] = np.empty(0, dtype=int)
    indptr = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(index_type)
    indices = np.concatenate(rows).astype(index_type)
    data = rng.normal(size=indices.size).astype(data_type)
    data[::7] = 0.0
    return read_only(data), read_only(indices), read_only(indptr)


@pytest.mark.parametrize("pairs", [1, 2, 3, 6])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_gram(data_type, index_type, pairs):
    matrix = ascending_csr(data_type, index_type)
    rng = np.random.default_rng(1)
    D, G, sums = (rng.normal(size=(*shape, pairs)) for shape in ((40,), (11, 11), (11,)))
    result, result_sums = G.copy(), sums.copy()
    curvature.csr_gram(*matrix, 0, 40, read_only(D), result, result_sums)
    exact, exact_sums = naive.csr_gram(*matrix, D, 11)
    # float32 entries of several pairs are multiplied as they come
    eps = 1e-6 if data_type == np.float32 else 1e-13
    np.testing.assert_allclose(result - G, exact.astype(np.float64), rtol=eps, atol=40 * eps)
    assert_close(result_sums - sums, exact_sums, scale=40)
    upper = np.triu_indices(11, 1)
    np.testing.assert_array_equal(result[upper], G[upper])


@pytest.mark.parametrize("pairs", [1, 3])
@over_ranges
def test_csr_gram_of_a_range_of_rows(start, stop, pairs):
    data, indices, indptr = ascending_csr()
    D = np.random.default_rng(1).normal(size=(stop - start, pairs))
    G, sums = np.zeros((11, 11, pairs)), np.zeros((11, pairs))
    curvature.csr_gram(data, indices, indptr, start, stop, D, G, sums)
    own = slice(indptr[start], indptr[stop])
    rows = data[own], indices[own], indptr[start : stop + 1] - indptr[start]
    exact, exact_sums = naive.csr_gram(*rows, D, 11)
    assert_close(G, exact, scale=10)
    assert_close(sums, exact_sums, scale=10)


@pytest.mark.parametrize("pairs", [1, 3])
def test_csr_gram_lets_a_nan_travel(pairs):
    matrix, row = with_one_bad_value(ascending_csr(), np.nan)
    _, indices, indptr = matrix
    j = indices[indptr[row]]
    G, sums = np.zeros((11, 11, pairs)), np.zeros((11, pairs))
    curvature.csr_gram(*matrix, 0, 40, np.ones((40, pairs)), G, sums)
    assert np.isnan(G[indices[indptr[row] : indptr[row + 1]], j]).all()
    others = np.delete(np.delete(G, j, axis=0), j, axis=1)
    assert np.isfinite(others).all()
    np.testing.assert_array_equal(np.isnan(sums).all(axis=1), np.arange(11) == j)
    assert np.isfinite(np.delete(sums, j, axis=0)).all()


# ---- Hessians over dense rows ---------------------------------------------------------------

QS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17)  # around the tiles of 4 x 4


def features(q, m, seed=0):
    """A (q, m) and factors (m,) of both signs, read-only."""
    rng = np.random.default_rng(seed)
    return read_only(rng.normal(size=(q, m))), read_only(rng.normal(size=m))


def within_tiles(q):
    """Where a lower triangle (q, q) is, or may be, written to: tiles of 4 x 4 from the first on."""
    whole = q - q % 4
    tile = np.where(np.arange(q) < whole, np.arange(q) // 4, np.arange(q))
    return tile[:, None] >= tile


@pytest.mark.parametrize("m", [1, 2, 7, 8, 9, 17])
@pytest.mark.parametrize("q", QS)
def test_add_weighted_gram(q, m):
    """Added to a part of H; beyond the tiles of its lower triangle H stays."""
    A, d = features(q, m)
    before = np.random.default_rng(1).normal(size=(q + 5, q + 4))
    for row, column in ((0, 0), (5, 0), (2, 3), (0, 4)):
        H = before.copy()
        hessian.add_weighted_gram(A, d, np.full((4, m), np.nan), H, row, column)
        part = slice(row, row + q), slice(column, column + q)
        lower = np.tril_indices(q)
        assert_close((H - before)[part][lower], naive.weighted_gram(A, d)[lower], scale=m)
        may_change = np.zeros(H.shape, dtype=bool)
        may_change[part] = within_tiles(q)
        np.testing.assert_array_equal(H[~may_change], before[~may_change])


def test_add_weighted_gram_of_no_rows_adds_nothing():
    A, d = features(5, 0)
    H = np.ones((5, 5))
    hessian.add_weighted_gram(A, d, np.empty((4, 0)), H, 0, 0)
    np.testing.assert_array_equal(H, 1.0)


@pytest.mark.parametrize("q", [1, 4, 6, 9])
def test_add_weighted_gram_in_other_units_is_the_same(q):
    """Bit for bit with powers of 2, however large."""
    A, d = features(q, 9)
    units = np.ldexp(1.0, np.random.default_rng(2).integers(-400, 400, size=q))
    H = np.zeros((2, q, q))
    scratch = np.empty((4, 9))
    hessian.add_weighted_gram(A, d, scratch, H[0], 0, 0)
    hessian.add_weighted_gram(A * units[:, None], d, scratch, H[1], 0, 0)
    np.testing.assert_array_equal(np.tril(H[0] * np.outer(units, units)), np.tril(H[1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("j", range(7))
def test_add_weighted_gram_lets_bad_features_travel(bad, j):
    """nan and inf; and the square, no more, of what is too large to be squared."""
    A, d = (array.copy() for array in features(7, 9))
    A[j, 5] = bad
    H = np.zeros((7, 7))
    hessian.add_weighted_gram(A, d, np.empty((4, 9)), H, 0, 0)
    touched = np.zeros((7, 7), dtype=bool)
    if bad == 1e200:
        touched[j, j] = True
    else:
        touched[j] = touched[:, j] = True
    lower = np.tril_indices(7)
    np.testing.assert_array_equal(~np.isfinite(H[lower]), touched[lower])


@pytest.mark.parametrize("q", [1, 4, 6])
def test_add_weighted_gram_lets_bad_weights_travel(q):
    A, d = (array.copy() for array in features(q, 9))
    d[8] = np.nan
    H = np.zeros((q, q))
    hessian.add_weighted_gram(A, d, np.empty((4, 9)), H, 0, 0)
    assert np.isnan(H[np.tril_indices(q)]).all()


def test_add_four():
    H = np.zeros((3, 9))
    for _ in range(2):
        hessian.add_four(H, 1, 4, 1.0, 2.0, np.nan, 1e308)
    expected = np.zeros((3, 9))
    expected[1, 4:8] = [2.0, 4.0, np.nan, np.inf]
    np.testing.assert_array_equal(H, expected)


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("m", [1, 3, 8, 17])
@pytest.mark.parametrize("q", QS)
def test_column_logits(q, m, K):
    A, _ = features(q, m)
    W = np.random.default_rng(1).normal(size=(K, q))
    P = np.full((K, m), np.nan)
    hessian.column_logits(A, read_only(W), P)
    assert_close(P, naive.wide(W) @ naive.wide(A), scale=q)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
@pytest.mark.parametrize("j", range(6))
def test_column_logits_let_bad_numbers_travel(j, bad):
    """A feature's to its column, a coefficient's to its row."""
    A, W = np.ones((6, 5)), np.full((2, 6), 2.0)
    P = np.empty((2, 5))
    A[j, 3] = bad
    hessian.column_logits(A, W, P)
    np.testing.assert_array_equal(~np.isfinite(P), np.tile(np.arange(5) == 3, (2, 1)))
    A[j, 3], W[1, j] = 2.0, bad
    hessian.column_logits(A, W, P)
    assert np.isfinite(P[0]).all()
    assert not np.isfinite(P[1, 3])
    assert np.isfinite(P[1, :3]).all() == (bad == 1e308)


@pytest.mark.parametrize("m", [1, 7, 8, 40])
@pytest.mark.parametrize("start", [0, 1, 16, 29, 30])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("p", [0, 1, 15, 16, 17, 33])
def test_centred_columns(p, intercept, start, m):
    """To the bit: each number is one difference.  From no rows on, all is 0."""
    rng = np.random.default_rng(0)
    X, center = read_only(rng.normal(size=(30, p))), read_only(rng.normal(size=p))
    A = np.full((p + intercept, m), np.nan)
    hessian.centred_columns(X, start, center, A)
    exact = naive.centred_columns(X, start, center, p + intercept, m)
    np.testing.assert_array_equal(A, exact.astype(np.float64))


def test_centred_columns_of_bad_and_extreme_numbers():
    X = np.array([[np.nan, 1e308, 5e-324], [-np.inf, -1e308, 0.0]])
    A = np.zeros((4, 3))
    hessian.centred_columns(X, 0, np.array([1.0, 1e308, -5e-324]), A)
    expected = [[np.nan, -np.inf, 0.0], [0.0, -np.inf, 0.0], [1e-323, 5e-324, 0.0], [1.0, 1.0, 0.0]]
    np.testing.assert_array_equal(A, expected)


def hessian_problem(n, p, intercept, K, problems=1, seed=0):
    """X, center, weight (problems, n), W (K, q) in the centred coordinates; read-only."""
    rng = np.random.default_rng(seed)
    center = rng.normal(scale=3.0, size=p)
    X, W = center + rng.normal(size=(n, p)), rng.normal(size=(K, p + intercept))
    return [read_only(array) for array in (X, center, rng.uniform(0, 2, (problems, n)), W)]


# (p, intercept, block): on and beside multiples of 4 and 16; blocks of whole vector registers
DENSE_HESSIANS = (
    (1, False, 8),
    (1, True, 8),
    (0, True, 8),
    (3, True, 8),
    (4, True, 16),
    (7, False, 8),
    (16, False, 8),
    (16, True, 16),
)
over_dense_hessians = pytest.mark.parametrize(("p", "intercept", "block"), DENSE_HESSIANS)
BY_BLOCK = ((1, 0), (1, -1), (1, 1), (2, 0), (2, 3))  # rows: so many blocks and so many more


@over_dense_hessians
@pytest.mark.parametrize(("blocks", "more"), [(0, 1), *BY_BLOCK])
def test_dense_gram(p, intercept, block, blocks, more):
    n = blocks * block + more
    X, center, weight, _ = hessian_problem(n, p, intercept, 1)
    q = p + intercept
    before = np.random.default_rng(1).normal(size=(q, q))
    H = before.copy()
    hessian.dense_gram(X, center, weight[0], block, H)
    exact = naive.weighted_gram(naive.centred_columns(X, 0, center, q, n), weight[0])
    lower = np.tril_indices(q)
    assert_close((H - before)[lower], exact[lower], scale=n)


@pytest.mark.parametrize("row", [0, 7, 8, 17])
def test_dense_gram_does_not_hide_bad_data(row):
    X, center, weight, _ = hessian_problem(18, 3, True, 1)
    H = np.zeros((4, 4))
    hessian.dense_gram(with_one_bad_entry(X, row, np.nan), center, weight[0], 8, H)
    bad = np.zeros((4, 4), dtype=bool)
    bad[1] = bad[:, 1] = True
    lower = np.tril_indices(4)
    np.testing.assert_array_equal(np.isnan(H[lower]), bad[lower])


def test_dense_hessians_of_no_rows():
    X, center, weight, W = hessian_problem(0, 3, True, 2)
    H = np.ones((3, 4, 4))
    hessian.dense_gram(X, center, weight[0], 8, H[0])
    hessian.dense_hessian(X, center, weight, W, True, False, 8, H)
    np.testing.assert_array_equal(H, 1.0)


# softmax, by class, problems with weights of their own
HESSIAN_KINDS = {
    "softmax": (True, False, False),
    "softmax by class": (True, True, False),
    "one-vs-all": (False, False, False),
    "one-vs-all with sides": (False, False, True),
    "one-vs-all by class": (False, True, True),
}
over_kinds = pytest.mark.parametrize("kind", HESSIAN_KINDS)


def run_dense_hessian(X, center, weight, W, kind, block=8, before=0.0):
    softmax, by_class, _ = HESSIAN_KINDS[kind]
    K, q = W.shape
    H = np.empty((K * (K + 1) // 2 if softmax and not by_class else K, q, q))
    H[:] = before
    hessian.dense_hessian(X, center, weight, W, softmax, by_class, block, H)
    return H


@over_kinds
@over_dense_hessians
@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_dense_hessian(kind, p, intercept, block, K):
    softmax, by_class, sides = HESSIAN_KINDS[kind]
    for blocks, more in ((0, 1), *BY_BLOCK):
        n = blocks * block + more
        X, center, weight, W = hessian_problem(n, p, intercept, K, K if sides else 1)
        H = run_dense_hessian(X, center, weight, W, kind, block, before=1.0) - 1.0
        exact = naive.dense_hessian(X, center, weight, W, softmax, by_class)
        j, r = np.tril_indices(W.shape[1])
        assert H.shape == exact.shape
        assert_close(H[:, j, r], exact[:, j, r], scale=n)


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
def test_dense_hessian_by_class_is_a_part_of_the_whole(kind):
    """Bit for bit."""
    problem = hessian_problem(19, 5, True, 4)
    whole, parts = (
        run_dense_hessian(*problem, kind),
        run_dense_hessian(*problem, kind + " by class"),
    )
    own = [k == other for k, other in naive.pairs(4)] if kind == "softmax" else slice(None)
    np.testing.assert_array_equal(parts, whole[own])


@over_kinds
def test_dense_hessian_in_other_blocks_is_the_same(kind):
    problem = hessian_problem(37, 5, True, 3)
    results = [run_dense_hessian(*problem, kind, block) for block in (8, 16, 40)]
    assert_close(results[1], results[0], scale=37)
    assert_close(results[2], results[0], scale=37)


@over_kinds
def test_dense_hessian_of_sure_rows_is_0(kind):
    """Beyond what an exponential, or a float, can show."""
    X, center, weight, W = hessian_problem(9, 3, True, 3)
    for scale in (1e6, 1e150, 1e306):
        assert not run_dense_hessian(X, center, weight, W * scale, kind).any()


@over_kinds
@pytest.mark.parametrize("row", [0, 7, 8, 18])
def test_dense_hessian_does_not_hide_bad_data(kind, row):
    X, center, weight, W = hessian_problem(19, 4, True, 2)
    H = run_dense_hessian(with_one_bad_entry(X, row, np.nan), center, weight, W, kind)
    j, r = np.tril_indices(5)
    assert np.isnan(H[:, j, r]).all()


@pytest.mark.parametrize("kind", ["one-vs-all", "one-vs-all with sides"])
def test_a_bad_weight_is_of_its_problem_only(kind):
    X, center, weight, W = hessian_problem(19, 4, True, 3, HESSIAN_KINDS[kind][2] * 2 + 1)
    weight = weight.copy()
    weight[-1, 11] = np.nan
    H = run_dense_hessian(X, center, weight, W, kind)
    j, r = np.tril_indices(5)
    bad = np.isnan(H[:, j, r])
    assert (bad.all(axis=1) == bad.any(axis=1)).all()
    np.testing.assert_array_equal(bad.any(axis=1), [len(weight) == 1] * 2 + [True])


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("q", [1, 2, 3, 7])
def test_assemble(q, K, coupled):
    """From lower triangles: what is above them is not read."""
    pairs = K * (K + 1) // 2 if coupled else K
    grams = np.random.default_rng(0).normal(size=(pairs, q, q))
    grams[0, q - 1, 0] = np.inf
    grams[:, *np.triu_indices(q, 1)] = np.nan
    H = np.full((1, K * q, K * q) if coupled else (K, q, q), np.nan)
    hessian.assemble(read_only(grams), coupled, H)
    np.testing.assert_array_equal(H, naive.assemble(grams, coupled))
    np.testing.assert_array_equal(H, H.swapaxes(1, 2))


def whole_hessian(problem, kind):
    """Assembled, as (K, q, K, q)."""
    K, q = problem[-1].shape
    coupled = kind == "softmax"
    H = np.empty((1, K * q, K * q) if coupled else (K, q, q))
    hessian.assemble(run_dense_hessian(*problem, kind), coupled, H)
    if coupled:
        return H.reshape(K, q, K, q)
    result = np.zeros((K, q, K, q))
    result[np.arange(K), :, np.arange(K)] = H
    return result


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("p", [1, 4, 7])
def test_hessians_times_directions_are_products_by_rows(kind, p):
    """What `dense_curvature_product` makes without a Hessian."""
    K, n = 3, 21
    X, center, weight, W = problem = hessian_problem(n, p, True, K)
    A = naive.centred_columns(X, 0, center, p + 1, n)
    state = np.empty((n, K))
    state[:] = (naive.wide(W) @ A).T
    if kind == "softmax":
        state = naive.softmax(state)
    else:
        P = naive.sigmoid(state)
        state = weight.T * P * (1 - P)
    V = np.random.default_rng(1).normal(size=(K, p + 1))
    coef, intercept = np.ascontiguousarray(V[:, :p]), V[:, p].copy()
    G, g = np.zeros_like(coef), np.zeros(K)
    curvature.dense_curvature_product(
        X, center, state, weight[0], kind == "softmax", coef, intercept, G, g
    )
    product = np.einsum("kjlr,lr->kj", whole_hessian(problem, kind), V)
    assert_close(product, np.column_stack([G, g]), scale=10 * n)


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
def test_hessians_are_differences_of_gradients(kind):
    n, p, K = 21, 3, 3
    X, center, weight, W = problem = hessian_problem(n, p, True, K)
    X = read_only(X - center)
    y = np.random.default_rng(2).integers(K, size=n)
    sides = np.arange(K), np.ones(K), np.ones(K)

    def gradient(point):
        coef, intercept = np.ascontiguousarray(point[:, :p]), point[:, p].copy()
        if kind == "softmax":
            _, G, g = run_dense_softmax(X, y, weight[0], coef, intercept)
        else:
            _, G, g = run_dense_sigmoid(X, y, weight[0], sides, coef, intercept)
        return np.column_stack([G, g])

    H = whole_hessian(problem, kind)
    for at in np.ndindex(W.shape):
        np.testing.assert_allclose(H[at], derivative(gradient, W, at), atol=1e-7)


def test_hessians_of_softmax_do_not_see_a_shift_of_all_classes():
    H = whole_hessian(hessian_problem(21, 4, True, 3), "softmax")
    np.testing.assert_allclose(H.sum(axis=2), 0.0, atol=1e-13)


# ---- Newton in one call ---------------------------------------------------------------------

# (K, p, intercept): one feature, one coordinate, no feature; beside and on multiples of 4
NEWTON_SHAPES = (
    (3, 1, False),
    (3, 0, True),
    (3, 2, True),
    (4, 4, False),
    (5, 6, True),
    (3, 7, True),
    (2, 16, True),
)
BINARY_SHAPES = tuple((1, p, intercept) for _, p, intercept in NEWTON_SHAPES)
over_newton_shapes = pytest.mark.parametrize(
    ("K", "p", "fit_intercept"), NEWTON_SHAPES + BINARY_SHAPES
)
over_blocks = pytest.mark.parametrize("blocks", [1, 2, 3])
NO_SIDES = np.ones(2)


class NewtonProblem:
    """What `newton_problems` takes, in ``blocks`` filled up with rows of weight 0; its twin's."""

    def __init__(self, K=3, p=2, fit_intercept=True, blocks=1, n=41, lambda2=0.01, seed=0):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q, self.lambda2 = K, p, p + fit_intercept, lambda2
        self.y = rng.integers(K if K > 1 else 3, size=n)
        self.s = rng.uniform(0.5, 2, n) / n
        X = rng.normal(size=(n, p)) + 0.5 * (self.y[:, None] == np.arange(p))
        self.center = 3.0 + X.mean(axis=0) if fit_intercept else np.zeros(p)
        self.A = np.ones((self.q, n))
        self.A[:p] = X.T - X.mean(axis=0)[:, None] if fit_intercept else X.T
        self.column, self.sides = -1, NO_SIDES
        if K == 1:
            self.column, self.sides = 1, np.array([0.75, 1.5])
        m = -(-n // blocks)
        self.blocks_A = np.zeros((blocks, self.q, m))
        self.blocks_y = np.zeros((blocks, m), dtype=np.int64)
        self.blocks_s = np.zeros((blocks, m))
        for b in range(blocks):
            rows = slice(b * m, min((b + 1) * m, n))
            filled = rows.stop - rows.start
            self.blocks_A[b, :, :filled] = self.A[:, rows]
            self.blocks_A[b, p:] = 1.0
            self.blocks_y[b, :filled] = self.y[rows]
            self.blocks_s[b, :filled] = self.s[rows]

    def point(self, scale=0.0, seed=0):
        return scale * np.random.default_rng(seed).normal(size=(self.K, self.q))

    def run(self, point, tol=1e-2, goal=1e-5, limit=50):
        """Where the kernel ends, its steps and its evaluations."""
        ends, counts = self.run_all(
            np.array([self.column]),
            self.sides[None],
            np.array([self.lambda2]),
            point[None],
            np.array([goal]),
            tol,
            limit,
        )
        return ends[0], *counts[0]

    def run_all(self, columns, sides, lambda2, points, goals, tol=1e-2, limits=50):
        """Where the kernel ends in several problems, and its counts."""
        ends, counts = points.copy(), np.zeros((len(points), 2), dtype=np.int64)
        limits = np.broadcast_to(limits, len(points)).astype(np.int64)
        data = self.blocks_A, self.center, self.blocks_y, self.blocks_s
        newton.newton_problems(*data, columns, sides, lambda2, ends, tol, goals, limits, counts)
        return ends, counts

    def rows(self):
        return self.A, self.y, self.s, self.column, self.sides

    def twin(self, point, tol=1e-2, goal=1e-5, max_iter=50):
        A, *rest = self.rows()
        return naive.newton(A, self.center, *rest, self.lambda2, point, tol, goal, max_iter)

    def smooth(self, point):
        return naive.smooth(*self.rows(), self.lambda2, self.p, point)

    def violation(self, point):
        return naive.violation(self.smooth(point)[1], self.center)

    def evaluate(self, point, second=True):
        """Value, gradient and Hessian from the kernels."""
        K, size, m = self.K, self.K * self.q, self.blocks_y.shape[1]
        P, D = np.full((K, m), np.nan), np.full((K * (K + 1) // 2, m), np.nan)
        scratch = np.full((4, m), np.nan)
        gradient, H = np.full(point.shape, np.nan), np.full((size, size), np.nan)
        value = newton._penalty(self.lambda2, self.p, point, gradient, H)
        for a, y, s in zip(self.blocks_A, self.blocks_y, self.blocks_s, strict=True):
            hessian.column_logits(a, point, P)
            if K > 1:
                value += newton._softmax(y, s, P, D, scratch)
            else:
                value += newton._sigmoid(y, s, self.column, self.sides, P[0], D[0])
            newton._add_derivatives(a, P, D, scratch, second, gradient, H)
        if second:
            newton._complete(H, K, self.p, K > 1)
        return value, gradient, H

    def hessian(self, point):
        """F's Hessian from the twin, with softmax's shift of all intercepts filled in."""
        D = naive.curvature(*self.rows(), point)
        H = naive.hessian(self.A, D, self.lambda2, self.p).astype(np.float64)
        if self.K > 1 and self.q > self.p:
            own = np.ix_(*(np.arange(self.K) * self.q + self.p,) * 2)
            H[own] += H[own].trace() / self.K**2
        return H


@over_newton_shapes
@over_blocks
def test_newton_s_evaluation(K, p, fit_intercept, blocks):
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    for scale in (0.0, 1.0, 30.0):
        point = problem.point(scale)
        value, gradient, H = problem.evaluate(point)
        exact_value, exact_gradient = problem.smooth(point)
        assert value == pytest.approx(float(exact_value), rel=1e-13)
        assert_close(gradient, exact_gradient, scale=10)
        lower = np.tril_indices_from(H)
        assert_close(H[lower], problem.hessian(point)[lower], scale=10)


@pytest.mark.parametrize("K", [1, 3])
def test_newton_s_evaluation_without_second_derivatives(K):
    """The same to the bit; of the Hessian the penalty alone."""
    problem = NewtonProblem(K, p=5, blocks=2)
    point = problem.point(1.0)
    value, gradient, H = problem.evaluate(point, second=False)
    expected_value, expected_gradient, _ = problem.evaluate(point)
    assert value == expected_value
    np.testing.assert_array_equal(gradient, expected_gradient)
    np.testing.assert_array_equal(H, np.diag(0.01 * np.tile([1, 1, 1, 1, 1, 0], K)))


@pytest.mark.parametrize("p", [0, 1, 3, 4])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [1, 3])
def test_newton_s_penalty(K, fit_intercept, p):
    """Not of intercepts, however large."""
    q = p + fit_intercept
    point = np.random.default_rng(0).normal(size=(K, q))
    point[:, p:] = 1e308
    gradient, H = np.full((K, q), np.nan), np.full((K * q, K * q), np.nan)
    value = newton._penalty(0.25, p, point, gradient, H)
    point[:, p:] = 0.0
    assert value == pytest.approx((point**2).sum() / 8, rel=1e-14)
    np.testing.assert_array_equal(gradient, point / 4)
    np.testing.assert_array_equal(H, np.diag(0.25 * np.tile(np.arange(q) < p, K)))


@pytest.mark.parametrize("K", [1, 2, 3])
@pytest.mark.parametrize("m", [1, 7, 8, 17])
@pytest.mark.parametrize("q", [1, 2, 3, 4, 5, 8, 9, 11])
def test_newton_s_derivatives_by_rows(q, m, K):
    """Added to what is there: to the gradient, and to the lower triangle of each pair's block."""
    A, _ = features(q, m)
    rng = np.random.default_rng(1)
    R, D = rng.normal(size=(K, m)), rng.normal(size=(K * (K + 1) // 2, m))
    G, before = rng.normal(size=(K, q)), rng.normal(size=(K * q, K * q))
    gradient, H = G.copy(), before.copy()
    newton._add_derivatives(A, R, D, np.empty((4, m)), True, gradient, H)
    assert_close(gradient - G, naive.wide(R) @ naive.wide(A).T, scale=m)
    added = (H - before).reshape(K, q, K, q)
    j, r = np.tril_indices(q)
    for (k, other), d in zip(naive.pairs(K), D, strict=True):
        assert_close(added[other, j, k, r], naive.weighted_gram(A, d)[j, r], scale=m)
        if k < other:
            assert not added[k, :, other].any()


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("p", [1, 2, 5])
def test_newton_s_complete_hessian(p, K, fit_intercept, softmax):
    """From the lower triangles of blocks, nothing else."""
    q = p + fit_intercept
    blocks = np.random.default_rng(0).normal(size=(K * (K + 1) // 2, q, q))
    exact = naive.assemble(blocks, coupled=True)[0]
    H = np.full((K, q, K, q), np.nan)
    j, r = np.tril_indices(q)
    for (k, other), block in zip(naive.pairs(K), blocks, strict=True):
        H[other, j, k, r] = block[j, r]
    H = H.reshape(K * q, K * q)
    newton._complete(H, K, p, softmax)
    if softmax and fit_intercept:
        own = np.ix_(*(np.arange(K) * q + p,) * 2)
        exact[own] += exact[own].trace() / K**2
    lower = np.tril_indices(K * q)
    assert_close(H[lower], exact[lower])
    assert np.isnan(H[np.triu_indices(K * q, 1)]).all()


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("m", [1, 3, 4, 5, 67])
def test_newton_s_softmax(K, m):
    Z, y, s = columns_of_logits(K, m)
    P, D = Z.copy(), np.empty((K * (K + 1) // 2, m))
    loss = newton._softmax(y, s, P, D, np.empty((4, m)))
    exact_loss, exact = naive.softmax_residual(Z.T, y, s)
    assert_close(loss, exact_loss, scale=m)
    assert_close(P, exact.T)
    assert_close(D, naive.class_products(naive.softmax(naive.wide(Z.T)).T, s))


@pytest.mark.parametrize("m", [1, 3, 4, 5, 67])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_newton_s_sigmoid(m, column):
    Z, _, s = columns_of_logits(1, m)
    y = np.random.default_rng(1).integers(3, size=m)
    sides = np.array([0.75, 1.5])
    z, d = Z[0].copy(), np.empty(m)
    loss = newton._sigmoid(y, s, column, sides, z, d)
    exact_loss, exact = naive.sigmoid_residual(Z.T, y, s, [column], sides[1:], sides[:1])
    assert_close(loss, exact_loss[0], scale=m)
    assert_close(z, exact[:, 0])
    weight = s * np.where(y == column, 1.5, 0.75)
    p = naive.sigmoid(naive.wide(Z[0]))
    assert_close(d, weight * p * naive.sigmoid(-naive.wide(Z[0])))


@pytest.mark.parametrize("case", SOFTMAX_EXTREMES)
def test_newton_s_softmax_at_extremes(case):
    z, label, loss, residual = SOFTMAX_EXTREMES[case]
    P, D = np.array(z)[:, None], np.empty((len(z) * (len(z) + 1) // 2, 1))
    found = newton._softmax(np.array([label]), np.ones(1), P, D, np.empty((4, 1)))
    rounding = np.abs(z).max(where=np.isfinite(z), initial=0.0) * np.finfo(float).eps
    assert found == pytest.approx(loss, abs=rounding)
    np.testing.assert_allclose(P[:, 0], residual, rtol=1e-15)
    assert np.isfinite(D).all()


@pytest.mark.parametrize("case", SIGMOID_EXTREMES)
def test_newton_s_sigmoid_at_extremes(case):
    logit, own, exact_loss, residual = SIGMOID_EXTREMES[case]
    z, d = np.array([logit]), np.empty(1)
    loss = newton._sigmoid(np.array([1 if own else 0]), np.ones(1), 1, NO_SIDES, z, d)
    np.testing.assert_allclose(loss, exact_loss, rtol=1e-15)
    np.testing.assert_allclose(z, residual, rtol=1e-15)
    exact = abs(residual) * (1 - abs(residual))
    np.testing.assert_allclose(d, exact, rtol=1e-15)


@pytest.mark.parametrize("own", [True, False])
def test_newton_s_losses_of_nan_are_nan(own):
    y = np.array([1 if own else 0])
    z, d = np.array([np.nan]), np.empty(1)
    assert np.isnan(newton._sigmoid(y, np.ones(1), 1, NO_SIDES, z, d))
    assert np.isnan(z).all()
    assert np.isnan(d).all()
    P, D = np.array([[0.0], [np.nan]]), np.empty((3, 1))
    assert np.isnan(newton._softmax(y, np.ones(1), P, D, np.empty((4, 1))))
    assert np.isnan(P).all()
    assert np.isnan(D).all()


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("K", "p"), [(1, 1), (1, 4), (3, 2), (5, 7)])
def test_newton_s_violation(K, p, fit_intercept):
    rng = np.random.default_rng(0)
    gradient, center = rng.normal(size=(K, p + fit_intercept)), 10 * rng.normal(size=p)
    exact = naive.violation(gradient, center)
    assert newton._violation(gradient, center) == pytest.approx(float(exact), rel=1e-14)


# ---- Newton's equations ---------------------------------------------------------------------

SIZES = (*range(1, 14), 16, 17, 31, 64, 65, 66, 67)  # around the 4 rows and columns at a time
over_sizes = pytest.mark.parametrize("d", SIZES)


def definite(d, seed=0):
    """A well-conditioned positive definite matrix with a unit diagonal."""
    B = np.random.default_rng(seed).normal(size=(d, 3 * d + 2))
    S = B @ B.T
    scale = 1 / np.sqrt(S.diagonal())
    S *= np.outer(scale, scale)
    np.fill_diagonal(S, 1.0)
    return S


def lower_only(S):
    """A copy, with nan above the diagonal."""
    return np.where(np.tri(len(S), dtype=bool), S, np.nan)


@over_sizes
def test_cholesky(d):
    """Against NumPy's; what is above the diagonal is neither read nor written."""
    S = definite(d)
    H = lower_only(S)
    assert newton._cholesky(H)
    np.testing.assert_allclose(np.tril(H), np.linalg.cholesky(S), rtol=1e-12, atol=1e-14)
    assert np.isnan(H[np.triu_indices(d, 1)]).all()


@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 9, 11])
def test_cholesky_of_ones_and_zeros_is_exact(d):
    H = np.eye(d)
    assert newton._cholesky(H)
    np.testing.assert_array_equal(H, np.eye(d))


@pytest.mark.parametrize("d", [2, 3, 4, 5, 7, 8, 9, 12, 13])
def test_cholesky_of_a_singular_matrix_is_none(d):
    """One row is another one's copy, whichever of them."""
    S = definite(d)
    for row in range(1, d):
        for other in {0, row // 2, row - 1}:
            T = S.copy()
            T[row] = T[other]
            T[:, row] = T[:, other]
            T[row, row] = 1.0
            assert not newton._cholesky(lower_only(T))


@pytest.mark.parametrize("d", [2, 3, 4, 5, 9, 31, 66])
def test_cholesky_of_a_matrix_of_lower_rank_is_none(d):
    """The last row is a sum of all others."""
    B = np.random.default_rng(0).normal(size=(d, 3 * d))
    B[-1] = B[:-1].sum(axis=0)
    S = B @ B.T
    scale = 1 / np.sqrt(S.diagonal())
    assert not newton._cholesky(S * np.outer(scale, scale))


@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0])
def test_cholesky_of_a_bad_matrix_is_none(d, bad):
    """Wherever below the diagonal it is, or on it; 2: more than a correlation can be."""
    S = definite(d)
    for at in zip(*np.tril_indices(d), strict=True):
        if at[0] == at[1] and bad > 0:
            continue  # a pivot, and a positive one
        H = lower_only(S)
        H[at] = bad
        assert not newton._cholesky(H)


@pytest.mark.parametrize("d", [1, 4, 6, 9])
@pytest.mark.parametrize("excess", [0.5, 2.0])
def test_a_pivot_counts_from_its_rounding_on(d, excess):
    """Below `PIVOT` it is none."""
    H = np.eye(d)
    H[d - 1, d - 1] = excess * newton.PIVOT
    assert newton._cholesky(H) == (excess > 1)


@pytest.mark.parametrize(("first", "start"), [(0, 0), (3, 0), (2, 2), (4, 4), (6, 4)])
def test_divide(first, start):
    """The rest of a row of L, where the products before ``start`` are already taken off."""
    S = definite(9)
    L = np.linalg.cholesky(S)
    a, stop = 8, 7
    H = L.copy()
    H[a] = S[a]
    H[a, :first] = L[a, :first]
    H[a, first:] -= L[a, :start] @ L[first:, :start].T
    before = H.copy()
    newton._divide(H, a, first, start, stop)
    np.testing.assert_allclose(H[a, :stop], L[a, :stop], rtol=1e-12)
    H[a, first:stop] = before[a, first:stop]
    np.testing.assert_array_equal(H, before)


@over_sizes
@pytest.mark.parametrize("units", [0, 100, 150])
def test_newton_s_equations(d, units):
    """In any units; the upper triangle is not read."""
    rng = np.random.default_rng(1)
    S, b = definite(d), rng.normal(size=d)
    scale = 10.0 ** rng.uniform(-units, units, d)
    x = b * scale
    assert newton._solve(lower_only(S * np.outer(scale, scale)), x)
    np.testing.assert_allclose(x * scale, np.linalg.solve(S, b), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("d", [1, 4, 6, 9, 31])
def test_newton_s_equations_in_other_units_are_the_same(d):
    """Bit for bit with powers of 2."""
    rng = np.random.default_rng(1)
    S, b = definite(d), rng.normal(size=d)
    scale = np.ldexp(1.0, rng.integers(-450, 450, size=d))
    x, scaled = b.copy(), b * scale
    assert newton._solve(S.copy(), x)
    assert newton._solve(S * np.outer(scale, scale), scaled)
    np.testing.assert_array_equal(scaled * scale, x)


@pytest.mark.parametrize(
    "H",
    [
        [[0.0]],
        [[-1.0]],
        [[np.nan]],
        [[np.inf]],
        [[1.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, np.nan], [np.nan, 1.0]],
        [[np.inf, 0.0], [0.0, 1.0]],
        [[1.0, 0.5, 0.5], [0.5, 1.0, -0.5], [0.5, -0.5, 1.0]],
        [[1e200, 1e200], [1e200, 1e200]],
        [[1e-200, 1e-200], [1e-200, 1e-200]],
        [[1e-200, 1.0], [1.0, 1e200]],
    ],
)
def test_newton_has_no_solution_of_singular_equations(H):
    H = np.array(H)
    assert not newton._solve(H, np.ones(len(H)))


@pytest.mark.parametrize("row", range(9))
def test_newton_has_no_solution_where_a_diagonal_entry_is_not_positive(row):
    for entry in (0.0, -0.0, -1.0, np.nan):
        H = definite(9)
        H[row, row] = entry
        assert not newton._solve(H, np.ones(9))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 3), (4, 2)])
def test_newton_s_step(shape):
    size = math.prod(shape)
    S, gradient = definite(size), np.random.default_rng(1).normal(size=shape)
    step = np.full(size, np.nan)
    found, decrement = newton._newton_step(S.copy(), gradient, step)
    exact = np.linalg.solve(S, gradient.ravel())
    assert found
    np.testing.assert_allclose(step, exact, rtol=1e-11, atol=1e-13)
    assert decrement == pytest.approx(gradient.ravel() @ exact / 2, rel=1e-12)
    found, _ = newton._newton_step(np.zeros((size, size)), gradient, step)
    assert not found


# ---- Newton's way ---------------------------------------------------------------------------


@over_newton_shapes
@over_blocks
def test_newton_goes_where_its_twin_does(K, p, fit_intercept, blocks):
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    for scale in (0.0, 1.0):
        start = problem.point(scale)
        end, iterations, evaluations = problem.run(start)
        exact, exact_iterations, exact_evaluations = problem.twin(start)
        assert (iterations, evaluations) == (exact_iterations, exact_evaluations)
        np.testing.assert_allclose(end, exact, rtol=1e-8, atol=1e-10)
        assert problem.violation(end) <= 1e-4
        assert 0 < iterations < 20


@pytest.mark.parametrize(("K", "seed"), [(1, 0), (1, 2), (3, 0), (3, 1)])
def test_newton_halves_steps_that_go_too_far(K, seed):
    """From far outside, where the loss is all but straight."""
    problem = NewtonProblem(K, p=2, lambda2=1e-4)
    start = problem.point(8.0, seed)
    end, iterations, evaluations = problem.run(start)
    assert evaluations > iterations + 1
    exact, exact_iterations, exact_evaluations = problem.twin(start)
    assert (iterations, evaluations) == (exact_iterations, exact_evaluations)
    np.testing.assert_allclose(end, exact, rtol=1e-8, atol=1e-10)
    assert problem.violation(end) <= 1e-4


@pytest.mark.parametrize(("share", "evaluations"), [(0.5, 3), (2.0, 2)])
def test_newton_takes_no_step_that_gains_next_to_nothing(share, evaluations):
    """Of what the slope promises, less than `ARMIJO`: half of that step is taken."""
    problem = NewtonProblem(1, p=1, fit_intercept=False, lambda2=1e-4)

    def gain(x):
        """What a full step gains, of what the slope promises."""
        point = np.array([[x]])
        value, gradient = problem.smooth(point)
        step = gradient / problem.hessian(point)
        there, _ = problem.smooth(point - step)
        return float((value - there) / (gradient * step).sum())

    start = brentq(lambda x: gain(x) - share * newton.ARMIJO, 1.0, 8.0)
    _, *counts = problem.run(np.array([[start]]), limit=1)
    assert counts == [1, evaluations]


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_newton_does_not_take_a_last_step_that_leads_up(K, seed):
    """It is not halved either: the goal was reached before it."""
    problem = NewtonProblem(K, p=2, lambda2=1e-4)
    start = problem.point(8.0, seed)
    end, *counts = problem.run(start, tol=np.inf, goal=np.inf)
    assert counts == [0, 2]
    np.testing.assert_array_equal(end, start)


@over_blocks
@pytest.mark.parametrize("K", [1, 3])
def test_newton_in_blocks_ends_where_it_does_in_one(K, blocks):
    whole = NewtonProblem(K).run(NewtonProblem(K).point())
    parts = NewtonProblem(K, blocks=blocks).run(NewtonProblem(K).point())
    assert parts[1:] == whole[1:]
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_newton_makes_no_more_steps_than_allowed(K, limit):
    problem = NewtonProblem(K)
    start = problem.point(1.0)
    end, iterations, evaluations = problem.run(start, tol=0.0, goal=0.0, limit=limit)
    assert iterations == limit
    assert evaluations >= limit + 1
    np.testing.assert_allclose(end, problem.twin(start, 0.0, 0.0, limit)[0], rtol=1e-9)
    if limit == 0:
        np.testing.assert_array_equal(end, start)
        assert evaluations == 1


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize(("tol", "goal"), [(0.0, 0.0), (-1.0, 1.0), (1.0, -1.0)])
def test_newton_ends_where_the_objective_shows_no_more(K, tol, goal):
    problem = NewtonProblem(K)
    end, iterations, _ = problem.run(problem.point(), tol, goal, limit=1000)
    assert iterations < 12
    assert problem.violation(end) < 1e-14


@pytest.mark.parametrize("K", [1, 3])
def test_newton_makes_one_step_more_than_its_goal_asks_for(K):
    """So that it ends far below: the step is known already, and costs one evaluation."""
    problem = NewtonProblem(K)
    start = problem.point()
    end, iterations, evaluations = problem.run(start, tol=np.inf, goal=np.inf)
    assert (iterations, evaluations) == (1, 2)
    at_once = problem.run(end, tol=np.inf, goal=np.inf)
    assert at_once[1:] == (1, 2)


@pytest.mark.parametrize("K", [1, 3])
def test_newton_stops_where_the_hessian_is_singular(K):
    """Two equal features, or one that is 0: the point stays."""
    problem = NewtonProblem(K, p=3, lambda2=0.0)
    equal = problem.blocks_A.copy()
    equal[:, 1] = equal[:, 0]
    nothing = problem.blocks_A.copy()
    nothing[:, 2] = 0.0
    for A in (equal, nothing):
        problem.blocks_A = A
        start = problem.point(0.5)
        end, iterations, evaluations = problem.run(start)
        np.testing.assert_array_equal(end, start)
        assert (iterations, evaluations) == (0, 1)


@pytest.mark.parametrize("lambda2", [0.0, 1e-3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("scale", [1e3, 1e15, 1e150, 1e300])
def test_newton_from_anywhere_comes_to_an_end_no_higher(K, scale, fit_intercept, lambda2):
    problem = NewtonProblem(K, fit_intercept=fit_intercept, lambda2=lambda2)
    start = problem.point(scale)
    end, iterations, _ = problem.run(start, limit=1000)
    assert np.isfinite(end).all()
    assert 0 <= iterations <= 1000
    assert problem.smooth(end)[0] <= problem.smooth(start)[0] or np.array_equal(end, start)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_newton_does_not_move_from_bad_data(K, bad):
    problem = NewtonProblem(K, blocks=2)
    problem.blocks_A[1, 0, 3] = bad
    start = problem.point(1.0)
    end, iterations, _ = problem.run(start)
    np.testing.assert_array_equal(end, start)
    assert iterations == 0


@pytest.mark.parametrize("K", [1, 3])
def test_newton_does_not_see_the_padding(K):
    """Rows of weight 0 add nothing, be they as they may."""
    problem = NewtonProblem(K, blocks=3)
    start = problem.point(1.0)
    expected = problem.run(start)
    padding = problem.blocks_s == 0
    assert padding.sum() == 1
    problem.blocks_A[:, :2][np.broadcast_to(padding[:, None], (3, 2, 14))] = 100.0
    problem.blocks_y[padding] = 2 if K > 1 else 1
    end, *counts = problem.run(start)
    assert counts == list(expected[1:])
    np.testing.assert_allclose(end, expected[0], rtol=1e-12)


@pytest.mark.parametrize("K", [1, 3])
def test_newton_ends_where_scipy_does(K):
    """At the minimum, from two starts."""
    problem = NewtonProblem(K, p=4, blocks=2)

    def smooth(flat):
        value, gradient = problem.smooth(flat.reshape(K, problem.q))
        return float(value), gradient.astype(np.float64).ravel()

    found = minimize(smooth, np.zeros(K * problem.q), jac=True, tol=1e-10, method="BFGS").x
    minimum = found.reshape(K, problem.q)
    minimum[:, 4] -= minimum[:, 4].mean() * (K > 1)
    for scale in (0.0, 1.0):
        end, _, _ = problem.run(problem.point(scale), tol=0.0, goal=0.0)
        end[:, 4] -= end[:, 4].mean() * (K > 1)  # a shift of all intercepts changes nothing
        np.testing.assert_allclose(end, minimum, atol=1e-6)
        assert problem.violation(end) < 1e-8  # what the objective shows is half of the digits


# ---- several problems side by side ----------------------------------------------------------


class BinaryProblems:
    """Problems on the same rows, of all kinds: near their ends and far, easy and impossible.

    Each has a class, factors on its sides, a penalty, a start and a goal of its own.
    """

    def __init__(self, p=3, fit_intercept=True, blocks=2):
        self.data = NewtonProblem(1, p, fit_intercept, blocks)
        rng = np.random.default_rng(1)
        m, q = 7, self.data.q
        self.columns = np.array([1, 0, 2, 1, 2, 0, 1])
        self.sides = rng.uniform(0.5, 2, (m, 2))
        self.lambda2 = np.array([0.01, 1.0, 1e-4, 1e-3, 0.1, 1e-2, 1e-2])
        self.points = np.array([0, 1, 8, 3, 0.1, 1, 0])[:, None, None] * rng.normal(size=(m, 1, q))
        self.goals = np.array([1e-5, 1e-12, 1e-5, 1e-2, np.inf, -1.0, 1e-8])

    def of(self, chosen):
        """What `NewtonProblem.run_all` takes for some of the problems."""
        arrays = self.columns, self.sides, self.lambda2, self.points, self.goals
        return [array[chosen] for array in arrays]

    def run(self, chosen=slice(None), **params):
        return self.data.run_all(*self.of(chosen), **params)


def assert_each_as_by_itself(problems, **params):
    """To the bit: where it ends, its steps and evaluations."""
    ends, counts = problems.run(**params)
    for c in range(len(ends)):
        end, own = problems.run([c], **params)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
    return ends, counts


@over_blocks
@pytest.mark.parametrize(("p", "fit_intercept"), [(1, False), (0, True), (3, True), (6, True)])
def test_newton_on_several_problems_is_newton_on_each(p, fit_intercept, blocks):
    ends, counts = assert_each_as_by_itself(BinaryProblems(p, fit_intercept, blocks))
    assert len(np.unique(counts[:, 0])) > 2  # they end at different times
    assert np.isfinite(ends).all()


@pytest.mark.parametrize("limit", [0, 1, 3, 5])
def test_newton_makes_no_more_steps_than_allowed_in_any_problem(limit):
    problems = BinaryProblems()
    ends, counts = assert_each_as_by_itself(problems, limits=limit, tol=0.0)
    unlimited = problems.run(tol=0.0)[1]
    assert (unlimited[:, 0] > limit).any()
    np.testing.assert_array_equal(counts[:, 0], np.minimum(unlimited[:, 0], limit))
    before = unlimited[:, 0] < limit
    np.testing.assert_array_equal(counts[before], unlimited[before])
    if limit == 0:
        np.testing.assert_array_equal(ends, problems.points)
        np.testing.assert_array_equal(counts, [[0, 1]] * 7)


def test_each_problem_has_a_limit_of_its_own():
    problems = BinaryProblems()
    limits = np.array([0, 1, 2, 3, 1, 0, 50])
    ends, counts = problems.run(limits=limits, tol=0.0)
    for c, limit in enumerate(limits):
        end, own = problems.run([c], limits=limit, tol=0.0)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
    np.testing.assert_array_equal(counts[:6, 0], limits[:6])
    assert 3 < counts[6, 0] < 50


def test_newton_on_several_problems_goes_where_its_twins_do():
    problems = BinaryProblems()
    data = problems.data
    ends, counts = problems.run()
    for c, (column, sides, lambda2, point, goal) in enumerate(
        zip(*problems.of(slice(None)), strict=True)
    ):
        if goal < 0:
            continue  # it ends where the objective shows no more, which is not there in wide floats
        rows = data.A, data.center, data.y, data.s, column, sides, lambda2
        exact, *exact_counts = naive.newton(*rows, point, 1e-2, goal, 50)
        np.testing.assert_allclose(ends[c], exact, rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(counts[c], exact_counts)


def test_newton_on_several_problems_ends_at_their_minima():
    """Where no goal stops it, the gradient of each is 0: to half of the digits at least."""
    problems = BinaryProblems()
    problems.goals[:] = 0.0
    data = problems.data
    ends, counts = problems.run(tol=0.0)
    assert counts[:, 0].max() < 25
    for column, sides, lambda2, end in zip(*problems.of(slice(None))[:3], ends, strict=True):
        _, gradient = naive.smooth(data.A, data.y, data.s, column, sides, lambda2, data.p, end)
        assert naive.violation(gradient, data.center) < 1e-8


def test_newton_on_problems_in_another_order_is_the_same():
    problems = BinaryProblems()
    ends, counts = problems.run()
    order = np.array([4, 2, 6, 0, 5, 3, 1])
    other_ends, other_counts = problems.run(order)
    np.testing.assert_array_equal(other_ends, ends[order])
    np.testing.assert_array_equal(other_counts, counts[order])


def test_problems_that_cannot_go_on_do_not_stop_the_others():
    """A start that is not finite, a Hessian that is singular, a loss beyond any float."""
    problems = BinaryProblems(p=3)
    expected, expected_counts = problems.run()
    problems.data.blocks_A[:, 2] = 0.0
    problems.lambda2[0] = 0.0
    problems.points[2, 0, 0] = np.nan
    problems.points[4] = 1e308
    ends, counts = assert_each_as_by_itself(problems)
    np.testing.assert_array_equal(ends[[0, 2]], problems.points[[0, 2]])
    np.testing.assert_array_equal(counts[[0, 2]], [[0, 1]] * 2)
    for c in (1, 3, 5, 6):
        assert counts[c, 0] > 0
        assert not np.array_equal(ends[c], problems.points[c])
    assert expected.shape == ends.shape
    assert (expected_counts[:, 0] > 0).all()


def test_newton_takes_several_softmax_problems():
    """With penalties, starts and goals of their own."""
    problem = NewtonProblem(3, p=4, blocks=2)
    lambda2, goals = np.array([0.01, 1.0, 1e-3]), np.array([1e-5, 1e-9, 1e-3])
    starts = np.array([problem.point(scale, seed=3) for scale in (0.0, 1.0, 4.0)])
    columns, sides = np.full(3, -1), np.ones((3, 2))
    ends, counts = problem.run_all(columns, sides, lambda2, starts, goals)
    assert len(np.unique(counts[:, 0])) > 1
    for c in range(3):
        problem.lambda2 = lambda2[c]
        end, *own = problem.run(starts[c], goal=goals[c])
        np.testing.assert_array_equal(ends[c], end)
        np.testing.assert_array_equal(counts[c], own)


def test_newton_takes_read_only_input():
    problems = BinaryProblems()
    expected, expected_counts = problems.run()
    data = problems.data
    for name in ("blocks_A", "center", "blocks_y", "blocks_s"):
        setattr(data, name, read_only(getattr(data, name)))
    columns, sides, lambda2, points, goals = problems.of(slice(None))
    frozen = [read_only(array) for array in (columns, sides, lambda2)]
    ends, counts = data.run_all(*frozen, points, read_only(goals))
    np.testing.assert_allclose(ends, expected, rtol=1e-12)
    np.testing.assert_array_equal(counts, expected_counts)


def test_newton_of_no_problems_does_nothing():
    ends, counts = BinaryProblems().run(slice(0, 0))
    assert ends.shape == (0, 1, 4)
    assert counts.shape == (0, 2)


# ---- the decorator --------------------------------------------------------------------------


@needs_jit
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_release_the_gil_and_never_assume_finite_numbers(name):
    options = KERNELS[name].targetoptions
    assert options["nogil"]
    assert not options["fastmath"] & {"fast", "nnan", "ninf"}


@needs_jit
@pytest.mark.parametrize(
    "name",
    [
        "exp_nonpositive",
        "log1p_unit",
        "softmax_residual",
        "sigmoid_residual",
        "_one_sigmoid_residual",
        "softmax_columns",
        "sigmoid_columns",
    ],
)
def test_code_that_relies_on_rounding_is_not_reordered(name):
    assert not KERNELS[name].targetoptions["fastmath"] & {"reassoc", "arcp"}


class BrokenCache:
    """A cache on a disk that fails, or with a fault of its own."""

    def __init__(self, error):
        self.error = error

    def load_overload(self, *_):
        raise self.error

    save_overload = load_overload


@pytest.mark.parametrize("method", ["load_overload", "save_overload"])
@pytest.mark.parametrize("error", [OSError("disk full"), PermissionError("read-only")])
def test_a_cache_that_breaks_counts_as_empty(error, method):
    kernel = SimpleNamespace(_cache=BrokenCache(error))
    jit._tolerate_cache_errors(kernel)
    assert getattr(kernel._cache, method)("signature", "data") is None


def test_other_faults_of_a_cache_are_not_hidden():
    kernel = SimpleNamespace(_cache=BrokenCache(KeyError("fault")))
    jit._tolerate_cache_errors(kernel)
    with pytest.raises(KeyError, match="fault"):
        kernel._cache.load_overload("signature", "data")


def test_a_kernel_without_a_folder_for_its_cache_still_runs(monkeypatch):
    njit = numba.njit

    def nowhere_to_write(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", nowhere_to_write)
    assert jit.jit(double)(2.0) == 4.0


def double(x):
    return 2 * x


# ---- the Hessian of a CSR matrix on some coordinates ----------------------------------------


def support_case(seed, K, softmax, n=30, p=7):
    """A CSR matrix with an empty row and column, a state, coordinates with all intercepts."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.4)
    X[3], X[:, 2] = 0.0, 0.0
    s = rng.uniform(0.5, 2, n)
    state = rng.dirichlet(np.ones(K), n) if softmax else rng.uniform(0, 0.25, (n, K))
    mask = rng.random((K, p + 1)) < 0.6
    mask[:, p] = True
    return X, s, np.ascontiguousarray(state), mask


def hessian_by_hand(A, s, state, mask, softmax):
    """On the coordinates of ``mask``, from features A (n, q)."""
    size = mask.size
    H = np.zeros((size, size))
    for a, weight, values in zip(A, s, state, strict=True):
        d = weight * (np.diag(values) - np.outer(values, values)) if softmax else np.diag(values)
        H += np.kron(d, np.outer(a, a))
    return H[np.ix_(mask.ravel(), mask.ravel())]


@pytest.mark.parametrize(("K", "softmax"), [(3, True), (5, True), (1, False), (4, False)])
@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_csr_support_hessian(seed, K, softmax, parts):
    X, s, state, mask = support_case(seed, K, softmax)
    n, p = X.shape
    matrix = sparse.csr_matrix(X)
    outputs, features = np.nonzero(mask)
    order = np.argsort(features, kind="stable")
    first = np.searchsorted(features[order], np.arange(p + 2))
    H = np.zeros((outputs.size, outputs.size))
    ends = [outputs.size * part // parts for part in range(parts + 1)]
    for start, stop in pairwise(ends):
        before = H.copy()
        curvature.csr_support_hessian(
            matrix.data,
            matrix.indices,
            matrix.indptr,
            start,
            stop,
            first,
            order,
            outputs[order],
            state,
            s,
            softmax,
            H,
        )
        np.testing.assert_array_equal(
            np.delete(H, range(start, stop), 0), np.delete(before, range(start, stop), 0)
        )
    A = np.column_stack([X, np.ones(n)])
    whole = np.tril(H) + np.triu(H, 1).T
    np.testing.assert_allclose(
        np.tril(whole), np.tril(hessian_by_hand(A, s, state, mask, softmax)), atol=1e-12
    )
    center = np.append(X.mean(axis=0), 0.0)
    curvature.fold_and_centre(H, center[features], np.flatnonzero(features == p)[outputs])
    A = A - center
    np.testing.assert_allclose(H, hessian_by_hand(A, s, state, mask, softmax), atol=1e-12)
    np.testing.assert_allclose(H, H.T, atol=1e-13)
