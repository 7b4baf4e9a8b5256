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
from .certificate import conjugate_gradient, optimality
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
        part = run.part(run.open)
        newton_step(run, _system(part, run.point[run.rows(run.open)]))


def newton_step(run: Run, system: "Factored | Iterative") -> None:
    """One step for the open problems; those that the decrement certifies are done with it.

    The step that comes with a certificate is taken too: it costs one pass, and leaves a far
    smaller gap behind.
    """
    active = run.open
    part, rows = run.part(active), run.rows(active)
    point = run.point[rows]
    step, decrement = system.solve(run.gradient[rows] + part.ridge(point))
    certified = run.certified(active, decrement)
    run.count(active)
    stuck = _line_search(run, part, active, system, step, decrement, certified)
    run.finish(active[certified], Status.CONVERGED)
    lost = stuck & ~certified
    near = decrement <= run.control.goal[active]
    run.finish(active[lost & near], Status.PRECISION)
    run.finish(active[lost & ~near], Status.STALLED)
    run.note_state("newton", decrement=float(decrement.max()))


def _line_search(
    run: Run,
    part: Objective,
    active: Array,
    system: "Factored | Iterative",
    step: Array,
    decrement: Array,
    certified: Array,
) -> Array:
    """Accept the longest step of each problem that makes progress; a mask of those without.

    A problem that is ``certified`` already moves only where it stays so.
    """
    rows = run.rows(active)
    point = run.point[rows]
    ridge = part.ridge(point)
    value = run.loss[active] + part.by_problem(point * ridge) / 2
    size = np.sqrt(2 * decrement)
    length = np.ones(active.size)
    for _ in range(HALVINGS):
        trial = point + part.per_output(length) * step
        loss, gradient = part.loss_gradient(trial)
        trial_ridge = part.ridge(trial)
        trial_value = loss + part.by_problem(trial * trial_ridge) / 2
        falls = trial_value <= value - 2 * ARMIJO * length * decrement
        lost = np.abs(trial_value - value) <= ROUNDING * np.abs(value)
        if lost.any():
            falls = np.where(lost, system.norm(gradient + trial_ridge) <= SHRINK * size, falls)
        accepted = falls
        if certified.any():
            accepted &= ~certified | (optimality(part, trial, gradient) <= run.control.tol)
        hopeless = ~accepted & (lost | certified)
        if (accepted | hopeless).all():
            break
        length[~accepted & ~hopeless] *= 0.5
    if accepted.any():
        take = part.per_output(accepted)[:, 0]
        run.accept(active[accepted], trial[take], loss[accepted], gradient[take])
    return ~accepted


@dataclass
class Factored:
    """The Newton system of a Hessian that is factored."""

    factor: Factor

    def solve(self, gradient: Array) -> tuple[Array, Array]:
        """The Newton step (K, q) and the decrement (m,): half of gradient' H^-1 gradient."""
        u = self.factor.pull(gradient)
        return -self.factor.step(u), (u * u).sum(axis=1) / 2

    def norm(self, gradient: Array) -> Array:
        """Length of the gradient in the norm of H^-1, (m,)."""
        return np.linalg.norm(self.factor.pull(gradient), axis=1)


@dataclass
class Iterative:
    """The Newton system of a Hessian known by its products with vectors."""

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
        """Length of the gradient in the norm of H^-1, (m,), by conjugate gradients."""
        return np.sqrt(2 * self.solve(gradient)[1])


def _system(part: Objective, point: Array) -> Factored | Iterative:
    if can_factor(part):
        return Factored(factor(part, point))
    return Iterative(part, point, null_curvature(part))
