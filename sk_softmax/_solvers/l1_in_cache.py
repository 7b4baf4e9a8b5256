"""Proximal Newton on problems so small that calls would cost more than the arithmetic.

All iterations of some problems are one call (see the kernel), as `in_cache` has it for L2.
"""

from collections.abc import Iterator
from functools import partial
from itertools import count

import numpy as np

from .._design.chunks import worth_threads
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._preconditioner.make import null_curvature
from .._typing import Array
from .gauge import best_shift
from .in_cache import binary_sides, groups, hessian_work, in_range, replay, stacked
from .run import Run
from .solution import Control
from .working_set import fewest_members

ENTRIES = 2**20  # of X, which are copied, at most
SWEEP, HESSIAN = 2**23, 2**30  # multiplications up to which all steps are made in one call
BEYOND = 0.1  # of tol and the goal: where the iterations in one call end
STEPS = 50  # in one call, at most
SINGLE_WORK = 2**26  # multiplications in a Hessian from which it is made in single precision:
SINGLE_STEPS = 20  # so many then


def l1_fits_in_cache(objective: Objective) -> bool:
    """Whether a step takes less time than the calls that would make it."""
    n, q = objective.design.n, objective.q
    outputs = objective.hessian_size // q if q else 0
    entries = n * q
    return 0 < entries <= ENTRIES and entries * outputs <= SWEEP and _set_work(objective) <= HESSIAN


def _set_work(objective: Objective) -> int:
    """Multiplications in the Hessian of a problem on a working set, about the most."""
    n = objective.design.n
    return n * min(objective.hessian_size, 4 * fewest_members(n)) ** 2


def prox_newton_in_cache(objective: Objective, control: Control, start: Array) -> Run:
    """A run that has made proximal Newton steps from ``start``, (K, q), to about the goal."""
    problems = _Problems(objective, control)
    point = problems.centring.apply(start)
    made, rows = problems.solve(point, problems.limit)
    objective.counts["rows"] += rows
    run = problems.run(start, point, made, whole=True)
    if control.watch is not None:
        point = problems.centring.apply(start)
        again = partial(problems.show, point.copy(), count(1))
        seen = replay(again, control, problems.restored, point, made, run)
        if (seen < made).any():  # who looks on stopped it
            made, run = seen, problems.run(start, point, seen, whole=False)
    run.count_each(made[0])
    run.note_state("newton in cache")
    return run


class _Problems:
    """What the kernel takes of an objective, and what it gives back."""

    def __init__(self, objective: Objective, control: Control) -> None:
        self.objective, self.control = objective, control
        self.centring = Centring(objective.center)
        self.columns, self.sides = binary_sides(objective)
        self.curvature = stacked(objective, null_curvature(objective))
        single = _set_work(objective) >= SINGLE_WORK and in_range(objective.turned_rows[0])
        self.dtype = np.float32 if single else np.float64
        self.limit = min(SINGLE_STEPS if single else STEPS, control.max_iter)
        self.losses = np.empty(objective.n_problems)
        self.gradients = np.empty_like(self.curvature)

    def solve(self, point: Array, limit: int) -> tuple[Array, int]:
        """Move ``point``, (K, q) in the centred coordinates, from the start by iterations.

        ``limit`` : int, of them in each problem; a call that makes fewer makes the same ones.

        Returns
        -------
        made : ndarray of shape (1, m)
        rows : int
            Read for that.
        """
        objective, points = self.objective, stacked(self.objective, point)
        if self.control.known is not None:
            self.gradients[:] = stacked(objective, self.centring.pull(self.control.known[1]))
        solve = partial(self._solve_group, points, limit)
        worth = worth_threads(hessian_work(objective))
        found = objective.workers.map(solve, groups(objective), worth)
        counts = np.concatenate(found)
        return counts[None, :, 0], int(counts[:, 1].max()) * objective.design.n

    def show(self, start: Array, numbers: Iterator[int], point: Array, allowed: Array) -> None:
        """Move ``point`` to where the next iteration ended, in the problems ``allowed`` to.

        Each is found from the start: a call that began where another one's iteration ended would
        choose another working set.
        """
        there = start.copy()
        self.solve(there, next(numbers))
        np.copyto(point, there, where=self.objective.per_output(allowed[0] > 0))

    def restored(self, point: Array) -> Array:
        """A point in the centred coordinates as users get it; overwritten."""
        return best_shift(self.objective, self.centring.undo(point))

    def run(self, start: Array, point: Array, made: Array, *, whole: bool) -> Run:
        """A run that has made iterations, (1, m), to ``point``, which is overwritten.

        ``whole``: whether these were all.
        """
        moved = self.objective.per_output(made[0] > 0)
        known = None
        if moved.all() and whole:
            known = self.known()
        elif not moved.any():
            known = self.control.known
        end = self.restored(point)
        if not moved.all():
            end = np.where(moved, end, start)
        return Run(self.objective, self.control, end, known)

    def known(self) -> tuple[Array, Array] | None:
        """Loss (m,) and gradient (K, q) at the end, if the kernel kept them."""
        if np.isnan(self.losses).any():
            return None
        gradient = self.gradients.reshape(-1, self.objective.q)
        return self.losses, self.centring.push(gradient)

    def _solve_group(self, points: Array, limit: int, some: slice) -> Array:
        """Iterations and evaluations, (problems, 2)."""
        from .._kernels.l1_newton import l1_newton

        objective, control = self.objective, self.control
        A, y, s = objective.turned_rows
        m = some.stop - some.start
        counts = np.zeros((m, 2), np.int64)
        l1_newton(
            A,
            objective.center,
            y,
            s,
            self.columns[some],
            self.sides[some],
            objective.lambda1[some],
            objective.lambda2[some],
            self.curvature[some],
            points[some],
            BEYOND * control.tol,
            BEYOND * control.goal[some],
            np.full(m, limit),
            fewest_members(objective.design.n),
            control.known is not None,
            np.empty((0, A.shape[2]), self.dtype),
            np.full(m, not control.near),
            self.losses[some],
            self.gradients[some],
            counts,
        )
        return counts
