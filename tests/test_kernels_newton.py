"""The parts of Newton's method in one call: penalty, Hessian, the rows that count, its end."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident, read_only

from sk_softmax._kernels import newton

pytestmark = overflow_is_no_accident


# ---- the objective's parts ------------------------------------------------------------------


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


@pytest.mark.parametrize("R", [1, 2, 4])
@pytest.mark.parametrize("q", [1, 2, 6])
def test_newton_s_complete_hessian(q, R):
    """From the upper triangles of blocks, nothing else; below the diagonal nothing changes."""
    blocks = np.random.default_rng(0).normal(size=(R * (R + 1) // 2, q, q))
    exact = naive.assemble(blocks, coupled=True)[0]
    H = np.full((R, q, R, q), np.nan)
    j, r = np.triu_indices(q)
    for (a, b), block in zip(naive.pairs(R), blocks, strict=True):
        H[a, j, b, r] = block[j, r]
    H = H.reshape(R * q, R * q)
    before = H.copy()
    newton._complete(H, R)
    upper, lower = np.triu_indices(R * q), np.tril_indices(R * q, -1)
    assert_close(H[upper], exact[upper])
    np.testing.assert_array_equal(H[lower], before[lower])


@pytest.mark.parametrize("K", [2, 3, 4, 7])
def test_newton_s_contrasts(K):
    """To them, and back with the shift that only the penalty sees."""
    rng, B = np.random.default_rng(0), naive.contrasts(K).astype(np.float64)
    gradient, point = rng.normal(size=(2, K, 3))
    slope = np.full((K - 1, 3), np.nan)
    newton._to_contrasts(gradient, slope)
    assert_close(slope, B.T @ gradient)
    for lambda2 in (0.0, 0.25):
        step = np.vstack([slope, np.full((1, 3), np.nan)])
        decrement = newton._from_contrasts(step, point, lambda2, 2)
        shift = point.mean(axis=0) * [lambda2 > 0, lambda2 > 0, False]
        assert_close(step, B @ slope + shift)
        assert decrement == pytest.approx(0.5 * lambda2 * K * (shift**2).sum(), rel=1e-14)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("K", "p"), [(1, 1), (1, 4), (3, 2), (5, 7)])
def test_newton_s_violation(K, p, fit_intercept):
    rng = np.random.default_rng(0)
    gradient, center = rng.normal(size=(K, p + fit_intercept)), 10 * rng.normal(size=p)
    exact = naive.violation(gradient, center)
    assert newton._violation(gradient, center) == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize("K", [1, 3])
def test_newton_s_violation_of_features_far_from_0(K):
    """What was taken from a feature comes back with the intercept's share, without one not."""
    gradient, center = np.zeros((K, 4)), np.array([0.0, -1e6, 1.0])
    gradient[K - 1, 3] = 0.5
    assert newton._violation(gradient, center) == 5e5
    assert newton._violation(np.ascontiguousarray(gradient[:, :3]), center) == 0.0


# ---- rows that count ------------------------------------------------------------------------


def rows_of_weight(d, share):
    """The rows that are kept; beyond the last row nothing is written."""
    m = len(d)
    kept = np.full(m + 9, 77, dtype=np.uint64)
    count = newton._rows_of_weight(read_only(np.array(d)), share, kept[:m])
    assert 0 <= count <= m
    np.testing.assert_array_equal(kept[m:], 77)
    return kept[:count].tolist()


@pytest.mark.parametrize("m", [1, 2, 7, 8, 9, 64, 65])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.15, 0.5, 1.0, 2.0, 100.0])
def test_rows_of_weight_are_those_above_a_share_of_the_mean(share, m):
    """In their order."""
    d = np.random.default_rng(m).exponential(size=m) ** 2
    kept = rows_of_weight(d, share)
    assert kept == np.flatnonzero(d >= share * d.mean()).tolist()
    assert share > 0 or len(kept) == m
    assert share < 100 or not kept


@pytest.mark.parametrize("m", [1, 5, 8, 64])
@pytest.mark.parametrize("value", [0.0, 5e-324, 2.0**-40, 1.0, 1e300])
def test_rows_of_one_weight_are_all_kept(value, m):
    for share in (0.0, 0.15, 0.5):
        assert rows_of_weight(np.full(m, value), share) == list(range(m))


@pytest.mark.parametrize("share", [2.0**-20, 0.15, 0.99])
def test_rows_without_weight_are_left_out(share):
    d = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, -0.0])
    assert rows_of_weight(d, share) == [1, 2, 5]
    assert rows_of_weight(d, 0.0) == list(range(7))


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 4, 8])
def test_a_bad_weight_leaves_all_rows_out_or_all_others(at, bad, share):
    """There is no mean to compare with."""
    d = np.ones(9)
    d[at] = bad
    assert rows_of_weight(d, share) == ([at] if bad == np.inf and share else [])


@pytest.mark.parametrize("q", [1, 3, 8])
@pytest.mark.parametrize("kept", [[], [0], [8], [1, 2, 7], list(range(8)), list(range(9))])
@pytest.mark.parametrize("more", [0, 1, 7])
def test_rows_are_taken_in_their_order_with_zeros_beyond(more, kept, q):
    """What was there before does not count; other rows may be anything."""
    rng = np.random.default_rng(0)
    A, d = rng.normal(size=(q, 9)), rng.uniform(size=9)
    left_out = np.delete(np.arange(9), kept)
    A[:, left_out] = d[left_out] = np.nan
    some, weight = np.full((q, len(kept) + more), np.nan), np.full(len(kept) + more, np.nan)
    scratch = np.zeros(9, dtype=np.uint64)
    scratch[: len(kept)] = kept
    newton._take_rows(read_only(A), read_only(d), scratch, len(kept), some, weight)
    np.testing.assert_array_equal(some[:, : len(kept)], A[:, kept])
    np.testing.assert_array_equal(weight[: len(kept)], d[kept])
    assert not some[:, len(kept) :].any()
    assert not weight[len(kept) :].any()


@pytest.mark.parametrize("rounding", [newton.ROUNDING, newton.ROUNDING_SINGLE])
@pytest.mark.parametrize(("rise", "taken"), [(-1.0, True), (4.0, True), (12.0, False)])
def test_the_last_step_may_raise_the_objective_by_its_rounding(rounding, rise, taken):
    """Near the optimum its change is lost in rounding; further up the step is not believed."""
    point, trial, gradient = np.zeros((1, 2)), np.ones((1, 2)), np.ones((1, 2))
    state, counts = np.array([1.0, 1e-9, 1.0, 1.0]), np.zeros(2, np.int64)
    slopes = gradient, gradient, np.eye(2)
    limits = 0.1, np.zeros(1), 1e-4, 1e-8, rounding, 100
    there = 1.0 + rise * rounding
    going = newton._next_trial(there, *slopes, *limits, point, trial, -gradient, state, counts)
    assert not going
    np.testing.assert_array_equal(point, trial if taken else 0.0)
    assert counts.tolist() == [int(taken), 1]
