"""L2 and no penalty by L-BFGS in variables that make F round.

The variables are renewed every few iterations from the Hessian at the current point; a few such
stages do what thousands of plain iterations do not.

References
----------
Liu and Nocedal (1989), "On the limited memory BFGS method for large scale optimization".
Zhu, Byrd, Lu and Nocedal (1997), "Algorithm 778: L-BFGS-B".
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize

from .._objective import Objective
from .._preconditioner import (
    Diagonal,
    Factor,
    Kronecker,
    can_factor,
    factor,
    hessian_sample,
    stratified_rows,
    without_factor,
)
from .._typing import Array
from .newton import Factored, newton_step, newton_steps
from .solution import Control, Run, Solution

Change = Factor | Kronecker | Diagonal

STAGES = {Factor: 8, Kronecker: 100, Diagonal: 200}  # iterations between renewals
MEMORY = 30
FRACTIONS = (16, 4)  # of the rows, in the first stages
ROWS_A_COORDINATE = 8  # that such a part of the rows must have
NOISE = 0.05  # of the part's own error, down to which its optimum is sought


def lbfgs(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F, lambda1 = 0, from ``start``, (K, q)."""
    start, iterations = _rough_start(objective, control, start)
    run = Run(objective, control, start)
    run.count(run.open, iterations)
    exact, last = False, np.inf
    while run.goes_on:
        active = run.open
        part, rows = run.part(active), run.rows(active)
        change = _change(part, run.point[rows], exact)
        if isinstance(change, Factor) and change.exact:
            u = change.pull(run.gradient[rows] + part.ridge(run.point[rows]))
            if run.certified(active, (u * u).sum(axis=1) / 2).any():
                newton_step(run, Factored(change))
                continue
        stage = _Stage(run, part, active, change)
        stage.minimise()
        run.note_state("lbfgs", exact=change.exact)
        exact = stage.nearly_done
        if not run.open.size:
            break
        no_more = stage.iterations == 0 or stage.value >= last * (1 - 1e-15)
        if no_more or (stage.nearly_done and not isinstance(change, Factor)):
            newton_steps(run)
            break
        last = stage.value if run.open.size == active.size else np.inf
    return run.solution("lbfgs")


def _change(part: Objective, point: Array, exact: bool) -> Change:
    if can_factor(part):
        return factor(part, point, None if exact else hessian_sample(part))
    return without_factor(part, point)


class _Stage:
    """Some L-BFGS iterations on ``part`` (the problems ``active`` of ``run``) in u."""

    def __init__(self, run: Run, part: Objective, active: Array, change: Change) -> None:
        self.run, self.part, self.active, self.change = run, part, active, change
        self.origin = run.point[run.rows(active)].copy()
        self.live = np.ones(active.size, dtype=bool)
        self.nearly_done = False
        self.iterations = 0
        self.value = np.inf
        first = change.pull(run.gradient[run.rows(active)] + part.ridge(self.origin))
        self.shape = first.shape
        # L-BFGS-B's first step has length 1 in its variables: that of the Newton step in u
        self.unit = max(float(np.linalg.norm(first)), np.finfo(float).tiny)

    def minimise(self) -> None:
        left = self.run.control.max_iter - self.run.iterations
        minimize(
            self._evaluate,
            np.zeros(self.shape).ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=self._iterated,
            options={
                "maxiter": min(STAGES[type(self.change)], left),
                "maxcor": MEMORY,
                "maxfun": 10**9,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )

    def _evaluate(self, v: Array) -> tuple[float, Array]:
        point = self.origin + self.change.step(v.reshape(self.shape) * self.unit)
        loss, gradient = self.part.loss_gradient(point)
        ridge = self.part.ridge(point)
        value = float(loss.sum() + (point * ridge).sum() / 2)
        pulled = self.change.pull(gradient + ridge)
        self.latest = (value, point, loss, gradient, pulled)
        return value, (pulled * self.unit).ravel()

    def _iterated(self, intermediate_result: Any) -> None:
        """At every accepted iterate, which is the one evaluated last.

        A problem that is done stays where it was certified, whatever the others still need.
        """
        value, point, loss, gradient, pulled = self.latest
        self.iterations += 1
        self.value = value
        live = np.flatnonzero(self.live)
        rows = slice(None) if self.part.coupled else live
        problems = self.active[live]
        self.run.count(problems)
        self.live[live] = ~self.run.accept(problems, point[rows], loss[live], gradient[rows])
        close = self.run.optimality[self.active] <= self.run.control.tol
        if not isinstance(self.change, Diagonal):  # what an approximate Hessian thinks
            estimate = (pulled * pulled).sum(axis=1) / 2
            close &= estimate <= 0.1 * self.run.control.goal[self.active]
        self.nearly_done = bool((close | ~self.live).all())
        if self.nearly_done:
            raise StopIteration


def _rough_start(objective: Objective, control: Control, start: Array) -> tuple[Array, int]:
    """A start from fits of parts of the rows, to the precision that such a part has.

    Returns
    -------
    point : ndarray of shape (K, q)
    iterations : int
        That they took.
    """
    iterations = 0
    n = objective.design.n
    size = objective.hessian_size
    if not can_factor(objective) or (objective.lambda2 == 0).any():
        return start, 0
    for fraction in FRACTIONS:
        if n // fraction < ROWS_A_COORDINATE * size:
            continue
        rows, scale = stratified_rows(objective, n // fraction)
        part = objective.take_rows(rows, scale)
        goal = np.full(objective.n_problems, NOISE * size / rows.size)
        rough = Control(np.inf, goal, min(4 * STAGES[Factor], control.max_iter - iterations))
        run = Run(part, rough, start)
        while run.goes_on:
            active = run.open
            share, point = run.part(active), run.point[run.rows(active)]
            stage = _Stage(run, share, active, _change(share, point, False))
            stage.minimise()
            if stage.nearly_done or stage.iterations == 0:
                break
        start = run.point
        iterations += run.iterations
    return start, iterations
