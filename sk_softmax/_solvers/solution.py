"""What a solver is given, and what it returns."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._objective import Objective
from .._preconditioner.changes import without_shift
from .._typing import Array
from .watch import Known, Watch


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


def answer(objective: Objective, point: Array) -> tuple[Array, Array]:
    """coef (K, p) and intercept (K,) of a point (K, q), as users get them."""
    coef, intercept = objective.split(point)
    if objective.coupled:
        for _ in range(2):  # a shift that softmax does not see, and what rounding leaves of it
            intercept = without_shift(intercept)
    return coef, intercept
