"""A sparse X as the kernels take it, by rows and, transposed, by features."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from .._kernels.csr import csr_centred_squares, csr_product
from .._kernels.curvature import (
    couple_rows,
    csr_class_hessian,
    csr_gram,
    csr_support_hessian,
)
from .._kernels.transpose import transposed, transposed_centred
from .._threads import Workers
from .._typing import Array
from .chunks import (
    ROW_WORK,
    balanced_chunks,
    blocks_of,
    chunks_for,
    cut,
    read_only,
    worth_threads,
)
from .target import FEW_CLASSES, Target, one_hot, weights_by_class

HESSIAN_PARTS = 4  # in which one is made entry by entry: each reads all rows
BLOCK_ROWS = 2**14  # whose residuals stay in the cache while features gather them
ENTRIES_A_FEATURE = 8  # in a block of rows, at least: each costs a row of the gradient

_Arrays = tuple[Array, Array, Array]  # of a CSR matrix


class CSRDesign:
    """A sparse X in CSR format, and once more transposed, block of rows by block of rows.

    Parameters
    ----------
    X : csr_matrix or csr_array of shape (n, p)
        A copy is made where entries are not in order, or come in several parts.
    """

    def __init__(self, X: Any) -> None:
        if not X.has_canonical_format:  # kernels rely on one entry a feature, in order
            X = X.copy()
            X.sum_duplicates()
        self.X = X
        self.n, self.p = X.shape
        self._forward = _csr_arrays(X)
        self._single: dict[int, _Arrays] = {}

    def sweep(self, target: Target, W: Array, b: Array, workers: Workers) -> tuple[Array, ...]:
        """Loss, and its gradient by W and by b: rows forward, then features backward."""
        K = W.shape[0]
        Wt = np.empty((self.p, K))
        transposed(W, Wt)
        Z = np.empty((self.n, K))

        def forward(rows: slice) -> tuple[Array]:
            Z[rows] = b
            csr_product(*self._forward, rows.start, rows.stop, Wt, Z)
            return (target.residual(Z[rows], rows),)

        (loss,) = cut(workers, forward, self.n, self.work(K))
        g = Z.sum(axis=0)
        return loss, self._transposed_product(Z, g, np.zeros(self.p), workers), g

    @property
    def entries_a_row(self) -> float:
        """Stored numbers of a row, on average."""
        return float(self.X.nnz) / max(1, self.n)

    def work(self, K: int) -> int:
        """Multiplications in a sweep with K outputs."""
        return K * (2 * self.X.nnz + self.n * ROW_WORK)

    def _transposed_product(self, R: Array, g: Array, center: Array, workers: Workers) -> Array:
        """R' X - g center', (K, p), for R (n, K)."""
        Gt = np.empty((self.p, R.shape[1]), R.dtype)
        self.pull(R, Gt, lambda features: None, workers)
        G = np.empty(Gt.shape[::-1])
        transposed_centred(Gt, g, center, G)
        return G

    def pull(
        self, R: Array, Gt: Array, then: Callable[[slice], Any], workers: Workers
    ) -> list[Any]:
        """X' R into the first p rows of Gt, by ranges of features, each handed to ``then``."""
        Gt[: self.p] = 0.0

        def add(rows: slice, arrays: _Arrays, features: slice) -> None:
            own = self._as_precise_as(R, arrays)
            csr_product(*own, features.start, features.stop, R[rows], Gt)

        K = R.shape[1]
        self._each_block(add, K, workers)
        return workers.map(then, self.feature_ranges(K), self.threaded(K))

    def _each_block(
        self, add: Callable[[slice, _Arrays, slice], None], K: int, workers: Workers
    ) -> None:
        """Call ``add`` for all ranges of features with one block of rows, then with the next.

        So that a block's part of an (n, K) array comes from memory once.
        """
        ranges = self.feature_ranges(K)
        for block in self.blocks:
            workers.map(partial(add, *block), ranges, self.threaded(K))

    def push(
        self,
        target: Target,
        state: Callable[[slice], Array],
        Vt: Array,
        shift: Array,
        T: Array,
        workers: Workers,
    ) -> None:
        """Directions of residuals T (n, K) for one of logits, X Vt + shift."""
        by_rows = self._as_precise_as(T, self._forward)

        def forward(rows: slice) -> tuple[()]:
            T[rows] = shift
            csr_product(*by_rows, rows.start, rows.stop, Vt, T)
            couple_rows(state(rows), target.s[rows], target.softmax, T[rows])
            return ()

        cut(workers, forward, self.n, self.work(T.shape[1]))

    def feature_ranges(self, K: int) -> list[slice]:
        """Ranges of features with about equal numbers of entries."""
        return balanced_chunks(self._entries_before, chunks_for(self.work(K)))

    def threaded(self, K: int) -> bool:
        """Whether a sweep with K outputs is worth threads."""
        return worth_threads(self.work(K))

    @cached_property
    def entries(self) -> Array:
        """Stored numbers of each feature, (p,)."""
        return np.bincount(self.X.indices, minlength=self.p)

    @cached_property
    def _entries_before(self) -> Array:
        """Those of all features before each, (p + 1,)."""
        return np.append(0, np.cumsum(self.entries))

    @cached_property
    def blocks(self) -> list[tuple[slice, _Arrays]]:
        """Blocks of rows, and the arrays of each transposed.

        A feature gathers the residuals of its rows, which come from the cache in blocks: for X as
        a whole each would come from memory.
        """
        least = ENTRIES_A_FEATURE * self.p / max(1.0, self.entries_a_row)
        count = max(1, int(self.n / max(BLOCK_ROWS, least)))
        if count == 1:  # a slice would be a copy
            return [(slice(0, self.n), _csr_arrays(self.X.T.tocsr()))]
        ends = pairwise(self.n * block // count for block in range(count + 1))
        return [(slice(*rows), _csr_arrays(self.X[slice(*rows)].T.tocsr())) for rows in ends]

    @cached_property
    def columns(self) -> _Arrays:
        """The arrays of X transposed as a whole."""
        if len(self.blocks) == 1:
            return self.blocks[0][1]
        return _csr_arrays(self.X.T.tocsr())

    def _as_precise_as(self, vectors: Array, arrays: _Arrays) -> _Arrays:
        """Arrays of X, or of a block of it: of single precision where ``vectors`` are."""
        data, indices, indptr = arrays
        if vectors.dtype == np.float64 or data.dtype == np.float32:
            return arrays
        if id(data) not in self._single:
            self._single[id(data)] = read_only(data.astype(np.float32)), indices, indptr
        return self._single[id(data)]

    @cached_property
    def largest(self) -> float:
        """The largest entry's absolute value."""
        return float(np.abs(self.X.data).max(initial=0.0))

    def logits(self, rows: slice | Array, Wt: Array, b: Array) -> Array:
        """W x + b for a range of rows, or some rows, (m, K)."""
        if not isinstance(rows, slice):
            return np.asarray(self.X[rows] @ Wt + b)
        Z = np.empty((rows.stop - rows.start, b.size))
        Z[:] = b
        data, indices, indptr = self._forward
        own = indptr[rows.start : rows.stop + 1]
        csr_product(data, indices, own, 0, Z.shape[0], Wt, Z)
        return Z

    def squares(self, D: Array, center: Array, workers: Workers) -> Array:
        """sum_i d_ik (x_ij - center_j)^2, (K, p), for D (n, K)."""
        St = np.zeros((self.p, D.shape[1]))

        def add(rows: slice, arrays: _Arrays, features: slice) -> None:
            csr_centred_squares(*arrays, features.start, features.stop, center, D[rows], St)

        self._each_block(add, D.shape[1], workers)
        return np.maximum(St.T + np.outer(D.sum(axis=0), center**2), 0.0)

    def add_gram(self, rows: slice, D: Array, G: Array, sums: Array) -> None:
        """Add sum_i D[i] x_ij x_ir, r <= j, to G[j, r] and sum_i D[i] x_ij to sums[j]."""
        csr_gram(*self._forward, rows.start, rows.stop, D, G, sums)

    def support_hessian(self, first: Array, *arguments: Any, workers: Workers) -> Array:
        """Softmax's Hessian on some coordinates, over all rows; see `csr_support_hessian`."""
        size = int(first[-1])
        H = np.zeros((size, size))

        def some(ends: tuple[int, int]) -> None:
            csr_support_hessian(*self._forward, *ends, first, *arguments, H)

        workers.map(some, _parts(size), worth_threads(self.X.nnz * size))
        return H

    def class_hessians(
        self, support: Array, curvature: Array, least: Array, center: Array, workers: Workers
    ) -> list[Array]:
        """The outputs' own Hessians, each on its coordinates, a row of ``support`` (K, q).

        ``curvature`` (n, K), ``least`` (n,) and ``center`` (q,) are those of `csr_class_hessian`.
        """
        p, K = self.p, support.shape[0]

        def one(k: int) -> Array:
            own = support[k]
            places = np.where(own, np.cumsum(own) - 1, -1)[:p]
            H = np.zeros((own.sum(),) * 2)
            by_row = np.ascontiguousarray(curvature[:, k])
            csr_class_hessian(*self._forward, places, by_row, least, center[own], own.size > p, H)
            return H

        return workers.map(one, range(K), worth_threads(self.X.nnz * K))

    def curvature_product(
        self,
        target: Target,
        state: Callable[[slice], Array],
        V: Array,
        v: Array,
        center: Array,
        workers: Workers,
    ) -> tuple[Array, ...]:
        """A Hessian of the mean loss times a direction; see `DenseDesign.curvature_product`."""
        K, dtype = v.size, state(slice(0, 0)).dtype
        Vt = np.empty((self.p, K), dtype)
        transposed(V, Vt)
        T = np.empty((self.n, K), dtype)
        self.push(target, state, Vt, v - V @ center, T, workers)
        g = T.sum(axis=0, dtype=np.float64)
        return self._transposed_product(T, g, center, workers), g

    def row_blocks(self, rows: Array | slice, size: int) -> Iterator[tuple[Any, Array]]:
        """Blocks of at most ``size`` rows as dense float64 arrays, with their row numbers."""
        for block in blocks_of(rows, size):
            yield block, self.X[block].toarray().astype(np.float64, copy=False)

    def native_blocks(self) -> Iterator[tuple[slice, Any]]:
        """All rows, fit for ``X @ B`` and ``X.T @ C``."""
        yield slice(0, self.n), self.X.astype(np.float64, copy=False)

    def class_sums(self, y: Array, s: Array, n_classes: int) -> Array:
        """sum_i s_i [y_i = k] x_i, (n_classes, p)."""
        if n_classes > FEW_CLASSES:
            return np.asarray((one_hot(y, s, n_classes).T @ self.X).toarray())
        sums = np.zeros((self.p, n_classes))
        weights = weights_by_class(y, s, n_classes)
        for rows, arrays in self.blocks:
            csr_product(*arrays, 0, self.p, weights[rows], sums)
        return np.ascontiguousarray(sums.T)

    def moments(self, s: Array) -> tuple[Array, Array]:
        """sum_i s_i x_i and sum_i s_i x_i^2, each (p,)."""
        ((_, X),) = self.native_blocks()
        return X.T @ s, self._squares().T @ s

    def _squares(self) -> Any:
        """The squares of all entries, as a matrix that shares the indices of X."""
        data, indices, indptr = self._forward
        squares = np.square(data, dtype=np.float64)
        return sparse.csr_array((squares, indices, indptr), shape=self.X.shape)

    def squared_distances(self, center: Array, weight: Array) -> Array:
        """sum_j weight_j (x_ij - center_j)^2 for each row, (n,)."""
        ((_, X),) = self.native_blocks()
        squares = self._squares() @ weight - 2 * (X @ (weight * center))
        return np.maximum(squares + center**2 @ weight, 0.0)

    def take_rows(self, rows: Array) -> "CSRDesign":
        return CSRDesign(self.X[rows])

    def take_features(self, features: Array) -> "CSRDesign":
        return CSRDesign(self.X[:, features])


def _csr_arrays(X: Any) -> tuple[Array, Array, Array]:
    return read_only(X.data), read_only(X.indices), read_only(X.indptr)


def _parts(size: int) -> list[tuple[int, int]]:
    """Ranges of ``size`` coordinates or outputs of a Hessian."""
    parts = min(HESSIAN_PARTS, max(1, size))
    return list(pairwise(size * part // parts for part in range(parts + 1)))
