"""The parts of Newton's method in one call: penalty, Hessian, equations, against their twins."""

import math

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident

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


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("p", [1, 2, 5])
def test_newton_s_complete_hessian(p, K, fit_intercept, softmax):
    """From the upper triangles of blocks, nothing else; above the diagonal nothing changes."""
    q = p + fit_intercept
    blocks = np.random.default_rng(0).normal(size=(K * (K + 1) // 2, q, q))
    exact = naive.assemble(blocks, coupled=True)[0]
    H = np.full((K, q, K, q), np.nan)
    j, r = np.triu_indices(q)
    for (k, other), block in zip(naive.pairs(K), blocks, strict=True):
        H[other, j, k, r] = block[j, r]
    H = H.reshape(K * q, K * q)
    before = H.copy()
    newton._complete(H, K, p, softmax)
    if softmax and fit_intercept:
        own = np.ix_(*(np.arange(K) * q + p,) * 2)
        exact[own] += exact[own].trace() / K**2
    lower, upper = np.tril_indices(K * q), np.triu_indices(K * q, 1)
    assert_close(H[lower], exact[lower])
    np.testing.assert_array_equal(H[upper], before[upper])


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


# ---- Newton's equations ---------------------------------------------------------------------

SIZES = (*range(1, 10), 16, 17, 31, 67)
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


def newton_step(H, gradient):
    """Whether there is a step, that step (K q,) and the decrement; H is overwritten."""
    step = np.full(gradient.size, np.nan)
    found, decrement = newton._newton_step(H, np.atleast_2d(gradient), step)
    return found, step, decrement


def is_definite(H):
    """Whether the kernel finds a step; without one the decrement is 0."""
    found, _, decrement = newton_step(H, np.ones(len(H)))
    assert found or decrement == 0.0
    return found


@over_sizes
@pytest.mark.parametrize("units", [0, 100, 150])
def test_newton_s_step(d, units):
    """In any units; what is above the diagonal is neither read nor written."""
    rng = np.random.default_rng(1)
    S, b = definite(d), rng.normal(size=d)
    scale = 10.0 ** rng.uniform(-units, units, d)
    H = lower_only(S * np.outer(scale, scale))
    found, step, decrement = newton_step(H, b * scale)
    exact = np.linalg.solve(S, b)
    assert found
    np.testing.assert_allclose(step * scale, exact, rtol=1e-11, atol=1e-13)
    assert decrement == pytest.approx(b @ exact / 2, rel=1e-12)
    assert np.isnan(H[np.triu_indices(d, 1)]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (3, 3), (4, 2), (2, 4)])
def test_newton_s_step_in_several_outputs(shape):
    """Coordinates by output, then by feature."""
    size = math.prod(shape)
    S, gradient = definite(size), np.random.default_rng(1).normal(size=shape)
    found, step, decrement = newton_step(S.copy(), gradient)
    exact = np.linalg.solve(S, gradient.ravel())
    assert found
    np.testing.assert_allclose(step, exact, rtol=1e-11, atol=1e-13)
    assert decrement == pytest.approx(gradient.ravel() @ exact / 2, rel=1e-12)


@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 9, 11])
def test_newton_s_step_with_ones_and_zeros_is_exact(d):
    gradient = np.arange(-2.0, d - 2)
    found, step, decrement = newton_step(np.eye(d), gradient)
    assert found
    np.testing.assert_array_equal(step, gradient)
    assert decrement == (gradient**2).sum() / 2


@pytest.mark.parametrize("d", [1, 4, 6, 9, 31])
def test_newton_s_step_in_other_units_is_the_same(d):
    """Bit for bit with powers of 2, and so is the decrement."""
    rng = np.random.default_rng(1)
    S, b = definite(d), rng.normal(size=d)
    scale = np.ldexp(1.0, rng.integers(-450, 450, size=d))
    _, step, decrement = newton_step(S.copy(), b)
    found, scaled, same_decrement = newton_step(S * np.outer(scale, scale), b * scale)
    assert found
    np.testing.assert_array_equal(scaled * scale, step)
    assert same_decrement == decrement


@pytest.mark.parametrize("at", range(5))
def test_newton_s_step_lets_a_bad_gradient_travel(at):
    gradient = np.ones(5)
    gradient[at] = np.nan
    found, step, decrement = newton_step(definite(5), gradient)
    assert found
    assert np.isnan(step[at])
    assert np.isnan(decrement)


@pytest.mark.parametrize("d", [2, 3, 4, 5, 7, 8, 9, 12, 13])
def test_newton_has_no_step_where_a_row_is_a_copy(d):
    """Of another one, whichever of them."""
    S = definite(d)
    for row in range(1, d):
        for other in {0, row // 2, row - 1}:
            T = S.copy()
            T[row] = T[other]
            T[:, row] = T[:, other]
            T[row, row] = 1.0
            assert not is_definite(lower_only(T))
    assert is_definite(lower_only(S))


@pytest.mark.parametrize("d", [2, 3, 4, 5, 9, 31, 66])
def test_newton_has_no_step_with_a_matrix_of_lower_rank(d):
    """The last row is a sum of all others, in any units."""
    rng = np.random.default_rng(0)
    B = rng.normal(size=(d, 3 * d))
    assert is_definite(B @ B.T)
    B[-1] = B[:-1].sum(axis=0)
    assert not is_definite(B @ B.T)
    B *= 10.0 ** rng.uniform(-100, 100, (d, 1))
    assert not is_definite(B @ B.T)


@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0, -2.0])
def test_newton_has_no_step_with_a_bad_matrix(d, bad):
    """Wherever below the diagonal it is, or on it; 2: more than a correlation can be."""
    S = definite(d)
    for at in zip(*np.tril_indices(d), strict=True):
        if at[0] == at[1] and bad == 2.0:
            continue  # a positive curvature
        H = lower_only(S)
        H[at] = bad
        assert not is_definite(H)


@pytest.mark.parametrize("d", [2, 4, 6, 9])
@pytest.mark.parametrize("excess", [0.5, 2.0])
def test_a_pivot_counts_from_its_rounding_on(d, excess):
    """Below `PIVOT` it is none: a last feature that is nearly a copy of the first."""
    H = np.eye(d)
    H[d - 1, 0] = np.sqrt(1 - excess * newton.PIVOT)
    assert is_definite(H) == (excess > 1)


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
def test_newton_has_no_step_with_singular_equations(H):
    assert not is_definite(np.array(H))


@pytest.mark.parametrize("row", range(9))
def test_newton_has_no_step_where_a_diagonal_entry_is_not_positive(row):
    for entry in (0.0, -0.0, -1.0, np.nan):
        H = definite(9)
        H[row, row] = entry
        assert not is_definite(H)
