"""Newton's equations by Cholesky's method: the step, its decrement, and where there is none."""

import math

import numpy as np
import pytest
from kernel_cases import overflow_is_no_accident, read_only

from sk_softmax._kernels import cholesky

pytestmark = overflow_is_no_accident

SIZES = (*range(1, 21), *range(31, 35), *range(64, 69), 110)  # tiles of 4, vectors of 8
over_sizes = pytest.mark.parametrize("d", SIZES)


def definite(d, seed=0):
    """A well-conditioned positive definite matrix with a unit diagonal."""
    B = np.random.default_rng(seed).normal(size=(d, 3 * d + 2))
    S = B @ B.T
    scale = 1 / np.sqrt(S.diagonal())
    S *= np.outer(scale, scale)
    np.fill_diagonal(S, 1.0)
    return S


def upper_only(S, below=np.nan):
    """A copy, with other numbers below the diagonal."""
    return np.where(np.tri(len(S), k=-1, dtype=bool), below, S)


def newton_step(H, gradient):
    """Whether there is a step, that step (K q,) and the decrement; H is overwritten."""
    step = np.full(gradient.size, np.nan)
    found, decrement = cholesky.definite_step(H, read_only(np.atleast_2d(gradient)), step)
    return found, step, decrement


def is_definite(H):
    """Whether the kernel finds a step; without one the decrement is 0."""
    found, _, decrement = newton_step(H, np.ones(len(H)))
    assert found or decrement == 0.0
    return found


@over_sizes
@pytest.mark.parametrize("units", [0, 100, 150])
def test_newton_s_step(d, units):
    """In any units, from the upper triangle alone."""
    rng = np.random.default_rng(1)
    S, b = definite(d), rng.normal(size=d)
    scale = 10.0 ** rng.uniform(-units, units, d)
    H = upper_only(S * np.outer(scale, scale))
    found, step, decrement = newton_step(H, b * scale)
    exact = np.linalg.solve(S, b)
    assert found
    np.testing.assert_allclose(step * scale, exact, rtol=1e-11, atol=1e-13)
    assert decrement == pytest.approx(b @ exact / 2, rel=1e-12)
    assert np.isnan(H[np.tril_indices(d, -1)]).all()


@over_sizes
def test_what_is_below_the_diagonal_does_not_count(d):
    """To the bit."""
    S, b = definite(d), np.random.default_rng(1).normal(size=d)
    _, expected, expected_decrement = newton_step(upper_only(S), b)
    for below in (0.0, 1e308, -np.inf, S + 1.0):
        found, step, decrement = newton_step(upper_only(S, below), b)
        assert found
        np.testing.assert_array_equal(step, expected)
        assert decrement == expected_decrement


@over_sizes
def test_the_upper_triangle_becomes_the_factor(d):
    """Of the matrix with a unit diagonal, whatever the units were."""
    S, scale = definite(d), 10.0 ** np.random.default_rng(1).uniform(-9, 9, d)
    H = upper_only(S * np.outer(scale, scale))
    newton_step(H, np.ones(d))
    np.testing.assert_allclose(np.triu(H), np.linalg.cholesky(S).T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("d", [8, 15, 34])
def test_newton_s_step_solves_ill_conditioned_equations(d):
    """Condition numbers up to 1e10 in the unit diagonal: residuals stay at the rounding."""
    rng = np.random.default_rng(2)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    S = (Q * np.geomspace(1.0, 1e-10, d)) @ Q.T
    S, b = (S + S.T) / 2, rng.normal(size=d)
    found, step, _ = newton_step(upper_only(S), b)
    assert found
    scale = np.abs(S) @ np.abs(step)
    assert (np.abs(S @ step - b) <= 1e-13 * scale.max()).all()


@pytest.mark.parametrize("K", [1, 3])
def test_newton_s_step_without_coordinates(K):
    found, step, decrement = newton_step(np.empty((0, 0)), np.empty((K, 0)))
    assert found
    assert step.size == 0
    assert decrement == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (3, 3), (4, 2), (2, 4), (5, 7)])
def test_newton_s_step_in_several_outputs(shape):
    """Coordinates by output, then by feature."""
    size = math.prod(shape)
    S, gradient = definite(size), np.random.default_rng(1).normal(size=shape)
    found, step, decrement = newton_step(S.copy(), gradient)
    exact = np.linalg.solve(S, gradient.ravel())
    assert found
    np.testing.assert_allclose(step, exact, rtol=1e-11, atol=1e-13)
    assert decrement == pytest.approx(gradient.ravel() @ exact / 2, rel=1e-12)


@over_sizes
def test_newton_s_step_with_ones_and_zeros_is_exact(d):
    gradient = np.arange(-2.0, d - 2)
    found, step, decrement = newton_step(np.eye(d), gradient)
    assert found
    np.testing.assert_array_equal(step, gradient)
    assert decrement == (gradient**2).sum() / 2


@over_sizes
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


@pytest.mark.parametrize("at", range(11))
def test_newton_s_step_lets_a_bad_gradient_travel(at):
    gradient = np.ones(11)
    gradient[at] = np.nan
    found, step, decrement = newton_step(definite(11), gradient)
    assert found
    assert np.isnan(step[at])
    assert np.isnan(decrement)


@pytest.mark.parametrize("d", [2, 3, 4, 5, 7, 8, 9, 12, 13, 18])
def test_newton_has_no_step_where_a_row_is_a_copy(d):
    """Of another one, whichever of them."""
    S = definite(d)
    for row in range(1, d):
        for other in {0, row // 2, row - 1}:
            T = S.copy()
            T[row] = T[other]
            T[:, row] = T[:, other]
            T[row, row] = 1.0
            assert not is_definite(upper_only(T))
    assert is_definite(upper_only(S))


@pytest.mark.parametrize("d", [2, 3, 4, 5, 9, 31, 33, 66, 110])
def test_newton_has_no_step_with_a_matrix_of_lower_rank(d):
    """The last row is a sum of all others, in any units."""
    rng = np.random.default_rng(0)
    B = rng.normal(size=(d, 3 * d))
    assert is_definite(upper_only(B @ B.T))
    B[-1] = B[:-1].sum(axis=0)
    assert not is_definite(upper_only(B @ B.T))
    B *= 10.0 ** rng.uniform(-100, 100, (d, 1))
    assert not is_definite(upper_only(B @ B.T))


@pytest.mark.parametrize("d", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0, -2.0])
def test_newton_has_no_step_with_a_bad_matrix(d, bad):
    """Wherever above the diagonal it is, or on it; 2: more than a correlation can be."""
    S = definite(d)
    for at in zip(*np.triu_indices(d), strict=True):
        if at[0] == at[1] and bad == 2.0:
            continue  # a positive curvature
        H = upper_only(S)
        H[at] = bad
        assert not is_definite(H)


@pytest.mark.parametrize("d", [2, 4, 6, 9, 13])
@pytest.mark.parametrize("excess", [0.5, 2.0])
def test_a_pivot_counts_from_its_rounding_on(d, excess):
    """Below `PIVOT` it is none: a feature that is nearly a copy of an earlier one."""
    for a, b in zip(*np.triu_indices(d, 1), strict=True):
        H = upper_only(np.eye(d))
        H[a, b] = np.sqrt(1 - excess * cholesky.PIVOT)
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
    assert not is_definite(upper_only(np.array(H)))


@pytest.mark.parametrize("row", range(9))
def test_newton_has_no_step_where_a_diagonal_entry_is_not_positive(row):
    for entry in (0.0, -0.0, -1.0, np.nan):
        H = definite(9)
        H[row, row] = entry
        assert not is_definite(H)
