"""Factors of inverses of symmetric positive semidefinite matrices: M with M' H M = I.

A matrix is scaled to a unit diagonal before anything else, so that units do not matter.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from ._typing import Array

JITTER = 1e-14  # of the unit diagonal, to begin with
SINGULAR = 16  # times size times machine epsilon: eigenvalues of the scaled matrix that are 0
SMALL = 64  # rows up to which inverses cost less than the calls of triangular solves


@dataclass
class Inverses:
    """Several M of one size, each as it is: (B, d, d)."""

    M: Array

    def times(self, u: Array) -> Array:
        """M u for each of the B rows of u, (B, d)."""
        return np.matmul(self.M, u[:, :, None])[:, :, 0]

    def transposed_times(self, g: Array) -> Array:
        """M' g for each of the B rows of g, (B, d)."""
        return np.matmul(self.M.transpose(0, 2, 1), g[:, :, None])[:, :, 0]


@dataclass
class Triangles:
    """Several M = D L^-T, kept as L (lower triangles in Fortran order) and D, (B, d)."""

    L: list[Array]
    scale: Array

    @property
    def least_pivot(self) -> float:
        """How little the other coordinates leave of a coordinate's curvature, of 1."""
        return float(min((L.diagonal().min(initial=1.0) for L in self.L), default=1.0)) ** 2

    def times(self, u: Array) -> Array:
        """M u for each of the B rows of u, (B, d)."""
        solved = [blas.dtrsv(L, v, lower=1, trans=1) for L, v in zip(self.L, u, strict=True)]
        return np.array(solved) * self.scale

    def transposed_times(self, g: Array) -> Array:
        """M' g for each of the B rows of g, (B, d)."""
        g = g * self.scale
        return np.array([blas.dtrsv(L, v, lower=1) for L, v in zip(self.L, g, strict=True)])


def inverse_factors(H: Array) -> tuple[Inverses | Triangles, float]:
    """Factors for the matrices of H (B, d, d), which is overwritten; the largest jitter."""
    if H.size and H.shape[-1] > SMALL:
        found = [_cholesky(block) for block in H]
        return Triangles([L for L, _, _ in found], np.array([D for _, D, _ in found])), max(
            jitter for _, _, jitter in found
        )
    diagonal = np.einsum("bdd->bd", H)
    if H.size and (diagonal > 0).all():
        scale = 1 / np.sqrt(diagonal)
        scaled = H * scale[:, :, None] * scale[:, None, :]
        np.einsum("bdd->bd", scaled)[:] = 1.0 + JITTER
        try:
            L = np.linalg.cholesky(scaled)
        except np.linalg.LinAlgError:
            pass
        else:
            return Inverses(np.linalg.inv(L).transpose(0, 2, 1) * scale[:, :, None]), JITTER
    each = [inverse_factor(block) for block in H]
    M = np.array([M for M, _ in each]).reshape(H.shape)
    return Inverses(M), max((jitter for _, jitter in each), default=JITTER)


def inverse_factor(H: Array) -> tuple[Array, float]:
    """M with M' H M = I, for a symmetric H that should be positive definite.

    A coordinate with a zero diagonal is left out: its row of M is 0.

    Returns
    -------
    M : ndarray of shape (d, d)
    jitter : float
        What had to be added to the unit diagonal of the scaled matrix.
    """
    if not H.size:
        return H.copy(), JITTER
    L, scale, jitter = _cholesky(H.copy())
    inverse, _ = lapack.dtrtri(L, lower=1)
    return np.ascontiguousarray(inverse.T) * scale[:, None], jitter


def solve(H: Array, rhs: Array) -> Array:
    """x with H x = rhs, for a symmetric H (d, d) that should be positive definite."""
    if not H.size:
        return rhs.copy()
    L, scale, _ = _cholesky(H.copy())
    return scale * lapack.dpotrs(L, scale * rhs, lower=1)[0]


def _cholesky(H: Array) -> tuple[Array, Array, float]:
    """L L' = D (H + jitter) D of unit diagonal: L in Fortran order, D and the jitter.

    H is overwritten.
    """
    scale = _unit_diagonal(H)
    jitter = JITTER
    while True:
        H.flat[:: scale.size + 1] = 1.0 + jitter
        L, info = lapack.dpotrf(H.T, lower=1, clean=1)
        if info == 0:
            return L, scale, jitter
        jitter *= 100


def pseudo_inverse_factor(H: Array, noise: Array) -> Array:
    """M with M M' a generalised inverse of H, for a symmetric H >= 0 that may be singular.

    Directions that rounding cannot tell from flat ones are left out: M does not step there.

    Parameters
    ----------
    H : ndarray of shape (d, d)
    noise : ndarray of shape (d,)
        Diagonal entries up to here count as 0.
    """
    scaled = np.where(np.logical_or.outer(*(H.diagonal() <= noise,) * 2), 0.0, H)
    scale = _unit_diagonal(scaled)
    L, info = lapack.dpotrf(scaled, lower=1, clean=1)
    tiny = SINGULAR * scale.size * np.finfo(float).eps
    if info == 0 and L.diagonal().min() ** 2 > tiny:
        inverse, _ = lapack.dtrtri(L, lower=1)
        return np.ascontiguousarray(inverse.T) * scale[:, None]
    values, vectors = np.linalg.eigh(scaled)
    kept = values > tiny
    return scale[:, None] * vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)


def _unit_diagonal(H: Array) -> Array:
    """D of D H D with a unit diagonal, which replaces H; 0 in D where H's diagonal is."""
    diagonal = H.diagonal()
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    H *= scale[:, None]
    H *= scale
    H.flat[:: scale.size + 1] = 1.0
    return scale
