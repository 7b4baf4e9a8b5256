"""Newton's method on problems so small that calls would cost more than the arithmetic.

All iterations of some problems are one call (see the kernels), on a copy of X by blocks of rows:
each block serves all of them while it is in the processor's cache.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from .._curvature import LANES
from .._design import WORTH
from .._objective import Objective
from .._preconditioner import Centring
from .._typing import Array
from .cost import ROWS_A_COORDINATE
from .samples import FRACTIONS, NOISE
from .solution import Control

FEATURES = 2**22  # entries of X that are copied, at most
ROWS = 512  # in a block of them
GROUPS = 2  # of problems for each thread, at least; those of a group share each block of rows
HESSIANS = 2**17  # entries of all Hessians of a group, unless it is a single problem
WORK = 4e7  # multiplications in a step up to which they are made in one call
BEYOND = 0.1  # of the goal: where the iterations in one call end
ROWS_A_CLASS = 2  # times a problem's coordinates: fewer are no sample of a class


def fits_in_cache(objective: Objective) -> bool:
    """Whether a whole Newton step takes less time than the calls that would make it."""
    n, q, size = objective.design.n, objective.q, objective.hessian_size
    outputs = size // q if q else 0
    work = n * size * (q + outputs) + size**3 / 3
    return n * q <= FEATURES and 0 < work <= WORK and bool((objective.lambda2 > 0).all())


def newton_in_cache(objective: Objective, control: Control, start: Array) -> tuple[Array, Array]:
    """Where Newton iterations lead from ``start``, and their numbers, (m,).

    They go on beyond the goal, which costs little, so that the duality gap certifies the end.
    """
    from .._kernels.newton import newton_problems

    target, n = objective.target, objective.design.n
    A, y, s = _blocks(objective)
    centring = Centring(objective.center)
    point = centring.apply(start)
    parts = list(_parts(objective, control, y, s))

    problems = point[None] if objective.coupled else point[:, None]
    columns, sides = np.array([-1]), np.ones((1, 2))
    if target.positive is not None and target.negative is not None:
        columns, sides = target.columns, np.column_stack([target.negative, target.positive])

    def solve(some: slice) -> tuple[Array, Array]:
        iterations, rows = np.zeros((2, some.stop - some.start), np.int64)
        for count, scale, tol, goal in parts:
            counts = np.zeros((iterations.size, 2), np.int64)
            newton_problems(
                A[:count],
                objective.center,
                y[:count],
                s[:count] * scale,
                columns[some],
                sides[some],
                objective.lambda2[some],
                problems[some],
                tol,
                goal[some],
                control.max_iter - iterations,
                counts,
            )
            iterations += counts[:, 0]
            rows += counts[:, 1] * n * count // y.shape[0]
        return iterations, rows

    m = objective.n_problems
    groups = max(GROUPS * objective.workers.n_threads, m * objective.hessian_size**2 // HESSIANS)
    ends = [m * group // min(m, groups) for group in range(min(m, groups) + 1)]
    work = m * n * objective.hessian_size**2
    found = objective.workers.map(solve, [slice(*e) for e in pairwise(ends)], work >= WORTH)
    objective.counts["rows"] += max(int(rows.max()) for _, rows in found)
    return centring.undo(point), np.concatenate([iterations for iterations, _ in found])


def _blocks(objective: Objective) -> tuple[Array, Array, Array]:
    """Features (blocks, q, m), classes and weights (blocks, m), rows of weight 0 at the ends.

    Neighbouring rows are in different blocks, so that the first blocks are a sample of all.
    """
    n, p, target = objective.design.n, objective.p, objective.target
    count = -(-n // ROWS)
    m = -(-n // count)
    m += -m % LANES
    A = np.zeros((count, objective.q, m))
    y, s = np.zeros((count, m), np.int64), np.zeros((count, m))
    for block, a in enumerate(A):
        rows = slice(0, n) if count == 1 else np.arange(block, n, count)
        ((_, X),) = objective.design.row_blocks(rows, m)
        objective.centre_into(X, a)
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
