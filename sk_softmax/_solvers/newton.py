"""Newton's method with the exact Hessian: for small problems, and to finish larger ones.

Steps are halved until F falls enough (Armijo).  Where the change of F is lost in rounding, a step
must shrink the gradient instead, in the norm that the Hessian gives; where it does not, no
representable progress is left.

References
----------
Boyd and Vandenberghe (2004), "Convex Optimization", section 9.5: damped Newton and the decrement.
"""

from dataclasses import dataclass

import numpy as np

from .._objective import Objective
from .._preconditioner import Factor, can_factor, factor, null_curvature
from .._typing import Array
from .certificate import conjugate_gradient
from .solution import Control, Run, Solution, Status

ARMIJO = 1e-4
HALVINGS = 40
ROUNDING = 64 * np.finfo(float).eps
SHRINK = 0.9


def newton(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F, lambda1 = 0, by Newton steps from ``start``, (K, q)."""
    run = Run(objective, control, start)
    newton_steps(run)
    return run.solution("newton")


def newton_steps(run: Run) -> None:
    """Newton steps for the open problems of ``run`` until each is done or stuck."""
    while run.goes_on:
        active = run.open
        part, rows = run.part(active), run.rows(active)
        point = run.point[rows]
        gradient = run.gradient[rows] + part.ridge(point)
        system = _system(part, point)
        step, decrement = system.solve(gradient)
        done = run.accept(active, point, run.loss[active], run.gradient[rows], decrement)
        if done.all():
            run.note_state("newton", decrement=float(decrement.max()))
            return
        step = np.where(part.per_output(done), 0.0, step)
        stuck = _line_search(run, part, active, system, step, decrement, done)
        run.count(active[~done])
        for problem, value in zip(active[stuck], decrement[stuck], strict=True):
            certified = value <= run.control.goal[problem]
            status = Status.PRECISION if certified else Status.STALLED
            if run.status[problem] is None:
                run.finish(np.array([problem]), status)
        run.note_state("newton", decrement=float(decrement.max()))


def _line_search(
    run: Run,
    part: Objective,
    active: Array,
    system: "_Factored | _Iterative",
    step: Array,
    decrement: Array,
    skip: Array,
) -> Array:
    """Accept the longest step of each problem that makes progress; a mask of those without."""
    rows = run.rows(active)
    point = run.point[rows]
    ridge = part.ridge(point)
    value = run.loss[active] + part.by_problem(point * ridge) / 2
    size = system.norm(run.gradient[rows] + ridge)
    length = np.ones(active.size)
    accepted, hopeless = skip.copy(), np.zeros_like(skip)
    for _ in range(HALVINGS):
        trial = point + part.per_output(length) * step
        loss, gradient = part.loss_gradient(trial)
        trial_ridge = part.ridge(trial)
        trial_value = loss + part.by_problem(trial * trial_ridge) / 2
        falls = trial_value <= value - 2 * ARMIJO * length * decrement
        lost = np.abs(trial_value - value) <= ROUNDING * np.abs(value)
        shrinks = system.norm(gradient + trial_ridge) <= SHRINK * size
        accepted = skip | np.where(lost, shrinks, falls)
        hopeless = ~accepted & lost
        if (accepted | hopeless).all():
            break
        length[~accepted & ~hopeless] *= 0.5
    moved = accepted & ~skip
    if moved.any():
        take = part.per_output(moved)[:, 0]
        run.accept(active[moved], trial[take], loss[moved], gradient[take])
    return ~accepted


@dataclass
class _Factored:
    factor: Factor

    def solve(self, gradient: Array) -> tuple[Array, Array]:
        """The Newton step (K, q) and the decrement (m,): half of gradient' H^-1 gradient."""
        u = self.factor.pull(gradient)
        return -self.factor.step(u), (u * u).sum(axis=1) / 2

    def norm(self, gradient: Array) -> Array:
        """Length of the gradient in the norm of H^-1, (m,)."""
        return np.linalg.norm(self.factor.pull(gradient), axis=1)


@dataclass
class _Iterative:
    part: Objective
    point: Array
    diagonal: Array

    def solve(self, gradient: Array) -> tuple[Array, Array]:
        """The Newton step by conjugate gradients, and its decrement."""
        product = self.part.hessian_product(self.point)
        step = -conjugate_gradient(
            lambda v: product(v) + self.part.ridge(v), gradient, self.diagonal
        )
        return step, -self.part.by_problem(step * gradient) / 2

    def norm(self, gradient: Array) -> Array:
        """Length of the gradient, scaled by the diagonal of H at the null model, (m,)."""
        return np.sqrt(self.part.by_problem(gradient**2 / self.diagonal))


def _system(part: Objective, point: Array) -> _Factored | _Iterative:
    if can_factor(part):
        return _Factored(factor(part, point))
    return _Iterative(part, point, null_curvature(part))
