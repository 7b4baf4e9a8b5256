"""L1 and elastic net by bound-constrained L-BFGS.

A coefficient is w = u - v with u, v >= 0, so that ||W||_1 = sum(u + v) is linear.

References
----------
Byrd, Lu, Nocedal and Zhu (1995), "A limited memory algorithm for bound constrained optimization".
"""

from typing import Any

import numpy as np
from scipy.optimize import Bounds, minimize

from .._objective import Objective
from .._preconditioner.changes import Centring
from .._typing import Array
from . import certificate
from .evaluated import Evaluated
from .run import Run
from .solution import Control, Solution
from .working_set import on_working_sets

STAGE = 60  # L-BFGS iterations between two looks at all coefficients
INNER = 0.1  # of the violation outside, down to which the working set is solved


def bounded(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F with lambda1 > 0 from ``start``, (K, q)."""
    run = Run(objective, control, start, control.known)
    on_working_sets(run, lbfgs_on_set)
    return run.solution("lbfgs")


def lbfgs_on_set(
    control: Control,
    part: Objective,
    active: Array,
    start: Evaluated,
    working: Array,
    curvature: Array,
) -> tuple[int, Evaluated, bool]:
    """L-BFGS-B on the coordinates of ``working``; iterations, where they lead, always True."""
    stage = _Stage(control, part, active, start, working, curvature)
    stage.minimise()
    return stage.iterations, stage.end(), True


class _Stage:
    """L-BFGS-B on the coordinates of ``working`` (a mask (K, q)) from ``start``."""

    def __init__(
        self,
        control: Control,
        part: Objective,
        active: Array,
        start: Evaluated,
        working: Array,
        curvature: Array,
    ) -> None:
        self.part, self.control, self.active = part, control, active
        self.penalised = working.copy()
        self.penalised[:, part.p :] = False
        self.free = np.zeros_like(working)
        self.free[:, part.p :] = working[:, part.p :]
        self.scale = 1 / np.sqrt(curvature)
        self.centring = Centring(part.center)
        self.lambda1 = np.broadcast_to(part.lambda1[:, None], working.shape)[self.penalised]
        self.iterations = 0
        # in the centred coordinates an intercept moves by itself
        self.centred_origin = centred = self.centring.apply(start.point)
        w = (centred / self.scale)[self.penalised]
        self.x = np.concatenate(
            [np.maximum(w, 0), np.maximum(-w, 0), (centred / self.scale)[self.free]]
        )
        self.inner: float | None = None
        self.latest = self.x.copy(), start  # what was evaluated last

    def end(self) -> Evaluated:
        """Where the iterations led."""
        return self._evaluated(self.x)

    def minimise(self) -> None:
        a = self.lambda1.size
        lower = np.zeros(self.x.size)
        lower[2 * a :] = -np.inf
        left = self.control.max_iter
        self.control.begin()
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

    def _evaluated(self, x: Array) -> Evaluated:
        if not np.array_equal(x, self.latest[0]):
            self.latest = x.copy(), Evaluated.at(self.part, self._point(x))
        return self.latest[1]

    def _evaluate(self, x: Array) -> tuple[float, Array]:
        part, a = self.part, self.lambda1.size
        point, loss, gradient = self._evaluated(x)
        ridge = part.ridge(point)
        scale = self.scale[self.penalised]
        absolute = float((self.lambda1 * scale * (x[:a] + x[a : 2 * a])).sum())
        value = float(loss.sum() + (point * ridge).sum() / 2) + absolute
        # the ridge pulls on the coefficients alone, so only the loss's gradient is centred
        pulled = (self.centring.pull(gradient) + ridge) * self.scale
        slope = pulled[self.penalised]
        return value, np.concatenate(
            [slope + self.lambda1 * scale, -slope + self.lambda1 * scale, pulled[self.free]]
        )

    def _iterated(self, intermediate_result: Any) -> None:
        """At every accepted iterate: stop once the set is solved well beyond what it was."""
        self.iterations += 1
        point, _, gradient = self.latest[1]
        violation = certificate.kkt_violation(self.part, point, gradient) * self.scale
        worst = float(np.abs(violation[self.penalised | self.free]).max(initial=0.0))
        solved = self.inner is not None and worst <= self.inner
        if self.inner is None:
            self.inner = INNER * worst
        if self.control.end(self.active, lambda: point.copy()) or solved:
            raise StopIteration
        if self.iterations < min(STAGE, self.control.max_iter):
            self.control.begin()
