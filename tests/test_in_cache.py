"""Newton in one call ends where Newton call by call does, by whatever parts of the rows."""

from dataclasses import replace

import numpy as np
import pytest
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)

from sk_softmax._curvature import outputs
from sk_softmax._design import chunks
from sk_softmax._kernels import newton as kernels
from sk_softmax._preconditioner.changes import Centring
from sk_softmax._solvers import in_cache
from sk_softmax._solvers.in_cache import fits_in_cache, newton_in_cache
from sk_softmax._solvers.samples import NOISE
from sk_softmax._solvers.solution import Control, Status
from sk_softmax._solvers.table import choose, solve
from sk_softmax._threads import Workers

over_losses = pytest.mark.parametrize("loss", LOSSES)
over_storage = pytest.mark.parametrize("storage", ["C", "F", "float32", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


def control_for(objective, tol=1e-10, max_iter=100):
    """As `solve` makes it."""
    return Control(tol, max(0.01 * tol, 1e-14) * objective.null_value, max_iter)


def assert_same_point(objective, point, solution):
    """The point is the solution's, up to the shift of intercepts that softmax does not see.

    And up to what F shows: Newton in one call ends where F falls no more.
    """
    coef, intercept = objective.split(point)
    if objective.coupled:
        intercept -= intercept.mean()
    np.testing.assert_allclose(coef, solution.coef, atol=1e-7)
    np.testing.assert_allclose(intercept, solution.intercept, atol=1e-7)


def assert_same_solution(solution, other):
    """Both went on until the gradient shows no more."""
    np.testing.assert_allclose(solution.coef, other.coef, rtol=0, atol=1e-9)
    np.testing.assert_allclose(solution.intercept, other.intercept, rtol=0, atol=1e-9)
    np.testing.assert_allclose(solution.objective, other.objective, rtol=1e-14)


@pytest.fixture
def call_by_call(monkeypatch):
    """`solve` without Newton in one call, to the same precision."""

    def solved(problem, tol=1e-10):
        with monkeypatch.context() as patch:
            patch.setattr(in_cache, "WORK", 0)
            return solve(problem.objective(), "newton", tol=tol)

    return solved


def in_one_call(objective, control, start):
    """Where the iterations in one call end, and how many they were, (m,)."""
    run = newton_in_cache(objective, control, start)
    return run.point, run.n_iter


class Calls(list):
    """What the kernel was asked for and did, problem by problem.

    Rows, sum of weights, tol, goal, iterations allowed and made.
    """

    def of(self, column):
        return [call for at, call in self.by_column if at == column]

    by_column: list


@pytest.fixture
def calls(monkeypatch):
    made = Calls()
    made.by_column = []
    softmax, binary = kernels.newton_softmax, kernels.newton_binary

    def note(column, s, tol, goal, limit, steps):
        made.append((int((s > 0).sum()), s.sum(), tol, goal, limit, steps))
        made.by_column.append((column, made[-1]))

    def counted_softmax(A, center, y, s, lambda2, point, tol, goal, limit, gradient, counts):
        value = softmax(A, center, y, s, lambda2, point, tol, goal, limit, gradient, counts)
        note(-1, s, tol, goal, limit, counts[0])
        return value

    def counted_binary(A, center, y, s, columns, sides, lambda2, points, tol, goals, limits, *rest):
        *_, counts = rest
        binary(A, center, y, s, columns, sides, lambda2, points, tol, goals, limits, *rest)
        for column, goal, limit, steps in zip(columns, goals, limits, counts[:, 0], strict=True):
            note(column, s, tol, goal, limit, steps)

    monkeypatch.setattr(kernels, "newton_softmax", counted_softmax)
    monkeypatch.setattr(kernels, "newton_binary", counted_binary)
    return made


def columns_of(objective):
    return [-1] if objective.coupled else objective.target.columns


# ---- what fits ------------------------------------------------------------------------------


@over_losses
@over_intercepts
def test_problems_of_more_work_or_features_do_not_fit(loss, fit_intercept, monkeypatch):
    objective = make_problem(loss, fit_intercept=fit_intercept).objective()
    q, size = objective.q, objective.hessian_size
    assert fits_in_cache(objective)
    work = 60 * size * (q + size // q) + size**3 / 3
    for limit, fits in ((work, True), (np.nextafter(work, 0), False), (0, False)):
        monkeypatch.setattr(in_cache, "WORK", limit)
        assert fits_in_cache(objective) == fits
    monkeypatch.setattr(in_cache, "WORK", work)
    entries = 60 * q
    for limit, fits in ((entries, True), (entries - 1, False)):
        monkeypatch.setattr(in_cache, "FEATURES", limit)
        assert fits_in_cache(objective) == fits


@over_losses
def test_problems_without_a_penalty_do_not_fit(loss):
    """Then the Hessian may be singular, and the optimum nowhere."""
    assert not fits_in_cache(make_problem(loss, "none").objective())
    assert not fits_in_cache(make_problem(loss, "l1").objective())


@over_losses
def test_a_problem_without_coordinates_does_not_fit(loss):
    objective = make_problem(loss, fit_intercept=False).objective()
    assert not fits_in_cache(objective.take_features(np.empty(0, dtype=int)))


@pytest.mark.parametrize(
    ("n", "p", "K", "coupled", "fits"),
    [
        (150, 4, 3, True, True),
        (569, 30, 2, True, True),
        (4601, 57, 2, True, True),
        (9000, 57, 2, True, True),
        (13000, 57, 2, True, False),
        (10000, 20, 10, True, False),
        (5000, 20, 10, False, True),
        (60, 165, 3, True, False),
        (60, 165, 3, False, True),
    ],
)
def test_what_fits(n, p, K, coupled, fits):
    rng = np.random.default_rng(0)
    problem = make_problem("softmax", n=n, n_classes=K, coupled=coupled)
    problem = replace(problem, X=rng.normal(size=(n, p)))
    assert fits_in_cache(problem.objective()) == fits


# ---- where it ends --------------------------------------------------------------------------


@over_losses
@over_storage
@over_intercepts
def test_in_one_call_as_call_by_call(loss, storage, fit_intercept, call_by_call):
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    start = objective.null_point()
    before = start.copy()
    point, iterations = in_one_call(objective, control_for(objective), start)
    assert point.shape == problem.shape
    assert iterations.shape == (objective.n_problems,)
    assert ((iterations > 0) & (iterations < 20)).all()
    assert (problem.optimality(point) <= 1e-8).all()
    solution = call_by_call(problem)
    assert_same_point(objective, point, solution)
    assert_same_solution(solve(problem.objective(), "newton", tol=1e-10), solution)
    np.testing.assert_array_equal(start, before)


@over_losses
@over_storage
@over_intercepts
def test_what_is_known_of_the_end_is_not_found_again(loss, storage, fit_intercept):
    """The kernel's loss and gradient, in centred features, are those of the user's."""
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    run = newton_in_cache(objective, control_for(objective, 1e-4), objective.null_point())
    assert run.converged.all()
    read = objective.counts["rows"]
    value, gradient = objective.loss_gradient(run.point)
    np.testing.assert_allclose(run.loss, value, rtol=1e-13)
    np.testing.assert_allclose(run.gradient, gradient, atol=1e-13)
    solution = solve(problem.objective(), "newton")
    assert solution.evaluations * objective.design.n == read


@over_losses
@over_intercepts
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_any_start_leads_there(loss, fit_intercept, scale, call_by_call):
    """From far outside, where it may give up, call by call."""
    problem = make_problem(loss, fit_intercept=fit_intercept)
    objective = problem.objective()
    (start,) = problem.points(1, scale)
    solution = solve(problem.objective(), "newton", tol=1e-10, start=start)
    assert_same_solution(solution, call_by_call(problem))
    point, _ = in_one_call(objective, control_for(objective), start)
    assert (problem.value(point) <= problem.value(start)).all()
    if scale == 1.0:
        assert_same_point(objective, point, call_by_call(problem))
    if problem.softmax and fit_intercept:  # nothing shifts what is not seen
        shifts = [Centring(objective.center).apply(at)[:, -1].sum() for at in (start, point)]
        assert shifts[1] == pytest.approx(shifts[0], rel=1e-9)


@over_losses
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_features_in_other_units_and_far_from_0(loss, storage):
    problem = make_problem(loss, "l2", storage)
    X = problem.dense() * [1e-6, 1.0, 1e5, 10.0] + [0.0, 100.0, -1e7, 0.0]
    problem = replace(problem, X=X if storage == "C" else type(problem.X)(X))
    objective = problem.objective()
    control = control_for(objective, 1e-4)
    point, _ = in_one_call(objective, control, objective.null_point())
    assert (problem.decrement(point) <= control.goal).all()
    solution = solve(problem.objective(), "newton")
    assert (problem.optimality(problem.point_of(solution)) <= 1e-4).all()


@over_losses
@over_storage
def test_solve_takes_it_for_small_problems_and_certifies_where_it_ends(loss, storage, calls):
    problem = make_problem(loss, "l2", storage)
    objective = problem.objective()
    assert choose("auto", objective).name == "newton"
    solution = solve(objective, tol=1e-8)
    assert len(calls) == objective.n_problems
    assert [step["stage"] for step in solution.trace] == ["newton in cache"]
    assert set(solution.status) == {Status.CONVERGED}
    goal = 1e-10 * objective.null_value
    assert (solution.dual_gap <= goal).all()
    np.testing.assert_array_equal(solution.n_iter, [call[-1] for call in calls])
    value = problem.value(problem.point_of(solution))
    assert (value - problem.lower_bound(problem.point_of(solution)) <= goal).all()


# ---- parts of the rows ----------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few rows, so that small problems have parts too."""
    monkeypatch.setattr(outputs, "ROWS", 8)


@over_storage
@over_intercepts
@pytest.mark.parametrize("n", [5, 8, 9, 60, 61, 67])
def test_blocks_hold_every_row_once(n, storage, fit_intercept, small_blocks):
    problem = make_problem("softmax", "l2", storage, fit_intercept, n=n)
    objective = problem.objective()
    A, y, s = objective.turned_rows
    count = -(-n // 8)
    assert A.shape == (count, objective.q, 8)
    assert y.shape == s.shape == (count, A.shape[2])
    filled = s > 0
    assert filled.sum() == n
    assert not y[~filled].any()
    features = problem.features() - np.pad(objective.center, (0, int(fit_intercept)))
    rows = np.column_stack([A.transpose(0, 2, 1)[filled], y[filled], s[filled]])
    exact = np.column_stack([features, problem.y, problem.weights])
    for found, expected in zip(rows[np.lexsort(rows.T)], exact[np.lexsort(exact.T)], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-14)
    for block in range(count):  # neighbours are in different blocks
        np.testing.assert_array_equal(s[block][filled[block]], problem.weights[block::count])


@over_losses
@over_storage
@pytest.mark.parametrize("fractions", [(16, 4), (4, 2), (2,)])
def test_by_parts_of_the_rows_to_the_same_end(
    loss, storage, fractions, small_blocks, calls, call_by_call, monkeypatch
):
    monkeypatch.setattr(in_cache, "FRACTIONS", fractions)
    problem = make_problem(loss, "l2", storage, n=2100)
    objective = problem.objective()
    control = control_for(objective)
    point, iterations = in_one_call(objective, control, objective.null_point())
    m = objective.n_problems
    assert len(calls) == (1 + len(fractions)) * m
    for k, column in enumerate(columns_of(objective)):
        own = calls.of(column)
        assert len(own) == 1 + len(fractions)
        for fraction, (rows, total, tol, goal, _, _) in zip(fractions, own[:-1], strict=True):
            assert rows == pytest.approx(2100 / fraction, rel=0.1)
            assert total == pytest.approx(1.0, rel=0.2)
            assert tol == np.inf
            assert goal == pytest.approx(NOISE * objective.hessian_size / rows, rel=0.1)
        rows, total, tol, goal, _, _ = own[-1]
        assert rows == 2100
        assert total == pytest.approx(1.0, rel=1e-12)
        assert tol == control.tol
        assert goal < control.goal[k]
        assert iterations[k] == sum(call[-1] for call in own)
    assert_same_point(objective, point, call_by_call(problem))


@over_losses
def test_parts_save_passes_over_all_rows(loss, small_blocks, monkeypatch):
    problem = make_problem(loss, n=2100)
    problem = replace(problem, X=problem.X + 2 * (problem.y[:, None] == np.arange(4)))
    read = []
    for fractions in ((), (16, 4)):
        monkeypatch.setattr(in_cache, "FRACTIONS", fractions)
        objective = problem.objective()
        newton_in_cache(objective, control_for(objective, 1e-4), objective.null_point())
        read.append(objective.counts["rows"])
    assert read[0] % 2100 == 0
    assert 2 * 2100 <= read[1] < read[0]


def test_parts_have_8_rows_a_coordinate_or_are_left_out(small_blocks, calls):
    for n, parts in ((480, 0), (600, 1), (1900, 1), (2100, 2)):
        calls.clear()
        objective = make_problem("softmax", n=n).objective()
        newton_in_cache(objective, control_for(objective), objective.null_point())
        assert len(calls) == parts + 1


def missing_from_samples(loss, missing, n=2400):
    """A problem with rows of class ``missing`` only where no sample looks, and few of them."""
    problem = make_problem(loss, n=n)
    K = problem.n_classes
    rng = np.random.default_rng(0)
    y = rng.choice(np.delete(np.arange(K), missing), n)
    blocks = np.arange(n) % (n // 8)
    late = np.flatnonzero(blocks >= n // 16)
    y[late[::7]] = missing
    X = problem.X + 0.5 * (y[:, None] == np.arange(4))
    return replace(problem, X=X, y=y)


@pytest.mark.parametrize(
    ("loss", "missing"),
    [(loss, k) for loss, classes in LOSSES.items() for k in range(classes["n_classes"])],
)
def test_a_class_missing_from_a_sample(loss, missing, small_blocks, calls, call_by_call):
    """Such a sample says that the class does not exist; it is not used."""
    problem = missing_from_samples(loss, missing)
    objective = problem.objective()
    point, _ = in_one_call(objective, control_for(objective), objective.null_point())
    assert [call[0] for call in calls] == [2400] * objective.n_problems
    assert_same_point(objective, point, call_by_call(problem))


def test_a_class_rare_in_a_sample(small_blocks, calls, call_by_call):
    """Twice as many rows as coordinates make a sample of a class."""
    problem = make_problem("one-vs-all", n=2400)
    y = problem.y.copy()
    sample = np.flatnonzero(np.arange(2400) % 300 < 300 // 16)
    y[sample[y[sample] == 2]] = 0
    y[sample[:9]] = 2  # 10 are asked for
    problem = replace(problem, y=y)
    objective = problem.objective()
    point, _ = in_one_call(objective, control_for(objective), objective.null_point())
    assert len(calls) == 2 * objective.n_problems
    assert calls[0][0] > 500
    assert_same_point(objective, point, call_by_call(problem))


# ---- threads and limits ---------------------------------------------------------------------


@over_losses
@over_storage
def test_the_number_of_threads_changes_no_bit(loss, storage, small_blocks, monkeypatch):
    monkeypatch.setattr(chunks, "WORTH", 0)
    problem = make_problem(loss, "l2", storage, n=2100)
    results = []
    for n_threads in (1, 2, 1):
        with Workers(n_threads) as workers:
            objective = problem.objective(workers)
            control = control_for(objective, 1e-6)
            point, iterations = in_one_call(objective, control, objective.null_point())
            results.append((point, iterations, objective.counts["rows"]))
    for point, iterations, read in results[1:]:
        np.testing.assert_array_equal(point, results[0][0])
        np.testing.assert_array_equal(iterations, results[0][1])
        assert read == results[0][2]


@over_losses
@pytest.mark.parametrize("n", [60, 2100], ids=["whole", "in parts"])
@pytest.mark.parametrize("max_iter", [0, 1, 2, 3, 4])
def test_no_more_iterations_than_allowed(loss, n, max_iter, small_blocks, calls):
    problem = make_problem(loss, n=n)
    objective = problem.objective()
    (start,) = problem.points(1)
    point, iterations = in_one_call(objective, control_for(objective, 0.0, max_iter), start)
    np.testing.assert_array_equal(iterations, max_iter)
    if max_iter == 0:
        np.testing.assert_allclose(point, start, rtol=1e-14)
    assert min(call[4] for call in calls) >= 0


@over_losses
@pytest.mark.parametrize("n", [60, 2100], ids=["whole", "in parts"])
@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_solve_admits_that_iterations_ran_out(loss, n, max_iter, small_blocks):
    problem = make_problem(loss, n=n)
    solution = solve(problem.objective(), "newton", tol=1e-12, max_iter=max_iter)
    assert (solution.n_iter <= max_iter).all()
    assert set(solution.status) == {Status.MAX_ITER}


@over_losses
def test_rows_read_are_counted(loss):
    """One-vs-all problems read the rows together: the pass of the longest counts."""
    objective = make_problem(loss).objective()
    _, iterations = in_one_call(objective, control_for(objective), objective.null_point())
    assert objective.counts["rows"] % 60 == 0
    assert objective.counts["rows"] >= 60 * (iterations.max() + 1)
    assert objective.counts["rows"] <= 60 * (iterations.max() + 3)


# ---- single precision -----------------------------------------------------------------------

over_binary = pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "softmax"])


@pytest.fixture
def single(monkeypatch):
    """Binary problems of any size in single precision; the types that the kernel was given."""
    monkeypatch.setattr(in_cache, "SINGLE_WORK", 0)
    binary, types = kernels.newton_binary, []

    def noted(A, center, y, s, *rest):
        types.append((A.dtype, s.dtype))
        return binary(A, center, y, s, *rest)

    monkeypatch.setattr(kernels, "newton_binary", noted)
    return types


SINGLE = np.dtype(np.float32), np.dtype(np.float32)


@over_binary
@over_storage
@over_intercepts
@pytest.mark.parametrize("n", [60, 2100], ids=["whole", "in parts"])
def test_in_single_precision_as_call_by_call(
    loss, storage, fit_intercept, n, single, small_blocks, call_by_call
):
    """And then call by call in double precision, as far as that takes."""
    problem = make_problem(loss, "l2", storage, fit_intercept, n=n)
    objective = problem.objective()
    control = control_for(objective, 1e-4)
    point, iterations = in_one_call(objective, control, objective.null_point())
    assert set(single) == {SINGLE}
    assert (iterations < 20).all()
    exact = call_by_call(problem)
    assert (problem.value(point) - exact.objective <= control.goal).all()
    solution = solve(problem.objective(), "newton", tol=1e-10)
    assert_same_solution(solution, exact)
    assert set(solution.status) == {Status.CONVERGED}


@over_binary
def test_what_is_known_in_single_precision_is_found_again_in_double(loss, single):
    problem = make_problem(loss)
    objective = problem.objective()
    run = newton_in_cache(objective, control_for(objective, 1e-4), objective.null_point())
    value, gradient = objective.loss_gradient(run.point)
    np.testing.assert_array_equal(run.loss, value)
    np.testing.assert_array_equal(run.gradient, gradient)


@over_binary
def test_features_in_other_units_in_single_precision(loss, single, call_by_call):
    problem = make_problem(loss)
    X = problem.dense() * [1e-19, 1.0, 1e9, 1e3] + [0.0, 1.0, -1e10, 0.0]
    problem = replace(problem, X=X)
    solution = solve(problem.objective(), "newton")
    assert set(single) == {SINGLE}
    assert set(solution.status) == {Status.CONVERGED}
    goal = 1e-6 * problem.objective().null_value
    assert (solution.objective - call_by_call(problem).objective <= goal).all()


@over_binary
def test_features_whose_squares_are_out_of_range_are_left_in_double_precision(loss, single):
    problem = make_problem(loss)
    problem = replace(problem, X=problem.dense() * [1.0, 1e13, 1.0, 1.0])
    solution = solve(problem.objective(), "newton")
    assert set(single) == {(np.dtype(np.float64),) * 2}
    assert all(status.converged for status in solution.status)


@over_binary
def test_the_number_of_threads_changes_no_bit_in_single_precision(
    loss, single, small_blocks, monkeypatch
):
    monkeypatch.setattr(chunks, "WORTH", 0)
    problem, points = make_problem(loss, n=2100), []
    for n_threads in (1, 2, 1):
        with Workers(n_threads) as workers:
            objective = problem.objective(workers)
            control = control_for(objective, 1e-6)
            points.append(in_one_call(objective, control, objective.null_point())[0])
    np.testing.assert_array_equal(points[1], points[0])
    np.testing.assert_array_equal(points[2], points[0])


def test_small_problems_and_softmax_are_in_double_precision(monkeypatch):
    types = []

    def note(kernel):
        def noted(A, *rest):
            types.append(A.dtype)
            return kernel(A, *rest)

        return noted

    for name in ("newton_softmax", "newton_binary"):
        monkeypatch.setattr(kernels, name, note(getattr(kernels, name)))
    solve(make_problem("one-vs-all").objective(), "newton")
    monkeypatch.setattr(in_cache, "SINGLE_WORK", 0)
    solve(make_problem("softmax").objective(), "newton")
    assert set(types) == {np.dtype(np.float64)}
