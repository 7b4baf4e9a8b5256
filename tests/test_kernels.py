"""Every kernel against its twin in `naive`, with the JIT on or off (``NUMBA_DISABLE_JIT=1``)."""

import math
from types import SimpleNamespace

import naive
import numba
import numpy as np
import pytest

from sk_softmax._kernels import csr, dense, jit, pointwise

NS = (1, 2, 3, 4, 5, 63, 64, 65, 130)  # around the unrolled 4 rows and the blocks of 64
PKS = ((1, 1), (1, 3), (2, 2), (3, 5), (4, 1), (5, 4), (9, 8), (17, 3))
LN2 = math.log(2)

KERNELS = {
    name: getattr(module, name)
    for module, names in (
        (pointwise, ("exp_nonpositive", "log1p_unit", "softmax_residual", "sigmoid_residual")),
        (dense, ("block_logits", "block_gradient", "dense_softmax", "dense_sigmoid")),
        (csr, ("csr_product",)),
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


# ---- the decorator --------------------------------------------------------------------------


@needs_jit
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_release_the_gil_and_never_assume_finite_numbers(name):
    options = KERNELS[name].targetoptions
    assert options["nogil"]
    assert not options["fastmath"] & {"fast", "nnan", "ninf"}


@needs_jit
@pytest.mark.parametrize(
    "name", ["exp_nonpositive", "log1p_unit", "softmax_residual", "sigmoid_residual"]
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
