"""Outputs and features of the objective, and its rows block by block."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .._design.chunks import MOST_ROWS, blocks_of, cut, read_only
from .._design.make import Design
from .._design.target import Target
from .._kernels.columns import class_products, sigmoid_columns, softmax_columns
from .._kernels.tiles import LANES, centred_columns
from .._threads import Workers
from .._typing import Array

BLOCK_ENTRIES = 2**17  # of X brought to float64 at a time
ROWS = 512  # in a block of them all turned


class Outputs:
    """Shapes of `Objective`, which inherits them, and what Hessians take of its rows.

    Its docstring says what the attributes are.
    """

    design: Design
    target: Target
    fit_intercept: bool
    center: Array
    workers: Workers

    @cached_property
    def coupled(self) -> bool:
        return self.target.softmax

    @cached_property
    def K(self) -> int:
        return self.target.columns.size

    @cached_property
    def p(self) -> int:
        return self.design.p

    @cached_property
    def q(self) -> int:
        return self.p + self.fit_intercept

    @cached_property
    def hessian_size(self) -> int:
        """Rows of a problem's Hessian."""
        return self.K * self.q if self.coupled else self.q

    @property
    def groups(self) -> list[slice]:
        """The outputs of each problem."""
        return [slice(0, self.K)] if self.coupled else [slice(k, k + 1) for k in range(self.K)]

    def split(self, point: Array) -> tuple[Array, Array]:
        """coef (K, p) and intercept (K,), both contiguous."""
        intercept = point[:, self.p].copy() if self.fit_intercept else np.zeros(point.shape[0])
        return np.ascontiguousarray(point[:, : self.p]), intercept

    @property
    def n_pairs(self) -> int:
        """Pairs k <= l of outputs whose coefficients share curvature; without coupling k = l."""
        return self.K * (self.K + 1) // 2 if self.coupled else self.K

    def _weights(self, block: Any) -> Array:
        """s_ik for the rows of a block: (K, m), or (1, m) where all k have the same."""
        s = self.target.s[block]
        if not self.target.has_sides:
            return s[None]
        return s * self.target.side_weights(self.target.y[block]).T

    def curvature_blocks(
        self, point: Array, rows: Array | slice, scale: Array | None, size: int
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Blocks of (centred features (q, m), probabilities (K, m), weights (1 or K, m)).

        The features are centred by `center` and end in ones where there is an intercept.
        ``scale`` multiplies the weights of the chosen ``rows``.
        """
        augmented = self._centred_point(point)
        for X, weight in self._with_weights(self.design.row_blocks(rows, size), scale):
            A = np.empty((self.q, X.shape[0]))
            self.centre_into(X, A)
            yield A, self._probability(augmented @ A), weight

    def _centred_point(self, point: Array) -> Array:
        """The point (K, q) in the coordinates in which rows are centred."""
        coef, intercept = self.split(point)
        columns = np.column_stack([coef, intercept + coef @ self.center])
        return np.ascontiguousarray(columns[:, : self.q])

    def centre_into(self, X: Array, A: Array) -> None:
        """Write rows X (m, p) as columns of A (q, at least m), 0 beyond them.

        The features are centred by `center` and end in ones where there is an intercept.
        """
        centred_columns(in_order(X), 0, X.shape[0], self.center, A)

    def _probability(self, raw: Array) -> Array:
        """Logits (K, m) turned into probabilities."""
        if self.coupled:
            softmax_columns(raw, *np.empty((2, raw.shape[1])))
        else:
            sigmoid_columns(raw)
        return raw

    def _pair_weights(self, P: Array, weight: Array) -> Array:
        """Second derivatives of the loss by logits, pair by pair: (pairs, m)."""
        if not self.coupled:
            return weight * P * (1 - P)
        D = np.empty((self.n_pairs, P.shape[1]))
        class_products(P, np.ascontiguousarray(weight[0]), D)
        return D

    def _weighted_blocks(
        self, chunk: slice, rows: Array | None, scale: Array | None
    ) -> Iterator[tuple[Array, Array]]:
        """Blocks of a chunk of all rows, or of the chosen ones, with their weights (1 or K, m)."""
        blocks = self._contiguous_blocks(chunk if rows is None else rows[chunk])
        return self._with_weights(blocks, scale, chunk.start)

    def _with_weights(
        self, blocks: Iterator[tuple[Any, Array]], scale: Array | None, done: int = 0
    ) -> Iterator[tuple[Array, Array]]:
        """Each block's rows, and their weights (1 or K, m) times ``scale`` from ``done`` on."""
        for at, X in blocks:
            weight = self._weights(at)
            if scale is not None:
                weight = weight * scale[done : done + X.shape[0]]
            done += X.shape[0]
            yield X, weight

    def _contiguous_blocks(self, rows: Array | slice) -> Iterator[tuple[Any, Array]]:
        """Blocks of rows as float64 arrays in C order, read-only."""
        for at, X in self.design.row_blocks(rows, max(MOST_ROWS, BLOCK_ENTRIES // max(1, self.p))):
            yield at, in_order(X)

    @cached_property
    def turned_rows(self) -> tuple[Array, Array, Array]:
        """All rows in blocks of equal size, for kernels that make whole fits.

        Centred features (blocks, q, m), classes and weights (blocks, m), with rows of weight 0 at
        the ends.  Neighbouring rows are in different blocks, so that the first blocks are a sample
        of all.
        """
        n = self.design.n
        count = -(-n // ROWS)
        m = -(-n // count)
        m += -m % LANES
        A = np.empty((count, self.q, m))
        y, s = np.zeros((count, m), np.int64), np.zeros((count, m))
        for block, a in enumerate(A):
            rows = slice(0, n) if count == 1 else np.arange(block, n, count)
            ((_, X),) = self.design.row_blocks(rows, m)
            self.centre_into(X, a)
            y[block, : X.shape[0]] = self.target.y[rows]
            s[block, : X.shape[0]] = self.target.s[rows]
        return A, y, s

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Weighted sums of the features and of their squares, each (p,)."""
        return self.design.moments(self.target.s)

    def logit_state(self, point: Array, mixed: Array | None = None) -> Array:
        """What the Hessian is made of, (n, K): see `_logit_state_of`."""
        state = np.empty((self.design.n, self.K))
        of = self._logit_state_of(point, mixed)

        def fill(rows: slice) -> tuple[()]:
            for block in blocks_of(rows, 4096):
                state[block] = of(block)
            return ()

        cut(self.workers, fill, self.design.n, self.design.work(self.K))
        return state

    def logit_curvature(self, state: Array) -> Array:
        """Second derivatives of the weighted loss by each logit, (n, K), from `logit_state`."""
        return state * (1 - state) * self.target.s[:, None] if self.coupled else state

    def _logit_state_of(self, point: Array, mixed: Array | None = None) -> Callable[[slice], Array]:
        """For a range of rows probabilities (softmax) or second derivatives of the loss, (m, K).

        Where given, ``mixed`` (K, 1) is the labels' share in these probabilities.
        """
        coef, intercept = self.split(point)
        Wt = np.ascontiguousarray(coef.T)

        def state(rows: slice) -> Array:
            raw = np.ascontiguousarray(self.design.logits(rows, Wt, intercept).T)
            P = self._probability(raw)
            if mixed is not None and mixed.any():
                P *= 1 - mixed
                P += mixed * (self.target.y[rows] == self.target.columns[:, None])
            if not self.coupled:
                P *= self._weights(rows) * (1 - P)
            return np.ascontiguousarray(P.T)

        return state


def in_order(X: Array) -> Array:
    """X in C order, as kernels take it."""
    return read_only(np.ascontiguousarray(X))
