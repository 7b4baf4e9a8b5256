"""Hessians of the mean loss.

They are in the variables (coef, intercept + coef @ center), in which rows are centred: a feature
far from 0 is then not nearly collinear with the intercept.
"""

from functools import cached_property

import numpy as np
from scipy.linalg import blas

from .._design.chunks import BUFFER_BYTES, block_rows, blocks_of, cut
from .._design.csr import CSRDesign
from .._kernels.hessian import assemble, dense_gram, dense_hessian
from .._typing import Array
from .outputs import Outputs

GRAM_ROWS = 512  # in a block that is multiplied with itself
TILED = 16  # entries of a Hessian while a multiplication is made elsewhere
SCATTER = 3  # multiplications that take the time of one added to a scattered place
SPARSE = 0.2  # of the entries of a CSR matrix: below, its Hessian is made entry by entry
WEIGHTS = 2**15  # of a block's rows and pairs of outputs
FEWEST_ROWS = 512  # in it
STEADY = 1e-6  # variance over squared mean, from which features may be centred after sums


class Hessians(Outputs):
    """Whole Hessians, or an output's own blocks of them."""

    def hessian(
        self,
        point: Array,
        rows: Array | None = None,
        scale: Array | None = None,
        single: bool = False,
    ) -> Array:
        """Hessian of the mean loss in the variables (coef, intercept + coef @ center).

        Parameters
        ----------
        point : ndarray of shape (K, q)
        rows : ndarray of shape (r,), int, or None
            The rows that stand for all, each weighted ``scale`` times; None: all rows.
        scale : ndarray of shape (r,)
        single : bool, default=False
            Whether seven digits are enough.

        Returns
        -------
        H : ndarray of shape (1, K q, K q) if coupled, (K, q, q) else
        """
        K, q = self.K, self.q
        if isinstance(self.design, CSRDesign) and rows is None and self._scatters:
            grams = self._sparse_grams(point, self.design)
        else:
            grams = self._grams(point, rows, scale, single=single)
        H = np.empty((1, K * q, K * q) if self.coupled else (K, q, q))
        assemble(grams, self.coupled, H)
        return H

    def class_hessians(self, point: Array, single: bool = False) -> Array:
        """The diagonal blocks of `hessian`, one an output: (K, q, q)."""
        H = np.empty((self.K, self.q, self.q))
        assemble(self._grams(point, None, None, by_class=True, single=single), False, H)
        return H

    def class_curvature(self, point: Array, rows: Array) -> Array:
        """Second derivatives of some rows' weighted loss by each logit: (K, r)."""
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)
        result = np.empty((self.K, rows.size))

        def fill(chunk: slice) -> tuple[()]:
            for at in blocks_of(chunk, 1024):
                raw = self.design.logits(rows[at], Wt, intercept)
                P = self._probability(np.ascontiguousarray(raw.T))
                result[:, at] = self._weights(rows[at]) * P * (1 - P)
            return ()

        work = rows.size * self.p * self.K
        cut(self.workers, fill, rows.size, work)
        return result

    def gram(self, rows: Array, weight: Array) -> Array:
        """sum_i weight_i a_i a_i' over some rows, a_i centred and augmented: (q, q)."""
        total, H = np.zeros((1, self.q, self.q)), np.empty((1, self.q, self.q))
        done = 0
        for _, X in self._contiguous_blocks(rows):
            block = block_rows(self.q, X.shape[0])
            chosen = slice(done, done + X.shape[0])
            dense_gram(X, self.center, weight[chosen], block, total[0])
            done = chosen.stop
        assemble(total, False, H)
        return H[0]

    def _grams(
        self,
        point: Array,
        rows: Array | None,
        scale: Array | None,
        by_class: bool = False,
        single: bool = False,
    ) -> Array:
        """Sums of d_pair a a' over rows: (pairs, q, q), of which the upper triangles count.

        ``by_class``: of the pairs k = k alone.  The next call may overwrite the result.
        """
        q, n_pairs = self.q, self.K if by_class else self.n_pairs
        W = self._centred_point(point)
        if single:
            W = W.astype(np.float32)

        def part(chunk: slice) -> tuple[Array]:
            total = self._sums_of(chunk, (n_pairs, q, q))
            for X, weight in self._weighted_blocks(chunk, rows, scale):
                block = block_rows(q, X.shape[0])
                dense_hessian(X, self.center, weight, W, self.coupled, by_class, block, total)
            return (total,)

        n = self.design.n if rows is None else rows.size
        self._forget_sums((n_pairs, q, q))
        return cut(self.workers, part, n, n * n_pairs * q * q // TILED, n_pairs * q * q)[0]

    def _sums_of(self, chunk: slice, shape: tuple[int, ...]) -> Array:
        """Zeros for a chunk's sums, in the same memory each time: new memory is slow."""
        key = chunk.start, shape
        if key not in self._sums:
            self._sums[key] = np.empty(shape)
        total = self._sums[key]
        total[:] = 0.0
        return total

    def _forget_sums(self, shape: tuple[int, ...]) -> None:
        """Let go of the memory for sums of other shapes."""
        for key in [key for key in self._sums if key[1] != shape]:
            del self._sums[key]

    @cached_property
    def _sums(self) -> dict[tuple[int, tuple[int, ...]], Array]:
        return {}

    @cached_property
    def _scatters(self) -> bool:
        """Whether a CSR matrix is so sparse that its Hessian is best made entry by entry."""
        design, n, p = self.design, self.design.n, self.design.p
        assert isinstance(design, CSRDesign)
        few = design.X.nnz <= SPARSE * n * p and p * p * self.n_pairs <= BUFFER_BYTES // 8
        return few and self.steady

    @cached_property
    def steady(self) -> bool:
        """Whether features may be centred after the summation.

        Those with a mean far beyond their spread do not forgive that.
        """
        if not self.center.any():
            return True
        first, second = self.moments
        total = self.target.s.sum()
        return bool((second / total >= (1 + STEADY) * (first / total) ** 2).all())

    def _sparse_grams(self, point: Array, design: CSRDesign) -> Array:
        """`_grams` as (pairs, q, q), from the products of a CSR matrix's entries."""
        p, q, n_pairs = self.p, self.q, self.n_pairs
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)

        def part(rows: slice) -> tuple[Array, Array, Array]:
            gram = np.zeros((p, p, n_pairs))
            first, total = np.zeros((p, n_pairs)), np.zeros(n_pairs)
            for block in blocks_of(rows, max(FEWEST_ROWS, WEIGHTS // n_pairs)):
                P = self._probability(np.ascontiguousarray(design.logits(block, Wt, intercept).T))
                D = np.ascontiguousarray(self._pair_weights(P, self._weights(block)).T)
                design.add_gram(block, D, gram, first)
                total += D.sum(axis=0)
            return gram, first, total

        work = SCATTER * design.X.nnz**2 // max(1, design.n) * n_pairs
        gram, first, total = cut(self.workers, part, design.n, work, p * p * n_pairs)
        grams = np.empty((n_pairs, q, q))
        c = self.center
        for pair in range(n_pairs):
            lower = gram[:, :, pair]
            outer = np.outer(first[:, pair], c)
            grams[pair, :p, :p] = np.tril(lower) + np.tril(lower, -1).T - outer - outer.T
            grams[pair, :p, :p] += total[pair] * np.outer(c, c)
            if q > p:
                grams[pair, p, :p] = grams[pair, :p, p] = first[:, pair] - total[pair] * c
                grams[pair, p, p] = total[pair]
        return grams

    def uncertainty(self, point: Array, rows: Array | None, scale: Array | None) -> Array:
        """Covariance of the features, each row weighted by ``sum_k p_k (1 - p_k)``: (p, p)."""

        def part(chunk: slice) -> tuple[Array]:
            total = np.zeros((self.p, self.p), order="F")
            chosen = chunk if rows is None else rows[chunk]
            scales = None if scale is None else scale[chunk]
            for A, P, weight in self.curvature_blocks(point, chosen, scales, GRAM_ROWS):
                root = np.sqrt((weight * P * (1 - P)).sum(axis=0))
                total = add_square(A[: self.p] * root, total)
            return (mirrored(total),)

        n = self.design.n if rows is None else rows.size
        return cut(self.workers, part, n, n * self.p**2, self.p**2)[0]


def add_square(A: Array, total: Array | None = None) -> Array:
    """The upper triangle of ``total + A A'``, in half the operations of a general product.

    In single precision where A is.

    ``total`` : ndarray of shape (q, q) in Fortran order, overwritten; None: 0.
    """
    if not A.size:
        return np.zeros((A.shape[0],) * 2) if total is None else total
    syrk = blas.ssyrk if A.dtype == np.float32 else blas.dsyrk
    by_rows = A.flags.c_contiguous
    a = A.T if by_rows else A
    if total is None:
        return syrk(1.0, a, trans=by_rows)
    return syrk(1.0, a, trans=by_rows, beta=1.0, c=total, overwrite_c=1)


def mirrored(upper: Array) -> Array:
    """The symmetric matrix of an upper triangle."""
    return np.triu(upper) + np.triu(upper, 1).T
