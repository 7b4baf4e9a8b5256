"""Single precision: exp and log to the last bits, sweeps and products to seven digits."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from kernel_cases import needs_jit, ova_sides, overflow_is_no_accident, read_only
from test_kernels_dense import make_sweep, over_numbers_of_rows, over_outputs
from test_kernels_hessian import HESSIAN_KINDS, hessian_problem, over_kinds, run_dense_hessian

from sk_softmax._kernels import single, tiles
from sk_softmax._kernels.jit import jit

pytestmark = overflow_is_no_accident

DIGITS = 3e-6  # relative to the sums of the terms' sizes


def ulps(result, exact):
    """Errors in units in the last place of float32; ``exact`` is float64."""
    spacing = np.spacing(exact.astype(np.float32)).astype(np.float64)
    return np.abs(result.astype(np.float64) - exact) / spacing


# ---- exp and log ----------------------------------------------------------------------------


def test_exp_in_single_precision_is_within_one_and_a_half_ulps():
    """[-87, 0]: evenly, and at both sides of where the range reduction turns over."""
    turns = -(np.arange(125) + 0.5) * np.log(2)
    near = turns[:, None] * (1 + np.arange(-3, 4) * np.finfo(np.float32).eps)
    x = np.concatenate([np.random.default_rng(0).uniform(-87, 0, 20_000), near.ravel()])
    x = x[x >= -87].astype(np.float32)
    result = np.array([single.exp_nonpositive_single(value) for value in x])
    np.testing.assert_array_equal(result, result.astype(np.float32))
    assert ulps(result, np.exp(x.astype(np.float64))).max() <= 1.5


@pytest.mark.parametrize("x", [0.0, -0.0, -1e-45, -1e-38, -1e-9])
def test_exp_of_nothing_is_exactly_1_in_single_precision(x):
    assert single.exp_nonpositive_single(np.float32(x)) == 1.0


@pytest.mark.parametrize("x", [np.nextafter(np.float32(-87), -np.inf), -88.0, -3e38, -np.inf])
def test_exp_below_minus_87_is_exactly_0_in_single_precision(x):
    assert single.exp_nonpositive_single(np.float32(x)) == 0.0


def test_log1p_in_single_precision_is_within_one_and_a_half_ulps():
    rng = np.random.default_rng(0)
    edges = [0.0, 1e-45, 1.2e-38, 1e-8, 0.5, 1.0]
    t = np.concatenate([rng.uniform(0, 1, 20_000), 10.0 ** rng.uniform(-37, 0, 10_000), edges])
    t = t.astype(np.float32)
    result = np.array([single.log1p_unit_single(value) for value in t])
    np.testing.assert_array_equal(result, result.astype(np.float32))
    assert ulps(result, np.log1p(t.astype(np.float64))).max() <= 1.5


def test_nan_stays_nan_in_single_precision():
    assert np.isnan(single.exp_nonpositive_single(np.float32(np.nan)))
    assert np.isnan(single.log1p_unit_single(np.float32(np.nan)))


@jit
def of_each(x, t, exponentials, logarithms):
    for i in range(x.size):
        exponentials[i], logarithms[i] = single.exponential(x[i]), single.logarithm(t[i])


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_jit), False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_number(dtype, compiled):
    x, t = -np.arange(9, dtype=dtype), np.linspace(0, 1, 9, dtype=dtype)
    results = np.empty((2, 9))  # which would show more digits than single precision has
    (of_each if compiled else getattr(of_each, "py_func", of_each))(x, t, *results)
    for result, exact in zip(results, (np.exp(-np.arange(9.0)), np.log1p(t)), strict=True):
        if dtype == np.float32:
            np.testing.assert_array_equal(result, result.astype(np.float32))
        np.testing.assert_allclose(result, exact, rtol=4 * np.finfo(dtype).eps)


# ---- products and sweeps --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("p", [0, 1, 3, 8, 17])
def test_columns_in_single_precision_are_differences_rounded_once(p, m, dtype):
    rng = np.random.default_rng(0)
    X, center = rng.normal(1e3, 1.0, size=(30, p)).astype(dtype), np.full(p, 1e3)
    A, exact = np.full((p + 1, m), np.nan, np.float32), np.full((p + 1, m), np.nan)
    tiles.centred_columns(read_only(X), 3, 23, center, A)
    tiles.centred_columns(read_only(X), 3, 23, center, exact)
    np.testing.assert_array_equal(A, exact.astype(np.float32))


def in_single(sweep, dtype):
    """The sweep's kernels with X of a dtype and all else in single precision."""
    one = replace(sweep, X=read_only(sweep.X.astype(dtype)))
    exact = sweep.augmented
    one.augmented = lambda: read_only(exact().astype(np.float32))
    return one


def assert_seven_digits(result, exact, scale):
    """Loss and gradient; what spare outputs have is exactly 0, and all is summed in float64."""
    loss, G = result
    assert G.dtype == np.float64
    np.testing.assert_allclose(loss, np.asarray(exact[0], float), atol=DIGITS * scale)
    np.testing.assert_allclose(G[: len(exact[1])], exact[1].astype(float), atol=DIGITS * scale)
    assert not G[len(exact[1]) :].any()


@over_outputs
@over_numbers_of_rows
def test_sweeps_in_single_precision(n, K):
    sides = ova_sides(K, classes=K + 1)
    for p in (0, 1, 3, 4, 8, 11, 16):
        for dtype in (np.float32, np.float64):
            sweep = make_sweep(n, p, K, spare=-K % 4)
            assert_seven_digits(in_single(sweep, dtype).softmax(), sweep.twin(), scale=9 * n)
            sweep = make_sweep(n, p, K, spare=-K % 4, classes=K + 1)
            result = in_single(sweep, dtype).sigmoid(sides)
            assert_seven_digits(result, sweep.twin(sides), scale=9 * n)


@over_outputs
@over_numbers_of_rows
def test_wide_sweeps_in_single_precision(n, K):
    sides = ova_sides(K)
    for p in (0, 1, 3, 4, 8, 11, 16, 300):
        sweep = make_sweep(n, p, K, first=3, spare=-K % 4, after=2)
        sweep.W /= max(1.0, p / 16)
        one = in_single(sweep, np.float32)
        assert_seven_digits(one.wide(), sweep.twin(), scale=9 * n)
        assert_seven_digits(one.wide(sides), sweep.twin(sides), scale=9 * n)


@pytest.mark.parametrize("row", [0, 7, 8, 17])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_sweeps_in_single_precision_do_not_hide_what_is_out_of_range(bad, row):
    sweep, sides = make_sweep(18, 3, 2, spare=2), ova_sides(2)
    X = sweep.X.copy()
    X[row, 1] = bad
    sweep.X = read_only(X)
    one = in_single(sweep, np.float64)
    assert np.isnan(one.softmax()[0])
    assert not np.isfinite(one.sigmoid(sides)[1][:2, 1]).any()


def test_gradients_in_single_precision_add_up_to_0_over_classes():
    _, G = in_single(make_sweep(33, 6, 5, spare=3), np.float64).softmax()
    np.testing.assert_allclose(G.sum(axis=0), 0.0, atol=1e-4)
    assert np.abs(G).max() > 1


@over_kinds
@pytest.mark.parametrize("K", [1, 2, 5])
@pytest.mark.parametrize("q", [1, 4, 9])
def test_hessians_in_single_precision(kind, K, q):
    softmax, by_class, sides = HESSIAN_KINDS[kind]
    for n in (1, 8, 21):
        X, center, weight, W = hessian_problem(n, q - 1, True, K, K if sides else 1)
        H = run_dense_hessian(X, center, weight, read_only(W.astype(np.float32)), kind)
        exact = naive.dense_hessian(X, center, weight, W, softmax, by_class)
        j, r = np.triu_indices(q)
        assert H.dtype == np.float64
        np.testing.assert_allclose(H[:, j, r], exact[:, j, r].astype(float), atol=DIGITS * 9 * n)
