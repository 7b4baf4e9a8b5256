"""More features than rows: the row space of X, where n coordinates an output do.

With an L2 penalty or none, the optimal (of equal ones, the smallest) coefficients lie in the span
of the centred rows.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.linalg import lapack, qr

from .._design.make import make_design
from .._objective import Objective
from .._preconditioner import Centring, can_factor, factorable
from .._typing import Array

LARGEST_BASIS = 10_000_000  # entries of a dense basis of the row space


def in_row_space(objective: Objective) -> tuple[Objective, Callable[[Array], Array]]:
    """The objective in the coordinates of an orthonormal basis of X's row space.

    With an L2 penalty or none, the optimal (of equal ones, the smallest) coefficients lie in the
    span of the centred rows, so n coordinates do for any number of features.

    Returns
    -------
    rotated : Objective
        On the design (X - center) V, (n, n); V (p, n) has orthonormal columns.
    restore : callable
        From a point (K, n + 1) of ``rotated`` to the point (K, q).
    """
    p = objective.p
    center = objective.center
    X = (
        np.concatenate(
            [X for _, X in objective.design.row_blocks(slice(0, objective.design.n), 4096)]
        )
        - center
    )
    (reflectors, tau), R = qr(X.T, mode="raw", check_finite=False)
    n = objective.design.n
    design = make_design(np.ascontiguousarray(R[:n].T))

    def times(rows: Array, transposed: bool) -> Array:
        """Rows (K, p) times Q or its transpose; V is the first n columns of Q (p, p)."""
        c = np.asfortranarray(rows.T)
        work = 64 * c.shape[1]
        product, _, _ = lapack.dormqr("L", "T" if transposed else "N", reflectors, tau, c, work)
        return product.T

    def rotate(sums: Array) -> Array:
        weight = sums[:, p:] if objective.fit_intercept else np.zeros((sums.shape[0], 1))
        return np.column_stack([times(sums[:, :p] - weight * center, True)[:, :n], sums[:, p:]])

    rotated = replace(
        objective,
        design=design,
        class_sums=rotate(objective.class_sums),
        means=rotate(objective.means),
        center=np.zeros(n),
        counts=Counter(),
    )

    def restore(point: Array) -> Array:
        padded = np.zeros((point.shape[0], p))
        padded[:, :n] = point[:, :n]
        return Centring(center).undo(np.column_stack([times(padded, False), point[:, n:]]))

    return rotated, restore


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
