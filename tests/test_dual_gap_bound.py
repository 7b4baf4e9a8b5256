"""The duality gap is an upper bound on the suboptimality: against optima in wide floats.

An optimum is refined by Newton steps on its non-zero coefficients whose gradients are in the widest
float there is, and proven by a dual value in the same float. So the suboptimality of a point is
known to more digits than the gap, in double precision, can have.
"""

from dataclasses import replace
from functools import cache

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy import sparse

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._solvers.certificate import dual_gap
from sk_softmax._solvers.table import solve

pytestmark = pytest.mark.skipif(
    not naive.WIDE_IS_WIDER, reason="there is no float that is wider than a double"
)

RATIOS = [0.0, 0.5, 0.999, 1.0]
COLUMNS = {
    "independent": lambda X: X,
    "duplicates": lambda X: np.column_stack([X, X[:, 0], -2 * X[:, 1]]),
    "constant": lambda X: np.column_stack([X, np.full(len(X), 3.0)]),
}
over_losses = pytest.mark.parametrize("loss", LOSSES)
over_ratios = pytest.mark.parametrize("l1_ratio", RATIOS)
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


def slope(problem, point):
    """F's derivative (K, q) where no coefficient is 0; elsewhere that of its smooth part."""
    lambda1, lambda2 = problem.lambdas
    _, gradient = problem.loss_gradient(point)
    p = problem.X.shape[1]
    gradient[:, :p] += lambda2 * point[:, :p] + lambda1 * np.sign(point[:, :p])
    return gradient


def newton_step(problem, point):
    """-H^+ slope on the intercepts and the coefficients that are not 0, (K, q)."""
    q, p = problem.shape[1], problem.X.shape[1]
    moves = (point != 0) | (np.arange(q) >= p)
    step = np.zeros(problem.shape, dtype=naive.WIDE)
    down = -slope(problem, point)
    hessians = problem.hessian(point.astype(float))
    rows = [slice(None)] if problem.softmax else [slice(k, k + 1) for k in range(len(point))]
    for H, own in zip(hessians, rows, strict=True):
        free = np.flatnonzero(moves[own].ravel())
        H = H[np.ix_(free, free)]
        scale = 1 / np.sqrt(np.where(H.diagonal() > 0, H.diagonal(), 1.0))
        wanted = scale * down[own].ravel()[free].astype(float)
        # singular along the shift of all classes and where columns repeat
        length = np.linalg.lstsq(H * np.outer(scale, scale), wanted, rcond=1e-12)[0]
        part = np.zeros(step[own].size, dtype=naive.WIDE)
        part[free] = scale * length
        step[own] = part.reshape(step[own].shape)
    return step


def refined(problem, point):
    """The optimum near a point of a tight fit, (K, q), as wide floats."""
    point = naive.wide(point)
    best, left = point, problem.optimality(point).max()
    for _ in range(20):
        point = point + newton_step(problem, point)
        now = problem.optimality(point).max()
        if not now < left:
            break
        best, left = point, now
    return best


@cache
def optimum_of(loss, l1_ratio, fit_intercept, C, columns):
    """A problem, its optimum (K, q) and F there (m,), to 1e-13 for certain."""
    problem = make_problem(loss, fit_intercept=fit_intercept, n=24, p=3, C=C, l1_ratio=l1_ratio)
    problem = replace(problem, X=COLUMNS[columns](problem.X))
    found = problem.point_of(solve(problem.objective(), tol=1e-10))
    point = refined(problem, found)
    value = problem.value(point)
    left = value - problem.lower_bound(point)
    assert (left >= -1e-16).all()  # balanced weights are doubles, and sum to 1 only nearly
    assert (left < 1e-13).all()
    if l1_ratio > 0:  # else a constant feature's coefficient is rounding
        assert (np.sign(point) == np.sign(found))[:, : problem.X.shape[1]].all()
    return problem, point.astype(float), value


optima = {
    "C": st.sampled_from([1e-2, 0.5, 50.0]),
    "columns": st.sampled_from(list(COLUMNS)),
}


@over_losses
@over_ratios
@over_intercepts
@settings(max_examples=30)
@given(
    **optima,
    size=st.integers(-7, 2).map(lambda e: 10.0**e),
    direction=hnp.arrays(np.float64, (3, 6), elements=st.integers(-8, 8).map(lambda v: v / 8)),
    keeps_zeros=st.booleans(),
)
def test_no_point_is_further_from_the_optimum_than_its_gap(
    loss, l1_ratio, fit_intercept, C, columns, size, direction, keeps_zeros
):
    problem, optimum, least = optimum_of(loss, l1_ratio, fit_intercept, C, columns)
    objective = problem.objective()
    step = direction[: optimum.shape[0], : optimum.shape[1]]
    point = optimum + size * (np.where(optimum == 0, 0.0, step) if keeps_zeros else step)
    gap = dual_gap(objective, point, *objective.loss_gradient(point))
    excess = problem.value(point) - least
    assert (excess > -1e-15).all()  # else that was no optimum
    rounding = 4e-16 * (1 + problem.value(point))
    assert (gap >= excess - rounding).all()


@over_losses
@over_ratios
@over_intercepts
@pytest.mark.parametrize("columns", COLUMNS)
def test_at_the_optimum_the_gap_is_rounding(loss, l1_ratio, fit_intercept, columns):
    problem, optimum, least = optimum_of(loss, l1_ratio, fit_intercept, 0.5, columns)
    objective = problem.objective()
    gap = dual_gap(objective, optimum, *objective.loss_gradient(optimum))
    exact = problem.value(optimum) - problem.lower_bound(optimum)  # it is known to 1e-13 only
    assert (gap <= np.maximum(exact, 0.0) + 2e-14).all()
    np.testing.assert_allclose(objective.loss_gradient(optimum)[0] + objective.penalty(optimum),
                               least.astype(float), rtol=1e-15)  # fmt: skip


# ---- what the gap rules out -----------------------------------------------------------------


def dual_point(problem, Y, P, weights, columns):
    """The user guide's Q (n, classes), and |G(Q)| of the coefficients (K, p)."""
    X, (lambda1, lambda2) = naive.wide(problem.dense()), problem.lambdas
    Q = P
    if problem.fit_intercept:
        wanted, totals = weights @ Y, weights @ P
        eps = max((1 - wanted / totals).max(), 1e-18)
        Q = (1 - eps) * P + (wanted - (1 - eps) * totals)
    force = np.abs((weights[:, None] * (Y - Q)).T[columns] @ X)
    if lambda2 == 0:
        tau = min(1, lambda1 / force.max())
        Q, force = Y + tau * (Q - Y), tau * force
    return Q, force


def ruled_out(problem, point):
    """Mask (K, p) of coefficients that the gap at a point says are 0 at the optimum."""
    (lambda1, lambda2), X, masks = problem.lambdas, problem.dense(), []
    for value, simplex in zip(problem.value(point), problem.as_simplex(point), strict=True):
        Q, force = dual_point(problem, *simplex)
        weights = simplex[2]
        gap = value + (weights @ (Q * np.log(np.where(Q > 0, Q, 1)))).sum()
        if lambda2 > 0:
            gap += (np.maximum(force - lambda1, 0) ** 2).sum() / (2 * lambda2)
        gap += 1e-16 * (1 + value)  # balanced weights are doubles, and sum to 1 only nearly
        centred = X - (weights @ X if problem.fit_intercept else 0)
        norms = np.sqrt(weights @ centred**2)
        masks.append(force + np.sqrt(gap / 2) * norms < lambda1)
    return np.vstack(masks)


@over_losses
@pytest.mark.parametrize("l1_ratio", [0.5, 0.999, 1.0])
@over_intercepts
@settings(max_examples=30)
@given(
    **optima,
    size=st.integers(-7, 0).map(lambda e: 10.0**e),
    direction=hnp.arrays(np.float64, (3, 6), elements=st.integers(-8, 8).map(lambda v: v / 8)),
)
def test_what_the_gap_rules_out_is_zero(loss, l1_ratio, fit_intercept, C, columns, size, direction):
    problem, optimum, _ = optimum_of(loss, l1_ratio, fit_intercept, C, columns)
    point = optimum + size * direction[: optimum.shape[0], : optimum.shape[1]]
    out = ruled_out(problem, point)
    assert not optimum[:, : problem.X.shape[1]][out].any()


@over_losses
@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@over_intercepts
def test_at_the_optimum_all_zeros_are_ruled_out_but_those_on_the_edge(
    loss, l1_ratio, fit_intercept
):
    problem, optimum, _ = optimum_of(loss, l1_ratio, fit_intercept, 0.1, "independent")
    coef = optimum[:, : problem.X.shape[1]]
    assert (coef == 0).any()
    np.testing.assert_array_equal(ruled_out(problem, optimum), coef == 0)


# ---- fits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tol", [1.0, 1e-4, 1e-7])
@pytest.mark.parametrize("storage", [np.ascontiguousarray, sparse.csr_matrix])
@pytest.mark.parametrize("columns", COLUMNS)
@over_ratios
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "binary"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_the_optimum_is_between_objective_less_gap_and_objective(
    loss, l1_ratio, columns, storage, tol, solver
):
    problem, _, least = optimum_of(loss, l1_ratio, True, 0.5, columns)
    kind = SoftmaxClassifier if problem.coupled else OvAClassifier
    fit = kind(C=0.5, l1_ratio=l1_ratio, tol=tol, solver=solver)
    fit.fit(storage(problem.X), problem.y, problem.s)
    objective, gap = np.atleast_1d(fit.objective_), np.atleast_1d(fit.dual_gap_)
    least = least.astype(float)
    assert (objective >= least - 1e-15).all()
    assert (objective - gap <= least + 1e-15).all()
    assert (objective - least <= 0.01 * tol * problem.null_value()).all()
