"""A dense X that is swept in single precision, for steps far from the optimum.

That is about twice as fast: registers hold twice as many numbers, and exp takes half as many terms.
Sums over blocks of rows are added up in double precision, so that the loss keeps some nine digits
and its gradient seven.  What else is done with X is done as by `DenseDesign`.
"""

import numpy as np

from .._kernels.columns import sigmoid_residuals, softmax_columns, softmax_residuals
from .._threads import Workers
from .._typing import Array
from .chunks import blocks_of, cut
from .dense import Arithmetic, DenseDesign
from .target import Target

FAR = 100.0  # of logits by the features' means, beyond which rows lose digits unless centred
BY_BLAS = 2**16  # coefficients from which BLAS makes the products
PRODUCT_ROWS = 512  # of a block then


class SingleDesign(DenseDesign):
    """The rows of X less ``center`` in single precision.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    center : ndarray of shape (p,)
        About the features' means: what is left are their spreads, whose digits matter.
    steady : bool, default=False
        Whether no mean is so far beyond the spread that sums lose these digits unless centred.
    """

    def __init__(self, X: Array, center: Array, steady: bool = False) -> None:
        super().__init__(X)
        self.steady = steady
        with np.errstate(over="ignore"):
            self.center = center.astype(np.float32).astype(np.float64)

    def sweep(self, target: Target, W: Array, b: Array, workers: Workers) -> tuple[Array, ...]:
        """`DenseDesign.sweep` with seven digits, or with all where numbers are out of range."""
        K = W.shape[0]
        if K == 1:
            return super().sweep(target, W, b, workers)
        single, by_blas = Arithmetic(np.float32, self.center), K * self.p >= BY_BLAS
        if (by_blas or self.wide(K)) and self.X.dtype == np.float32 and self._near(W):
            single = Arithmetic(np.float32, np.zeros(self.p))
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = b + W @ single.center
            if by_blas:
                loss, G, g = self._swept_by_blas(target, W, shifted, workers, single.center)
            else:
                loss, G, g = self._swept(target, W, shifted, workers, single)
        if not (np.isfinite(loss).all() and np.isfinite(G).all()):
            return super().sweep(target, W, b, workers)
        return loss, G + np.outer(g, single.center), g

    def _swept_by_blas(
        self, target: Target, W: Array, b: Array, workers: Workers, center: Array
    ) -> tuple[Array, ...]:
        """`_swept` with the products made by BLAS, which keeps parts of W in the cache."""
        K, far, center = W.shape[0], center.any(), center.astype(self.X.dtype)
        V, v = W.astype(np.float32), b.astype(np.float32)[:, None]

        def part(chunk: slice) -> tuple[Array, ...]:
            loss, G, g = np.zeros(1 if target.softmax else K), np.zeros(W.shape), np.zeros(K)
            for rows in blocks_of(chunk, PRODUCT_ROWS):
                with np.errstate(over="ignore", invalid="ignore"):
                    X = self.X[rows] - center if far else self.X[rows]
                    X = X.astype(np.float32, copy=False)
                    R = V @ X.T + v
                    loss += _residuals(target, rows, R)
                    G += R @ X
                g += R.sum(axis=1, dtype=np.float64)
            return loss, G, g

        return cut(workers, part, self.n, self.work(K), W.size)

    def _near(self, W: Array) -> bool:
        """Whether neither logits nor sums over rows lose digits to the features' means."""
        return self.steady and bool((np.abs(W) @ np.abs(self.center)).max(initial=0.0) <= FAR)


def _residuals(target: Target, rows: slice, Z: Array) -> Array:
    """Turn logits Z (K, m) into residuals in place; the loss, (1,) for softmax and (K,) else."""
    y, s, t = target.y[rows], target.s[rows].astype(Z.dtype), np.empty((3, Z.shape[1]), Z.dtype)
    if target.softmax:
        t[0] = Z[y, np.arange(y.size)]
        softmax_columns(Z, t[1], t[2])
        return np.array([softmax_residuals(y, s, t[0], t[1], t[2], Z)])
    sides = (target.sides_of(k) for k in range(len(Z)))
    return np.array([sigmoid_residuals(y, s, *side, Z, k, t[0]) for k, side in enumerate(sides)])
