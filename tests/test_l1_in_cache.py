"""L1 in one call: which problems, where it ends, what is known there, and who goes on then."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import LOSSES, Problem, make_problem, needs_jit
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)

from sk_softmax import ova_l1_min_c, softmax_l1_min_c
from sk_softmax._curvature import outputs
from sk_softmax._design import chunks
from sk_softmax._kernels import l1_newton as kernels
from sk_softmax._solvers import l1_in_cache
from sk_softmax._solvers.gauge import best_shift
from sk_softmax._solvers.l1_in_cache import l1_fits_in_cache, prox_newton_in_cache
from sk_softmax._solvers.solution import Control, Status
from sk_softmax._solvers.table import solve
from sk_softmax._threads import Workers

pytestmark = needs_jit

over_losses = pytest.mark.parametrize("loss", LOSSES)
over_penalties = pytest.mark.parametrize("penalty", ["l1", "elastic net"])
over_storage = pytest.mark.parametrize("storage", ["C", "F", "float32", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


def control_for(objective, tol=1e-7, max_iter=100, **rest):
    """As `solve` makes it."""
    return Control(tol, max(0.01 * tol, 1e-14) * objective.null_value, max_iter, **rest)


def run_of(problem, start=None, **control):
    objective = problem.objective()
    start = objective.null_point() if start is None else start
    return prox_newton_in_cache(objective, control_for(objective, **control), start)


def assert_certified(problem, run, tol=1e-7):
    """By the run's own word, and by the twins'."""
    assert run.converged.all()
    assert (problem.optimality(run.point) <= tol).all()
    gap = problem.value(run.point) - problem.lower_bound(run.point)
    assert (gap <= max(0.01 * tol, 1e-14) * problem.null_value() + 1e-15).all()


@pytest.fixture
def calls(monkeypatch):
    """What the kernel was given and did: rows that weigh, far at first, tol, goals and counts."""
    made, kernel = [], kernels.l1_newton

    def counted(A, center, y, s, *rest):
        tol, goals, far, counts = rest[6], rest[7], rest[12].copy(), rest[15]
        kernel(A, center, y, s, *rest)
        made.append((int((s > 0).sum()), far, tol, goals, counts))

    monkeypatch.setattr(kernels, "l1_newton", counted)
    return made


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few rows, so that small problems have several."""
    monkeypatch.setattr(outputs, "ROWS", 8)


def informative(loss, penalty="l1", **changes):
    """Classes that a feature tells apart, from enough rows that some will do for Hessians."""
    problem = make_problem(loss, penalty, n=500, C=0.05, **changes)
    X = problem.dense() + 2 * (problem.y[:, None] == np.arange(4))
    return replace(problem, X=X)


# ---- what fits ------------------------------------------------------------------------------


@over_losses
@over_intercepts
def test_problems_with_more_of_anything_do_not_fit(loss, fit_intercept, monkeypatch):
    """Entries of X, multiplications in a sweep, and in a Hessian."""
    problem = make_problem(loss, "l1", fit_intercept=fit_intercept)
    objective = problem.objective()
    K, q = (len(problem.columns), problem.shape[1]) if problem.softmax else (1, problem.shape[1])
    borders = {"ENTRIES": 60 * q, "SWEEP": 60 * q * K, "HESSIAN": 60 * (K * q) ** 2}
    assert l1_fits_in_cache(objective)
    for name, border in borders.items():
        for limit, fits in ((border, True), (border - 1, False)):
            monkeypatch.setattr(l1_in_cache, name, limit)
            assert l1_fits_in_cache(objective) == fits
        monkeypatch.setattr(l1_in_cache, name, border)


@over_losses
def test_of_wide_problems_a_working_set_has_to_fit(loss, monkeypatch):
    """Four times the fewest violators there are in one, not all coefficients."""
    problem = make_problem(loss, "l1", fit_intercept=False)
    problem = replace(problem, X=np.random.default_rng(0).normal(size=(60, 600)))
    monkeypatch.setattr(l1_in_cache, "HESSIAN", 60 * 512**2)
    assert l1_fits_in_cache(problem.objective())
    monkeypatch.setattr(l1_in_cache, "HESSIAN", 60 * 512**2 - 1)
    assert not l1_fits_in_cache(problem.objective())


@over_losses
def test_a_problem_without_coordinates_does_not_fit(loss):
    objective = make_problem(loss, "l1", fit_intercept=False).objective()
    assert not l1_fits_in_cache(objective.take_features(np.empty(0, dtype=int)))


@over_losses
def test_solve_takes_it_for_what_fits_alone(loss, calls, monkeypatch):
    problem = make_problem(loss, "l1")
    solution = solve(problem.objective())
    stages = [step["stage"] for step in solution.trace]
    assert stages == ["newton in cache"]
    assert sum(len(call[-1]) for call in calls) == problem.objective().n_problems
    calls.clear()
    monkeypatch.setattr(l1_in_cache, "ENTRIES", 0)
    stages = [step["stage"] for step in solve(problem.objective()).trace]
    assert "newton in cache" not in stages
    assert not calls


# ---- where it ends --------------------------------------------------------------------------


@over_losses
@over_penalties
@over_storage
@over_intercepts
def test_it_ends_certified_where_lbfgs_does(loss, penalty, storage, fit_intercept):
    problem = make_problem(loss, penalty, storage, fit_intercept)
    objective = problem.objective()
    start = objective.null_point()
    before = start.copy()
    run = prox_newton_in_cache(objective, control_for(objective), start)
    assert_certified(problem, run)
    other = solve(problem.objective(), "lbfgs", tol=1e-7)
    np.testing.assert_allclose(run.loss + objective.penalty(run.point), other.objective, rtol=1e-9)
    coef = run.point[:, :4]
    np.testing.assert_array_equal(coef != 0, other.coef != 0)
    np.testing.assert_allclose(coef, other.coef, atol=1e-4)
    np.testing.assert_array_equal(start, before)


@over_losses
@over_penalties
@over_storage
@pytest.mark.parametrize("max_iter", [1, 100])
def test_what_is_known_there_is_what_the_twin_has(loss, penalty, storage, max_iter):
    """Though features are far from 0, and nothing is evaluated anew as they were."""
    problem = make_problem(loss, penalty, storage)
    far = problem.dense() + np.array([0.0, 30.0, -50.0, 0.0])
    problem = replace(problem, X=far if storage != "CSR" else type(problem.X)(far))
    run = run_of(problem, problem.objective().null_point() + 0.5, max_iter=max_iter)
    loss, gradient = problem.loss_gradient(run.point)
    np.testing.assert_allclose(run.loss, loss.astype(float), rtol=1e-13)
    np.testing.assert_allclose(run.gradient, gradient.astype(float), atol=1e-12)
    if max_iter == 100:
        assert_certified(problem, run)


@pytest.mark.parametrize("moved", [[1, 2], []])
def test_problems_that_are_done_stay_to_the_bit(moved):
    """In the user's coordinates, to which no way leads back without rounding."""
    problem = replace(make_problem("one-vs-all", "l1"), C=0.2)
    start = run_of(problem).point
    start[moved] = 0.0
    run = run_of(problem, start, tol=1e-5)
    np.testing.assert_array_equal(run.n_iter > 0, (start == 0).all(axis=1))
    stays = np.delete(np.arange(3), moved)
    np.testing.assert_array_equal(run.point[stays], start[stays])
    loss, gradient = problem.loss_gradient(run.point)
    np.testing.assert_allclose(run.loss, loss.astype(float), rtol=1e-13)
    np.testing.assert_allclose(run.gradient, gradient.astype(float), atol=1e-14)
    assert_certified(problem, run, 1e-5)


@over_penalties
def test_softmax_s_coefficients_end_where_the_penalty_is_least(penalty):
    """Be the last step cut short or not."""
    problem = make_problem("softmax", penalty)
    (start,) = problem.points(1, 4.0)
    run = run_of(problem, start, max_iter=1)
    assert run.objective.counts["rows"] > 2 * 60
    np.testing.assert_allclose(best_shift(run.objective, run.point), run.point, atol=1e-13)


@over_losses
def test_it_goes_beyond_what_is_asked_for(loss, calls):
    """So that the gap by the user's features certifies the end, too."""
    run = run_of(make_problem(loss, "l1"))
    control = run.control
    for _, _, tol, goals, _ in calls:
        assert 0 < tol < control.tol
        assert ((goals > 0) & (goals < control.goal.max())).all()


@over_losses
@over_penalties
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_any_start_leads_there(loss, penalty, scale):
    """From far outside with what goes on where it gives up."""
    problem = make_problem(loss, penalty)
    (start,) = problem.points(1, scale)
    solution = solve(problem.objective(), start=start, tol=1e-7)
    best = solve(problem.objective(), tol=1e-7)
    assert set(solution.status) == {Status.CONVERGED}
    np.testing.assert_allclose(solution.objective, best.objective, rtol=1e-9)


@over_losses
@over_penalties
def test_the_end_is_no_place_to_leave(loss, penalty):
    problem = make_problem(loss, penalty)
    solution = solve(problem.objective(), tol=1e-7)
    objective = problem.objective()
    again = solve(objective, start=problem.point_of(solution), tol=1e-7)
    assert (again.n_iter <= 1).all()
    assert again.evaluations <= 2
    assert set(again.status) == {Status.CONVERGED}
    np.testing.assert_allclose(again.coef, solution.coef, atol=1e-7)


@over_losses
@over_penalties
@over_intercepts
def test_below_the_smallest_useful_c_nothing_moves(loss, penalty, fit_intercept):
    """A pass tells, or one more where the null model is not the best without coefficients."""
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    smallest_c = softmax_l1_min_c if problem.coupled else ova_l1_min_c
    C = smallest_c(
        problem.X,
        problem.y,
        l1_ratio=problem.l1_ratio,
        fit_intercept=fit_intercept,
        class_weight="balanced" if problem.balanced else None,
        sample_weight=problem.s,
    )
    solution = solve(replace(problem, C=0.999 * C).objective())
    assert set(solution.status) == {Status.CONVERGED}
    assert not solution.coef.any()
    if not problem.balanced:
        assert solution.evaluations <= 2
    assert solve(replace(problem, C=1.01 * C).objective()).coef.any()


# ---- parts of the rows ----------------------------------------------------------------------


@over_losses
@over_penalties
def test_hessians_of_some_rows_lead_to_the_same_end(loss, penalty, small_blocks, calls):
    problem = informative(loss, penalty)
    assert problem.objective().turned_rows[0].shape[0] == 63
    run = run_of(problem)
    assert_certified(problem, run)
    exact = run_of(problem, near=True)
    groups = len(calls) // 2
    assert [far.all() for _, far, *_ in calls] == [True] * groups + [False] * groups
    np.testing.assert_allclose(run.point, exact.point, atol=1e-6)
    assert (run.point != exact.point).any()
    assert {call[0] for call in calls} == {500}


# ---- Hessians in single precision -----------------------------------------------------------


@pytest.fixture
def types(monkeypatch):
    """In which types the kernel made its Hessians, call by call."""
    made, kernel = [], kernels.l1_newton

    def seen(*arguments):
        made.append(arguments[15].dtype)
        kernel(*arguments)

    monkeypatch.setattr(kernels, "l1_newton", seen)
    return made


@over_losses
@over_penalties
@pytest.mark.parametrize("units", [1.0, 1e-20, 1e14])
def test_large_hessians_are_made_in_single_precision(loss, penalty, units, types, monkeypatch):
    """Unless a feature is too large for it; they lead to the same end."""
    problem = informative(loss, penalty)
    if units != 1:
        problem = replace(problem, X=problem.X * np.array([1, 1, 1, units]))
    solution = solve(problem.objective(), tol=1e-7)
    monkeypatch.setattr(l1_in_cache, "SINGLE_WORK", 500 * problem.objective().hessian_size ** 2)
    double = len(types)
    in_single = solve(problem.objective(), tol=1e-7)
    assert set(types[:double]) == {np.dtype(np.float64)}
    assert set(types[double:]) == {np.dtype(np.float32 if units < 1e12 else np.float64)}
    assert all(status.converged for status in in_single.status)
    np.testing.assert_allclose(in_single.objective, solution.objective, rtol=1e-9)
    monkeypatch.setattr(l1_in_cache, "SINGLE_WORK", 500 * problem.objective().hessian_size ** 2 + 1)
    solve(problem.objective())
    assert types[-1] == np.float64


@over_losses
def test_where_single_precision_does_not_get_on_working_sets_do(loss, monkeypatch):
    """Two features that are all but equal."""
    problem = informative(loss)
    X = problem.X.copy()
    X[:, 3] = X[:, 0] + 1e-6 * np.random.default_rng(0).normal(size=500)
    problem = replace(problem, X=X, C=10.0)
    exact = solve(problem.objective(), tol=1e-7)
    monkeypatch.setattr(l1_in_cache, "SINGLE_WORK", 0)
    solution = solve(problem.objective(), tol=1e-7)
    assert set(solution.status) == {Status.CONVERGED}
    np.testing.assert_allclose(solution.objective, exact.objective, rtol=1e-9)


# ---- threads, counts and limits -------------------------------------------------------------


@over_losses
@over_penalties
def test_the_number_of_threads_changes_no_bit(loss, penalty, small_blocks, monkeypatch):
    monkeypatch.setattr(chunks, "WORTH", 0)
    problem = informative(loss, penalty)
    results = []
    for n_threads in (1, 2):
        with Workers(n_threads) as workers:
            objective = problem.objective(workers)
            run = prox_newton_in_cache(objective, control_for(objective), objective.null_point())
            rows = objective.counts["rows"]
            results.append((run.point, run.n_iter, run.loss, run.gradient, rows))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@over_losses
def test_iterations_and_rows_are_counted(loss, calls):
    """One-vs-all problems read the rows together: the passes of the longest count."""
    run = run_of(make_problem(loss, "l1"))
    iterations, evaluations = np.concatenate([call[-1] for call in calls]).T
    np.testing.assert_array_equal(run.n_iter, iterations)
    assert run.iterations == iterations.max() > 1
    assert run.objective.counts["rows"] == 60 * evaluations.max()
    assert (evaluations > iterations).all()


@over_losses
@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_no_more_iterations_than_allowed(loss, max_iter):
    problem = make_problem(loss, "l1")
    (start,) = problem.points(1)
    run = run_of(problem, start, tol=1e-12, max_iter=max_iter)
    np.testing.assert_array_equal(run.n_iter, max_iter)
    if max_iter == 0:
        np.testing.assert_array_equal(run.point, start)
    solution = solve(problem.objective(), tol=1e-12, max_iter=max_iter, start=start)
    assert (solution.n_iter <= max_iter).all()
    assert set(solution.status) == {Status.MAX_ITER}


@over_losses
@over_penalties
def test_where_it_gives_up_working_sets_go_on(loss, penalty, monkeypatch):
    problem = make_problem(loss, penalty)
    best = solve(problem.objective(), tol=1e-7)
    monkeypatch.setattr(l1_in_cache, "STEPS", 1)
    solution = solve(problem.objective(), tol=1e-7)
    stages = [step["stage"] for step in solution.trace]
    assert stages[0] == "newton in cache"
    assert set(stages[1:]) == {"working set"}
    assert solution.trace[0]["iteration"] == 1
    assert (solution.n_iter > 1).any()
    assert set(solution.status) == {Status.CONVERGED}
    np.testing.assert_allclose(solution.objective, best.objective, rtol=1e-9)


def test_it_gives_up_where_there_is_no_room_for_the_non_zeros():
    """And the working sets take what it leaves."""
    problem = make_problem("binary", "l1")
    problem = replace(problem, X=np.random.default_rng(0).normal(size=(60, kernels.LARGEST + 1)))
    start = np.full(problem.shape, 1e-3)
    run = run_of(problem, start)
    np.testing.assert_array_equal(run.n_iter, 0)
    np.testing.assert_allclose(run.point, start, rtol=1e-12)
    assert set(solve(problem.objective(), start=start).status) == {Status.CONVERGED}


# ---- whatever the columns -------------------------------------------------------------------


def columns_of_all_kinds(seed):
    """A problem of copies, sums, constants and rare features, in units far apart."""
    rng = np.random.default_rng(seed)
    n, K = int(rng.integers(8, 80)), int(rng.integers(2, 5))
    y = np.concatenate([np.arange(K), rng.integers(K, size=n - K)])
    columns = [rng.normal(size=n) + (y == rng.integers(K))]
    for _ in range(rng.integers(1, 12)):
        one, other = (columns[j] for j in rng.integers(len(columns), size=2))
        new = rng.normal(size=n) + rng.choice([0, 1, 3]) * (y == rng.integers(K))
        kinds = new, new, one, -one, one + other, np.ones(n), np.zeros(n), 1.0 * (y == 0)
        columns.append(kinds[rng.integers(len(kinds))])
    X = np.column_stack(columns) * 10.0 ** rng.integers(-5, 4, len(columns))
    X += rng.choice([0, 0, 10]) * X.std(axis=0)
    return X, y, rng.integers(1, 9, n) / 4


@pytest.mark.skipif(not naive.WIDE_IS_WIDER, reason="no float here is wide enough to judge")
@settings(max_examples=40)
@given(
    data=st.integers(0, 2**32 - 1).map(columns_of_all_kinds),
    coupled=st.booleans(),
    C=st.sampled_from([0.01, 0.1, 1.0]),
    l1_ratio=st.sampled_from([0.1, 0.9, 1.0]),
    fit_intercept=st.booleans(),
)
def test_every_end_is_certified(data, coupled, C, l1_ratio, fit_intercept):
    """A dual value, here of a far tighter fit, is below the minimum."""
    K = int(data[1].max()) + 1
    rest = {"C": C, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    problem = Problem(*data, n_classes=K, coupled=coupled, **rest)
    assert l1_fits_in_cache(problem.objective())
    solution, tight = (solve(problem.objective(), tol=tol) for tol in (1e-4, 1e-9))
    assert set(solution.status) == {Status.CONVERGED}
    point, near = problem.point_of(solution), problem.point_of(tight)
    assert (problem.optimality(point) <= 1.001e-4).all()
    lower = np.maximum(problem.lower_bound(point), problem.lower_bound(near))
    assert (problem.value(point) - lower <= 1.001e-6 * problem.null_value()).all()
