"""More features than rows: the row space of X, where n coordinates an output do.

With an L2 penalty or none, the optimal (of equal ones, the smallest) coefficients lie in the span
of the centred rows.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.linalg import lapack, qr, solve_triangular

from .._design.make import make_design
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._preconditioner.make import can_factor, factorable
from .._typing import Array

LARGEST_BASIS = 10_000_000  # entries of a dense basis of the row space
EPS = float(np.finfo(float).eps)
ROUND = 1e-4  # least over largest of the factor's diagonal, from which X X' will do

# The rows' coordinates (n, r) by an orthonormal basis V (p, r); rows (K, p) times V; back from it.
_Basis = tuple[Array, Callable[[Array], Array], Callable[[Array], Array]]


def in_row_space(objective: Objective) -> tuple[Objective, Callable[[Array], Array]]:
    """The objective in the coordinates of an orthonormal basis of X's row space.

    With an L2 penalty or none, the optimal (of equal ones, the smallest) coefficients lie in the
    span of the centred rows, so n coordinates do for any number of features.

    Returns
    -------
    rotated : Objective
        On the design (X - center) V, (n, r); V (p, r) has orthonormal columns, r <= n.
    restore : callable
        From a point (K, r + 1) of ``rotated`` to the point (K, q).
    """
    p = objective.p
    center = objective.center
    X = (
        np.concatenate(
            [X for _, X in objective.design.row_blocks(slice(0, objective.design.n), 4096)]
        )
        - center
    )
    coordinates, into, back = _products(X) or _reflections(X)
    design, r = make_design(coordinates), coordinates.shape[1]

    def rotate(sums: Array) -> Array:
        weight = sums[:, p:] if objective.fit_intercept else np.zeros((sums.shape[0], 1))
        return np.column_stack([into(sums[:, :p] - weight * center), sums[:, p:]])

    rotated = replace(
        objective,
        design=design,
        class_sums=rotate(objective.class_sums),
        means=rotate(objective.means),
        center=np.zeros(r),
        counts=Counter(),
    )

    def restore(point: Array) -> Array:
        return Centring(center).undo(np.column_stack([back(point[:, :r]), point[:, r:]]))

    return rotated, restore


def _products(X: Array) -> _Basis | None:
    """A basis from the Cholesky factor of X X', where X is so round that it is orthonormal.

    Half of the digits are lost on the way, so it is not for columns in different units.
    """
    n = X.shape[0]
    gram = X @ X.T
    factor, pivots, rank, _ = lapack.dpstrf(gram, tol=n * EPS * float(gram.diagonal().max()))
    size = factor.diagonal()
    if not rank or size[rank - 1] < ROUND * size[0]:
        return None
    order = pivots - 1
    coordinates = np.empty((n, rank))
    coordinates[order] = np.triu(factor)[:rank].T
    R, rows_of = factor[:rank, :rank], X[order[:rank]]

    def into(rows: Array) -> Array:
        return solve_triangular(R, rows_of @ rows.T, trans="T", check_finite=False).T

    def back(point: Array) -> Array:
        return solve_triangular(R, point.T, check_finite=False).T @ rows_of

    return coordinates, into, back


def _reflections(X: Array) -> _Basis:
    """A basis by Householder's reflections, which are kept as they are."""
    n, p = X.shape
    (reflectors, tau), R = qr(X.T, mode="raw", check_finite=False)

    def times(rows: Array, transposed: bool) -> Array:
        """Rows (K, p) times Q or its transpose; V is the first n columns of Q (p, p)."""
        c = np.asfortranarray(rows.T)
        work = 64 * c.shape[1]
        product, _, _ = lapack.dormqr("L", "T" if transposed else "N", reflectors, tau, c, work)
        return product.T

    def back(point: Array) -> Array:
        padded = np.zeros((point.shape[0], p))
        padded[:, :n] = point
        return times(padded, False)

    return np.ascontiguousarray(R[:n].T), lambda rows: times(rows, True)[:, :n], back


def wide(objective: Objective) -> bool:
    """Whether the row space is so small that its Hessian can be factored, and X's cannot."""
    n = objective.design.n
    size = objective.K * (n + 1) if objective.coupled else n + 1
    return (
        n < objective.p
        and n * objective.p <= LARGEST_BASIS
        and factorable(size)
        and not can_factor(objective)
    )
