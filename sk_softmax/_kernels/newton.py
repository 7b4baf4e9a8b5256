"""Damped Newton for problems so small that calls would cost more than the arithmetic.

One call solves several problems, step by step side by side: each block of rows serves them all
while it is in the cache.  Rows come in blocks of equal size and run along the last axis, as in
`hessian`; the last block is filled up with rows of weight 0.
"""

import numpy as np

from .curvature import class_products, softmax_columns
from .hessian import add_four, add_weighted_gram, column_logits
from .jit import jit
from .pointwise import exp_nonpositive, log1p_unit

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
    blocks, p, size = A.shape[0], center.size, K * q
    P, D = np.empty((K, A.shape[2])), np.empty((K * (K + 1) // 2, A.shape[2]))
    scratch = np.empty((4, A.shape[2]))
    gradient, H = np.empty((m, K, q)), np.empty((m, size, size))
    step, trial = np.empty((m, size)), np.empty((m, K, q))
    value, there, decrement, length = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    going, last = np.empty(m, np.bool_), np.empty(m, np.bool_)
    for c in range(m):
        going[c], last[c] = True, False
        value[c], decrement[c], length[c] = np.inf, 0.0, 0.0
        _move(trial[c], points[c])
    left = m
    while left:
        for c in range(m):
            if going[c]:
                there[c] = _penalty(lambda2[c], p, trial[c], gradient[c], H[c])
        for block in range(blocks):
            a = A[block]
            for c in range(m):
                if going[c]:
                    column_logits(a, trial[c], P)
                    if columns[c] < 0:
                        there[c] += _softmax(y[block], s[block], P, D, scratch)
                    else:
                        there[c] += _sigmoid(y[block], s[block], columns[c], sides[c], P[0], D[0])
                    _add_derivatives(a, P, D, scratch, not last[c], gradient[c], H[c])
        for c in range(m):
            if not going[c]:
                continue
            counts[c, 1] += 1
            enough = value[c] - 2.0 * ARMIJO * length[c] * decrement[c]
            if there[c] <= enough or (last[c] and there[c] <= value[c]):
                if value[c] < np.inf:
                    counts[c, 0] += 1
                _move(points[c], trial[c])
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
def _move(point, other):
    """A loop: assignments of arrays take long to compile."""
    K, q = point.shape
    for k in range(K):
        for j in range(q):
            point[k, j] = other[k, j]


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
def _add_derivatives(a, R, D, scratch, second, gradient, H):
    """First derivatives from residuals R (K, rows), and ``second`` ones from those by logits."""
    K, rows = R.shape
    q = a.shape[0]
    whole = q - q % 4
    for k in range(K):
        for j in range(0, whole, 4):
            t0 = t1 = t2 = t3 = 0.0
            for i in range(rows):
                r = R[k, i]
                t0, t1 = t0 + r * a[j, i], t1 + r * a[j + 1, i]
                t2, t3 = t2 + r * a[j + 2, i], t3 + r * a[j + 3, i]
            gradient[k, j] += t0
            gradient[k, j + 1] += t1
            gradient[k, j + 2] += t2
            gradient[k, j + 3] += t3
        for j in range(whole, q):
            total = 0.0
            for i in range(rows):
                total += R[k, i] * a[j, i]
            gradient[k, j] += total
    pair = 0
    for k in range(K if second else 0):
        for other in range(k, K):
            add_weighted_gram(a, D[pair], scratch, H, other * q, k * q)
            pair += 1


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
def _complete(H, K, p, softmax):
    """The lower triangle of the Hessian from those of its blocks; softmax's flat direction."""
    q = H.shape[0] // K
    for k in range(K):
        for other in range(k + 1, K):
            for j in range(q):
                for r in range(j + 1, q):
                    H[other * q + j, k * q + r] = H[other * q + r, k * q + j]
    if softmax and q > p:  # it does not see a shift of all intercepts
        curvature = 0.0
        for k in range(K):
            curvature += H[k * q + p, k * q + p]
        for k in range(K):
            for other in range(k + 1):
                H[k * q + p, other * q + p] += curvature / (K * K)


@jit
def _newton_step(H, gradient, step):
    """Whether H is positive definite; the step (its negative) and the Newton decrement."""
    K, q = gradient.shape
    for k in range(K):
        for j in range(q):
            step[k * q + j] = gradient[k, j]
    definite = _solve(H, step)
    decrement = 0.0
    for k in range(K):
        for j in range(q):
            decrement += 0.5 * gradient[k, j] * step[k * q + j]
    return definite, decrement


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
    if not _cholesky(H):
        return False
    for a in range(d):
        total = x[a]
        for c in range(a):
            total -= H[a, c] * x[c]
        x[a] = total / H[a, a]
    for a in range(d - 1, -1, -1):
        x[a] /= H[a, a]
        for c in range(a):
            x[c] -= H[a, c] * x[a]
    for a in range(d):
        x[a] *= scale[a]
    return True


@jit
def _cholesky(H):
    """The lower triangle of H becomes L, L L' = H; False if a pivot is lost in rounding.

    Four rows and four columns at a time: sixteen sums in registers, as in `add_weighted_gram`.
    """
    d = H.shape[0]
    for first in range(0, d, 4):
        rows = min(4, d - first)
        for b in range(0, first if rows == 4 else 0, 4):
            t00 = t01 = t02 = t03 = t10 = t11 = t12 = t13 = 0.0
            t20 = t21 = t22 = t23 = t30 = t31 = t32 = t33 = 0.0
            for c in range(b):
                h0, h1, h2, h3 = H[b, c], H[b + 1, c], H[b + 2, c], H[b + 3, c]
                h = H[first, c]
                t00, t01, t02, t03 = t00 - h * h0, t01 - h * h1, t02 - h * h2, t03 - h * h3
                h = H[first + 1, c]
                t10, t11, t12, t13 = t10 - h * h0, t11 - h * h1, t12 - h * h2, t13 - h * h3
                h = H[first + 2, c]
                t20, t21, t22, t23 = t20 - h * h0, t21 - h * h1, t22 - h * h2, t23 - h * h3
                h = H[first + 3, c]
                t30, t31, t32, t33 = t30 - h * h0, t31 - h * h1, t32 - h * h2, t33 - h * h3
            add_four(H, first, b, t00, t01, t02, t03)
            add_four(H, first + 1, b, t10, t11, t12, t13)
            add_four(H, first + 2, b, t20, t21, t22, t23)
            add_four(H, first + 3, b, t30, t31, t32, t33)
            for a in range(first, first + 4):
                _divide(H, a, b, b, b + 4)
        for a in range(first, first + rows):
            _divide(H, a, first if rows == 4 else 0, 0, a)
            pivot = H[a, a]
            for c in range(a):
                pivot -= H[a, c] * H[a, c]
            if not pivot > PIVOT:
                return False
            H[a, a] = np.sqrt(pivot)
    return True


@jit
def _divide(H, a, first, start, stop):
    """Entries ``first`` to ``stop`` of row a of L; of the sums, the part from ``start`` is left."""
    for b in range(first, stop):
        total = H[a, b]
        for c in range(start, b):
            total -= H[a, c] * H[b, c]
        H[a, b] = total / H[b, b]
