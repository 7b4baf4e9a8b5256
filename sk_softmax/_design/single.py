"""A dense X that is swept in single precision, for steps far from the optimum.

That is about twice as fast: registers hold twice as many numbers, and exp takes half as many terms.
Sums over blocks of rows are added up in double precision, so that the loss keeps some nine digits
and its gradient seven.  What else is done with X is done as by `DenseDesign`.
"""

import numpy as np

from .._threads import Workers
from .._typing import Array
from .dense import Arithmetic, DenseDesign
from .target import Target

FAR = 100.0  # of logits by the features' means, beyond which rows lose digits unless centred


class SingleDesign(DenseDesign):
    """The rows of X less ``center`` in single precision.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    center : ndarray of shape (p,)
        About the features' means: what is left are their spreads, whose digits matter.
    """

    def __init__(self, X: Array, center: Array) -> None:
        super().__init__(X)
        self.center = center

    def sweep(self, target: Target, W: Array, b: Array, workers: Workers) -> tuple[Array, ...]:
        """`DenseDesign.sweep` with seven digits, or with all where numbers are out of range."""
        if W.shape[0] == 1:
            return super().sweep(target, W, b, workers)
        single = Arithmetic(np.float32, self.center)
        if self.wide(W.shape[0]) and self.X.dtype == np.float32 and self._near(W):
            single = Arithmetic(np.float32, np.zeros(self.p))
        with np.errstate(over="ignore"):
            shifted = b + W @ single.center
            loss, G, g = self._swept(target, W, shifted, workers, single)
        if not (np.isfinite(loss).all() and np.isfinite(G).all()):
            return super().sweep(target, W, b, workers)
        return loss, G + np.outer(g, single.center), g

    def _near(self, W: Array) -> bool:
        """Whether logits lose no digits to the features' means."""
        return bool((np.abs(W) @ np.abs(self.center)).max(initial=0.0) <= FAR)
