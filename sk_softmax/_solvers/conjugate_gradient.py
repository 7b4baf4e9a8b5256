"""Conjugate gradients for the Newton systems of several problems at once.

The problems share each product with the Hessian, and nothing else: step lengths, stopping and
rounding are each one's own.

References
----------
Nocedal and Wright (2006), "Numerical Optimization", algorithm 5.2.
"""

from collections.abc import Callable

import numpy as np

from .._typing import Array

# Residual that may be left, relative to the right-hand side, and iterations:
LOOSE = (0.1, 200)  # for a step
CERTAIN = (1e-8, 1000)  # for a certificate


def conjugate_gradient(
    product: Callable[[Array], Array], rhs: Array, tol: float = 0.1, max_iter: int = 200
) -> Array:
    """About the solution v of H v = rhs, block by block.

    A block ends when its residual is small, or when rounding leaves no curvature along its
    direction; ``(v * rhs).sum(axis=1)`` is never negative.

    Parameters
    ----------
    product : callable
        (m, d) -> (m, d): each block's symmetric positive semidefinite H times its row.
    rhs : ndarray of shape (m, d)
    tol : float, default=0.1
        Residual that may be left, relative to ``rhs``.
    max_iter : int, default=200

    Returns
    -------
    v : ndarray of shape (m, d)
    """
    v = np.zeros_like(rhs)
    residual, direction, scratch = rhs.copy(), rhs.copy(), np.empty_like(rhs)
    size = _dots(residual, residual)
    squares = size  # of the directions
    goal = tol**2 * size
    goes_on = size > goal
    for _ in range(max_iter):
        if not goes_on.any():
            break
        image = product(direction)
        curvature = _dots(direction, image)
        floor = 4 * np.finfo(float).eps * np.sqrt(squares * _dots(image, image))
        goes_on &= curvature > floor
        length = np.where(goes_on, size / np.where(goes_on, curvature, 1.0), 0.0)[:, None]
        v += np.multiply(direction, length, out=scratch)
        residual -= np.multiply(image, length, out=scratch)
        previous, size = size, _dots(residual, residual)
        goes_on &= size > goal
        ratio = np.where(goes_on, size / np.where(goes_on, previous, 1.0), 0.0)[:, None]
        direction *= ratio
        direction += residual
        direction[~goes_on] = 0.0
        squares = _dots(direction, direction)
    return v


def _dots(a: Array, b: Array) -> Array:
    return np.array([x @ y for x, y in zip(a, b, strict=True)])
