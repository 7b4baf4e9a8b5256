"""How far a point is from the optimum: KKT violation, duality gap, Newton decrement.

All from one loss and gradient; derivations are in the user guide, "When a fit is done".
"""

import numpy as np
from scipy.special import entr

from .._objective import Objective
from .._typing import Array

TINY = float(np.finfo(float).tiny)


def kkt_violation(objective: Objective, point: Array, gradient: Array) -> Array:
    """Distance from 0 to the subdifferential of F, coordinate by coordinate.

    Parameters
    ----------
    point : ndarray of shape (K, q)
    gradient : ndarray of shape (K, q)
        Of the mean loss, at ``point``.

    Returns
    -------
    violation : ndarray of shape (K, q)
    """
    smooth = gradient + objective.ridge(point) if objective.has_l2 else gradient
    violation = np.abs(smooth)
    if objective.has_l1:
        p, lambda1 = objective.p, np.broadcast_to(objective.lambda1, objective.K)
        violation[:, :p] -= lambda1[:, None]
        np.maximum(violation, 0.0, out=violation)
        k, j = np.divmod(np.flatnonzero(point), objective.q)
        slope = np.where(j < p, lambda1[k] * np.sign(point[k, j]), 0.0)
        violation[k, j] = np.abs(smooth[k, j] + slope)
    return violation


def optimality(objective: Objective, point: Array, gradient: Array) -> Array:
    """Largest KKT violation per problem, (m,)."""
    return objective.largest_by_problem(kkt_violation(objective, point, gradient))


def dual_gap(
    objective: Objective, point: Array, loss: Array, gradient: Array, penalty: Array | None = None
) -> Array:
    """Upper bound on F(point) - min F per problem, (m,); nan without a penalty.

    ``loss`` and ``gradient`` are of the mean loss at ``point``, ``penalty`` is what it is there.

    The dual point is Q = (1 - eps) P + eps T with T the same in every row, so that each class's
    total of Q is that of Y (which the intercept's optimality asks for), and for lambda2 = 0 drawn
    towards Y by tau, so that no |G(Q)| exceeds lambda1.  The entropy of such a mixture is at
    least the mixture of the entropies, so one loss and gradient are all that is needed.

    References
    ----------
    Koh, Kim and Boyd (2007), "An interior-point method for large-scale l1-regularized logistic
    regression", section 3: the dual and its scaled feasible point, for two classes.
    """
    if objective.unpenalised:
        return np.full(loss.shape, np.nan)
    if penalty is None:
        penalty = objective.penalty(point)
    # mean entropy of P: loss + sum_i s_i (y_i - p_i) raw_i / S
    entropy = loss - objective.by_problem(gradient * point)
    G, eps, mixed_in = _with_class_totals(objective, -gradient)
    entropy = (1 - eps) * entropy + eps * mixed_in
    return np.maximum(loss + penalty - _dual_value(objective, G, entropy), 0.0)


def _dual_value(objective: Objective, G: Array, entropy: Array) -> Array:
    """Dual objective at Q, or at Q drawn towards Y where that is better, (m,)."""
    lambda1, lambda2 = objective.lambda1, objective.lambda2
    if not objective.has_l1:
        return entropy - objective.by_problem(G * G) / (2 * lambda2)
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = objective.largest_by_problem(np.abs(G))
        tau = np.where(largest > lambda1, lambda1 / largest, 1.0)
        dual = tau * entropy  # feasible for lambda2 = 0, and better for small lambda2
        for scale in (np.ones_like(tau), tau) if objective.has_l2 else ():
            excess = np.abs(G) * scale.reshape(-1, 1) - lambda1.reshape(-1, 1)
            conjugate = objective.by_problem(np.maximum(excess, 0.0) ** 2) / (2 * lambda2)
            dual = np.where(lambda2 > 0, np.fmax(dual, scale * entropy - conjugate), dual)
    return dual


def _with_class_totals(objective: Objective, G: Array) -> tuple[Array, Array, Array]:
    """G(Q) (K, p), eps (m,) and the entropy of T (m,) for Q = (1 - eps) P + eps T.

    ``G`` is minus the gradient: sum_i s_i (y_i - p_i) x_i' / S, the intercept last.
    """
    p = objective.p
    zero = np.zeros(objective.n_problems)
    if not objective.fit_intercept:
        return G, zero, zero
    wanted = objective.class_sums[:, p]
    total = wanted - G[:, p]
    if objective.coupled:
        eps = 1 - float((wanted / np.maximum(total, TINY)).min())
        eps = min(max(eps, 0.0), 1.0)
        surplus = np.maximum(wanted - (1 - eps) * total, 0.0)
        T = surplus if np.count_nonzero(surplus) else wanted  # eps is rounding, or 0
        T = T / T.sum()
        entropy = entr(T).sum(keepdims=True)
        epsilon = np.array([eps])
        spread = eps
    else:
        T = (wanted > total).astype(np.float64)
        side = np.where(T > 0, 1 - total, total)
        epsilon = np.clip(np.abs(wanted - total) / np.maximum(side, 1e-300), 0.0, 1.0)
        entropy = zero
        spread = epsilon[:, None]
    PX = objective.class_sums[:, :p] - G[:, :p]
    return G[:, :p] + spread * (PX - T[:, None] * objective.means[:, :p]), epsilon, entropy
