"""Newton's method in one call, on one problem and on several side by side, against its twin."""

import naive
import numpy as np
import pytest
from kernel_cases import overflow_is_no_accident, read_only
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
NO_SIDES = np.ones(2)


class NewtonProblem:
    """What `newton_problems` takes, in ``blocks`` filled up with rows of weight 0; its twin's."""

    def __init__(self, K=3, p=2, fit_intercept=True, blocks=1, n=41, lambda2=0.01, seed=0):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q, self.lambda2 = K, p, p + fit_intercept, lambda2
        self.y = rng.integers(K if K > 1 else 3, size=n)
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

    def run(self, point, tol=1e-2, goal=1e-5, limit=50):
        """Where the kernel ends, its steps and its evaluations."""
        ends, counts = self.run_all(
            np.array([self.column]),
            self.sides[None],
            np.array([self.lambda2]),
            point[None],
            np.array([goal]),
            tol,
            limit,
        )
        return ends[0], *counts[0]

    def run_all(self, columns, sides, lambda2, points, goals, tol=1e-2, limits=50):
        """Where the kernel ends in several problems, and its counts."""
        ends, counts = points.copy(), np.zeros((len(points), 2), dtype=np.int64)
        limits = np.broadcast_to(limits, len(points)).astype(np.int64)
        data = self.blocks_A, self.center, self.blocks_y, self.blocks_s
        newton.newton_problems(*data, columns, sides, lambda2, ends, tol, goals, limits, counts)
        return ends, counts

    def rows(self):
        return self.A, self.y, self.s, self.column, self.sides

    def twin(self, point, tol=1e-2, goal=1e-5, max_iter=50):
        A, *rest = self.rows()
        return naive.newton(A, self.center, *rest, self.lambda2, point, tol, goal, max_iter)

    def smooth(self, point):
        return naive.smooth(*self.rows(), self.lambda2, self.p, point)

    def violation(self, point):
        return naive.violation(self.smooth(point)[1], self.center)

    def hessian(self, point):
        """F's Hessian from the twin."""
        D = naive.curvature(*self.rows(), point)
        return naive.hessian(self.A, D, self.lambda2, self.p).astype(np.float64)


# ---- one problem ----------------------------------------------------------------------------


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
    problem.blocks_A[:, :2][np.broadcast_to(padding[:, None], (3, 2, 14))] = 100.0
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


# ---- several problems side by side ----------------------------------------------------------


class BinaryProblems:
    """Problems on the same rows, of all kinds: near their ends and far, easy and impossible.

    Each has a class, factors on its sides, a penalty, a start and a goal of its own.
    """

    def __init__(self, p=3, fit_intercept=True, blocks=2):
        self.data = NewtonProblem(1, p, fit_intercept, blocks)
        rng = np.random.default_rng(1)
        m, q = 7, self.data.q
        self.columns = np.array([1, 0, 2, 1, 2, 0, 1])
        self.sides = rng.uniform(0.5, 2, (m, 2))
        self.lambda2 = np.array([0.01, 1.0, 1e-4, 1e-3, 0.1, 1e-2, 1e-2])
        self.points = np.array([0, 1, 8, 3, 0.1, 1, 0])[:, None, None] * rng.normal(size=(m, 1, q))
        # where one is reached, F still shows the last step, however sums are rounded
        self.goals = np.array([1e-5, 1e-11, 1e-5, 1e-2, np.inf, -1.0, 1e-8])

    def of(self, chosen):
        """What `NewtonProblem.run_all` takes for some of the problems."""
        arrays = self.columns, self.sides, self.lambda2, self.points, self.goals
        return [array[chosen] for array in arrays]

    def run(self, chosen=slice(None), **params):
        return self.data.run_all(*self.of(chosen), **params)


def assert_each_as_by_itself(problems, **params):
    """To the bit: where it ends, its steps and evaluations."""
    ends, counts = problems.run(**params)
    for c in range(len(ends)):
        end, own = problems.run([c], **params)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
    return ends, counts


@over_blocks
@pytest.mark.parametrize(("p", "fit_intercept"), [(1, False), (0, True), (3, True), (6, True)])
def test_newton_on_several_problems_is_newton_on_each(p, fit_intercept, blocks):
    ends, counts = assert_each_as_by_itself(BinaryProblems(p, fit_intercept, blocks))
    assert len(np.unique(counts[:, 0])) > 1  # they end at different times
    assert np.isfinite(ends).all()


@pytest.mark.parametrize("limit", [0, 1, 3, 5])
def test_newton_makes_no_more_steps_than_allowed_in_any_problem(limit):
    problems = BinaryProblems()
    ends, counts = assert_each_as_by_itself(problems, limits=limit, tol=0.0)
    unlimited = problems.run(tol=0.0)[1]
    assert (unlimited[:, 0] > limit).any()
    np.testing.assert_array_equal(counts[:, 0], np.minimum(unlimited[:, 0], limit))
    before = unlimited[:, 0] < limit
    np.testing.assert_array_equal(counts[before], unlimited[before])
    if limit == 0:
        np.testing.assert_array_equal(ends, problems.points)
        np.testing.assert_array_equal(counts, [[0, 1]] * 7)


def test_each_problem_has_a_limit_of_its_own():
    problems = BinaryProblems()
    limits = np.array([0, 1, 2, 3, 1, 0, 50])
    ends, counts = problems.run(limits=limits, tol=0.0)
    for c, limit in enumerate(limits):
        end, own = problems.run([c], limits=limit, tol=0.0)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
    np.testing.assert_array_equal(counts[:6, 0], limits[:6])
    assert 3 < counts[6, 0] < 50


def test_newton_on_several_problems_goes_where_its_twins_do():
    problems = BinaryProblems()
    data = problems.data
    ends, counts = problems.run()
    for c, (column, sides, lambda2, point, goal) in enumerate(
        zip(*problems.of(slice(None)), strict=True)
    ):
        if goal < 0:
            continue  # it ends where the objective shows no more, which is not there in wide floats
        rows = data.A, data.center, data.y, data.s, column, sides, lambda2
        exact, *exact_counts = naive.newton(*rows, point, 1e-2, goal, 50)
        np.testing.assert_allclose(ends[c], exact, rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(counts[c], exact_counts)


def test_newton_on_several_problems_ends_at_their_minima():
    """Where no goal stops it, the gradient of each is 0: to half of the digits at least."""
    problems = BinaryProblems()
    problems.goals[:] = 0.0
    data = problems.data
    ends, counts = problems.run(tol=0.0)
    assert counts[:, 0].max() < 25
    for column, sides, lambda2, end in zip(*problems.of(slice(None))[:3], ends, strict=True):
        _, gradient = naive.smooth(data.A, data.y, data.s, column, sides, lambda2, data.p, end)
        assert naive.violation(gradient, data.center) < 1e-8


def test_newton_on_problems_in_another_order_is_the_same():
    problems = BinaryProblems()
    ends, counts = problems.run()
    order = np.array([4, 2, 6, 0, 5, 3, 1])
    other_ends, other_counts = problems.run(order)
    np.testing.assert_array_equal(other_ends, ends[order])
    np.testing.assert_array_equal(other_counts, counts[order])


def test_problems_that_cannot_go_on_do_not_stop_the_others():
    """A start that is not finite, a Hessian that is singular, a loss beyond any float."""
    problems = BinaryProblems(p=3)
    expected, expected_counts = problems.run()
    problems.data.blocks_A[:, 2] = 0.0
    problems.lambda2[0] = 0.0
    problems.points[2, 0, 0] = np.nan
    problems.points[4] = 1e308
    ends, counts = assert_each_as_by_itself(problems)
    np.testing.assert_array_equal(ends[[0, 2]], problems.points[[0, 2]])
    np.testing.assert_array_equal(counts[[0, 2]], [[0, 1]] * 2)
    for c in (1, 3, 5, 6):
        assert counts[c, 0] > 0
        assert not np.array_equal(ends[c], problems.points[c])
    assert expected.shape == ends.shape
    assert (expected_counts[:, 0] > 0).all()


def test_newton_takes_several_softmax_problems():
    """With penalties, starts and goals of their own."""
    problem = NewtonProblem(3, p=4, blocks=2)
    lambda2, goals = np.array([0.01, 1.0, 1e-3]), np.array([1e-5, 1e-9, 1e-3])
    starts = np.array([problem.point(scale, seed=3) for scale in (0.0, 1.0, 4.0)])
    columns, sides = np.full(3, -1), np.ones((3, 2))
    ends, counts = problem.run_all(columns, sides, lambda2, starts, goals)
    assert len(np.unique(counts[:, 0])) > 1
    for c in range(3):
        problem.lambda2 = lambda2[c]
        end, *own = problem.run(starts[c], goal=goals[c])
        np.testing.assert_array_equal(ends[c], end)
        np.testing.assert_array_equal(counts[c], own)


def test_newton_takes_read_only_input():
    problems = BinaryProblems()
    expected, expected_counts = problems.run()
    data = problems.data
    for name in ("blocks_A", "center", "blocks_y", "blocks_s"):
        setattr(data, name, read_only(getattr(data, name)))
    columns, sides, lambda2, points, goals = problems.of(slice(None))
    frozen = [read_only(array) for array in (columns, sides, lambda2)]
    ends, counts = data.run_all(*frozen, points, read_only(goals))
    np.testing.assert_allclose(ends, expected, rtol=1e-12)
    np.testing.assert_array_equal(counts, expected_counts)


def test_newton_of_no_problems_does_nothing():
    ends, counts = BinaryProblems().run(slice(0, 0))
    assert ends.shape == (0, 1, 4)
    assert counts.shape == (0, 2)
