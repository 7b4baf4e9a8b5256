"""The minimiser of a quadratic model with both penalties on a working set.

Coordinate descent finds the signs of its coefficients, and one solution of linear equations its
last digits.
"""

import numpy as np

from .cholesky import definite_step
from .coordinate_descent import descend
from .jit import jit

SWEEPS = 200  # of coordinate descent between two tries of the linear equations
EFFORTS = 3  # of those tries
PRUNINGS = 8  # of the support in each, at most
EXACT = 1e-2  # of the model's promise, and its powers: where coordinate descent ends


@jit
def model_step(
    H, eps, room, gradient, features, first, p, softmax, lambda1, lambda2, point, order, step
):
    """To the minimiser of the quadratic model on the working set; what it promises.

    Parameters
    ----------
    H : ndarray of shape (a, a)
        The Hessian of the loss, its upper triangle, which is completed.
    eps : float
        What is added to the curvature, as a share of it.
    room, order : ndarray of shape (at least a * a,) and (K,)
        Overwritten.
    step : ndarray of shape (K, q)
        Result.
    """
    K, q = point.shape
    a = H.shape[0]
    w, change = np.empty(a), np.zeros(a)
    own, second, slope = np.empty(a), np.empty(a), np.empty(a)
    largest, shift = 0.0, 0.0
    for k in range(K):
        for b in range(first[k], first[k + 1]):
            j = features[b]
            slope[b] = gradient[k, j]
            own[b], second[b] = (lambda1, lambda2) if j < p else (0.0, 0.0)
            w[b] = point[k, j] if j < p else 0.0
            largest = max(largest, H[b, b])
            shift += H[b, b] if j >= p else 0.0
    for b in range(a):
        H[b, b] += eps * (H[b, b] if H[b, b] > 0.0 else largest)
        for r in range(b):
            H[b, r] = H[r, b]
    for b in range(a if softmax else 0):  # it does not see a shift of all intercepts
        for r in range(a):
            if features[b] >= p and features[r] >= p:
                H[b, r] += shift / (K * K)
    start = slope.copy()
    most, exact = np.int64(1), 1.0
    descend(H, slope, w, own, second, 0.0, most, change)
    most = np.int64(SWEEPS)
    for effort in range(EFFORTS):
        exact *= EXACT
        tol = exact * fall(start, w, own, second, change)
        descend(H, slope, w, own, second, tol, most, change)
        if softmax and lambda2 == 0.0:
            to_medians(features, first, p, w, order, change)
        tries = PRUNINGS if effort == EFFORTS - 1 else 1
        if solved_on_support(H, room, slope, w, own, second, tries, change):
            break
    for k in range(K):
        for j in range(q):
            step[k, j] = 0.0
        for b in range(first[k], first[k + 1]):
            step[k, features[b]] = change[b]
    return fall(start, w, own, second, change)


@jit
def fall(slope, w, lambda1, lambda2, change):
    """By how much the slope and the penalties fall along ``change``."""
    total = 0.0
    for b in range(w.size):
        there = w[b] + change[b]
        total += lambda1[b] * (abs(w[b]) - abs(there))
        total += 0.5 * lambda2[b] * (w[b] * w[b] - there * there)
        total -= slope[b] * change[b]
    return max(total, 0.0)


@jit
def to_medians(features, first, p, w, order, change):
    """Shift features whose coefficients are non-zero in all outputs until a median one is zero.

    Softmax does not see it, and lambda1 sum_k |w_k - c| is least there.
    """
    K = order.size
    a = w.size
    for b in range(first[1]):
        j, count = features[b], 0
        for r in range(a if j < p else 0):
            if features[r] == j and w[r] + change[r] != 0.0:
                at = count  # by insertion
                value = w[r] + change[r]
                while at > 0 and order[at - 1] > value:
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = value
                count += 1
        if count < K:
            continue
        low, high = order[(K - 1) // 2], order[K // 2]
        middle = low if abs(low) <= abs(high) else high
        for r in range(a):
            if features[r] == j:
                value = w[r] + change[r]
                change[r] = -w[r] if value == middle else change[r] - middle


@jit
def solved_on_support(H, room, slope, w, lambda1, lambda2, tries, change):
    """Move to the model's minimiser on the non-zeros of ``w + change``; whether that was found.

    On the way there the first that reaches 0 stays there, and the minimiser is found anew.

    Parameters
    ----------
    H : ndarray of shape (a, a)
    room : ndarray of shape (at least a * a,)
        Overwritten.
    slope : ndarray of shape (a,)
        Of the loss's model at ``change``; on return where that leads.
    """
    a = w.size
    support, full_step = np.empty(a, np.int64), np.empty(a)
    for _ in range(tries):
        count = 0
        for b in range(a):
            if lambda1[b] == 0.0 or w[b] + change[b] != 0.0:
                support[count] = b
                count += 1
        pull, step = np.empty((1, count)), full_step[:count]
        triangle = room[: count * count].reshape((count, count))
        for x in range(count):
            b = support[x]
            value = w[b] + change[b]
            pull[0, x] = slope[b] + lambda2[b] * value
            if lambda1[b] > 0.0:
                pull[0, x] += lambda1[b] if value > 0.0 else -lambda1[b]
            for z in range(x, count):
                triangle[x, z] = H[b, support[z]]
            triangle[x, x] += lambda2[b]
        definite, _ = definite_step(triangle, pull, step)
        if not definite:
            return False
        length, blocking = 1.0, -1
        for x in range(count):
            b = support[x]
            value = w[b] + change[b]
            if lambda1[b] > 0.0 and value * (value - length * step[x]) <= 0.0:
                length, blocking = value / step[x], b
        for x in range(count):
            b = support[x]
            moved = -w[b] if b == blocking else change[b] - length * step[x]
            for r in range(a):
                slope[r] += H[b, r] * (moved - change[b])
            change[b] = moved
        if blocking < 0:
            return True
    return False
