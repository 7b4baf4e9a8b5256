"""Which classes are separated, so that without a penalty the coefficients have no finite optimum.

A pair is a row i and a class k other than its own.  Along a step D (K, q) the raw values of the two
classes move apart by the pair's margin

    m_ik . D = (D_{y_i} - D_k) . (x_i, 1) .

F has a minimum unless there is a direction of recession: a D along which no margin falls and some
margin grows; the pairs with such a margin gain for ever.  Two classes, or one against all others,
are the case K = 2 with D_0 = 0.  By Stiemke's lemma there is no such D if and only if there are
weights u_ik > 0 with sum_ik u_ik m_ik = 0, and the optimum knows some: u_ik = s_i p_ik, for which
the sum is minus the gradient.  Hence two halves:

* Pairs that are bound.  The weights u_ik (1 - m_ik . v) sum to 0 exactly where v is the Newton step
  for the pairs in question alone.  If they are positive, no direction of recession moves any of
  these pairs.  Usually the pairs whose u is not tiny are bound, and leave no direction at all: a
  finite optimum is proven.  Where rows are many, changing the weights of a sample of them does.
* The other pairs, in the space of directions that the bound ones leave.  The projection of their
  sum on the cone of the D without a negative margin is 0 if none can gain, and a direction of
  recession else.  It comes from non-negative least squares on the pairs that get in the way.  What
  does not gain is projected again, until the sum of the directions moves all that can move.

References
----------
Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic
regression models".
Konis (2007), "Linear programming algorithms for detecting separated data in binary logistic
regression models".
Lawson and Hanson (1974), "Solving least squares problems", chapter 23.
"""

from collections.abc import Sequence

import numpy as np

from .._objective import Objective
from .._preconditioner.make import factorable
from .._preconditioner.rows import stratified_rows
from .._typing import Array
from .row_space import LARGEST_BASIS
from .separated_pairs import Pairs, Part
from .whitened_rows import Rows

SAMPLE = 8  # rows a coordinate whose weights are changed
SMALLEST_SAMPLE = 2000
TRIES = 3  # of these in the scaled coordinates


def separated(objective: Objective, point: Array) -> list[Array]:
    """The classes that keep each problem from having a finite optimum.

    Softmax: the classes all of whose rows gain for ever against every other class; if there are
    none, those with a row that gains for ever against some other class.  One-vs-all and two
    classes: the class behind the output.

    Parameters
    ----------
    objective : Objective
        Without a penalty.
    point : ndarray of shape (K, q)
        Where a solver stopped.  What is found hardly depends on it, the time that takes does.

    Returns
    -------
    codes : list of ndarray of int, one a problem
        Empty where there is a finite optimum.  Softmax whose Hessian is too large is looked at
        class by class, each against all others; where that is too large as well, only what the
        point separates is found.
    """
    n, q, K, coupled = objective.design.n, objective.q, objective.K, objective.coupled
    columns, size = objective.target.columns, min(n, q)
    apart = objective.separates(point)
    if coupled and apart[0]:
        return [columns]
    parts: list[Part] = [k for k in range(K) if coupled or not apart[k]]
    if coupled and factorable((K - 1) * size):
        parts = [None]
    fits = factorable(size) and (n >= q or n * q <= LARGEST_BASIS)
    gains = _gains(objective, point, parts) if fits and parts else {}
    if coupled:
        return [_codes(objective.target.y, _of_all_classes(objective, gains))]
    return [columns[k : k + 1] if apart[k] or k in gains else columns[:0] for k in range(K)]


def _gains(objective: Objective, point: Array, parts: Sequence[Part]) -> dict[Part, Array]:
    """The pairs that gain in those of the ``parts`` that have a direction of recession."""
    n, q = objective.design.n, objective.q
    wanted = max(SMALLEST_SAMPLE, SAMPLE * q * (objective.K - 1 if None in parts else 1))
    sample = stratified_rows(objective, wanted, point) if n >= 2 * wanted else None
    rows = Rows(objective, whiten=n < q)
    bound: dict[Part, Array | None] = {}
    for part in parts:
        pairs = Pairs(rows, point, part)
        if not pairs.bind(TRIES, sample=sample):
            bound[part] = pairs.bound if pairs.bound.any() else None
    if not bound:
        return {}
    if n >= q:
        rows = Rows(objective, whiten=True)
    if not rows.r:  # no feature varies
        return {}
    found = {part: Pairs(rows, point, part).gains(those) for part, those in bound.items()}
    return {part: gains for part, gains in found.items() if gains.any()}


def _of_all_classes(objective: Objective, gains: dict[Part, Array]) -> Array:
    """The pairs of softmax that gain in some part, (n, K)."""
    y = objective.target.y
    result = np.zeros((y.size, objective.K), dtype=bool)
    for part, pairs in gains.items():
        if part is None:
            result |= pairs
        else:
            row = pairs.any(axis=1)
            result[:, part] |= row
            result[row & (y == part)] = True
    result[np.arange(y.size), y] = False
    return result


def _codes(y: Array, gains: Array) -> Array:
    """Classes all of whose pairs gain, or else those with a pair that does."""
    count = gains.sum(axis=1)
    least, most = np.full(gains.shape[1], gains.shape[1]), np.zeros(gains.shape[1], dtype=int)
    np.minimum.at(least, y, count)
    np.maximum.at(most, y, count)
    whole = np.flatnonzero(least == gains.shape[1] - 1)
    return whole if whole.size else np.flatnonzero(most)
