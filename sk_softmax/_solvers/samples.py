"""A start from fits of parts of the rows, each as precise as such a part can be.

Most of the way to the optimum can be gone on a sixteenth and then on a quarter of the rows.

References
----------
Bollapragada, Byrd and Nocedal (2019), "Exact and inexact subsampled Newton methods for
optimization", section 2: samples that grow with the precision wanted.
"""

from collections.abc import Callable

import numpy as np

from .._objective import Objective
from .._preconditioner.make import can_factor, can_factor_by_class
from .._preconditioner.rows import stratified_rows
from .._typing import Array
from .cost import ROWS_A_COORDINATE, sampled
from .run import Run
from .solution import Control

FRACTIONS = (16, 4)  # of the rows
PART_ENTRIES = 2**22  # of X that are copied, at most
NOISE = 0.05  # of the part's own error, down to which its optimum is sought
WIDE_ROWS = 10_000  # of a part, at least, where Hessians are too large to be factored
ROUGH = 1e-2  # of the null objective: how near its optimum is then sought
ITERATIONS = 32  # on a part, at most


def rough_start(
    objective: Objective, control: Control, start: Array, minimise: Callable[[Run], None]
) -> tuple[Array, int]:
    """Where fits of parts of the rows lead from ``start``.

    Parameters
    ----------
    objective : Objective
    control : Control
    start : ndarray of shape (K, q)
    minimise : callable
        Goes on with a run until it is done.

    Returns
    -------
    point : ndarray of shape (K, q)
    iterations : int
        That they took.
    """
    iterations = rows = 0
    n, size = objective.design.n, objective.hessian_size
    most = int(PART_ENTRIES / max(1.0, objective.design.entries_a_row))
    wide = not can_factor(objective)
    worth = not can_factor_by_class(objective) if wide else sampled(objective)
    if control.near or not objective.has_l2 or not worth:
        return start, 0
    for fraction in FRACTIONS:
        if control.stopped:
            break
        before, rows = rows, min(n // fraction, most)
        if rows < max(2 * before, WIDE_ROWS if wide else ROWS_A_COORDINATE * size):
            continue
        at = start if iterations else None
        part = objective.take_rows(*stratified_rows(objective, rows, at))
        goal = np.full(objective.n_problems, NOISE * size / part.design.n)
        if wide:  # the penalty, not the rows, keeps the coefficients small
            goal = ROUGH * objective.null_value
        left = min(ITERATIONS, control.max_iter - iterations)
        run = Run(part, control.rough(goal, left), start)
        minimise(run)
        start = run.point
        iterations += run.iterations
        del part, run  # before the next one is made
    return start, iterations
