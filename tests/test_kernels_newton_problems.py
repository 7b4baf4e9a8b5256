"""Newton's method in one call, on one problem, against its twin."""

import numpy as np
import pytest
from kernel_cases import NewtonProblem, overflow_is_no_accident
from scipy.optimize import brentq, minimize

from sk_softmax._kernels import newton

pytestmark = overflow_is_no_accident

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


@over_newton_shapes
@over_blocks
def test_newton_s_first_step(K, p, fit_intercept, blocks):
    """What value, gradient and Hessian make together, be it halved or not."""
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    for scale in (0.0, 1.0, 5.0):
        start = problem.point(scale)
        end, *counts = problem.run(start, tol=0.0, goal=0.0, limit=1)
        exact, *exact_counts = problem.twin(start, 0.0, 0.0, 1)
        assert counts == exact_counts
        np.testing.assert_allclose(
            end - start, (exact - start).astype(float), rtol=1e-9, atol=1e-11
        )
        assert (end != start).any()


@pytest.mark.parametrize("q", range(1, 18))
@pytest.mark.parametrize("K", range(1, 10))
def test_newton_s_first_step_in_every_shape(K, q):
    """On and beside tiles of 4 outputs by 4 features, in blocks on and beside vectors of 8."""
    problem = NewtonProblem(K, q - 1, True, blocks=2, n=17 + K, lambda2=0.1)
    start = problem.point(0.5)
    end, *counts = problem.run(start, tol=0.0, goal=0.0, limit=1)
    exact, *exact_counts = problem.twin(start, 0.0, 0.0, 1)
    assert counts == exact_counts
    step = (exact - start).astype(np.float64)
    np.testing.assert_allclose(end - start, step, rtol=1e-9, atol=1e-11)
    assert step.any()


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
    assert np.isnan(problem.known[0]).all()  # the last evaluation was elsewhere


@over_newton_shapes
@over_blocks
def test_newton_knows_the_objective_where_it_ends(K, p, fit_intercept, blocks):
    """Whether it has converged or not; the gradient is of the features as they were centred."""
    problem = NewtonProblem(K, p, fit_intercept, blocks)
    for limit in (0, 1, 50):
        end, *_ = problem.run(problem.point(0.5), limit=limit)
        value, gradient = problem.smooth(end)
        known_value, known_gradient = problem.known
        assert known_value.shape == (1,)
        np.testing.assert_allclose(known_value[0], float(value), rtol=1e-13)
        np.testing.assert_allclose(known_gradient[0], gradient.astype(float), atol=1e-13)


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
    problem.blocks_A[np.broadcast_to(padding[:, None], (3, 3, 14))] = 100.0
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
