"""Who looks on while a solver runs sees each iteration once, where it is, and changes nothing.

What a state says of its point is compared with the twins in `problems`; a fit that is stopped must
be what its last state was.
"""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from problems import make_problem, needs_jit, out_of_cache
from test_regimes import REGIMES, problem_of

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._callbacks import solution_at
from sk_softmax._curvature import outputs
from sk_softmax._objective import Objective
from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._solvers import (
    cost,
    in_cache,
    prox_newton,
    samples,
    support_step,
    watch,
    working_set,
)
from sk_softmax._solvers.row_space import wide
from sk_softmax._solvers.solution import Control, Status
from sk_softmax._solvers.table import solve

over_solvers = pytest.mark.parametrize("solver", ["newton", "lbfgs"])
over_penalties = pytest.mark.parametrize("penalty", ["l2", "l1", "elastic net", "none"])
over_losses = pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "balanced", "binary"])
over_storage = pytest.mark.parametrize("storage", ["C", "float32", "CSR"])
over_cache = pytest.mark.parametrize("cached", [True, False], ids=["in cache", "not in cache"])


@pytest.fixture
def cached():
    """Small problems as they are; tests override it by parameter."""
    return True


@pytest.fixture(autouse=True)
def _in_cache_or_not(cached, monkeypatch):
    if not cached:
        out_of_cache(monkeypatch)


class Onlooker:
    """Keeps what it sees, and the solution at each iteration's end; may stop a fit."""

    def __init__(self, last=None):
        self.last, self.calls, self.solutions, self.states = last, [], [], []

    def begins(self, state):
        self.calls.append(("begins", state.iteration))

    def ended(self, state):
        self.calls.append(("ended", state.iteration))
        self.states.append(state)
        self.solutions.append(solution_at(state))
        return state.iteration == self.last

    def watch(self, problem_or_objective, solver="auto", **parameters):
        objective = getattr(problem_or_objective, "objective", lambda: problem_or_objective)()
        return solve(objective, solver, watch=self.ended, begins=self.begins, **parameters)


def assert_each_seen_once(onlooker, solution, in_stages=False):
    """Iterations begin where the last ended, and end one by one; all that were made.

    Where the fit has stages, one problem may rest in one of them and another in the next.
    """
    n = len(onlooker.states)
    ended = [call for call in onlooker.calls if call[0] == "ended"]
    assert ended == [("ended", i + 1) for i in range(n)]
    # every end has its beginning right before it; one more may have begun and led nowhere
    expected = [call for i in range(n) for call in (("begins", i), ("ended", i + 1))]
    assert onlooker.calls[: 2 * n] == expected
    assert onlooker.calls[2 * n :] in ([], [("begins", n)])
    most = solution.n_iter.sum() if in_stages else solution.n_iter.max()
    assert solution.n_iter.max() <= n <= most
    np.testing.assert_array_equal(onlooker.solutions[-1].n_iter, solution.n_iter)
    assert all((np.diff([s.n_iter for s in onlooker.solutions], axis=0) <= 1).ravel())
    seconds = [state.seconds for state in onlooker.states]
    assert seconds == sorted(seconds)


def assert_same_bits(solution, other):
    for name in ("coef", "intercept", "n_iter", "objective", "optimality", "dual_gap"):
        np.testing.assert_array_equal(getattr(solution, name), getattr(other, name), err_msg=name)
    assert solution.status == other.status
    assert solution.evaluations == other.evaluations
    assert solution.solver == other.solver


def assert_true(problem, solution):
    """What a solution says of itself is what the twins say of its coefficients."""
    point = problem.point_of(solution)
    value = problem.value(point).astype(float)
    np.testing.assert_allclose(solution.objective, value, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        solution.optimality, problem.optimality(point), rtol=1e-8, atol=1e-13
    )
    if np.isfinite(problem.C):
        gap = (problem.value(point) - problem.lower_bound(point)).astype(float)
        assert (solution.dual_gap >= gap - 1e-12 * value).all()
        small = solution.optimality <= 1e-4
        small &= solution.dual_gap <= 1e-6 * problem.null_value().astype(float)
        assert np.array([status.converged for status in solution.status])[small].all()
    assert {status.name for status in solution.status} <= {"CONVERGED", "STOPPED", "PRECISION"}


def assert_stops_as_seen(problem, solver, iteration, seen, **parameters):
    """A fit stopped after an iteration is the solution that was seen there."""
    onlooker = Onlooker(iteration)
    stopped = onlooker.watch(problem, solver, **parameters)
    assert len(onlooker.states) == iteration
    np.testing.assert_array_equal(stopped.coef, seen.coef)
    np.testing.assert_allclose(stopped.intercept, seen.intercept, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(stopped.n_iter, seen.n_iter)
    np.testing.assert_allclose(stopped.objective, seen.objective, rtol=1e-13)
    np.testing.assert_allclose(stopped.optimality, seen.optimality, rtol=1e-8, atol=1e-13)
    for status, other in zip(stopped.status, seen.status, strict=True):
        assert status is other or {status, other} == {Status.STOPPED, Status.SEPARABLE}
    return stopped


# ---- every solver ---------------------------------------------------------------------------


@over_solvers
@over_penalties
@over_losses
@over_cache
def test_nothing_depends_on_being_looked_at(solver, penalty, loss, cached):
    problem = make_problem(loss, penalty)
    plain, onlooker = solve(problem.objective(), solver), Onlooker()
    watched = onlooker.watch(problem, solver)
    assert_each_seen_once(onlooker, watched)
    assert_same_bits(watched, plain)
    for solution in onlooker.solutions:
        assert_true(problem, solution)
    for iteration in {1, 1 + len(onlooker.states) // 2, len(onlooker.states)}:
        seen = onlooker.solutions[iteration - 1]
        assert_true(problem, assert_stops_as_seen(problem, solver, iteration, seen))


@pytest.mark.parametrize("penalty", ["l2", "l1", "elastic net"])
@over_losses
def test_the_last_state_of_a_small_problem_is_the_solution(penalty, loss):
    """To the bit: what one call knows of its end is handed on, to who looks on as well."""
    onlooker = Onlooker()
    solution = onlooker.watch(make_problem(loss, penalty), "newton")
    for name in ("objective", "optimality", "dual_gap"):
        last, whole = (getattr(of, name) for of in (onlooker.solutions[-1], solution))
        np.testing.assert_array_equal(last, whole, err_msg=name)


@over_solvers
@over_penalties
@over_storage
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "no intercept"])
def test_whatever_the_storage(solver, penalty, storage, fit_intercept):
    problem = make_problem("softmax", penalty, storage, fit_intercept)
    onlooker = Onlooker()
    watched = onlooker.watch(problem, solver)
    assert_each_seen_once(onlooker, watched)
    assert_same_bits(watched, solve(problem.objective(), solver))
    for solution in onlooker.solutions:
        assert_true(problem, solution)
        if not fit_intercept:
            assert not solution.intercept.any()
    assert_stops_as_seen(problem, solver, 2, onlooker.solutions[1])


@over_solvers
@over_penalties
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@over_cache
def test_a_state_is_what_as_many_iterations_make(solver, penalty, loss, cached):
    """And so `max_iter` bounds what is seen."""
    problem = make_problem(loss, penalty)
    onlooker = Onlooker()
    onlooker.watch(problem, solver)
    for limit in range(min(6, len(onlooker.states))):
        again = Onlooker()
        fitted = again.watch(problem, solver, max_iter=limit)
        assert len(again.states) == limit
        if limit:
            seen = onlooker.solutions[limit - 1]
            # without a penalty a fit that ran out of iterations still takes the smallest W
            atol = 1e-7 if penalty == "none" else 1e-14
            np.testing.assert_allclose(fitted.coef, seen.coef, rtol=1e-9, atol=atol)
            np.testing.assert_array_equal(fitted.n_iter, seen.n_iter)


def test_one_vs_all_counts_each_problem():
    """Problems that are done take no part in what follows."""
    problem = make_problem("one-vs-all", "l1")
    onlooker = Onlooker()
    solution = onlooker.watch(problem, "lbfgs")
    assert len(set(solution.n_iter)) > 1
    n_iter = np.array([state.n_iter for state in onlooker.states])
    np.testing.assert_array_equal(n_iter, np.minimum(n_iter.max(axis=1)[:, None], solution.n_iter))


# ---- the paths of larger data ---------------------------------------------------------------


@needs_jit
@pytest.mark.parametrize("Classifier", [SoftmaxClassifier, OvAClassifier])
@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_is_seen(name, Classifier, monkeypatch):
    """Parts of the rows, a row space, stronger penalties: the point is always the user's."""
    regime = REGIMES[name]
    X, y = regime.data()
    for place, value in regime.changes:
        monkeypatch.setattr(*place, value)
    problem = problem_of(Classifier(), X, y)
    plain, onlooker = solve(problem.objective()), Onlooker()
    watched = onlooker.watch(problem)
    # one-vs-all has stages: Newton steps in one call, then for what is left others
    assert_each_seen_once(onlooker, watched, in_stages=Classifier is OvAClassifier)
    assert_same_bits(watched, plain)
    for solution in onlooker.solutions[:: max(1, len(onlooker.solutions) // 4)]:
        point = problem.point_of(solution)
        value = problem.value(point).astype(float)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-9)
        assert (solution.dual_gap >= -1e-12 + value - watched.objective).all()
    assert (onlooker.solutions[0].objective < problem.null_value().astype(float)).any()
    for iteration in {1, 1 + len(onlooker.states) // 2}:
        assert_stops_as_seen(problem, "auto", iteration, onlooker.solutions[iteration - 1])


@over_solvers
@pytest.mark.parametrize("penalty", ["l1", "elastic net"])
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_small_working_sets(solver, penalty, loss, storage, monkeypatch):
    """Several sets, of some of the features; conjugate gradients on the non-zeros."""
    monkeypatch.setattr(working_set, "SMALLEST_SETS", (2, 2))
    monkeypatch.setattr(working_set, "GROWTH", 1.0)
    monkeypatch.setattr(support_step, "LARGEST_SUPPORT", 0)
    monkeypatch.setattr(prox_newton, "LARGEST_SET", 0)
    out_of_cache(monkeypatch)
    problem = make_problem(loss, penalty, storage, n=80, p=20, C=0.2)
    onlooker = Onlooker()
    watched = onlooker.watch(problem, solver)
    assert sum(entry["stage"] == "working set" for entry in watched.trace) > 1
    assert_each_seen_once(onlooker, watched)
    assert_same_bits(watched, solve(problem.objective(), solver))
    for iteration, solution in enumerate(onlooker.solutions, 1):
        assert_true(problem, solution)
        if iteration in (1, 2, len(onlooker.solutions) - 1):
            assert_stops_as_seen(problem, solver, iteration, solution)


@over_solvers
@over_penalties
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "binary"])
@over_cache
def test_more_features_than_rows(solver, penalty, loss, cached, monkeypatch):
    """In the row space, and with X itself where that is small enough as well."""
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 3 * 16 if loss == "softmax" else 16)
    problem = make_problem(loss, penalty, n=15, p=40)
    assert wide(problem.objective())
    onlooker = Onlooker()
    watched = onlooker.watch(problem, solver)
    assert_each_seen_once(onlooker, watched, in_stages=True)
    assert_same_bits(watched, solve(problem.objective(), solver))
    for iteration, solution in enumerate(onlooker.solutions, 1):
        if penalty != "none":  # then on the way to infinity, where logits are mostly rounding
            assert_true(problem, solution)
        assert_stops_as_seen(problem, solver, iteration, solution)


def test_samples_in_cache_are_replayed_with_the_rest(monkeypatch):
    """Iterations on parts of the rows come first, each problem's own number of them."""
    monkeypatch.setattr(outputs, "ROWS", 32)
    monkeypatch.setattr(in_cache, "ROWS_A_COORDINATE", 1)
    problem = make_problem("one-vs-all", n=2000, p=3)
    objective = problem.objective()
    control = Control(1e-4, 1e-6 * objective.null_value, 100)
    problems = in_cache._Problems.of(objective, control)
    assert len(problems.parts) > 1
    onlooker = Onlooker()
    watched = onlooker.watch(problem)
    assert_each_seen_once(onlooker, watched)
    assert_same_bits(watched, solve(problem.objective()))
    for limit, seen in enumerate(onlooker.solutions, 1):
        fitted = solve(problem.objective(), max_iter=limit)
        np.testing.assert_array_equal(fitted.coef, seen.coef)
        np.testing.assert_array_equal(fitted.n_iter, seen.n_iter)


def test_nothing_more_is_done_once_stopped(monkeypatch):
    """Neither on other parts of the rows, nor with weaker penalties, nor with X itself."""
    monkeypatch.setattr(samples, "ROWS_A_COORDINATE", 1)
    for module, name in ((in_cache, "WORK"), (cost, "SAMPLES_SAVE")):
        monkeypatch.setattr(module, name, 0)
    problem = make_problem("softmax", n=2000, p=3)
    parts, original = [], Objective.take_rows

    def noting(self, rows, scale):
        parts.append(rows.size)
        return original(self, rows, scale)

    monkeypatch.setattr(Objective, "take_rows", noting)
    solve(problem.objective(), "newton")
    assert len(parts) == 2
    parts.clear()
    Onlooker(1).watch(problem, "newton")
    assert len(parts) == 1


# ---- what a stop means ----------------------------------------------------------------------


def test_a_stop_where_all_is_certified_is_no_stop():
    problem = make_problem("softmax")
    onlooker = Onlooker()
    watched = onlooker.watch(problem, "newton")
    assert watched.status == [Status.CONVERGED]
    stopped = Onlooker(len(onlooker.states)).watch(problem, "newton")
    assert stopped.status == [Status.CONVERGED]
    assert_same_bits(stopped, watched)


@over_solvers
@over_cache
def test_separable_classes_that_were_stopped_are_not_called_separable(solver, cached):
    """Whoever stops a fit does not wait for the proof."""
    problem = make_problem("softmax", "none")
    problem = replace(problem, X=np.eye(3)[problem.y] * 2 + 0.1 * problem.dense()[:, :3])
    assert Onlooker().watch(problem, solver).status == [Status.SEPARABLE]
    stopped = Onlooker(1).watch(problem, solver)
    assert stopped.status == [Status.STOPPED]
    assert stopped.separated == []


def test_one_vs_all_stopped_when_some_are_done():
    problem = make_problem("one-vs-all", "l1")
    n_iter = Onlooker().watch(problem, "lbfgs").n_iter
    stopped = Onlooker(int(n_iter.min())).watch(problem, "lbfgs")
    done = n_iter == n_iter.min()
    assert 0 < done.sum() < done.size
    for status, is_done in zip(stopped.status, done, strict=True):
        assert status is (Status.CONVERGED if is_done else Status.STOPPED)
    assert_true(problem, stopped)


# ---- errors, time, memory -------------------------------------------------------------------


@over_solvers
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("hook", ["watch", "begins"])
@over_cache
def test_errors_propagate(solver, penalty, hook, cached):
    def fails(state):
        raise KeyError("from the callback")

    problem = make_problem("softmax", penalty)
    hooks = {"watch": lambda state: False, hook: fails}
    with pytest.raises(KeyError, match="from the callback"):
        solve(problem.objective(), solver, **hooks)


@over_solvers
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@over_cache
def test_stop_iteration_is_an_error_like_others(solver, penalty, cached):
    """SciPy's loop would end at it in silence."""

    def fails(state):
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        solve(make_problem("softmax", penalty).objective(), solver, watch=fails)


@over_cache
def test_the_time_of_who_looks_on_is_not_the_solver_s(cached, monkeypatch):
    clock = [0.0]

    def now():
        clock[0] += 1.0  # a solver's second between any two looks at the clock
        return clock[0]

    monkeypatch.setattr(watch, "perf_counter", now)
    seconds = []

    def dawdles(state):
        clock[0] += 1000.0
        seconds.append(state.seconds)

    solve(make_problem("softmax").objective(), "newton", watch=dawdles)
    assert len(seconds) > 2
    assert (np.diff(seconds) > 0).all()
    assert seconds[-1] < 10 * len(seconds)


def test_what_was_looked_at_stays():
    problem = make_problem("softmax", "l1")
    points = []

    def looks(state):
        points.append((state, state.point.copy(), state.objective.copy()))

    solve(problem.objective(), "newton", watch=looks)
    assert len(points) > 2
    for state, point, value in points:
        np.testing.assert_array_equal(state.point, point)
        np.testing.assert_array_equal(state.objective, value)
    assert not np.array_equal(points[0][1], points[-1][1])


def outlives(problem, solver, **hooks):
    """Whether the design is still there after a fit, before the garbage collector comes."""
    objective = problem.objective()
    design = weakref.ref(objective.design)
    gc.collect()
    gc.disable()
    try:
        solve(objective, solver, **hooks)
        del objective
        return design() is not None
    finally:
        gc.enable()


@over_solvers
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@over_cache
def test_no_state_keeps_the_data_after_the_fit(solver, penalty, cached):
    """A fit's copy of X goes when the fit does (older versions of SciPy keep some)."""
    problem = make_problem("softmax", penalty)

    def looks(state):
        _ = state.dual_gap

    assert outlives(problem, solver, watch=looks) == outlives(problem, solver)
