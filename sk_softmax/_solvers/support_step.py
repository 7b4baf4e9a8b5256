"""The Newton step on a support, as far as the signs of its coefficients allow."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from .._factor import inverse_factor, solve
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from .conjugate_gradient import conjugate_gradient

LARGEST_SUPPORT = 2500  # of one problem, whose Hessian is formed
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
        None where they would be too large.
    """

    support: Array
    matrices: list[Array] | None

    @classmethod
    def at(cls, objective: Objective, point: Array, support: Array) -> "PenalisedHessians":
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


def newton_step(
    objective: Objective,
    point: Array,
    support: Array,
    slope: Array,
    hessians: PenalisedHessians,
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
        part[mask] = step_within_signs(
            hessians.on(support, group, number),
            pulled[group][mask],
            np.where(may_change, np.nan, point[group][mask]),
        )
        step[group] = part
    return step


def step_within_signs(H: Array, slope: Array, w: Array) -> Array:
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
