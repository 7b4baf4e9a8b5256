"""Every solver ends at the optimum, and what it says about where it ends is true.

Certificates are recomputed here by the twins in `problems`; the paths that only large data take are
forced by their module constants, and must lead to the same F.
"""

from dataclasses import replace

import numba
import numpy as np
import pytest
from problems import (
    LOSSES,
    PENALTIES,
    CountingWorkers,
    Problem,
    make_problem,
    needs_jit,
    out_of_cache,
)
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy import sparse
from sklearn.datasets import load_digits, load_wine, make_classification

from sk_softmax._curvature import supports
from sk_softmax._design import chunks
from sk_softmax._design.single import SingleDesign
from sk_softmax._objective import Objective
from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._solvers import (
    certificate,
    cost,
    lbfgs,
    newton,
    orthants,
    prox_newton,
    samples,
    solution,
    support_cg,
    support_step,
    table,
    working_set,
)
from sk_softmax._solvers.certificate import kkt_violation
from sk_softmax._solvers.evaluated import Evaluated
from sk_softmax._solvers.gauge import best_shift
from sk_softmax._solvers.orthants import by_orthants
from sk_softmax._solvers.run import Run
from sk_softmax._solvers.solution import Status
from sk_softmax._solvers.support import newton_on_support
from sk_softmax._solvers.table import solve
from sk_softmax._threads import Workers

TOL = 1e-4
TIGHT = 1e-10
EPS = np.finfo(float).eps
SOLVERS = [
    ("newton", "l2"),
    ("newton", "none"),
    ("lbfgs", "l2"),
    ("lbfgs", "none"),
    ("lbfgs", "l1"),
    ("lbfgs", "elastic net"),
    ("newton", "l1"),
    ("newton", "elastic net"),
]
over_solvers = pytest.mark.parametrize(("solver", "penalty"), SOLVERS)
over_penalised = pytest.mark.parametrize(
    ("solver", "penalty"), [case for case in SOLVERS if case[1] != "none"]
)
over_smooth = pytest.mark.parametrize("penalty", ["l2", "none"])
over_nonsmooth = pytest.mark.parametrize("penalty", ["l1", "elastic net"])
over_both = pytest.mark.parametrize("solver", ["newton", "lbfgs"])
over_losses = pytest.mark.parametrize("loss", LOSSES)
over_three_losses = pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "binary"])
over_storage = pytest.mark.parametrize("storage", ["C", "F", "float32", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)
over_coupled = pytest.mark.parametrize("coupled", [True, False], ids=["softmax", "one-vs-all"])


@pytest.fixture(autouse=True)
def not_in_cache(monkeypatch):
    """The problems here are small, and the solvers are to be those of larger ones."""
    out_of_cache(monkeypatch)


def names(result):
    return [status.name for status in result.status]


def rounding_of_logits(problem, result):
    """What float64 makes of a logit, where features far from 0 cancel the intercept."""
    largest = np.abs(problem.features()).max()
    return 4 * EPS * (1 + largest * np.abs(result.coef).max())


def assert_true(problem, result):
    """What a solution says about its point is what the twins say, up to rounding."""
    point = problem.point_of(result)
    K, p = problem.shape[0], problem.X.shape[1]
    assert result.coef.shape == (K, p)
    assert result.intercept.shape == (K,)
    assert result.coef.dtype == result.intercept.dtype == np.float64
    rounding = rounding_of_logits(problem, result)
    largest = np.abs(problem.features()).max()
    value = problem.value(point)
    np.testing.assert_allclose(result.objective, value.astype(float), rtol=1e-13, atol=rounding)
    np.testing.assert_allclose(
        result.optimality, problem.optimality(point), rtol=1e-9, atol=rounding * largest
    )
    if np.isinf(problem.C):
        assert np.isnan(result.dual_gap).all()
    else:
        # a gradient off by its rounding moves pure L1's dual point by that over lambda1
        drawn = rounding * largest / problem.lambdas[0] if problem.l1_ratio == 1 else 0.0
        gap = value - problem.lower_bound(point)
        assert (result.dual_gap >= gap - 1e-14 - rounding - drawn * value).all()
    if not problem.fit_intercept:
        assert not result.intercept.any()
    elif problem.softmax:
        assert abs(result.intercept.sum()) <= 1e-12 * np.abs(result.intercept).max()


def assert_certified(problem, result, tol=TOL):
    """Converged, and by the twins' reckoning: KKT <= tol, suboptimality <= 0.01 tol F_null.

    Where floating point allows no better KKT violation, the status must say so.
    """
    assert all(status.converged for status in result.status), names(result)
    assert_true(problem, result)
    point = problem.point_of(result)
    rounding = rounding_of_logits(problem, result)
    largest = np.abs(problem.features()).max()
    certain = [status is Status.CONVERGED for status in result.status]
    assert (problem.optimality(point)[certain] <= tol + rounding * largest).all()
    goal = 0.01 * tol * problem.null_value()
    suboptimality = problem.value(point) - problem.lower_bound(point)
    if problem.l1_ratio == 0:
        suboptimality = np.minimum(suboptimality, problem.decrement(point))
    assert (suboptimality <= goal + rounding).all()


def assert_same_value(result, other, rtol=1e-9):
    assert all(status.converged for status in result.status), names(result)
    np.testing.assert_allclose(result.objective, other.objective, rtol=rtol)


@pytest.fixture
def spy(monkeypatch):
    """To remember the calls of a function or method: ``calls = spy(owner, name)``."""

    def wrap(owner, name):
        calls, original = [], getattr(owner, name)

        def remembering(*args, **kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, remembering)
        return calls

    return wrap


# ---- the certificate ------------------------------------------------------------------------


@over_solvers
@over_losses
@over_storage
@over_intercepts
def test_every_fit_is_certified(solver, penalty, loss, storage, fit_intercept):
    problem = make_problem(loss, penalty, storage, fit_intercept)
    result = solve(problem.objective(), solver, tol=TOL)
    assert result.solver == solver
    assert set(result.status) == {Status.CONVERGED}
    assert_certified(problem, result)


@over_smooth
@over_losses
@over_intercepts
def test_solvers_agree(penalty, loss, fit_intercept):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    results = [solve(problem.objective(), solver, tol=TIGHT) for solver in ("newton", "lbfgs")]
    for result in results:
        assert_certified(problem, result, TIGHT)
    assert_same_value(*results, rtol=1e-12)
    np.testing.assert_allclose(results[0].coef, results[1].coef, atol=1e-7)


@over_nonsmooth
@over_losses
@over_storage
@over_intercepts
@over_both
def test_l1_meets_its_lower_bound(penalty, loss, storage, fit_intercept, solver):
    """The dual value of a point written out proves F least, whatever solver found it."""
    problem = make_problem(loss, penalty, storage, fit_intercept)
    result = solve(problem.objective(), solver, tol=TIGHT)
    assert_certified(problem, result, TIGHT)
    bound = problem.lower_bound(problem.point_of(result)).astype(float)
    np.testing.assert_allclose(result.objective, bound, rtol=1e-11)
    assert np.count_nonzero(result.coef) < result.coef.size


@over_losses
@pytest.mark.parametrize("l1_ratio", [1e-6, 0.1, 0.9, 1 - 1e-9])
def test_elastic_net_from_end_to_end(loss, l1_ratio):
    problem = replace(make_problem(loss), l1_ratio=l1_ratio)
    result = solve(problem.objective(), tol=1e-7)
    assert_certified(problem, result, 1e-7)
    if min(l1_ratio, 1 - l1_ratio) < 1e-5:
        end = make_problem(loss, "l2" if l1_ratio < 0.5 else "l1")
        np.testing.assert_allclose(
            result.objective, solve(end.objective(), tol=1e-7).objective, rtol=1e-5
        )


@pytest.mark.parametrize("penalty", PENALTIES)
@over_intercepts
def test_one_vs_all_is_as_many_binary_fits(penalty, fit_intercept):
    problem = make_problem("one-vs-all", penalty, fit_intercept=fit_intercept)
    together = solve(problem.objective(), tol=TIGHT)
    for k in range(3):
        binary = replace(problem, y=(problem.y == k).astype(np.int64), n_classes=2)
        alone = solve(binary.objective(), tol=TIGHT)
        np.testing.assert_allclose(together.objective[k], alone.objective[0], rtol=1e-12)
        np.testing.assert_allclose(together.coef[k], alone.coef[0], atol=1e-7)
        np.testing.assert_allclose(together.intercept[k], alone.intercept[0], atol=1e-7)


# ---- paths that only large data take --------------------------------------------------------


@over_three_losses
@over_intercepts
def test_a_start_from_parts_of_the_rows(loss, fit_intercept, monkeypatch, spy):
    problem = make_problem(loss, "l2", fit_intercept=fit_intercept, n=320)
    direct = solve(problem.objective(), "lbfgs", tol=TIGHT)
    for module in (samples, cost):
        monkeypatch.setattr(module, "ROWS_A_COORDINATE", 1)
    monkeypatch.setattr(cost, "SAMPLES_SAVE", 0)
    taken = spy(Objective, "take_rows")
    result = solve(problem.objective(), "lbfgs", tol=TIGHT)
    first, second = (rows.size for _, rows, _ in taken)
    assert 320 / 16 * 0.5 <= first <= 320 / 16 * 1.5
    assert 320 / 4 * 0.75 <= second <= 320 / 4 * 1.25
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_three_losses
@over_smooth
def test_a_hessian_from_a_sample_of_the_rows(loss, penalty, monkeypatch):
    problem = make_problem(loss, penalty, n=200)
    direct = solve(problem.objective(), "lbfgs", tol=TIGHT)
    monkeypatch.setattr(lbfgs, "hessian_sample", lambda objective: 50)
    monkeypatch.setattr(cost, "SAVED", 0.0)
    result = solve(problem.objective(), "lbfgs", tol=TIGHT)
    assert any(entry["stage"] == "lbfgs" for entry in result.trace)
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@pytest.fixture(params=["by class", "kronecker", "diagonal"])
def without_hessian(request, monkeypatch):
    """No Hessian is small enough to be formed; its blocks, or the features' covariance, or none."""

    def patch():
        if request.param != "by class":
            monkeypatch.setattr(preconditioner_make, "LARGEST_BLOCK", 0)
        monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 0)
        monkeypatch.setattr(lbfgs, "LARGEST_NULL", 0)
        if request.param == "diagonal":
            monkeypatch.setattr(preconditioner_make, "LARGEST_COVARIANCE", 0)

        return request.param

    return patch


@over_losses
@over_smooth
@pytest.mark.parametrize("storage", ["C", "CSR"])
@over_intercepts
@over_both
def test_without_a_hessian(loss, penalty, storage, fit_intercept, solver, without_hessian, spy):
    """Plain L-BFGS and its finish, and Newton steps from conjugate gradients."""
    problem = make_problem(loss, penalty, storage, fit_intercept)
    direct = solve(problem.objective(), "newton", tol=TIGHT)
    kind = without_hessian()
    change = "factor_by_class" if kind == "by class" else "without_factor"
    way = {"newton": (newton, "conjugate_gradient"), "lbfgs": (lbfgs, change)}[solver]
    if (kind, storage, penalty) == ("diagonal", "CSR", "l2"):
        way = (newton, "solve_by_feature")
    taken = spy(*way)
    result = solve(problem.objective(), solver, tol=TIGHT)
    assert taken
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_smooth
@over_both
def test_a_start_that_does_not_sum_to_0_over_classes(penalty, solver, without_hessian):
    """As after a class is gone: steps made class by class would never undo it."""
    problem = make_problem("softmax", penalty)
    direct = solve(problem.objective(), "newton", tol=TIGHT)
    without_hessian()
    start = np.random.default_rng(0).normal(size=problem.shape) + 3.0
    result = solve(problem.objective(), solver, tol=TIGHT, start=start)
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_losses
@over_smooth
@over_both
@pytest.mark.parametrize("tol", [TOL, 1e-8])
@pytest.mark.parametrize("seed", range(3))
def test_nearly_collinear_features_without_a_hessian(
    loss, penalty, solver, tol, seed, without_hessian
):
    """Conjugate gradients that stop early see little of what is left along flat directions."""
    problem = make_problem(loss, penalty, seed=seed, n=120, C=1e4 if penalty == "l2" else np.inf)
    X = problem.X.copy()
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    problem = replace(problem, X=X)
    without_hessian()
    assert_certified(problem, solve(problem.objective(), solver, tol=tol), tol)


@over_losses
@over_nonsmooth
@over_intercepts
@over_both
def test_newton_on_a_support_whose_hessian_is_not_formed(
    loss, penalty, fit_intercept, solver, monkeypatch, spy
):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    direct = solve(problem.objective(), tol=TIGHT)
    monkeypatch.setattr(support_step, "LARGEST_SUPPORT", 0)
    monkeypatch.setattr(prox_newton, "LARGEST_SET", 0)
    solved = spy(support_cg, "conjugate_gradient")
    result = solve(problem.objective(), solver, tol=TIGHT)
    assert solved
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_nonsmooth
@over_intercepts
@over_both
@pytest.mark.parametrize("C", [0.3, 1e3])
def test_newton_on_a_support_by_the_classes_own_hessians(
    penalty, fit_intercept, solver, C, monkeypatch, spy
):
    problem = make_problem("softmax", penalty, "CSR", fit_intercept, C=C)
    direct = solve(problem.objective(), tol=TIGHT)
    monkeypatch.setattr(support_step, "SMALL_SUPPORT", 0)
    out_of_cache(monkeypatch)
    solved = spy(support_cg.ByBlock, "step")
    result = solve(problem.objective(), solver, tol=TIGHT)
    assert solved
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_nonsmooth
@over_intercepts
@over_both
@pytest.mark.parametrize("storage", ["C", "float32"])
@pytest.mark.parametrize("C", [0.3, 1e3])
def test_newton_on_a_support_by_a_sample_of_the_rows(
    penalty, fit_intercept, solver, storage, C, monkeypatch, spy
):
    problem = make_problem("softmax", penalty, storage, fit_intercept, n=400, C=C)
    direct = solve(problem.objective(), tol=TIGHT)
    monkeypatch.setattr(support_step, "SMALL_SUPPORT", 0)
    monkeypatch.setattr(support_cg, "PRODUCTS", -1e9)
    monkeypatch.setattr(supports, "LARGE", 0)
    out_of_cache(monkeypatch)
    sampled = spy(Objective, "sampled_hessian_on")
    solved = spy(support_cg.ByBlock, "step")
    result = solve(problem.objective(), solver, tol=TIGHT)
    assert sampled
    assert solved
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_three_losses
@over_nonsmooth
def test_newton_steps_follow_where_coordinate_descent_does_not_end(loss, penalty, monkeypatch, spy):
    problem = make_problem(loss, penalty, n=300, p=6, C=5.0)
    X = problem.X + 3 * problem.X[:, :1]  # correlated
    problem = replace(problem, X=X)
    direct = solve(problem.objective(), "lbfgs", tol=TIGHT)
    out_of_cache(monkeypatch)
    monkeypatch.setattr(prox_newton, "SWEEPS", 2)
    monkeypatch.setattr(prox_newton, "EXACT", 0.0)
    finished = spy(working_set, "newton_on_support")
    result = solve(problem.objective(), "newton", tol=TIGHT)
    assert finished
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_nonsmooth
@over_intercepts
@pytest.mark.parametrize("C", [0.3, 1e3])
@pytest.mark.parametrize("explicit", [True, False])
def test_newton_on_orthants(penalty, fit_intercept, C, explicit, monkeypatch, spy):
    problem = make_problem("softmax", penalty, "CSR", fit_intercept, C=C)
    direct = solve(problem.objective(), "lbfgs", tol=TIGHT)
    monkeypatch.setattr(orthants, "LARGE", 0)
    if not explicit:
        monkeypatch.setattr(support_step, "SMALL_SUPPORT", 0)
    out_of_cache(monkeypatch)
    steps = spy(orthants, "newton_on_support")
    result = solve(problem.objective(), tol=TIGHT)
    assert steps
    assert result.solver == "newton"
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_nonsmooth
def test_violators_enter_with_the_sign_in_which_the_objective_falls(penalty):
    problem = make_problem("softmax", penalty, "CSR", C=1.0)
    objective = problem.objective()
    start = objective.null_point()
    at = Evaluated.at(objective, start)
    _, loss, gradient = at
    violates = kkt_violation(objective, start, gradient) > 0
    violates[:, objective.p :] = False
    assert violates[:, : objective.p].sum() > 1
    entering = violates & (np.arange(violates.size).reshape(violates.shape) % 2 == 0)
    steps, end = newton_on_support(
        objective, at, 1e-9, np.zeros(1), 1, np.zeros(1), entering=entering
    )
    point = end.point
    assert steps == 1
    moved = point[:, : objective.p] != 0
    assert moved.any()
    assert (moved <= entering[:, : objective.p]).all()
    assert (point[:, : objective.p] * gradient[:, : objective.p] <= 0).all()
    assert objective.loss_gradient(point)[0] + objective.penalty(point) < loss
    rounding = np.full(1, 1e-14)  # of the intercepts' slope
    assert newton_on_support(objective, at, 1e-9, np.zeros(1), 1, rounding)[0] == 0


@over_three_losses
def test_newton_on_a_support_in_single_precision_while_that_does(loss, monkeypatch, spy):
    """Two features that are all but equal need all digits."""
    problem = make_problem(loss, "l1", n=200, C=1e3)
    X = problem.X.copy()
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    problem = replace(problem, X=X)
    out_of_cache(monkeypatch)
    monkeypatch.setattr(supports, "SINGLE_WORK", 0)
    formed = spy(support_step.PenalisedHessians, "at")
    assert_certified(problem, solve(problem.objective(), "newton", tol=TIGHT), TIGHT)
    single = [call[-1] for call in formed if len(call) == 5]
    assert single[0]
    assert not all(single)


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_orthants_are_for_softmax_on_a_large_sparse_x(loss, storage, monkeypatch):
    objective = make_problem(loss, "l1", storage).objective()
    out_of_cache(monkeypatch)
    assert not by_orthants(objective)
    assert solve(objective).solver == ("lbfgs" if storage == "CSR" else "newton")
    monkeypatch.setattr(orthants, "LARGE", cost.sweep(objective))
    assert by_orthants(objective) == (loss == "softmax" and storage == "CSR")
    monkeypatch.setattr(orthants, "LARGE", cost.sweep(objective) * (1 + 1e-9))
    assert not by_orthants(objective)


@over_losses
def test_newton_steps_follow_sets_that_have_hardly_grown(loss, monkeypatch, spy):
    problem = make_problem(loss, "l1", "CSR", n=300, p=40, C=1.0)
    monkeypatch.setattr(working_set, "SMALLEST_SETS", (8, 8))
    finished = spy(working_set, "newton_on_support")
    solve_on, sets = working_set._solve_on, []

    def recording(run, part, active, working, curvature, improve, finish):
        of_points = np.count_nonzero(run.point[run.rows(active)])
        growth, before = np.count_nonzero(working) / of_points, run.optimality[active].copy()
        done = len(finished)
        result = solve_on(run, part, active, working, curvature, improve, finish)
        sets.append((growth, finish, before, [args[5] for args in finished[done:]]))
        return result

    monkeypatch.setattr(working_set, "_solve_on", recording)
    assert_certified(problem, solve(problem.objective(), "lbfgs"))
    kinds = set()
    for growth, finish, before, enough in sets:
        last = finish or growth <= 1.05
        kinds.add("last" if last else "another" if growth <= 1.5 else "far")
        if growth > 1.5 and not finish:
            assert not enough
        else:
            np.testing.assert_allclose(enough, [0.0 * before if last else 0.01 * before])
    assert kinds == {"last", "another", "far"}


@over_losses
@over_nonsmooth
@pytest.mark.parametrize("storage", ["C", "CSR"])
@over_intercepts
@over_both
def test_working_sets_smaller_than_the_problem(
    loss, penalty, storage, fit_intercept, solver, monkeypatch, spy
):
    problem = make_problem(loss, penalty, storage, fit_intercept, p=30, n=40, C=1.0)
    direct = solve(problem.objective(), tol=1e-8)
    monkeypatch.setattr(working_set, "SMALLEST_SETS", (2, 2))
    monkeypatch.setattr(working_set, "GROWTH", 1.0)
    taken = spy(Objective, "take_features")
    result = solve(problem.objective(), solver, tol=1e-8)
    sizes = [entry["working"] for entry in result.trace if entry["stage"] == "working set"]
    assert len(sizes) > 1
    assert sizes[0] <= 2 * problem.shape[0] + 2
    assert max(sizes) < problem.shape[0] * problem.shape[1]
    assert min(features.size for _, features in taken) <= 15
    assert_certified(problem, result, 1e-8)
    assert_same_value(result, direct)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("intercepts", [0, 2])
@pytest.mark.parametrize("entering", [0, 2])
@pytest.mark.parametrize("exact", [True, False], ids=["least squares", "pruning"])
def test_a_step_within_signs(seed, intercepts, entering, exact, monkeypatch):
    """No coefficient changes its sign; the model falls, and while it is cheap no step is better."""
    if not exact:
        monkeypatch.setattr(support_step, "LARGEST_LEAST_SQUARES", 0)
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(10, 8))
    H, slope = A.T @ A, 5 * rng.normal(size=8)
    w = rng.normal(size=8)
    w[:intercepts] = np.nan
    signs = np.sign(w)
    w[8 - entering :], signs[8 - entering :] = 0.0, -np.sign(slope[8 - entering :])
    step = support_step.step_within_signs(H, slope, w, signs)
    bound = ~np.isnan(w)
    end = (w + step)[bound]
    assert (signs[bound] * end >= 0).all()
    assert slope @ step + step @ H @ step / 2 < 0
    residual = slope + H @ step
    away = np.abs(np.where(bound, w + step, 1.0)) > 1e-12
    assert entering or not away.all()  # some do end at 0
    np.testing.assert_allclose(residual[away], 0.0, atol=1e-9)
    if exact:  # at 0, F would fall only beyond it
        assert (residual[~away] * signs[~away] >= -1e-9).all()


@over_losses
@over_nonsmooth
def test_supports_too_large_for_least_squares(loss, penalty, monkeypatch):
    problem = make_problem(loss, penalty, p=12, n=40, C=10.0)
    direct = solve(problem.objective(), tol=TIGHT)
    monkeypatch.setattr(support_step, "LARGEST_LEAST_SQUARES", 0)
    result = solve(problem.objective(), tol=TIGHT)
    assert_certified(problem, result, TIGHT)
    assert_same_value(result, direct)


@over_smooth
def test_auto_takes_newton_for_small_problems_only(penalty, monkeypatch):
    problem = make_problem("softmax", penalty)
    assert solve(problem.objective()).solver == "newton"
    monkeypatch.setattr(cost, "newton", lambda objective: np.inf)
    assert solve(problem.objective()).solver == "lbfgs"


@over_losses
@over_nonsmooth
def test_models_from_a_part_of_the_rows(loss, penalty, spy):
    problem = make_problem(loss, penalty, n=1000, C=0.1)
    drawn = spy(prox_newton, "stratified_rows")
    result = solve(problem.objective(), "newton", tol=1e-8)
    assert drawn
    assert_certified(problem, result, 1e-8)
    assert_same_value(result, solve(problem.objective(), "lbfgs", tol=1e-8))


@over_nonsmooth
@pytest.mark.parametrize("storage", ["C", "CSR"])
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
def test_auto_takes_proximal_newton_for_l1_unless_x_is_sparse_and_large(
    loss, penalty, storage, monkeypatch
):
    objective = make_problem(loss, penalty, storage).objective()
    assert solve(objective).solver == ("lbfgs" if storage == "CSR" else "newton")
    monkeypatch.undo()
    assert solve(objective).solver == "newton"


@over_three_losses
@over_nonsmooth
def test_rare_words_do_not_lead_astray(loss, penalty, monkeypatch):
    """After a step rows are certain of the wrong class; the next model has no curvature there."""
    rng = np.random.default_rng(0)
    problem = make_problem(loss, penalty, n=300, p=400, C=1e4)
    of_few_rows = rng.random(problem.X.shape) < 0.01
    problem = replace(problem, X=sparse.csr_matrix(np.where(of_few_rows, 1.0, 0.0)))
    cautions, original = [], prox_newton._sparse_step

    def noting(part, point, gradient, working, caution, *rest):
        cautions.append(caution.copy())
        original(part, point, gradient, working, caution, *rest)

    monkeypatch.setattr(prox_newton, "_sparse_step", noting)
    result = solve(problem.objective(), "newton")
    assert max(caution.max() for caution in cautions) > 0
    assert_certified(problem, result)


# ---- single precision on the way ------------------------------------------------------------


@pytest.fixture
def single(monkeypatch, spy):
    """L-BFGS on dense rows begins in single precision, however few they are; its sweeps."""
    monkeypatch.setattr(cost, "SINGLE_WORK", 0)
    monkeypatch.setattr(cost, "SAVED", 0)  # by an exact Newton step, which few rows begin with
    return spy(SingleDesign, "sweep")


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "balanced"])
@pytest.mark.parametrize("storage", ["C", "F", "float32"])
@over_intercepts
@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_steps_in_single_precision_lead_to_the_same_certificate(
    loss, storage, fit_intercept, unit, single, monkeypatch
):
    """Whose loss and gradient are those of double precision."""
    problem = make_problem(loss, "l2", storage, fit_intercept)
    problem = replace(problem, X=problem.X * np.array([unit, 1.0, 1.0, 1 / unit], problem.X.dtype))
    result = solve(problem.objective(), "lbfgs", tol=TOL)
    assert single
    assert_certified(problem, result)
    made = len(single)
    monkeypatch.setattr(cost, "SINGLE_WORK", np.inf)
    exact = solve(problem.objective(), "lbfgs", tol=TOL)
    assert_same_value(result, exact, rtol=0.02 * TOL)  # twice what is certified of each
    assert len(single) == made


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_a_fit_that_ends_in_single_precision_says_what_double_precision_does(
    loss, max_iter, single
):
    problem = in_other_units(make_problem(loss))
    result = solve(problem.objective(), "lbfgs", tol=1e-9, max_iter=max_iter)
    assert single
    assert Status.MAX_ITER in result.status
    assert_true(problem, result)


@pytest.mark.parametrize("work", [0, np.inf], ids=["single first", "double"])
@pytest.mark.parametrize("seed", range(5))
@over_intercepts
def test_rounding_of_large_features_is_no_shift_of_all_classes(
    fit_intercept, seed, work, single, monkeypatch
):
    """Which only a weak penalty would bring back."""
    monkeypatch.setattr(cost, "SINGLE_WORK", work)
    for storage in ("C", "float32"):
        problem = make_problem("softmax", "l2", storage, fit_intercept, seed=seed)
        units = np.array([1e-9, 1.0, 1.0, 1e9], problem.X.dtype)
        result = solve(replace(problem, X=problem.X * units).objective(), "lbfgs", tol=TOL)
        assert result.status == [Status.CONVERGED]
        assert result.evaluations < 100


@pytest.mark.parametrize(
    ("loss", "penalty", "storage"),
    [("binary", "l2", "C"), ("softmax", "none", "C"), ("softmax", "l2", "CSR")],
)
def test_what_single_precision_is_not_for(loss, penalty, storage, single):
    """One output, no penalty, sparse rows."""
    problem = make_problem(loss, penalty, storage)
    assert_certified(problem, solve(problem.objective(), "lbfgs", tol=TOL))
    assert not single


def test_the_number_of_threads_changes_no_bit_in_single_precision(single, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_WORK", 1)
    monkeypatch.setattr(chunks, "ENTRY_WORK", 0)
    monkeypatch.setattr(chunks, "WORTH", 0)
    results = []
    for n_threads in (1, 2):
        with Workers(n_threads) as workers:
            problem = make_problem("softmax", n=500)
            results.append(solve(problem.objective(workers), "lbfgs", tol=TOL))
    assert single
    np.testing.assert_array_equal(results[0].coef, results[1].coef)


# ---- certification where the gap does not close ---------------------------------------------


@pytest.fixture
def no_gap(monkeypatch):
    """The gap certifies nothing."""

    def infinite(objective, point, loss, gradient, penalty):
        return np.full(objective.n_problems, np.inf)

    monkeypatch.setattr(certificate, "dual_gap", infinite)


@over_solvers
@over_three_losses
@pytest.mark.usefixtures("no_gap")
def test_the_decrement_certifies_where_the_gap_does_not(solver, penalty, loss):
    problem = make_problem(loss, penalty)
    result = solve(problem.objective(), solver, tol=TOL)
    assert set(result.status) == {Status.CONVERGED}
    assert (result.optimality <= TOL).all()
    assert np.isinf(result.dual_gap).all()
    point = problem.point_of(result)
    goal = 0.01 * TOL * problem.null_value()
    if problem.l1_ratio == 0:
        assert (problem.decrement(point) <= goal).all()
    else:
        assert (problem.value(point) - problem.lower_bound(point) <= goal).all()


@over_solvers
@over_three_losses
@over_intercepts
def test_tol_0_ends_at_the_last_representable_progress(solver, penalty, loss, fit_intercept):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    result = solve(problem.objective(), solver, tol=0.0)
    assert all(status.converged for status in result.status), names(result)
    assert result.evaluations < 250
    assert problem.optimality(problem.point_of(result)).max() < 1e-8
    tight = solve(problem.objective(), solver, tol=TIGHT)
    np.testing.assert_allclose(result.objective, tight.objective, rtol=1e-13)


@over_solvers
@over_three_losses
@pytest.mark.usefixtures("no_gap")
def test_what_cannot_be_certified_ends_stalled(solver, penalty, loss, monkeypatch):
    """Neither gap nor decrement is ever small enough: the fit ends all the same, and says so."""
    problem = make_problem(loss, penalty)
    monkeypatch.setattr(table, "PRECISION", -1.0)
    result = solve(problem.objective(), solver, tol=-1.0)
    assert set(result.status) == {Status.STALLED}
    assert result.evaluations < 500
    assert problem.optimality(problem.point_of(result)).max() < 1e-6


# ---- hard data ------------------------------------------------------------------------------

SEEDS = range(1 if numba.config.DISABLE_JIT else 6)
OPTIMA = {0: 0.119585, 1: 0.166559, 2: 0.124905}  # of a damped Newton on standardised columns


def units(seed, coupled=True, **parameters):
    """Sixty features, five of them in other units."""
    X, y = make_classification(
        n_samples=100,
        n_features=60,
        n_informative=20,
        n_classes=2 + seed % 3,
        random_state=seed,
    )
    X[:, 1] *= 1e3
    X[:, 1] -= 1e5
    X[:, 0] *= 1e-2
    X[:, 7] *= 1e6
    X[:, 9] = X[:, 9] * 1e-9 + 1
    return Problem(X, y.astype(np.int64), np.ones(100), 2 + seed % 3, coupled, **parameters)


@pytest.mark.parametrize("seed", SEEDS)
@over_both
def test_features_in_other_units_reach_the_optimum(seed, solver):
    problem = units(seed)
    result = solve(problem.objective(), solver)
    assert_certified(problem, result)
    if seed in OPTIMA:
        assert abs(result.objective.item() - OPTIMA[seed]) < 6e-7


@pytest.mark.parametrize("seed", SEEDS)
@over_coupled
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_features_in_other_units_are_certified(seed, coupled, l1_ratio):
    problem = units(seed, coupled, l1_ratio=l1_ratio)
    assert_certified(problem, solve(problem.objective()))


@pytest.mark.parametrize("seed", SEEDS)
@over_coupled
@over_both
def test_features_in_other_units_without_a_hessian(seed, coupled, solver, without_hessian):
    """A weak penalty may take too many iterations, which the status then says."""
    without_hessian()
    problem = units(seed, coupled)
    assert_certified(problem, solve(problem.objective(), solver))
    problem = units(seed, coupled, C=100.0)
    result = solve(problem.objective(), solver)
    if set(result.status) == {Status.MAX_ITER}:
        assert_true(problem, result)
    else:
        assert_certified(problem, result)


SHAPES = {
    "collinear": lambda X: np.column_stack([X, X[:, 0] - 2 * X[:, 1]]),
    "nearly collinear": lambda X: np.column_stack([X, X[:, 0] + 1e-9 * X[:, 1]]),
    "duplicates": lambda X: np.column_stack([X, X[:, 0], X[:, 0]]),
    "constants": lambda X: np.column_stack([np.full(len(X), 3.7), X, np.full(len(X), -1e6)]),
    "empty": lambda X: np.column_stack([X, np.zeros((len(X), 3))]),
    "far from 0": lambda X: X + 1e4,
    "constant alone": lambda X: np.full((len(X), 1), 0.1),
}


@over_solvers
@over_three_losses
@pytest.mark.parametrize("shape", SHAPES)
def test_dependent_and_constant_features(solver, penalty, loss, shape):
    problem = make_problem(loss, penalty)
    problem = replace(problem, X=SHAPES[shape](problem.X))
    result = solve(problem.objective(), solver)
    assert_certified(problem, result)
    if shape == "duplicates" and problem.l1_ratio < 1:
        np.testing.assert_allclose(result.coef[:, 0], result.coef[:, -1], atol=1e-3)
    if shape in ("constants", "empty", "constant alone"):
        constant = np.ptp(problem.X, axis=0) == 0
        np.testing.assert_allclose(result.coef[:, constant], 0.0, atol=1e-7)


@over_smooth
@over_three_losses
@over_both
@pytest.mark.parametrize("far", [1e6, 1e8])
def test_features_very_far_from_0(penalty, loss, solver, far):
    """Rounding hides the gradient's last digits; the suboptimality is certified all the same."""
    problem = make_problem(loss, penalty)
    problem = replace(problem, X=problem.X + far)
    assert_certified(problem, solve(problem.objective(), solver))


@over_solvers
@over_three_losses
@pytest.mark.parametrize("shape", ["collinear", "duplicates", "constants", "empty"])
def test_features_that_say_nothing_new(solver, penalty, loss, shape):
    """F stays, but for a penalty that dependent features let spread: then it may fall."""
    problem = make_problem(loss, penalty)
    more = replace(problem, X=SHAPES[shape](problem.X))
    before, after = (solve(p.objective(), solver, tol=1e-9) for p in (problem, more))
    if penalty == "none" or shape in ("constants", "empty"):
        assert_same_value(after, before, rtol=1e-11)
    else:
        assert (after.objective <= before.objective * (1 + 1e-11)).all()


@over_three_losses
@over_both
@over_intercepts
@pytest.mark.parametrize("shape", ["collinear", "duplicates", "constants"])
def test_without_a_penalty_coefficients_have_the_least_norm(loss, solver, fit_intercept, shape):
    """Whatever the start says of directions that F does not see."""
    problem = make_problem(loss, "none", fit_intercept=fit_intercept)
    problem = replace(problem, X=SHAPES[shape](problem.X))
    objective = problem.objective()
    (start,) = problem.points(1)
    start /= np.abs(problem.features()).max(axis=0)
    result, cold = (solve(objective, solver, tol=1e-9, start=s) for s in (start, None))
    assert_certified(problem, result, 1e-9)
    np.testing.assert_allclose(result.coef, cold.coef, atol=1e-6)
    np.testing.assert_allclose(result.intercept, cold.intercept, atol=1e-5)
    logits = problem.dense() @ result.coef.T
    X = problem.dense()
    if fit_intercept:
        X, logits = X - X.mean(axis=0), logits - logits.mean(axis=0)
    least = np.linalg.lstsq(X, logits, rcond=1e-10)[0]
    assert np.linalg.norm(result.coef) <= np.linalg.norm(least) * (1 + 1e-6)


@over_three_losses
@over_both
@over_intercepts
@pytest.mark.parametrize("spread", [1e-6, 1e-7, 7e-8, 5e-8])
def test_the_least_norm_costs_nothing(loss, solver, fit_intercept, spread):
    """Features that barely differ are not collinear: coefficients of that size may matter."""
    problem = make_problem(loss, "none", fit_intercept=fit_intercept)
    X = problem.X.copy()
    X[:, :2] = 1 + spread * (X[:, :2] + np.eye(3)[problem.y][:, :2])
    problem = replace(problem, X=X)
    result = solve(problem.objective(), solver)
    assert_true(problem, result)
    assert (result.objective <= problem.null_value().astype(float)).all()
    for status, optimality in zip(result.status, result.optimality, strict=True):
        assert status is not Status.CONVERGED or optimality <= TOL


@over_nonsmooth
@over_intercepts
def test_of_softmax_coefficients_that_differ_by_a_shift_the_best_are_returned(
    penalty, fit_intercept
):
    problem = make_problem("softmax", penalty, fit_intercept=fit_intercept, C=2.0)
    result = solve(problem.objective(), tol=1e-9)
    point = problem.point_of(result)
    np.testing.assert_allclose(best_shift(problem.objective(), point), point, atol=1e-14)


@over_penalised
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "balanced"])
@over_intercepts
def test_classes_of_one_row(solver, penalty, loss, fit_intercept):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept, n_classes=5)
    y = np.where(np.arange(60) < 5, problem.y, problem.y % 2)
    assert np.bincount(y)[2:].tolist() == [1, 1, 1]
    problem = replace(problem, y=y)
    assert_certified(problem, solve(problem.objective(), solver))


@over_penalised
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
def test_thirty_classes(solver, penalty, loss):
    problem = make_problem(loss, penalty, n=90, n_classes=30)
    assert_certified(problem, solve(problem.objective(), solver))


@over_penalised
@over_three_losses
@pytest.mark.parametrize("C", [1e-6, 1e4])
def test_penalties_from_strong_to_weak(solver, penalty, loss, C):
    problem = make_problem(loss, penalty, C=C)
    assert_certified(problem, solve(problem.objective(), solver))


@pytest.mark.parametrize("seed", [1, 6, 7])
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@over_nonsmooth
def test_weak_penalties_on_few_rows(seed, loss, penalty):
    """Labels that the features know nothing of, and nearly as many coefficients as rows."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(50, 12)), rng.integers(5, size=50)
    problem = replace(make_problem(loss, penalty, n_classes=5, C=1e3), X=X, y=y, s=np.ones(50))
    assert_certified(problem, solve(problem.objective()))


@over_solvers
@over_three_losses
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_weights_of_any_size(solver, penalty, loss, scale):
    """All weights larger and C smaller by as much: the same problem."""
    problem = make_problem(loss, penalty)
    larger = replace(problem, s=problem.s * scale, C=problem.C / scale)
    same, result = (solve(p.objective(), solver, tol=1e-9) for p in (problem, larger))
    assert_same_value(result, same, rtol=1e-12)
    np.testing.assert_allclose(result.coef, same.coef, atol=1e-7)


def apart(loss, far=20.0, classes=(0, 1, 2)):
    """The classes far out, each on an axis of its own."""
    problem = make_problem(loss, "none")
    X = problem.X.copy()
    for k in classes:
        X[:, k] += far * (problem.y == k)
    return replace(problem, X=X)


@over_losses
@over_both
def test_separable_classes_without_a_penalty(loss, solver):
    problem = apart(loss)
    result = solve(problem.objective(), solver)
    assert set(result.status) == {Status.SEPARABLE}
    assert problem.objective().separates(problem.point_of(result)).all()
    assert np.isfinite(result.coef).all()
    assert (result.objective < 0.05).all()
    assert_true(problem, result)


@over_both
def test_separable_is_said_of_the_problems_that_are(solver):
    """The first class is far from the others, which overlap."""
    problem = apart("one-vs-all", far=50.0, classes=(0,))
    result = solve(problem.objective(), solver)
    assert names(result) == ["SEPARABLE", "CONVERGED", "CONVERGED"]
    assert_true(problem, result)
    point = problem.point_of(result)
    assert (problem.optimality(point)[1:] <= TOL).all()
    assert (problem.decrement(point)[1:] <= 0.01 * TOL * problem.null_value()[1:]).all()


@over_losses
@over_both
@over_intercepts
@pytest.mark.parametrize("tol", [TOL, 1e-7])
def test_a_category_of_one_class_only(loss, solver, fit_intercept, tol):
    """Its coefficients have no finite optimum, which is said, but F soon does not care."""
    problem = make_problem(loss, "none", fit_intercept=fit_intercept)
    category = np.arange(60) % 5
    y = np.where(category == 0, 0, problem.y)
    problem = replace(problem, X=np.eye(5)[category], y=y)
    result = solve(problem.objective(), solver, tol=tol)
    assert set(result.status) == {Status.SEPARABLE}
    assert all(0 in codes or not problem.softmax for codes in result.separated)
    assert (problem.optimality(problem.point_of(result)) <= tol).all()
    assert np.abs(result.coef).max() < 50


@over_losses
def test_separable_classes_with_a_penalty_are_no_trouble(loss):
    problem = replace(apart(loss), C=1e6)
    assert_certified(problem, solve(problem.objective()))


# ---- the end of the iterations --------------------------------------------------------------


def in_other_units(problem):
    """Hard enough not to be done in a few iterations."""
    scale, shift = np.array([1e-3, 1.0, 1e3, 10.0]), np.array([1.0, -30.0, 1e3, 0.0])
    return replace(problem, X=problem.X * scale + shift)


@over_solvers
@over_losses
@pytest.mark.parametrize("max_iter", [0, 1, 2])
def test_too_few_iterations_are_admitted(solver, penalty, loss, max_iter):
    problem = in_other_units(make_problem(loss, penalty))
    objective = problem.objective()
    result = solve(objective, solver, tol=1e-9, max_iter=max_iter)
    assert Status.MAX_ITER in result.status
    assert set(result.status) <= {Status.MAX_ITER, Status.CONVERGED}
    assert (result.n_iter <= max_iter).all()
    assert result.evaluations <= 2 + 4 * max_iter  # no work that is not counted
    assert_true(problem, result)
    assert (result.objective <= problem.null_value().astype(float) * (1 + 1e-12)).all()
    if max_iter == 0:
        np.testing.assert_allclose(problem.point_of(result), objective.null_point(), atol=1e-15)


@over_solvers
@over_losses
def test_more_iterations_end_lower(solver, penalty, loss):
    problem = in_other_units(make_problem(loss, penalty))
    sums = [
        solve(problem.objective(), solver, tol=1e-9, max_iter=max_iter).objective.sum()
        for max_iter in (0, 1, 3, 1000)
    ]
    assert (np.diff(sums) <= 1e-12).all()
    assert sums[-1] < sums[0]


@over_three_losses
@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_iterations_on_parts_of_the_rows_count(loss, max_iter, monkeypatch):
    monkeypatch.setattr(samples, "ROWS_A_COORDINATE", 1)
    problem = in_other_units(make_problem(loss, n=320))
    result = solve(problem.objective(), "lbfgs", tol=1e-9, max_iter=max_iter)
    assert (result.n_iter <= max_iter).all()
    assert_true(problem, result)


@over_three_losses
@pytest.mark.parametrize("max_iter", [0, 1, 2, 5])
def test_iterations_in_the_row_space_count(loss, max_iter, monkeypatch):
    problem = make_problem(loss, n=15, p=40)
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 3 * 16 if problem.softmax else 16)
    result = solve(problem.objective(), tol=1e-9, max_iter=max_iter)
    assert (result.n_iter <= max_iter).all()
    assert_true(problem, result)


# ---- work -----------------------------------------------------------------------------------


@over_nonsmooth
@over_losses
@over_intercepts
def test_below_the_smallest_useful_c_the_null_model_costs_a_pass_or_two(
    penalty, loss, fit_intercept
):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    _, gradient = problem.loss_gradient(problem.objective().null_point())
    largest = float(np.abs(gradient[:, :4]).max())
    smallest_C = problem.l1_ratio / (problem.s.sum() * largest)
    objective = replace(problem, C=0.999 * smallest_C).objective()
    result = solve(objective, tol=1e-8)
    assert all(status.converged for status in result.status)
    assert not result.coef.any()
    assert objective.counts["rows"] <= 2 * 60
    assert result.evaluations == objective.counts["rows"] / 60
    assert solve(replace(problem, C=1.01 * smallest_C).objective(), tol=1e-8).coef.any()


@over_solvers
@over_three_losses
def test_the_optimum_is_recognised_and_any_start_leads_there(solver, penalty, loss):
    problem = make_problem(loss, penalty)
    first = solve(problem.objective(), solver, tol=1e-8)
    again = solve(problem.objective(), solver, tol=1e-6, start=problem.point_of(first))
    assert_same_value(again, first, rtol=1e-8)
    assert again.evaluations <= 4
    (far,) = problem.points(1, scale=3.0)
    before = far.copy()
    elsewhere = solve(problem.objective(), solver, tol=1e-8, start=far)
    assert_same_value(elsewhere, first, rtol=1e-10)
    np.testing.assert_array_equal(far, before)


# twice what was seen, the most over softmax and one-vs-all (and seeds)
EVALUATIONS = {
    "wine": {"newton l2": 20, "lbfgs l2": 36, "lbfgs l1": 84, "lbfgs elastic net": 104},
    "digits": {"newton l2": 32, "lbfgs l2": 54, "lbfgs l1": 474, "lbfgs elastic net": 366},
    "units": {"newton l2": 24, "lbfgs l2": 120, "lbfgs l1": 330, "lbfgs elastic net": 254},
}


def assert_evaluations(problem, case, most):
    """A default fit converges within so many passes over the data."""
    solver, penalty = case.split(" ", 1)
    problem = replace(problem, l1_ratio=PENALTIES[penalty]["l1_ratio"])
    result = solve(problem.objective(), solver)
    assert all(status.converged for status in result.status)
    assert result.evaluations <= most


@over_coupled
@pytest.mark.parametrize("case", EVALUATIONS["wine"])
def test_evaluations_for_wine(case, coupled):
    X, y = load_wine(return_X_y=True)
    problem = Problem(X, y.astype(np.int64), np.ones(len(y)), 3, coupled)
    assert_evaluations(problem, case, EVALUATIONS["wine"][case])


@needs_jit
@over_coupled
@pytest.mark.parametrize("case", EVALUATIONS["digits"])
def test_evaluations_for_digits(case, coupled):
    X, y = load_digits(return_X_y=True)
    problem = Problem(X, y.astype(np.int64), np.ones(len(y)), 10, coupled)
    assert_evaluations(problem, case, EVALUATIONS["digits"][case])


@needs_jit
@over_coupled
@pytest.mark.parametrize("case", EVALUATIONS["units"])
@pytest.mark.parametrize("seed", SEEDS)
def test_evaluations_for_features_in_other_units(case, coupled, seed):
    assert_evaluations(units(seed, coupled), case, EVALUATIONS["units"][case])


# ---- the same every time --------------------------------------------------------------------


@over_solvers
@over_three_losses
@pytest.mark.parametrize("storage", ["C", "F", "CSR"])
def test_neither_threads_nor_repetition_change_a_bit(solver, penalty, loss, storage, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_WORK", 1)
    monkeypatch.setattr(chunks, "ENTRY_WORK", 0)
    monkeypatch.setattr(chunks, "WORTH", 0)
    problem = make_problem(loss, penalty, storage)
    results = [solve(problem.objective(), solver) for _ in range(2)]
    for n_threads in (2, 3):
        with CountingWorkers(n_threads) as workers:
            results.append(solve(problem.objective(workers), solver))
        assert max(workers.parts) == chunks.CHUNKS
    for result in results[1:]:
        for name in ("coef", "intercept", "objective", "optimality", "dual_gap", "n_iter"):
            np.testing.assert_array_equal(getattr(result, name), getattr(results[0], name))


# ---- what is said ---------------------------------------------------------------------------

REMEDIES = {
    Status.MAX_ITER: ("iteration limit", "max_iter", "tol"),
    Status.STALLED: ("Rounding errors", "StandardScaler", "smaller C"),
    Status.STOPPED: ("callback stopped it", "go on for longer"),
    Status.SEPARABLE: ("linearly separable", "without a penalty", "finite C"),
}


@pytest.mark.parametrize("status", Status)
def test_a_status_names_cause_and_remedy(status):
    assert status.converged == (status not in REMEDIES)
    for words in REMEDIES.get(status, ("optimum is reached and certified",)):
        assert words in status.value


@over_solvers
def test_verbose_prints_the_trace(solver, penalty, capsys):
    problem = make_problem("one-vs-all", penalty)
    result = solve(problem.objective(), solver, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(result.trace) > 0
    for line, entry in zip(lines, result.trace, strict=True):
        assert line.startswith(f"[sk_softmax] iteration {entry['iteration']}  stage ")
        assert f"optimality {entry['optimality']:.3g}" in line
        assert f"open {entry['open']}" in line


@over_solvers
def test_the_trace_ends_with_nothing_open(solver, penalty, capsys):
    problem = make_problem("one-vs-all", penalty)
    result = solve(problem.objective(), solver)
    assert capsys.readouterr().out == ""
    iterations = [entry["iteration"] for entry in result.trace]
    assert (np.diff(iterations) >= 0).all()
    assert result.n_iter.max() <= iterations[-1]
    assert result.trace[-1]["open"] == 0
    assert result.trace[-1]["optimality"] <= TOL


def test_a_run_knows_which_problems_are_open():
    objective = make_problem("one-vs-all").objective()
    control = solution.Control(tol=1e-4, goal=np.full(3, 1e-6), max_iter=5)
    run = Run(objective, control, objective.null_point())
    assert run.open.tolist() == [0, 1, 2]
    run.finish(np.array([1]), Status.STALLED)
    assert run.open.tolist() == [0, 2]
    assert run.goes_on
    run.count(run.open, 5)
    assert not run.goes_on
    result = run.solution("none")
    assert result.status == [Status.MAX_ITER, Status.STALLED, Status.MAX_ITER]
    assert result.n_iter.tolist() == [5, 0, 5]
