"""Second derivatives of the mean loss: Hessians, parts of them, products with them.

Hessians are in the variables (coef, intercept + coef @ center), in which rows are centred: a
feature far from 0 is then not nearly collinear with the intercept.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from ._design import CSRDesign, Design, Target
from ._typing import Array

KHATRI_RAO_FEATURES = 128  # up to here products of features are packed into one matrix product
MOSTLY = 0.4  # of the coordinates, from which their Hessian is cut out of the whole one
DIRECT = 2e6  # n (K q)^2 up to which calls cost more than operations
BLOCK_ENTRIES = 2**19  # of the packed products made at a time


class Curvature:
    """Outputs, features and second derivatives of `Objective`, which inherits them.

    Its docstring says what the attributes are.
    """

    design: Design
    target: Target
    fit_intercept: bool
    center: Array

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

    def _probability(self, raw: Array) -> Array:
        if not self.coupled:
            return expit(raw)
        probability = np.exp(raw - raw.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        return probability

    def _row_weights(self, block: Any) -> Array:
        """s_ik for the rows of a block: (m, 1) for softmax, (m, K) else."""
        s = self.target.s[block][:, None]
        if self.coupled:
            return s
        return s * self.target.side_weights(self.target.y[block])

    def curvature_blocks(
        self, point: Array, rows: Array | None, scale: Array | None, size: int
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Blocks of (augmented centred rows (m, q), probabilities (m, K), weights (m, 1 or K)).

        The rows are centred by `center` and end in a 1 where there is an intercept.  ``scale``
        multiplies the weights of the chosen ``rows``.
        """
        center, done = self.center, 0
        coef, intercept = self.split(point)
        intercept = intercept + coef @ center
        for block, X in self.design.row_blocks(rows, size):
            A = np.empty((X.shape[0], self.q))
            np.subtract(X, center, out=A[:, : self.p])
            A[:, self.p :] = 1.0
            weight = self._row_weights(block)
            if scale is not None:
                weight = weight * scale[done : done + X.shape[0], None]
            done += X.shape[0]
            yield A, self._probability(A[:, : self.p] @ coef.T + intercept), weight

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
        if self.design.n * (self.K * self.q) ** 2 <= DIRECT:
            return self._hessian_directly(point, rows, scale)
        K, q = self.K, self.q
        first, second = np.triu_indices(K) if self.coupled else (np.arange(K),) * 2
        packed = q <= KHATRI_RAO_FEATURES
        width = q * (q + 1) // 2 if packed else q
        size = max(32, min(4096, BLOCK_ENTRIES // (width + first.size)))
        grams = np.zeros((first.size, width) if packed else (first.size, q, q))
        for A, P, weight in self.curvature_blocks(point, rows, scale, size):
            D = -weight * P[:, first] * P[:, second]
            D[:, first == second] += weight * P
            if packed:
                grams += D.T @ _feature_products(A)
            else:
                for pair in range(first.size):
                    grams[pair] += (A * D[:, pair, None]).T @ A
        if packed:
            grams = _unpack(grams, q)
        if not self.coupled:
            return grams
        H = np.empty((K, q, K, q))
        for k, other, gram in zip(first, second, grams, strict=True):
            H[k, :, other] = gram
            H[other, :, k] = gram
        return H.reshape(1, K * q, K * q)

    @cached_property
    def _whole(self) -> tuple[Array, Array]:
        """All rows as `curvature_blocks` gives them, kept: (A (n, q), weights)."""
        ((A, _, weight),) = self.curvature_blocks(
            np.zeros((self.K, self.q)), None, None, self.design.n
        )
        return A, weight

    def _hessian_directly(self, point: Array, rows: Array | None, scale: Array | None) -> Array:
        """The same in fewer calls and more operations, for small problems."""
        K, q = self.K, self.q
        if rows is None:
            A, weight = self._whole
            coef, intercept = self.split(point)
            P = self._probability(A[:, : self.p] @ coef.T + (intercept + coef @ self.center))
        else:
            ((A, P, weight),) = self.curvature_blocks(point, rows, scale, self.design.n)
        if not self.coupled:
            return np.matmul(A.T * (weight * P * (1 - P)).T[:, None, :], A)
        products = np.empty((A.shape[0], K + 1, q))  # p_ik x_i for all k, then x_i
        np.multiply(P[:, :, None], A[:, None, :], out=products[:, :K])
        products[:, K] = A
        flat = products.reshape(-1, (K + 1) * q)
        left = flat[:, : K * q]
        H = (left * -weight).T @ flat
        view = H.reshape(K, q, K + 1, q)
        for k in range(K):
            view[k, :, k] -= view[k, :, K]
        return H[None, :, : K * q]

    def uncertainty(self, point: Array, rows: Array | None, scale: Array | None) -> Array:
        """Covariance of the features, each row weighted by ``sum_k p_k (1 - p_k)``: (p, p)."""
        total = np.zeros((self.p, self.p))
        for A, P, weight in self.curvature_blocks(point, rows, scale, 1024):
            X = A[:, : self.p]
            total += (X * (weight * (P * (1 - P)).sum(axis=1, keepdims=True))).T @ X
        return total

    def hessian_on(self, point: Array, support: Array) -> list[Array]:
        """Hessian of the mean loss on the coordinates of ``support``, a mask (K, q).

        Returns
        -------
        H : list of ndarray of shape (a, a), one a problem
            Coordinates in the order of ``np.nonzero(support)``; centred as in `hessian`.
        """
        if support.mean() > MOSTLY and self.q <= KHATRI_RAO_FEATURES:
            masks = support.reshape(1 if self.coupled else self.K, -1)
            whole = self.hessian(point)
            return [H[np.ix_(mask, mask)] for H, mask in zip(whole, masks, strict=True)]
        features = [np.flatnonzero(row) for row in support]
        groups = [range(self.K)] if self.coupled else [(k,) for k in range(self.K)]
        ends = [np.cumsum([0, *(features[k].size for k in group)]) for group in groups]
        matrices = [np.zeros((end[-1], end[-1])) for end in ends]
        for A, P, weight in self.curvature_blocks(point, None, None, 2048):
            for group, end, H in zip(groups, ends, matrices, strict=True):
                parts = [A[:, features[k]] for k in group]
                for a, k in enumerate(group):
                    w = weight if self.coupled else weight[:, k : k + 1]
                    for b, other in enumerate(group[a:], start=a):
                        d = w * P[:, k : k + 1] * ((a == b) - P[:, other : other + 1])
                        block = (parts[a] * d).T @ parts[b]
                        H[end[a] : end[a + 1], end[b] : end[b + 1]] += block
        return [np.triu(H) + np.triu(H, 1).T for H in matrices]

    def curvature(self, point: Array) -> Array:
        """Diagonal of the Hessian of the mean loss, centred as in `hessian`, (K, q)."""
        coef, intercept = self.split(point)
        result = np.zeros_like(point)
        c = self.center
        for rows, X in self.design.native_blocks():
            P = self._probability(X @ coef.T + intercept)
            D = self._row_weights(rows) * P * (1 - P)
            total = D.sum(axis=0)[:, None]
            if isinstance(self.design, CSRDesign):
                squares = (X.multiply(X).T @ D).T - 2 * c * (X.T @ D).T + c * c * total
                result[:, : self.p] += np.maximum(squares, 0.0)
            else:
                result[:, : self.p] += D.T @ (X - c) ** 2
            result[:, self.p :] += total
        return result

    def hessian_product(self, point: Array) -> Callable[[Array], Array]:
        """The map V (K, q) -> H V, H the Hessian of the mean loss, centred as in `hessian`."""
        coef, intercept = self.split(point)
        sparse = isinstance(self.design, CSRDesign)
        c = self.center

        def blocks() -> Iterator[tuple[Any, Array, Array]]:
            for rows, X in self.design.native_blocks():
                P = self._probability(X @ coef.T + intercept)
                yield X if sparse else X - c, P, self._row_weights(rows) * P

        stored = list(blocks()) if sparse else None

        def product(V: Array) -> Array:
            result = np.zeros_like(V)
            by_coef, by_intercept = self.split(V)
            if sparse:  # X cannot be centred in place
                by_intercept = by_intercept - by_coef @ c
            for X, P, weight in blocks() if stored is None else stored:
                T = X @ by_coef.T + by_intercept
                if self.coupled:
                    T -= (P * T).sum(axis=1, keepdims=True)
                else:
                    T *= 1 - P
                T *= weight
                total = T.sum(axis=0)[:, None]
                result[:, : self.p] += (X.T @ T).T - total * c if sparse else T.T @ X
                result[:, self.p :] += total
            return result

        return product


def _feature_products(A: Array) -> Array:
    """All products x_j x_r, j <= r, of each row: (m, q (q + 1) / 2)."""
    m, q = A.shape
    products = np.empty((m, q * (q + 1) // 2))
    at = 0
    for j in range(q):
        np.multiply(A[:, j, None], A[:, j:], out=products[:, at : at + q - j])
        at += q - j
    return products


def _unpack(packed: Array, q: int) -> Array:
    """Symmetric matrices (c, q, q) from their packed upper triangles (c, q (q + 1) / 2)."""
    full = np.empty((packed.shape[0], q, q))
    j, r = np.triu_indices(q)
    full[:, j, r] = packed
    full[:, r, j] = packed
    return full
