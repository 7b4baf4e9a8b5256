"""The objective F: value, gradient, penalty, null model.

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
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ._curvature.products import Curvature
from ._design.dense import DenseDesign
from ._design.make import Design, make_design
from ._design.single import SingleDesign
from ._design.target import Target
from ._threads import Workers
from ._typing import Array

STRONGEST = 1e300  # a penalty beyond which nothing changes


@dataclass
class Objective(Curvature):
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
    def n_problems(self) -> int:
        return self.lambda2.size

    @property
    def has_l1(self) -> bool:
        """Whether there is an L1 penalty, which all problems then have."""
        return bool(np.count_nonzero(self.lambda1))

    @property
    def has_l2(self) -> bool:
        """The same of an L2 penalty."""
        return bool(np.count_nonzero(self.lambda2))

    @property
    def unpenalised(self) -> bool:
        return not (self.has_l1 or self.has_l2)

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

    def loss_gradient(self, point: Array) -> tuple[Array, Array]:
        """Mean loss per problem, (m,), and its gradient, (K, q); no penalty in either."""
        self.counts["rows"] += self.design.n
        coef, intercept = self.split(point)
        loss, G, g = self.design.sweep(self.target, coef, intercept, self.workers)
        gradient = np.empty_like(point)
        gradient[:, : self.p] = G
        gradient[:, self.p :] = g[:, None]
        if self.coupled:  # what rounding leaves of 0; only the penalty would bring it back
            gradient -= gradient.sum(axis=0) / self.K
        return loss, gradient

    @cached_property
    def distances(self) -> Array:
        """Each row's squared distance from the mean, features in units of their spread: (n,)."""
        first, second = self.moments
        total = self.target.s.sum()
        center = first / total
        variance = second / total - center**2
        varies = variance > np.finfo(float).tiny
        weight = np.where(varies, 1 / np.where(varies, variance, 1.0), 0.0)
        return self.design.squared_distances(center, weight)

    @cached_property
    def null_loss_curvature(self) -> Array:
        """Diagonal of the Hessian of the loss at the null model, (K, q), features centred."""
        first, variance = self.moments
        pi = np.full((self.K, 1), 1 / self.K if self.coupled else 0.5)
        if self.fit_intercept:
            variance = np.maximum(variance - first**2, 1e-16 * variance)
            pi = self.class_sums[:, self.p :]
        curvature = np.ones((self.K, self.q))
        curvature[:, : self.p] = variance
        return curvature * pi * (1 - pi)

    def ridge(self, point: Array) -> Array:
        """lambda2 W, with 0 for the intercept; shape (K, q)."""
        result = point * self.lambda2[:, None]
        if self.fit_intercept:
            result[:, self.p] = 0.0
        return result

    def smooth(self, point: Array) -> tuple[Array, Array]:
        """The smooth part of F per problem, (m,), and its gradient, (K, q)."""
        loss, gradient = self.loss_gradient(point)
        ridge = self.ridge(point)
        return loss + self.by_problem(point * ridge) / 2, gradient + ridge

    def penalty(self, point: Array) -> Array:
        """lambda2/2 ||W||^2 + lambda1 ||W||_1 per problem, (m,)."""
        penalty = np.zeros(self.n_problems)
        if self.has_l2:
            penalty += self.by_problem(point * self.ridge(point)) / 2
        if self.has_l1:
            penalty += self.by_problem(np.abs(point[:, : self.p])) * self.lambda1
        return penalty

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

    @cached_property
    def null_value(self) -> Array:
        """F at `null_point`, (m,)."""
        if self.coupled:
            share = self.class_sums[:, -1] if self.fit_intercept else np.full(self.K, 1 / self.K)
            return np.array([-(share * np.log(share)).sum()])
        share = self.class_sums[:, -1] if self.fit_intercept else np.full(self.K, 0.5)
        return -(share * np.log(share) + (1 - share) * np.log1p(-share))

    def penalised(self, lambda1: float, lambda2: float) -> "Objective":
        """The same loss with other penalties; it counts the rows that it reads itself.

        What is cached comes along, for none of it depends on the penalty.
        """
        m = self.n_problems
        return self._but(lambda1=np.full(m, lambda1), lambda2=np.full(m, lambda2), counts=Counter())

    def in_single(self) -> "Objective":
        """The same with sweeps in single precision; X is dense."""
        assert isinstance(self.design, DenseDesign)
        X = self.design.X
        steady = X.dtype == np.float32 and self.steady
        return self._but(design=SingleDesign(X, self.center, steady))

    def _but(self, **changes: Any) -> "Objective":
        """The same but for ``changes`` of which nothing that is cached depends."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), **changes)
        return other

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
    design: Design | None = None,
) -> Objective:
    """The objective of a fit.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    y : ndarray of shape (n,), int64
        Codes 0..n_classes - 1, each present.
    s : ndarray of shape (n,), float64
        Weights, not negative; S is their sum. A row of weight 0 is not there, but for the time
        that it takes; with a penalty, that is, and where each class has a weight.
    n_classes : int
    coupled : bool
        Softmax (True) or one-vs-all (False); one and the same for two classes.
    balanced : bool
        Whether each of the one-vs-all problems gives both of its sides half of the weight.
    C, l1_ratio : float
    fit_intercept : bool
    workers : Workers
    design : Design, optional
        That of X, if it is made already.
    """
    S = float(s.sum())
    share = np.bincount(y, s, n_classes) / S
    binary = n_classes == 2
    columns = np.array([1]) if binary else np.arange(n_classes)
    coupled = coupled and not binary
    s = s / S
    design = make_design(X) if design is None else design
    if coupled:
        target = Target(y, s, columns)
    else:
        positive, negative = np.ones((2, columns.size))
        if balanced:
            positive, negative = 0.5 / share[columns], 0.5 / (1 - share[columns])
        target = Target(y, s, columns, positive, negative)
    sums, means, center = _sums(design, target, fit_intercept)
    m = 1 if coupled else columns.size
    lambda1, lambda2 = penalties(C, l1_ratio, S)
    return Objective(
        design=design,
        target=target,
        lambda1=np.full(m, lambda1),
        lambda2=np.full(m, lambda2),
        fit_intercept=fit_intercept,
        class_sums=sums,
        means=means,
        center=center,
        workers=workers,
    )


def penalties(C: float, l1_ratio: float, S: float) -> tuple[float, float]:
    """lambda1 and lambda2 of rows that weigh S together."""
    strength = min(1 / (C * S), STRONGEST) if C * S > 0 else STRONGEST
    return l1_ratio * strength, (1 - l1_ratio) * strength


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
