"""Who looks on while a solver runs: told of each iteration, and asked whether to go on.

A solver's point may be in other variables than the user's (a row space, some features, some of the
problems).  Whoever looks on sees it in the user's, and pays only for what is looked at.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from time import perf_counter
from typing import Protocol

import numpy as np

from .._objective import Objective
from .._typing import Array
from . import certificate


class Known(Protocol):
    """What a solver knows of the point where it is; see `Run`."""

    objective: Objective
    loss: Array
    gradient: Array

    @property
    def converged(self) -> Array:
        """Which problems are certified, a mask (m,)."""


class State:
    """A fit after an iteration, or before the first.

    It is made of where the solver is, so it must be looked at before the next iteration begins;
    what was looked at stays as it was.

    Attributes
    ----------
    iteration : int
        Iterations made.
    n_iter : ndarray of shape (m,), int
        Those in which each problem took part.
    seconds : float
        Since the solver began, without the time of whoever looks on.
    evaluations : float
        Passes of the solver over all rows for value and gradient.
    solver : str
    full : Objective
        The user's.
    """

    def __init__(
        self, watch: "Watch", point: Callable[[], Array], known: Known | None = None
    ) -> None:
        objective = watch.objective
        self.iteration, self.n_iter = watch.iteration, watch.n_iter.copy()
        self.seconds, self.solver = watch.seconds(), watch.solver
        self.evaluations = objective.counts["rows"] / max(1, objective.design.n)
        # passes over the rows for whoever looks on are not counted as the solver's
        self.full = replace(objective, counts=Counter())
        self._tol, self._goal, self._point = watch.tol, watch.goal, point
        # of a solver in other variables, or on some rows, nothing holds for all of F
        self._known = known if known is not None and known.objective is objective else None

    @cached_property
    def point(self) -> Array:
        """Where the fit is, (K, q), in the user's variables."""
        return self._point()

    @cached_property
    def _loss_gradient(self) -> tuple[Array, Array]:
        """Free where the solver has them, else a pass over the rows."""
        if self._known is not None:
            return self._known.loss.copy(), self._known.gradient.copy()
        return self.full.loss_gradient(self.point)

    @cached_property
    def objective(self) -> Array:
        """F, (m,)."""
        return self._loss_gradient[0] + self.full.penalty(self.point)

    @cached_property
    def optimality(self) -> Array:
        """Largest KKT violation, (m,)."""
        return certificate.optimality(self.full, self.point, self._loss_gradient[1])

    @cached_property
    def dual_gap(self) -> Array:
        """Upper bound on how far F is from its minimum, (m,); nan without a penalty."""
        return certificate.dual_gap(self.full, self.point, *self._loss_gradient)

    @cached_property
    def converged(self) -> Array:
        """Which problems are certified here, a mask (m,)."""
        near = (self.optimality <= self._tol) & (self.dual_gap <= self._goal)
        return near if self._known is None else near | self._known.converged


class Watch:
    """Between the solvers of one fit and who looks on.

    Parameters
    ----------
    objective : Objective
        The user's.
    solver : str
    tol : float
    goal : ndarray of shape (m,)
        What certifies a problem; see `Control`.
    start : ndarray of shape (K, q)
    ended : callable
        Gets the `State` at the end of each iteration; the fit stops where it returns True.
    begins : callable, optional
        Gets the `State` at the beginning of each iteration.

    Attributes
    ----------
    iteration : int
        Iterations made, of all solvers that the fit went through.
    n_iter : ndarray of shape (m,), int
        Those in which each problem took part.
    stopped : bool
        Whether the fit is to stop.
    """

    def __init__(
        self,
        objective: Objective,
        solver: str,
        tol: float,
        goal: Array,
        start: Array,
        ended: Callable[[State], object],
        begins: Callable[[State], object] | None = None,
    ) -> None:
        self.objective, self.solver, self.tol, self.goal = objective, solver, tol, goal
        self.iteration, self.stopped = 0, False
        self.n_iter = np.zeros(objective.n_problems, dtype=np.int64)
        self._ended, self._begins = ended, begins
        self._began, self._away = perf_counter(), 0.0
        self._in_iteration = False
        self._state = State(self, start.copy)

    def seconds(self) -> float:
        """Since the fit began, without what whoever looks on took."""
        return perf_counter() - self._began - self._away

    def begin(self) -> None:
        """An iteration begins, or goes on."""
        if not self._in_iteration:
            self._in_iteration = True
            if self._begins is not None:
                self._call(self._begins)

    def end(self, problems: Array, point: Callable[[], Array], known: Known | None = None) -> bool:
        """An iteration has ended, in which ``problems`` took part; whether the fit is to stop.

        Parameters
        ----------
        problems : ndarray of int
        point : callable
            Where it led, (K, q).
        known : Known, optional
            What the solver knows there.
        """
        self.begin()
        self._in_iteration = False
        self.iteration += 1
        self.n_iter[problems] += 1
        self._state = State(self, point, known)
        self.stopped |= bool(self._call(self._ended))
        return self.stopped

    def _call(self, hook: Callable[[State], object]) -> object:
        left = perf_counter()
        try:
            return hook(self._state)
        except StopIteration as error:  # which would end a loop of SciPy's in silence
            raise RuntimeError("A callback raised StopIteration.") from error
        finally:
            self._away += perf_counter() - left

    def close(self) -> None:
        """Forget where the fit is: that refers to all of the solver's arrays, and back to here."""
        del self._state
