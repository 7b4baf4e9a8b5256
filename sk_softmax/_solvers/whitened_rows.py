"""The rows of X without units, and if wanted without correlations, for looking at directions."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .._design.chunks import blocks_of
from .._factor import SINGULAR
from .._objective import Objective
from .._preconditioner.make import CONSTANT
from .._typing import Array

EPS = float(np.finfo(float).eps)
ROWS = 2048  # in a block
KEPT = 2**23  # entries of all rows' coordinates that are kept


class Rows:
    """The rows in coordinates c_i, (r,): centred where there is an intercept, and without units.

    Parameters
    ----------
    objective : Objective
    whiten : bool
        Whether sum_i c_i c_i' = I, so that collinear features do not matter; else features are
        just scaled, which is cheaper.
    """

    def __init__(self, objective: Objective, whiten: bool) -> None:
        self.objective, self.n = objective, objective.design.n
        self._basis: Array | None = None  # (q, r), or (q,) for a diagonal
        self._kept: Array | None = None  # (n, r)
        if not whiten:
            squares = sum((A * A).sum(axis=0) for _, A in self.blocks())
            basis = inverse_roots(squares, self._noise)
        elif self.n < objective.q:
            basis = _whitening_wide(self.take(np.arange(self.n)), self._noise)
        else:
            basis = _whitening(objective.gram(np.arange(self.n), np.ones(self.n)), self._noise)
        self._basis, self.r = basis, basis.shape[-1]
        if self.n * self.r <= KEPT:
            self._kept = np.concatenate([C for _, C in self.blocks()])

    @property
    def _noise(self) -> Array:
        """What rounding of its mean leaves of a constant feature's sum of squares, (q,)."""
        noise = np.zeros(self.objective.q)
        noise[: self.objective.p] = (CONSTANT * self.objective.center) ** 2 * self.n
        return noise

    @cached_property
    def lengths(self) -> Array:
        """Of the c_i, (n,); 1 for 0."""
        lengths = np.concatenate([np.linalg.norm(C, axis=1) for _, C in self.blocks()])
        return np.where(lengths > 0, lengths, 1.0)

    def take(self, at: Array | slice) -> Array:
        """c_i of some rows, (m, r)."""
        if self._kept is not None:
            return self._kept[at]
        objective = self.objective
        count = at.stop - at.start if isinstance(at, slice) else at.size
        A = np.ones((count, objective.q))
        for _, X in objective.design.row_blocks(at, count):
            np.subtract(X, objective.center, out=A[:, : objective.p])
        if self._basis is None:
            return A
        return A * self._basis if self._basis.ndim == 1 else A @ self._basis

    def blocks(self, among: Array | slice | None = None) -> Iterator[tuple[Any, Array]]:
        """Blocks of rows, of all or of some, and their c_i."""
        for at in blocks_of(slice(0, self.n) if among is None else among, ROWS):
            yield at, self.take(at)


def inverse_roots(squares: Array, noise: Any) -> Array:
    """1 over the square roots, 0 where there is but noise."""
    return 1 / np.sqrt(np.where(squares > noise, squares, np.inf))


def _whitening(gram: Array, noise: Array) -> Array:
    """B (q, r) with B' gram B = I, for as many directions as rounding leaves."""
    scale = inverse_roots(gram.diagonal(), noise)
    values, vectors = np.linalg.eigh(gram * scale[:, None] * scale)
    kept = values > SINGULAR * scale.size * EPS
    return scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])


def _whitening_wide(A: Array, noise: Array) -> Array:
    """The same for A (n, q) with more columns than rows, B' A' A B = I."""
    scale = inverse_roots((A * A).sum(axis=0), noise)
    _, values, vectors = np.linalg.svd(A * scale, full_matrices=False)
    kept = values**2 > SINGULAR * scale.size * EPS
    return scale[:, None] * vectors[kept].T / values[kept]
