"""Newton's method on problems so small that calls would cost more than the arithmetic.

All iterations of some problems are one call (see the kernels), on a copy of X by blocks of rows:
each block serves all of them while it is in the processor's cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from .._design.chunks import worth_threads
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from .cost import ROWS_A_COORDINATE
from .run import Run
from .samples import FRACTIONS, NOISE
from .solution import Control

FEATURES = 2**22  # entries of X that are copied, at most
GROUPS = 2  # of problems for each thread, at least; those of a group share each block of rows
HESSIANS = 2**17  # entries of all Hessians of a group, unless it is a single problem
WORK = 4e7  # multiplications in a step up to which they are made in one call
SHARE = 0.15  # of the mean curvature: rows with less are left out of Hessians
MANY = 32  # features from which that is worth looking for them
SINGLE_WORK = 2**23  # multiplications in a step from which it is made in single precision
SINGLE_LARGEST = 1e12  # entry of X less its mean whose products are in range there
BEYOND = 0.1  # of the goal: where the iterations in one call end
ROWS_A_CLASS = 2  # times a problem's coordinates: fewer are no sample of a class


def fits_in_cache(objective: Objective) -> bool:
    """Whether a whole Newton step takes less time than the calls that would make it."""
    n, q, size = objective.design.n, objective.q, objective.hessian_size
    outputs = size // q if q else 0
    work = n * size * (q + outputs) + size**3 / 3
    return n * q <= FEATURES and 0 < work <= WORK and objective.has_l2


def newton_in_cache(objective: Objective, control: Control, start: Array) -> Run:
    """A run that has made Newton iterations from ``start``, (K, q).

    They go on beyond the goal, which costs little, so that the duality gap certifies the end.
    """
    problems = _Problems.of(objective, control)
    centring = Centring(objective.center)
    point = centring.apply(start)
    made, rows = problems.solve(point, problems.shares)
    objective.counts["rows"] += rows
    end = centring.undo(point)
    run = Run(objective, control, end, problems.known(end))
    if control.watch is not None:
        again, point = partial(problems.solve, shares=problems.shares), centring.apply(start)
        seen = replay(again, control, centring.undo, point, made, run)
        if (seen < made).any():  # who looks on stopped it
            made, run = seen, Run(objective, control, centring.undo(point))
    run.count_each(made.sum(axis=0))
    run.note_state("newton in cache")
    return run


def replay(
    solve: Callable[..., object],
    control: Control,
    restore: Callable[[Array], Array],
    point: Array,
    made: Array,
    end: Run,
) -> Array:
    """The iterations that were ``made``, (parts, m), once more for who looks on, one by one.

    In one call they take less time than it takes to look.  ``solve`` makes the same ones, so that
    nothing depends on being looked at.

    Parameters
    ----------
    solve : callable
        ``solve(point, allowed=allowed)`` moves a point by the iterations allowed on each part,
        (parts, m).
    control : Control
    restore : callable
        From a point, which it may overwrite, to one for who looks on.
    point : ndarray of shape (K, q)
        The start; on return where the iterations end or are stopped.
    made : ndarray of shape (parts, m)
    end : Run
        What is known after the last of them.

    Returns
    -------
    made : ndarray of shape (parts, m)
        Iterations until there.
    """
    ends = made.cumsum(axis=0)
    last = int(ends[-1].max()) - 1
    for iteration in range(last + 1):
        control.begin()
        now = (ends - made <= iteration) & (iteration < ends)
        solve(point, allowed=now.astype(np.int64))
        known = end if iteration == last else None
        if control.end(np.flatnonzero(now.any(axis=0)), lambda: restore(point.copy()), known):
            return np.clip(iteration + 1 - (ends - made), 0, made)
    return made


@dataclass
class _Problems:
    """What the kernel takes of an objective, and in which groups of problems it is called.

    Attributes
    ----------
    A, y, s
        `Objective.turned_rows`; of binary problems that are not small A and s in single precision.
    columns, sides : ndarray of shape (m,) and (m, 2)
        See the kernel of binary problems; none for softmax.
    parts : list
        See `_parts`.
    groups : list of slice
    values, gradients : ndarray of shape (m,) and (m, outputs of a problem, q)
        What the kernel knows of the ends.
    """

    objective: Objective
    max_iter: int
    A: Array
    y: Array
    s: Array
    columns: Array
    sides: Array
    parts: list[tuple[int, float, float, Array]]
    groups: list[slice]
    values: Array
    gradients: Array

    @classmethod
    def of(cls, objective: Objective, control: Control) -> "_Problems":
        A, y, s = objective.turned_rows
        if _in_single(objective, A):
            A, s = A.astype(np.float32), s.astype(np.float32)
        columns, sides = binary_sides(objective)
        wanted = objective.n_problems * objective.hessian_size**2 // HESSIANS
        slices = groups(objective, wanted)
        parts = list(_parts(objective, control, y, s))
        gradients = stacked(objective, np.empty((objective.K, objective.q)))
        values = np.empty(objective.n_problems)
        rows = A, y, s
        return cls(
            objective, control.max_iter, *rows, columns, sides, parts, slices, values, gradients
        )

    @property
    def shares(self) -> Array:
        """Of the mean curvature, what a row's must be to count in Hessians at first, (parts, m)."""
        share = SHARE if self.objective.q >= MANY else 0.0
        return np.full((len(self.parts), self.objective.n_problems), share)

    def solve(self, point: Array, shares: Array, allowed: Array | None = None) -> tuple[Array, int]:
        """Move ``point``, (K, q) in the centred coordinates, to where iterations lead from it.

        Parameters
        ----------
        point : ndarray of shape (K, q)
        shares : ndarray of shape (parts, m)
            See the kernel.
        allowed : ndarray of shape (parts, m), int, optional
            How many to make on each part; by default as many as it takes.

        Returns
        -------
        made : ndarray of shape (parts, m)
        rows : int
            Read for that.
        """
        objective = self.objective
        problems = stacked(objective, point)
        null = self.columns.size > 1 and not point[:, : objective.p].any()
        null = null and bool((self.sides == 1).all())

        def solve(group: slice) -> tuple[Array, Array]:
            return self._solve_group(group, problems, null, shares, allowed)

        found = objective.workers.map(solve, self.groups, worth_threads(hessian_work(objective)))
        made = np.concatenate([made for made, _ in found], axis=1)
        return made, max(int(rows.max()) for _, rows in found)

    def known(self, end: Array) -> tuple[Array, Array] | None:
        """Loss (m,) and its gradient (K, q) where `solve` ended, if the kernel kept all digits.

        ``end`` : ndarray of shape (K, q), the ends as users get them.
        """
        if self.A.dtype == np.float32 or np.isnan(self.values).any():
            return None
        objective = self.objective
        gradient = Centring(objective.center).push(self.gradients.reshape(end.shape))
        ridge = objective.ridge(end)
        return self.values - objective.by_problem(end * ridge) / 2, gradient - ridge

    def _solve_group(
        self, some: slice, problems: Array, null: bool, shares: Array, allowed: Array | None
    ) -> tuple[Array, Array]:
        from .._kernels.newton import newton_binary, newton_softmax

        objective, n = self.objective, self.objective.design.n
        made = np.zeros((len(self.parts), some.stop - some.start), np.int64)
        rows = np.zeros(made.shape[1], np.int64)
        for part, (count, scale, tol, goal) in enumerate(self.parts):
            limits = self.max_iter - made.sum(axis=0)
            if allowed is not None:
                limits = allowed[part, some]
                if not limits.any():
                    continue
            counts = np.zeros((rows.size, 2), np.int64)
            data = (
                self.A[:count],
                objective.center,
                self.y[:count],
                self.s[:count] * self.s.dtype.type(scale),
            )
            lambda2, points = objective.lambda2[some], problems[some]
            if objective.coupled:
                ends = tol, goal[0], limits[0]
                self.values[0] = newton_softmax(
                    *data, lambda2[0], points[0], *ends, self.gradients[0], counts[0]
                )
            else:
                kinds, ends = (self.columns[some], self.sides[some]), (tol, goal[some], limits)
                first = null and part == 0
                found = self.values[some], self.gradients[some]
                newton_binary(
                    *data, *kinds, lambda2, points, *ends, first, shares[part, some], *found, counts
                )
            made[part] = counts[:, 0]
            rows += counts[:, 1] * n * count // self.y.shape[0]
        return made, rows


def hessian_work(objective: Objective) -> int:
    """Multiplications in the Hessians of a step."""
    return objective.n_problems * objective.design.n * objective.hessian_size**2


def _in_single(objective: Objective, A: Array) -> bool:
    """Whether single precision saves time, and A is in its range."""
    return not objective.coupled and hessian_work(objective) >= SINGLE_WORK and in_range(A)


def in_range(A: Array) -> bool:
    """Whether products of A's entries are in the range of single precision."""
    return max(float(A.max()), -float(A.min())) <= SINGLE_LARGEST


def binary_sides(objective: Objective) -> tuple[Array, Array]:
    """Classes (m,) of binary problems, and factors on their sides' weights, (m, 2); or none."""
    target = objective.target
    if target.positive is None or target.negative is None:
        return np.empty(0, np.int64), np.empty((0, 2))
    return target.columns, np.column_stack([target.negative, target.positive])


def stacked(objective: Objective, values: Array) -> Array:
    """A view of (K, q) as (m, outputs of a problem, q)."""
    return values[None] if objective.coupled else values[:, None]


def groups(objective: Objective, wanted: int = 0) -> list[slice]:
    """Of problems: as many as are wanted, or enough for the threads."""
    m = objective.n_problems
    count = min(m, max(GROUPS * objective.workers.n_threads, wanted))
    return [slice(*ends) for ends in pairwise(m * group // count for group in range(count + 1))]


def _parts(
    objective: Objective, control: Control, y: Array, s: Array
) -> Iterator[tuple[int, float, float, Array]]:
    """Blocks to take, what a row of them stands for, tol and goal: samples, then all."""
    blocks, size, n = y.shape[0], objective.hessian_size, objective.design.n
    for fraction in () if control.near else FRACTIONS:
        count = blocks // fraction
        rows = count * y.shape[1]
        if rows < ROWS_A_COORDINATE * size:
            continue
        members = np.bincount(y[:count][s[:count] > 0], minlength=int(y.max()) + 1)
        if members.min() >= ROWS_A_CLASS * size:
            goal = np.full(objective.n_problems, NOISE * size / rows)
            yield count, n / rows, np.inf, goal
    yield blocks, 1.0, control.tol, BEYOND * control.goal
