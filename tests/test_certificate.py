"""What is certified is true: KKT violations, dual gaps, and which of equal optima is returned."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from problems import LOSSES, PENALTIES, half_empty, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy.optimize import minimize_scalar

from sk_softmax._solvers import gauge, support, support_step
from sk_softmax._solvers.certificate import dual_gap, kkt_violation, optimality
from sk_softmax._solvers.evaluated import Evaluated
from sk_softmax._solvers.gauge import best_shift, least_norm
from sk_softmax._solvers.table import solve

PENALISED = [name for name in PENALTIES if name != "none"]
over_losses = pytest.mark.parametrize("loss", LOSSES)
over_penalties = pytest.mark.parametrize("penalty", PENALISED)
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)
over_ratios = pytest.mark.parametrize("l1_ratio", [0.0, 0.01, 0.5, 0.99, 1.0])
TIGHT = 1e-10


def gap_at(objective, point):
    return dual_gap(objective, point, *objective.loss_gradient(point))


# ---- KKT violation --------------------------------------------------------------------------


@over_losses
@pytest.mark.parametrize("penalty", PENALTIES)
@over_intercepts
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_kkt_violation_is_the_distance_from_0_to_the_subdifferential(
    loss, penalty, fit_intercept, scale
):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    objective = problem.objective()
    for point in (*problem.points(3, scale), np.zeros(problem.shape)):
        _, gradient = objective.loss_gradient(point)
        violation = kkt_violation(objective, point, gradient)
        np.testing.assert_allclose(violation, problem.violation(point), rtol=1e-10, atol=1e-15)
        largest = optimality(objective, point, gradient)
        np.testing.assert_allclose(largest, problem.optimality(point), rtol=1e-10, atol=1e-15)


# ---- dual gap -------------------------------------------------------------------------------


@cache
def optimum_of(loss, penalty, fit_intercept, C, seed):
    """A problem, the point where F is least, and F there by the twin."""
    problem = make_problem(
        loss, fit_intercept=fit_intercept, n=24, p=3, seed=seed, **(PENALTIES[penalty] | {"C": C})
    )
    objective = problem.objective()
    solution = solve(objective, tol=TIGHT)
    assert all(status.converged for status in solution.status)
    assert solution.dual_gap.max() < 1e-11
    point = problem.point_of(solution)
    assert problem.optimality(point).max() < TIGHT
    return problem, objective, point, problem.value(point)


optima = {"C": st.sampled_from([1e-3, 0.5, 1e3]), "seed": st.integers(0, 2)}
directions = {
    "size": st.integers(-10, 2).map(lambda e: 10.0**e),
    "direction": hnp.arrays(np.float64, (3, 4), elements=st.integers(-8, 8).map(lambda v: v / 8)),
    "keeps_zeros": st.booleans(),
}


def away_from(optimum, size, direction, keeps_zeros):
    """A point about ``size`` away."""
    step = direction[: optimum.shape[0], : optimum.shape[1]]
    return optimum + size * (np.where(optimum == 0, 0.0, step) if keeps_zeros else step)


@over_losses
@over_penalties
@over_intercepts
@given(**optima, **directions)
def test_the_gap_is_at_least_the_suboptimality(
    loss, penalty, fit_intercept, C, seed, size, direction, keeps_zeros
):
    problem, objective, optimum, least = optimum_of(loss, penalty, fit_intercept, C, seed)
    point = away_from(optimum, size, direction, keeps_zeros)
    gap = gap_at(objective, point)
    assert gap.shape == (objective.n_problems,)
    excess = problem.value(point) - least
    assert (gap >= excess - 1e-14 * (1 + problem.value(point))).all()


@over_losses
@over_penalties
@over_intercepts
@given(**optima, **directions)
def test_the_gap_is_at_least_that_of_its_dual_point_written_out(
    loss, penalty, fit_intercept, C, seed, size, direction, keeps_zeros
):
    """The package bounds the entropy of Q from below; the twin computes it."""
    problem, objective, optimum, least = optimum_of(loss, penalty, fit_intercept, C, seed)
    point = away_from(optimum, size, direction, keeps_zeros)
    value, bound = problem.value(point), problem.lower_bound(point)
    assert (bound <= least + 1e-15 * (1 + np.abs(bound))).all()
    assert (gap_at(objective, point) >= value - bound - 1e-14 * (1 + value)).all()


@over_losses
@over_penalties
@over_intercepts
@pytest.mark.parametrize("C", [1e-3, 0.5, 1e3])
def test_the_gap_goes_to_0_at_the_optimum(loss, penalty, fit_intercept, C):
    problem, objective, optimum, _ = optimum_of(loss, penalty, fit_intercept, C, 0)
    assert gap_at(objective, optimum).max() < 1e-11
    (direction,) = problem.points(1, seed=1)
    gaps = [gap_at(objective, optimum + 10.0**-e * direction).max() for e in range(1, 7)]
    assert (np.diff(gaps) < 0).all()
    assert gaps[-1] < 1e-2
    assert gaps[-1] < 0.2 * gaps[-2]


@over_losses
@over_penalties
@over_intercepts
def test_each_problem_s_gap_is_its_own(loss, penalty, fit_intercept):
    """A gap hears nothing of the other one-vs-all problems."""
    problem, objective, optimum, _ = optimum_of(loss, penalty, fit_intercept, 0.5, 0)
    (far,) = problem.points(1, scale=3.0)
    point = optimum.copy()
    point[0] = far[0]
    gap = gap_at(objective, point)
    assert gap[0] > 1e-3
    assert gap[1:].max(initial=0.0) < 1e-11


@over_losses
@over_intercepts
def test_without_a_penalty_there_is_no_gap(loss, fit_intercept):
    problem = make_problem(loss, "none", fit_intercept=fit_intercept)
    for point in problem.points(2):
        assert np.isnan(gap_at(problem.objective(), point)).all()


@over_losses
@over_penalties
@over_intercepts
def test_the_gap_of_absurd_points_is_still_a_bound(loss, penalty, fit_intercept):
    """Probabilities of exactly 0 and 1, and class totals that are off by all there is."""
    problem, objective, _, least = optimum_of(loss, penalty, fit_intercept, 0.5, 0)
    for point in problem.points(3, scale=1e6):
        gap = gap_at(objective, point)
        assert np.isfinite(gap).all()
        assert (gap >= (problem.value(point) - least) * (1 - 1e-12)).all()


def test_a_dual_bound_needs_its_class_totals():
    """Why Q is mixed: at a wrong intercept the plain formula would certify too much."""
    problem, objective, optimum, least = optimum_of("softmax", "l2", True, 0.5, 0)
    point = optimum.copy()
    point[:, -1] += [0.3, -0.2, 0.0]
    loss, gradient = objective.loss_gradient(point)
    _, lambda2 = problem.lambdas
    G, w = -gradient[:, :-1], point[:, :-1]
    plain = (lambda2 / 2 * w**2 + G**2 / (2 * lambda2) - w * G).sum()
    excess = (problem.value(point) - least).item()
    assert plain < excess < dual_gap(objective, point, loss, gradient).item()


# ---- decrement on the support ---------------------------------------------------------------


@over_losses
@pytest.mark.parametrize("penalty", ["l1", "elastic net"])
@over_intercepts
@pytest.mark.parametrize("size", [1e-2, 1e-3])
@pytest.mark.parametrize("formed", [True, False], ids=["Hessian", "conjugate gradients"])
def test_near_the_optimum_the_decrement_is_the_suboptimality(
    loss, penalty, fit_intercept, size, formed, monkeypatch
):
    """On the non-zero coefficients, whose signs do not change."""
    problem, objective, optimum, least = optimum_of(loss, penalty, fit_intercept, 0.5, 0)
    if not formed:
        monkeypatch.setattr(support_step, "LARGEST_SUPPORT", 0)
    (direction,) = problem.points(1, seed=1)
    point = optimum * (1 + size * direction)
    point[:, 3:] += size * direction[:, 3:]
    left = support.decrement(objective, Evaluated.at(objective, point))
    excess = (problem.value(point) - least).astype(float)
    moved = objective.by_problem(np.abs(point - optimum)) > 0
    assert moved.any()
    np.testing.assert_allclose(left[moved], excess[moved], rtol=0.3)


@over_losses
@pytest.mark.parametrize("penalty", ["l1", "elastic net"])
@over_intercepts
def test_the_decrement_counts_coefficients_that_should_not_be_0(loss, penalty, fit_intercept):
    problem, objective, optimum, least = optimum_of(loss, penalty, fit_intercept, 0.5, 0)
    for k, j in np.argwhere(optimum[:, :3]):
        point = optimum.copy()
        point[k, j] = 0.0
        left = support.decrement(objective, Evaluated.at(objective, point))
        excess = problem.value(point) - least
        assert left.max() > 0.3 * excess.max()


# ---- the best shift over classes ------------------------------------------------------------


def softmax_objective(l1_ratio, K=4, p=3, fit_intercept=True):
    return make_problem(
        "softmax", fit_intercept=fit_intercept, n=20, p=p, n_classes=K, C=0.5, l1_ratio=l1_ratio
    ).objective()


@cache
def four_classes(l1_ratio):
    return softmax_objective(l1_ratio)


coefficients = hnp.arrays(
    np.float64,
    (4, 4),
    elements=st.integers(-6, 6).map(lambda v: v / 8) | st.floats(-10, 10, allow_subnormal=False),
)


def penalties_of(objective, w):
    """The penalty of each column of w (K, p) by itself."""
    lambda1, lambda2 = objective.lambda1[0], objective.lambda2[0]
    return (lambda1 * np.abs(w) + lambda2 / 2 * w**2).sum(axis=0)


@over_ratios
@given(point=coefficients)
def test_the_best_shift_leaves_probabilities_and_intercepts_alone(l1_ratio, point):
    shifted = best_shift(four_classes(l1_ratio), point)
    by_class = (shifted - point)[:, :3]
    np.testing.assert_allclose(by_class, by_class[:1].repeat(4, axis=0), atol=1e-14)
    np.testing.assert_array_equal(shifted[:, 3], point[:, 3])


@over_ratios
@given(point=coefficients)
def test_no_shift_has_a_smaller_penalty(l1_ratio, point):
    objective = four_classes(l1_ratio)
    before = point.copy()
    shifted = best_shift(objective, point)[:, :3]
    np.testing.assert_array_equal(point, before)
    w = point[:, :3]
    ours = penalties_of(objective, shifted)
    rounding = 1e-15 + 1e-14 * penalties_of(objective, w)
    assert (ours <= penalties_of(objective, w) + rounding).all()
    for j in range(3):
        shifts = np.concatenate([w[:, j], np.linspace(w[:, j].min(), w[:, j].max(), 201)])
        others = penalties_of(objective, w[:, [j]] - shifts)
        assert ours[j] <= others.min() + rounding[j]
        best = minimize_scalar(
            lambda c, w=w[:, [j]]: penalties_of(objective, w - c).item(),
            bounds=(w[:, j].min(), w[:, j].max() + 1e-9),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert ours[j] <= best.fun + rounding[j]


@pytest.mark.parametrize("l1_ratio", [0.0, 0.01, 0.5, 0.99])
@given(point=coefficients)
def test_with_an_l2_part_the_best_shift_is_unique(l1_ratio, point):
    objective = four_classes(l1_ratio)
    once = best_shift(objective, point)
    moved = point + np.array([0.5, -3.0, 0.125, 0.0])
    np.testing.assert_allclose(best_shift(objective, moved)[:, :3], once[:, :3], atol=1e-13)
    if l1_ratio == 0:
        np.testing.assert_allclose(once[:, :3].sum(axis=0), 0.0, atol=1e-14)


@given(point=coefficients)
def test_for_pure_l1_no_equally_good_shift_is_sparser(point):
    objective = four_classes(1.0)
    shifted = best_shift(objective, point)[:, :3]
    ours = penalties_of(objective, shifted)
    for j in range(3):
        w = point[:, j]
        for c in w:  # a zero is found nowhere else
            other = w - c
            if penalties_of(objective, other[:, None]).item() > ours[j] * (1 + 1e-13):
                continue
            zeros, other_zeros = (np.count_nonzero(v == 0) for v in (shifted[:, j], other))
            assert zeros >= other_zeros
            if zeros == other_zeros:
                assert (shifted[:, j] ** 2).sum() <= (other**2).sum() * (1 + 1e-13)


@over_ratios
def test_an_odd_number_of_classes_has_a_class_at_0_for_pure_l1(l1_ratio):
    objective = softmax_objective(l1_ratio, K=3)
    point = np.array([[1.0, 0, 0, 1], [2.0, 0, 0, 2], [4.0, 0, 0, 3]])
    shifted = best_shift(objective, point)
    assert not shifted[:, 1:3].any()
    if l1_ratio == 1:
        assert shifted[:, 0].tolist() == [-1.0, 0.0, 2.0]
    elif l1_ratio == 0:
        np.testing.assert_allclose(shifted[:, 0], [-4 / 3, -1 / 3, 5 / 3])


@pytest.mark.parametrize("loss", ["one-vs-all", "balanced", "binary", "binary balanced"])
@over_penalties
def test_one_vs_all_and_two_classes_have_no_shift(loss, penalty):
    problem = make_problem(loss, penalty)
    (point,) = problem.points(1)
    np.testing.assert_array_equal(best_shift(problem.objective(), point), point)


def test_without_a_penalty_no_shift_is_better():
    problem = make_problem("softmax", "none")
    (point,) = problem.points(1)
    np.testing.assert_array_equal(best_shift(problem.objective(), point), point)


# ---- least norm without a penalty -----------------------------------------------------------

DEPENDENT = {
    "independent": lambda X: X,
    "a duplicate": lambda X: np.column_stack([X, X[:, 0]]),
    "a duplicate in other units": lambda X: np.column_stack([X, 1e-4 * X[:, 0]]),
    "a sum": lambda X: np.column_stack([X, X[:, 0] + X[:, 1] + 2]),
    "a constant": lambda X: np.column_stack([X, np.full(len(X), 3.7)]),
    "constants": lambda X: np.column_stack([np.zeros((len(X), 2)), X, np.full((len(X), 2), 1e3)]),
    "constants among many": lambda X: np.where(
        np.arange(30) % 6 == 0, 0.0, np.column_stack([X, half_empty(len(X), 26, seed=9)])
    ),
    "an empty feature": lambda X: np.column_stack([X, np.zeros(len(X))]),
    "one-hot": lambda X: np.column_stack([X, np.eye(3)[np.arange(len(X)) % 3]]),
    "fewer rows than features": lambda X: np.column_stack([X, half_empty(len(X), 16, seed=9)])[:12],
}


def with_features(name, loss, fit_intercept, p=4):
    problem = make_problem(loss, "none", fit_intercept=fit_intercept, p=p)
    X = DEPENDENT[name](problem.X)
    return replace(problem, X=X, y=problem.y[: len(X)], s=problem.s[: len(X)])


@over_losses
@over_intercepts
@pytest.mark.parametrize("features", DEPENDENT)
def test_least_norm_keeps_the_logits_and_has_the_least_norm(loss, fit_intercept, features):
    problem = with_features(features, loss, fit_intercept)
    objective = problem.objective()
    A, p = problem.features(), problem.X.shape[1]
    for point in problem.points(3):
        result = least_norm(objective, point)
        before, after = A @ point.T, A @ result.T
        if problem.softmax:
            before, after = (Z - Z.mean(axis=1, keepdims=True) for Z in (before, after))
        np.testing.assert_allclose(after, before, atol=1e-9 * np.abs(A).max())
        # lstsq: of all coefficients with these logits up to the intercept, those of least norm
        if fit_intercept:
            before = before - before.mean(axis=0)
        X = problem.X - problem.X.mean(axis=0) if fit_intercept else problem.X
        least = np.linalg.lstsq(X, before, rcond=1e-10)[0].T
        assert np.linalg.norm(result[:, :p]) <= np.linalg.norm(least) * (1 + 1e-9)


@over_intercepts
def test_least_norm_of_many_features_is_left_as_it_is(fit_intercept, monkeypatch):
    problem = with_features("a duplicate", "softmax", fit_intercept)
    (point,) = problem.points(1)
    monkeypatch.setattr(gauge, "LARGEST_HESSIAN", 4)
    np.testing.assert_array_equal(least_norm(problem.objective(), point), point)
