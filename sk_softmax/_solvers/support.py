"""Newton steps on the non-zero coefficients, their signs held.

With signs s fixed, lambda1 ||W||_1 = lambda1 s'w is linear on the support and F is smooth there.  A
coefficient that a step carries over 0 stops at 0 and leaves the support.  A Hessian serves for
further steps as long as they shrink the slope: it is dearer than many evaluations of F.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import nnls

from .._factor import inverse_factor, solve
from .._objective import Objective
from .._preconditioner import Centring
from .._typing import Array
from .certificate import kkt_violation
from .conjugate_gradient import CERTAIN, conjugate_gradient
from .gauge import best_shift

LARGEST_SUPPORT = 2500  # of one problem, whose Hessian is formed
STEPS = 30
SHRINKS = 0.25  # the slope, a step, while its Hessian is kept
ENOUGH = 0.1  # of the goal: what a gap may be where the steps end
ARMIJO = 1e-4
HALVINGS = 12
PRUNINGS = 10
LARGEST_LEAST_SQUARES = 400  # coefficients of a non-negative least-squares problem
SHRINK = 0.5
ROUNDING = 64 * np.finfo(float).eps


def newton_on_support(
    objective: Objective,
    point: Array,
    tol: float,
    goal: Array,
    max_iter: int,
    ended: Callable[[Callable[[], Array]], bool] | None = None,
) -> tuple[int, Array]:
    """Move ``point`` to the optimum on its own non-zeros, as far as their signs allow.

    Parameters
    ----------
    objective : Objective
    point : ndarray of shape (K, q)
    tol : float
        KKT violation allowed.
    goal : ndarray of shape (m,)
        Duality gap allowed; 0: as far as floating point goes.
    max_iter : int
        Steps at most.
    ended : callable, optional
        Told of each step, by a function that returns where it led; whether to stop there.

    Returns
    -------
    steps : int
    point : ndarray of shape (K, q)
    """
    point = best_shift(objective, point)
    loss, gradient = objective.loss_gradient(point)
    live = np.ones(objective.n_problems, dtype=bool)
    limit = min(STEPS, max_iter)
    hessians, before = None, np.inf
    for steps in range(limit):
        support, slope = _support_and_slope(objective, point, gradient)
        live &= ~_enough(objective, point, slope, loss, tol, goal)
        if not live.any():
            return steps, point
        size = float(np.abs(slope[objective.per_output(live)[:, 0]]).max())
        if hessians is None or size > SHRINKS * before:
            hessians = _Hessians.at(objective, point, support)
        before = size
        step = _newton_step(objective, point, support, slope, hessians)
        step = np.where(objective.per_output(live), step, 0.0)
        point, loss, gradient, live = _line_search(
            objective, point, loss, gradient, slope, step, live
        )
        if not live.any():
            return steps, point
        if ended is not None and ended(partial(np.copy, point)):
            return steps + 1, point
    return limit, point


def _enough(
    objective: Objective, point: Array, slope: Array, loss: Array, tol: float, goal: Array
) -> Array:
    """Which problems' duality gaps the slope on the support keeps below the goal, (m,).

    For lambda2 > 0 the gap is sum slope^2 / (2 lambda2) there; else the dual point is scaled by
    1 / (1 + max |slope| / lambda1), which costs about that share of F.
    """
    largest = objective.largest_by_problem(np.abs(slope))
    gap = np.abs(objective.by_problem(slope * point))
    ridge = objective.lambda2 > 0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        squares = objective.by_problem(slope**2) / (2 * objective.lambda2)
        scaled = largest / objective.lambda1 * (loss + objective.penalty(point))
    gap += np.where(ridge, squares, scaled)
    return (gap <= ENOUGH * goal) & (largest <= ENOUGH * tol)


def decrement(objective: Objective, point: Array, gradient: Array) -> Array:
    """How far F could still fall by its quadratic model at ``point``, (m,).

    Newton's decrement on the support, and what each violator at 0 could gain by itself.
    """
    support, slope = _support_and_slope(objective, point, gradient)
    hessians = _Hessians.at(objective, point, support)
    step = _newton_step(objective, point, support, slope, hessians, *CERTAIN)
    on_support = -objective.by_problem(Centring(objective.center).pull(slope) * step) / 2
    violation = np.where(support, 0.0, kkt_violation(objective, point, gradient))
    curvature = objective.curvature(objective.logit_state(point))
    curvature[:, : objective.p] += objective.lambda2.reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(violation > 0, violation**2 / (2 * curvature), 0.0)
    return np.abs(on_support) + objective.by_problem(gain)


def _support_and_slope(objective: Objective, point: Array, gradient: Array) -> tuple[Array, Array]:
    """Mask of the coordinates that move, and F's derivative by them (0 elsewhere); (K, q)."""
    p = objective.p
    support = point != 0
    support[:, p:] = True
    slope = gradient + objective.ridge(point)
    slope[:, :p] += objective.lambda1.reshape(-1, 1) * np.sign(point[:, :p])
    return support, np.where(support, slope, 0.0)


@dataclass
class _Hessians:
    """F's Hessians on a support, one a problem, in the centred coordinates.

    Attributes
    ----------
    support : ndarray of shape (K, q)
        A mask.
    matrices : list of ndarray, or None
        None where they would be too large.
    """

    support: Array
    matrices: list[Array] | None

    @classmethod
    def at(cls, objective: Objective, point: Array, support: Array) -> "_Hessians":
        """Those at ``point``."""
        sizes = support.sum(axis=1)
        if (sizes.sum() if objective.coupled else sizes.max()) > LARGEST_SUPPORT:
            return cls(support, None)
        ridge = _ridge(objective)
        matrices = objective.hessian_on(point, support)
        for group, H in zip(objective.groups, matrices, strict=True):
            mask = support[group]
            H[np.diag_indices_from(H)] += ridge[group][mask]
            if objective.coupled and objective.fit_intercept:
                fill_intercept(H, np.nonzero(mask)[1] == objective.p)
        return cls(support, matrices)

    def on(self, support: Array, group: slice, number: int) -> Array:
        """One problem's, on a part of the support."""
        assert self.matrices is not None
        kept = support[group][self.support[group]]
        return self.matrices[number][np.ix_(kept, kept)]


def _ridge(objective: Objective) -> Array:
    """lambda2 where it acts, (K, q)."""
    ridge = np.zeros((objective.K, objective.q))
    ridge[:, : objective.p] = objective.lambda2.reshape(-1, 1)
    return ridge


def _newton_step(
    objective: Objective,
    point: Array,
    support: Array,
    slope: Array,
    hessians: _Hessians,
    tol: float = 0.1,
    max_iter: int = 200,
) -> Array:
    """-H^-1 slope on the support, 0 elsewhere, in the centred coordinates; (K, q).

    ``tol`` and ``max_iter`` are those of the conjugate gradients that large supports take.
    """
    if hessians.matrices is None:
        return _iterative_step(objective, point, support, slope, _ridge(objective), tol, max_iter)
    step = np.zeros_like(point)
    pulled = Centring(objective.center).pull(slope)
    for number, group in enumerate(objective.groups):
        mask = support[group]
        part = np.zeros(mask.shape)
        may_change = np.nonzero(mask)[1] == objective.p
        part[mask] = _step_within_signs(
            hessians.on(support, group, number),
            pulled[group][mask],
            np.where(may_change, np.nan, point[group][mask]),
        )
        step[group] = part
    return step


def _step_within_signs(H: Array, slope: Array, w: Array) -> Array:
    """Minimiser of slope'd + d'Hd/2 in which no w + d changes its sign; w is nan where it may.

    Mostly the free minimiser is it.  Else the exact one is a non-negative least-squares problem
    while that is cheap; for large supports, coefficients that would cross 0 are led to 0 and the
    others' step is found anew, as it depends on theirs.
    """
    step = -solve(H, slope)
    crossing = w * (w + step) < 0
    if not crossing.any():
        return step
    if w.size <= LARGEST_LEAST_SQUARES:
        # a coefficient without curvature, or a cycle of the active set: the way below will do
        with suppress(np.linalg.LinAlgError, RuntimeError):
            return _non_negative_step(H, slope, w)
    free = np.ones(slope.size, dtype=bool)
    for _ in range(PRUNINGS):
        step[crossing] = -w[crossing]
        free &= ~crossing
        rhs = slope[free] + H[np.ix_(free, ~free)] @ step[~free]
        step[free] = -solve(H[np.ix_(free, free)], rhs)
        crossing = free & (w * (w + step) < 0)
        if not crossing.any():
            break
    return step


def _non_negative_step(H: Array, slope: Array, w: Array) -> Array:
    """The same by least squares in x = |w + d| >= 0, the intercepts (w nan) eliminated.

    References
    ----------
    Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
    """
    b, k = np.flatnonzero(np.isnan(w)), np.flatnonzero(~np.isnan(w))
    signs, w = np.sign(w[k]), w[k]
    if b.size:
        intercepts, _ = inverse_factor(H[np.ix_(b, b)])
        from_k = intercepts @ (intercepts.T @ H[np.ix_(b, k)])
        reduced = H[np.ix_(k, k)] - H[np.ix_(k, b)] @ from_k
        pull = slope[k] - slope[b] @ from_k
    else:
        reduced, pull = H[np.ix_(k, k)], slope[k]
    M, _ = inverse_factor(reduced * np.outer(signs, signs))
    R = np.linalg.inv(M)  # R'R = S H S
    x, _ = nnls(R, -M.T @ (signs * (pull - reduced @ w)), maxiter=10 * k.size)
    step = np.empty_like(slope)
    step[k] = signs * x - w
    if b.size:
        step[b] = -(intercepts @ (intercepts.T @ slope[b])) - from_k @ step[k]
    return step


def fill_intercept(H: Array, is_intercept: Array) -> None:
    """Curvature for a shift of all intercepts, which F does not see."""
    at = np.flatnonzero(is_intercept)
    H[np.ix_(at, at)] += H[at, at].mean() / at.size


def _iterative_step(
    objective: Objective,
    point: Array,
    support: Array,
    slope: Array,
    ridge: Array,
    tol: float,
    max_iter: int,
) -> Array:
    """The same step by conjugate gradients on Hessian-vector products."""
    product = objective.hessian_product(point)
    curvature = objective.curvature(objective.logit_state(point)) + ridge
    scale = np.where(
        support & (curvature > 0), 1 / np.sqrt(np.where(curvature > 0, curvature, 1)), 0
    )
    blocks = (objective.n_problems, -1)

    def on_support(v: Array) -> Array:
        step = v.reshape(scale.shape) * scale
        return ((product(step) + ridge * step) * scale).reshape(blocks)

    pulled = Centring(objective.center).pull(slope) * scale
    u = conjugate_gradient(on_support, pulled.reshape(blocks), tol, max_iter)
    return -u.reshape(scale.shape) * scale


def _line_search(
    objective: Objective,
    point: Array,
    loss: Array,
    gradient: Array,
    slope: Array,
    step: Array,
    live: Array,
) -> tuple[Array, Array, Array, Array]:
    """Move along ``step``, stopping coefficients at 0; point, loss, gradient, who moved.

    As in `newton`: F must fall, or where its change is lost in rounding, its slope must shrink.
    """
    p = objective.p
    centring = Centring(objective.center)
    centred = centring.apply(point)
    value = loss + objective.penalty(point)
    size = objective.largest_by_problem(np.abs(slope))
    length = np.ones(objective.n_problems)
    for _ in range(HALVINGS):
        trial = centred + objective.per_output(length) * step
        coef = trial[:, :p]
        coef[np.sign(coef) != np.sign(point[:, :p])] = 0.0
        trial = centring.undo(trial)
        new_loss, new_gradient = objective.loss_gradient(trial)
        new_value = new_loss + objective.penalty(trial)
        fall = objective.by_problem(slope * (trial - point))
        falls = new_value <= value + ARMIJO * np.minimum(fall, 0.0)
        lost = np.abs(new_value - value) <= ROUNDING * np.abs(value)
        _, new_slope = _support_and_slope(objective, trial, new_gradient)
        shrinks = objective.largest_by_problem(np.abs(new_slope)) <= SHRINK * size
        accepted = live & np.where(lost, shrinks, falls)
        hopeless = ~live | (lost & ~accepted)
        if (accepted | hopeless).all():
            break
        length[~accepted & ~hopeless] *= 0.5
    take = objective.per_output(accepted)
    return (
        np.where(take, trial, point),
        np.where(accepted, new_loss, loss),
        np.where(take, new_gradient, gradient),
        accepted,
    )
