"""Which of equal optima is returned.

Softmax is blind to a shift of a feature's coefficients over classes: probabilities do not change
when c is taken from all w_k, so F is least where the penalty of w_k - c is.  Without lambda2 that
is so in the whole median interval of w; then the sparsest choice is made, and of equally sparse
ones that of least L2 norm.  Without any penalty collinear features leave more freedom still; then
the coefficients of least L2 norm are returned.
"""

import numpy as np

from .._factor import SINGULAR
from .._objective import Objective
from .._preconditioner.make import CONSTANT, LARGEST_HESSIAN
from .._typing import Array


def best_shift(objective: Objective, point: Array) -> Array:
    """The point (K, q) with every feature's coefficients shifted to where the penalty is least.

    References
    ----------
    For lambda2 > 0 the minimiser of lambda1 sum_k |w_k - c| + lambda2/2 sum_k (w_k - c)^2 is the
    median of the w_k and the mean of w minus (2 r - K) lambda1 / (K lambda2), r = 0..K:
    the points where the derivative changes sign.
    """
    if not objective.coupled or objective.unpenalised:
        return point
    K, p, q = objective.K, objective.p, objective.q
    nonzeros = np.bincount(np.flatnonzero(point) % q, minlength=q)[:p]
    # fewer non-zeros than half leave the median at 0
    used = np.flatnonzero(nonzeros > (0 if objective.has_l2 else (K - 1) // 2))
    result = point.copy()
    if used.size and objective.has_l2:
        ratio = float(objective.lambda1[0] / objective.lambda2[0])
        result[:, used] = _least_penalty(point[:, used], ratio)
    elif used.size:
        result[:, used] = _sparsest(point[:, used])
    return result


def _least_penalty(w: Array, ratio: float) -> Array:
    """w (K, f) shifted column by column; ``ratio`` is lambda1 / lambda2."""
    K = w.shape[0]
    steps = (2 * np.arange(K + 1) - K) * (ratio / K)
    stationary = w.mean(axis=0) - steps[:, None]
    candidates = np.sort(np.concatenate([w, stationary]), axis=0)
    return w - candidates[K]


def _sparsest(w: Array) -> Array:
    """w (K, f) shifted to an end of its median interval: exact zeros are found nowhere else."""
    K = w.shape[0]
    ordered = np.sort(w, axis=0)
    low, high = ordered[(K - 1) // 2], ordered[K // 2]
    at_low, at_high = w - low, w - high
    fewer = np.count_nonzero(at_high, axis=0) - np.count_nonzero(at_low, axis=0)
    smaller = (at_high**2).sum(axis=0) < (at_low**2).sum(axis=0)
    return np.where((fewer < 0) | ((fewer == 0) & smaller), at_high, at_low)


def least_norm(objective: Objective, point: Array) -> Array:
    """The point (K, q) of least ||W|| among those with the same logits, up to a gauge shift.

    For up to `LARGEST_HESSIAN` features; beyond, the point as it is.
    """
    p = objective.p
    if p > LARGEST_HESSIAN:
        return point
    flat = _flat_directions(objective)
    coef = point[:, :p]
    if objective.coupled:
        coef = coef - coef.mean(axis=0)
    result = point.copy()
    result[:, :p] = coef - (coef @ flat) @ flat.T
    if objective.fit_intercept:
        result[:, p] += (point[:, :p] - result[:, :p]) @ objective.center
    return result


def _flat_directions(objective: Objective) -> Array:
    """Orthonormal basis (p, d) of the directions in which the centred features do not vary."""
    p, center = objective.p, objective.center
    gram = np.zeros((p, p))
    s = objective.target.s
    for rows, X in objective.design.row_blocks(slice(0, objective.design.n), 1024):
        A = X - center
        gram += (A * s[rows, None]).T @ A
    variance = gram.diagonal()
    constant = variance <= (CONSTANT * center) ** 2 * s.sum()
    varying = np.flatnonzero(~constant)
    scale = 1 / np.sqrt(variance[varying])
    scaled = gram[np.ix_(varying, varying)] * np.outer(scale, scale)
    values, vectors = np.linalg.eigh(scaled)
    collinear = vectors[:, values <= SINGULAR * p * np.finfo(float).eps] * scale[:, None]
    flat = np.zeros((p, collinear.shape[1] + int(constant.sum())))
    flat[varying, : collinear.shape[1]] = np.linalg.qr(collinear)[0]
    flat[constant, collinear.shape[1] :] = np.eye(int(constant.sum()))
    return flat
