"""Newton's method in one call where Hessians leave out rows of little curvature."""

import numpy as np
import pytest
from kernel_cases import (
    BinaryProblems,
    NewtonProblem,
    assert_each_as_by_itself,
    overflow_is_no_accident,
)
from scipy.optimize import minimize

from sk_softmax._kernels import cholesky, newton, tiles

pytestmark = overflow_is_no_accident

SHAPES = (
    (1, False),
    (0, True),
    (2, True),
    (4, False),
    (4, True),
    (7, False),
    (7, True),
    (8, True),
    (16, True),
)
over_shapes = pytest.mark.parametrize(("p", "fit_intercept"), SHAPES)
over_blocks = pytest.mark.parametrize("blocks", [1, 2, 3])
over_shares = pytest.mark.parametrize("share", [0.15, 0.9])


def leaves_rows_out(problem, point):
    """Whether the Hessian at a point is not of all rows."""
    return not np.array_equal(problem.hessian(point, problem.share), problem.hessian(point))


@over_shapes
@over_blocks
@over_shares
def test_the_first_step_is_its_twin_s(share, blocks, p, fit_intercept):
    problem = NewtonProblem(1, p, fit_intercept, blocks, share=share)
    assert (problem.blocks_s == 0).any()
    left_out = []
    for scale in (0.0, 1.0, 3.0, 8.0):
        start = problem.point(scale)
        left_out.append(leaves_rows_out(problem, start))
        end, *counts = problem.run(start, tol=0.0, goal=0.0, limit=1)
        exact, *exact_counts = problem.twin(start, 0.0, 0.0, 1)
        assert counts == exact_counts
        step = (exact - start).astype(np.float64)
        np.testing.assert_allclose(end - start, step, rtol=1e-9, atol=1e-11)
    assert any(left_out) or p < 2


@over_shapes
@over_blocks
@over_shares
def test_all_steps_are_their_twin_s(share, blocks, p, fit_intercept):
    problem = NewtonProblem(1, p, fit_intercept, blocks, share=share, signal=2.0)
    for scale in (0.0, 1.0, 3.0):
        start = problem.point(scale)
        end, iterations, evaluations = problem.run(start)
        exact, exact_iterations, exact_evaluations = problem.twin(start)
        assert (iterations, evaluations) == (exact_iterations, exact_evaluations)
        np.testing.assert_allclose(end, exact, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
@over_shares
def test_the_share_is_halved_where_steps_are(share, seed):
    """As its twin's is, from far outside."""
    problem = NewtonProblem(1, p=3, lambda2=1e-4, share=share)
    start = problem.point(8.0, seed)
    for limit in (1, 2, 3, 50):
        end, iterations, evaluations = problem.run(start, limit=limit)
        exact, exact_iterations, exact_evaluations = problem.twin(start, max_iter=limit)
        assert (iterations, evaluations) == (exact_iterations, exact_evaluations)
        np.testing.assert_allclose(end, exact, rtol=1e-8, atol=1e-10)
    assert evaluations > iterations + 1
    assert problem.violation(end) <= 1e-4


def test_each_of_several_problems_has_a_share_of_its_own():
    """To the bit; 0 is one too."""
    problems = BinaryProblems(p=3, share=0.5)
    shares = np.array([0.0, 0.9, 0.15, 0.0, 1.2, 0.5, 0.0])
    left = shares.copy()
    ends, counts = problems.run(shares=left)
    for c in range(7):
        own_left = shares[[c]]
        end, own = problems.run([c], shares=own_left)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
        assert left[c] == own_left[0]


@over_shares
def test_steps_one_at_a_time_are_those_of_one_call(share):
    """To the bit, where each begins with the shares that the one before has left."""
    problems = BinaryProblems(p=3, share=share)
    shares, carried = np.full(7, share), np.full(7, share)
    ends, counts = problems.run(shares=shares)
    halvings = counts[:, 1] - 1.0 - counts[:, 0]
    np.testing.assert_array_equal(shares, share / 2**halvings)
    assert halvings.any()
    for step in range(counts[:, 0].max()):
        allowed = np.where(step < counts[:, 0], 1, 0)
        problems.points, made = problems.run(limits=allowed, shares=carried)
        np.testing.assert_array_equal(made[:, 0], allowed)
    np.testing.assert_array_equal(problems.points, ends)


@pytest.mark.parametrize("n", [32, 40, 64])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_rows_are_left_out_where_at_most_three_quarters_remain(n, more):
    """One more, and none is."""
    problem = NewtonProblem(1, p=3, n=n, share=0.5)
    remaining = 3 * n // 4 + more
    problem.s[:] = problem.blocks_s[0] = np.where(np.arange(n) < remaining, 1.0, 0.01) / n
    problem.sides = np.ones(2)
    start = problem.point()
    assert leaves_rows_out(problem, start) == (more <= 0)
    end, *_ = problem.run(start, tol=0.0, goal=0.0, limit=1)
    whole, *_ = problem.run(start, tol=0.0, goal=0.0, limit=1, share=0.0)
    assert np.array_equal(end, whole) == (more > 0)
    exact, *_ = problem.twin(start, 0.0, 0.0, 1)
    np.testing.assert_allclose(end, exact.astype(np.float64), rtol=1e-9)


@over_blocks
def test_softmax_leaves_no_row_out(blocks):
    """To the bit."""
    problem = NewtonProblem(3, p=4, blocks=blocks, share=0.9)
    for scale in (0.0, 3.0):
        end, *counts = problem.run(problem.point(scale))
        whole, *exact_counts = problem.run(problem.point(scale), share=0.0)
        np.testing.assert_array_equal(end, whole)
        assert counts == exact_counts


@over_blocks
@over_shares
@pytest.mark.parametrize(("p", "fit_intercept"), [(1, False), (0, True), (3, True), (6, True)])
def test_each_of_several_problems_leaves_out_rows_of_its_own(p, fit_intercept, share, blocks):
    """To the bit as each does by itself, steps halved or not."""
    problems = BinaryProblems(p, fit_intercept, blocks, share)
    ends, counts = assert_each_as_by_itself(problems)
    of_all_rows, _ = problems.run(shares=np.zeros(7))
    assert (counts[:, 1] > counts[:, 0] + 1).any() or p < 3
    if p > 1 or share > 0.5:
        assert not np.array_equal(ends, of_all_rows)


# ---- the same end ---------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [2.0, 4.0, 12.0], ids=["mixed", "near", "separable"])
@pytest.mark.parametrize("lambda2", [1e-2, 1e-5])
@over_blocks
@over_shares
def test_it_ends_at_the_minimum_all_the_same(share, blocks, lambda2, signal):
    """That of all rows, and scipy's."""
    problem = NewtonProblem(1, 5, True, blocks, n=101, lambda2=lambda2, share=share, signal=signal)
    exact, *_ = problem.run(problem.point(), tol=0.0, goal=0.0, share=0.0)
    assert any(leaves_rows_out(problem, point) for point in (exact, problem.point(3.0)))
    for scale in (0.0, 3.0):
        end, iterations, _ = problem.run(problem.point(scale), tol=0.0, goal=0.0, limit=1000)
        assert iterations < (40 if share < 0.5 else 1000)  # few rows are slow, but get there
        assert problem.decrement(end) < 1e-16
        np.testing.assert_allclose(end, exact, rtol=1e-7, atol=1e-7)

    def smooth(flat):
        value, gradient = problem.smooth(flat[None])
        return float(value), gradient.astype(np.float64).ravel()

    found = minimize(smooth, np.zeros(problem.q), jac=True, tol=1e-9, method="BFGS")
    assert problem.smooth(end)[0] <= found.fun + 1e-12
    np.testing.assert_allclose(end[0], found.x, rtol=1e-3, atol=1e-3)


# ---- decrements err to the safe side --------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("q", [1, 3, 4, 5, 8, 9])
@over_shares
def test_a_decrement_without_some_rows_is_no_smaller(share, q, seed):
    """From the helpers that `newton_binary` uses: all other rows add to the Hessian."""
    rng = np.random.default_rng(seed)
    m = 64
    A, d, gradient = rng.normal(size=(q, m)), rng.exponential(size=m) ** 3, rng.normal(size=(1, q))
    kept = np.empty(m, dtype=np.uint64)
    count = newton._rows_of_weight(d, share, kept)
    assert q < count <= 3 * m // 4
    some, weight = np.empty((q, m)), np.empty(m)
    newton._take_rows(A, d, kept, count, some, weight)
    decrements = []
    for rows, weights in ((A, d), (some, weight)):
        H = 1e-3 * np.eye(q)
        tiles.add_weighted_gram(rows, weights, np.empty((4, m)), H, 0, 0)
        found, decrement = cholesky.definite_step(H, gradient, np.empty(q))
        assert found
        decrements.append(decrement)
    assert decrements[1] > decrements[0]


@pytest.mark.parametrize("seed", range(4))
@over_shares
def test_it_goes_on_where_only_the_exact_decrement_is_small_enough(share, seed):
    """Where no row is left out it ends with a step from there."""
    problem = NewtonProblem(1, p=4, blocks=2, share=share, signal=4.0)
    start = problem.point(3.0, seed)
    exact, decrement = problem.decrement(start), problem.decrement(start, share)
    assert decrement > exact * 1.001
    goal = np.sqrt(exact * decrement)
    _, _, evaluations = problem.run(start, tol=np.inf, goal=goal, share=0.0)
    assert evaluations == 2
    _, _, evaluations = problem.run(start, tol=np.inf, goal=goal)
    assert evaluations > 2
    _, _, evaluations = problem.run(start, tol=np.inf, goal=decrement * 1.001)
    assert evaluations == 2


@pytest.mark.parametrize("signal", [0.5, 4.0, 12.0])
@pytest.mark.parametrize("goal", [1e-3, 1e-6, 1e-9])
@over_shares
def test_it_stops_within_its_goal_by_the_exact_decrement(share, goal, signal):
    """A step before its end, and so much the more there."""
    problem = NewtonProblem(1, p=4, blocks=2, n=101, share=share, signal=signal)
    start = problem.point(1.0)
    end, iterations, _ = problem.run(start, tol=np.inf, goal=goal, limit=200)
    before, made, _ = problem.run(start, tol=np.inf, goal=-1.0, limit=iterations - 1)
    assert made == iterations - 1
    assert problem.decrement(before) <= problem.decrement(before, share) * (1 + 1e-12)
    assert problem.decrement(before) <= goal
    assert problem.decrement(end) <= problem.decrement(before)
