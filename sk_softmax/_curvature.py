"""Second derivatives of the mean loss: Hessians, parts of them, products with them.

Hessians are in the variables (coef, intercept + coef @ center), in which rows are centred: a
feature far from 0 is then not nearly collinear with the intercept.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import blas

from ._design.chunks import BUFFER_BYTES, MOST_ROWS, block_rows, blocks_of, cut, read_only
from ._design.csr import CSRDesign
from ._design.make import Design
from ._design.target import Target
from ._kernels.columns import class_products, sigmoid_columns, softmax_columns
from ._kernels.curvature import fold_and_centre
from ._kernels.hessian import assemble, dense_gram, dense_hessian, dense_support_hessian
from ._kernels.tiles import centred_columns
from ._threads import Workers
from ._typing import Array

FEW_FEATURES = 128  # up to here a support's Hessian may be cut out of the whole one
MOSTLY = 0.7  # of the coordinates, from which that is worth it
BLOCK_ENTRIES = 2**17  # of X brought to float64 at a time
GRAM_ROWS = 512  # in a block that is multiplied with itself
TILED = 16  # entries of a Hessian while a multiplication is made elsewhere
STORED = 2**22  # probabilities of a dense X's rows that are kept, at most
SCATTER = 3  # multiplications that take the time of one added to a scattered place
SPARSE = 0.2  # of the entries of a CSR matrix: below, its Hessian is made entry by entry
STEADY = 1e-6  # variance over squared mean, from which sparse features are centred afterwards


class Curvature:
    """Outputs, features and second derivatives of `Objective`, which inherits them.

    Its docstring says what the attributes are.
    """

    design: Design
    target: Target
    fit_intercept: bool
    center: Array
    workers: Workers

    @property
    def coupled(self) -> bool:
        return self.target.softmax

    @property
    def K(self) -> int:
        return self.target.columns.size

    @property
    def p(self) -> int:
        return self.design.p

    @property
    def q(self) -> int:
        return self.p + self.fit_intercept

    @property
    def hessian_size(self) -> int:
        """Rows of a problem's Hessian."""
        return self.K * self.q if self.coupled else self.q

    @property
    def groups(self) -> list[slice]:
        """The outputs of each problem."""
        return [slice(0, self.K)] if self.coupled else [slice(k, k + 1) for k in range(self.K)]

    def split(self, point: Array) -> tuple[Array, Array]:
        """coef (K, p) and intercept (K,), both contiguous."""
        intercept = point[:, self.p].copy() if self.fit_intercept else np.zeros(point.shape[0])
        return np.ascontiguousarray(point[:, : self.p]), intercept

    @property
    def n_pairs(self) -> int:
        """Pairs k <= l of outputs whose coefficients share curvature; without coupling k = l."""
        return self.K * (self.K + 1) // 2 if self.coupled else self.K

    def _weights(self, block: Any) -> Array:
        """s_ik for the rows of a block: (K, m), or (1, m) where all k have the same."""
        s = self.target.s[block]
        if not self.target.has_sides:
            return s[None]
        return s * self.target.side_weights(self.target.y[block]).T

    def curvature_blocks(
        self, point: Array, rows: Array | slice, scale: Array | None, size: int
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Blocks of (centred features (q, m), probabilities (K, m), weights (1 or K, m)).

        The features are centred by `center` and end in ones where there is an intercept.
        ``scale`` multiplies the weights of the chosen ``rows``.
        """
        augmented = self._centred_point(point)
        for X, weight in self._with_weights(self.design.row_blocks(rows, size), scale):
            A = np.empty((self.q, X.shape[0]))
            self.centre_into(X, A)
            yield A, self._probability(augmented @ A), weight

    def _centred_point(self, point: Array) -> Array:
        """The point (K, q) in the coordinates in which rows are centred."""
        coef, intercept = self.split(point)
        columns = np.column_stack([coef, intercept + coef @ self.center])
        return np.ascontiguousarray(columns[:, : self.q])

    def centre_into(self, X: Array, A: Array) -> None:
        """Write rows X (m, p) as columns of A (q, at least m), 0 beyond them.

        The features are centred by `center` and end in ones where there is an intercept.
        """
        centred_columns(in_order(X), 0, X.shape[0], self.center, A)

    def _probability(self, raw: Array) -> Array:
        """Logits (K, m) turned into probabilities."""
        if self.coupled:
            softmax_columns(raw, *np.empty((2, raw.shape[1])))
        else:
            sigmoid_columns(raw)
        return raw

    def _pair_weights(self, P: Array, weight: Array) -> Array:
        """Second derivatives of the loss by logits, pair by pair: (pairs, m)."""
        if not self.coupled:
            return weight * P * (1 - P)
        D = np.empty((self.n_pairs, P.shape[1]))
        class_products(P, np.ascontiguousarray(weight[0]), D)
        return D

    def hessian(self, point: Array, rows: Array | None = None, scale: Array | None = None) -> Array:
        """Hessian of the mean loss in the variables (coef, intercept + coef @ center).

        Parameters
        ----------
        point : ndarray of shape (K, q)
        rows : ndarray of shape (r,), int, or None
            The rows that stand for all, each weighted ``scale`` times; None: all rows.
        scale : ndarray of shape (r,)

        Returns
        -------
        H : ndarray of shape (1, K q, K q) if coupled, (K, q, q) else
        """
        K, q = self.K, self.q
        if isinstance(self.design, CSRDesign) and rows is None and self._scatters:
            grams = self._sparse_grams(point, self.design)
        else:
            grams = self._grams(point, rows, scale)
        H = np.empty((1, K * q, K * q) if self.coupled else (K, q, q))
        assemble(grams, self.coupled, H)
        return H

    def class_hessians(self, point: Array) -> Array:
        """The diagonal blocks of `hessian`, one an output: (K, q, q)."""
        H = np.empty((self.K, self.q, self.q))
        assemble(self._grams(point, None, None, by_class=True), False, H)
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
        self, point: Array, rows: Array | None, scale: Array | None, by_class: bool = False
    ) -> Array:
        """Sums of d_pair a a' over rows: (pairs, q, q), of which the upper triangles count.

        ``by_class``: of the pairs k = k alone.  The next call may overwrite the result.
        """
        q, n_pairs = self.q, self.K if by_class else self.n_pairs
        W = self._centred_point(point)

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

    def _weighted_blocks(
        self, chunk: slice, rows: Array | None, scale: Array | None
    ) -> Iterator[tuple[Array, Array]]:
        """Blocks of a chunk of all rows, or of the chosen ones, with their weights (1 or K, m)."""
        blocks = self._contiguous_blocks(chunk if rows is None else rows[chunk])
        return self._with_weights(blocks, scale, chunk.start)

    def _with_weights(
        self, blocks: Iterator[tuple[Any, Array]], scale: Array | None, done: int = 0
    ) -> Iterator[tuple[Array, Array]]:
        """Each block's rows, and their weights (1 or K, m) times ``scale`` from ``done`` on."""
        for at, X in blocks:
            weight = self._weights(at)
            if scale is not None:
                weight = weight * scale[done : done + X.shape[0]]
            done += X.shape[0]
            yield X, weight

    def _contiguous_blocks(self, rows: Array | slice) -> Iterator[tuple[Any, Array]]:
        """Blocks of rows as float64 arrays in C order, read-only."""
        for at, X in self.design.row_blocks(rows, max(MOST_ROWS, BLOCK_ENTRIES // max(1, self.p))):
            yield at, in_order(X)

    @cached_property
    def _scatters(self) -> bool:
        """Whether a CSR matrix is so sparse that its Hessian is best made entry by entry."""
        design, n, p = self.design, self.design.n, self.design.p
        assert isinstance(design, CSRDesign)
        few = design.X.nnz <= SPARSE * n * p and p * p * self.n_pairs <= BUFFER_BYTES // 8
        return few and self._steady

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Weighted sums of the features and of their squares, each (p,)."""
        return self.design.moments(self.target.s)

    @cached_property
    def _steady(self) -> bool:
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
            for block in blocks_of(rows, 4096):
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

    def hessian_on(
        self,
        point: Array,
        support: Array,
        rows: Array | None = None,
        scale: Array | None = None,
    ) -> list[Array]:
        """Hessian of the mean loss on the coordinates of ``support``, a mask (K, q).

        ``rows`` and ``scale`` are those of `hessian`.

        Returns
        -------
        H : list of ndarray of shape (a, a), one a problem
            Coordinates in the order of ``np.nonzero(support)``; centred as in `hessian`.
        """
        if support.mean() > MOSTLY and self.q <= FEW_FEATURES:
            masks = support.reshape(1 if self.coupled else self.K, -1)
            whole = self.hessian(point, rows, scale)
            return [H[np.ix_(mask, mask)] for H, mask in zip(whole, masks, strict=True)]
        intercepts = bool(support[:, self.p :].all())
        if isinstance(self.design, CSRDesign) and rows is None and intercepts and self._steady:
            return self._sparse_hessian_on(point, support, self.design)
        return self._dense_hessian_on(point, support, rows, scale)

    def _dense_hessian_on(
        self, point: Array, support: Array, rows: Array | None, scale: Array | None
    ) -> list[Array]:
        """`hessian_on` from blocks of dense rows."""
        W = self._centred_point(point)
        outputs, features = np.nonzero(support)
        first = np.searchsorted(outputs, np.arange(self.K + 1))
        sizes = np.array([outputs.size]) if self.coupled else np.diff(first)
        shape = sizes.size, sizes.max(), sizes.max()

        def part(chunk: slice) -> tuple[Array]:
            total = self._sums_of(chunk, shape)
            for X, weight in self._weighted_blocks(chunk, rows, scale):
                block = block_rows(self.q + features.size, X.shape[0])
                dense_support_hessian(
                    X, self.center, weight, W, self.coupled, features, first, block, total
                )
            return (total,)

        n = self.design.n if rows is None else rows.size
        entries = int((sizes**2).sum())
        self._forget_sums(shape)
        (total,) = cut(self.workers, part, n, n * entries // TILED, int(np.prod(shape)))
        return [mirrored(H[:size, :size]) for H, size in zip(total, sizes, strict=True)]

    def _sparse_hessian_on(self, point: Array, support: Array, design: CSRDesign) -> list[Array]:
        """`hessian_on` from the products of a CSR matrix's entries."""
        state, p = self.logit_state(point), self.p
        matrices = []
        for group in self.groups:
            outputs, features = np.nonzero(support[group])
            order = np.argsort(features, kind="stable")
            first = np.searchsorted(features[order], np.arange(p + 2))
            H = design.support_hessian(
                first,
                order,
                outputs[order],
                np.ascontiguousarray(state[:, group]),
                self.target.s,
                self.coupled,
                workers=self.workers,
            )
            c, intercepts = np.zeros(outputs.size), np.zeros(outputs.size, dtype=int)
            if self.fit_intercept:
                c = np.append(self.center, 0.0)[features]
                intercepts = np.flatnonzero(features == p)[outputs]
            fold_and_centre(H, c, intercepts)
            matrices.append(H)
        return matrices

    def curvature(self, state: Array) -> Array:
        """Diagonal of the Hessian of the mean loss, centred as in `hessian`, (K, q).

        ``state`` : ndarray of shape (n, K), see `logit_state`.
        """
        D = state * (1 - state) * self.target.s[:, None] if self.coupled else state
        result = np.empty((self.K, self.q))
        result[:, : self.p] = self.design.squares(D, self.center, self.workers)
        result[:, self.p :] = D.sum(axis=0)[:, None]
        return result

    def logit_state(self, point: Array) -> Array:
        """What the Hessian is made of, (n, K): see `_logit_state_of`."""
        state = np.empty((self.design.n, self.K))
        of = self._logit_state_of(point)

        def fill(rows: slice) -> tuple[()]:
            for block in blocks_of(rows, 4096):
                state[block] = of(block)
            return ()

        cut(self.workers, fill, self.design.n, self.design.work(self.K))
        return state

    def _logit_state_of(self, point: Array) -> Callable[[slice], Array]:
        """For a range of rows probabilities (softmax) or second derivatives of the loss, (m, K)."""
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)

        def state(rows: slice) -> Array:
            raw = np.ascontiguousarray(self.design.logits(rows, Wt, intercept).T)
            P = self._probability(raw)
            if not self.coupled:
                P *= self._weights(rows) * (1 - P)
            return np.ascontiguousarray(P.T)

        return state

    def hessian_product(self, point: Array) -> Callable[[Array], Array]:
        """The map V (K, q) -> H V, H the Hessian of the mean loss, centred as in `hessian`."""
        design = self.design
        if isinstance(design, CSRDesign) or design.n * self.K <= STORED:
            state: Callable[[slice], Array] = self.logit_state(point).__getitem__
        else:
            state = self._logit_state_of(point)

        def product(V: Array) -> Array:
            by_coef, by_intercept = self.split(V)
            result = np.empty_like(V)
            G, g = design.curvature_product(
                self.target, state, by_coef, by_intercept, self.center, self.workers
            )
            result[:, : self.p] = G
            result[:, self.p :] = g[:, None]
            return result

        return product


def in_order(X: Array) -> Array:
    """X in C order, as kernels take it."""
    return read_only(np.ascontiguousarray(X))


def add_square(A: Array, total: Array | None = None) -> Array:
    """The upper triangle of ``total + A A'``, in half the operations of a general product.

    ``total`` : ndarray of shape (q, q) in Fortran order, overwritten; None: 0.
    """
    if not A.size:
        return np.zeros((A.shape[0],) * 2) if total is None else total
    by_rows = A.flags.c_contiguous
    a = A.T if by_rows else A
    if total is None:
        return blas.dsyrk(1.0, a, trans=by_rows)
    return blas.dsyrk(1.0, a, trans=by_rows, beta=1.0, c=total, overwrite_c=1)


def mirrored(upper: Array) -> Array:
    """The symmetric matrix of an upper triangle."""
    return np.triu(upper) + np.triu(upper, 1).T
