"""Damped Newton for problems so small that calls would cost more than the arithmetic.

One call makes all steps of a problem; those of one-vs-all are made side by side, so that each
block of rows serves all problems while it is in the cache.  Rows come in blocks of equal size and
run along the last axis, as in `hessian`; the last block is filled up with rows of weight 0.

Softmax does not see a shift of a feature's coefficients in all outputs.  So its Newton equations
are those of K - 1 contrasts, which are orthonormal as are the outputs, and the shift has its own.

Each loss has a kernel of its own, since a fit compiles what it calls.  What evaluates is called by
the two themselves: what is called by what is called would be compiled once more for each level.
"""

import numpy as np

from .cholesky import definite_step
from .columns import contrast_products, sigmoid_residuals, softmax_columns, softmax_residuals
from .jit import jit
from .tiles import LANES, add_products, add_weighted_gram, column_logits

ARMIJO = 1e-4
SHORTEST = 2.0**-12  # step, of the Newton step
ROUNDING, ROUNDING_SINGLE = 2.0**-54, 2.0**-27  # of the objective: changes that it cannot show
SLACK = 8.0  # times its rounding, by which the last step may raise the objective
VALUE, DECREMENT, LENGTH, LAST = range(4)  # of a problem's state


@jit
def newton_softmax(A, center, y, s, lambda2, point, tol, goal, limit, gradient, counts):
    """Newton steps on softmax.

    Steps are halved until the objective falls (Armijo).  The last is the one after that at whose
    start the Newton decrement was below ``goal``, and no KKT violation above ``tol``.

    Parameters
    ----------
    A : ndarray of shape (blocks, q, rows), C-contiguous, float64
        Centred features, and ones where there is an intercept.  Rows fill
        whole vector registers; the first of each block has a weight.
    center : ndarray of shape (p,)
        What was taken from them: violations are of the features as they were.
    y : ndarray of shape (blocks, rows), int64
    s : ndarray of shape (blocks, rows), float64
    lambda2 : float
        Positive.
    point : ndarray of shape (K, q), float64
        In the centred coordinates; the start on entry, where Newton ends on return.
    tol, goal : float
    limit : int
        Iterations allowed.
    gradient : ndarray of shape (K, q)
        Result: the objective's at the end, in the centred coordinates.
    counts : ndarray of shape (2,), int64
        Zeros; result: iterations, and evaluations of the objective with its derivatives.

    Returns
    -------
    value : float
        The objective at the end; nan where it and its gradient were not kept.
    """
    K, q = point.shape
    blocks, rows, p = A.shape[0], A.shape[2], center.size
    R = K - 1
    P, D = np.empty((K, rows)), np.empty((K * R // 2, rows))
    M, E, scratch = np.empty((R, rows)), np.empty((R, rows)), np.empty((4, rows))
    own, top, log_total = np.empty(rows), np.empty(rows), np.empty(rows)
    H, slope = np.empty((R * q, R * q)), np.empty((R, q))
    step, trial, state = np.empty((K, q)), point.copy(), np.zeros(4)
    state[VALUE], going, zero = np.inf, True, np.int64(0)
    while going:
        there = _penalty(lambda2, p, trial, gradient, H)
        for block in range(blocks):
            column_logits(A[block], trial, P)
            for i in range(rows):
                own[i] = P[y[block, i], i]
            softmax_columns(P, top, log_total)
            if not state[LAST]:
                contrast_products(P, s[block], M, E, D)
            there += softmax_residuals(y[block], s[block], own, top, log_total, P)
            add_products(P, A[block], zero, gradient, zero, zero)
            pair = 0
            for a in range(0 if state[LAST] else R):
                for b in range(a, R):
                    add_weighted_gram(A[block], D[pair], scratch, H, a * q, b * q)
                    pair += 1
        _complete(H, R)
        _to_contrasts(gradient, slope)
        going = _next_trial(
            there,
            gradient,
            slope,
            H,
            lambda2,
            center,
            tol,
            goal,
            ROUNDING,
            limit,
            point,
            trial,
            step,
            state,
            counts,
        )
    return _known_value(state)


@jit
def newton_binary(
    A,
    center,
    y,
    s,
    columns,
    sides,
    lambda2,
    points,
    tol,
    goals,
    limits,
    null,
    shares,
    values,
    gradients,
    counts,
):
    """`newton_softmax` for the binary problems of some classes, (m,), one array entry for each.

    Hessians leave out the rows of least curvature, most of them where classes are all but
    separate.  What is left is no larger than the Hessian, so decrements err to the safe side.  All
    null models have the same Hessian but for a factor.

    In single precision where A and s are, but for points and sums over blocks of rows: as near to
    the optimum as the objective shows.

    Parameters
    ----------
    columns : ndarray of shape (m,), int64
        The classes.
    sides : ndarray of shape (m, 2), float64
        The factors on the weights of rows of other classes and of this one.
    points : ndarray of shape (m, 1, q), float64
    null : bool
        Whether the problems start with coefficients of 0, and have sides of 1.
    shares : ndarray of shape (m,)
        Of the mean curvature of a block's rows: less in a row leaves it out of a Hessian.
        They are halved wherever a step is.
    values, gradients : ndarray of shape (m,) and (m, 1, q)
        Result: what `newton_softmax` returns, and its gradient.
    counts : ndarray of shape (m, 2), int64
    """
    m, _, q = points.shape
    blocks, rows, p = A.shape[0], A.shape[2], center.size
    number, one = A.dtype.type, A.dtype.type(1.0)
    rounding = ROUNDING if A.itemsize == 8 else ROUNDING_SINGLE
    P, d, t = np.empty((1, rows), A.dtype), np.empty(rows, A.dtype), np.empty(rows, A.dtype)
    scratch, buffer = np.empty((4, rows), A.dtype), np.empty((q + 5) * rows, A.dtype)
    kept, tried = np.empty(rows, np.uint64), np.empty((m, 1, q), A.dtype)
    H, common = np.empty((m, q, q)), np.zeros((q, q))
    step, trial, state = np.empty((m, 1, q)), points.copy(), np.zeros((m, 4))
    there, factors, going = np.empty(m), np.empty(m), np.empty(m, np.bool_)
    for c in range(m):
        going[c], state[c, VALUE] = True, np.inf
    left, zero = m, np.int64(0)
    while left:
        for c in range(m):
            if going[c]:
                there[c] = _penalty(lambda2[c], p, trial[c], gradients[c], H[c])
                for j in range(q):
                    tried[c, 0, j] = trial[c, 0, j]
        for block in range(blocks):
            for c in range(m):
                if not going[c]:
                    continue
                column_logits(A[block], tried[c], P)
                there[c] += sigmoid_residuals(
                    y[block], s[block], columns[c], sides[c, 1], sides[c, 0], P, zero, t
                )
                add_products(P, A[block], zero, gradients[c], zero, zero)
                factors[c] = t[0] / ((one + t[0]) * (one + t[0]))
                if state[c, LAST] or (null and c > 0):
                    continue
                for i in range(rows):
                    side = number(sides[c, 1] if y[block, i] == columns[c] else sides[c, 0])
                    slope = t[i] / ((one + t[i]) * (one + t[i]))
                    d[i] = s[block, i] * (one if null else side * slope)
                features, weight, few, into = A[block], d, scratch, H[c]
                if null:
                    into = common
                elif shares[c] > 0.0:
                    count = _rows_of_weight(d, shares[c], kept)
                    if 4 * count <= 3 * rows:
                        width = count + -count % LANES
                        features = buffer[: q * width].reshape(q, width)
                        weight = buffer[q * width : (q + 1) * width]
                        few = buffer[(q + 1) * width : (q + 5) * width].reshape(4, width)
                        _take_rows(A[block], d, kept, count, features, weight)
                add_weighted_gram(features, weight, few, into, zero, zero)
        for c in range(m):
            if not going[c]:
                continue
            for j in range(q if null else 0):
                for r in range(j, q):
                    H[c, j, r] += factors[c] * common[j, r]
            going[c] = _next_trial(
                there[c],
                gradients[c],
                gradients[c],
                H[c],
                lambda2[c],
                center,
                tol,
                goals[c],
                rounding,
                limits[c],
                points[c],
                trial[c],
                step[c],
                state[c],
                counts[c],
            )
            values[c] = _known_value(state[c])
            shares[c] *= 0.5 if state[c, LENGTH] < 1.0 else 1.0
            left -= not going[c]
        null = False


@jit
def _next_trial(
    there,
    gradient,
    slope,
    H,
    lambda2,
    center,
    tol,
    goal,
    rounding,
    limit,
    point,
    trial,
    step,
    state,
    counts,
):
    """Whether Newton's method goes on after an evaluation at ``trial``, which is changed then.

    A value ``there`` that is low enough makes it the new point.  From there a new step is taken;
    else half of the last one.

    Parameters
    ----------
    gradient : ndarray of shape (K, q)
    slope : ndarray of shape (K - 1, q), or the gradient where K = 1
        The same by contrasts.
    H : ndarray of shape (slope.size, slope.size)
    step : ndarray of shape (K, q)
    """
    K, q = point.shape
    last = state[LAST] > 0.0
    enough = state[VALUE] - 2.0 * ARMIJO * state[LENGTH] * state[DECREMENT]
    counts[1] += 1
    if there <= enough or (last and there <= state[VALUE] + SLACK * rounding * state[VALUE]):
        counts[0] += state[VALUE] < np.inf
        for k in range(K):
            for j in range(q):
                point[k, j] = trial[k, j]
        state[VALUE], state[LENGTH] = there, 1.0
        going = not last and counts[0] < limit
        if going:
            flat = step.reshape(K * q)
            going, state[DECREMENT] = definite_step(H, slope, flat[: slope.size])
            if K > 1:
                state[DECREMENT] += _from_contrasts(step, point, lambda2, center.size)
            near = state[DECREMENT] <= goal and _violation(gradient, center) <= tol
            state[LAST] = near or state[DECREMENT] <= rounding * there
    else:
        state[LENGTH] *= 0.5
        going = not last and state[LENGTH] >= SHORTEST and state[VALUE] < np.inf
    for k in range(K if going else 0):
        for j in range(q):
            trial[k, j] = point[k, j] - state[LENGTH] * step[k, j]
    return going


@jit
def _to_contrasts(gradient, slope):
    """Contrasts (K - 1, q) of the rows of a gradient (K, q); see `contrast_products`."""
    K, q = gradient.shape
    for j in range(q):
        total = 0.0
        for k in range(1, K):
            total += gradient[k - 1, j]
            slope[k - 1, j] = (total - k * gradient[k, j]) / np.sqrt(k * (k + 1.0))


@jit
def _from_contrasts(step, point, lambda2, p):
    """Turn contrasts, the first K - 1 rows of a step (K, q), into the step; its shift's decrement.

    The penalty alone sees a shift of penalised coefficients, and Newton's step takes it away.
    """
    K, q = step.shape
    decrement = 0.0
    for j in range(q):
        mean = 0.0
        for k in range(K if j < p and lambda2 > 0.0 else 0):
            mean += point[k, j] / K
        decrement += 0.5 * lambda2 * K * mean * mean
        total = mean
        for k in range(K - 1, 0, -1):
            contrast = step[k - 1, j] / np.sqrt(k * (k + 1.0))
            step[k, j] = total - k * contrast
            total += contrast
        step[0, j] = total
    return decrement


@jit
def _known_value(state):
    """The objective where a problem is, if the last evaluation was there; else nan."""
    return state[VALUE] if state[LENGTH] == 1.0 else np.nan


@jit
def _penalty(lambda2, p, point, gradient, H):
    """The penalty; gradient and Hessian H begin with it."""
    K, q = point.shape
    value = 0.0
    for a in range(H.shape[0]):
        for b in range(H.shape[0]):
            H[a, b] = 0.0
        H[a, a] = lambda2 if a % q < p else 0.0
    for k in range(K):
        for j in range(q):
            ridge = lambda2 * point[k, j] if j < p else 0.0
            value += 0.5 * ridge * point[k, j]
            gradient[k, j] = ridge
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
def _complete(H, R):
    """The upper triangle of a matrix of R x R blocks, from the upper triangles of its blocks."""
    q = H.shape[0] // R
    for a in range(R):
        for b in range(a + 1, R):
            for j in range(q):
                for r in range(j + 1, q):
                    H[a * q + r, b * q + j] = H[a * q + j, b * q + r]


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
