"""The objective F: value, gradient, Hessian, Hessian-vector product.

    F(W, b) = (1/S) sum_i s_i loss(y_i, W x_i + b) + lambda2/2 ||W||^2 + lambda1 ||W||_1

Conventions, here and in everything built on this module:

* K is the number of outputs: classes, or 1 where two classes need one weight vector.
* A point is an array (K, q): coef (K, p) and, with an intercept (q = p + 1), intercept as the last
  column; without one q = p.  Gradients have the same shape.
* A problem is what converges by itself: softmax is one problem over all outputs ("coupled"),
  one-vs-all is K of them.  What belongs to problems has shape (m,), m = 1 or K.
* residual = d loss / d raw = weight * (probability - [is the class]); gradient = residual' X.
* The smooth part of F is all but lambda1 ||W||_1.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from ._design import CSRDesign, Design, Target, make_design
from ._threads import Workers
from ._typing import Array

KHATRI_RAO_FEATURES = 128  # up to here products of features are packed into one matrix product
STRONGEST = 1e300  # a penalty beyond which nothing changes
MOSTLY = 0.4  # of the coordinates, from which their Hessian is cut out of the whole one
DIRECT = 2e6  # n (K q)^2 up to which calls cost more than operations
BLOCK_ENTRIES = 2**19  # of the packed products made at a time


@dataclass
class Objective:
    """F for one design, target and penalty.

    Attributes
    ----------
    design : DenseDesign or CSRDesign
    target : Target
        Its weights are normalised: they sum to 1 in every problem.
    lambda1, lambda2 : ndarray of shape (m,)
    fit_intercept : bool
    class_sums : ndarray of shape (K, q)
        ``sum_i s_ik [y_i is the class of output k] x_i`` (and of 1: the class's share).
    means : ndarray of shape (K, q)
        Weighted means of the features (and of 1) as output k's problem sees them.
    center : ndarray of shape (p,)
        What Hessians subtract from the features; 0 without an intercept to absorb it.
    workers : Workers
    counts : Counter
        ``counts["rows"]``: rows read for value and gradient so far, by this and all objectives
        taken from it.
    """

    design: Design
    target: Target
    lambda1: Array
    lambda2: Array
    fit_intercept: bool
    class_sums: Array
    means: Array
    center: Array
    workers: Workers
    counts: Counter[str] = field(default_factory=Counter)

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
    def n_problems(self) -> int:
        return self.lambda2.size

    def by_problem(self, values: Array) -> Array:
        """Sum (K, ...) over all but the first axis, and over outputs where they are coupled."""
        if self.coupled:
            return np.array([values.sum()])
        return values.reshape(values.shape[0], -1).sum(axis=1)

    def largest_by_problem(self, values: Array) -> Array:
        """Largest entry of (K, ...) per problem; 0 where there is none."""
        if self.coupled:
            return np.array([values.max(initial=0.0)])
        return values.reshape(values.shape[0], -1).max(axis=1, initial=0.0)

    def per_output(self, values: Array) -> Array:
        """One value a problem, (m,), as a column over the outputs, (K, 1)."""
        return np.repeat(values, self.K)[:, None] if self.coupled else values[:, None]

    def split(self, point: Array) -> tuple[Array, Array]:
        """coef (K, p) and intercept (K,), both contiguous."""
        intercept = point[:, self.p].copy() if self.fit_intercept else np.zeros(point.shape[0])
        return np.ascontiguousarray(point[:, : self.p]), intercept

    def loss_gradient(self, point: Array) -> tuple[Array, Array]:
        """Mean loss per problem, (m,), and its gradient, (K, q); no penalty in either."""
        self.counts["rows"] += self.design.n
        coef, intercept = self.split(point)
        loss, G, g = self.design.sweep(self.target, coef, intercept, self.workers)
        if not self.fit_intercept:
            return loss, G
        gradient = np.empty_like(point)
        gradient[:, : self.p] = G
        gradient[:, self.p] = g
        return loss, gradient

    def ridge(self, point: Array) -> Array:
        """lambda2 W, with 0 for the intercept; shape (K, q)."""
        result = point * self.lambda2[:, None]
        result[:, self.p :] = 0.0
        return result

    def smooth(self, point: Array) -> tuple[Array, Array]:
        """The smooth part of F per problem, (m,), and its gradient, (K, q)."""
        loss, gradient = self.loss_gradient(point)
        ridge = self.ridge(point)
        return loss + self.by_problem(point * ridge) / 2, gradient + ridge

    def penalty(self, point: Array) -> Array:
        """lambda2/2 ||W||^2 + lambda1 ||W||_1 per problem, (m,)."""
        coef = point[:, : self.p]
        absolute = self.by_problem(np.abs(coef)) * self.lambda1
        return self.by_problem(point * self.ridge(point)) / 2 + absolute

    def null_point(self) -> Array:
        """The best point with coef = 0."""
        point = np.zeros((self.K, self.q))
        if self.fit_intercept:
            share = self.class_sums[:, self.p]
            if self.coupled:
                point[:, self.p] = np.log(share) - np.log(share).mean()
            else:
                point[:, self.p] = np.log(share) - np.log1p(-share)
        return point

    def null_value(self) -> Array:
        """F at `null_point`, (m,)."""
        if self.coupled:
            share = self.class_sums[:, -1] if self.fit_intercept else np.full(self.K, 1 / self.K)
            return np.array([-(share * np.log(share)).sum()])
        share = self.class_sums[:, -1] if self.fit_intercept else np.full(self.K, 0.5)
        return -(share * np.log(share) + (1 - share) * np.log1p(-share))

    def take_outputs(self, outputs: Array) -> "Objective":
        """The objective of some of the one-vs-all problems."""
        return replace(
            self,
            target=self.target.take_outputs(outputs),
            lambda1=self.lambda1[outputs],
            lambda2=self.lambda2[outputs],
            class_sums=self.class_sums[outputs],
            means=self.means[outputs],
        )

    def take_features(self, features: Array) -> "Objective":
        """The objective of the points whose other features have coefficient 0."""
        kept = np.append(features, self.p) if self.fit_intercept else features
        return replace(
            self,
            design=self.design.take_features(features),
            class_sums=self.class_sums[:, kept],
            means=self.means[:, kept],
            center=self.center[features],
        )

    def take_rows(self, rows: Array, scale: Array) -> "Objective":
        """The same penalty with the mean loss of ``rows``, each weighted ``scale`` times.

        Every class must keep its total weight.
        """
        target = replace(self.target, y=self.target.y[rows], s=self.target.s[rows] * scale)
        design = self.design.take_rows(rows)
        sums, means, _ = _sums(design, target, self.fit_intercept)
        return replace(self, design=design, target=target, class_sums=sums, means=means)

    # ---- second derivatives -------------------------------------------------------------

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
            masks = support.reshape(self.n_problems, -1)
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
        """The map V (K, q) -> H V, H the Hessian of the mean loss in (coef, intercept)."""
        coef, intercept = self.split(point)

        def blocks() -> Iterator[tuple[Any, Array, Array]]:
            for rows, X in self.design.native_blocks():
                P = self._probability(X @ coef.T + intercept)
                yield X, P, self._row_weights(rows) * P

        stored = list(blocks()) if isinstance(self.design, CSRDesign) else None

        def product(V: Array) -> Array:
            result = np.zeros_like(V)
            by_coef, by_intercept = self.split(V)
            for X, P, weight in blocks() if stored is None else stored:
                T = X @ by_coef.T + by_intercept
                T = weight * (
                    T - (P * T).sum(axis=1, keepdims=True) if self.coupled else T * (1 - P)
                )
                result[:, : self.p] += (X.T @ T).T
                result[:, self.p :] += T.sum(axis=0)[:, None]
            return result

        return product

    def separates(self, point: Array) -> Array:
        """Whether ``point`` puts every row on its own side, per problem, a mask (m,)."""
        coef, intercept = self.split(point)
        result = np.ones(self.n_problems, dtype=bool)
        for rows, X in self.design.native_blocks():
            raw = X @ coef.T + intercept
            y = self.target.y[rows, None]
            if self.coupled:
                own = np.take_along_axis(raw, y, axis=1)
                np.put_along_axis(raw, y, -np.inf, axis=1)
                result &= bool((own[:, 0] > raw.max(axis=1)).all())
            else:
                result &= np.where(y == self.target.columns, raw > 0, raw < 0).all(axis=0)
        return result


def make_objective(
    X: Any,
    y: Array,
    s: Array,
    *,
    n_classes: int,
    coupled: bool,
    balanced: bool,
    C: float,
    l1_ratio: float,
    fit_intercept: bool,
    workers: Workers,
) -> Objective:
    """The objective of a fit.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    y : ndarray of shape (n,), int64
        Codes 0..n_classes - 1, each present.
    s : ndarray of shape (n,), float64
        Positive weights; S is their sum.
    n_classes : int
    coupled : bool
        Softmax (True) or one-vs-all (False); one and the same for two classes.
    balanced : bool
        Whether each of the one-vs-all problems gives both of its sides half of the weight.
    C, l1_ratio : float
    fit_intercept : bool
    workers : Workers
    """
    S = float(s.sum())
    share = np.bincount(y, s, n_classes) / S
    binary = n_classes == 2
    columns = np.array([1]) if binary else np.arange(n_classes)
    coupled = coupled and not binary
    s = s / S
    design = make_design(X)
    if coupled:
        target = Target(y, s, columns)
    else:
        positive, negative = np.ones((2, columns.size))
        if balanced:
            positive, negative = 0.5 / share[columns], 0.5 / (1 - share[columns])
        target = Target(y, s, columns, positive, negative)
    sums, means, center = _sums(design, target, fit_intercept)
    m = 1 if coupled else columns.size
    strength = min(1 / (C * S), STRONGEST) if C * S > 0 else STRONGEST
    return Objective(
        design=design,
        target=target,
        lambda1=np.full(m, l1_ratio * strength),
        lambda2=np.full(m, (1 - l1_ratio) * strength),
        fit_intercept=fit_intercept,
        class_sums=sums,
        means=means,
        center=center,
        workers=workers,
    )


def _sums(design: Design, target: Target, fit_intercept: bool) -> tuple[Array, Array, Array]:
    """`class_sums`, `means` and `center` of an objective."""
    y, s = target.y, target.s
    sums = design.class_sums(y, s, int(y.max()) + 1)
    center = sums.sum(axis=0)
    if fit_intercept:
        sums = np.column_stack([sums, np.bincount(y, s)])
    else:
        center = np.zeros(design.p)
    total, own = sums.sum(axis=0), sums[target.columns]
    if target.softmax:
        return own, np.broadcast_to(total, own.shape), center
    assert target.positive is not None
    assert target.negative is not None
    positive, negative = target.positive[:, None], target.negative[:, None]
    return own * positive, own * positive + (total - own) * negative, center


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
