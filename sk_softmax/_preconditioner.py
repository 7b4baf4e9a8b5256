"""Changes of variables that make the objective round: point = point0 + M u.

L-BFGS sees u, in which the Hessian at (or near) the current point is the identity.  See the user
guide, "Preconditioned L-BFGS".
"""

from dataclasses import dataclass

import numpy as np

from ._curvature import STORED
from ._factor import Inverses, Triangles, inverse_factors, pseudo_inverse_factor
from ._objective import Objective
from ._typing import Array

LARGEST_HESSIAN = 2000  # rows of a matrix that is formed and factored
LARGEST_BLOCK = 4000  # rows of an output's own block of a Hessian
LARGEST_BLOCKS = 50_000_000  # entries of all outputs' blocks
LARGEST_COVARIANCE = 2000  # features whose covariance has its eigenvectors found
NARROW = 128  # coordinates of a class up to which all rows make its block of the Hessian
CLASS_ROWS_A_FEATURE = 4  # for a class's block of a wide Hessian
ROWS_A_FEATURE = 8  # for the covariance of a sample of the rows
CONSTANT = 1e-13  # standard deviation over mean of a feature that is constant up to rounding
LARGEST_SAMPLE = 20_000  # rows for a Hessian, unless it has more than a tenth as many coordinates
SEED = 0
TINY = float(np.finfo(float).tiny)


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
class Factor(InCentred):
    """M = T D L^-T with L L' = D (H + penalty) D of unit diagonal, block by block.

    The blocks are the problems; or softmax's classes, each by itself.  A shift of all classes,
    which softmax does not see, is then taken out of every step: each block by itself sees it, so
    that without this F would be far from round.

    Attributes
    ----------
    blocks : Inverses or Triangles
        Of the problems' Hessians, or of the classes'.
    centring : Centring
    shape : tuple
        (K, q)
    coupled : bool
    by_class : bool
        Whether softmax's classes are taken one by one.
    exact : bool
        Whether this is the Hessian, and on all rows.
    jitter : float
        What the factorisation needed on the unit diagonal.
    """

    blocks: Inverses | Triangles
    centring: Centring
    shape: tuple[int, int]
    coupled: bool
    by_class: bool
    exact: bool
    jitter: float

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        whole = self.coupled and not self.by_class
        step = self.blocks.times(u if whole else u.reshape(self.shape)).reshape(self.shape)
        return _without_shift(step) if self.by_class else step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        if self.by_class:
            gradient = _without_shift(gradient)
        whole = self.coupled and not self.by_class
        pulled = self.blocks.transposed_times(gradient.reshape(1, -1) if whole else gradient)
        return pulled.reshape(1, -1) if self.coupled else pulled


@dataclass
class Kronecker(InCentred):
    """M = T (E x U) D^-1/2 for a Hessian near (E diag(theta) E') x (U diag(gamma) U') + lambda2.

    Exact at the null model, where the second factor is the features' covariance and the first is
    diag(pi) - pi pi' = E diag(theta) E' for softmax, diag(pi (1 - pi)) for one-vs-all (E = I);
    elsewhere the rows of that covariance are weighted by how uncertain the model is of them.

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
    coupled: bool
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        p = self.U.shape[0]
        step = self.E @ (u.reshape(self.scale.shape) * self.scale)
        step[:, :p] = step[:, :p] @ self.U.T
        return step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        p = self.U.shape[0]
        pulled = self.E.T @ gradient
        pulled[:, :p] = pulled[:, :p] @ self.U
        pulled *= self.scale
        return pulled.reshape(1, -1) if self.coupled else pulled


@dataclass
class Diagonal(InCentred):
    """M = T D: the curvature of each coordinate by itself."""

    scale: Array  # (K, q)
    centring: Centring
    coupled: bool
    exact: bool = False

    def centred_step(self, u: Array) -> Array:
        """T^-1 M u, (K, q)."""
        step = u.reshape(self.scale.shape) * self.scale
        return _without_shift(step) if self.coupled else step

    def centred_pull(self, gradient: Array) -> Array:
        """M' T'^-1 gradient, (m, d)."""
        if self.coupled:
            gradient = _without_shift(gradient)
        scaled = gradient * self.scale
        return scaled.reshape(1, -1) if self.coupled else scaled


Change = Factor | Kronecker | Diagonal


def _without_shift(step: Array) -> Array:
    """The step (K, q) less its mean over classes."""
    return step - step.mean(axis=0)


def can_factor(objective: Objective) -> bool:
    """Whether the Hessian (of each problem) is small enough to be formed and factored."""
    return factorable(objective.hessian_size)


def factorable(size: int) -> bool:
    """Whether a matrix with so many rows is small enough."""
    return size <= LARGEST_HESSIAN


def can_factor_by_class(objective: Objective) -> bool:
    """Whether the diagonal blocks of the Hessian, one an output, are small enough."""
    return objective.q <= LARGEST_BLOCK and objective.K * objective.q**2 <= LARGEST_BLOCKS


def hessian_sample(objective: Objective) -> int:
    """Rows worth a Hessian: a quarter where they are many, and enough to determine it; or all."""
    n = objective.design.n
    rows = max(10 * objective.hessian_size, 2000, min(n // 4, LARGEST_SAMPLE))
    return n if rows >= 0.7 * n else rows


def factor(objective: Objective, point: Array, rows_wanted: int | None = None) -> Factor:
    """Factor of the Hessian of F's smooth part at ``point``, on all rows or a sample of them."""
    n = objective.design.n
    exact = rows_wanted is None or rows_wanted >= n
    if rows_wanted is None or rows_wanted >= n:
        H = objective.hessian(point)
    else:
        H = objective.hessian(point, *stratified_rows(objective, rows_wanted, point))
    add_penalty(objective, H)
    return _factored(objective, H, by_class=False, exact=exact)


def factor_by_class(objective: Objective, point: Array) -> Factor:
    """Factor of the Hessian's diagonal blocks at ``point``, one an output.

    A wide X is read at rows drawn by how much curvature they carry, output by output.
    """
    wanted = class_sample(objective)
    if wanted >= objective.design.n:
        H = objective.class_hessians(point)
    else:
        chosen = important_rows(objective, point, wanted)
        H = np.array(objective.workers.map(lambda k: objective.gram(*chosen[k]), chosen, True))
    np.einsum("kjj->kj", H)[:, : objective.p] += objective.lambda2[:, None]
    return _factored(objective, H, by_class=objective.coupled, exact=False)


def _factored(objective: Objective, H: Array, by_class: bool, exact: bool) -> Factor:
    """The change of variables in which the blocks H, which are overwritten, are round."""
    blocks: Inverses | Triangles
    jitter = 0.0
    if (objective.lambda2 == 0).any():
        blocks = Inverses(
            np.array([pseudo_inverse_factor(block, _noise(objective, block)) for block in H])
        )
    else:
        blocks, jitter = inverse_factors(H)
    shape = (objective.K, objective.q)
    centring = Centring(objective.center)
    return Factor(blocks, centring, shape, objective.coupled, by_class, exact, jitter)


def class_sample(objective: Objective) -> int:
    """Rows worth a class's block of the Hessian: all where that is cheap, else some a feature."""
    q, n = objective.q, objective.design.n
    if q <= NARROW:
        return n
    rows = max(CLASS_ROWS_A_FEATURE * q, 2000)
    return n if rows >= 0.5 * n else rows


def important_rows(
    objective: Objective, point: Array, wanted: int
) -> dict[int, tuple[Array, Array]]:
    """For each class about ``wanted`` rows, drawn with chances as their curvature; their weights.

    Returns
    -------
    chosen : dict
        For each class rows (r,), int, and weights (r,): what each is times one over its chance.
    """
    n, K = objective.design.n, objective.K
    of, scale = np.arange(n), np.ones(n)
    if n * K > STORED:
        of, scale = stratified_rows(objective, STORED // K)
    curvature = objective.class_curvature(point, of) * scale
    generator = np.random.default_rng(SEED)
    chosen = {}
    for k, weight in enumerate(curvature):
        chance = np.minimum(1.0, weight / max(float(weight.sum()), TINY) * wanted)
        drawn = np.flatnonzero(generator.random(weight.size) < chance)
        chosen[k] = (of[drawn], weight[drawn] / chance[drawn])
    return chosen


def stratified_rows(
    objective: Objective, wanted: int, point: Array | None = None
) -> tuple[Array, Array]:
    """Rows drawn with a fixed seed, small classes whole; and what each one stands for.

    Chances are as the rows' weights, as their distances from the mean (an outlier decides more
    than its neighbours could) and, with a ``point``, as the residuals there: rows that the model
    is sure of say little, and where classes are nearly separable few others are left.

    Returns
    -------
    rows : ndarray of shape (r,), int, ascending
    scale : ndarray of shape (r,)
        The sum over a class of scale times weight is the class's weight.
    """
    y, s = objective.target.y, objective.target.s
    counts = np.bincount(y)
    small = counts <= wanted // (4 * max(1, int(np.count_nonzero(counts))))
    scores: list[Array] = [s, s * objective.distances]
    if point is not None:
        scores.append(objective.residual_sizes(point))
    chance = np.zeros(y.size)
    for score in scores:
        chance += score / max(float(score.sum()), TINY) * (wanted / len(scores))
    chance = np.where(small[y], 1.0, np.minimum(chance, 1.0))
    some = np.zeros(counts.size, dtype=int)
    some[y[s > 0]] = np.flatnonzero(s > 0)
    chance[some[counts > 0]] = 1.0  # no class is left out
    rows = np.flatnonzero(np.random.default_rng(SEED).random(y.size) < chance)
    scale = 1 / chance[rows]
    drawn = np.bincount(y[rows], s[rows] * scale, counts.size)
    totals = np.bincount(y, s)
    return rows, scale * (totals / np.where(drawn > 0, drawn, 1.0))[y[rows]]


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
    p = objective.p
    first, variance = objective.moments
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
