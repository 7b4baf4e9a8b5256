"""Which C and l1_ratio cross-validation chooses, from the scores of its folds.

References
----------
Breiman, Friedman, Olshen and Stone (1984), "Classification and Regression Trees", section 3.4.3:
the rule of one standard error.
"""

from dataclasses import dataclass

import numpy as np

from .._typing import Array


@dataclass(frozen=True)
class Selection:
    """What the folds' scores say of each point of the grid, and the choice.

    Attributes
    ----------
    mean : ndarray of shape (n_l1_ratios, n_Cs)
        Mean over folds; nan where a fold has nan.
    error : ndarray of shape (n_l1_ratios, n_Cs)
        Standard errors of the means; nan with a single fold.
    best : tuple of int
        l1_ratio and C with the best mean. Of equal ones the first C, then the first l1_ratio: the
        order in which `GridSearchCV` tries them.
    """

    mean: Array
    error: Array
    best: tuple[int, int]

    @classmethod
    def of(cls, scores: Array) -> "Selection":
        """From scores (n_folds, n_l1_ratios, n_Cs)."""
        # points by rows, in GridSearchCV's order: its sums, and so its ties, to the last bit
        by_point = np.ascontiguousarray(scores.transpose(2, 1, 0))
        mean = np.average(by_point, axis=2)
        first = _first_best(mean)
        n_folds = scores.shape[0]
        error = np.full(mean.shape, np.nan)
        if n_folds > 1:
            error = by_point.std(axis=2, ddof=1) / np.sqrt(n_folds)
        C, l1_ratio = np.unravel_index(first, mean.shape)
        return cls(mean.T, error.T, (int(l1_ratio), int(C)))

    def one_standard_error(self, Cs: Array) -> tuple[int, int]:
        """The smallest C whose mean is within a standard error of the best, at its l1_ratio.

        The standard error is that of the best; 0 where it is not known.
        """
        l1_ratio, C = self.best
        allowed = np.nan_to_num(self.error[l1_ratio, C])
        within = self.mean[l1_ratio] >= self.mean[l1_ratio, C] - allowed
        smaller = within & (Cs < Cs[C])
        return l1_ratio, int(np.where(smaller, Cs, np.inf).argmin()) if smaller.any() else C


def best_of_each_fold(scores: Array) -> list[tuple[int, int] | None]:
    """Each fold's own best l1_ratio and C; None for folds without a score."""
    chosen: list[tuple[int, int] | None] = []
    for of_fold in scores:
        C, l1_ratio = np.unravel_index(_first_best(of_fold.T), of_fold.T.shape)
        known = not np.isnan(of_fold).all()
        chosen.append((int(l1_ratio), int(C)) if known else None)
    return chosen


def _first_best(values: Array) -> int:
    """Where the largest entry is, in C order, of equal ones the first; nan is no value."""
    return int(np.where(np.isnan(values), -np.inf, values).argmax())
