"""Hessians on some of the coordinates, as L1 penalties need them."""

from functools import cached_property
from itertools import pairwise

import numpy as np

from .._design.chunks import block_rows, cut
from .._design.csr import CSRDesign
from .._kernels.curvature import fold_and_centre
from .._kernels.hessian import dense_support_hessian
from .._typing import Array
from .hessians import GRAM_ROWS, TILED, Hessians, add_square, mirrored

FEW_FEATURES = 128  # up to here a support's Hessian may be cut out of the whole one
MOSTLY = 0.7  # of the coordinates, from which that is worth it
SINGLE_WORK = 2**26  # multiplications from which single precision saves time
RANGE = 1e-12, 1e12  # of features' spreads whose products are in the range of single precision
LARGE = 600  # coordinates from which single precision by BLAS is faster


class SupportHessians(Hessians):
    """Hessians on a support, beside the whole ones."""

    def hessian_on(
        self,
        point: Array,
        support: Array,
        rows: Array | None = None,
        scale: Array | None = None,
        single: bool = False,
    ) -> list[Array]:
        """Hessian of the mean loss on the coordinates of ``support``, a mask (K, q).

        ``rows`` and ``scale`` are those of `hessian`.  ``single``: whether seven digits are enough.
        Large ones, of dense X in moderate units, then have no more; they are definite all the same.

        Returns
        -------
        H : list of ndarray of shape (a, a), one a problem
            Coordinates in the order of ``np.nonzero(support)``; centred as in `hessian`.
        """
        sparse = isinstance(self.design, CSRDesign) and rows is None
        n, size = self.design.n if rows is None else rows.size, int(np.count_nonzero(support))
        single = single and not sparse and n * size**2 >= SINGLE_WORK and self._moderate
        if support.mean() > MOSTLY and self.q <= FEW_FEATURES:
            masks = support.reshape(1 if self.coupled else self.K, -1)
            whole = self.hessian(point, rows, scale, single)
            matrices = [H[np.ix_(mask, mask)] for H, mask in zip(whole, masks, strict=True)]
        elif sparse and self.steady and bool(support[:, self.p :].all()):
            matrices = self._sparse_hessians_on(point, support)
        else:
            matrices = self._dense_hessian_on(point, support, rows, scale, single)
        return [still_definite(H) for H in matrices] if single else matrices

    def class_hessians_on(self, point: Array, support: Array) -> list[Array]:
        """The outputs' own Hessians over a CSR X, each on its row of ``support``, a mask (K, q).

        Parameters
        ----------
        point : ndarray of shape (K, q)
        support : ndarray of shape (K, q)
            Where there are intercepts, all of them are in it.

        Returns
        -------
        H : list of ndarray of shape (a, a), one an output
            Centred as in `hessian`.
        """
        by_logit = self.logit_curvature(self.logit_state(point))
        return self._class_hessians_of(by_logit, support, np.zeros(self.design.n))

    def _class_hessians_of(self, by_logit: Array, support: Array, least: Array) -> list[Array]:
        """The same without rows of less curvature than ``least`` (n,), from that of all, (n, K)."""
        assert isinstance(self.design, CSRDesign)
        center = np.append(self.center, 0.0)[: self.q]
        return self.design.class_hessians(support, by_logit, least, center, self.workers)

    def _dense_hessian_on(
        self,
        point: Array,
        support: Array,
        rows: Array | None,
        scale: Array | None,
        single: bool,
    ) -> list[Array]:
        """`hessian_on` from blocks of dense rows."""
        W = self._centred_point(point)
        if single:
            W = W.astype(np.float32)
        outputs, features = (np.ascontiguousarray(x) for x in np.nonzero(support))
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

    def sampled_hessian_on(
        self, point: Array, support: Array, rows: Array, scale: Array
    ) -> list[Array]:
        """`hessian_on` from a sample of the rows, which leaves few of its digits.

        So it is made in single precision; softmax's large ones from products by BLAS, which see
        each feature in units of its spread.
        """
        if not self.coupled or np.count_nonzero(support) < LARGE:
            return self.hessian_on(point, support, rows, scale, single=True)
        outputs, features = np.nonzero(support)
        ends = np.searchsorted(outputs, np.arange(self.K + 1))
        own = [slice(*pair) for pair in pairwise(ends.tolist())]
        unit = np.append(self._spreads, 1.0)[: self.q]

        def part(chunk: slice) -> tuple[Array, ...]:
            across, *within = (
                np.zeros((size, size), np.float32, order="F")
                for size in (outputs.size, *np.diff(ends))
            )
            for A, P, weight in self.curvature_blocks(point, rows[chunk], scale[chunk], GRAM_ROWS):
                V = (A / unit[:, None]).astype(np.float32)[features]
                roots = np.sqrt(weight * P * (1 - P)).astype(np.float32)
                for k, of in enumerate(own):
                    within[k] = add_square(V[of] * roots[k], within[k])
                V *= (np.sqrt(weight) * P).astype(np.float32)[outputs]
                across = add_square(V, across)
            return across, *within

        entries = outputs.size**2
        across, *within = cut(self.workers, part, rows.size, rows.size * entries // 2, entries)
        H = -mirrored(across).astype(np.float64)
        for of, block in zip(own, within, strict=True):
            H[of, of] = mirrored(block)
        still_definite(H)
        H *= unit[features]
        H *= unit[features][:, None]
        return [H]

    @cached_property
    def _moderate(self) -> bool:
        """Whether products of the features are in the range of single precision."""
        least, largest = RANGE
        return bool(((self._spreads >= least) & (self._spreads <= largest)).all())

    @cached_property
    def _spreads(self) -> Array:
        """About what the features vary by, (p,); never 0."""
        first, second = self.moments
        squares = second / self.target.s.sum()
        center = first / self.target.s.sum()
        variance = np.maximum(squares - center**2, np.finfo(float).eps * squares)
        return np.sqrt(np.where(variance > 0, variance, 1.0))

    def _sparse_hessians_on(self, point: Array, support: Array) -> list[Array]:
        """`hessian_on` from the products of a CSR matrix's entries."""
        if not self.coupled:
            return self.class_hessians_on(point, support)
        assert isinstance(self.design, CSRDesign)
        design = self.design
        state, p = self.logit_state(point), self.p
        outputs, features = np.nonzero(support)
        order = np.argsort(features, kind="stable")
        first = np.searchsorted(features[order], np.arange(p + 2))
        H = design.support_hessian(
            first, order, outputs[order], state, self.target.s, workers=self.workers
        )
        c, intercepts = np.zeros(outputs.size), np.zeros(outputs.size, dtype=int)
        if self.fit_intercept:
            c = np.append(self.center, 0.0)[features]
            intercepts = np.flatnonzero(features == p)[outputs]
        fold_and_centre(H, c, intercepts)
        return [H]


def still_definite(H: Array) -> Array:
    """H (a, a), with so much more on the diagonal as single precision may have taken off."""
    np.einsum("aa->a", H)[:] *= 1 + H.shape[0] * np.finfo(np.float32).eps
    return H
