"""Solutions for one loss and many penalties, each from the last one's.

With more features than rows and no L1 penalty, the change to the row space of X is made once for
all of them; each solution is then certified with X itself.

References
----------
Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent", section 2.5: warm starts along a decreasing penalty.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from .._objective import Objective
from .._typing import Array
from .row_space import in_row_space, wide
from .solution import Solution
from .table import FINER, solve


def solve_path(
    objective: Objective,
    penalties: Iterable[tuple[float, float]],
    solver: str = "auto",
    tol: float = 1e-4,
    max_iter: int = 1000,
    verbose: int = 0,
) -> Iterator[Solution]:
    """Minimise ``objective`` with one penalty after another; solutions, as they come.

    Parameters
    ----------
    objective : Objective
        Its own penalty does not matter.
    penalties : iterable of (float, float)
        lambda1 and lambda2, from the strongest to the weakest.
    solver : str, default="auto"
    tol : float, default=1e-4
        Each solution is certified as `solve` does it.
    max_iter : int, default=1000
        For each solution.
    verbose : int, default=0

    Yields
    ------
    solution : Solution
    """
    start: Array | None = None
    known: tuple[Array, Array] | None = None
    row_space: _RowSpace | None = None
    here = objective
    for lambda1, lambda2 in penalties:
        here = here.penalised(lambda1, lambda2)
        if lambda1 == 0 and wide(here):
            row_space = row_space or _RowSpace(here)
            solution = row_space.solve(here, solver, tol, max_iter, verbose)
        else:
            near = start is not None
            solution = solve(here, solver, tol, max_iter, start, verbose, near=near, known=known)
        yield solution
        start, known = _start_from(here, solution)


class _RowSpace:
    """The objective in the row space of X, and where its last minimum was."""

    def __init__(self, objective: Objective) -> None:
        self.rotated, self.restore = in_row_space(objective)
        self.start: Array | None = None

    def solve(
        self, here: Objective, solver: str, tol: float, max_iter: int, verbose: int
    ) -> Solution:
        """Minimise in the row space, then certify (and, if need be, go on) with X itself."""
        rotated = self.rotated.penalised(float(here.lambda1[0]), float(here.lambda2[0]))
        self.rotated = rotated  # with what it will have cached
        near = self.start is not None
        precise = FINER**2 * tol
        rough = solve(rotated, "auto", precise, max_iter, self.start, verbose, near=near)
        self.start, _ = _start_from(rotated, rough)
        left = max_iter - int(rough.n_iter.max(initial=0))
        solution = solve(here, solver, tol, left, self.restore(self.start), verbose, near=True)
        return replace(solution, n_iter=solution.n_iter + rough.n_iter)


def _start_from(
    objective: Objective, solution: Solution
) -> tuple[Array, tuple[Array, Array] | None]:
    """A solution as a point (K, q) to go on from, and the loss and its gradient there.

    The null model, of which nothing is known, if it is no number.
    """
    point = np.column_stack([solution.coef, solution.intercept])[:, : objective.q]
    if np.isfinite(point).all():
        return point, solution.known
    return objective.null_point(), None
