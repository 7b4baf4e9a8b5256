"""Products with Hessians, and their diagonals: where Hessians are too large to be made."""

from collections.abc import Callable

import numpy as np

from .._design.csr import CSRDesign
from .._typing import Array
from .supports import SupportHessians

STORED = 2**22  # probabilities of a dense X's rows that are kept, at most


class Curvature(SupportHessians):
    """Second derivatives of `Objective`, which inherits them."""

    def curvature(self, state: Array) -> Array:
        """Diagonal of the Hessian of the mean loss, centred as in `hessian`, (K, q).

        ``state`` : ndarray of shape (n, K), see `logit_state`.
        """
        D = self.logit_curvature(state)
        result = np.empty((self.K, self.q))
        result[:, : self.p] = self.design.squares(D, self.center, self.workers)
        result[:, self.p :] = D.sum(axis=0)[:, None]
        return result

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
