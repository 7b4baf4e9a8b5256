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
from .._preconditioner.changes import Change, Diagonal, Factor, Kronecker
from .._preconditioner.make import (
    can_factor,
    can_factor_by_class,
    factor,
    factor_by_class,
    kronecker,
    without_factor,
)
from .._preconditioner.rows import hessian_sample
from .._typing import Array
from . import cost
from .newton import Factored, by_feature, newton_step, newton_steps, wide_start
from .run import Run
from .samples import rough_start
from .solution import Control, Solution

SHORTEST, LONGEST = 8, 200  # iterations between renewals
WINDOW, SLOW = 4, 0.5  # iterations over which what is left should have halved in each
LARGEST_NULL = 1000  # features up to which the null model's eigenvectors are cheap
MEMORY = {Factor: 30, Kronecker: 30, Diagonal: 10}  # wide X: vectors cost as much as sweeps
NEARLY_WHOLE = 0.25  # of a Newton step: nearly separable classes leave less
AHEAD = 0.1  # of the goal: where an approximate Hessian's estimate is believed to have reached it
SINGLE = 1.0  # of the goal: as near as single precision leads
FAR_AHEAD = 1e-10  # the same where the gap may certify: waiting is cheaper than an exact Hessian


def lbfgs(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F, lambda1 = 0, from ``start``, (K, q)."""
    factors = can_factor(objective) or can_factor_by_class(objective)
    if factors:
        start, iterations = rough_start(objective, control, start, _minimise)
    else:
        start, iterations = wide_start(objective, control, start)
    run = Run(objective, control, start)
    run.count(np.arange(objective.n_problems), iterations)
    if factors or (iterations == 0 and not by_feature(objective)):  # else Newton steps are enough
        _minimise(run)
    newton_steps(run)
    return run.solution("lbfgs")


def _minimise(run: Run) -> None:
    """L-BFGS; Newton steps where they are cheaper, for as long as they are nearly whole."""
    if cost.exact(run.objective):
        newton_steps(run, NEARLY_WHOLE)
    _stages(run)


def _stages(run: Run) -> None:
    """L-BFGS in variables that are renewed, until all is done or Newton steps should finish."""
    exact, last = False, np.inf
    rough = True  # whether seven digits of approximate Hessians suffice, as far as is known
    single = cost.single(run.objective) and run.objective.has_l2
    while run.goes_on:
        active = run.open
        part, rows = run.part(active), run.rows(active)
        change = _change(part, run.point[rows], exact, rough)
        if isinstance(change, Factor):
            rough = change.single
        if isinstance(change, Factor) and change.exact:
            u = change.pull(run.gradient[rows] + part.ridge(run.point[rows]))
            if run.certified(active, (u * u).sum(axis=1) / 2).any():
                newton_step(run, Factored(change))
                continue
        stage = _Stage(run, part, active, change, single)
        stage.minimise()
        run.note_state("lbfgs", change=type(change).__name__)
        exact = stage.nearly_done
        no_more = stage.iterations == 0 or stage.value >= last * (1 - 1e-15)
        last = stage.value if run.open.size == active.size else np.inf
        if single and (no_more or not stage.single):  # all digits from here on
            single, last = False, np.inf
        elif no_more or (stage.nearly_done and not can_factor(part)):
            return


def _change(part: Objective, point: Array, exact: bool, single: bool) -> Change:
    """The change of variables that is worth its cost at ``point``."""
    if exact and can_factor(part):
        return factor(part, point)
    if not point[:, : part.p].any() and part.p <= LARGEST_NULL:
        return kronecker(part, point)  # exact for equal weights, and cheap
    if cost.by_class(part):
        return factor_by_class(part, point, single)
    if can_factor(part):
        return factor(part, point, hessian_sample(part), single)
    return without_factor(part, point)


class _Stage:
    """Some L-BFGS iterations on ``part`` (the problems ``active`` of ``run``) in u."""

    def __init__(
        self, run: Run, part: Objective, active: Array, change: Change, single: bool
    ) -> None:
        self.run, self.part, self.active, self.change = run, part, active, change
        single = single and not isinstance(change, Diagonal)
        self.evaluated = part.in_single() if single else part
        self.origin = run.point[run.rows(active)].copy()
        self.live = np.ones(active.size, dtype=bool)
        self.nearly_done = False
        self.precise = True  # what is known of the point
        self.iterations = 0
        self.patience = cost.stage(part, SHORTEST, LONGEST)
        self.estimates: list[float] = []
        self.value = np.inf
        self.ahead = FAR_AHEAD if part.has_l2 else AHEAD
        first = change.pull(run.gradient[run.rows(active)] + part.ridge(self.origin))
        self.shape = first.shape
        # L-BFGS-B's first step has length 1 in its variables: that of the Newton step in u
        self.unit = max(float(np.linalg.norm(first)), np.finfo(float).tiny)

    @property
    def single(self) -> bool:
        """Whether the next evaluation is in single precision."""
        return self.evaluated is not self.part

    def minimise(self) -> None:
        left = self.run.control.max_iter - self.run.iterations
        self.run.control.begin()
        minimize(
            self._evaluate,
            np.zeros(self.shape).ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=self._iterated,
            options={
                "maxiter": min(LONGEST, left),
                "maxcor": MEMORY[type(self.change)],
                "maxfun": 10**9,
                "ftol": 0.0,
                "gtol": 0.0,
            },
        )
        if self.iterations and not self.precise:
            point = self.run.point[self.run.rows(self.active)]
            self.run.accept(self.active, point, *self.part.loss_gradient(point))

    def _evaluate(self, v: Array) -> tuple[float, Array]:
        if v.any():
            point = self.origin + self.change.step(v.reshape(self.shape) * self.unit)
            loss, gradient = self.evaluated.loss_gradient(point)
        else:  # known already
            point, rows = self.origin, self.run.rows(self.active)
            loss, gradient = self.run.loss[self.active], self.run.gradient[rows]
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
        self.run.move(problems, point[rows], loss[live], gradient[rows])
        self.precise = not self.single
        if self.precise:
            self.live[live] = ~self.run.certify(problems)
        close = self.run.optimality[self.active] <= self.run.control.tol
        if not isinstance(self.change, Diagonal):  # what an approximate Hessian thinks
            estimate = (pulled * pulled).sum(axis=1) / 2
            goal = self.run.control.goal[self.active]
            close &= estimate <= self.ahead * goal
            self.estimates.append(float(estimate[self.live].sum()))
            if (estimate <= SINGLE * goal).all():
                self.evaluated = self.part
        self.nearly_done = self.precise and bool((close | ~self.live).all())
        stopped = self.run.end(problems)
        if stopped or self.nearly_done or self._slow():
            raise StopIteration
        if self.run.goes_on:
            self.run.control.begin()

    def _slow(self) -> bool:
        """Whether better variables would soon pay for themselves."""
        if self.iterations < max(self.patience, WINDOW + 1) or not self.estimates:
            return False
        return self.estimates[-1] > SLOW**WINDOW * self.estimates[-1 - WINDOW]
