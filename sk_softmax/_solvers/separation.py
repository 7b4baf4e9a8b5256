"""Which classes are separated, so that without a penalty the coefficients have no finite optimum.

A pair is a row i and a class k other than its own.  Along a step D (K, q) the raw values of the two
classes move apart by the pair's margin

    m_ik . D = (D_{y_i} - D_k) . (x_i, 1) .

F has a minimum unless there is a direction of recession: a D along which no margin falls and some
margin grows; the pairs with such a margin gain for ever.  Two classes, or one against all others,
are the case K = 2 with D_0 = 0.  By Stiemke's lemma there is no such D if and only if there are
weights u_ik > 0 with sum_ik u_ik m_ik = 0, and the optimum knows some: u_ik = s_i p_ik, for which
the sum is minus the gradient.  Hence two halves:

* Pairs that are bound.  The weights u_ik (1 - m_ik . v) sum to 0 exactly where v is the Newton step
  for the pairs in question alone.  If they are positive, no direction of recession moves any of
  these pairs.  Usually the pairs whose u is not tiny are bound, and leave no direction at all: a
  finite optimum is proven.  A sample of the rows can do that: more rows leave fewer directions.
* The other pairs, in the space of directions that the bound ones leave.  The projection of their
  sum on the cone of the D without a negative margin is 0 if none can gain, and a direction of
  recession else.  It comes from non-negative least squares on the pairs that get in the way.  What
  does not gain is projected again, until the sum of the directions moves all that can move.

References
----------
Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic
regression models".
Konis (2007), "Linear programming algorithms for detecting separated data in binary logistic
regression models".
Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from .._curvature import add_square, mirrored
from .._design import blocks_of, cut
from .._factor import SINGULAR
from .._objective import Objective
from .._preconditioner import CONSTANT, TINY, factorable, stratified_rows
from .._typing import Array
from .row_space import LARGEST_BASIS

EPS = float(np.finfo(float).eps)
ROWS = 2048  # in a block
KEPT = 2**24  # entries of all rows' coordinates that are kept
SAMPLE = 20  # rows a coordinate that prove a finite optimum if there is one
SMALLEST_SAMPLE = 2000
PACKED = 32  # coordinates up to which a class's rows are multiplied with themselves once
SURE = 1e-6  # of the largest u: pairs that weigh enough to be counted on
KEEPS = 0.5  # of its u: what a bound pair must
ROUNDS = 8  # in which pairs are dropped until the others are bound
TRIES = 3  # of these on a sample
JITTER = 1e-12  # of the unit diagonal, on which flat directions may not make Cholesky fail
REGULAR = 1e-10  # inverse condition number of a matrix that certainly is not singular
FLAT = 1e-12  # of the largest eigenvalue: directions that move no bound pair
ZERO = 1e-7  # margins, relative to the lengths of row and step, that are 0 up to rounding
BATCH = 1000  # pairs found in the way at a time
PROJECTIONS = 100  # until all of them are found


def separated(objective: Objective, point: Array) -> list[Array]:
    """The classes that keep each problem from having a finite optimum.

    Softmax: the classes all of whose rows gain for ever against every other class; if there are
    none, those with a row that gains for ever against some other class.  One-vs-all and two
    classes: the class behind the output.

    Parameters
    ----------
    objective : Objective
        Without a penalty.
    point : ndarray of shape (K, q)
        Where a solver stopped.  What is found hardly depends on it, the time that takes does.

    Returns
    -------
    codes : list of ndarray of int, one a problem
        Empty where there is a finite optimum.  Softmax whose Hessian is too large is looked at
        class by class, each against all others; where that is too large as well, only what the
        point separates is found.
    """
    columns, coordinates = objective.target.columns, min(objective.q, objective.design.n)
    apart = objective.separates(point)
    if objective.coupled and apart[0]:
        return [columns]
    whole = objective.coupled and factorable((objective.K - 1) * coordinates)
    parts = (
        [None] if whole else [k for k in range(objective.K) if objective.coupled or not apart[k]]
    )
    small = objective.q <= objective.design.n or objective.q * objective.design.n <= LARGEST_BASIS
    gains = _gains(objective, point, parts) if factorable(coordinates) and small else {}
    if objective.coupled:
        return [_codes(objective.target.y, _of_all_classes(objective, gains))]
    return [
        columns[k : k + 1] if apart[k] or k in gains else columns[:0] for k in range(columns.size)
    ]


Part = int | None  # an output against all others; None: softmax


def _gains(objective: Objective, point: Array, parts: Sequence[Part]) -> dict[Part, Array]:
    """The pairs that gain in those of the ``parts`` that have a direction of recession."""
    n = objective.design.n
    outputs = objective.K - 1 if None in parts else 1
    wanted = max(SMALLEST_SAMPLE, SAMPLE * outputs * objective.q)
    everything = np.arange(n), np.ones(n)
    some = stratified_rows(objective, wanted, point) if n >= 2 * wanted else everything
    rows = _Rows(objective, *some, whiten=False)
    bound: dict[Part, Array | None] = {}
    for part in parts:
        pairs = _Pairs(rows, point, part)
        if not pairs.bind(TRIES):
            bound[part] = pairs.bound if some is everything and pairs.bound.any() else None
    if not bound:
        return {}
    rows = _Rows(objective, *everything, whiten=True)
    found = {part: _Pairs(rows, point, part).gains(those) for part, those in bound.items()}
    return {part: gains for part, gains in found.items() if gains.any()}


def _of_all_classes(objective: Objective, gains: dict[Part, Array]) -> Array:
    """The pairs of softmax that gain in some part, (n, K)."""
    y = objective.target.y
    result = np.zeros((y.size, objective.K), dtype=bool)
    for part, pairs in gains.items():
        if part is None:
            result |= pairs
        else:
            row = pairs.any(axis=1)
            result[:, part] |= row
            result[row & (y == part)] = True
    result[np.arange(y.size), y] = False
    return result


def _codes(y: Array, gains: Array) -> Array:
    """Classes all of whose pairs gain, or else those with a pair that does."""
    count = gains.sum(axis=1)
    least, most = np.full(gains.shape[1], gains.shape[1]), np.zeros(gains.shape[1], dtype=int)
    np.minimum.at(least, y, count)
    np.maximum.at(most, y, count)
    whole = np.flatnonzero(least == gains.shape[1] - 1)
    return whole if whole.size else np.flatnonzero(most)


class _Rows:
    """Some rows in coordinates c_i, (r,), in which neither units nor the intercept's place matter.

    Parameters
    ----------
    objective : Objective
    index : ndarray of shape (n,), int
    scale : ndarray of shape (n,)
        How many rows each one stands for.
    whiten : bool
        Whether sum_i c_i c_i' = I, so that collinear features do not matter either; or features
        are just scaled.
    """

    def __init__(self, objective: Objective, index: Array, scale: Array, whiten: bool) -> None:
        self.objective, self.index, self.scale = objective, index, scale
        self.n = index.size
        self._basis: Array | None = None  # (q,) or (q, r)
        self._kept: Array | None = None  # (n, r)
        if not whiten:
            squares = sum((A * A).sum(axis=0) for _, A in self.blocks())
            self._basis = 1 / np.sqrt(np.where(squares > self._noise, squares, np.inf))
        elif self.n < objective.q:
            self._kept = _orthonormal(self.take(slice(0, self.n)), self._noise)
        else:
            self._basis = _whitening(objective.gram(index, np.ones(self.n)), self._noise)
        if self._basis is not None and self.n * self._basis.shape[-1] <= KEPT:
            self._kept = np.concatenate([C for _, C in self.blocks()])
        self.r = (self._basis if self._kept is None else self._kept).shape[-1]

    @property
    def _noise(self) -> Array:
        """What rounding of its mean leaves of a constant feature's sum of squares, (q,)."""
        noise = np.zeros(self.objective.q)
        noise[: self.objective.p] = (CONSTANT * self.objective.center) ** 2 * self.n
        return noise

    @cached_property
    def lengths(self) -> Array:
        """Of the c_i, (n,); 1 for 0."""
        lengths = np.concatenate([np.linalg.norm(C, axis=1) for _, C in self.blocks()])
        return np.where(lengths > 0, lengths, 1.0)

    def take(self, at: Array | slice) -> Array:
        """c_i of some rows, (m, r)."""
        if self._kept is not None:
            return self._kept[at]
        objective, rows = self.objective, self.index[at]
        A = np.ones((rows.size, objective.q))
        for _, X in objective.design.row_blocks(rows, rows.size):
            np.subtract(X, objective.center, out=A[:, : objective.p])
        if self._basis is None:
            return A
        return A * self._basis if self._basis.ndim == 1 else A @ self._basis

    def blocks(self, chunk: slice | None = None) -> Iterator[tuple[slice, Array]]:
        """Ranges of rows, and their c_i."""
        for at in blocks_of(chunk or slice(0, self.n), ROWS):
            yield at, self.take(at)


def _whitening(gram: Array, noise: Array) -> Array:
    """B (q, r) with B' gram B = I, for as many directions as rounding leaves."""
    diagonal = np.where(gram.diagonal() > noise, gram.diagonal(), np.inf)
    scale = 1 / np.sqrt(diagonal)
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
    """The pairs of softmax, or of one output's class against all others.

    Arrays over pairs have shape (n, K), with nothing in a row's own class.  Steps D have shape
    (K, r) with D_0 = 0, and (d,) without that, d = (K - 1) r.

    Parameters
    ----------
    rows : _Rows
    point : ndarray of shape (K, q)
    part : int or None
    """

    def __init__(self, rows: _Rows, point: Array, part: Part) -> None:
        target = rows.objective.target
        self.rows = rows
        self.y = target.y[rows.index]
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
            R = objective.design.logits(rows.index[at], Wt, intercept)
            objective.target.residual(R, rows.index[at])
            size = np.abs(R) if part is None else np.abs(R[:, part, None])
            np.multiply(size, rows.scale[at, None], out=u[at])
        return np.where(self.others, u, 0.0)

    def bind(self, rounds: int = ROUNDS, bound: Array | None = None) -> bool:
        """Find the pairs that are `bound`; whether they leave no direction of recession at all.

        ``bound`` : ndarray of shape (n, K), the pairs to begin with.
        """
        self.bound = self.u > SURE * self.u.max() if bound is None else bound
        for _ in range(rounds):
            H, total = self._system(np.where(self.bound, self.u, 0.0))
            v, regular = _solve(H, total)
            loose = self.bound & (self._margins(v) > 1 - KEEPS)
            if not loose.any():
                return regular
            self.bound = self.bound & ~loose
        self.bound = np.zeros_like(self.others)
        return False

    def gains(self, bound: Array | None = None) -> Array:
        """The pairs that gain along a direction of recession; ``bound`` as in `bind`."""
        gains = np.zeros_like(self.others)
        if self.bind(bound=bound):
            return gains
        basis = self._free()
        step, in_the_way = np.zeros(self.d), np.zeros((0, basis.shape[1]))
        while True:
            total = self._sum((self.others & ~self.bound & ~gains) / self.rows.lengths[:, None])
            more, in_the_way = self._project(basis, total @ basis, in_the_way)
            if more is None:
                return gains
            step += more
            gains = ~self.bound & (self._relative_margins(step) > ZERO)

    def _free(self) -> Array:
        """Orthonormal basis (d, f) of the directions that leave the bound pairs where they are."""
        if not self.bound.any():
            return np.eye(self.d)
        H, _ = self._system(self.bound / self.rows.lengths[:, None] ** 2)
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
                except RuntimeError:  # too many iterations
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

    def _system(self, weight: Array) -> tuple[Array, Array]:
        """sum weight_ik m_ik m_ik', (d, d), and sum weight_ik m_ik, (d,)."""
        K, r, rows = self.K, self.rows.r, self.rows

        def part(chunk: slice) -> tuple[Array]:
            grams = np.zeros((K, K, r, r))
            for at, C in rows.blocks(chunk):
                if K == 2:
                    grams[0, 1] += _grams(C, weight[at].sum(axis=1, keepdims=True))[0]
                    continue
                for k in range(K):
                    own = self.y[at] == k
                    grams[k] += _grams(C[own], weight[at][own])
            return (grams,)

        work = rows.n * (K - 1) * r * r
        (grams,) = cut(rows.objective.workers, part, rows.n, work, (K * r) ** 2)
        grams += grams.transpose(1, 0, 2, 3)
        H = -grams.transpose(0, 2, 1, 3)
        for k in range(K):
            H[k, :, k] = grams[k].sum(axis=0)
        return H[1:, :, 1:].reshape(self.d, self.d), self._sum(weight)

    def _sum(self, weight: Array) -> Array:
        """sum weight_ik m_ik, (d,)."""
        total = np.zeros((self.K, self.rows.r))
        for at, C in self.rows.blocks():
            R = -weight[at]
            R[np.arange(R.shape[0]), self.y[at]] += weight[at].sum(axis=1)
            total += R.T @ C
        return total[1:].ravel()

    def _margins(self, step: Array) -> Array:
        """m_ik . D, (n, K), for a step (d,)."""
        D = np.zeros((self.rows.r, self.K))
        D[:, 1:] = step.reshape(self.K - 1, self.rows.r).T
        Z = np.concatenate([C @ D for _, C in self.rows.blocks()])
        return np.take_along_axis(Z, self.y[:, None], axis=1) - Z

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
    scale = 1 / np.sqrt(np.maximum(diagonal, max(EPS * diagonal.max(), TINY)))
    scaled = H * scale[:, None] * scale
    norm, jitter, info = np.abs(scaled).sum(axis=0).max(), JITTER, 1
    while info and jitter < 1:
        L, info = lapack.dpotrf(scaled + jitter * np.eye(scale.size), lower=1)
        jitter *= 100
    v = scale * lapack.dpotrs(L, scale * total, lower=1)[0]
    return v, lapack.dpocon(L, norm, uplo="L")[0] > REGULAR
