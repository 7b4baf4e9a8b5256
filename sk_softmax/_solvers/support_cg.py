"""The Newton step on a large support: conjugate gradients on Hessian-vector products.

For softmax over a CSR matrix the classes' own Hessians make them few; elsewhere each coordinate's
curvature has to do.
"""

from dataclasses import dataclass

import numpy as np

from .._design.csr import CSRDesign
from .._factor import Inverses, Triangles, inverse_factors
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from .conjugate_gradient import conjugate_gradient

LARGEST_CLASS = 2500  # coordinates of a class whose own Hessian is formed
LARGEST_CLASSES = 2**24  # entries of these Hessians together
REACH = 4.0  # times its coefficient: how far a damped step goes along a coordinate by itself
LEAST = 0.01  # of the largest coefficient, which counts where a coefficient is smaller


@dataclass
class ByClass:
    """Variables u in which each class's own Hessian on a support is the identity.

    Attributes
    ----------
    support : ndarray of shape (K, q)
        A mask.
    factors : list of Inverses or Triangles
        Of a class each.
    """

    support: Array
    factors: list[Inverses | Triangles]

    @classmethod
    def at(
        cls, objective: Objective, point: Array, support: Array, added: Array
    ) -> "ByClass | None":
        """For the Hessians at ``point``, ``added`` (K, q) to their diagonals.

        None where they are too large, or not those of softmax over a CSR matrix.
        """
        sizes = support.sum(axis=1)
        small = sizes.max() <= LARGEST_CLASS and (sizes**2).sum() <= LARGEST_CLASSES
        sparse = isinstance(objective.design, CSRDesign)
        if not (small and sparse and objective.coupled and objective.steady):
            return None
        blocks = objective.class_hessians_on(point, support)
        for H, mask, own in zip(blocks, support, added, strict=True):
            diagonal = np.einsum("aa->a", H)
            diagonal += own[mask]
        return cls(support, [inverse_factors(H[None])[0] for H in blocks])

    def step(self, u: Array) -> Array:
        """A step (K, q) in the centred coordinates for u (m, d)."""
        result: Array = np.zeros(self.support.shape)
        own = np.split(u, np.cumsum(self.support.sum(axis=1))[:-1], axis=1)
        for row, mask, factor, v in zip(result, self.support, self.factors, own, strict=True):
            row[mask] = factor.times(v)[0]
        return result

    def pull(self, gradient: Array) -> Array:
        """The gradient by u, (m, d), for one by the coordinates, (K, q)."""
        parts = [
            factor.transposed_times(row[None, mask])
            for row, mask, factor in zip(gradient, self.support, self.factors, strict=True)
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

    def step(self, u: Array) -> Array:
        """A step (K, q) in the centred coordinates for u (m, d)."""
        return u.reshape(self.scale.shape) * self.scale

    def pull(self, gradient: Array) -> Array:
        """The gradient by u, (m, d), for one by the coordinates, (K, q)."""
        return (gradient * self.scale).reshape(self.n_problems, -1)


def added_curvature(objective: Objective, point: Array, slope: Array | None) -> Array:
    """What the diagonals of the loss's Hessians lack, (K, q): lambda2, with ``slope`` damping."""
    ridge = objective.ridge(np.ones_like(point))
    return ridge if slope is None else ridge + damping(objective, point, slope)


def damping(objective: Objective, point: Array, slope: Array) -> Array:
    """Curvature that keeps steps along single coordinates in reach, (K, q).

    Where all rows that a feature is in are certain, F has a slope along it but no curvature.  The
    damping shrinks with the slope, so that steps are Newton's in the end.
    """
    size = np.abs(point)
    size[:, objective.p :] = 0.0
    largest = objective.per_output(objective.largest_by_problem(size))
    reach = REACH * np.maximum(size, LEAST * largest)
    return np.abs(slope) / np.maximum(reach, np.finfo(float).tiny)


def iterative_step(
    objective: Objective,
    point: Array,
    support: Array,
    slope: Array,
    change: ByClass | ByCoordinate,
    added: Array,
    tol: float,
    max_iter: int,
) -> Array:
    """-(H + added)^-1 slope on the support, 0 elsewhere, in the centred coordinates; (K, q).

    Coefficients that it would carry across 0 are led to 0, and the others' step is found anew.

    Parameters
    ----------
    point, slope, added : ndarray of shape (K, q)
    support : ndarray of shape (K, q)
        A mask.
    change : ByClass or ByCoordinate
        The variables of the conjugate gradients; its support has ``support`` in it.
    tol : float
        Residual that may be left, relative to the slope in these variables.
    max_iter : int
        Hessian-vector products about which the step is left as it is.
    """
    of_loss, p = objective.hessian_product(point), objective.p
    coef, free, step = point[:, :p], support.copy(), np.zeros_like(point)
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
        crossing = free[:, :p] & (coef * (coef + step[:, :p]) < 0)
        if not crossing.any() or products >= max_iter:
            return step
        step[:, :p][crossing] = -coef[crossing]
        free[:, :p] &= ~crossing
        residual = pull(slope + image(step))
