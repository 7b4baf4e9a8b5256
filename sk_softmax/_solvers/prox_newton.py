"""L1 and elastic net by proximal Newton steps on a working set.

F's smooth part is replaced by its quadratic model at the point, all classes coupled; coordinate
descent minimises the model with the penalties, and a line search goes as far towards that as F
falls.  On a large sparse X steps are on one orthant each (`orthants`).

References
----------
Lee, Sun and Saunders (2014), "Proximal Newton-type methods for minimizing composite functions".
Friedman, Hastie and Tibshirani (2010), "Regularization paths for generalized linear models via
coordinate descent", section 2: covariance updates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from .._design.csr import CSRDesign
from .._kernels.coordinate_descent import descend, descend_columns
from .._objective import Objective
from .._preconditioner.changes import Centring
from .._preconditioner.rows import stratified_rows, support_sample
from .._typing import Array
from . import certificate
from .bounded import lbfgs_on_set
from .evaluated import Evaluated
from .l1_in_cache import l1_fits_in_cache, prox_newton_in_cache
from .orthants import by_orthants, newton_on_set
from .run import Run
from .solution import Control, Solution
from .support_cg import fill_intercept, rows_worth_variables
from .working_set import LAST, on_working_sets

LARGEST_SET = 3000  # coefficients of one problem, whose Hessian is formed
STEPS = 10  # on a working set, at most
SHRINKS = 0.9  # the violation, a step, while its Hessian is kept
INNER = 0.1  # of the violation on the set, down to which it is solved
SWEEPS, SPARSE_SWEEPS = 200, 50  # of coordinate descent in a step, at most; by columns
EXACT = 1e-3  # of what the model promises, down to which coordinate descent goes on
MIXED = 0.0, 0.01, 0.1, 0.5  # of the labels, in a CSR matrix's Hessians: ever more cautious
KEPT = 0.25  # of a promise, from which the next step may be bolder
ARMIJO = 1e-4
HALVINGS = 20
EPS = float(np.finfo(float).eps)
ROUNDING = 64 * EPS


def prox_newton(objective: Objective, control: Control, start: Array) -> Solution:
    """Minimise F with lambda1 > 0 from ``start``, (K, q)."""
    if l1_fits_in_cache(objective):
        run = prox_newton_in_cache(objective, control, start)
    else:
        run = Run(objective, control, start, control.known)
    on_working_sets(run, newton_on_set if by_orthants(objective) else _improve)
    return run.solution("newton")


def _improve(
    control: Control,
    part: Objective,
    active: Array,
    start: Evaluated,
    working: Array,
    curvature: Array,
) -> tuple[int, Evaluated, bool]:
    """Proximal Newton steps on the coordinates of ``working``.

    How many, where they lead, and whether Newton steps should follow: the last changed no sign,
    or they do better in a set that may be the last.
    """
    sizes = working.sum(axis=1)
    sparse = isinstance(part.design, CSRDesign)
    if not sparse and (sizes.sum() if part.coupled else sizes.max()) > LARGEST_SET:
        return lbfgs_on_set(control, part, active, start, working, curvature)
    sample = None if sparse else _sample(part, start.point, int(sizes.sum()))
    scale = np.where(working, 1 / np.sqrt(curvature), 0.0)
    at = start
    enough, settled, hessians, before = None, False, None, np.inf
    last = bool(np.count_nonzero(working) <= LAST * np.count_nonzero(start.point))
    by_newton = last and rows_worth_variables(part, int(sizes.sum())) is not None
    caution = np.zeros(part.n_problems, dtype=np.int64)
    left = min(STEPS, control.max_iter)
    for steps in range(left):
        violation = certificate.kkt_violation(part, at.point, at.gradient) * scale
        worst = float(violation.max(initial=0.0))
        enough = INNER * worst if enough is None else enough
        if settled or (steps and worst <= enough):
            return steps, at, settled
        control.begin()
        if sparse:
            moved = _cautious_step(part, at, working, caution)
        else:
            if hessians is None or worst > SHRINKS * before:
                hessians = _hessians(part, at.point, working, sample)
            before = worst
            *step, exact = _dense_step(part, at, working, hessians)
            by_newton |= last and not exact
            moved = _line_search(part, at, *step)
        if moved is not None:
            signs, before_it = np.sign(moved.point), np.sign(at.point)
            settled = by_newton or bool((signs == before_it)[:, : part.p].all())
            at = moved
        stopped = control.end(active, partial(np.copy, at.point))
        if stopped or moved is None:
            return steps + 1, at, moved is None
    return left, at, settled


@dataclass
class _Model:
    """F at a point on the coordinates of a working set, its smooth part as a quadratic.

    Attributes
    ----------
    slope, w, lambda1, lambda2 : ndarray of shape (a,)
        Of the loss at the point; coefficients, 0 for intercepts; penalties.
    """

    slope: Array
    w: Array
    lambda1: Array
    lambda2: Array

    @classmethod
    def of(cls, part: Objective, group: slice, mask: Array, point: Array, slope: Array) -> "_Model":
        """That of the outputs ``group``, on the coordinates of ``mask``."""
        penalised = np.nonzero(mask)[1] < part.p
        lambdas = (np.broadcast_to(x, part.K)[group] for x in (part.lambda1, part.lambda2))
        outputs = np.nonzero(mask)[0]
        lambda1, lambda2 = (np.where(penalised, x[outputs], 0.0) for x in lambdas)
        w = np.where(penalised, point[group][mask], 0.0)
        return cls(slope[group][mask].copy(), w, lambda1, lambda2)

    def fall(self, d: Array) -> float:
        """By how much the slope at the point and the penalties fall along d."""
        before, after = (
            float(self.lambda1 @ np.abs(w) + (self.lambda2 * w) @ w / 2)
            for w in (self.w, self.w + d)
        )
        return max(before - after - float(self.slope @ d), 0.0)


def _sample(part: Objective, point: Array, coordinates: int) -> tuple[Array, Array] | None:
    """Rows worth a Hessian of so many coordinates, and what each stands for; None: all."""
    rows = support_sample(part, coordinates)
    return None if rows is None else stratified_rows(part, rows, point)


def _hessians(
    part: Objective, point: Array, working: Array, sample: tuple[Array, Array] | None
) -> list[Array]:
    """Hessians of the loss on the working set, one a problem, from some rows or all."""
    if sample is None:
        matrices = part.hessian_on(point, working)
    else:
        matrices = part.sampled_hessian_on(point, working, *sample)
    for group, H in zip(part.groups, matrices, strict=True):
        fill_intercept(part, H, working[group])
        diagonal = np.einsum("aa->a", H)
        diagonal += EPS * diagonal.max(initial=0.0)  # a constant feature has 0
    return matrices


def _dense_step(
    part: Objective, at: Evaluated, working: Array, hessians: list[Array]
) -> tuple[Array, Array, bool]:
    """To the minimiser of the model with the Hessians of the working set.

    Returns
    -------
    step : ndarray of shape (K, q)
        In the centred coordinates.
    promised : ndarray of shape (m,)
        By how much the slope at the point and the penalties fall along it, not negative.
    exact : bool
        Whether coordinate descent came to an end.
    """
    point, slope = at.point, Centring(part.center).pull(at.gradient)
    step, promised, exact = np.zeros_like(point), np.zeros(part.n_problems), True
    for c, (group, H) in enumerate(zip(part.groups, hessians, strict=True)):
        mask = working[group]
        model = _Model.of(part, group, mask, point, slope)
        d, slope_there = np.zeros(model.w.size), model.slope.copy()
        for tol, most in _efforts(model, d, SWEEPS):
            made = descend(H, slope_there, model.w, model.lambda1, model.lambda2, tol, most, d)
            exact &= made < SWEEPS
        step[group] = _on_mask(mask, d)
        promised[c] = model.fall(d)
    return step, promised, exact


def _cautious_step(
    part: Objective, at: Evaluated, working: Array, caution: Array
) -> Evaluated | None:
    """A step on a CSR design, as `_line_search` returns it.

    A row that the model calls all but certain has next to no curvature, even if its label says
    otherwise: then the step goes far beyond where F is anything like quadratic.  So a share of the
    labels is mixed into the probabilities that the Hessian is made of, more of it where a step
    promises what F cannot keep, less where it has kept its promise.

    ``caution`` : ndarray of shape (m,), int, says which share of `MIXED`; changed.
    """
    value, most = at.loss + part.penalty(at.point), len(MIXED) - 1
    step, promised = np.zeros_like(at.point), np.full(part.n_problems, np.inf)
    while True:
        asked = promised > value  # more than F, which is not negative
        _sparse_step(part, at, working, caution, asked, step, promised)
        asked = (promised > value) & (caution < most)
        if not asked.any():
            moved = _line_search(part, at, step, promised)
            if moved is not None:
                kept = value - moved.loss - part.penalty(moved.point) >= KEPT * promised
                caution[kept & (caution > 0)] -= 1
                return moved
            if (caution == most).all():
                return None
            asked, promised = caution < most, np.where(caution < most, np.inf, promised)
        caution[asked] += 1


def _sparse_step(
    part: Objective,
    at: Evaluated,
    working: Array,
    caution: Array,
    asked: Array,
    step: Array,
    promised: Array,
) -> None:
    """Steps to the minimisers of the models for a CSR design, of the problems that are asked for.

    ``step`` (K, q) and ``promised`` (m,) are changed for these.
    """
    assert isinstance(part.design, CSRDesign)
    state = part.logit_state(at.point, part.per_output(np.take(MIXED, caution))).T
    s = part.target.s
    Q = np.ascontiguousarray(state * s if part.coupled else state)
    inverse = np.zeros(s.size)
    if part.coupled:
        np.divide(1.0, s, out=inverse, where=s > 0)
    centring = Centring(part.center)
    for c in np.flatnonzero(asked):
        group = part.groups[c]
        mask = working[group]
        outputs, features = np.nonzero(mask)
        model = _Model.of(part, group, mask, at.point, at.gradient)
        d, curvature = np.zeros(model.w.size), np.full(model.w.size, -1.0)
        U, t = np.zeros_like(Q[group]), np.zeros(s.size)
        for tol, most in _efforts(model, d, SPARSE_SWEEPS):
            descend_columns(
                part.design.columns,
                features,
                outputs,
                Q[group],
                inverse,
                model.slope,
                model.w,
                model.lambda1,
                model.lambda2,
                tol,
                most,
                U,
                t,
                curvature,
                d,
            )
        step[group] = centring.apply(_on_mask(mask, d))
        promised[c] = model.fall(d)


def _efforts(model: _Model, d: Array, most: int) -> Iterator[tuple[float, int]]:
    """What to ask of coordinate descent: a sweep, then what that makes a good share of."""
    yield 0.0, 1
    yield EXACT * model.fall(d), most


def _on_mask(mask: Array, values: Array) -> Array:
    result = np.zeros(mask.shape)
    result[mask] = values
    return result


def _line_search(part: Objective, at: Evaluated, step: Array, promised: Array) -> Evaluated | None:
    """As far along ``step`` as F falls enough; None: nowhere."""
    centring = Centring(part.center)
    centred = centring.apply(at.point)
    value = at.loss + part.penalty(at.point)
    length = np.ones(part.n_problems)
    for _ in range(HALVINGS):
        trial = centred + part.per_output(length) * step
        there = Evaluated.at(part, centring.undo(trial))
        reached = there.loss + part.penalty(there.point)
        falls = reached <= value - ARMIJO * length * promised + ROUNDING * np.abs(value)
        if falls.all():
            return there
        length[~falls] *= 0.5
    return None
