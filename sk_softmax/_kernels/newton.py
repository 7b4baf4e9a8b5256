"""Damped Newton for problems so small that calls would cost more than the arithmetic.

One call solves several problems, step by step side by side: each block of rows serves them all
while it is in the cache.  Rows come in blocks of equal size and run along the last axis, as in
`hessian`; the last block is filled up with rows of weight 0.

`newton_problems` calls everything else itself: what is called by what is called would be compiled
once more for each level.
"""

import numpy as np

from .cholesky import definite_step
from .columns import class_products, sigmoid_residuals, softmax_columns, softmax_residuals
from .jit import jit
from .tiles import LANES, add_products, add_weighted_gram, column_logits

ARMIJO = 1e-4
SHORTEST = 2.0**-12  # step, of the Newton step
ROUNDING = 2.0**-54  # of the objective: changes that it cannot show


@jit
def newton_problems(
    A, center, y, s, columns, sides, lambda2, points, tol, goals, limits, null, shares, counts
):
    """Newton steps on softmax (``columns[0] < 0``), or on the binary problems of some classes.

    Steps are halved until the objective falls (Armijo).  A problem ends with the step after the
    one at whose start its Newton decrement was below its goal, and no KKT violation above ``tol``.

    Binary Hessians leave out the rows of least curvature, most of them where classes are all but
    separate.  What is left is no larger than the Hessian, so decrements err to the safe side.  All
    null models have the same Hessian but for a factor.

    Parameters
    ----------
    A : ndarray of shape (blocks, q, rows), C-contiguous, float64
        Centred features, and ones where there is an intercept.  Rows fill
        whole vector registers; the first of each block has a weight.
    center : ndarray of shape (p,)
        What was taken from them: violations are of the features as they were.
    y : ndarray of shape (blocks, rows), int64
    s : ndarray of shape (blocks, rows), float64
    columns : ndarray of shape (m,), int64
    sides : ndarray of shape (m, 2), float64
        Binary: the factors on the weights of rows of other classes and of this one.
    lambda2 : ndarray of shape (m,)
        Positive.
    points : ndarray of shape (m, K, q), float64
        In the centred coordinates; the starts on entry, where Newton ends on return.  K = 1 for
        binary problems.
    tol : float
    goals : ndarray of shape (m,)
    limits : ndarray of shape (m,), int64
        Iterations allowed.
    null : bool
        Whether the problems are binary, start with coefficients of 0, and have sides of 1.
    shares : ndarray of shape (m,)
        Of the mean curvature of a block's rows: less in a row leaves it out of a binary Hessian.
        They are halved wherever a step is.
    counts : ndarray of shape (m, 2), int64
        Zeros; result: iterations, and evaluations of the objective with its derivatives.
    """
    m, K, q = points.shape
    blocks, rows, p = A.shape[0], A.shape[2], center.size
    P, D = np.empty((K, rows)), np.empty((K * (K + 1) // 2, rows))
    scratch, own = np.empty((4, rows)), np.empty(rows)
    top, log_total = np.empty(rows), np.empty(rows)
    buffer, kept = np.empty((q + 5) * rows), np.empty(rows, np.uint64)
    gradient, H = np.empty((m, K, q)), np.empty((m, K * q, K * q))
    step, trial = np.empty((m, K * q)), points.copy()
    value, there, decrement, length = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    factors = np.empty(m)
    going, last = np.empty(m, np.bool_), np.empty(m, np.bool_)
    for c in range(m):
        going[c], last[c] = True, False
        value[c], decrement[c], length[c] = np.inf, 0.0, 0.0
    common, left, zero = np.zeros((q, q)), m, np.int64(0)
    while left:
        for c in range(m):
            if going[c]:
                there[c] = _penalty(lambda2[c], p, trial[c], gradient[c], H[c])
        for block in range(blocks):
            for c in range(m):
                if not going[c]:
                    continue
                column_logits(A[block], trial[c], P)
                if columns[c] < 0:
                    for i in range(rows):
                        own[i] = P[y[block, i], i]
                    softmax_columns(P, top, log_total)
                    class_products(P, s[block], D)
                    there[c] += softmax_residuals(y[block], s[block], own, top, log_total, P)
                else:
                    there[c] += sigmoid_residuals(
                        y[block], s[block], columns[c], sides[c, 1], sides[c, 0], P, zero, own
                    )
                    for i in range(rows):
                        side = sides[c, 1] if y[block, i] == columns[c] else sides[c, 0]
                        slope = own[i] / ((1.0 + own[i]) * (1.0 + own[i]))
                        D[0, i] = s[block, i] * (1.0 if null else side * slope)
                    factors[c] = own[0] / ((1.0 + own[0]) * (1.0 + own[0]))
                add_products(P, A[block], zero, gradient[c], zero, zero)
                if last[c] or (null and c > 0):
                    continue
                features, weights, few, into = A[block], D, scratch, H[c]
                if null:
                    into = common
                elif columns[c] >= 0 and shares[c] > 0.0:
                    count = _rows_of_weight(D[0], shares[c], kept)
                    if 4 * count <= 3 * rows:
                        width = count + -count % LANES
                        features = buffer[: q * width].reshape(q, width)
                        weights = buffer[q * width : (q + 1) * width].reshape(1, width)
                        few = buffer[(q + 1) * width : (q + 5) * width].reshape(4, width)
                        _take_rows(A[block], D[0], kept, count, features, weights[0])
                pair = 0
                for k in range(K):
                    for other in range(k, K):
                        add_weighted_gram(features, weights[pair], few, into, k * q, other * q)
                        pair += 1
        if null:
            for c in range(m):
                for j in range(q):
                    for r in range(j, q):
                        H[c, j, r] += factors[c] * common[j, r]
            null = False
        for c in range(m):
            if not going[c]:
                continue
            counts[c, 1] += 1
            enough = value[c] - 2.0 * ARMIJO * length[c] * decrement[c]
            if there[c] <= enough or (last[c] and there[c] <= value[c]):
                if value[c] < np.inf:
                    counts[c, 0] += 1
                for k in range(K):
                    for j in range(q):
                        points[c, k, j] = trial[c, k, j]
                value[c] = there[c]
                going[c] = not last[c] and counts[c, 0] < limits[c]
                if going[c]:
                    _complete(H[c], K, p, columns[c] < 0)
                    going[c], decrement[c] = definite_step(H[c], gradient[c], step[c])
                    near = decrement[c] <= goals[c] and _violation(gradient[c], center) <= tol
                    last[c] = near or decrement[c] <= ROUNDING * value[c]
                    length[c] = 1.0
            else:
                length[c] *= 0.5
                shares[c] *= 0.5
                going[c] = not last[c] and length[c] >= SHORTEST and value[c] < np.inf
            if going[c]:
                for k in range(K):
                    for j in range(q):
                        trial[c, k, j] = points[c, k, j] - length[c] * step[c, k * q + j]
            else:
                left -= 1


@jit
def _penalty(lambda2, p, point, gradient, H):
    """The penalty; gradient and Hessian H begin with it."""
    K, q = point.shape
    value = 0.0
    for a in range(K * q):
        for b in range(K * q):
            H[a, b] = 0.0
    for k in range(K):
        for j in range(q):
            ridge = lambda2 * point[k, j] if j < p else 0.0
            value += 0.5 * ridge * point[k, j]
            gradient[k, j] = ridge
            H[k * q + j, k * q + j] = lambda2 if j < p else 0.0
    return value


@jit
def _rows_of_weight(d, share, kept):
    """How many of d (m,) are at least ``share`` of their mean; they come first in ``kept``."""
    least = 0.0
    for i in range(d.size):
        least += d[i]
    least *= share / d.size
    count = 0
    for i in range(d.size):
        kept[count] = i
        count += d[i] >= least
    return count


@jit
def _take_rows(A, d, kept, count, some, weight):
    """Columns of A (q, m) and d (m,), those that are ``kept``, and 0 where there are no more."""
    q, width = some.shape
    for j in range(q):
        for i in range(count):
            some[j, i] = A[j, kept[i]]
        for i in range(count, width):
            some[j, i] = 0.0
    for i in range(width):
        weight[i] = d[kept[i]] if i < count else 0.0


@jit
def _complete(H, K, p, softmax):
    """The Hessian's upper triangle from those of its blocks; softmax's flat direction."""
    q = H.shape[0] // K
    for k in range(K):
        for other in range(k + 1, K):
            for j in range(q):
                for r in range(j + 1, q):
                    H[k * q + r, other * q + j] = H[k * q + j, other * q + r]
    if softmax and q > p:  # it does not see a shift of all intercepts
        curvature = 0.0
        for k in range(K):
            curvature += H[k * q + p, k * q + p]
        for k in range(K):
            for other in range(k, K):
                H[k * q + p, other * q + p] += curvature / (K * K)


@jit
def _violation(gradient, center):
    """The largest entry of the gradient by the features as they were."""
    K, q = gradient.shape
    largest = 0.0
    for k in range(K):
        for j in range(q):
            g = gradient[k, j]
            if j < center.size and q > center.size:
                g += gradient[k, q - 1] * center[j]
            largest = max(largest, abs(g))
    return largest
