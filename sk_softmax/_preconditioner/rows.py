"""Which rows a Hessian is made from, and what each of them stands for."""

import numpy as np

from .._curvature.products import STORED
from .._design.chunks import blocks_of, cut
from .._objective import Objective
from .._typing import Array

NARROW = 128  # coordinates of a class up to which all rows make its block of the Hessian
CLASS_ROWS_A_FEATURE = 4  # for a class's block of a wide Hessian
LARGEST_SAMPLE = 20_000  # rows for a Hessian, unless it has more than a tenth as many coordinates
SEED = 0
ROWS_A_COORDINATE = 4  # for a Hessian on a support, at least
SHARE = 8  # of the rows, of which one serves then
TINY = float(np.finfo(float).tiny)


def hessian_sample(objective: Objective) -> int:
    """Rows worth a Hessian: a quarter where they are many, and enough to determine it; or all."""
    n = objective.design.n
    rows = max(10 * objective.hessian_size, 2000, min(n // 4, LARGEST_SAMPLE))
    return n if rows >= 0.7 * n else rows


def class_sample(objective: Objective) -> int:
    """Rows worth a class's block of the Hessian: all where that is cheap, else some a feature."""
    q, n = objective.q, objective.design.n
    if q <= NARROW:
        return n
    rows = max(CLASS_ROWS_A_FEATURE * q, 2000)
    return n if rows >= 0.5 * n else rows


def support_sample(objective: Objective, coordinates: int) -> int | None:
    """Rows worth a Hessian on so many coordinates; None: all."""
    rows = max(ROWS_A_COORDINATE * coordinates, objective.design.n // SHARE)
    return rows if 2 * rows <= objective.design.n else None


def important_rows(
    objective: Objective, point: Array, wanted: int
) -> dict[int, tuple[Array, Array]]:
    """For each class about ``wanted`` rows, drawn with chances as their curvature; their weights.

    Returns
    -------
    chosen : dict
        For each class rows (r,), int, and weights (r,): what each is times one over its chance.
    """
    n, K = objective.design.n, objective.K
    of, scale = np.arange(n), np.ones(n)
    if n * K > STORED:
        of, scale = stratified_rows(objective, STORED // K)
    curvature = objective.class_curvature(point, of) * scale
    generator = np.random.default_rng(SEED)
    chosen = {}
    for k, weight in enumerate(curvature):
        chance = np.minimum(1.0, weight / max(float(weight.sum()), TINY) * wanted)
        drawn = np.flatnonzero(generator.random(weight.size) < chance)
        chosen[k] = (of[drawn], weight[drawn] / chance[drawn])
    return chosen


def stratified_rows(
    objective: Objective, wanted: int, point: Array | None = None
) -> tuple[Array, Array]:
    """Rows drawn with a fixed seed, small classes whole; and what each one stands for.

    Chances are as the rows' weights, as their distances from the mean (an outlier decides more
    than its neighbours could) and, with a ``point``, as the residuals there: rows that the model
    is sure of say little, and where classes are nearly separable few others are left.

    Returns
    -------
    rows : ndarray of shape (r,), int, ascending
    scale : ndarray of shape (r,)
        The sum over a class of scale times weight is the class's weight.
    """
    y, s = objective.target.y, objective.target.s
    counts = np.bincount(y)
    small = counts <= wanted // (4 * max(1, int(np.count_nonzero(counts))))
    scores: list[Array] = [s, s * objective.distances]
    if point is not None:
        scores.append(residual_sizes(objective, point))
    chance = np.zeros(y.size)
    for score in scores:
        chance += score / max(float(score.sum()), TINY) * (wanted / len(scores))
    chance = np.where(small[y], 1.0, np.minimum(chance, 1.0))
    some = np.zeros(counts.size, dtype=int)
    some[y[s > 0]] = np.flatnonzero(s > 0)
    chance[some[counts > 0]] = 1.0  # no class is left out
    rows = np.flatnonzero(np.random.default_rng(SEED).random(y.size) < chance)
    scale = 1 / chance[rows]
    drawn = np.bincount(y[rows], s[rows] * scale, counts.size)
    totals = np.bincount(y, s)
    return rows, scale * (totals / np.where(drawn > 0, drawn, 1.0))[y[rows]]


def residual_sizes(objective: Objective, point: Array) -> Array:
    """The largest of each row's residuals, (n,)."""
    coef, intercept = objective.split(point)
    sizes = np.empty(objective.design.n)
    Wt = np.ascontiguousarray(coef.T)

    def fill(rows: slice) -> tuple[()]:
        for block in blocks_of(rows, 1024):
            R = objective.design.logits(block, Wt, intercept)
            objective.target.residual(R, block)
            sizes[block] = np.abs(R).max(axis=1)
        return ()

    cut(objective.workers, fill, objective.design.n, objective.design.work(objective.K))
    return sizes
