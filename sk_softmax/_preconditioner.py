"""Changes of variables that make the objective round: point = point0 + M u.

L-BFGS sees u, in which the Hessian at (or near) the current point is the identity.  See the user
guide, "Preconditioned L-BFGS".
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ._objective import Objective
from ._typing import Array

LARGEST_HESSIAN = 2000  # rows of a matrix that is formed and factored
LARGEST_COVARIANCE = 3000  # features
ROWS_A_FEATURE = 8  # for the covariance of a sample of the rows
JITTER = 1e-14  # of the unit diagonal, to begin with
CONSTANT = 1e-13  # standard deviation over mean of a feature that is constant up to rounding
SINGULAR = 16  # times size times machine epsilon: eigenvalues of the scaled matrix that are 0
SWEEPS_A_HESSIAN = 6  # what a sampled Hessian may cost, in sweeps over X
SEED = 0


@dataclass
class Centring:
    """T: from (coef, intercept + coef @ center) to (coef, intercept), and its transpose."""

    center: Array  # (p,)

    def undo(self, step: Array) -> Array:
        """T applied to a point or step (K, q), in place."""
        p = self.center.size
        step[:, p:] -= (step[:, :p] @ self.center)[:, None]
        return step

    def apply(self, point: Array) -> Array:
        """T^-1 point, as a new array (K, q)."""
        p = self.center.size
        centred = point.copy()
        centred[:, p:] += (point[:, :p] @ self.center)[:, None]
        return centred

    def pull(self, gradient: Array) -> Array:
        """T' gradient, as a new array (K, q)."""
        p = self.center.size
        pulled = gradient.copy()
        if gradient.shape[1] > p:
            pulled[:, :p] -= gradient[:, p:] * self.center
        return pulled


@dataclass
class Factor:
    """M = T D L^-T with L L' = D (H + penalty) D of unit diagonal.

    Attributes
    ----------
    M : ndarray of shape (1, K q, K q) or (K, q, q)
        D L^-T, one a problem.
    centring : Centring
    shape : tuple
        (K, q)
    exact : bool
        Whether H is the Hessian on all rows.
    jitter : float
        What the factorisation needed on the unit diagonal.
    """

    M: Array
    centring: Centring
    shape: tuple[int, int]
    exact: bool
    jitter: float

    def step(self, u: Array) -> Array:
        """M u as a step (K, q), for u of shape (m, d)."""
        return self.centring.undo(np.matmul(self.M, u[:, :, None]).reshape(self.shape))

    def pull(self, gradient: Array) -> Array:
        """M' gradient, (m, d): the gradient by u."""
        flat = self.centring.pull(gradient).reshape(self.M.shape[0], -1, 1)
        return np.matmul(self.M.transpose(0, 2, 1), flat)[:, :, 0]


class InCentred:
    """A change of variables made in the centred coordinates: M = T times what a subclass does."""

    centring: Centring

    def step(self, u: Array) -> Array:
        """M u as a step (K, q), for u of shape (m, d)."""
        return self.centring.undo(self.centred_step(u))

    def pull(self, gradient: Array) -> Array:
        """M' gradient, (m, d): the gradient by u."""
        return self.centred_pull(self.centring.pull(gradient))

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        raise NotImplementedError

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        raise NotImplementedError


@dataclass
class Kronecker(InCentred):
    """M = T (E x U) D^-1/2 for a Hessian near (E diag(theta) E') x (U diag(gamma) U') + lambda2.

    Exact for softmax at the null model, where diag(pi) - pi pi' = E diag(theta) E' and the second
    factor is the features' covariance; elsewhere the rows of that covariance are weighted by how
    uncertain the model is of them.

    Attributes
    ----------
    E : ndarray of shape (K, K)
    U : ndarray of shape (p, p)
    scale : ndarray of shape (K, q)
        D^-1/2; 0 along the shift that softmax does not see.
    centring : Centring
    """

    E: Array
    U: Array
    scale: Array
    centring: Centring
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        p = self.U.shape[0]
        step = self.E @ (u.reshape(self.scale.shape) * self.scale)
        step[:, :p] = step[:, :p] @ self.U.T
        return step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (1, K q)."""
        p = self.U.shape[0]
        pulled = self.E.T @ gradient
        pulled[:, :p] = pulled[:, :p] @ self.U
        return (pulled * self.scale).reshape(1, -1)


@dataclass
class Diagonal(InCentred):
    """M = T D: the curvature of each coordinate by itself, at the null model."""

    scale: Array  # (K, q)
    centring: Centring
    coupled: bool
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        return u.reshape(self.scale.shape) * self.scale

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        scaled = gradient * self.scale
        return scaled.reshape(1, -1) if self.coupled else scaled


def can_factor(objective: Objective) -> bool:
    """Whether the Hessian (of each problem) is small enough to be formed and factored."""
    return factorable(objective.hessian_size)


def factorable(size: int) -> bool:
    """Whether a matrix with so many rows is small enough."""
    return size <= LARGEST_HESSIAN


def hessian_sample(objective: Objective) -> int:
    """Rows worth a Hessian: all, or as many as cost a few sweeps, and enough to determine it."""
    size = objective.hessian_size
    affordable = SWEEPS_A_HESSIAN * objective.design.n * 24 // size
    rows = max(affordable, 10 * size, 2000)
    return objective.design.n if rows >= 0.7 * objective.design.n else rows


def factor(objective: Objective, point: Array, rows_wanted: int | None = None) -> Factor:
    """Factor of the Hessian of F's smooth part at ``point``, on all rows or a sample of them."""
    n = objective.design.n
    exact = rows_wanted is None or rows_wanted >= n
    if rows_wanted is None or rows_wanted >= n:
        H = objective.hessian(point)
    else:
        H = objective.hessian(point, *stratified_rows(objective, rows_wanted))
    add_penalty(objective, H)
    M = np.empty_like(H)
    jitter = 0.0
    for problem in range(H.shape[0]):
        if objective.lambda2[problem] == 0:
            M[problem] = pseudo_inverse_factor(H[problem], _noise(objective, H[problem]))
        else:
            M[problem], used = inverse_factor(H[problem])
            jitter = max(jitter, used)
    return Factor(M, Centring(objective.center), (objective.K, objective.q), exact, jitter)


def stratified_rows(objective: Objective, wanted: int) -> tuple[Array, Array]:
    """Rows drawn with a fixed seed, small classes whole; and what each one stands for.

    Returns
    -------
    rows : ndarray of shape (r,), int, ascending
    scale : ndarray of shape (r,)
        A class's weight over the weight of its drawn rows.
    """
    y, s = objective.target.y, objective.target.s
    generator = np.random.default_rng(SEED)
    codes, counts = np.unique(y, return_counts=True)
    quota = np.maximum(wanted * counts // y.size, wanted // (4 * codes.size))
    drawn, scales = [], []
    order = np.argsort(y, kind="stable")
    for members, take in zip(np.split(order, np.cumsum(counts)[:-1]), quota, strict=True):
        chosen = members
        if take < members.size:
            chosen = generator.choice(members, max(1, int(take)), replace=False)
        drawn.append(chosen)
        scales.append(np.full(chosen.size, s[members].sum() / s[chosen].sum()))
    rows = np.concatenate(drawn)
    ascending = np.argsort(rows)
    return rows[ascending], np.concatenate(scales)[ascending]


def add_penalty(objective: Objective, H: Array) -> None:
    """Add lambda2, and curvature along directions in which F is flat, to H in place.

    Softmax does not see a shift of all intercepts, nor, without lambda2, of all classes'
    coefficients of a feature.  No gradient points there; the factorisation needs them filled.
    """
    p, q, K = objective.p, objective.q, objective.K
    if not objective.coupled:
        np.einsum("kjj->kj", H)[:, :p] += objective.lambda2[:, None]
        return
    np.einsum("ii->i", H[0]).reshape(K, q)[:, :p] += objective.lambda2[0]
    first_flat = p if objective.lambda2[0] > 0 else 0
    view = H.reshape(K, q, K, q)
    for j in range(first_flat, q):
        curvature = np.einsum("kk->k", view[:, j, :, j]).mean()
        view[:, j, :, j] += curvature / K


def inverse_factor(H: Array) -> tuple[Array, float]:
    """M with M' H M = I, for a symmetric H that should be positive definite.

    A coordinate with a zero diagonal is left out: its row of M is 0.

    Returns
    -------
    M : ndarray of shape (d, d)
    jitter : float
        What had to be added to the unit diagonal of the scaled matrix.
    """
    if not H.size:
        return H.copy(), JITTER
    scaled, scale = _unit_diagonal(H)
    jitter = JITTER
    while True:
        scaled.flat[:: scale.size + 1] = 1.0 + jitter
        L, info = lapack.dpotrf(scaled, lower=1, clean=1)
        if info == 0:
            inverse, _ = lapack.dtrtri(L, lower=1)
            return np.ascontiguousarray(inverse.T) * scale[:, None], jitter
        jitter *= 100


def pseudo_inverse_factor(H: Array, noise: Array) -> Array:
    """M with M M' a generalised inverse of H, for a symmetric H >= 0 that may be singular.

    Directions that rounding cannot tell from flat ones are left out: M does not step there.

    Parameters
    ----------
    H : ndarray of shape (d, d)
    noise : ndarray of shape (d,)
        Diagonal entries up to here count as 0.
    """
    H = np.where(np.logical_or.outer(*(H.diagonal() <= noise,) * 2), 0.0, H)
    scaled, scale = _unit_diagonal(H)
    L, info = lapack.dpotrf(scaled, lower=1, clean=1)
    tiny = SINGULAR * scale.size * np.finfo(float).eps
    if info == 0 and L.diagonal().min() ** 2 > tiny:
        inverse, _ = lapack.dtrtri(L, lower=1)
        return np.ascontiguousarray(inverse.T) * scale[:, None]
    values, vectors = np.linalg.eigh(scaled)
    kept = values > tiny
    return scale[:, None] * vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)


def _unit_diagonal(H: Array) -> tuple[Array, Array]:
    """D H D with a unit diagonal, and D; 0 in D where H's diagonal is."""
    diagonal = H.diagonal()
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = H * scale[:, None] * scale
    scaled.flat[:: scale.size + 1] = 1.0
    return scaled, scale


def _noise(objective: Objective, H: Array) -> Array:
    """What rounding of a feature's mean leaves on the diagonal of H, (d,): a constant feature."""
    by_output = H.diagonal().reshape(-1, objective.q)
    noise = np.zeros_like(by_output)
    rounding = (CONSTANT * objective.center) ** 2
    noise[:, : objective.p] = rounding * by_output[:, objective.p :].sum(axis=1, keepdims=True)
    return noise.ravel()


def without_factor(objective: Objective, point: Array) -> Kronecker | Diagonal:
    """The change of variables where the Hessian is too large to be factored."""
    if objective.coupled and objective.p <= LARGEST_COVARIANCE:
        return kronecker(objective, point)
    return diagonal(objective)


def kronecker(objective: Objective, point: Array) -> Kronecker:
    """The Kronecker form, its rows weighted by their uncertainty at ``point``."""
    p, K = objective.p, objective.K
    pi = objective.class_sums[:, p] if objective.fit_intercept else np.full(K, 1 / K)
    theta, E = np.linalg.eigh(np.diag(pi) - np.outer(pi, pi))
    theta = np.where(theta > K * np.finfo(float).eps, theta, 0.0)
    wanted = ROWS_A_FEATURE * p
    rows, scale = None, None
    if wanted < objective.design.n:
        rows, scale = stratified_rows(objective, wanted)
    covariance = objective.uncertainty(point, rows, scale) / (pi * (1 - pi)).sum()
    gamma, U = np.linalg.eigh(covariance)
    curvature = np.empty((K, objective.q))
    curvature[:, :p] = np.outer(theta, np.maximum(gamma, 0.0)) + objective.lambda2[0]
    curvature[:, p:] = theta[:, None]
    flat = curvature <= 0
    scale_ = np.where(flat, 0.0, 1 / np.sqrt(np.where(flat, 1.0, curvature)))
    return Kronecker(E, U, scale_, Centring(objective.center))


def diagonal(objective: Objective) -> Diagonal:
    """Each coordinate scaled by its curvature."""
    scale = 1 / np.sqrt(null_curvature(objective))
    return Diagonal(scale, Centring(objective.center), objective.coupled)


def null_curvature(objective: Objective) -> Array:
    """Diagonal of the Hessian of F's smooth part at the null model, (K, q), centred, positive."""
    p = objective.p
    first, variance = objective.design.moments(objective.target.s)
    if objective.fit_intercept:
        variance = np.maximum(variance - first**2, 1e-16 * variance)
    pi = np.full((objective.K, 1), 1 / objective.K if objective.coupled else 0.5)
    if objective.fit_intercept:
        pi = objective.class_sums[:, p:]
    curvature = np.ones((objective.K, objective.q))
    curvature[:, :p] = variance
    curvature *= pi * (1 - pi)
    curvature[:, :p] += objective.lambda2.reshape(-1, 1)
    return np.where(curvature > 0, curvature, 1.0)
