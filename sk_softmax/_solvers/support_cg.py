"""The Newton step on a large support: conjugate gradients on Hessian-vector products.

For softmax over a CSR matrix the classes' own Hessians make them few, over many dense rows the
Hessian that a part of them makes; elsewhere each coordinate's curvature has to do.
"""

from dataclasses import dataclass

import numpy as np

from .._design.csr import CSRDesign
from .._factor import Inverses, Triangles, inverse_factors
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._preconditioner.make import null_curvature
from .._preconditioner.rows import stratified_rows, support_sample
from .._typing import Array
from . import cost
from .by_feature import single_will_do
from .conjugate_gradient import conjugate_gradient

LARGEST_CLASSES = 2**26  # entries of the classes' own Hessians together
SAVED = 30.0  # products that they may cost: about as many as they save
LOST = 1e-3  # of a support, up to which its factors serve for the rest
SHARE = 1e-2  # of a row's largest curvature, below which a class's Hessian leaves the row out
PRODUCTS = 25.0  # that the steps of a set take in variables from a sample of the rows
UNSEEN = 1e-3  # of what curvature is to be expected: for a feature of which the sample has less
REACH = 4.0  # times its coefficient: how far a damped step goes along a coordinate by itself
LEAST = 0.01  # of the largest coefficient, which counts where a coefficient is smaller


@dataclass
class ByBlock:
    """Variables u in which blocks of the Hessian on a support are about the identity.

    Attributes
    ----------
    support : ndarray of shape (K, q)
        A mask.
    groups : list of slice
        The outputs of each block.
    hessians : list of ndarray
        Of a block each.
    factors : list of Inverses or Triangles
        Of their inverses.
    """

    support: Array
    groups: list[slice]
    hessians: list[Array]
    factors: list[Inverses | Triangles]

    @classmethod
    def by_class(
        cls, objective: Objective, point: Array, support: Array, added: Array
    ) -> "ByBlock | None":
        """For each class's own Hessian at ``point``, ``added`` (K, q) to the diagonals.

        None where they are too large or too dear, or not those of softmax over a CSR matrix.
        """
        small = (support.sum(axis=1) ** 2).sum() <= LARGEST_CLASSES
        sparse = isinstance(objective.design, CSRDesign)
        if not (small and sparse and objective.coupled and objective.steady):
            return None
        if cost.class_hessians(objective, support) > SAVED * cost.sweep(objective):
            return None
        blocks = objective.rough_class_hessians_on(point, support, SHARE)
        for H, mask, own in zip(blocks, support, added, strict=True):
            diagonal = np.einsum("aa->a", H)
            diagonal += own[mask]
        return cls.of(support, [slice(k, k + 1) for k in range(objective.K)], blocks)

    @classmethod
    def by_sample(
        cls, objective: Objective, point: Array, support: Array, added: Array
    ) -> "ByBlock | None":
        """For the Hessian that some of the rows make, all classes together; X is dense.

        None where a sample is too small a part of the rows to be worth it, and for one-vs-all.
        """
        rows = rows_worth_variables(objective, int(np.count_nonzero(support)))
        if rows is None:
            return None
        sample = stratified_rows(objective, rows, point)
        (H,) = objective.sampled_hessian_on(point, support, *sample)
        fill_intercept(objective, H, support)
        diagonal, null = np.einsum("aa->a", H), null_curvature(objective)[support]
        diagonal[:] = np.maximum(diagonal, UNSEEN * (diagonal / null).mean() * null)
        diagonal += added[support]
        return cls.of(support, objective.groups, [H])

    @classmethod
    def of(cls, support: Array, groups: list[slice], hessians: list[Array]) -> "ByBlock":
        """For Hessians that are there."""
        factors = [inverse_factors(H[None].copy())[0] for H in hessians]
        return cls(support, groups, hessians, factors)

    @property
    def scale(self) -> Array:
        """Of each coordinate of the support by itself, one block's after those of the other."""
        with np.errstate(divide="ignore"):
            return np.concatenate([1 / np.sqrt(H.diagonal()) for H in self.hessians])

    def within(self, support: Array) -> "ByBlock":
        """The same for a part of the support, whose rest is left out."""
        if np.count_nonzero(support) >= (1 - LOST) * np.count_nonzero(self.support):
            return self
        kept = [support[group][self.support[group]] for group in self.groups]
        parts = [H[np.ix_(k, k)] for H, k in zip(self.hessians, kept, strict=True)]
        return ByBlock.of(support.copy(), self.groups, parts)

    def step(self, u: Array) -> Array:
        """A step (K, q) in the centred coordinates for u (m, d)."""
        result: Array = np.zeros(self.support.shape)
        ends = np.cumsum([H.shape[0] for H in self.hessians])[:-1]
        for group, factor, v in zip(
            self.groups, self.factors, np.split(u, ends, axis=1), strict=True
        ):
            result[group][self.support[group]] = factor.times(v)[0]
        return result

    def pull(self, gradient: Array) -> Array:
        """The gradient by u, (m, d), for one by the coordinates, (K, q)."""
        parts = [
            factor.transposed_times(gradient[group][self.support[group]][None])
            for group, factor in zip(self.groups, self.factors, strict=True)
        ]
        return np.concatenate(parts, axis=1)


@dataclass
class ByCoordinate:
    """Variables u in which each coordinate's own curvature is 1.

    Attributes
    ----------
    scale : ndarray of shape (K, q)
    n_problems : int
    """

    scale: Array
    n_problems: int

    @classmethod
    def at(cls, objective: Objective, point: Array, added: Array) -> "ByCoordinate":
        """For the curvatures at ``point``, and ``added`` (K, q)."""
        curvature = objective.curvature(objective.logit_state(point)) + added
        positive = curvature > 0
        scale = np.where(positive, 1 / np.sqrt(np.where(positive, curvature, 1)), 0)
        return cls(scale, objective.n_problems)

    def within(self, support: Array) -> "ByCoordinate":
        """The same: coordinates do not depend on each other."""
        return self

    def step(self, u: Array) -> Array:
        """A step (K, q) in the centred coordinates for u (m, d)."""
        return u.reshape(self.scale.shape) * self.scale

    def pull(self, gradient: Array) -> Array:
        """The gradient by u, (m, d), for one by the coordinates, (K, q)."""
        return (gradient * self.scale).reshape(self.n_problems, -1)


def rows_worth_variables(objective: Objective, coordinates: int) -> int | None:
    """How many of its dense rows softmax's variables are best made from; None: no part of them."""
    if isinstance(objective.design, CSRDesign) or not objective.coupled:
        return None
    rows, n = support_sample(objective, coordinates), objective.design.n
    if rows is None:
        return None
    some, every = (cost.support_hessian(coordinates, m) for m in (rows, n))
    return rows if some + PRODUCTS * cost.sweep(objective) <= every else None


def support_of(objective: Objective, signs: Array) -> Array:
    """Mask (K, q) of the coordinates that move: those with a sign, and intercepts."""
    support = signs != 0
    support[:, objective.p :] = True
    return support


def fill_intercept(objective: Objective, H: Array, support: Array) -> None:
    """Add curvature for a shift of all intercepts, which softmax does not see.

    ``H`` is a problem's Hessian on the coordinates of ``support``, the mask of its outputs.
    """
    if objective.coupled and objective.fit_intercept:
        at = np.flatnonzero(np.nonzero(support)[1] == objective.p)
        H[np.ix_(at, at)] += H[at, at].mean() / at.size


def added_curvature(objective: Objective, point: Array, slope: Array | None) -> Array:
    """What the diagonals of the loss's Hessians lack, (K, q): lambda2, with ``slope`` damping."""
    ridge = objective.ridge(np.ones_like(point))
    return ridge if slope is None else ridge + damping(objective, point, slope)


def damping(objective: Objective, point: Array, slope: Array) -> Array:
    """Curvature that keeps steps along single coordinates in reach, (K, q).

    Where all rows that a feature is in are certain, F has a slope along it but no curvature.  The
    damping shrinks with the slope, so that steps are Newton's in the end.  Where all coefficients
    are 0, and no row is certain, it is the curvature.
    """
    size = np.abs(point)
    size[:, objective.p :] = 0.0
    largest = objective.per_output(objective.largest_by_problem(size))
    reach = REACH * np.maximum(size, LEAST * largest)
    moved = largest > 0
    damped = np.abs(slope) / np.where(moved, np.maximum(reach, np.finfo(float).tiny), 1.0)
    if moved.all():
        return damped
    return np.where(moved, damped, objective.curvature(objective.logit_state(point)))


def iterative_step(
    objective: Objective,
    point: Array,
    signs: Array,
    slope: Array,
    change: ByBlock | ByCoordinate,
    added: Array,
    tol: float,
    max_iter: int,
) -> Array:
    """-(H + added)^-1 slope on the support of ``signs``, in the centred coordinates; (K, q).

    Coefficients that it would carry across 0 are led to 0, and the others' step is found anew.

    Parameters
    ----------
    point, slope, added : ndarray of shape (K, q)
    signs : ndarray of shape (K, q)
        Of the point, or where it is 0 of the step; 0: none is made.
    change : ByBlock or ByCoordinate
        The variables of the conjugate gradients, on this support or a larger one.
    tol : float
        Residual that may be left, relative to the slope in these variables.
    max_iter : int
        Hessian-vector products about which the step is left as it is.
    """
    p, free, step = objective.p, support_of(objective, signs), np.zeros_like(point)
    change = change.within(free)
    single = single_will_do(objective, change.scale, tol)
    of_loss = objective.hessian_product(point, single)
    coef = point[:, :p]
    slope = Centring(objective.center).pull(slope)
    products = 0

    def image(v: Array) -> Array:
        nonlocal products
        products += 1
        return of_loss(v) + added * v

    def pull(gradient: Array) -> Array:
        return change.pull(np.where(free, gradient, 0.0))

    def push(u: Array) -> Array:
        return np.where(free, change.step(u), 0.0)

    residual = pull(slope)
    goal = tol * np.linalg.norm(residual, axis=1)
    while True:
        size = np.linalg.norm(residual, axis=1)
        share = float((goal[size > goal] / size[size > goal]).min(initial=1.0))
        step -= push(
            conjugate_gradient(lambda u: pull(image(push(u))), residual, share, max_iter - products)
        )
        crossing = free[:, :p] & (signs[:, :p] * (coef + step[:, :p]) < 0)
        if not crossing.any() or products >= max_iter:
            return step
        step[:, :p][crossing] = -coef[crossing]
        free[:, :p] &= ~crossing
        change = change.within(free)
        residual = pull(slope + image(step))
