"""Proximal Newton for L1 on problems so small that calls would cost more than the arithmetic.

One call makes all steps of some problems, on a working set that is chosen anew at each: the
non-zeros and the worst violators of the KKT conditions.  Where there are far more features, steps
stay on a set until little is left there, for the others' slopes would cost more than the steps.

Rows come in blocks of equal size and run along the last axis, as in `newton`.
"""

import numpy as np

from .columns import sigmoid_residuals, softmax_columns, softmax_residuals
from .hessian import add_support_hessian
from .jit import jit
from .l1_model import model_step
from .tiles import add_products, column_logits

ARMIJO = 1e-4
SHORTEST = 2.0**-20  # step, of the step to the model's minimiser
ROUNDING = 2.0**-47  # of the objective: changes that it cannot show
EPS = 2.0**-52  # of the curvature; of the largest, for coordinates that have none
SINGLE_EPS = 2.0**-19  # the same where Hessians are made in single precision
GROWTH = 2  # of the working set over the non-zeros
HALVINGS = 1000  # of the promise that it takes to be in it, at most
LARGEST = 1024  # working set
NARROW = 2  # times the square of a set's size: with more coordinates steps stay on the set
INNER = 1e-3  # of the violation, down to which they do
NEAR = 1e-3  # of the objective: until a step promises less, some rows will do for Hessians:
SHARE, ROWS_A_COORDINATE = 8, 4  # one row of so many, and so many for each coordinate, at least


@jit
def l1_newton(
    A,
    center,
    y,
    s,
    columns,
    sides,
    lambda1,
    lambda2,
    curvature,
    points,
    tol,
    goals,
    limits,
    fewest,
    known,
    room,
    far,
    losses,
    gradients,
    counts,
):
    """Proximal Newton steps on softmax, or on the binary problems of some classes.

    Parameters
    ----------
    A, center, y, s
        As in `newton.newton_softmax`.
    columns : ndarray of shape (m,), int64
        The classes, of binary problems; empty for softmax, which is one problem, m = 1.
    sides : ndarray of shape (m, 2), float64
        The factors on the weights of rows of other classes and of this one; of binary problems.
    lambda1, lambda2 : ndarray of shape (m,)
        The first positive.
    curvature : ndarray of shape (m, K, q)
        Positive: measures what coordinates promise.
    points : ndarray of shape (m, K, q), float64
        In the centred coordinates; the starts on entry, where the steps end on return.
    tol : float
        KKT violation allowed, of the features as they were.
    goals : ndarray of shape (m,)
        Duality gaps allowed, as far as the violations tell.
    limits : ndarray of shape (m,), int64
        Iterations allowed.
    fewest : int
        Violators that a working set takes, if there are as many.
    known : bool
        Whether ``gradients`` has those at the starts.
    room : ndarray of shape (0, block)
        Of the type in which Hessians are made.
    far : ndarray of shape (m,), bool
        Whether Hessians are of some rows only; changed.
    losses, gradients : ndarray of shape (m,) and (m, K, q)
        Result: at the ends, in the centred coordinates; a loss is nan where it is not known.
    counts : ndarray of shape (m, 2), int64
        Zeros; result: iterations, and evaluations of the objective.
    """
    m, K, q = points.shape
    blocks, rows, p = A.shape[0], A.shape[2], center.size
    softmax = columns.size == 0
    P, R = np.empty((blocks, K, rows)), np.empty((blocks, K, rows))
    weight, t = np.empty((1, rows)), np.empty((3, rows))
    scratch, d = np.empty((4, rows), room.dtype), np.empty(rows, room.dtype)
    trial, step = np.empty((K, q)), np.zeros((K, q))
    features, first = np.empty(min(LARGEST, K * q), np.int64), np.empty(K + 1, np.int64)
    V, buffer, order = room, np.empty(0), np.empty(K)
    eps = EPS if room.itemsize == 8 else SINGLE_EPS
    zero, one = np.int64(0), np.int64(1)
    every, starts = np.empty(K * q, np.int64), np.arange(K + 1) * q
    for k in range(K):
        every[k * q : (k + 1) * q] = np.arange(q)
    for c in range(m):
        point, gradient, value = points[c], gradients[c], np.inf
        length, promised, going, last = 1.0, 0.0, True, False
        enough, whole, size = 0.0, True, 0
        for k in range(K):
            for j in range(q):
                trial[k, j] = point[k, j]
                size += trial[k, j] != 0.0
        narrow = NARROW * size * size <= K * q
        while going:
            # the loss at the trial point; probabilities and residuals stay
            loss = 0.0
            for block in range(blocks):
                Z, residuals = P[block], R[block]
                if narrow:
                    _sparse_logits(A[block], trial, Z)
                else:
                    column_logits(A[block], trial, Z)
                if softmax:
                    for i in range(rows):
                        t[2, i] = Z[y[block, i], i]
                    softmax_columns(Z, t[0], t[1])
                    for k in range(K):
                        for i in range(rows):
                            residuals[k, i] = Z[k, i]
                    loss += softmax_residuals(y[block], s[block], t[2], t[0], t[1], residuals)
                else:
                    for i in range(rows):
                        residuals[0, i] = Z[0, i]
                    loss += sigmoid_residuals(
                        y[block],
                        s[block],
                        columns[c],
                        sides[c, 1],
                        sides[c, 0],
                        residuals,
                        zero,
                        t[0],
                    )
                    for i in range(rows):
                        Z[0, i] = (1.0 if Z[0, i] >= 0.0 else t[0, i]) / (1.0 + t[0, i])
            counts[c, 1] += 1
            there = loss + _penalty(lambda1[c], lambda2[c], p, trial)
            if not there <= value - ARMIJO * length * promised + ROUNDING * abs(there):
                length *= 0.5
                far[c] = False
                going = length >= SHORTEST and value < np.inf
                for k in range(K if going else 0):
                    for j in range(q):
                        trial[k, j] = point[k, j] + length * step[k, j]
                continue
            begins = not value < np.inf
            counts[c, 0] += not begins
            value, losses[c], length = there, loss, 1.0
            for k in range(K):
                for j in range(q):
                    point[k, j] = trial[k, j]
            over = counts[c, 0] >= limits[c]
            # its gradient: where the step was, and everywhere once little is left there
            violation, gap, asked, stuck = 0.0, 0.0, True, last and whole
            if narrow and not begins:
                _gradient_on(R, A, features, first, gradient)
                violation, gap = _left(
                    point, gradient, features, first, center, lambda1[c], lambda2[c], value
                )
                done = violation <= tol and gap <= goals[c]
                asked = over or last or done or violation <= enough
            whole = asked
            if asked and not (begins and known):
                for k in range(K):
                    for j in range(q):
                        gradient[k, j] = 0.0
                for block in range(blocks):
                    add_products(R[block], A[block], zero, gradient, zero, zero)
            if asked:
                violation, gap = _left(
                    point, gradient, every, starts, center, lambda1[c], lambda2[c], value
                )
                done = violation <= tol and gap <= goals[c]
                if stuck or over or done:
                    break
                size = _working_set(
                    point, gradient, p, lambda1[c], curvature[c], fewest, features, first
                )
                if size == 0:
                    break
                narrow, enough = NARROW * size * size <= K * q, INNER * violation
            # the Hessian of the loss on the working set
            if V.shape[0] < size:
                V, buffer = np.empty((size, rows), room.dtype), np.empty(2 * size * size)
            H = buffer[: size * size].reshape((size, size))
            for a in range(size):
                for b in range(size):
                    H[a, b] = 0.0
            used = blocks
            if far[c]:
                used = min(blocks, max(-(-blocks // SHARE), -(-ROWS_A_COORDINATE * size // rows)))
            for block in range(used):
                for i in range(rows):
                    side = blocks / used
                    if not softmax:
                        side *= sides[c, 1] if y[block, i] == columns[c] else sides[c, 0]
                    weight[0, i] = s[block, i] * side
                add_support_hessian(
                    A[block],
                    P[block],
                    weight,
                    softmax,
                    features,
                    first,
                    V,
                    scratch,
                    d,
                    buffer[: size * size].reshape((one, size, size)),
                )
            promised = model_step(
                H,
                eps,
                buffer[size * size :],
                gradient,
                features,
                first,
                p,
                softmax,
                lambda1[c],
                lambda2[c],
                point,
                order,
                step,
            )
            last = promised <= ROUNDING * abs(value)
            far[c] = far[c] and promised > NEAR * value
            for k in range(K):
                for j in range(q):
                    trial[k, j] = point[k, j] + step[k, j]
        if not going:
            losses[c] = np.nan


@jit
def _sparse_logits(A, W, Z):
    """Z = W A, as `column_logits`, for W that is mostly 0."""
    for k in range(Z.shape[0]):
        for i in range(Z.shape[1]):
            Z[k, i] = 0.0
        for j in range(W.shape[1]):
            w = W[k, j]
            if w != 0.0:
                for i in range(Z.shape[1]):
                    Z[k, i] += w * A[j, i]


@jit
def _penalty(lambda1, lambda2, p, point):
    """Both penalties of a point (K, q)."""
    value = 0.0
    for k in range(point.shape[0]):
        for j in range(p):
            w = point[k, j]
            value += lambda1 * abs(w) + 0.5 * lambda2 * w * w
    return value


@jit
def _gradient_on(R, A, features, first, gradient):
    """Of the loss, on the coordinates of a working set, from the residuals."""
    for k in range(R.shape[1]):
        for b in range(first[k], first[k + 1]):
            j, total = features[b], 0.0
            for block in range(R.shape[0]):
                for i in range(R.shape[2]):
                    total += R[block, k, i] * A[block, j, i]
            gradient[k, j] = total


@jit
def _left(point, gradient, features, first, center, lambda1, lambda2, value):
    """The largest KKT violation by the features as they were, and what gap it stands for.

    On some coordinates: ``features`` by output, from ``first`` on.  For lambda2 > 0 the gap is
    that of the slopes squared; else the dual point is scaled.
    """
    K, q = point.shape
    p = center.size
    worst, squares, along = 0.0, 0.0, 0.0
    for k in range(K):
        for b in range(first[k], first[k + 1]):
            j = features[b]
            w, g = point[k, j], gradient[k, j]
            if j < p:
                g += lambda2 * w + (center[j] * gradient[k, p] if q > p else 0.0)
                if w != 0.0:
                    g += lambda1 if w > 0.0 else -lambda1
                elif abs(g) <= lambda1:
                    continue
                else:
                    g = abs(g) - lambda1
                squares += g * g
            worst = max(worst, abs(g))
            along += abs(g * w)
    gap = worst / lambda1 * value
    if lambda2 > 0.0:
        gap = min(gap, squares / (2.0 * lambda2))
    return worst, gap + along


@jit
def _working_set(point, gradient, p, lambda1, curvature, fewest, features, first):
    """Non-zeros, intercepts and the worst violators, as `features` by output; how many.

    0 where there are more non-zeros than there is room for.
    """
    K, q = point.shape
    kept, promising, largest = 0, 0, 0.0
    for k in range(K):
        for j in range(q):
            if j >= p or point[k, j] != 0.0:
                kept += 1
            else:
                v = abs(gradient[k, j]) - lambda1
                if v > 0.0:
                    promising += 1
                    largest = max(largest, v * v / curvature[k, j])
    room = min(max(fewest, GROWTH * kept), features.size - kept)
    if room < 0:
        return 0
    least, lower, count = 0.0, largest, 0
    if promising > room:  # the least promise is halved as long as there is room
        for _ in range(HALVINGS):
            count, least = 0, lower
            lower *= 0.5
            for k in range(K):
                for j in range(p):
                    v = abs(gradient[k, j]) - lambda1
                    if point[k, j] == 0.0 and v > 0.0 and v * v / curvature[k, j] >= lower:
                        count += 1
            if count > room:
                break
    size = 0
    for k in range(K):
        first[k] = size
        for j in range(q):
            chosen = j >= p or point[k, j] != 0.0
            if not chosen and room > 0:
                v = abs(gradient[k, j]) - lambda1
                chosen = v > 0.0 and v * v / curvature[k, j] >= least
                room -= chosen
            if chosen:
                features[size] = j
                size += 1
    first[K] = size
    return size
