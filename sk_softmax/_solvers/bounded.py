"""L1 and elastic net by bound-constrained L-BFGS on a working set, finished by Newton steps.

A coefficient is w = u - v with u, v >= 0, so that ||W||_1 = sum(u + v) is linear.  Only a working
set of coefficients moves: the non-zeros and the worst violators of the KKT conditions.  Once the
signs have settled, Newton steps on the non-zeros (`support`) give the last digits.

References
----------
Byrd, Lu, Nocedal and Zhu (1995), "A limited memory algorithm for bound constrained optimization".
"""

from typing import Any

import numpy as np
from scipy.optimize import Bounds, minimize

from .._objective import Objective
from .._preconditioner import Centring, null_curvature
from .._typing import Array
from . import certificate
from .gauge import best_shift
from .solution import Control, Run, Solution, Status
from .support import decrement, newton_on_support

STAGE = 60  # L-BFGS iterations between two looks at all coefficients
SMALLEST_SET = 512  # coefficients in a working set, where there are as many
GROWTH = 2.0  # of the working set over the non-zeros
INNER = 0.1  # of the violation outside, down to which the working set is solved
PATIENCE = 4  # stages in a row without progress
PROGRESS = 1e-10  # of F, a stage


def bounded(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F with lambda1 > 0 from ``start``, (K, q)."""
    run = Run(objective, control, start)
    curvature = null_curvature(objective)
    best_value, best_violation, failures = np.inf, np.inf, 0
    while run.goes_on:
        active = run.open
        part, rows = run.part(active), run.rows(active)
        working = _working_set(part, run.point[rows], run.gradient[rows], curvature[rows])
        point = _solve_on(run, part, active, working, curvature[rows])
        loss, gradient = part.loss_gradient(point)
        run.accept(active, point, loss, gradient)
        run.note_state("bounded", working=int(working.sum()))
        value = float((run.loss + objective.penalty(run.point)).sum())
        violation = float(run.optimality[active].max())
        progress = value < best_value * (1 - PROGRESS) or violation < 0.5 * best_violation
        failures = 0 if progress else failures + 1
        best_value, best_violation = min(best_value, value), min(best_violation, violation)
        if not progress and run.open.size:
            _certify_by_decrement(run)
        if failures == PATIENCE:
            run.finish(run.open, Status.STALLED)
    return run.solution("lbfgs")


def _certify_by_decrement(run: Run) -> None:
    """Finish the problems that the quadratic model at the point calls done.

    For lambda2 = 0 the gap is about F times violation over lambda1: where lambda1 is tiny, or a
    feature huge, rounding alone keeps it from closing.
    """
    active = run.open
    part, rows = run.part(active), run.rows(active)
    left = decrement(part, run.point[rows], run.gradient[rows])
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
    promising = int(np.count_nonzero(promise))
    room = max(SMALLEST_SET, int(GROWTH * np.count_nonzero(working)))
    if promising > room:
        threshold = np.partition(promise.ravel(), -room)[-room]
        promise[promise < threshold] = 0.0
    return working | (promise > 0)


def _solve_on(run: Run, part: Objective, active: Array, working: Array, curvature: Array) -> Array:
    """The point (K, q) with the coordinates of ``working`` improved, the others 0."""
    p = part.p
    features = np.flatnonzero(working[:, :p].any(axis=0))
    rows = run.rows(active)
    if features.size > p // 2:
        features = np.arange(p)
    small = part if features.size == p else part.take_features(features)
    kept = np.append(features, p) if part.fit_intercept else features
    stage = _Stage(
        run, small, active, run.point[rows][:, kept], working[:, kept], curvature[:, kept]
    )
    stage.minimise()
    run.count(active, stage.iterations)
    left = run.control.max_iter - run.iterations
    steps, improved = newton_on_support(small, stage.point(), left)
    run.count(active, steps)
    point = np.zeros((part.K, part.q))
    point[:, kept] = improved
    return best_shift(part, point)


class _Stage:
    """L-BFGS-B on the coordinates of ``working`` (a mask (K, q)) from ``origin``."""

    def __init__(
        self,
        run: Run,
        part: Objective,
        active: Array,
        origin: Array,
        working: Array,
        curvature: Array,
    ) -> None:
        self.part, self.run, self.active = part, run, active
        self.penalised = working.copy()
        self.penalised[:, part.p :] = False
        self.free = np.zeros_like(working)
        self.free[:, part.p :] = working[:, part.p :]
        self.scale = 1 / np.sqrt(curvature)
        self.centring = Centring(part.center)
        self.lambda1 = np.broadcast_to(part.lambda1[:, None], working.shape)[self.penalised]
        self.iterations = 0
        # in the centred coordinates an intercept moves by itself
        self.centred_origin = centred = self.centring.apply(origin)
        w = (centred / self.scale)[self.penalised]
        self.x = np.concatenate(
            [np.maximum(w, 0), np.maximum(-w, 0), (centred / self.scale)[self.free]]
        )
        self.inner: float | None = None

    def point(self) -> Array:
        """The point (K, q) at the latest iterate."""
        return self._point(self.x)

    def minimise(self) -> None:
        a = self.lambda1.size
        lower = np.zeros(self.x.size)
        lower[2 * a :] = -np.inf
        left = self.run.control.max_iter - self.run.iterations
        result = minimize(
            self._evaluate,
            self.x,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(lower, np.full(self.x.size, np.inf)),
            callback=self._iterated,
            options={
                "maxiter": max(1, min(STAGE, left)),
                "maxcor": 20,
                "maxfun": 10**9,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        self.x = result.x

    def _point(self, x: Array) -> Array:
        a = self.lambda1.size
        point = self.centred_origin.copy()
        point[self.penalised] = (x[:a] - x[a : 2 * a]) * self.scale[self.penalised]
        point[self.free] = x[2 * a :] * self.scale[self.free]
        return self.centring.undo(point)

    def _evaluate(self, x: Array) -> tuple[float, Array]:
        part, a = self.part, self.lambda1.size
        point = self._point(x)
        loss, gradient = part.loss_gradient(point)
        ridge = part.ridge(point)
        scale = self.scale[self.penalised]
        absolute = float((self.lambda1 * scale * (x[:a] + x[a : 2 * a])).sum())
        value = float(loss.sum() + (point * ridge).sum() / 2) + absolute
        # the ridge pulls on the coefficients alone, so only the loss's gradient is centred
        pulled = (self.centring.pull(gradient) + ridge) * self.scale
        slope = pulled[self.penalised]
        self.latest = (point, gradient)
        return value, np.concatenate(
            [slope + self.lambda1 * scale, -slope + self.lambda1 * scale, pulled[self.free]]
        )

    def _iterated(self, intermediate_result: Any) -> None:
        """At every accepted iterate: stop once the set is solved well beyond what it was."""
        self.iterations += 1
        point, gradient = self.latest
        violation = certificate.kkt_violation(self.part, point, gradient) * self.scale
        worst = float(np.abs(violation[self.penalised | self.free]).max(initial=0.0))
        if self.inner is None:
            self.inner = INNER * worst
        elif worst <= self.inner:
            raise StopIteration
