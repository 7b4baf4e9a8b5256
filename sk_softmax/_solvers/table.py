"""`solve`: the one way into the solvers, and the table it chooses from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .._design.csr import CSRDesign
from .._objective import Objective
from .._preconditioner.changes import without_shift
from .._preconditioner.make import can_factor
from .._typing import Array
from . import cost
from .bounded import bounded
from .certificate import optimality
from .gauge import least_norm
from .in_cache import fits_in_cache
from .l1_in_cache import l1_fits_in_cache
from .lbfgs import lbfgs
from .newton import newton
from .orthants import by_orthants
from .prox_newton import prox_newton
from .row_space import in_row_space, wide
from .run import Run
from .separation import separated
from .solution import Control, Solution, Status
from .watch import State, Watch

PRECISION = 1e-14  # of the null objective: what rounding lets one certify
SAME = 1e-3  # relative difference between KKT violations of what is one solution up to rounding
FINER = 1e-2  # tol in the row space, so that the gap closes with X itself


@dataclass(frozen=True)
class Entry:
    """One solver: what it is called by users, what it can do, and where it is best."""

    name: str
    smooth: bool
    nonsmooth: bool
    minimise: Callable[[Objective, Control, Array], Solution]
    best_for: str


SOLVERS = (
    Entry("newton", True, False, newton, "L2 or no penalty where Hessians on all rows are cheap"),
    Entry("lbfgs", True, False, lbfgs, "L2 or no penalty on everything larger"),
    Entry(
        "newton", False, True, prox_newton, "L1 and elastic net on dense, small, or very large X"
    ),
    Entry("lbfgs", False, True, bounded, "L1 and elastic net on other sparse X"),
)


def choose(name: str, objective: Objective) -> Entry:
    """The table's entry for the user's ``solver`` and the objective."""
    smooth = not objective.has_l1
    usable = [e for e in SOLVERS if (e.smooth if smooth else e.nonsmooth)]
    if name == "auto":
        cheaper = _newton_is_cheaper if smooth else _prox_newton_is_cheaper
        name = "newton" if cheaper(objective) else "lbfgs"
    return next(entry for entry in usable if entry.name == name)


def _newton_is_cheaper(objective: Objective) -> bool:
    if fits_in_cache(objective):
        return True
    if not can_factor(objective) or cost.sampled(objective):
        return False
    return cost.newton(objective) <= cost.lbfgs(objective)


def _prox_newton_is_cheaper(objective: Objective) -> bool:
    """On most sparse X L-BFGS-B needs no more passes, and they are cheap."""
    dense = not isinstance(objective.design, CSRDesign)
    return dense or l1_fits_in_cache(objective) or by_orthants(objective)


def solve(
    objective: Objective,
    solver: str = "auto",
    tol: float = 1e-4,
    max_iter: int = 1000,
    start: Array | None = None,
    verbose: int = 0,
    watch: Callable[[State], object] | None = None,
    begins: Callable[[State], object] | None = None,
    near: bool = False,
    known: tuple[Array, Array] | None = None,
) -> Solution:
    """Minimise ``objective``.

    Parameters
    ----------
    objective : Objective
    solver : str, default="auto"
    tol : float, default=1e-4
        Largest KKT violation; suboptimality is certified below ``0.01 * tol`` of the null
        model's objective.
    max_iter : int, default=1000
    start : ndarray of shape (K, q), optional
        Default: the null model.
    verbose : int, default=0
    watch : callable, optional
        Gets a `State` at the end of each iteration; the fit stops where it returns True.
    begins : callable, optional
        Gets the `State` at the beginning of each iteration that ``watch`` is to see the end of.
    near : bool, default=False
        Whether ``start`` is the optimum for a slightly stronger penalty.
    known : tuple of ndarray, optional
        Mean loss (m,) and its gradient (K, q) at ``start``; smooth solvers evaluate them anew.

    Returns
    -------
    solution : Solution
    """
    entry = choose(solver, objective)
    goal = np.maximum(0.01 * tol, PRECISION) * objective.null_value
    point = objective.null_point() if start is None else start
    if not entry.smooth and start is not None and not near:
        point, known = _no_worse_than_null(objective, start, known)
    if entry.smooth and objective.coupled:
        point = without_shift(point)  # where the optimum is; steps by class stay there
    watched = None
    if watch is not None:
        watched = Watch(objective, entry.name, tol, goal, point, watch, begins)
    control = Control(tol, goal, max_iter, verbose, watched, known=known, near=near)
    if entry.smooth and start is None and wide(objective):
        solution = _solve_wide(entry, objective, control)
    else:
        solution = entry.minimise(objective, control, point)
    if watched is not None:
        watched.close()
    if objective.unpenalised and set(solution.status) != {Status.STOPPED}:
        solution = _with_separation(objective, solution)
    if objective.unpenalised and not control.stopped:
        solution = _of_least_norm(objective, control, solution)
    return solution


def _no_worse_than_null(
    objective: Objective, start: Array, known: tuple[Array, Array] | None
) -> tuple[Array, tuple[Array, Array] | None]:
    """The start, and what is known of it; the null model for problems that begin better there.

    Far out, where most rows have no curvature, quadratic models promise what F does not keep.
    """
    known = known or objective.loss_gradient(start)
    worse = ~(known[0] + objective.penalty(start) <= objective.null_value)
    if not worse.any():
        return start, known
    return np.where(objective.per_output(worse), objective.null_point(), start), None


def _with_separation(objective: Objective, solution: Solution) -> Solution:
    """The solution, with the problems that have no finite optimum marked as such."""
    point = np.column_stack([solution.coef, solution.intercept])[:, : objective.q]
    classes = separated(objective, point)
    status = [
        Status.SEPARABLE if codes.size else old
        for codes, old in zip(classes, solution.status, strict=True)
    ]
    return replace(solution, status=status, separated=classes)


def _solve_wide(entry: Entry, objective: Objective, control: Control) -> Solution:
    """Solve in the row space of X, then certify (and, if need be, go on) with X itself."""
    rotated, restore = in_row_space(objective)
    inner = replace(control, tol=FINER * control.tol, goal=FINER**2 * control.goal, restore=restore)
    rough = choose("auto", rotated).minimise(rotated, inner, rotated.null_point())
    point = restore(np.column_stack([rough.coef, rough.intercept])[:, : rotated.q])
    rest = replace(control, max_iter=control.max_iter - int(rough.n_iter.max()))
    if control.stopped:
        solution = Run(objective, rest, point).solution(entry.name)
    else:
        solution = entry.minimise(objective, rest, point)
    return replace(solution, n_iter=solution.n_iter + rough.n_iter)


def _of_least_norm(objective: Objective, control: Control, solution: Solution) -> Solution:
    """Of the solutions that no penalty tells apart, the one of least norm.

    Features that are all but collinear may be told apart by large coefficients after all: where
    the smaller ones are worse, the solution stays as it is.
    """
    point = np.column_stack([solution.coef, solution.intercept])[:, : objective.q]
    point = least_norm(objective, point)
    loss, gradient = objective.loss_gradient(point)
    violation = optimality(objective, point, gradient)
    worse = loss > solution.objective + 0.01 * control.goal
    allowed = np.maximum(control.tol, solution.optimality * (1 + SAME))
    if (worse | (violation > allowed)).any():
        return solution
    coef, intercept = objective.split(point)
    return replace(
        solution,
        coef=coef,
        intercept=intercept - intercept.mean() if objective.coupled else intercept,
        objective=loss,
        optimality=violation,
        known=(loss, gradient),
    )
