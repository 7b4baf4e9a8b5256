"""What a solver knows on the way: where it is, and what is certified there."""

from typing import Any

import numpy as np

from .._objective import Objective
from .._typing import Array
from . import certificate
from .evaluated import Evaluated
from .solution import Control, Solution, Status, answer

SEPARATED = 1e-3  # KKT violation from which unpenalised classes are looked at for separation


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
        self.gap = np.full(m, np.nan)  # nan where it was not needed yet, as is the penalty
        self.penalty = np.full(m, np.nan)
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

    def at(self, problems: Array) -> Evaluated:
        """Where ``problems`` are."""
        rows = self.rows(problems)
        return Evaluated(self.point[rows], self.loss[problems], self.gradient[rows])

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
        self.move(problems, point, loss, gradient)
        return self.certify(problems)

    def move(self, problems: Array, point: Array, loss: Array, gradient: Array) -> None:
        """Move ``problems`` to ``point``, as `accept` does, with nothing certified."""
        rows = self.rows(problems)
        self.point[rows] = point
        self.gradient[rows] = gradient
        self.loss[problems] = loss
        self.optimality[problems] = certificate.optimality(self.part(problems), point, gradient)
        self.gap[problems] = self.penalty[problems] = np.nan

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
        if np.isnan(self.penalty[problems]).any():
            at, part = self.at(problems), self.part(problems)
            penalty = self.penalty[problems] = part.penalty(at.point)
            self.gap[problems] = certificate.dual_gap(part, at.point, at.loss, at.gradient, penalty)
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
        gaps = self.gaps(everything)
        return Solution(
            coef=coef,
            intercept=intercept,
            status=[status for status in self.status if status is not None],
            n_iter=self.n_iter,
            objective=self.loss + self.penalty,
            optimality=self.optimality,
            dual_gap=gaps,
            solver=solver,
            evaluations=self.objective.counts["rows"] / max(1, self.objective.design.n),
            trace=self.trace,
            known=(self.loss, self.gradient),
        )
