"""A point with what a sweep found there, handed from one solver to the next."""

from typing import NamedTuple

import numpy as np

from .._objective import Objective
from .._typing import Array
from .gauge import best_shift

ROUNDING = 8 * np.finfo(float).eps


class Evaluated(NamedTuple):
    """A point, and the mean loss there.

    Attributes
    ----------
    point : ndarray of shape (K, q)
    loss : ndarray of shape (m,)
    gradient : ndarray of shape (K, q)
        Of the loss.
    """

    point: Array
    loss: Array
    gradient: Array

    @classmethod
    def at(cls, objective: Objective, point: Array) -> "Evaluated":
        """One sweep at ``point``."""
        return cls(point, *objective.loss_gradient(point))

    def shifted(self, objective: Objective) -> "Evaluated":
        """Where the penalty is least among all points with these probabilities.

        The loss is the same there and is not found again, unless the shift is so large that it
        costs digits.
        """
        point = best_shift(objective, self.point)
        moved, size = (float(np.abs(x).max(initial=0.0)) for x in (point - self.point, point))
        if moved <= ROUNDING * size:
            return self._replace(point=point)
        return Evaluated.at(objective, point)
