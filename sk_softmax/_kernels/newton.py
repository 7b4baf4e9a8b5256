"""Damped Newton for problems so small that calls would cost more than the arithmetic.

One call solves several problems, step by step side by side: each block of rows serves them all
while it is in the cache.  Rows come in blocks of equal size and run along the last axis, as in
`hessian`; the last block is filled up with rows of weight 0.

`newton_problems` calls everything else itself: what is called by what is called would be compiled
once more for each level.
"""

import numpy as np

from .columns import class_products, sigmoid_residuals, softmax_columns, softmax_residuals
from .jit import jit
from .tiles import add_products, add_weighted_gram, column_logits

ARMIJO = 1e-4
SHORTEST = 2.0**-12  # step, of the Newton step
ROUNDING = 2.0**-54  # of the objective: changes that it cannot show
PIVOT = 1e-12  # of the unit diagonal: below it the Hessian is singular up to rounding


@jit
def newton_problems(A, center, y, s, columns, sides, lambda2, points, tol, goals, limits, counts):
    """Newton steps on softmax (``columns[0] < 0``), or on the binary problems of some classes.

    Steps are halved until the objective falls (Armijo).  A problem ends with the step after the
    one at whose start its Newton decrement was below its goal, and no KKT violation above ``tol``.

    Parameters
    ----------
    A : ndarray of shape (blocks, q, rows), C-contiguous, float64
        Centred features, and ones where there is an intercept.
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
    counts : ndarray of shape (m, 2), int64
        Zeros; result: iterations, and evaluations of the objective with its derivatives.
    """
    m, K, q = points.shape
    blocks, rows, p = A.shape[0], A.shape[2], center.size
    P, D = np.empty((K, rows)), np.empty((K * (K + 1) // 2, rows))
    scratch, own = np.empty((4, rows)), np.empty(rows)
    top, log_total = np.empty(rows), np.empty(rows)
    gradient, H = np.empty((m, K, q)), np.empty((m, K * q, K * q))
    step, trial = np.empty((m, K * q)), points.copy()
    value, there, decrement, length = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    going, last = np.empty(m, np.bool_), np.empty(m, np.bool_)
    for c in range(m):
        going[c], last[c] = True, False
        value[c], decrement[c], length[c] = np.inf, 0.0, 0.0
    left, zero = m, np.int64(0)
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
                        share = sides[c, 1] if y[block, i] == columns[c] else sides[c, 0]
                        D[0, i] = s[block, i] * share * own[i] / ((1.0 + own[i]) * (1.0 + own[i]))
                add_products(P, A[block], zero, gradient[c], zero, zero)
                pair = 0
                for k in range(0 if last[c] else K):
                    for other in range(k, K):
                        add_weighted_gram(A[block], D[pair], scratch, H[c], other * q, k * q)
                        pair += 1
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
                    going[c], decrement[c] = _newton_step(H[c], gradient[c], step[c])
                    near = decrement[c] <= goals[c] and _violation(gradient[c], center) <= tol
                    last[c] = near or decrement[c] <= ROUNDING * value[c]
                    length[c] = 1.0
            else:
                length[c] *= 0.5
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
def _complete(H, K, p, softmax):
    """The Hessian's lower triangle from the upper ones of its blocks; softmax's flat direction."""
    q = H.shape[0] // K
    for k in range(K):
        for other in range(k, K):
            for j in range(q):
                for r in range(j + 1, q):
                    H[other * q + r, k * q + j] = H[other * q + j, k * q + r]
    if softmax and q > p:  # it does not see a shift of all intercepts
        curvature = 0.0
        for k in range(K):
            curvature += H[k * q + p, k * q + p]
        for k in range(K):
            for other in range(k + 1):
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


@jit
def _newton_step(H, gradient, step):
    """Whether H is positive definite; the step (its negative) and the Newton decrement.

    Cholesky's method on the lower triangle of H, scaled to a unit diagonal; H is overwritten.
    Not positive definite is also what is not so up to rounding.
    """
    d, q = step.size, gradient.shape[1]
    scale = np.empty(d)
    for a in range(d):
        if not H[a, a] > 0.0:
            return False, 0.0
        scale[a] = 1.0 / np.sqrt(H[a, a])
        step[a] = gradient[a // q, a % q] * scale[a]
        for b in range(a + 1):
            H[a, b] *= scale[a] * scale[b]
    for a in range(d):
        for b in range(a + 1):
            total = H[a, b]
            for c in range(b):
                total -= H[a, c] * H[b, c]
            if b < a:
                H[a, b] = total / H[b, b]
                step[a] -= H[a, b] * step[b]
            elif total > PIVOT:
                H[a, a] = np.sqrt(total)
            else:
                return False, 0.0
        step[a] /= H[a, a]
    decrement = 0.0
    for a in range(d):  # L^-1 of the gradient: its squares are those of the step, in H's metric
        decrement += 0.5 * step[a] * step[a]
    for a in range(d - 1, -1, -1):
        step[a] /= H[a, a]
        for c in range(a):
            step[c] -= H[a, c] * step[a]
    for a in range(d):
        step[a] *= scale[a]
    return True, decrement
