"""L1 and elastic net: a working set of coefficients, improved by one solver or another.

Only a working set moves: the non-zeros and the worst violators of the KKT conditions.  Once the
signs have settled on it, Newton steps on the non-zeros (`support`) give the last digits.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from .._objective import Objective
from .._preconditioner.make import null_curvature
from .._typing import Array
from . import certificate
from .evaluated import Evaluated
from .gauge import best_shift
from .run import Run
from .solution import Control, Status
from .support import decrement, newton_on_support

SMALLEST_SETS = 128, 512  # coefficients in a working set, where there are as many: few rows, many
ROWS_A_MEMBER = 8  # for a coefficient more than the first of these, up to the second
GROWTH = 2.0  # of the working set over the non-zeros
PATIENCE = 4  # sets in a row without progress
PROGRESS = 1e-10  # of F, a set
GROWS = 1.5  # coordinates in a set for each that was not 0, up to which Newton steps follow
LAST = 1.05  # the same, up to which the set may well be the last
ENOUGH = 0.01  # of the violation before, down to which another set is solved

# From a control, the objective of the problems that are open on some features, the problems'
# numbers, where they are, the mask of the working set, and the curvature at the null model:
# iterations made, where they lead, and whether Newton steps on the non-zeros should follow.
Improve = Callable[
    [Control, Objective, Array, Evaluated, Array, Array], tuple[int, Evaluated, bool]
]


def on_working_sets(run: Run, improve: Improve) -> None:
    """Minimise F with lambda1 > 0 from where ``run`` is, set by set."""
    if not run.goes_on:  # then nothing need be prepared
        return
    objective, control = run.objective, run.control
    curvature = null_curvature(objective)
    best_value, best_violation, failures = np.inf, np.inf, 0
    while run.goes_on:
        active = run.open
        part, rows = run.part(active), run.rows(active)
        working = _working_set(part, run.point[rows], run.gradient[rows], curvature[rows])
        finish = failures > 0  # by Newton steps, before anything is called the best there is
        there, finished = _solve_on(run, part, active, working, curvature[rows], improve, finish)
        run.accept(active, *there)
        run.note_state("working set", working=int(working.sum()))
        if control.stopped:
            break
        value = float((run.loss + objective.penalty(run.point)).sum())
        violation = float(run.optimality[active].max())
        progress = value < best_value * (1 - PROGRESS) or violation < 0.5 * best_violation
        failures = 0 if progress else failures + 1
        best_value, best_violation = min(best_value, value), min(best_violation, violation)
        if not progress and finished and run.open.size:
            _certify_by_decrement(run)
        if failures == PATIENCE:
            run.finish(run.open, Status.STALLED)


def _certify_by_decrement(run: Run) -> None:
    """Finish the problems that the quadratic model at the point calls done.

    For lambda2 = 0 the gap is about F times violation over lambda1: where lambda1 is tiny, or a
    feature huge, rounding alone keeps it from closing.
    """
    active = run.open
    part = run.part(active)
    left = decrement(part, run.at(active))
    near = left <= run.control.goal[active]
    small = run.optimality[active] <= run.control.tol
    run.finish(active[near & small], Status.CONVERGED)
    run.finish(active[near & ~small], Status.PRECISION)


def _working_set(part: Objective, point: Array, gradient: Array, curvature: Array) -> Array:
    """Mask (K, q): non-zeros, intercepts and, up to a cap, the worst violators."""
    p = part.p
    violation = certificate.kkt_violation(part, point, gradient)
    working = point != 0
    working[:, p:] = True
    # by how much F could fall along each coordinate alone
    promise = np.where(working, 0.0, violation**2 / curvature)
    promising = promise[promise > 0]
    room = max(fewest_members(part.design.n), int(GROWTH * np.count_nonzero(working)))
    if promising.size > room:
        threshold = np.partition(promising, -room)[-room]
        promise[promise < threshold] = 0.0
    return working | (promise > 0)


def fewest_members(n: int) -> int:
    """Violators that a working set takes where there are as many, for n rows."""
    few, many = SMALLEST_SETS
    return min(max(n // ROWS_A_MEMBER, few), many)


def _solve_on(
    run: Run,
    part: Objective,
    active: Array,
    working: Array,
    curvature: Array,
    improve: Improve,
    finish: bool,
) -> tuple[Evaluated, bool]:
    """A point with the coordinates of ``working`` improved, the others 0.

    And whether Newton steps on the non-zeros have followed: where signs have settled, or where
    the caller asks to ``finish``.
    """
    p = part.p
    features = np.flatnonzero(working[:, :p].any(axis=0))
    rows = run.rows(active)
    if features.size > p // 2:
        features = np.arange(p)
    small = part if features.size == p else part.take_features(features)
    kept = np.append(features, p) if part.fit_intercept else features

    def restored(there: Array) -> Array:
        point = np.zeros((part.K, part.q))
        point[:, kept] = there
        return best_shift(part, point)

    def among_all(there: Array) -> Array:
        point = run.point.copy()
        point[rows] = restored(there)
        return point

    control = run.control.within(among_all, run.control.max_iter - run.iterations)
    at = run.at(active)
    there = Evaluated(at.point[:, kept], at.loss, at.gradient[:, kept])
    done, there, settled = improve(
        control, small, active, there, working[:, kept], curvature[:, kept]
    )
    run.count(active, done)
    size, nonzero = np.count_nonzero(working), np.count_nonzero(run.point[rows])
    follows = finish or bool(settled and size <= GROWS * nonzero)
    if follows and not control.stopped:
        goal = np.zeros(active.size) if finish else control.goal[active]
        last = finish or size <= LAST * nonzero
        enough = (0.0 if last else ENOUGH) * run.optimality[active]
        done, there = newton_on_support(
            small,
            there,
            control.tol,
            goal,
            control.max_iter - done,
            enough,
            partial(control.end, active),
        )
        run.count(active, done)
    if small is part:
        return there.shifted(part), follows
    return Evaluated.at(part, restored(there.point)), follows
