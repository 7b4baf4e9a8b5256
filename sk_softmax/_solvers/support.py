"""Newton steps on the non-zero coefficients, their signs held.

With signs s fixed, lambda1 ||W||_1 = lambda1 s'w is linear on the support and F is smooth there.  A
coefficient that a step carries over 0 stops at 0 and leaves the support.  One at 0 that violates
the KKT conditions may be given the sign in which F falls, and enters.  A Hessian serves for
further steps as long as they shrink the slope: it is dearer than many evaluations of F.

References
----------
Andrew and Gao (2007), "Scalable training of L1-regularized log-linear models", section 3: the
orthant that a point with zeros is in.
Byrd, Chin, Nocedal and Oztoprak (2016), "A family of second-order methods for convex
l1-regularized optimization", section 2.1: Newton-CG steps on it.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from .certificate import kkt_violation
from .conjugate_gradient import CERTAIN
from .evaluated import Evaluated
from .support_cg import support_of
from .support_step import PenalisedHessians, newton_step

STEPS = 30
ENOUGH = 0.1  # of the goal: what a gap may be where the steps end
ARMIJO = 1e-4
HALVINGS = 12
SHRINK = 0.5
SINGLE = 0.25  # of the slope may be left by a step before a Hessian in single precision
ROUNDING = 64 * np.finfo(float).eps


def newton_on_support(
    objective: Objective,
    start: Evaluated,
    tol: float,
    goal: Array,
    max_iter: int,
    enough: Array,
    ended: Callable[[Callable[[], Array]], bool] | None = None,
    entering: Array | None = None,
) -> tuple[int, Evaluated]:
    """Move from ``start`` to the optimum on its own non-zeros, as far as their signs allow.

    And on those coordinates at 0 that are ``entering``, while they violate the KKT conditions.

    Parameters
    ----------
    objective : Objective
    start : Evaluated
    tol : float
        KKT violation allowed.
    goal : ndarray of shape (m,)
        Duality gap allowed; 0: as far as floating point goes.
    max_iter : int
        Steps at most.
    enough : ndarray of shape (m,)
        Slope on the support that will do, whatever the gap.
    ended : callable, optional
        Told of each step, by a function that returns where it led; whether to stop there.
    entering : ndarray of shape (K, q), optional
        A mask.  Default: none.

    Returns
    -------
    steps : int
    end : Evaluated
    """
    at = start.shifted(objective)
    live = np.ones(objective.n_problems, dtype=bool)
    limit = min(STEPS, max_iter)
    hessians, before, single = None, np.inf, True
    for steps in range(limit):
        signs = _orthant(objective, at, entering)
        support, slope = _support_and_slope(objective, at, signs)
        live &= ~_enough(objective, at, slope, tol, goal)
        live &= objective.largest_by_problem(np.abs(slope)) > enough
        if not live.any():
            return steps, at
        size = float(np.abs(slope[objective.per_output(live)[:, 0]]).max())
        if hessians is None or not hessians.serve(support, size / before):
            single = single and size <= SINGLE * before
            hessians = PenalisedHessians.at(objective, at.point, support, slope, single)
        before = size
        step = newton_step(objective, at.point, signs, slope, hessians)
        step = np.where(objective.per_output(live), step, 0.0)
        at, live = _line_search(objective, at, signs, slope, step, live)
        if not live.any():
            return steps, at
        if ended is not None and ended(partial(np.copy, at.point)):
            return steps + 1, at
    return limit, at


def _enough(objective: Objective, at: Evaluated, slope: Array, tol: float, goal: Array) -> Array:
    """Which problems' duality gaps the slope on the support keeps below the goal, (m,).

    For lambda2 > 0 the gap is sum slope^2 / (2 lambda2) there; else the dual point is scaled by
    1 / (1 + max |slope| / lambda1), which costs about that share of F.
    """
    largest = objective.largest_by_problem(np.abs(slope))
    gap = np.abs(objective.by_problem(slope * at.point))
    ridge = objective.lambda2 > 0
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        squares = objective.by_problem(slope**2) / (2 * objective.lambda2)
        scaled = largest / objective.lambda1 * (at.loss + objective.penalty(at.point))
    gap += np.where(ridge, squares, scaled)
    return (gap <= ENOUGH * goal) & (largest <= ENOUGH * tol)


def decrement(objective: Objective, at: Evaluated) -> Array:
    """How far F could still fall by its quadratic model, (m,).

    Newton's decrement on the support, and what each violator at 0 could gain by itself.
    """
    point, signs = at.point, np.sign(at.point)
    support, slope = _support_and_slope(objective, at, signs)
    hessians = PenalisedHessians.at(objective, point, support)
    step = newton_step(objective, point, signs, slope, hessians, *CERTAIN, damped=False)
    on_support = -objective.by_problem(Centring(objective.center).pull(slope) * step) / 2
    violation = np.where(support, 0.0, kkt_violation(objective, point, at.gradient))
    curvature = objective.curvature(objective.logit_state(point))
    curvature[:, : objective.p] += objective.lambda2.reshape(-1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(violation > 0, violation**2 / (2 * curvature), 0.0)
    return np.abs(on_support) + objective.by_problem(gain)


def _orthant(objective: Objective, at: Evaluated, entering: Array | None) -> Array:
    """Signs (K, q) of the coordinates; 0 where they stay at 0."""
    signs = np.sign(at.point)
    if entering is not None:
        violates = np.abs(at.gradient) > objective.lambda1.reshape(-1, 1)
        violates &= entering & (at.point == 0)
        violates[:, objective.p :] = False
        signs[violates] = -np.sign(at.gradient[violates])
    return signs


def _support_and_slope(objective: Objective, at: Evaluated, signs: Array) -> tuple[Array, Array]:
    """Mask of the coordinates that move, and F's derivative by them (0 elsewhere); (K, q)."""
    support = support_of(objective, signs)
    slope = at.gradient + objective.ridge(at.point)
    slope[:, : objective.p] += objective.lambda1.reshape(-1, 1) * signs[:, : objective.p]
    return support, np.where(support, slope, 0.0)


def _line_search(
    objective: Objective,
    at: Evaluated,
    signs: Array,
    slope: Array,
    step: Array,
    live: Array,
) -> tuple[Evaluated, Array]:
    """Move along ``step`` in the orthant of ``signs``; where to, and who moved.

    As in `newton`: F must fall, or where its change is lost in rounding, its slope must shrink.
    """
    p = objective.p
    centring = Centring(objective.center)
    centred = centring.apply(at.point)
    value = at.loss + objective.penalty(at.point)
    size = objective.largest_by_problem(np.abs(slope))
    length = np.ones(objective.n_problems)
    for _ in range(HALVINGS):
        trial = centred + objective.per_output(length) * step
        coef = trial[:, :p]
        coef[np.sign(coef) != signs[:, :p]] = 0.0
        there = Evaluated.at(objective, centring.undo(trial))
        new_value = there.loss + objective.penalty(there.point)
        fall = objective.by_problem(slope * (there.point - at.point))
        falls = new_value <= value + ARMIJO * np.minimum(fall, 0.0)
        lost = np.abs(new_value - value) <= ROUNDING * np.abs(value)
        _, new_slope = _support_and_slope(objective, there, np.sign(there.point))
        shrinks = objective.largest_by_problem(np.abs(new_slope)) <= SHRINK * size
        accepted = live & np.where(lost, shrinks, falls)
        hopeless = ~live | (lost & ~accepted)
        if (accepted | hopeless).all():
            break
        length[~accepted & ~hopeless] *= 0.5
    take = objective.per_output(accepted)
    end = Evaluated(
        np.where(take, there.point, at.point),
        np.where(accepted, there.loss, at.loss),
        np.where(take, there.gradient, at.gradient),
    )
    return end, accepted
