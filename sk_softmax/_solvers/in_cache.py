"""Newton's method on problems so small that calls would cost more than the arithmetic.

All iterations of a problem are one call (see the kernels), on a copy of X that stays in the
processor's cache.  One-vs-all problems are solved one by one: they share no pass over X, but what
they share of the cache is faster.
"""

from collections.abc import Iterator

import numpy as np

from .._design import WORTH
from .._objective import Objective
from .._preconditioner import Centring
from .._typing import Array
from .cost import ROWS_A_COORDINATE
from .samples import FRACTIONS, NOISE
from .solution import Control

FEATURES = 2**19  # entries of X that stay in a core's cache with what is made of them
ROWS = 512  # in a block of them
WORK = 2e7  # multiplications in a step up to which they are made in one call
BEYOND = 1e-3  # of the goal: where the iterations in one call end
ROWS_A_CLASS = 2  # times a problem's coordinates: fewer are no sample of a class


def fits_in_cache(objective: Objective) -> bool:
    """Whether a whole Newton step takes less time than the calls that would make it."""
    n, q, size = objective.design.n, objective.q, objective.hessian_size
    outputs = size // q if q else 0
    work = n * size * (q + outputs) + size**3 / 3
    small = n * q <= FEATURES and n * outputs * (outputs + 1) <= FEATURES
    return small and 0 < work <= WORK and bool((objective.lambda2 > 0).all())


def newton_in_cache(objective: Objective, control: Control, start: Array) -> tuple[Array, Array]:
    """Where Newton iterations lead from ``start``, and their numbers, (m,).

    They go on beyond the goal, which costs little, so that the duality gap certifies the end.
    """
    from .._kernels.newton import newton_problem

    target, n = objective.target, objective.design.n
    A, y, s = _blocks(objective)
    centring = Centring(objective.center)
    point = centring.apply(start)
    parts = list(_parts(objective, control, y, s))

    def problem(k: int) -> tuple[int, int]:
        column, sides, own = -1, np.ones(2), point
        if not objective.coupled:
            assert target.positive is not None
            assert target.negative is not None
            column, own = target.columns[k], point[k : k + 1]
            sides = np.array([target.negative[k], target.positive[k]])
        iterations = rows = 0
        for count, scale, tol, goal in parts:
            steps, evaluations = newton_problem(
                A[:count],
                objective.center,
                y[:count],
                s[:count] * scale,
                column,
                sides,
                objective.lambda2[k],
                own,
                tol,
                goal[k],
                control.max_iter - iterations,
            )
            iterations += steps
            rows += evaluations * n * count // y.shape[0]
        return iterations, rows

    problems = range(objective.n_problems)
    work = objective.n_problems * n * objective.hessian_size**2
    counts = np.array(objective.workers.map(problem, problems, work >= WORTH))
    objective.counts["rows"] += int(counts[:, 1].max())
    return centring.undo(point), counts[:, 0]


def _blocks(objective: Objective) -> tuple[Array, Array, Array]:
    """Features (blocks, q, m), classes and weights (blocks, m), rows of weight 0 at the ends.

    Neighbouring rows are in different blocks, so that the first blocks are a sample of all.
    """
    n, p, target = objective.design.n, objective.p, objective.target
    count = -(-n // ROWS)
    m = -(-n // count)
    A = np.zeros((count, objective.q, m))
    y, s = np.zeros((count, m), np.int64), np.zeros((count, m))
    for block, a in enumerate(A):
        rows = slice(0, n) if count == 1 else np.arange(block, n, count)
        ((_, X),) = objective.design.row_blocks(rows, m)
        np.subtract(X.T, objective.center[:, None], out=a[:p, : X.shape[0]])
        a[p:] = 1.0
        y[block, : X.shape[0]], s[block, : X.shape[0]] = target.y[rows], target.s[rows]
    return A, y, s


def _parts(
    objective: Objective, control: Control, y: Array, s: Array
) -> Iterator[tuple[int, float, float, Array]]:
    """Blocks to take, what a row of them stands for, tol and goal: samples, then all."""
    blocks, size, n = y.shape[0], objective.hessian_size, objective.design.n
    for fraction in FRACTIONS:
        count = blocks // fraction
        rows = count * y.shape[1]
        if rows < ROWS_A_COORDINATE * size:
            continue
        members = np.bincount(y[:count][s[:count] > 0], minlength=int(y.max()) + 1)
        if members.min() >= ROWS_A_CLASS * size:
            goal = np.full(objective.n_problems, NOISE * size / rows)
            yield count, n / rows, np.inf, goal
    yield blocks, 1.0, control.tol, BEYOND * control.goal
