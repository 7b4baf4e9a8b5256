"""The design X as the kernels take it: dense or CSR, whole or by rows.

Both classes have the same methods.  Sums over rows are made chunk by chunk; chunks depend on the
shape of X alone and their sums are added in order, so the number of threads changes no bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from ._kernels.csr import csr_centred_squares, csr_product
from ._kernels.curvature import couple_rows, csr_gram, csr_support_hessian
from ._kernels.dense import dense_curvature_product, dense_sigmoid, dense_softmax, one_sigmoid
from ._kernels.pointwise import sigmoid_residual, softmax_residual
from ._kernels.tiles import LANES
from ._kernels.transpose import transposed, transposed_centred
from ._threads import Workers
from ._typing import Array

KERNEL_TYPES = (np.float64, np.float32)
CACHED = 2**15  # entries of a block of rows that stay in the cache
FEWEST_ROWS, MOST_ROWS = 128, 512  # in it
UNTURNED = 16  # features from which loops over them suit a single output better
CHUNKS = 16  # at most: each needs a gradient of its own
CHUNK_WORK = 2**21  # multiplications in one, at least
ENTRY_WORK = 64  # multiplications that are worth an entry more of a result: new memory is slow
SUPPORT_PARTS = 4  # in which a Hessian on a support is made: each reads all rows
BUFFER_BYTES = 2**25  # for all chunks' gradients
BLOCK_BYTES = 2**18  # of rows brought to float64 at a time
FEW_CLASSES = 32  # up to which zeros cost less than a sparse product
PRODUCT_ROWS = 4096  # rows whose probabilities are made at a time, where they are not kept
WORTH = 2**23  # multiplications from which threads pay
ROW_WORK = 16  # multiplications that take the time of what else a row needs for an output


@dataclass(frozen=True)
class Target:
    """What the rows should be classified as, and how much each one counts.

    Attributes
    ----------
    y : ndarray of shape (n,), int64
        Class codes.
    s : ndarray of shape (n,), float64
        Row weights.
    columns : ndarray of shape (K,), int64
        The class behind each output.
    positive, negative : ndarray of shape (K,), float64 or None
        One-vs-all: the factor on a row's weight in problem k, for rows of class ``columns[k]``
        and for the others.  None: softmax.
    """

    y: Array
    s: Array
    columns: Array
    positive: Array | None = None
    negative: Array | None = None

    @property
    def softmax(self) -> bool:
        return self.positive is None

    @property
    def has_sides(self) -> bool:
        """Whether a row's weight depends on the problem."""
        if self.positive is None or self.negative is None:
            return False
        return bool((self.positive != 1).any() or (self.negative != 1).any())

    def side_weights(self, y: Array) -> Array:
        """One-vs-all: the factor on the weights of rows with codes ``y``, (rows, K)."""
        assert self.positive is not None
        assert self.negative is not None
        return np.where(y[:, None] == self.columns, self.positive, self.negative)

    def sides_of(self, k: int) -> tuple[int, float, float]:
        """One-vs-all: the class behind output k, and the factors on weights."""
        assert self.positive is not None
        assert self.negative is not None
        return self.columns[k], self.positive[k], self.negative[k]

    def take_outputs(self, outputs: Array) -> "Target":
        """The target of some of the one-vs-all problems."""
        assert self.positive is not None
        assert self.negative is not None
        return replace(
            self,
            columns=self.columns[outputs],
            positive=self.positive[outputs],
            negative=self.negative[outputs],
        )

    def residual(self, Z: Array, rows: slice) -> Array:
        """Turn logits Z into residuals in place; the loss, (1,) for softmax and (K,) else."""
        y, s = self.y[rows], self.s[rows]
        if self.softmax:
            return np.array([softmax_residual(Z, y, s)])
        loss = np.zeros(self.columns.size)
        sigmoid_residual(Z, y, s, self.columns, self.positive, self.negative, loss)
        return loss


class DenseDesign:
    """A dense X, read in place whatever its order and dtype.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    """

    def __init__(self, X: Array) -> None:
        self.X = X.view()
        self.X.flags.writeable = False  # one kernel signature for read-only and other input
        self.n, self.p = X.shape
        self._direct = X.dtype in KERNEL_TYPES and X.flags.c_contiguous
        self._step = max(1, min(1024, BLOCK_BYTES // (8 * max(1, self.p))))

    def sweep(self, target: Target, W: Array, b: Array, workers: Workers) -> tuple[Array, ...]:
        """Loss, and its gradient by W and by b, in one pass over X.

        Returns
        -------
        loss : ndarray of shape (1,) for softmax, (K,) else
        G : ndarray of shape (K, p)
        g : ndarray of shape (K,)
        """
        K, V = W.shape[0], in_tiles(W, b)

        def part(chunk: slice) -> tuple[Array, Array]:
            G, loss = np.zeros_like(V), np.zeros(1 if target.softmax else K)
            for rows, X, first in self._blocks(chunk):
                y, s = target.y[rows], target.s[rows]
                block = block_rows(self.p + 1, y.size)
                if target.softmax:
                    loss += dense_softmax(X, first, y, s, V, K, block, G)
                    continue
                sides = target.columns, target.positive, target.negative
                if K == 1 and self.p >= UNTURNED:
                    side = target.sides_of(0)
                    loss += one_sigmoid(X, first, y, s, *side, V, block, G)
                else:
                    dense_sigmoid(X, first, y, s, *sides, V, block, G, loss)
            return loss, G

        loss, G = cut(workers, part, self.n, self.work(K), V.size)
        return loss, G[:K, : self.p], G[:K, self.p]

    @property
    def entries_a_row(self) -> float:
        """Stored numbers of a row."""
        return float(self.p)

    def work(self, K: int) -> int:
        """Multiplications in a sweep with K outputs."""
        return self.n * K * (self.p + ROW_WORK)

    def squares(self, D: Array, center: Array, workers: Workers) -> Array:
        """sum_i d_ik (x_ij - center_j)^2, (K, p), for D (n, K)."""
        result = np.zeros((D.shape[1], self.p))
        for rows, X in self.native_blocks():
            result += D[rows].T @ np.square(X - center)
        return result

    def logits(self, rows: slice | Array, Wt: Array, b: Array) -> Array:
        """W x + b for a range of rows, or some rows, (m, K)."""
        return np.asarray(self.X[rows], dtype=np.float64) @ Wt + b

    def curvature_product(
        self,
        target: Target,
        state: Callable[[slice], Array],
        V: Array,
        v: Array,
        center: Array,
        workers: Workers,
    ) -> tuple[Array, ...]:
        """A Hessian of the mean loss times a direction, in one pass over X.

        Parameters
        ----------
        target : Target
        state : callable
            For a range of rows what `couple_rows` takes, (m, K).
        V, v : ndarray of shape (K, p) and (K,)
            The direction, in the coordinates in which rows are centred by ``center``.

        Returns
        -------
        G, g : ndarray of shape (K, p) and (K,)
        """

        K, direction = v.size, in_tiles(V, v)

        def part(chunk: slice) -> tuple[Array]:
            G = np.zeros_like(direction)
            for rows, X, first in self._blocks(chunk, PRODUCT_ROWS):
                s = target.s[rows]
                block = block_rows(self.p + 1, s.size)
                dense_curvature_product(
                    X, first, center, state(rows), s, target.softmax, direction, block, G
                )
            return (G,)

        (G,) = cut(workers, part, self.n, self.work(K), direction.size)
        return G[:K, : self.p], G[:K, self.p]

    def _blocks(self, rows: slice, size: int = 2**62) -> Iterator[tuple[slice, Array, int]]:
        """Blocks of rows, each with an array for the kernels and the number of its first row there.

        The array is X itself, where it is of their kind, else a copy of the block.
        """
        if self._direct:
            for block in blocks_of(rows, size):
                yield block, self.X, block.start
            return
        scratch = np.empty((self._step, self.p))
        for block in blocks_of(rows, self._step):
            np.copyto(scratch[: block.stop - block.start], self.X[block])
            view = scratch.view()
            view.flags.writeable = False
            yield block, view, 0

    def row_blocks(self, rows: Array | slice, size: int) -> Iterator[tuple[Any, Array]]:
        """Blocks of at most ``size`` rows as float64 arrays, with their row numbers."""
        for block in blocks_of(rows, size):
            yield block, np.asarray(self.X[block], dtype=np.float64)

    def native_blocks(self) -> Iterator[tuple[slice, Any]]:
        """Blocks of rows fit for ``X @ B`` and ``X.T @ C``."""
        for rows in blocks_of(slice(0, self.n), self._step):
            yield rows, np.asarray(self.X[rows], dtype=np.float64)

    def class_sums(self, y: Array, s: Array, n_classes: int) -> Array:
        """sum_i s_i [y_i = k] x_i, (n_classes, p)."""
        result = np.zeros((n_classes, self.p))
        for rows, X in self.native_blocks():
            if n_classes <= FEW_CLASSES:
                result += _weights_by_class(y[rows], s[rows], n_classes).T @ X
            else:
                result += _one_hot(y[rows], s[rows], n_classes).T @ X
        return result

    def moments(self, s: Array) -> tuple[Array, Array]:
        """sum_i s_i x_i and sum_i s_i x_i^2, each (p,)."""
        first, second = np.zeros((2, self.p))
        for rows, X in self.native_blocks():
            first += s[rows] @ X
            second += s[rows] @ (X * X)
        return first, second

    def squared_distances(self, center: Array, weight: Array) -> Array:
        """sum_j weight_j (x_ij - center_j)^2 for each row, (n,)."""
        result = np.empty(self.n)
        shift = center * weight
        for rows, X in self.native_blocks():
            result[rows] = np.square(X) @ weight - 2 * (X @ shift)
        return np.maximum(result + center @ shift, 0.0)

    def take_rows(self, rows: Array) -> "DenseDesign":
        return DenseDesign(self.X[rows])

    def take_features(self, features: Array) -> "DenseDesign":
        """The chosen columns, copied to C order."""
        return DenseDesign(np.ascontiguousarray(self.X[:, features], dtype=np.float64))


class CSRDesign:
    """A sparse X in CSR format, with its transpose as a second CSR matrix, made once.

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
        self._backward: tuple[Array, Array, Array] | None = None

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
        Gt = np.empty((self.p, R.shape[1]))
        self.pull(R, Gt, lambda features: None, workers)
        G = np.empty(Gt.shape[::-1])
        transposed_centred(Gt, g, center, G)
        return G

    def pull(
        self, R: Array, Gt: Array, then: Callable[[slice], Any], workers: Workers
    ) -> list[Any]:
        """X' R into the first p rows of Gt, by ranges of features, each handed to ``then``."""
        columns = self.columns()

        def backward(features: slice) -> Any:
            Gt[features] = 0.0
            csr_product(*columns, features.start, features.stop, R, Gt)
            return then(features)

        K = R.shape[1]
        return workers.map(backward, self.feature_ranges(K), self.threaded(K))

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

        def forward(rows: slice) -> tuple[()]:
            T[rows] = shift
            csr_product(*self._forward, rows.start, rows.stop, Vt, T)
            couple_rows(state(rows), target.s[rows], target.softmax, T[rows])
            return ()

        cut(workers, forward, self.n, self.work(T.shape[1]))

    def feature_ranges(self, K: int) -> list[slice]:
        """Ranges of features with about equal numbers of entries."""
        return _balanced_chunks(self.columns()[2], chunks_for(self.work(K)))

    def threaded(self, K: int) -> bool:
        """Whether a sweep with K outputs is worth threads."""
        return self.work(K) >= WORTH

    def columns(self) -> tuple[Array, Array, Array]:
        """The arrays of X transposed, made once."""
        if self._backward is None:
            self._backward = _csr_arrays(self.X.T.tocsr())
        return self._backward

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
        columns = self.columns()
        St = np.zeros((self.p, D.shape[1]))

        def backward(features: slice) -> None:
            csr_centred_squares(*columns, features.start, features.stop, center, D, St)

        K = D.shape[1]
        workers.map(backward, self.feature_ranges(K), self.threaded(K))
        return np.maximum(St.T + np.outer(D.sum(axis=0), center**2), 0.0)

    def add_gram(self, rows: slice, D: Array, G: Array, sums: Array) -> None:
        """Add sum_i D[i] x_ij x_ir, r <= j, to G[j, r] and sum_i D[i] x_ij to sums[j]."""
        csr_gram(*self._forward, rows.start, rows.stop, D, G, sums)

    def support_hessian(self, first: Array, *arguments: Any, workers: Workers) -> Array:
        """The Hessian on some coordinates, over all rows; see `csr_support_hessian`."""
        size = int(first[-1])
        H = np.zeros((size, size))
        parts = min(SUPPORT_PARTS, max(1, size))
        ends = [size * part // parts for part in range(parts + 1)]

        def some(ends: tuple[int, int]) -> None:
            csr_support_hessian(*self._forward, *ends, first, *arguments, H)

        workers.map(some, pairwise(ends), self.X.nnz * size >= WORTH)
        return H

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
        K = v.size
        Vt = np.empty((self.p, K))
        transposed(V, Vt)
        T = np.empty((self.n, K))
        self.push(target, state, Vt, v - V @ center, T, workers)
        g = T.sum(axis=0)
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
            return np.asarray((_one_hot(y, s, n_classes).T @ self.X).toarray())
        sums = np.zeros((self.p, n_classes))
        csr_product(*self.columns(), 0, self.p, _weights_by_class(y, s, n_classes), sums)
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


Design = DenseDesign | CSRDesign


def make_design(X: Any) -> Design:
    """The design of a validated X."""
    return CSRDesign(X) if sparse.issparse(X) else DenseDesign(X)


def block_rows(q: int, n: int) -> int:
    """Rows of q features that stay in the cache: whole vector registers, n of them in all.

    Not a multiple of many registers: one place of the cache would be taken by all features.
    """
    most = max(FEWEST_ROWS, min(MOST_ROWS, CACHED // max(1, q)))
    rows = -(-n // -(-n // most)) if n else 1
    rows += -rows % LANES
    return rows if rows % (8 * LANES) else rows + LANES


def in_tiles(W: Array, b: Array) -> Array:
    """W (K, p) and b (K,) as (at least K, p + 1), filled up with 0 for kernels' tiles of 4."""
    K, p = W.shape
    V = np.zeros((K if K % 4 == 1 else K + -K % 4, p + 1))
    V[:K, :p], V[:K, p] = W, b
    return V


def _one_hot(y: Array, s: Array, n_classes: int) -> Any:
    """Sparse (n, n_classes): s_i in column y_i."""
    return sparse.csr_array((s, y, np.arange(y.size + 1)), shape=(y.size, n_classes))


def _weights_by_class(y: Array, s: Array, n_classes: int) -> Array:
    """Dense (n, n_classes): s_i in column y_i."""
    weight = np.zeros((y.size, n_classes))
    weight[np.arange(y.size), y] = s
    return weight


def _csr_arrays(X: Any) -> tuple[Array, Array, Array]:
    views = []
    for array in (X.data, X.indices, X.indptr):
        view = array.view()
        view.flags.writeable = False
        views.append(view)
    return views[0], views[1], views[2]


def _balanced_chunks(indptr: Array, count: int) -> list[slice]:
    """Rows of a CSR matrix cut into ranges of about equal numbers of entries."""
    wanted = np.linspace(0, indptr[-1], count + 1)[1:-1]
    inner = np.searchsorted(indptr, wanted, side="left")
    cuts = [0, *inner.tolist(), indptr.size - 1]
    return [slice(lo, hi) for lo, hi in pairwise(cuts)]


def blocks_of(rows: Array | slice, size: int) -> Iterator[Any]:
    """A range of rows, or their numbers, cut into pieces of at most ``size``."""
    if isinstance(rows, slice):
        for start in range(rows.start, rows.stop, size):
            yield slice(start, min(start + size, rows.stop))
    else:
        for start in range(0, rows.size, size):
            yield rows[start : start + size]


def chunks_for(work: int, entries: int = 0) -> int:
    """How many parts so many multiplications are worth, with ``entries`` in each part's result."""
    entries = max(1, entries)
    by_memory = min(BUFFER_BYTES // (8 * entries), work // max(1, ENTRY_WORK * entries))
    return max(1, min(CHUNKS, work // CHUNK_WORK, by_memory))


def cut(
    workers: Workers,
    part: Callable[[slice], tuple[Array, ...]],
    n: int,
    work: int,
    entries: int = 0,
) -> tuple[Array, ...]:
    """Sums of what ``part`` returns for equal ranges of n rows, in their order.

    The ranges depend on the shape of the problem alone, so the number of threads changes no bit.

    Parameters
    ----------
    workers : Workers
    part : callable
        From a range of rows to a tuple of arrays.
    n : int
    work : int
        Multiplications, in all parts together.
    entries : int, default=0
        Of each part's result.
    """
    count = min(chunks_for(work, entries), max(1, n))
    ends = [n * c // count for c in range(count + 1)]
    ranges = [slice(lo, hi) for lo, hi in pairwise(ends)]
    parts = workers.map(part, ranges, work >= WORTH)
    total = parts[0]
    for other in parts[1:]:
        for into, array in zip(total, other, strict=True):
            into += array
    return total
