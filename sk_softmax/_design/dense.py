"""A dense X as the kernels take it, whole or by rows."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .._kernels.dense import (
    dense_curvature_product,
    dense_probabilities,
    dense_sigmoid,
    dense_softmax,
    one_sigmoid,
)
from .._kernels.wide import wide_sigmoid, wide_softmax
from .._threads import Workers
from .._typing import Array
from .chunks import CACHED, LANES, ROW_WORK, block_rows, blocks_of, cut, read_only
from .target import FEW_CLASSES, Target, one_hot, weights_by_class

KERNEL_TYPES = (np.float64, np.float32)
UNTURNED = 16  # features from which loops over them suit a single output better
WIDE = 512  # features from which the same holds for several, while these all stay in the cache
BLOCK_BYTES = 2**18  # of rows brought to float64 at a time
PRODUCT_ROWS = 4096  # rows whose probabilities are made at a time, where they are not kept


class Arithmetic(NamedTuple):
    """In which precision a sweep is made, and what is taken from each row in it, (p,)."""

    dtype: Any
    center: Array


class DenseDesign:
    """A dense X, read in place whatever its order and dtype.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    """

    def __init__(self, X: Array) -> None:
        self.X = read_only(X)
        self.n, self.p = X.shape
        self._direct = for_kernels(X)
        self._arithmetic = Arithmetic(np.float64, np.zeros(self.p))
        self._step = max(1, min(1024, BLOCK_BYTES // (8 * max(1, self.p))))

    def sweep(self, target: Target, W: Array, b: Array, workers: Workers) -> tuple[Array, ...]:
        """Loss, and its gradient by W and by b, in one pass over X.

        Returns
        -------
        loss : ndarray of shape (1,) for softmax, (K,) else
        G : ndarray of shape (K, p)
        g : ndarray of shape (K,)
        """
        return self._swept(target, W, b, workers, self._arithmetic)

    def _swept(
        self, target: Target, W: Array, b: Array, workers: Workers, numbers: Arithmetic
    ) -> tuple[Array, ...]:
        K = W.shape[0]
        V = in_tiles(W, b).astype(numbers.dtype, copy=False)
        if self.wide(K) and V.dtype in (np.float64, self.X.dtype) and not numbers.center.any():
            return self._wide_sweep(target, V, K, workers)

        def part(chunk: slice) -> tuple[Array, Array]:
            G, loss = np.zeros(V.shape), np.zeros(1 if target.softmax else K)
            for rows, X, first in self._blocks(chunk):
                y, s = target.y[rows], target.s[rows].astype(numbers.dtype, copy=False)
                block = block_rows(self.p + 1, y.size)
                if target.softmax:
                    loss += dense_softmax(X, first, numbers.center, y, s, V, K, block, G)
                    continue
                sides = target.columns, target.positive, target.negative
                if K == 1 and self.p >= UNTURNED:
                    side = target.sides_of(0)
                    loss += one_sigmoid(X, first, y, s, *side, V, block, G)
                else:
                    dense_sigmoid(X, first, numbers.center, y, s, *sides, V, block, G, loss)
            return loss, G

        loss, G = cut(workers, part, self.n, self.work(K), V.size)
        return loss, G[:K, : self.p], G[:K, self.p]

    def wide(self, K: int) -> bool:
        """Whether rows are better not turned for K outputs."""
        return K > 1 and self.p >= WIDE and K * self.p <= CACHED

    def _wide_sweep(self, target: Target, V: Array, K: int, workers: Workers) -> tuple[Array, ...]:
        """`sweep` by the kernels that do not turn rows."""
        p = self.p
        V, v = np.ascontiguousarray(V[:, :p]), V[:, p].copy()
        block = max(LANES, CACHED // p // LANES * LANES)

        def part(chunk: slice) -> tuple[Array, ...]:
            G, g, loss = np.zeros(V.shape), np.zeros(v.size), np.zeros(1 if target.softmax else K)
            for rows, X, first in self._blocks(chunk):
                y, s = target.y[rows], target.s[rows].astype(V.dtype, copy=False)
                if target.softmax:
                    loss += wide_softmax(X, first, y, s, V, v, K, block, G, g)
                else:
                    sides = target.columns, target.positive, target.negative
                    wide_sigmoid(X, first, y, s, *sides, V, v, block, G, g, loss)
            return loss, G, g

        loss, G, g = cut(workers, part, self.n, self.work(K), V.size)
        return loss, G[:K], g[:K]

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
            yield block, read_only(scratch), 0

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
                result += weights_by_class(y[rows], s[rows], n_classes).T @ X
            else:
                result += one_hot(y[rows], s[rows], n_classes).T @ X
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


def for_kernels(X: Array) -> bool:
    """Whether kernels read X as it is."""
    return X.dtype in KERNEL_TYPES and X.flags.c_contiguous


def softmax_probabilities(X: Array, W: Array, b: Array) -> Array | None:
    """Softmax of W x + b for each row, (n, K), in X's dtype.

    None where logits overflow, and for X that is not `for_kernels`.
    """
    if not for_kernels(X):
        return None
    (n, p), K = X.shape, b.size
    result = np.empty((n, K), X.dtype)
    known = dense_probabilities(read_only(X), in_tiles(W, b), K, block_rows(p + 1, n), result)
    return result if known else None


def in_tiles(W: Array, b: Array) -> Array:
    """W (K, p) and b (K,) as (at least K, p + 1), filled up with 0 for kernels' tiles of 4."""
    K, p = W.shape
    V = np.zeros((K if K % 4 == 1 else K + -K % 4, p + 1))
    V[:K, :p], V[:K, p] = W, b
    return V
