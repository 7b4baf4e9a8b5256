"""exp, log, and losses of rows with their residuals, against their twins in `naive`."""

import naive
import numpy as np
import pytest
from kernel_cases import (
    LN2,
    SIGMOID_EXTREMES,
    SOFTMAX_EXTREMES,
    assert_close,
    exp_arguments,
    needs_wide,
    ova_sides,
    overflow_is_no_accident,
    rows_of_logits,
)

from sk_softmax._kernels import pointwise

NS = (1, 2, 3, 4, 5, 64, 67)
pytestmark = overflow_is_no_accident


# ---- exp and log ------------------------------------------------------------------------


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


@needs_wide
def test_log_is_within_one_and_a_half_ulps():
    rng = np.random.default_rng(0)
    powers = np.ldexp(1.0, np.arange(1, 1024))
    edges = [near for x in (powers, powers / np.sqrt(2)) for near in (x, np.nextafter(x, 0.0))]
    x = np.concatenate(
        [rng.uniform(1, 30, 20_000), 1 + 10.0 ** rng.uniform(-16, 0, 10_000), *edges]
    )
    x = np.concatenate([x, 10.0 ** rng.uniform(0, 308, 10_000), [1.0, np.finfo(float).max]])
    x = x[x >= 1]
    result = np.array([pointwise.log_from_one(value) for value in x])
    assert naive.ulps(result, np.log(naive.wide(x))).max() <= 1.5
    assert pointwise.log_from_one(1.0) == 0.0


def test_log_of_nan_is_nan():
    assert np.isnan(pointwise.log_from_one(np.nan))


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


@pytest.mark.parametrize("case", SOFTMAX_EXTREMES)
def test_softmax_residual_at_extremes(case):
    z, label, loss, residual = SOFTMAX_EXTREMES[case]
    R = np.array([z])
    assert pointwise.softmax_residual(R, np.array([label]), np.ones(1)) == pytest.approx(loss)
    np.testing.assert_allclose(R[0], residual, rtol=1e-15)


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
