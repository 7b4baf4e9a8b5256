"""Every kernel against its twin in `naive`, with the JIT on or off (``NUMBA_DISABLE_JIT=1``)."""

import math
from types import SimpleNamespace

import naive
import numba
import numpy as np
import pytest

from sk_softmax._kernels import csr, curvature, dense, jit, newton, pointwise

NS = (1, 2, 3, 4, 5, 63, 64, 65, 130)  # around the unrolled 4 rows and the blocks of 64
KMS = ((1, 1), (1, 4), (2, 3), (3, 5), (4, 8), (5, 1), (8, 67))
PKS = ((1, 1), (1, 3), (2, 2), (3, 5), (4, 1), (5, 4), (9, 8), (17, 3))
LN2 = math.log(2)

KERNELS = {
    name: getattr(module, name)
    for module, names in (
        (pointwise, ("exp_nonpositive", "log1p_unit", "softmax_residual", "sigmoid_residual")),
        (dense, ("block_logits", "block_gradient", "dense_softmax", "dense_sigmoid")),
        (csr, ("csr_product",)),
        (
            curvature,
            (
                "softmax_columns",
                "class_products",
                "sigmoid_columns",
                "feature_products",
                "couple_rows",
                "dense_curvature_product",
                "csr_gram",
                "unpack",
            ),
        ),
        (
            newton,
            (
                "newton_problem",
                "_evaluate",
                "_softmax",
                "_sigmoid",
                "_hessian",
                "_violation",
                "_solve",
            ),
        ),
    )
    for name in names
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


def ova_sides(K, seed=0):
    """columns, positive, negative; the columns not in order."""
    rng = np.random.default_rng(seed)
    return rng.permutation(K), rng.uniform(0.5, 2, K), rng.uniform(0.5, 2, K)


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
    Z, y, s = rows_of_logits(n, K)
    sides = ova_sides(K)
    R, loss = Z.copy(), np.arange(K, dtype=np.float64)
    pointwise.sigmoid_residual(R, y, s, *sides, loss)
    exact_loss, exact = naive.sigmoid_residual(Z, y, s, *sides)
    assert_close(loss - np.arange(K), exact_loss, scale=n)
    assert_close(R, exact)


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


@pytest.mark.parametrize("case", SIGMOID_EXTREMES)
def test_sigmoid_residual_at_extremes(case):
    z, own, exact_loss, residual = SIGMOID_EXTREMES[case]
    R, loss = np.array([[z]]), np.zeros(1)
    y = np.array([1 if own else 0])
    pointwise.sigmoid_residual(R, y, np.ones(1), np.array([1]), np.ones(1), np.ones(1), loss)
    np.testing.assert_allclose(loss, exact_loss, rtol=1e-15)
    np.testing.assert_allclose(R, residual, rtol=1e-15)


@pytest.mark.parametrize("bad", [[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [np.inf, 0.0, 1.0]])
def test_softmax_residual_of_a_bad_row_is_nan_and_of_the_others_is_not(bad):
    Z, y, s = rows_of_logits(5, 3)
    exact = naive.softmax_residual(Z, y, s)[1]
    Z[2] = bad
    assert np.isnan(pointwise.softmax_residual(Z, y, s))
    assert np.isnan(Z[2]).all()
    assert_close(np.delete(Z, 2, axis=0), np.delete(exact, 2, axis=0))


@pytest.mark.parametrize("own", [True, False])
def test_sigmoid_residual_of_nan_is_nan_and_of_the_others_is_not(own):
    Z, y, s = rows_of_logits(5, 3)
    sides = ova_sides(3)
    exact_loss, exact = naive.sigmoid_residual(Z, y, s, *sides)
    bad = 2, int(np.flatnonzero((sides[0] == y[2]) == own)[0])
    Z[bad] = exact[bad] = exact_loss[bad[1]] = np.nan
    loss = np.zeros(3)
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
    X, y, s, W, b = dense_problem(n, p, K)
    sides = ova_sides(K)
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


# ---- sparse product -------------------------------------------------------------------------


def csr_problem(data_type=np.float64, index_type=np.int32, n=40, p=11):
    """A CSR matrix with empty rows and columns, duplicate and explicit zero entries."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, n)
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


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (3, 4), (7, 40), (40, 40)])
def test_csr_product_touches_its_rows_only(start, stop):
    matrix = csr_problem()
    B = np.random.default_rng(1).normal(size=(11, 3))
    C = np.zeros((40, 3))
    csr.csr_product(*matrix, start, stop, B, C)
    exact = naive.csr_product(*matrix, B)
    assert_close(C[start:stop], exact[start:stop])
    assert not C[:start].any()
    assert not C[stop:].any()


def test_csr_product_with_no_entries_at_all():
    nothing = np.empty(0), np.empty(0, dtype=np.int32), np.zeros(4, dtype=np.int32)
    C = np.ones((3, 2))
    csr.csr_product(*map(read_only, nothing), 0, 3, np.ones((5, 2)), C)
    np.testing.assert_array_equal(C, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_csr_product_lets_bad_entries_travel(bad):
    data, indices, indptr = csr_problem()
    data = data.copy()
    row = int(np.flatnonzero(np.diff(indptr))[0])
    data[indptr[row]] = bad
    C = np.zeros((40, 2))
    csr.csr_product(read_only(data), indices, indptr, 0, 40, np.ones((11, 2)), C)
    assert not np.isfinite(C[row]).any()
    assert np.isfinite(np.delete(C, row, axis=0)).all()


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


@pytest.mark.parametrize(("q", "m"), KMS)
def test_feature_products(q, m):
    A = np.random.default_rng(0).normal(size=(q, m))
    V = np.full((q * (q + 1) // 2, m), 7.0)
    curvature.feature_products(A, V)
    np.testing.assert_array_equal(V, naive.feature_products(A).astype(np.float64))


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
    D, G = rng.normal(size=(40, pairs)), rng.normal(size=(11, 11, pairs))
    result = G.copy()
    curvature.csr_gram(*matrix, 0, 40, D, result)
    # float32 entries of several pairs are multiplied as they come
    eps = 1e-6 if data_type == np.float32 else 1e-13
    np.testing.assert_allclose(
        result - G, naive.csr_gram(*matrix, D, 11).astype(np.float64), rtol=eps, atol=40 * eps
    )
    upper = np.triu_indices(11, 1)
    np.testing.assert_array_equal(result[upper], G[upper])


@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (3, 4), (7, 40), (40, 40)])
def test_csr_gram_of_a_range_of_rows(start, stop, pairs):
    data, indices, indptr = ascending_csr()
    D = np.random.default_rng(1).normal(size=(stop - start, pairs))
    G = np.zeros((11, 11, pairs))
    curvature.csr_gram(data, indices, indptr, start, stop, D, G)
    own = slice(indptr[start], indptr[stop])
    rows = data[own], indices[own], indptr[start : stop + 1] - indptr[start]
    assert_close(G, naive.csr_gram(*rows, D, 11), scale=10)


@pytest.mark.parametrize("pairs", [1, 3])
def test_csr_gram_lets_a_nan_travel(pairs):
    data, indices, indptr = ascending_csr()
    data = data.copy()
    row = int(np.flatnonzero(np.diff(indptr) > 1)[0])
    data[indptr[row]] = np.nan
    j = indices[indptr[row]]
    G = np.zeros((11, 11, pairs))
    curvature.csr_gram(read_only(data), indices, indptr, 0, 40, np.ones((40, pairs)), G)
    assert np.isnan(G[indices[indptr[row] : indptr[row + 1]], j]).all()
    others = np.delete(np.delete(G, j, axis=0), j, axis=1)
    assert np.isfinite(others).all()


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("q", [1, 2, 3, 7])
def test_unpack(q, K, coupled):
    pairs = K * (K + 1) // 2 if coupled else K
    grams = np.random.default_rng(0).normal(size=(pairs, q * (q + 1) // 2))
    H = np.full((1, K * q, K * q) if coupled else (K, q, q), np.nan)
    curvature.unpack(grams, q, coupled, H)
    np.testing.assert_array_equal(H, naive.unpack(grams, q, coupled))


@pytest.mark.parametrize(("K", "q"), [(1, 1), (2, 3), (3, 4)])
def test_packed_sums_are_hessians(K, q):
    """Class products times feature products, unpacked, are what the twin sums row by row."""
    P, s = probabilities(K, 9)
    A = np.random.default_rng(1).normal(size=(q, 9))
    D, V = np.empty((K * (K + 1) // 2, 9)), np.empty((q * (q + 1) // 2, 9))
    curvature.class_products(P, s, D)
    curvature.feature_products(A, V)
    H = np.empty((1, K * q, K * q))
    curvature.unpack(D @ V.T, q, True, H)
    assert_close(H[0], naive.hessian(A, naive.class_products(P, s), 0.0, q), scale=9)


# ---- Newton in one call ---------------------------------------------------------------------

# (K, p, intercept): one feature, one coordinate, no feature; beside and on multiples of 4
NEWTON_SHAPES = (
    (3, 1, False),
    (3, 0, True),
    (3, 2, True),
    (4, 4, False),
    (5, 6, True),
    (3, 7, True),
)
BINARY_SHAPES = tuple((1, p, intercept) for _, p, intercept in NEWTON_SHAPES)
over_newton_shapes = pytest.mark.parametrize(
    ("K", "p", "fit_intercept"), NEWTON_SHAPES + BINARY_SHAPES
)
over_blocks = pytest.mark.parametrize("blocks", [1, 2, 3])
NO_SIDES = np.ones(2)


class NewtonProblem:
    """What `newton_problem` takes, in ``blocks`` filled up with rows of weight 0; its twin's."""

    def __init__(self, K=3, p=2, fit_intercept=True, blocks=1, n=41, lambda2=0.01, seed=0):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q, self.lambda2 = K, p, p + fit_intercept, lambda2
        self.y = rng.integers(max(K, 3), size=n)
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

    def run(self, point, tol=1e-2, goal=1e-5, max_iter=50):
        """Where the kernel ends, its steps and its evaluations."""
        end = point.copy()
        counts = newton.newton_problem(
            self.blocks_A,
            self.center,
            self.blocks_y,
            self.blocks_s,
            self.column,
            self.sides,
            self.lambda2,
            end,
            tol,
            goal,
            max_iter,
        )
        return end, *counts

    def rows(self):
        return self.A, self.y, self.s, self.column, self.sides

    def twin(self, point, tol=1e-2, goal=1e-5, max_iter=50):
        A, *rest = self.rows()
        return naive.newton(A, self.center, *rest, self.lambda2, point, tol, goal, max_iter)

    def smooth(self, point):
        return naive.smooth(*self.rows(), self.lambda2, self.p, point)

    def violation(self, point):
        return naive.violation(self.smooth(point)[1], self.center)

    def evaluate(self, point):
        """Value, gradient and second derivatives from the kernel."""
        blocks, m = self.blocks_y.shape
        D = np.full((blocks, self.K * (self.K + 1) // 2, m), np.nan)
        gradient = np.full(point.shape, np.nan)
        value = newton._evaluate(
            self.blocks_A,
            self.blocks_y,
            self.blocks_s,
            self.column,
            self.sides,
            self.lambda2,
            self.p,
            point,
            np.full((self.K, m), np.nan),
            D,
            np.full((2, m), np.nan),
            gradient,
        )
        return value, gradient, D


@over_newton_shapes
@over_blocks
def test_newton_s_evaluation(K, p, fit_intercept, blocks):
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    for scale in (0.0, 1.0, 30.0):
        point = problem.point(scale)
        value, gradient, D = problem.evaluate(point)
        exact_value, exact_gradient = problem.smooth(point)
        assert value == pytest.approx(float(exact_value), rel=1e-13)
        assert_close(gradient, exact_gradient, scale=10)
        side_by_side = np.concatenate(list(D), axis=1)
        exact = naive.curvature(*problem.rows(), point)
        assert_close(side_by_side[:, :41], exact)
        np.testing.assert_array_equal(side_by_side[:, 41:], 0.0)


@over_newton_shapes
@over_blocks
def test_newton_s_hessian(K, p, fit_intercept, blocks):
    """Its lower triangle; the shift of all intercepts filled in, the rest as it is."""
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    point = problem.point(1.0)
    _, _, D = problem.evaluate(point)
    H = np.full((K * problem.q,) * 2, np.nan)
    weighted = np.empty(problem.blocks_y.shape[1])
    newton._hessian(problem.blocks_A, D, problem.lambda2, p, K > 1, weighted, H)
    exact = naive.hessian(
        problem.A, naive.curvature(*problem.rows(), point), problem.lambda2, p
    ).astype(np.float64)
    if K > 1 and fit_intercept:
        own = np.ix_(*(np.arange(K) * problem.q + p,) * 2)
        exact[own] += exact[own].trace() / K**2
    lower = np.tril_indices_from(H)
    assert_close(H[lower], exact[lower])
    assert np.isnan(H[np.triu_indices_from(H, 1)]).all()


@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("m", [1, 3, 4, 5, 67])
def test_newton_s_softmax(K, m):
    Z, y, s = columns_of_logits(K, m)
    P, D = Z.copy(), np.empty((K * (K + 1) // 2, m))
    loss = newton._softmax(y, s, P, D, np.empty((2, m)))
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
    found = newton._softmax(np.array([label]), np.ones(1), P, D, np.empty((2, 1)))
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
    assert np.isnan(newton._softmax(y, np.ones(1), P, D, np.empty((2, 1))))
    assert np.isnan(P).all()
    assert np.isnan(D).all()


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("K", "p"), [(1, 1), (1, 4), (3, 2), (5, 7)])
def test_newton_s_violation(K, p, fit_intercept):
    rng = np.random.default_rng(0)
    gradient, center = rng.normal(size=(K, p + fit_intercept)), 10 * rng.normal(size=p)
    exact = naive.violation(gradient, center)
    assert newton._violation(gradient, center) == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("units", [0, 100])
def test_newton_s_equations(d, units):
    """In any units; the upper triangle is not read."""
    rng = np.random.default_rng(0)
    L = np.tril(rng.normal(size=(d, d))) + 3 * np.eye(d)
    scale = 10.0 ** rng.uniform(-units, units, d)
    b = rng.normal(size=d)
    H = np.tril(L @ L.T * np.outer(scale, scale)) + np.triu(np.full((d, d), np.nan), 1)
    x = b * scale
    assert newton._solve(H, x)
    np.testing.assert_allclose(x * scale, np.linalg.solve(L @ L.T, b), rtol=1e-11)


@pytest.mark.parametrize(
    "H",
    [
        [[0.0]],
        [[-1.0]],
        [[np.nan]],
        [[1.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, np.nan], [np.nan, 1.0]],
        [[1.0, 0.5, 0.5], [0.5, 1.0, -0.5], [0.5, -0.5, 1.0]],
        [[1e200, 1e200], [1e200, 1e200]],
    ],
)
def test_newton_has_no_solution_of_singular_equations(H):
    H = np.array(H)
    assert not newton._solve(H, np.ones(len(H)))


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


@over_blocks
@pytest.mark.parametrize("K", [1, 3])
def test_newton_in_blocks_ends_where_it_does_in_one(K, blocks):
    whole = NewtonProblem(K).run(NewtonProblem(K).point())
    parts = NewtonProblem(K, blocks=blocks).run(NewtonProblem(K).point())
    assert parts[1:] == whole[1:]
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("max_iter", [0, 1, 2, 3])
def test_newton_makes_no_more_steps_than_allowed(K, max_iter):
    problem = NewtonProblem(K)
    start = problem.point(1.0)
    end, iterations, evaluations = problem.run(start, tol=0.0, goal=0.0, max_iter=max_iter)
    assert iterations == max_iter
    assert evaluations >= max_iter + 1
    np.testing.assert_allclose(end, problem.twin(start, 0.0, 0.0, max_iter)[0], rtol=1e-9)
    if max_iter == 0:
        np.testing.assert_array_equal(end, start)
        assert evaluations == 1


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize(("tol", "goal"), [(0.0, 0.0), (-1.0, 1.0), (1.0, -1.0)])
def test_newton_ends_where_the_objective_shows_no_more(K, tol, goal):
    problem = NewtonProblem(K)
    end, iterations, _ = problem.run(problem.point(), tol, goal, max_iter=10**6)
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
    """Two equal features, one that is 0, or all rows sure: the point stays."""
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
    end, iterations, _ = problem.run(start, max_iter=1000)
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
