"""Newton's method with the exact Hessian: for small problems, and to finish larger ones.

Steps are halved until F falls enough (Armijo), or doubled where F still falls at their end.  Where
the change of F is lost in rounding, a step must shrink the gradient instead, in the norm that the
Hessian gives; where it does not, no representable progress is left.

References
----------
Boyd and Vandenberghe (2004), "Convex Optimization", section 9.5: damped Newton and the decrement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from .._design.csr import CSRDesign
from .._objective import Objective
from .._preconditioner.changes import Change, Diagonal, Factor
from .._preconditioner.make import (
    can_factor,
    can_factor_by_class,
    diagonal,
    factor,
    without_blocks,
    without_factor,
)
from .._typing import Array
from .by_feature import solve_by_feature
from .certificate import optimality
from .conjugate_gradient import CERTAIN, LOOSE, conjugate_gradient
from .continuation import continuation
from .in_cache import fits_in_cache, newton_in_cache
from .run import Run
from .samples import rough_start
from .solution import Control, Solution, Status

ARMIJO = 1e-4
HALVINGS = 40
ROUNDING = 64 * np.finfo(float).eps
SHRINK = 0.9
LONG = 0.25  # of the slope at the start, left at the end of a step that is then doubled


def newton(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F, lambda1 = 0, by Newton steps from ``start``, (K, q)."""
    if fits_in_cache(objective):
        run = newton_in_cache(objective, control, start)
    else:
        if can_factor(objective) or can_factor_by_class(objective):
            start, rough = rough_start(objective, control, start, newton_steps)
        else:
            start, rough = wide_start(objective, control, start)
        run = Run(objective, control, start)
        run.count(np.arange(objective.n_problems), rough)
    newton_steps(run)
    return run.solution("newton")


def wide_start(objective: Objective, control: Control, start: Array) -> tuple[Array, int]:
    """A start where no factor is small enough, and the iterations that it took."""
    start, iterations = continuation(objective, control, start, newton_steps)
    if iterations:
        return start, iterations
    return rough_start(objective, control, start, newton_steps)


def newton_steps(run: Run, shortest: float = 0.0) -> None:
    """Newton steps for the open problems of ``run`` until each is done or stuck.

    They end, too, after a step of which the line search left less than ``shortest``.
    """
    length = 1.0
    while run.goes_on and length >= shortest:
        part = run.part(run.open)
        length = newton_step(run, _system(part, run.point[run.rows(run.open)]))


def newton_step(run: Run, system: "Factored | Iterative") -> float:
    """One step for the open problems; those that the decrement certifies are done with it.

    The step that comes with a certificate is taken too: it costs one pass, and leaves a far
    smaller gap behind.

    Returns
    -------
    length : float
        What the line search left of the step, at least, of the problems that go on.
    """
    active = run.open
    run.control.begin()
    part, rows = run.part(active), run.rows(active)
    here = _Trial.at(part, run.point[rows], run.loss[active], run.gradient[rows])
    step, decrement = system.solve(here.slope)
    certified = run.certified(active, decrement if system.certifies else None)
    run.count(active)
    tol = run.control.tol
    there, accepted, length = _line_search(part, here, step, decrement, system, certified, tol)
    if accepted.any():
        take = part.per_output(accepted)[:, 0]
        run.accept(active[accepted], there.point[take], there.loss[accepted], there.gradient[take])
    if certified.any():
        run.finish(np.intersect1d(active[certified], run.open), Status.CONVERGED)
    stuck = ~accepted & ~certified
    if stuck.any() and not system.certifies:
        decrement = system.certificate(here.slope)
    near = decrement <= run.control.goal[active]
    run.finish(active[stuck & near], Status.PRECISION)
    run.finish(active[stuck & ~near], Status.STALLED)
    run.note_state("newton", decrement=float(decrement.max()))
    run.end(active)
    return float(length[~certified].min(initial=1.0))


@dataclass
class _Trial:
    """A point (K, q), and the smooth part of F there."""

    point: Array
    loss: Array  # (m,)
    gradient: Array  # (K, q), of the mean loss
    slope: Array  # (K, q), of the smooth part of F
    value: Array  # (m,)

    @classmethod
    def at(cls, part: Objective, point: Array, loss: Array, gradient: Array) -> "_Trial":
        ridge = part.ridge(point)
        value = loss + part.by_problem(point * ridge) / 2
        return cls(point, loss, gradient, gradient + ridge, value)


def _line_search(
    part: Objective,
    here: _Trial,
    step: Array,
    decrement: Array,
    system: "Factored | Iterative",
    certified: Array,
    tol: float,
) -> tuple[_Trial, Array, Array]:
    """Where the steps lead, which problems make progress there, a mask (m,), and the lengths.

    A problem that is ``certified`` already moves only where it stays so.
    """
    length = np.ones_like(decrement)

    def evaluate() -> _Trial:
        point = here.point + part.per_output(length) * step
        return _Trial.at(part, point, *part.loss_gradient(point))

    there = evaluate()
    for _ in range(HALVINGS):
        falls = there.value <= here.value - 2 * ARMIJO * length * decrement
        lost = np.abs(there.value - here.value) <= ROUNDING * np.abs(here.value)
        if lost.any():
            shrinks = system.norm(there.slope) <= SHRINK * np.sqrt(2 * decrement)
            falls = np.where(lost, shrinks, falls)
        if certified.any():
            falls &= ~certified | (optimality(part, there.point, there.gradient) <= tol)
        hopeless = ~falls & (lost | certified)
        if (falls | hopeless).all():
            break
        length[~falls & ~hopeless] *= 0.5
        there = evaluate()
    whole = falls & ~certified & (length == 1.0)
    still_falls = part.by_problem(step * there.slope) < -2 * LONG * decrement
    if (whole & still_falls).any():
        length[whole & still_falls] = 2.0
        further = evaluate()
        if (further.value <= there.value).all():
            return further, falls, length
    return there, falls, length


@dataclass
class Factored:
    """The Newton system of a Hessian that is factored."""

    factor: Factor
    certifies: ClassVar[bool] = True

    def certificate(self, gradient: Array) -> Array:
        """The decrement, (m,)."""
        return self.solve(gradient)[1]

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
    change: Change

    def solve(self, gradient: Array) -> tuple[Array, Array]:
        """The Newton step by conjugate gradients, and its decrement."""
        return self._solve(gradient, *(CERTAIN if self.certifies else LOOSE))

    @property
    def certifies(self) -> bool:
        """Whether `solve` is exact enough: without a penalty nothing else certifies."""
        return not self.part.has_l2

    def certificate(self, gradient: Array) -> Array:
        """The decrement from a solve that is exact enough to certify, (m,)."""
        return self._solve(gradient, *CERTAIN)[1]

    def _solve(self, gradient: Array, tol: float, max_iter: int) -> tuple[Array, Array]:
        pulled = self.change.pull(gradient)
        u = conjugate_gradient(self._product, pulled, tol, max_iter)
        return -self.change.step(u), (u * pulled).sum(axis=1) / 2

    @cached_property
    def _product(self) -> Callable[[Array], Array]:
        """M' H M as a map."""
        change = self.change
        product = self.part.hessian_product(self.point)

        def in_u(u: Array) -> Array:
            step = change.centred_step(u)
            return change.centred_pull(product(step) + self.part.ridge(step))

        return in_u

    def norm(self, gradient: Array) -> Array:
        """Length of the gradient in the norm of H^-1, (m,), by conjugate gradients."""
        return np.sqrt(2 * self.solve(gradient)[1])


@dataclass
class IterativeByFeature(Iterative):
    """The same for a wide sparse X, with the Hessian's diagonal for a change of variables."""

    change: Diagonal
    state: Array

    @classmethod
    def at(cls, part: Objective, point: Array) -> "IterativeByFeature":
        state = part.logit_state(point)
        return cls(part, point, diagonal(part, state), state)

    def _solve(self, gradient: Array, tol: float, max_iter: int) -> tuple[Array, Array]:
        pulled = self.change.centring.pull(gradient)
        step, decrement = solve_by_feature(
            self.part, self.state, self.change, pulled, tol, max_iter
        )
        return -self.change.centring.undo(step), decrement


def by_feature(part: Objective) -> bool:
    """Whether X is sparse, and too wide for any but the Hessian's diagonal."""
    sparse = isinstance(part.design, CSRDesign) and part.has_l2
    return sparse and without_blocks(part)


def _system(part: Objective, point: Array) -> Factored | Iterative:
    if can_factor(part):
        return Factored(factor(part, point))
    if by_feature(part):
        return IterativeByFeature.at(part, point)
    return Iterative(part, point, without_factor(part, point))
