"""Pairs of a row and another class: which of them are bound, and which gain for ever.

`separation` says what that means, and cites the sources.
"""

import numpy as np
from scipy.linalg import lapack

from .._curvature.hessians import add_square, mirrored
from .._design.chunks import blocks_of, cut
from .._typing import Array
from .whitened_rows import ROWS, Rows, inverse_roots

EPS = float(np.finfo(float).eps)
PACKED = 32  # coordinates up to which a class's rows are multiplied with themselves once
SURE = 1e-6  # of the largest u: pairs that weigh enough to be counted on
LOSES = 0.9  # of its u: what a bound pair may; where one loses more, those with half of that go
ROUNDS = 8  # in which pairs are dropped until the others are bound
JITTER = 1e-12  # of the unit diagonal, on which flat directions may not make Cholesky fail
REGULAR = 1e-10  # inverse condition number of a matrix that certainly is not singular
FLAT = 1e-12  # of the largest eigenvalue: directions that move no bound pair
ZERO = 1e-7  # margins, relative to the lengths of row and step, that are 0 up to rounding
BATCH = 1000  # pairs found in the way at a time
PROJECTIONS = 100  # until all of them are found

Part = int | None  # an output against all others; None: softmax


class Pairs:
    """The pairs of softmax, or of one output's class against all others.

    Arrays over pairs have shape (n, K), with nothing in a row's own class.  Steps D have shape
    (K, r) with D_0 = 0, and (d,) without that, d = (K - 1) r.

    Parameters
    ----------
    rows : Rows
    point : ndarray of shape (K, q)
    part : int or None
    """

    def __init__(self, rows: Rows, point: Array, part: Part) -> None:
        target = rows.objective.target
        self.rows = rows
        self.y = target.y
        self.K = rows.objective.K
        if part is not None:
            self.y = (self.y == target.columns[part]).astype(np.int64)
            self.K = 2
        self.d = (self.K - 1) * rows.r
        self.others = np.arange(self.K) != self.y[:, None]
        self.bound = np.zeros_like(self.others)
        self.u = self._weights(point, part)

    def _weights(self, point: Array, part: Part) -> Array:
        """s_i p_ik, (n, K): the sizes of the residuals."""
        rows, objective = self.rows, self.rows.objective
        coef, intercept = objective.split(point)
        Wt = np.ascontiguousarray(coef.T)
        u = np.empty((rows.n, self.K))
        for at in blocks_of(slice(0, rows.n), ROWS):
            R = objective.design.logits(at, Wt, intercept)
            objective.target.residual(R, at)
            u[at] = np.abs(R) if part is None else np.abs(R[:, part, None])
        return np.where(self.others, u, 0.0)

    def bind(
        self,
        rounds: int = ROUNDS,
        bound: Array | None = None,
        sample: tuple[Array, Array] | None = None,
    ) -> bool:
        """Find the pairs that are `bound`; whether they leave no direction of recession at all.

        Parameters
        ----------
        rounds : int
        bound : ndarray of shape (n, K), bool, or None
            The pairs to begin with; None: all that weigh enough.
        sample : tuple of ndarray of shape (r,), or None
            Rows whose weights alone are changed until the sum is 0, and how many each stands for.
        """
        self.bound = self.u > SURE * self.u.max() if bound is None else bound
        among, scale = sample or (np.arange(self.rows.n), np.ones(self.rows.n))
        for _ in range(rounds):
            weight = np.where(self.bound, self.u, 0.0)
            H = self._gram(weight[among] * scale[:, None], among)
            v, regular = _solve(H, self._sum(weight))
            lost = np.where(self.bound[among], self._margins(v, among) * scale[:, None], 0.0)
            if lost.max() <= LOSES:
                return regular
            self.bound = self.bound.copy()
            self.bound[among] &= lost <= LOSES / 2
        self.bound = np.zeros_like(self.others)
        return False

    def gains(self, bound: Array | None = None) -> Array:
        """The pairs that gain along a direction of recession; ``bound`` as in `bind`."""
        gains = np.zeros_like(self.others)
        if self.bind(bound=bound):
            return gains
        basis = self._free()
        in_the_way = np.zeros((0, basis.shape[1]))
        while True:
            total = self._sum((self.others & ~self.bound & ~gains) / self.rows.lengths[:, None])
            step, in_the_way = self._project(basis, total @ basis, in_the_way)
            if step is None:
                return gains
            more = ~self.bound & ~gains & (self._relative_margins(step) > ZERO)
            if not more.any():  # what is left is rounding
                return gains
            gains |= more

    def _free(self) -> Array:
        """Orthonormal basis (d, f) of the directions along which the bound pairs have no margin.

        Each pair counts the same here, whatever its u and however far out its row is.
        """
        if not self.bound.any():
            return np.eye(self.d)
        H = self._gram(self.bound / self.rows.lengths[:, None] ** 2, np.arange(self.rows.n))
        values, vectors = np.linalg.eigh(H)
        return vectors[:, values <= FLAT * values[-1]]

    def _project(self, basis: Array, total: Array, in_the_way: Array) -> tuple[Array | None, Array]:
        """Projection (d,) of basis times total on the cone of the D without a negative margin.

        It has length 1, and is None where it is 0 or lost in rounding.  ``in_the_way``, (w, f), are
        pairs at the cone's border by earlier projections; they are returned with those of this one.
        """
        from scipy.optimize import nnls

        for _ in range(PROJECTIONS):
            v = total
            if in_the_way.size:
                try:
                    weights, _ = nnls(-in_the_way.T, total)
                except (RuntimeError, np.linalg.LinAlgError):  # too many iterations, or rounding
                    break
                v = total + weights @ in_the_way
                in_the_way = in_the_way[weights > 0]
            length = float(np.linalg.norm(v))
            if length <= ZERO + EPS * self.rows.n:
                break
            step = basis @ (v / length)
            margins = self._relative_margins(step).ravel()
            worst = np.argpartition(margins, min(BATCH, margins.size - 1))[:BATCH]
            worst = worst[margins[worst] < -ZERO]
            if not worst.size:
                return step, in_the_way
            in_the_way = np.concatenate([in_the_way, self._vectors(worst) @ basis])
        return None, in_the_way

    def _gram(self, weight: Array, among: Array) -> Array:
        """sum weight_ik m_ik m_ik' over some rows, (d, d), for weights (rows, K)."""
        K, r, rows = self.K, self.rows.r, self.rows

        def part(chunk: slice) -> tuple[Array]:
            grams = np.zeros((K, K, r, r))
            done = chunk.start
            for at, C in rows.blocks(among[chunk]):
                w, y = weight[done : done + at.size], self.y[at]
                done += at.size
                if K == 2:
                    grams[0, 1] += _grams(C, w.sum(axis=1, keepdims=True))[0]
                    continue
                for k in range(K):
                    grams[k] += _grams(C[y == k], w[y == k])
            return (grams,)

        work = among.size * (K - 1) * r * r
        (grams,) = cut(rows.objective.workers, part, among.size, work, (K * r) ** 2)
        grams += grams.transpose(1, 0, 2, 3)
        H = -grams.transpose(0, 2, 1, 3)
        for k in range(K):
            H[k, :, k] = grams[k].sum(axis=0)
        return H[1:, :, 1:].reshape(self.d, self.d)

    def _sum(self, weight: Array) -> Array:
        """sum weight_ik m_ik, (d,)."""
        total = np.zeros((self.K, self.rows.r))
        for at, C in self.rows.blocks():
            R = -weight[at]
            R[np.arange(R.shape[0]), self.y[at]] += weight[at].sum(axis=1)
            total += R.T @ C
        return total[1:].ravel()

    def _margins(self, step: Array, among: Array | None = None) -> Array:
        """m_ik . D, (n, K) or for some rows, for a step (d,)."""
        D = np.zeros((self.rows.r, self.K))
        D[:, 1:] = step.reshape(self.K - 1, self.rows.r).T
        Z = np.concatenate([C @ D for _, C in self.rows.blocks(among)])
        y = self.y if among is None else self.y[among]
        return np.take_along_axis(Z, y[:, None], axis=1) - Z

    def _relative_margins(self, step: Array) -> Array:
        """Margins over the lengths of c_i and of the step."""
        return self._margins(step / np.linalg.norm(step)) / self.rows.lengths[:, None]

    def _vectors(self, pairs: Array) -> Array:
        """m_ik over the length of c_i, (pairs, d), for pairs numbered i K + k."""
        i, k = np.divmod(pairs, self.K)
        C = self.rows.take(i) / self.rows.lengths[i, None]
        M = np.zeros((pairs.size, self.K, self.rows.r))
        M[np.arange(i.size), self.y[i]] = C
        M[np.arange(i.size), k] = -C
        return M[:, 1:].reshape(pairs.size, self.d)


def _grams(C: Array, weight: Array) -> Array:
    """sum_i weight_ik c_i c_i' for rows C (m, r) and weights (m, K): (K, r, r)."""
    r = C.shape[1]
    if r <= PACKED:
        products = (C[:, :, None] * C[:, None, :]).reshape(-1, r * r)
        return (weight.T @ products).reshape(-1, r, r)
    result = np.zeros((weight.shape[1], r, r))
    for gram, w in zip(result, weight.T, strict=True):
        if w.any():
            gram[:] = mirrored(add_square((C * np.sqrt(w)[:, None]).T))
    return result


def _solve(H: Array, total: Array) -> tuple[Array, bool]:
    """A solution v (d,) of H v = total, and whether H is certainly regular.

    Along directions in which H is flat, v is arbitrary.
    """
    diagonal = H.diagonal()
    scale = inverse_roots(diagonal, EPS * diagonal.max())
    scaled = H * scale[:, None] * scale
    norm, jitter, info = np.abs(scaled).sum(axis=0).max(), JITTER, 1
    while info and jitter < 1:
        L, info = lapack.dpotrf(scaled + jitter * np.eye(scale.size), lower=1)
        jitter *= 100
    v = scale * lapack.dpotrs(L, scale * total, lower=1)[0]
    return v, lapack.dpocon(L, norm, uplo="L")[0] > REGULAR
