"""The Newton step on a support, as far as the signs of its coefficients allow."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from .._factor import inverse_factor, solve
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from .support_cg import (
    ByBlock,
    ByCoordinate,
    added_curvature,
    fill_intercept,
    iterative_step,
    support_of,
)

LARGEST_SUPPORT = 2500  # of one problem, whose Hessian is formed
SMALL_SUPPORT = 500  # of all, up to which it is even where other variables would do
SHRINKS = 0.25  # the slope, a step, while its Hessian is kept
VARIABLES_SHRINK = 0.9  # the same where it only makes the variables of conjugate gradients
PRUNINGS = 10
LARGEST_LEAST_SQUARES = 400  # coefficients of a non-negative least-squares problem


@dataclass
class PenalisedHessians:
    """F's Hessians on a support, one a problem, in the centred coordinates.

    Attributes
    ----------
    support : ndarray of shape (K, q)
        A mask.
    matrices : list of ndarray, or None
        None where they would be too large, or too dear.
    change : ByBlock, optional
        Then, for softmax, the variables in which conjugate gradients find the step.
    """

    support: Array
    matrices: list[Array] | None
    change: ByBlock | None = None

    @classmethod
    def at(
        cls,
        objective: Objective,
        point: Array,
        support: Array,
        slope: Array | None = None,
        single: bool = False,
    ) -> "PenalisedHessians":
        """Those at ``point``; with ``slope`` (K, q), those that only make variables are damped.

        ``single``: whether seven digits are enough.
        """
        sizes, change = support.sum(axis=1), None
        largest = sizes.sum() if objective.coupled else sizes.max()
        if sizes.sum() > SMALL_SUPPORT:
            added = added_curvature(objective, point, slope)
            change = ByBlock.by_class(objective, point, support, added)
            if change is None and largest <= LARGEST_SUPPORT:
                change = ByBlock.by_sample(objective, point, support, added)
        if change is not None or largest > LARGEST_SUPPORT:
            return cls(support, None, change)
        matrices = objective.hessian_on(point, support, single=single)
        ridge = added_curvature(objective, point, None)
        for group, H in zip(objective.groups, matrices, strict=True):
            mask = support[group]
            H[np.diag_indices_from(H)] += ridge[group][mask]
            fill_intercept(objective, H, mask)
        return cls(support, matrices)

    def serve(self, support: Array, left: float) -> bool:
        """Whether they will do for the next step, on ``support``, a mask (K, q).

        ``left`` : float, what the last step left of the slope.
        """
        shrinks = VARIABLES_SHRINK if self.matrices is None else SHRINKS
        return left <= shrinks and not (support & ~self.support).any()

    def on(self, support: Array, group: slice, number: int) -> Array:
        """One problem's, on a part of the support."""
        assert self.matrices is not None
        kept = support[group][self.support[group]]
        return self.matrices[number][np.ix_(kept, kept)]


def newton_step(
    objective: Objective,
    point: Array,
    signs: Array,
    slope: Array,
    hessians: PenalisedHessians,
    tol: float = 0.1,
    max_iter: int = 200,
    damped: bool = True,
) -> Array:
    """-H^-1 slope on the support of ``signs``, 0 elsewhere, in the centred coordinates; (K, q).

    ``signs`` (K, q) are those of the point, or where it is 0 of the step; coordinates keep to them.
    ``tol`` and ``max_iter`` are those of the conjugate gradients that large supports take, with
    ``damped`` Hessians.
    """
    if hessians.matrices is None:
        added = added_curvature(objective, point, slope if damped else None)
        change = hessians.change or ByCoordinate.at(objective, point, added)
        return iterative_step(objective, point, signs, slope, change, added, tol, max_iter)
    support, step = support_of(objective, signs), np.zeros_like(point)
    pulled = Centring(objective.center).pull(slope)
    for number, group in enumerate(objective.groups):
        mask = support[group]
        part = np.zeros(mask.shape)
        may_change = np.nonzero(mask)[1] == objective.p
        part[mask] = step_within_signs(
            hessians.on(support, group, number),
            pulled[group][mask],
            np.where(may_change, np.nan, point[group][mask]),
            signs[group][mask],
        )
        step[group] = part
    return step


def step_within_signs(H: Array, slope: Array, w: Array, signs: Array) -> Array:
    """Minimiser of slope'd + d'Hd/2 in which w + d keep to ``signs``; w is nan where it need not.

    Mostly the free minimiser is it.  Else the exact one is a non-negative least-squares problem
    while that is cheap; for large supports, coefficients that would cross 0 are led to 0 and the
    others' step is found anew, as it depends on theirs.
    """
    step = -solve(H, slope)
    crossing = signs * (w + step) < 0
    if not crossing.any():
        return step
    if w.size <= LARGEST_LEAST_SQUARES:
        # a coefficient without curvature, or a cycle of the active set: the way below will do
        with suppress(np.linalg.LinAlgError, RuntimeError):
            return _non_negative_step(H, slope, w, signs)
    free = np.ones(slope.size, dtype=bool)
    for _ in range(PRUNINGS):
        step[crossing] = -w[crossing]
        free &= ~crossing
        rhs = slope[free] + H[np.ix_(free, ~free)] @ step[~free]
        step[free] = -solve(H[np.ix_(free, free)], rhs)
        crossing = free & (signs * (w + step) < 0)
        if not crossing.any():
            break
    return step


def _non_negative_step(H: Array, slope: Array, w: Array, signs: Array) -> Array:
    """The same by least squares in x = |w + d| >= 0, the intercepts (w nan) eliminated.

    References
    ----------
    Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
    """
    b, k = np.flatnonzero(np.isnan(w)), np.flatnonzero(~np.isnan(w))
    signs, w = signs[k], w[k]
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
