"""Damped Newton for problems so small that calls would cost more than the arithmetic.

One call solves a problem whose features stay in the processor's cache.  Rows come in blocks of
equal size and run along the last axis, as in `curvature`; the last block is filled up with rows
of weight 0.
"""

import numpy as np

from .curvature import class_products, softmax_columns
from .jit import jit
from .pointwise import exp_nonpositive, log1p_unit

ARMIJO = 1e-4
SHORTEST = 2.0**-12  # step, of the Newton step
ROUNDING = 2.0**-54  # of the objective: changes that it cannot show
PIVOT = 1e-12  # of the unit diagonal: below it the Hessian is singular up to rounding


@jit
def newton_problem(A, center, y, s, column, sides, lambda2, point, tol, goal, max_iter):
    """Newton steps on softmax (``column < 0``), or on the binary problem of class ``column``.

    Steps are halved until the objective falls (Armijo).  The end is the step after the one at
    whose start the Newton decrement was below ``goal``, and no KKT violation above ``tol``.

    Parameters
    ----------
    A : ndarray of shape (blocks, q, m), C-contiguous, float64
        Centred features, and ones where there is an intercept.
    center : ndarray of shape (p,)
        What was taken from them: violations are of the features as they were.
    y : ndarray of shape (blocks, m), int64
    s : ndarray of shape (blocks, m), float64
    column : int
    sides : ndarray of shape (2,), float64
        Binary: the factors on the weights of rows of other classes and of this one.
    lambda2 : float
        Positive.
    point : ndarray of shape (K, q), float64
        In the centred coordinates; the start on entry, where Newton ends on return.
    tol, goal : float
    max_iter : int

    Returns
    -------
    iterations, evaluations : int
        Of the objective, its gradient and its second derivatives at once.
    """
    K, q = point.shape
    blocks, m = y.shape
    p = center.size
    P, D = np.empty((K, m)), np.empty((blocks, K * (K + 1) // 2, m))
    scratch = np.empty((2, m))
    gradient, H = np.empty((K, q)), np.empty((K * q, K * q))
    step, trial = np.empty(K * q), np.empty((K, q))
    for k in range(K):
        for j in range(q):
            trial[k, j] = point[k, j]
    iterations = evaluations = halvings = 0
    value, decrement, length, last = np.inf, 0.0, 0.0, False
    while True:
        there = _evaluate(A, y, s, column, sides, lambda2, p, trial, P, D, scratch, gradient)
        evaluations += 1
        if there <= value - 2.0 * ARMIJO * length * decrement or (last and there <= value):
            for k in range(K):
                for j in range(q):
                    point[k, j] = trial[k, j]
            value = there
            iterations = evaluations - halvings - 1
            if last or iterations == max_iter:
                return iterations, evaluations
            _hessian(A, D, lambda2, p, column < 0, scratch[0], H)
            for k in range(K):
                for j in range(q):
                    step[k * q + j] = gradient[k, j]
            if not _solve(H, step):
                return iterations, evaluations
            decrement = 0.0
            for k in range(K):
                for j in range(q):
                    decrement += 0.5 * gradient[k, j] * step[k * q + j]
            lost = decrement <= ROUNDING * value
            last = lost or (decrement <= goal and _violation(gradient, center) <= tol)
            length = 1.0
        else:
            length *= 0.5
            halvings += 1
            if last or length < SHORTEST or not value < np.inf:
                return iterations, evaluations
        for k in range(K):
            for j in range(q):
                trial[k, j] = point[k, j] - length * step[k * q + j]


@jit
def _evaluate(A, y, s, column, sides, lambda2, p, point, P, D, scratch, gradient):
    """F at ``point``, its gradient, and the second derivatives by logits, pair by pair, in D."""
    K, q = point.shape
    m = A.shape[2]
    value = 0.0
    for k in range(K):
        for j in range(q):
            ridge = lambda2 * point[k, j] if j < p else 0.0
            value += 0.5 * ridge * point[k, j]
            gradient[k, j] = ridge
    for block in range(A.shape[0]):
        a = A[block]
        for k in range(K):
            for i in range(m):
                P[k, i] = 0.0
            for j in range(q):
                w = point[k, j]
                for i in range(m):
                    P[k, i] += w * a[j, i]
        if column < 0:
            value += _softmax(y[block], s[block], P, D[block], scratch)
        else:
            value += _sigmoid(y[block], s[block], column, sides, P[0], D[block, 0])
        for k in range(K):
            for j in range(q):
                total = 0.0
                for i in range(m):
                    total += P[k, i] * a[j, i]
                gradient[k, j] += total
    return value


@jit
def _softmax(y, s, P, D, scratch):
    """Loss; logits P become residuals."""
    own, log_total = scratch[0], scratch[1]
    for i in range(y.size):
        own[i] = P[y[i], i]
    softmax_columns(P, log_total)
    class_products(P, s, D)
    loss = 0.0
    for i in range(y.size):
        loss += s[i] * (log_total[i] - own[i])
    for k in range(P.shape[0]):
        for i in range(y.size):
            P[k, i] = s[i] * (P[k, i] - (1.0 if y[i] == k else 0.0))
    return loss


@jit
def _sigmoid(y, s, column, sides, z, d):
    """Loss; logits z become residuals."""
    loss = 0.0
    for i in range(y.size):
        sign = 1.0 if y[i] == column else -1.0
        weight = s[i] * (sides[1] if y[i] == column else sides[0])
        margin = -sign * z[i]
        t = exp_nonpositive(-abs(margin))
        loss += weight * ((margin if margin > 0.0 else 0.0) + log1p_unit(t))
        z[i] = -sign * weight * (1.0 if margin >= 0.0 else t) / (1.0 + t)
        d[i] = weight * t / ((1.0 + t) * (1.0 + t))
    return loss


@jit
def _hessian(A, D, lambda2, p, softmax, weighted, H):
    """The lower triangle of F's Hessian, (K q, K q); softmax's flat direction filled in."""
    blocks, q, m = A.shape
    K = H.shape[0] // q
    for a in range(K * q):
        for b in range(a + 1):
            H[a, b] = 0.0
    for block in range(blocks):
        a, pair = A[block], 0
        for k in range(K):
            for other in range(k, K):
                d = D[block, pair]
                pair += 1
                for j in range(q):
                    for i in range(m):
                        weighted[i] = d[i] * a[j, i]
                    for r in range(j, q - 3, 4):  # four at a time share the loads of `weighted`
                        t0 = t1 = t2 = t3 = 0.0
                        for i in range(m):
                            w = weighted[i]
                            t0 += w * a[r, i]
                            t1 += w * a[r + 1, i]
                            t2 += w * a[r + 2, i]
                            t3 += w * a[r + 3, i]
                        H[other * q + r, k * q + j] += t0
                        H[other * q + r + 1, k * q + j] += t1
                        H[other * q + r + 2, k * q + j] += t2
                        H[other * q + r + 3, k * q + j] += t3
                    for r in range(q - (q - j) % 4, q):
                        total = 0.0
                        for i in range(m):
                            total += weighted[i] * a[r, i]
                        H[other * q + r, k * q + j] += total
    for k in range(K):  # blocks of two classes are symmetric too
        for other in range(k + 1, K):
            for j in range(q):
                for r in range(j + 1, q):
                    H[other * q + j, k * q + r] = H[other * q + r, k * q + j]
    for k in range(K):
        for j in range(p):
            H[k * q + j, k * q + j] += lambda2
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
def _solve(H, x):
    """Solve H x = b in place (b in x, H its lower triangle, overwritten) by Cholesky.

    H is scaled to a unit diagonal first.  False: H is not positive definite up to rounding.
    """
    d = x.size
    scale = np.empty(d)
    for a in range(d):
        if not H[a, a] > 0.0:
            return False
        scale[a] = 1.0 / np.sqrt(H[a, a])
    for a in range(d):
        for b in range(a + 1):
            H[a, b] *= scale[a] * scale[b]
        x[a] *= scale[a]
    for a in range(d):
        row = H[a]
        for b in range(a + 1):
            other = H[b]
            total = row[b]
            for c in range(b):
                total -= row[c] * other[c]
            if b < a:
                row[b] = total / other[b]
            else:
                if not total > PIVOT:
                    return False
                row[a] = np.sqrt(total)
        total = x[a]
        for c in range(a):
            total -= row[c] * x[c]
        x[a] = total / row[a]
    for a in range(d - 1, -1, -1):
        x[a] /= H[a, a]
        for c in range(a):
            x[c] -= H[a, c] * x[a]
    for a in range(d):
        x[a] *= scale[a]
    return True
