"""What a solver is given, what it knows on the way, and what it returns."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._objective import Objective
from .._typing import Array
from . import certificate
from .watch import Known, Watch

SEPARATED = 1e-3  # KKT violation from which unpenalised classes are looked at for separation


class Status(enum.Enum):
    """Why a problem's solution ends where it does; the value names cause and remedy."""

    CONVERGED = "The optimum is reached and certified."
    PRECISION = "The optimum is reached and certified as far as floating point allows."
    MAX_ITER = (
        "The iteration limit was reached before the optimum was certified. "
        "Increase max_iter, or make tol larger if less precision is enough."
    )
    STALLED = (
        "Rounding errors stopped the solver before the optimum was certified. "
        "Bring the columns of X to similar scales (StandardScaler), use a smaller C, "
        "or make tol larger."
    )
    STOPPED = (
        "A callback stopped it before the optimum was certified. "
        "Let it go on for longer if more precision is needed."
    )
    SEPARABLE = (
        "Some classes are linearly separable from others, so without a penalty the coefficients "
        "have no finite optimum. Use a finite C."
    )

    @property
    def converged(self) -> bool:
        return self in (Status.CONVERGED, Status.PRECISION)


@dataclass(frozen=True)
class Control:
    """When to stop, and what to say on the way.

    Attributes
    ----------
    tol : float
        Largest KKT violation allowed, in units of F by units of the coordinate.
    goal : ndarray of shape (m,)
        Suboptimality to certify, in units of F.
    max_iter : int
    verbose : int
    watch : Watch, optional
        Who looks on.
    restore : callable, optional
        Where the solver's variables are not the user's: from its points to the user's.
    provisional : bool
        Whether the end is only another run's start: no problem is done there.
    known : tuple of ndarray, optional
        Mean loss (m,) and its gradient (K, q) at the start.
    near : bool
        Whether the start is so near that fits of parts of the rows, or with stronger penalties,
        would lead away from it.
    """

    tol: float
    goal: Array
    max_iter: int
    verbose: int = 0
    watch: Watch | None = None
    restore: Callable[[Array], Array] | None = None
    provisional: bool = False
    known: tuple[Array, Array] | None = None
    near: bool = False

    @property
    def stopped(self) -> bool:
        """Whether who looks on has stopped the fit."""
        return self.watch is not None and self.watch.stopped

    def within(self, restore: Callable[[Array], Array], max_iter: int) -> "Control":
        """For a solver in other variables, from whose points ``restore`` leads to those here."""
        outer = self.restore
        whole = restore if outer is None else lambda point: outer(restore(point))
        return replace(self, restore=whole, max_iter=max_iter)

    def rough(self, goal: Array, max_iter: int) -> "Control":
        """For a run that only leads to another's start."""
        return replace(self, tol=np.inf, goal=goal, max_iter=max_iter, verbose=0, provisional=True)

    def begin(self) -> None:
        """An iteration begins."""
        if self.watch is not None:
            self.watch.begin()

    def end(self, problems: Array, point: Callable[[], Array], known: Known | None = None) -> bool:
        """An iteration of ``problems`` has led to ``point``; whether the fit is to stop there."""
        if self.watch is None:
            return False
        if self.provisional:
            problems = np.arange(self.goal.size)
        restore = self.restore
        if restore is None:
            return self.watch.end(problems, point, known)
        return self.watch.end(problems, lambda: restore(point()), known)


@dataclass(frozen=True)
class Solution:
    """A solver's answer; arrays have one entry a problem.

    Attributes
    ----------
    coef : ndarray of shape (K, p)
    intercept : ndarray of shape (K,)
    status : list of Status
    n_iter : ndarray of shape (m,), int
    objective, optimality, dual_gap : ndarray of shape (m,)
    solver : str
    evaluations : float
        Passes over all rows for value and gradient.
    trace : list of dict
        What happened, in order.
    separated : list of ndarray of int
        Without a penalty: for each problem the codes of the classes that are separated.
    known : tuple of ndarray, optional
        Mean loss (m,) and its gradient (K, q).
    """

    coef: Array
    intercept: Array
    status: list[Status]
    n_iter: Array
    objective: Array
    optimality: Array
    dual_gap: Array
    solver: str
    evaluations: float
    trace: list[dict[str, Any]] = field(repr=False)
    separated: list[Array] = field(default_factory=list)
    known: tuple[Array, Array] | None = field(default=None, repr=False)


class Run:
    """A solution in the making: the point, and what is certified of each problem.

    Parameters
    ----------
    objective : Objective
    control : Control
    start : ndarray of shape (K, q)
    known : tuple of ndarray, optional
        Mean loss and its gradient there.
    """

    def __init__(
        self,
        objective: Objective,
        control: Control,
        start: Array,
        known: tuple[Array, Array] | None = None,
    ) -> None:
        m = objective.n_problems
        self.objective = objective
        self.control = control
        self.point = start.copy()
        self.gradient = np.empty_like(self.point)
        self.loss = np.full(m, np.nan)
        self.optimality = np.full(m, np.inf)
        self.gap = np.full(m, np.nan)  # nan where it was not needed yet
        self.status: list[Status | None] = [None] * m
        self.open = np.arange(m)  # problems that are not done
        self.n_iter = np.zeros(m, dtype=np.int64)
        self.iterations = 0
        self.trace: list[dict[str, Any]] = []
        loss, gradient = known or objective.loss_gradient(start)
        self.accept(self.open, start, loss, gradient)

    @property
    def goes_on(self) -> bool:
        left = bool(self.open.size) and self.iterations < self.control.max_iter
        return left and not self.control.stopped

    @property
    def converged(self) -> Array:
        """Which problems are certified, a mask (m,)."""
        return np.array([status is not None and status.converged for status in self.status])

    def rows(self, problems: Array) -> Any:
        """Rows of the point that belong to ``problems``."""
        return slice(None) if self.objective.coupled else problems

    def part(self, problems: Array) -> Objective:
        """The objective of ``problems`` alone."""
        if self.objective.coupled or problems.size == self.objective.n_problems:
            return self.objective
        return self.objective.take_outputs(problems)

    def accept(
        self,
        problems: Array,
        point: Array,
        loss: Array,
        gradient: Array,
    ) -> Array:
        """Move ``problems`` to ``point`` and certify there; which of them are done, a mask.

        Parameters
        ----------
        problems : ndarray of shape (c,), int
        point, gradient : ndarray of shape (rows of the problems, q)
            ``gradient`` of the mean loss.
        loss : ndarray of shape (c,)
        """
        part = self.part(problems)
        rows = self.rows(problems)
        self.point[rows] = point
        self.gradient[rows] = gradient
        self.loss[problems] = loss
        self.optimality[problems] = certificate.optimality(part, point, gradient)
        self.gap[problems] = np.nan
        return self.certify(problems)

    def certify(self, problems: Array) -> Array:
        """Finish those of ``problems`` whose duality gap is small enough; a mask of them.

        Without a penalty, those whose classes are told apart without error are finished too:
        their coefficients would grow for ever.
        """
        done = self.certified(problems)
        self.finish(problems[done], Status.CONVERGED)
        if self.objective.unpenalised:
            apart = self.optimality[problems] <= SEPARATED
            if apart.any():
                apart &= self.part(problems).separates(self.point[self.rows(problems)])
            self.finish(problems[apart], Status.SEPARABLE)
            done |= apart
        return done

    def certified(self, problems: Array, decrement: Array | None = None) -> Array:
        """Which of ``problems`` are certified where they are, a mask.

        ``decrement`` : ndarray of shape (c,), Newton decrements with the Hessian at the point,
        which certify where the gap does not.
        """
        small = self.optimality[problems] <= self.control.tol
        if not small.any():
            return small
        goal = self.control.goal[problems]
        near = self.gaps(problems) <= goal
        if decrement is not None:
            near |= decrement <= goal
        return small & near

    def gaps(self, problems: Array) -> Array:
        """Duality gaps where ``problems`` are, (c,)."""
        if np.isnan(self.gap[problems]).any():
            rows = self.rows(problems)
            self.gap[problems] = certificate.dual_gap(
                self.part(problems), self.point[rows], self.loss[problems], self.gradient[rows]
            )
        return self.gap[problems]

    def finish(self, problems: Array, status: Status) -> None:
        if problems.size:
            for problem in problems:
                self.status[problem] = status
            self.open = np.array([i for i, s in enumerate(self.status) if s is None], dtype=int)

    def end(self, problems: Array) -> bool:
        """An iteration of ``problems`` has led to the point; whether the fit is to stop there."""
        return self.control.end(problems, self.point.copy, self)

    def count(self, problems: Array, iterations: int = 1) -> None:
        """Count iterations in which ``problems`` took part."""
        self.iterations += iterations
        self.n_iter[problems] += iterations

    def count_each(self, iterations: Array) -> None:
        """Count ``iterations``, (m,), that the problems made by themselves."""
        self.iterations += int(iterations.max(initial=0))
        self.n_iter += iterations

    def note(self, **facts: Any) -> None:
        """Add to the trace, and print it where the user asked for that."""
        facts = {"iteration": self.iterations, **facts}
        self.trace.append(facts)
        if self.control.verbose:
            text = "  ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in facts.items()
            )
            print(f"[sk_softmax] {text}")

    def note_state(self, stage: str, **facts: Any) -> None:
        """`note` with the state of the worst problem."""
        worst = float(self.optimality.max())
        self.note(stage=stage, optimality=worst, open=self.open.size, **facts)

    def solution(self, solver: str) -> Solution:
        """The answer; problems still open ran out of iterations, or were stopped."""
        self.finish(self.open, Status.STOPPED if self.control.stopped else Status.MAX_ITER)
        everything = np.arange(self.objective.n_problems)
        coef, intercept = answer(self.objective, self.point)
        return Solution(
            coef=coef,
            intercept=intercept,
            status=[status for status in self.status if status is not None],
            n_iter=self.n_iter,
            objective=self.loss + self.objective.penalty(self.point),
            optimality=self.optimality,
            dual_gap=self.gaps(everything),
            solver=solver,
            evaluations=self.objective.counts["rows"] / max(1, self.objective.design.n),
            trace=self.trace,
            known=(self.loss, self.gradient),
        )


def answer(objective: Objective, point: Array) -> tuple[Array, Array]:
    """coef (K, p) and intercept (K,) of a point (K, q), as users get them."""
    coef, intercept = objective.split(point)
    if objective.coupled:
        for _ in range(2):  # a shift that softmax does not see, and what rounding leaves of it
            intercept -= intercept.mean()
    return coef, intercept
