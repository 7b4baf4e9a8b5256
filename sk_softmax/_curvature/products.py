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
        return self._curvature_of(self.logit_curvature(state))

    def _curvature_of(self, D: Array) -> Array:
        """`curvature` from that by each logit, (n, K)."""
        result = np.empty((self.K, self.q))
        result[:, : self.p] = self.design.squares(D, self.center, self.workers)
        result[:, self.p :] = D.sum(axis=0)[:, None]
        return result

    def rough_class_hessians_on(self, point: Array, support: Array, share: float) -> list[Array]:
        """`class_hessians_on`, in which each output leaves out rows where it has little curvature.

        That is less than ``share`` of the row's largest.  The diagonals are exact, so that what is
        left out makes the Hessians no less definite.
        """
        D = self.logit_curvature(self.logit_state(point))
        blocks = self._class_hessians_of(D, support, share * D.max(axis=1))
        for H, mask, own in zip(blocks, support, self._curvature_of(D), strict=True):
            H[np.diag_indices_from(H)] = own[mask]
        return blocks

    def hessian_product(self, point: Array, single: bool = False) -> Callable[[Array], Array]:
        """The map V (K, q) -> H V, H the Hessian of the mean loss, centred as in `hessian`.

        With ``single`` products with a CSR matrix are made in single precision: half as much is
        read from memory, which they wait for.
        """
        design = self.design
        if isinstance(design, CSRDesign):
            dtype = np.float32 if single else np.float64
            state: Callable[[slice], Array] = (
                self.logit_state(point).astype(dtype, copy=False).__getitem__
            )
        elif design.n * self.K <= STORED:
            state = self.logit_state(point).__getitem__
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
