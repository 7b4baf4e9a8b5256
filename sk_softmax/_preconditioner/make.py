"""From an objective at a point to the change of variables that makes it round there."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._factor import SMALL, Inverses, Triangles, inverse_factors, pseudo_inverse_factor
from .._objective import Objective
from .._typing import Array
from .changes import Centring, Change, Diagonal, Factor, Kronecker
from .rows import class_sample, important_rows, stratified_rows

LARGEST_HESSIAN = 2000  # rows of a matrix that is formed and factored
LARGEST_BLOCK = 4000  # rows of an output's own block of a Hessian
LARGEST_BLOCKS = 50_000_000  # entries of all outputs' blocks
LARGEST_COVARIANCE = 2000  # features whose covariance has its eigenvectors found
ROWS_A_FEATURE = 8  # for the covariance of a sample of the rows
COARSE = 1e-4  # least pivot of a Hessian for which single precision is enough
CONSTANT = 1e-13  # standard deviation over mean of a feature that is constant up to rounding


def can_factor(objective: Objective) -> bool:
    """Whether the Hessian (of each problem) is small enough to be formed and factored."""
    return factorable(objective.hessian_size)


def factorable(size: int) -> bool:
    """Whether a matrix with so many rows is small enough."""
    return size <= LARGEST_HESSIAN


def can_factor_by_class(objective: Objective) -> bool:
    """Whether the diagonal blocks of the Hessian, one an output, are small enough."""
    return objective.q <= LARGEST_BLOCK and objective.K * objective.q**2 <= LARGEST_BLOCKS


def factor(
    objective: Objective, point: Array, rows_wanted: int | None = None, single: bool = False
) -> Factor:
    """Factor of the Hessian of F's smooth part at ``point``, on all rows or a sample of them.

    With ``single`` a sample's Hessian is made in single precision, where its digits suffice.
    """
    if rows_wanted is None or rows_wanted >= objective.design.n:
        H = objective.hessian(point)
        add_penalty(objective, H)
        return _factored(objective, H, by_class=False, exact=True)
    rows, scale = stratified_rows(objective, rows_wanted, point)

    def hessian(single: bool) -> Array:
        H = objective.hessian(point, rows, scale, single)
        add_penalty(objective, H, fill=single)
        return H

    return _approximate(objective, hessian, by_class=False, single=single)


def factor_by_class(objective: Objective, point: Array, single: bool = False) -> Factor:
    """Factor of the Hessian's diagonal blocks at ``point``, one an output.

    A wide X is read at rows drawn by how much curvature they carry, output by output.  With
    ``single`` the blocks are made in single precision, where its digits suffice.
    """
    wanted = class_sample(objective)
    sampled = wanted < objective.design.n
    chosen = important_rows(objective, point, wanted) if sampled else {}

    def hessians(single: bool) -> Array:
        if sampled:
            blocks = objective.workers.map(lambda k: objective.gram(*chosen[k]), chosen, True)
            H = np.array(blocks)
        else:
            H = objective.class_hessians(point, single)
        np.einsum("kjj->kj", H)[:, : objective.p] += objective.lambda2[:, None]
        return H

    by_class = objective.coupled
    return _approximate(objective, hessians, by_class, single and not sampled)


def _approximate(
    objective: Objective, hessian: Callable[[bool], Array], by_class: bool, single: bool
) -> Factor:
    """The change of variables from what ``hessian(single)`` makes, an approximation.

    Single precision is tried where inverses are not taken, and dropped where features are so
    nearly collinear, or numbers so large, that it would blur the Hessian.
    """
    size = objective.q if by_class else objective.hessian_size
    if single and objective.has_l2 and size > SMALL:
        with np.errstate(over="ignore", invalid="ignore"):
            H = hessian(True)
        if np.isfinite(H).all():
            change = _factored(objective, H, by_class, exact=False)
            if isinstance(change.blocks, Triangles) and change.blocks.least_pivot >= COARSE:
                return replace(change, single=True)
    return _factored(objective, hessian(False), by_class, exact=False)


def _factored(objective: Objective, H: Array, by_class: bool, exact: bool) -> Factor:
    """The change of variables in which the blocks H, which are overwritten, are round."""
    blocks: Inverses | Triangles
    jitter = 0.0
    if not objective.has_l2:
        blocks = Inverses(
            np.array([pseudo_inverse_factor(block, _noise(objective, block)) for block in H])
        )
    else:
        blocks, jitter = inverse_factors(H)
    shape = (objective.K, objective.q)
    centring = Centring(objective.center)
    return Factor(blocks, centring, shape, objective.coupled, by_class, exact, jitter)


def add_penalty(objective: Objective, H: Array, fill: bool = False) -> None:
    """Add lambda2, and curvature along directions in which F is flat, to H in place.

    Softmax does not see a shift of all intercepts, nor, without lambda2, of all classes'
    coefficients of a feature.  No gradient points there; the factorisation needs them filled.
    With ``fill`` the latter are filled in any case: lambda2 may be less than H's rounding.
    """
    p, q, K = objective.p, objective.q, objective.K
    if not objective.coupled:
        np.einsum("kjj->kj", H)[:, :p] += objective.lambda2[:, None]
        return
    np.einsum("ii->i", H[0]).reshape(K, q)[:, :p] += objective.lambda2[0]
    flat = slice(0 if fill or not objective.has_l2 else p, q)
    by_feature = np.einsum("kjlj->klj", H.reshape(K, q, K, q))[:, :, flat]  # a view
    by_feature += np.einsum("kkj->kj", by_feature).mean(axis=0) / K


def _noise(objective: Objective, H: Array) -> Array:
    """What rounding of a feature's mean leaves on the diagonal of H, (d,): a constant feature."""
    by_output = H.diagonal().reshape(-1, objective.q)
    noise = np.zeros_like(by_output)
    rounding = (CONSTANT * objective.center) ** 2
    noise[:, : objective.p] = rounding * by_output[:, objective.p :].sum(axis=1, keepdims=True)
    return noise.ravel()


def without_factor(objective: Objective, point: Array) -> Change:
    """The change of variables where the Hessian is too large to be factored."""
    if can_factor_by_class(objective):
        return factor_by_class(objective, point)
    if without_blocks(objective):
        return diagonal(objective, objective.logit_state(point))
    return kronecker(objective, point)


def without_blocks(objective: Objective) -> bool:
    """Whether not even an output's own block of the Hessian, or the covariance, is small enough."""
    return not can_factor_by_class(objective) and objective.p > LARGEST_COVARIANCE


def kronecker(objective: Objective, point: Array) -> Kronecker:
    """The Kronecker form, its rows weighted by their uncertainty at ``point``."""
    p, K = objective.p, objective.K
    even = 1 / K if objective.coupled else 0.5
    pi = objective.class_sums[:, p] if objective.fit_intercept else np.full(K, even)
    theta, E = pi * (1 - pi), np.eye(K)
    if objective.coupled:
        theta, E = np.linalg.eigh(np.diag(pi) - np.outer(pi, pi))
        theta = np.where(theta > K * np.finfo(float).eps, theta, 0.0)
    wanted = ROWS_A_FEATURE * p
    rows, scale = None, None
    if wanted < objective.design.n:
        rows, scale = stratified_rows(objective, wanted)
    covariance = objective.uncertainty(point, rows, scale) / (pi * (1 - pi)).sum()
    gamma, U = np.linalg.eigh(covariance)
    curvature = np.empty((K, objective.q))
    curvature[:, :p] = np.outer(theta, np.maximum(gamma, 0.0)) + objective.lambda2[:, None]
    curvature[:, p:] = theta[:, None]
    flat = (curvature <= 0) | (theta[:, None] == 0 if objective.coupled else False)
    scale_ = np.where(flat, 0.0, 1 / np.sqrt(np.where(flat, 1.0, curvature)))
    return Kronecker(E, U, scale_, Centring(objective.center), objective.coupled)


def diagonal(objective: Objective, state: Array) -> Diagonal:
    """Each coordinate scaled by its curvature (Jacobi's preconditioner), from `logit_state`."""
    curvature = objective.curvature(state)
    curvature[:, : objective.p] += objective.lambda2[:, None]
    scale = 1 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
    return Diagonal(scale, Centring(objective.center), objective.coupled)


def null_curvature(objective: Objective) -> Array:
    """Diagonal of the Hessian of F's smooth part at the null model, (K, q), centred, positive."""
    curvature = objective.null_loss_curvature
    if objective.has_l2:
        curvature = curvature.copy()
        curvature[:, : objective.p] += objective.lambda2.reshape(-1, 1)
    return np.where(curvature > 0, curvature, 1.0)
