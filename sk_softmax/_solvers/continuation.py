"""A start from fits with stronger penalties, each a tenth of the last.

With a weak penalty conjugate gradients need many products with the Hessian, and Newton steps from
afar are too long; both grow with the steps' distance.  The optimum for a penalty ten times as
strong costs little and is near.

References
----------
Allgower and Georg (1990), "Numerical Continuation Methods: An Introduction", chapter 2.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._objective import Objective
from .._typing import Array
from .run import Run
from .solution import Control

FACTOR = 10.0  # between penalties
STAGES = 6  # at most
PRECISION = 1e-4  # of the null objective: how near each optimum is sought


def continuation(
    objective: Objective, control: Control, start: Array, minimise: Callable[[Run], None]
) -> tuple[Array, int]:
    """Where fits with stronger L2 penalties lead from ``start``.

    The first is about as strong as the features' total variance over n: there penalty and data
    weigh as much.

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
    weakest = float(objective.lambda2.min())
    if control.near or weakest == 0:
        return start, 0
    first, second = objective.moments
    total = objective.target.s.sum()
    variance = float(np.maximum(second / total - (first / total) ** 2, 0.0).sum())
    ratio = max(variance / objective.design.n / weakest, 1.0)
    stages = min(int(np.log(ratio) / np.log(FACTOR) + 0.5), STAGES)
    goal = PRECISION * objective.null_value
    iterations = 0
    for stage in range(stages, 0, -1):
        if control.stopped:
            break
        stronger = replace(objective, lambda2=objective.lambda2 * FACTOR**stage)
        left = control.max_iter - iterations
        run = Run(stronger, control.rough(goal, left), start)
        minimise(run)
        start = run.point
        iterations += run.iterations
    return start, iterations
