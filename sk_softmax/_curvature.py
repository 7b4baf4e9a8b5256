"""Second derivatives of the mean loss: Hessians, parts of them, products with them.

Hessians are in the variables (coef, intercept + coef @ center), in which rows are centred: a
feature far from 0 is then not nearly collinear with the intercept.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._design import BUFFER_BYTES, CHUNKS, CSRDesign, Design, Target, blocks_of, cut
from ._kernels.curvature import (
    class_products,
    feature_products,
    sigmoid_columns,
    softmax_columns,
    unpack,
)
from ._threads import Workers
from ._typing import Array

PACKED_FEATURES = 128  # up to here products of features are packed into one matrix product
PACKED_PAIRS = 6  # of outputs, from which that is worth it
MOSTLY = 0.4  # of the coordinates, from which their Hessian is cut out of the whole one
BLOCK_ENTRIES = 2**17  # of the packed products made at a time
LARGEST_BLOCK = 512  # rows
CHUNK_WORK = 2**24  # multiplications in a thread's share, at least
STORED = 2**22  # probabilities kept between products of a dense X's Hessian with vectors
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

    def split(self, point: Array) -> tuple[Array, Array]:
        """coef (K, p) and intercept (K,), both contiguous."""
        intercept = point[:, self.p].copy() if self.fit_intercept else np.zeros(point.shape[0])
        return np.ascontiguousarray(point[:, : self.p]), intercept

    @property
    def pairs(self) -> tuple[Array, Array]:
        """The outputs k <= l whose coefficients share curvature; without coupling k = l."""
        return np.triu_indices(self.K) if self.coupled else (np.arange(self.K),) * 2

    def _weights(self, block: Any) -> Array:
        """s_ik for the rows of a block: (1, m) for softmax, (K, m) else."""
        s, y = self.target.s[block], self.target.y[block]
        return s[None] if self.coupled else s * self.target.side_weights(y).T

    def curvature_blocks(
        self, point: Array, rows: Array | slice, scale: Array | None, size: int
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Blocks of (centred features (q, m), probabilities (K, m), weights (1 or K, m)).

        The features are centred by `center` and end in ones where there is an intercept.
        ``scale`` multiplies the weights of the chosen ``rows``.
        """
        center, done = self.center[:, None], 0
        coef, intercept = self.split(point)
        augmented = np.column_stack([coef, intercept + coef @ self.center])[:, : self.q]
        for block, X in self.design.row_blocks(rows, size):
            A = np.ones((self.q, X.shape[0]))
            np.subtract(X.T, center, out=A[: self.p])
            weight = self._weights(block)
            if scale is not None:
                weight = weight * scale[done : done + X.shape[0]]
            done += X.shape[0]
            yield A, self._probability(augmented @ A), weight

    def _probability(self, raw: Array) -> Array:
        """Logits (K, m) turned into probabilities."""
        if self.coupled:
            softmax_columns(raw, np.empty(raw.shape[1]))
        else:
            sigmoid_columns(raw)
        return raw

    def _pair_weights(self, P: Array, weight: Array) -> Array:
        """Second derivatives of the loss by logits, pair by pair: (pairs, m)."""
        if not self.coupled:
            return weight * P * (1 - P)
        D = np.empty((self.pairs[0].size, P.shape[1]))
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
        K, q, n_pairs = self.K, self.q, self.pairs[0].size
        if isinstance(self.design, CSRDesign) and rows is None and self._scatters(self.design):
            grams = self._sparse_grams(point, self.design)
        else:
            grams = self._grams(point, rows, scale)
        if not self.coupled and grams.ndim == 3:
            return grams
        H = np.empty((1, K * q, K * q) if self.coupled else (K, q, q))
        if grams.ndim == 2:
            unpack(grams, q, self.coupled, H)
            return H
        view = H.reshape(K, q, K, q)
        for k, other, pair in zip(*self.pairs, range(n_pairs), strict=True):
            view[k, :, other] = grams[pair]
            view[other, :, k] = grams[pair]
        return H

    def _grams(self, point: Array, rows: Array | None, scale: Array | None) -> Array:
        """Sums of d_pair a a' over rows: (pairs, q (q + 1) / 2) packed, or (pairs, q, q)."""
        q, n_pairs = self.q, self.pairs[0].size
        packed = q <= PACKED_FEATURES and n_pairs >= PACKED_PAIRS
        width = q * (q + 1) // 2
        size = LARGEST_BLOCK
        if packed:
            size = max(64, min(LARGEST_BLOCK, BLOCK_ENTRIES // max(1, width)))

        def part(chunk: slice) -> tuple[Array]:
            total = np.zeros((n_pairs, width) if packed else (n_pairs, q, q))
            chosen = chunk if rows is None else rows[chunk]
            scales = None if scale is None else scale[chunk]
            for A, P, weight in self.curvature_blocks(point, chosen, scales, size):
                D = self._pair_weights(P, weight)
                if packed:
                    products = np.empty((width, A.shape[1]))
                    feature_products(A, products)
                    total += D @ products.T
                else:
                    for pair in range(n_pairs):
                        total[pair] += (A * D[pair]) @ A.T
            return (total,)

        n = self.design.n if rows is None else rows.size
        return self._in_parts(part, n, n * n_pairs * width, n_pairs * q * q)

    def _in_parts(
        self, part: Callable[[slice], tuple[Array]], n: int, work: int, entries: int
    ) -> Array:
        """Sum of ``part`` over chunks of n rows, in threads; ``entries``: of each part's result."""
        room = BUFFER_BYTES // (8 * max(1, entries))
        return cut(self.workers, part, n, min(CHUNKS, work // CHUNK_WORK, room), True)[0]

    def _scatters(self, design: CSRDesign) -> bool:
        """Whether entries are so few that products of rows with themselves stay sparse.

        Centring then follows the summation, which features with a mean far beyond their spread
        do not forgive.
        """
        n, p = design.n, design.p
        if design.X.nnz > SPARSE * n * p or p * p * self.pairs[0].size > BUFFER_BYTES // 8:
            return False
        first, second = design.moments(self.target.s)
        total = self.target.s.sum()
        square = (first / total) ** 2
        return not self.center.any() or bool((second / total >= (1 + STEADY) * square).all())

    def _sparse_grams(self, point: Array, design: CSRDesign) -> Array:
        """`_grams` as (pairs, q, q), from the products of a CSR matrix's entries."""
        p, q, n_pairs = self.p, self.q, self.pairs[0].size
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)

        def part(rows: slice) -> tuple[Array, Array, Array]:
            gram = np.zeros((p, p, n_pairs))
            first, total = np.zeros((p, n_pairs)), np.zeros(n_pairs)
            for block in blocks_of(rows, 4096):
                P = self._probability(np.ascontiguousarray(design.logits(block, Wt, intercept).T))
                D = np.ascontiguousarray(self._pair_weights(P, self._weights(block)).T)
                design.add_gram(block, D, gram)
                first += design.X[block].T @ D
                total += D.sum(axis=0)
            return gram, first, total

        entries = design.X.nnz / max(1, design.n)
        chunks = int(min(CHUNKS, design.n * entries**2 * n_pairs // CHUNK_WORK))
        room = BUFFER_BYTES // (8 * max(1, p * p * n_pairs))
        gram, first, total = cut(self.workers, part, design.n, min(chunks, room), True)
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
            total = np.zeros((self.p, self.p))
            chosen = chunk if rows is None else rows[chunk]
            scales = None if scale is None else scale[chunk]
            for A, P, weight in self.curvature_blocks(point, chosen, scales, LARGEST_BLOCK):
                X = A[: self.p]
                total += (X * (weight * P * (1 - P)).sum(axis=0)) @ X.T
            return (total,)

        n = self.design.n if rows is None else rows.size
        return self._in_parts(part, n, n * self.p**2, self.p**2)

    def hessian_on(self, point: Array, support: Array) -> list[Array]:
        """Hessian of the mean loss on the coordinates of ``support``, a mask (K, q).

        Returns
        -------
        H : list of ndarray of shape (a, a), one a problem
            Coordinates in the order of ``np.nonzero(support)``; centred as in `hessian`.
        """
        if support.mean() > MOSTLY and self.q <= PACKED_FEATURES:
            masks = support.reshape(1 if self.coupled else self.K, -1)
            whole = self.hessian(point)
            return [H[np.ix_(mask, mask)] for H, mask in zip(whole, masks, strict=True)]
        features = [np.flatnonzero(row) for row in support]
        groups = [range(self.K)] if self.coupled else [(k,) for k in range(self.K)]
        ends = [np.cumsum([0, *(features[k].size for k in group)]) for group in groups]
        matrices = [np.zeros((end[-1], end[-1])) for end in ends]
        everything = slice(0, self.design.n)
        for A, P, weight in self.curvature_blocks(point, everything, None, 2048):
            for group, end, H in zip(groups, ends, matrices, strict=True):
                parts = [A[features[k]] for k in group]
                for a, k in enumerate(group):
                    w = weight[0] if self.coupled else weight[k]
                    for b, other in enumerate(group[a:], start=a):
                        d = w * P[k] * ((a == b) - P[other])
                        block = (parts[a] * d) @ parts[b].T
                        H[end[a] : end[a + 1], end[b] : end[b + 1]] += block
        return [np.triu(H) + np.triu(H, 1).T for H in matrices]

    def curvature(self, point: Array) -> Array:
        """Diagonal of the Hessian of the mean loss, centred as in `hessian`, (K, q)."""
        coef, intercept = self.split(point)
        result = np.zeros_like(point)
        c = self.center
        for rows, X in self.design.native_blocks():
            raw = np.ascontiguousarray((X @ coef.T + intercept).T)
            P = self._probability(raw)
            D = self._weights(rows) * P * (1 - P)
            total = D.sum(axis=1)[:, None]
            if isinstance(self.design, CSRDesign):
                squares = D @ X.multiply(X) - 2 * c * (D @ X) + c * c * total
                result[:, : self.p] += np.maximum(squares, 0.0)
            else:
                result[:, : self.p] += D @ (X - c) ** 2
            result[:, self.p :] += total
        return result

    def hessian_product(self, point: Array) -> Callable[[Array], Array]:
        """The map V (K, q) -> H V, H the Hessian of the mean loss, centred as in `hessian`."""
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)
        design = self.design

        def by_logits(rows: slice) -> Array:
            """Softmax: probabilities; one-vs-all: second derivatives of the loss: (m, K)."""
            raw = np.ascontiguousarray(design.logits(rows, Wt, intercept).T)
            P = self._probability(raw)
            if not self.coupled:
                P *= self._weights(rows) * (1 - P)
            return np.ascontiguousarray(P.T)

        state: Callable[[slice], Array] = by_logits
        if isinstance(design, CSRDesign) or design.n * self.K <= STORED:
            stored = np.empty((design.n, self.K))

            def fill(rows: slice) -> tuple[()]:
                for block in blocks_of(rows, 4096):
                    stored[block] = by_logits(block)
                return ()

            chunks = design.n * self.p * self.K // CHUNK_WORK
            cut(self.workers, fill, design.n, min(CHUNKS, chunks), True)
            state = stored.__getitem__

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
