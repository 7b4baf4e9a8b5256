"""Losses and their derivatives with rows along the last axis, against their twins in `naive`."""

import math

import naive
import numpy as np
import pytest
from kernel_cases import (
    LN2,
    SIGMOID_EXTREMES,
    SOFTMAX_EXTREMES,
    assert_close,
    columns_of_logits,
    curvature_state,
    exp_arguments,
    needs_wide,
    ova_sides,
    over_coupling,
    overflow_is_no_accident,
    padded,
    probabilities,
    read_only,
)

from sk_softmax._kernels import columns

pytestmark = overflow_is_no_accident

# K and m: one of each, on and beside vectors of 4 and 8
KMS = ((1, 1), (1, 8), (2, 3), (3, 5), (4, 9), (5, 1), (6, 16), (7, 7), (8, 67), (9, 17))
over_shapes = pytest.mark.parametrize(("K", "m"), KMS)
SPARE = ((0, 0), (3, 0), (0, 5), (1, 7))  # outputs and rows beyond those that count
# Rows, and the one of interest: alone, in a vector of 8 or 32, and among what is left of one.
PLACES = ((1, 0), (8, 3), (37, 20), (37, 36))
over_places = pytest.mark.parametrize(("m", "at"), PLACES)
over_spare = pytest.mark.parametrize(("outputs", "rows"), SPARE)


def assert_corner(result, exact, fill, scale=1.0):
    """As the twin has it where it counts, ``fill`` elsewhere."""
    K, m = exact.shape
    assert_close(result[:K, :m], exact, scale)
    np.testing.assert_array_equal(result[K:], fill)
    np.testing.assert_array_equal(result[:, m:], fill)


# ---- probabilities --------------------------------------------------------------------------


@over_shapes
def test_softmax_columns(K, m):
    Z, _, _ = columns_of_logits(K, m)
    P, top, log_total = Z.copy(), *np.full((2, m), np.nan)
    columns.softmax_columns(P, top, log_total)
    assert_close(P, naive.softmax(naive.wide(Z.T)).T)
    np.testing.assert_array_equal(top, Z.max(axis=0))
    assert_close(log_total, naive.logsumexp(naive.wide(Z.T - top[:, None])))


def test_softmax_columns_of_some_outputs_leave_the_others():
    """Of the rows of an array the first few."""
    Z, _, _ = columns_of_logits(3, 9)
    P = padded(Z, 4, 9, np.nan)
    columns.softmax_columns(P[:3], *np.empty((2, 9)))
    assert_corner(P, naive.softmax(naive.wide(Z.T)).T, np.nan)


EXTREME_COLUMNS = {
    # logits, probabilities, log of the sum of exp(logits - largest)
    "far apart": ([1e300, -1e300, 0.0], [1, 0, 0], 0.0),
    "far below": ([-1e300, 1e300, 0.0], [0, 1, 0], 0.0),
    "apart beyond what a float holds": ([1e308, -1e308, 0.0], [1, 0, 0], 0.0),
    "all large": ([1e300, 1e300], [0.5, 0.5], LN2),
    "all very negative": ([-1e300, -1e300], [0.5, 0.5], LN2),
    "impossible class": ([-np.inf, 0.0], [0, 1], 0.0),
    "nearly impossible": ([0.0, -700.0], [1, math.exp(-700.0)], 0.0),
    "one class": ([1e300], [1], 0.0),
    "subnormal": ([5e-324, -5e-324], [0.5, 0.5], LN2),
    "negative zero": ([-0.0, 0.0], [0.5, 0.5], LN2),
}


@pytest.mark.parametrize("case", EXTREME_COLUMNS)
@pytest.mark.parametrize("m", [1, 5, 9])
def test_softmax_columns_at_extremes(case, m):
    z, expected, total = EXTREME_COLUMNS[case]
    Z, top, log_total = np.tile(np.array(z)[:, None], (1, m)), *np.empty((2, m))
    columns.softmax_columns(Z, top, log_total)
    np.testing.assert_allclose(Z, np.tile(np.array(expected)[:, None], (1, m)), rtol=1e-15)
    np.testing.assert_array_equal(top, max(z))
    np.testing.assert_allclose(log_total, total, rtol=1e-15)


@pytest.mark.parametrize("c", [-1e6, -700.0, 700.0, 1e6])
def test_softmax_columns_do_not_see_a_shift_of_all_logits(c):
    """Bit for bit but for the largest, which shifts as they do."""
    Z, _, _ = columns_of_logits(4, 20)
    Z = np.round(Z * 1024) / 1024  # so that the shift itself is exact
    shifted, top, log_total = Z + c, *np.empty((2, 2, 20))
    columns.softmax_columns(Z, top[0], log_total[0])
    columns.softmax_columns(shifted, top[1], log_total[1])
    np.testing.assert_array_equal(shifted, Z)
    np.testing.assert_array_equal(top[1], top[0] + c)
    np.testing.assert_array_equal(*log_total)


@pytest.mark.parametrize(
    "bad", [[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [7.0, np.nan, 5.0], [np.inf, 0.0, 1.0]]
)
def test_softmax_of_a_bad_column_is_nan_and_of_the_others_is_not(bad):
    Z, _, _ = columns_of_logits(3, 9)
    exact = naive.softmax(naive.wide(Z.T)).T
    Z[:, 2] = bad
    top, log_total = np.empty((2, 9))
    columns.softmax_columns(Z, top, log_total)
    assert np.isnan(Z[:, 2]).all()
    assert np.isnan(top[2] + log_total[2])
    assert_close(np.delete(Z, 2, axis=1), np.delete(exact, 2, axis=1))
    assert np.isfinite(np.delete(top + log_total, 2)).all()


@over_shapes
def test_sigmoid_columns(K, m):
    Z, _, _ = columns_of_logits(K, m)
    P = Z.copy()
    columns.sigmoid_columns(P)
    assert_close(P, naive.sigmoid(naive.wide(Z)))


def test_sigmoid_columns_at_extremes():
    e = math.exp(-700.0)
    Z = np.array([[1e300, -1e300, np.inf, -np.inf, 0.0, -0.0, 5e-324, -700.0, 700.0, np.nan]])
    columns.sigmoid_columns(Z)
    exact = np.array([[1.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.5, e, 1.0, np.nan]])
    np.testing.assert_allclose(Z, exact, rtol=1e-15)


# ---- losses and residuals -------------------------------------------------------------------


def softmax_residuals(Z, y, s, outputs=0, rows=0, fill=7.0):
    """The loss of logits Z (K, m); residuals in an array with more outputs and rows of ``fill``."""
    K, m = Z.shape
    own, top, log_total = np.full((3, m + rows), np.nan)
    own[:m] = Z[y, np.arange(m)]
    P = padded(Z, K + outputs, m + rows, fill)
    probability = Z.copy()
    columns.softmax_columns(probability, top[:m], log_total[:m])
    P[:K, :m] = probability
    return columns.softmax_residuals(y, s, own, top, log_total, P[:K]), P


@over_shapes
@over_spare
def test_softmax_residuals(outputs, rows, K, m):
    """Neither the outputs nor the rows beyond those that count are read or written."""
    Z, y, s = columns_of_logits(K, m)
    loss, R = softmax_residuals(Z, y, s, outputs, rows, np.nan)
    exact_loss, exact = naive.softmax_residual(Z.T, y, s)
    assert_close(loss, exact_loss, scale=m)
    assert_corner(R, exact.T, np.nan)


@pytest.mark.parametrize("case", SOFTMAX_EXTREMES)
@over_places
def test_softmax_residuals_at_extremes(m, at, case):
    z, label, exact_loss, residual = SOFTMAX_EXTREMES[case]
    Z, y, s = np.zeros((len(z), m)), np.zeros(m, dtype=np.int64), np.zeros(m)
    Z[:, at], y[at], s[at] = z, label, 1.0
    loss, R = softmax_residuals(Z, y, s)
    assert loss == pytest.approx(exact_loss)
    np.testing.assert_allclose(R[:, at], residual, rtol=1e-15)
    assert not np.delete(R, at, axis=1).any()


@pytest.mark.parametrize("c", [-1e15, -700.0, 700.0, 1e15])
def test_softmax_losses_lose_no_digits_to_a_shift_of_all_logits(c):
    """To the bit, however far: the largest and the rest are added last."""
    Z = np.round(columns_of_logits(4, 20)[0])
    _, y, s = columns_of_logits(4, 20)
    loss, R = softmax_residuals(Z, y, s)
    shifted_loss, shifted = softmax_residuals(Z + c, y, s)
    assert shifted_loss == loss
    np.testing.assert_array_equal(shifted, R)


@pytest.mark.parametrize("bad", [[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan], [np.inf, 0.0, 1.0]])
def test_softmax_residuals_of_a_bad_column_are_nan_and_of_the_others_are_not(bad):
    Z, y, s = columns_of_logits(3, 9)
    exact = naive.softmax_residual(Z.T, y, s)[1].T
    Z[:, 2] = bad
    loss, R = softmax_residuals(Z, y, s)
    assert np.isnan(loss)
    assert np.isnan(R[:, 2]).all()
    assert_close(np.delete(R, 2, axis=1), np.delete(exact, 2, axis=1))


def sigmoid_residuals(Z, y, s, sides, rows=0, fill=7.0):
    """The losses (K,), residuals in an array of ``fill`` that has more rows, and exp(-|z|)."""
    K, m = Z.shape
    R, t, loss = padded(Z, K, m + rows, fill), np.full((K, m + rows), fill), np.empty(K)
    for k, (column, positive, negative) in enumerate(zip(*sides, strict=True)):
        loss[k] = columns.sigmoid_residuals(y, s, column, positive, negative, R, k, t[k])
    return loss, R, t


@over_shapes
@pytest.mark.parametrize("rows", [0, 5])
def test_sigmoid_residuals(rows, K, m):
    """Some rows are of a class that has no column; those beyond ``y`` are not touched."""
    Z, _, s = columns_of_logits(K, m)
    y = np.random.default_rng(1).integers(K + 2, size=m)
    sides = ova_sides(K, classes=K + 2)
    loss, R, t = sigmoid_residuals(Z, y, s, sides, rows, np.nan)
    exact_loss, exact = naive.sigmoid_residual(Z.T, y, s, *sides)
    assert_close(loss, exact_loss, scale=m)
    assert_corner(R, exact.T, np.nan)
    assert_corner(t, np.exp(-np.abs(naive.wide(Z))), np.nan)


def test_sigmoid_residuals_touch_their_output_only():
    Z, y, s = columns_of_logits(5, 9)
    R = Z.copy()
    columns.sigmoid_residuals(y, s, 2, 1.0, 1.0, R, 3, np.empty(9))
    assert (R[3] != Z[3]).all()
    np.testing.assert_array_equal(np.delete(R, 3, axis=0), np.delete(Z, 3, axis=0))


@needs_wide
@pytest.mark.parametrize("own", [True, False])
def test_sigmoid_residuals_are_accurate_however_small(own):
    margin = np.concatenate([-exp_arguments()[::20], exp_arguments()[::20], [0.0]])
    margin = margin[margin > -700]  # all results are normal
    sign, n = 1.0 if own else -1.0, margin.size
    Z = sign * margin[None]  # logits far on the right side, and some on the wrong one
    exact_loss, exact = naive.softplus(-naive.wide(margin)), naive.sigmoid(-naive.wide(margin))
    sides = [1 if own else 0], [1.0], [1.0]
    for i in range(0, n, 97):
        at = np.ascontiguousarray(Z[:, i : i + 1])
        loss, _, _ = sigmoid_residuals(at, np.ones(1, dtype=np.int64), np.ones(1), sides)
        assert naive.ulps(loss, exact_loss[i : i + 1]) <= 3
    _, R, t = sigmoid_residuals(Z, np.ones(n, dtype=np.int64), np.ones(n), sides)
    assert naive.ulps(-sign * R[0], exact).max() <= 4
    assert naive.ulps(t[0], np.exp(-np.abs(naive.wide(margin)))).max() <= 1.5


@pytest.mark.parametrize("case", SIGMOID_EXTREMES)
@over_places
def test_sigmoid_residuals_at_extremes(m, at, case):
    z, own, exact_loss, residual = SIGMOID_EXTREMES[case]
    Z, y, s = np.zeros((1, m)), np.zeros(m, dtype=np.int64), np.zeros(m)
    Z[0, at], y[at], s[at] = z, own, 1.0
    loss, R, t = sigmoid_residuals(Z, y, s, ([1], [1.0], [1.0]))
    np.testing.assert_allclose(loss, exact_loss, rtol=1e-15)
    np.testing.assert_allclose(R[0, at], residual, rtol=1e-15)
    np.testing.assert_allclose(t[0, at], math.exp(-abs(z)), rtol=1e-15)
    assert not np.delete(R[0], at).any()


@pytest.mark.parametrize("own", [True, False])
def test_sigmoid_residuals_of_nan_are_nan_and_of_the_others_are_not(own):
    Z, _, s = columns_of_logits(1, 9)
    y = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0])
    sides = [1], [0.75], [1.5]
    exact = naive.sigmoid_residual(Z.T, y, s, *sides)[1].T
    bad = 3 if own else 2
    Z[0, bad] = exact[0, bad] = np.nan
    loss, R, t = sigmoid_residuals(Z, y, s, sides)
    assert np.isnan(loss)
    assert_close(R, exact)
    np.testing.assert_array_equal(np.isnan(t[0]), np.arange(9) == bad)


def test_rows_without_weight_add_nothing():
    Z, y, s = columns_of_logits(4, 17)
    s[::3] = 0.0
    kept = s > 0
    some = np.ascontiguousarray(Z[:, kept]), y[kept], s[kept]
    loss, R = softmax_residuals(Z, y, s)
    exact_loss, exact = naive.softmax_residual(some[0].T, *some[1:])
    assert_close(loss, exact_loss, scale=17)
    assert_close(R[:, kept], exact.T)
    assert not R[:, ~kept].any()
    losses, R, _ = sigmoid_residuals(Z, y, s, ova_sides(4))
    exact_losses, exact = naive.sigmoid_residual(some[0].T, *some[1:], *ova_sides(4))
    assert_close(losses, exact_losses, scale=17)
    assert_close(R[:, kept], exact.T)
    assert not R[:, ~kept].any()


@pytest.mark.parametrize("K", [1, 3, 4])
def test_residuals_of_no_rows(K):
    nothing, y = np.empty((K, 0)), np.empty(0, dtype=np.int64)
    loss, R = softmax_residuals(nothing, y, np.empty(0), rows=8)
    assert loss == 0.0
    np.testing.assert_array_equal(R, 7.0)
    losses, R, _ = sigmoid_residuals(nothing, y, np.empty(0), ova_sides(K), rows=8)
    assert not losses.any()
    np.testing.assert_array_equal(R, 7.0)


# ---- second derivatives ---------------------------------------------------------------------


@over_shapes
def test_class_products(K, m):
    P, s = probabilities(K, m)
    D = np.full((K * (K + 1) // 2, m), 7.0)
    columns.class_products(P, s, D)
    assert_close(D, naive.class_products(P, s))
    assert not D[:, 0].any()


def test_class_products_let_nan_travel():
    P, s = probabilities(3, 5)
    D = np.empty((2, 6, 5))
    columns.class_products(P, s, D[0])
    P[1, 2] = np.nan
    columns.class_products(P, s, D[1])
    of_bad_class = [1 in pair for pair in naive.pairs(3)]
    assert np.isnan(D[1, of_bad_class, 2]).all()
    D[:, of_bad_class, 2] = 0.0
    np.testing.assert_array_equal(D[0], D[1])


def contrast_products(P, s):
    M, E = np.full((2, len(P) - 1, P.shape[1]), np.nan)
    D = np.full((len(P) * (len(P) - 1) // 2, P.shape[1]), np.nan)
    columns.contrast_products(P, s, M, E, D)
    return D


@pytest.mark.parametrize(("K", "m"), [(K, m) for K, m in KMS if K > 1])
def test_contrast_products(K, m):
    P, s = probabilities(K, m)
    D = contrast_products(P, s)
    assert_close(D, naive.contrast_products(P, s))
    assert not D[:, 0].any()


@needs_wide
def test_contrast_products_of_rows_all_but_certain_keep_their_digits():
    """1 - p from the other probabilities, not from p, which rounds to 1."""
    for rest in ([1e-20, 3e-25], [3e-25, 1e-20]):
        for largest in range(3):
            p = np.insert(rest, largest, 1.0)
            D = contrast_products(p[:, None], np.ones(1))[:, 0]
            full = np.diag(naive.wide(p))
            others = [k for k in range(3) if k != largest]
            full[largest, largest] = naive.wide(rest).sum()
            full[largest, others] = full[others, largest] = -np.array(rest)
            exact = naive.contrasts(3).T @ full @ naive.contrasts(3)
            exact = np.array([exact[pair] for pair in naive.pairs(2)], dtype=np.float64)
            np.testing.assert_allclose(D, exact, rtol=1e-12)


def test_contrast_products_let_nan_travel():
    P, s = probabilities(3, 5)
    D = contrast_products(P, s)
    P[1, 2] = np.nan
    bad = contrast_products(P, s)
    assert np.isnan(bad[:, 2]).all()
    np.testing.assert_array_equal(np.delete(bad, 2, axis=1), np.delete(D, 2, axis=1))


@over_coupling
@over_shapes
@over_spare
def test_couple_columns(outputs, rows, K, m, softmax):
    """Neither the outputs nor the rows beyond those of ``state`` are read or written."""
    state, s = curvature_state(m, K, softmax)
    T = np.random.default_rng(1).normal(size=(K, m))
    result = padded(T, K + outputs, m + rows, np.nan)
    columns.couple_columns(state, s, softmax, result)
    assert_corner(result, naive.couple_rows(state, s, softmax, T.T).T, np.nan)


@over_coupling
def test_couple_columns_let_a_nan_travel_in_its_row_only(softmax):
    state, s = curvature_state(9, 3, softmax)
    T = np.random.default_rng(1).normal(size=(3, 9))
    exact = naive.couple_rows(state, s, softmax, T.T).T
    T[1, 7] = np.nan
    columns.couple_columns(state, s, softmax, T)
    assert np.isnan(T[slice(None) if softmax else 1, 7]).all()
    assert np.isnan(T).sum() == (3 if softmax else 1)
    T[:, 7] = exact[:, 7] = 0.0
    assert_close(T, exact)


@over_coupling
def test_couple_columns_of_a_bad_state_are_bad_in_its_row_only(softmax):
    state, s = curvature_state(9, 3, softmax)
    T = np.ones((3, 9))
    state[4, 2] = np.nan
    columns.couple_columns(state, s, softmax, T)
    bad = np.zeros((3, 9), dtype=bool)
    bad[slice(None) if softmax else 2, 4] = True
    np.testing.assert_array_equal(np.isnan(T), bad)


def test_kernels_by_columns_take_read_only_input():
    """To the bit as they take other input."""
    Z, y, s = columns_of_logits(4, 9)
    frozen = read_only(y), read_only(s)
    loss, R = softmax_residuals(Z, y, s)
    frozen_loss, frozen_R = softmax_residuals(read_only(Z), *frozen)
    assert frozen_loss == loss
    np.testing.assert_array_equal(frozen_R, R)
    for result, other in zip(
        sigmoid_residuals(Z, y, s, ova_sides(4)),
        sigmoid_residuals(Z, *frozen, ova_sides(4)),
        strict=True,
    ):
        np.testing.assert_array_equal(other, result)
