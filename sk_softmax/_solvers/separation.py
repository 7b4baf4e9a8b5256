"""Which classes are separated, so that without a penalty the coefficients have no finite optimum.

A pair is a row i and a class k other than its own.  Along a step D (K, q) the logits of the two
move apart by the pair's margin

    m_ik . D = (D_{y_i} - D_k) . (x_i, 1) .

F has a minimum unless there is a direction of recession: a D along which no margin falls and some
margin grows; its pairs gain for ever.  One-vs-all problems and two classes are the case of two
classes with D_0 = 0.  By Stiemke's lemma there is no such D if and only if there are weights
u_ik > 0 with sum_ik u_ik m_ik = 0, and the optimum knows some: u_ik = s_i p_ik, for which the sum
is minus the gradient.  Hence two halves:

* Pairs that are bound.  Near the optimum the weights u_ik (1 - m_ik . v) sum to 0 exactly, where v
  is the Newton step for the pairs in question alone.  If they are positive, no direction of
  recession moves any of these pairs.  Usually all pairs whose u is not tiny are bound, and leave
  no direction: a finite optimum is proven, often by a sample of the rows (more rows leave fewer
  directions).
* The other pairs, in the space of directions that the bound ones leave.  The projection of their
  sum on the cone of the D without a negative margin is 0 if none can gain, and a direction of
  recession else.  It comes from non-negative least squares, on the pairs that get in the way.
  What does not gain is projected again, until the sum of the directions moves all that can move.

Rows are taken in coordinates c_i with sum_i c_i c_i' = I, where neither units nor features that are
collinear matter, and margins are relative to the length of c_i.

References
----------
Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic
regression models".
Konis (2007), "Linear programming algorithms for detecting separated data in binary logistic
regression models".
Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
"""

from collections.abc import Iterator

import numpy as np
from scipy.linalg import lapack

from .._design import blocks_of, cut
from .._factor import SINGULAR
from .._objective import Objective
from .._preconditioner import CONSTANT, TINY, factorable, stratified_rows
from .._typing import Array
from .row_space import LARGEST_BASIS

EPS = float(np.finfo(float).eps)
ROWS = 2048  # in a block
KEPT = 2**22  # entries of all rows' coordinates that are kept
SAMPLE = 50  # rows a coordinate that prove a finite optimum if there is one
SMALLEST_SAMPLE = 2000
SURE = 1e-6  # of the largest u: pairs whose weight is too small to count on
HALF = 0.5  # of its weight that a bound pair must keep
ROUNDS = 8  # in which pairs are dropped until the others are bound
REGULAR = 1e-10  # inverse condition number of a matrix that certainly is not singular
FLAT = 1e-12  # of the largest eigenvalue: directions that move no bound pair
ZERO = 1e-7  # relative margins that are 0 up to rounding
BATCH = 1000  # pairs that are added at a time to those that are in the way
PROJECTIONS = 100


def separated(objective: Objective, point: Array) -> list[Array]:
    """The classes that keep each problem from having a finite optimum.

    Softmax: the classes all of whose rows gain for ever against every other class; if there are
    none, those with a row that gains for ever.  One-vs-all: the problem's own class.

    Parameters
    ----------
    objective : Objective
        Without a penalty.
    point : ndarray of shape (K, q)
        Where a solver stopped.  The answer does not depend on it, the time it takes does.

    Returns
    -------
    codes : list of ndarray of int, one a problem
        Empty where there is a finite optimum.  If problems are too large for a Hessian, empty
        also where less than all rows gain.
    """
    n, m = objective.design.n, objective.n_problems
    classes = objective.K if objective.coupled else 2
    size = (classes - 1) * min(objective.q, n)
    fits = factorable(size) and (n >= objective.q or n * objective.q <= LARGEST_BASIS)
    left = list(range(m))
    wanted = max(SMALLEST_SAMPLE, SAMPLE * size)
    if fits and n >= 2 * wanted:
        sample = _Rows(objective, *stratified_rows(objective, wanted, point))
        if sample.of_full_rank:
            left = [k for k in left if _Pairs(sample, point, k).free().size]
    result = [np.zeros(0, dtype=np.int64)] * m
    if not left:
        return result
    apart = objective.separates(point)
    rows = None
    for k in left:
        if apart[k]:
            result[k] = objective.target.columns[:] if objective.coupled else _own(objective, k)
        elif fits:
            rows = rows or _Rows(objective, np.arange(n), np.ones(n))
            pairs = _Pairs(rows, point, k)
            gains = pairs.gains(pairs.free())
            if objective.coupled:
                result[k] = _codes(pairs.y, gains)
            elif gains.any():
                result[k] = _own(objective, k)
    return result


def _own(objective: Objective, problem: int) -> Array:
    return objective.target.columns[problem : problem + 1]


def _codes(y: Array, gains: Array) -> Array:
    """Classes all of whose pairs gain, or else those with a pair that does; gains (n, K)."""
    lost = np.ones(gains.shape[1], dtype=bool)
    lost[y[gains.sum(axis=1) == gains.shape[1] - 1]] = False
    lost[y[gains.sum(axis=1) < gains.shape[1] - 1]] = True
    if lost.all():
        lost[y[gains.any(axis=1)]] = False
    return np.flatnonzero(~lost)


class _Rows:
    """Some rows in coordinates c_i, (r,), with sum_i c_i c_i' = I.

    Parameters
    ----------
    objective : Objective
    index : ndarray of shape (n,), int
    scale : ndarray of shape (n,)
        How many rows each one stands for.
    """

    def __init__(self, objective: Objective, index: Array, scale: Array) -> None:
        self.objective, self.index, self.scale = objective, index, scale
        self.n = index.size
        self._kept: Array | None = None
        if self.n < objective.q:
            self._kept = _orthonormal(self._augmented(slice(0, self.n)), self._noise)
            self.r = self._kept.shape[1]
        else:
            gram = objective.gram(index, np.ones(self.n))
            self._basis = _whitening(gram, self._noise)
            self.r = self._basis.shape[1]
            if self.n * self.r <= KEPT:
                self._kept = np.concatenate([C for _, C in self.blocks()])
        lengths = np.concatenate([np.linalg.norm(C, axis=1) for _, C in self.blocks()])
        self.lengths = np.where(lengths > 0, lengths, 1.0)

    @property
    def of_full_rank(self) -> bool:
        return self.r == self.objective.q

    @property
    def _noise(self) -> Array:
        """What rounding of its mean leaves of a constant feature's sum of squares, (q,)."""
        noise = np.zeros(self.objective.q)
        noise[: self.objective.p] = (CONSTANT * self.objective.center) ** 2 * self.n
        return noise

    def _augmented(self, at: Array | slice) -> Array:
        """Centred rows, with 1 where there is an intercept: (m, q)."""
        objective, rows = self.objective, self.index[at]
        A = np.ones((rows.size, objective.q))
        ((_, X),) = objective.design.row_blocks(rows, rows.size)
        np.subtract(X, objective.center, out=A[:, : objective.p])
        return A

    def take(self, at: Array | slice) -> Array:
        """c_i of some rows, (m, r)."""
        return self._augmented(at) @ self._basis if self._kept is None else self._kept[at]

    def blocks(self, chunk: slice | None = None) -> Iterator[tuple[slice, Array]]:
        """Ranges of rows, and their c_i."""
        for at in blocks_of(chunk or slice(0, self.n), ROWS):
            yield at, self.take(at)


def _whitening(gram: Array, noise: Array) -> Array:
    """B (q, r) with B' gram B = I, for as many directions as rounding leaves."""
    diagonal = np.where(gram.diagonal() > noise, gram.diagonal(), 0.0)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(gram * scale[:, None] * scale)
    kept = values > SINGULAR * scale.size * EPS
    return scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])


def _orthonormal(A: Array, noise: Array) -> Array:
    """Orthonormal basis (n, r) of the columns of a wide A (n, q)."""
    squares = (A * A).sum(axis=0)
    kept = squares > noise
    vectors, values, _ = np.linalg.svd(A[:, kept] / np.sqrt(squares[kept]), full_matrices=False)
    return vectors[:, values**2 > SINGULAR * kept.size * EPS]


class _Pairs:
    """The pairs of one problem.

    Arrays over pairs have shape (n, K), with nothing in a row's own class.  Steps D have shape
    (K, r), with D_0 = 0, and are (d,) without that, d = (K - 1) r.

    Parameters
    ----------
    rows : _Rows
    point : ndarray of shape (K, q)
    problem : int
    """

    def __init__(self, rows: _Rows, point: Array, problem: int) -> None:
        objective = rows.objective
        target = objective.target
        self.rows, self.coupled = rows, objective.coupled
        self.y = target.y[rows.index]
        if not self.coupled:
            self.y = (self.y == target.columns[problem]).astype(np.int64)
        self.K = objective.K if self.coupled else 2
        self.d = (self.K - 1) * rows.r
        self.others = np.ones((rows.n, self.K), dtype=bool)
        self.others[np.arange(rows.n), self.y] = False
        self.bound = self.others
        self.u = self._weights(point, problem)

    def _weights(self, point: Array, problem: int) -> Array:
        """u_ik = s_i p_ik, 0 for a row's own class."""
        rows, objective = self.rows, self.rows.objective
        target = objective.target
        coef, intercept = objective.split(point if self.coupled else point[problem : problem + 1])
        Wt = np.ascontiguousarray(coef.T)
        u = np.zeros((rows.n, self.K))
        for at in blocks_of(slice(0, rows.n), ROWS):
            index = rows.index[at]
            raw = objective.design.logits(index, Wt, intercept)
            if self.coupled:
                raw = np.exp(raw - raw.max(axis=1, keepdims=True))
                u[at] = raw / raw.sum(axis=1, keepdims=True)
            else:
                u[at, 1] = 1 / (1 + np.exp(-np.clip(raw[:, 0], -700, 700)))
                u[at, 0] = 1 / (1 + np.exp(np.clip(raw[:, 0], -700, 700)))
                u[at] *= target.side_weights(target.y[index])[:, problem, None]
            u[at] *= (target.s[index] * rows.scale[at])[:, None]
        u[~self.others] = 0.0
        return u

    def free(self) -> Array:
        """Orthonormal basis (d, f) of the directions that leave the bound pairs where they are."""
        bound = self.u > SURE * self.u.max()
        v: Array | None
        for _ in range(ROUNDS):
            H, total = self._system(np.where(bound, self.u, 0.0))
            v, regular = _solve(H, total)
            moved = np.where(bound, self._margins(v), 0.0)
            loose = moved > HALF
            if not loose.any():
                break
            # what gains for ever weighs less than what does not, once a solver has stopped
            bound &= ~loose
        else:
            bound[:] = False
        self.bound = bound
        if not bound.any():
            return np.eye(self.d)
        if regular:
            return np.zeros((self.d, 0))
        H, _ = self._system(bound / self.rows.lengths[:, None] ** 2)
        return _kernel(H)

    def _system(self, weight: Array) -> tuple[Array, Array]:
        """sum weight_ik m_ik m_ik', (d, d), and sum weight_ik m_ik, (d,)."""
        K, r, rows = self.K, self.rows.r, self.rows

        def part(chunk: slice) -> tuple[Array, Array]:
            grams, total = np.zeros((K, K, r, r)), np.zeros((K, r))
            for at, C in rows.blocks(chunk):
                w, y = weight[at], self.y[at]
                total += self._signed(w, y).T @ C
                for k in range(K):
                    own = slice(None) if K == 2 else y == k
                    for other in range(k + 1 if K == 2 else 0, K):
                        v = w[own].sum(axis=1) if K == 2 else w[own, other]
                        if v.any():
                            a, b = min(k, other), max(k, other)
                            grams[a, b] += (C[own] * v[:, None]).T @ C[own]
            return grams, total

        work = rows.n * (K - 1) * r * r
        grams, total = cut(rows.objective.workers, part, rows.n, work, (K * r) ** 2)
        grams += grams.transpose(1, 0, 2, 3)
        H = -grams.transpose(0, 2, 1, 3)
        for k in range(K):
            H[k, :, k] = grams[k].sum(axis=0)
        return H[1:, :, 1:].reshape(self.d, self.d), total[1:].ravel()

    def _signed(self, weight: Array, y: Array) -> Array:
        """R (m, K) with sum weight_ik m_ik = R' C."""
        R = -weight
        R[np.arange(y.size), y] += weight.sum(axis=1)
        return R

    def _margins(self, step: Array) -> Array:
        """m_ik . D, (n, K), for a step (d,)."""
        D = np.zeros((self.rows.r, self.K))
        D[:, 1:] = step.reshape(self.K - 1, self.rows.r).T
        Z = np.empty((self.rows.n, self.K))
        for at, C in self.rows.blocks():
            Z[at] = C @ D
        return np.take_along_axis(Z, self.y[:, None], axis=1) - Z

    def gains(self, basis: Array) -> Array:
        """The pairs that gain along a direction of recession in the span of ``basis`` (d, f)."""
        rest = self.others & ~self.bound
        gains = np.zeros_like(rest)
        if not basis.size:
            return gains
        direction = np.zeros(self.d)
        in_the_way = np.zeros((0, basis.shape[1]))
        while True:
            idle = rest & ~gains
            total = np.zeros((self.K, self.rows.r))
            weight = idle / self.rows.lengths[:, None]
            for at, C in self.rows.blocks():
                total += self._signed(weight[at], self.y[at]).T @ C
            step, in_the_way = self._project(basis, total[1:].ravel() @ basis, in_the_way)
            if step is None:
                return gains
            direction += step
            gains = rest & (self._relative_margins(direction) > ZERO)

    def _relative_margins(self, step: Array) -> Array:
        """Margins over the lengths of c_i and of the step."""
        length = max(float(np.linalg.norm(step)), 1e-300)
        return self._margins(step / length) / self.rows.lengths[:, None]

    def _project(self, basis: Array, total: Array, in_the_way: Array) -> tuple[Array | None, Array]:
        """Projection (d,) of basis times total on the cone of the D without a negative margin.

        None if it is 0, or lost in rounding.  ``in_the_way`` (w, f) are pairs that bound the cone
        where others of these projections ended; they are returned renewed.
        """
        from scipy.optimize import nnls

        allowed = ZERO + EPS * self.rows.n
        for _ in range(PROJECTIONS):
            v = total
            if in_the_way.size:
                try:
                    weights, _ = nnls(-in_the_way.T, total)
                except RuntimeError:  # too many iterations
                    return None, in_the_way
                v = total + weights @ in_the_way
                in_the_way = in_the_way[weights > 0]
            if np.linalg.norm(v) <= allowed:
                return None, in_the_way
            step = basis @ (v / np.linalg.norm(v))
            margins = np.where(self.others, self._relative_margins(step), 0.0).ravel()
            worst = np.argpartition(margins, min(BATCH, margins.size - 1))[:BATCH]
            worst = worst[margins[worst] < -ZERO]
            if not worst.size:
                return step, in_the_way
            added = self._vectors(worst) @ basis
            in_the_way = np.concatenate([in_the_way, added])
        return None, in_the_way

    def _vectors(self, pairs: Array) -> Array:
        """m_ik over the length of c_i, (pairs, d), for pairs numbered i K + k."""
        i, k = np.divmod(pairs, self.K)
        C = self.rows.take(i) / self.rows.lengths[i, None]
        M = np.zeros((pairs.size, self.K, self.rows.r))
        M[np.arange(i.size), self.y[i]] = C
        M[np.arange(i.size), k] = -C
        return M[:, 1:].reshape(pairs.size, self.d)


def _solve(H: Array, total: Array) -> tuple[Array, bool]:
    """A solution v (d,) of H v = total, and whether H is certainly regular."""
    diagonal = H.diagonal()
    scale = 1 / np.sqrt(np.maximum(diagonal, max(EPS * diagonal.max(), TINY)))
    scaled = H * scale[:, None] * scale
    L, info = lapack.dpotrf(scaled, lower=1)
    if info == 0 and lapack.dpocon(L, np.abs(scaled).sum(axis=0).max(), uplo="L")[0] > REGULAR:
        v, _ = lapack.dpotrs(L, scale * total, lower=1)
        return scale * v, True
    values, vectors = np.linalg.eigh(scaled)
    kept = values > SINGULAR * scale.size * EPS
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    return scale * (vectors @ (inverse * (vectors.T @ (scale * total)))), False


def _kernel(H: Array) -> Array:
    """Orthonormal basis (d, f) of the directions in which H is flat."""
    values, vectors = np.linalg.eigh(H)
    return vectors[:, values <= FLAT * values[-1]]
