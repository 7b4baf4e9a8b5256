"""What rows should be classified as, and how much each one counts."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from .._kernels.pointwise import sigmoid_residual, softmax_residual
from .._typing import Array

FEW_CLASSES = 32  # up to which zeros cost less than a sparse product


@dataclass(frozen=True)
class Target:
    """What the rows should be classified as, and how much each one counts.

    Attributes
    ----------
    y : ndarray of shape (n,), int64
        Class codes.
    s : ndarray of shape (n,), float64
        Row weights.
    columns : ndarray of shape (K,), int64
        The class behind each output.
    positive, negative : ndarray of shape (K,), float64 or None
        One-vs-all: the factor on a row's weight in problem k, for rows of class ``columns[k]``
        and for the others.  None: softmax.
    """

    y: Array
    s: Array
    columns: Array
    positive: Array | None = None
    negative: Array | None = None

    @property
    def softmax(self) -> bool:
        return self.positive is None

    @cached_property
    def has_sides(self) -> bool:
        """Whether a row's weight depends on the problem."""
        if self.positive is None or self.negative is None:
            return False
        return bool((self.positive != 1).any() or (self.negative != 1).any())

    def side_weights(self, y: Array) -> Array:
        """One-vs-all: the factor on the weights of rows with codes ``y``, (rows, K)."""
        assert self.positive is not None
        assert self.negative is not None
        return np.where(y[:, None] == self.columns, self.positive, self.negative)

    def sides_of(self, k: int) -> tuple[int, float, float]:
        """One-vs-all: the class behind output k, and the factors on weights."""
        assert self.positive is not None
        assert self.negative is not None
        return self.columns[k], self.positive[k], self.negative[k]

    def take_outputs(self, outputs: Array) -> "Target":
        """The target of some of the one-vs-all problems."""
        assert self.positive is not None
        assert self.negative is not None
        return replace(
            self,
            columns=self.columns[outputs],
            positive=self.positive[outputs],
            negative=self.negative[outputs],
        )

    def residual(self, Z: Array, rows: slice) -> Array:
        """Turn logits Z into residuals in place; the loss, (1,) for softmax and (K,) else."""
        y, s = self.y[rows], self.s[rows]
        if self.softmax:
            return np.array([softmax_residual(Z, y, s)])
        loss = np.zeros(self.columns.size)
        sigmoid_residual(Z, y, s, self.columns, self.positive, self.negative, loss)
        return loss


def one_hot(y: Array, s: Array, n_classes: int) -> Any:
    """Sparse (n, n_classes): s_i in column y_i."""
    return sparse.csr_array((s, y, np.arange(y.size + 1)), shape=(y.size, n_classes))


def weights_by_class(y: Array, s: Array, n_classes: int) -> Array:
    """Dense (n, n_classes): s_i in column y_i."""
    weight = np.zeros((y.size, n_classes))
    weight[np.arange(y.size), y] = s
    return weight
