"""Coordinate descent on a quadratic with an L1 penalty: the subproblem of proximal Newton."""

from .jit import jit


@jit
def descend(H, slope, w, lambda1, lambda2, tol, most, step):
    """Minimise slope'd + d'Hd / 2 + sum lambda1 |w + d| + lambda2 (w + d)^2 / 2 over d.

    Sweeps over all coordinates alternate with sweeps over those that are not 0, until a sweep over
    all of them promises less than ``tol``.

    Parameters
    ----------
    H : ndarray of shape (a, a), C-contiguous
        Symmetric; a coordinate without curvature stays where it is.
    slope : ndarray of shape (a,)
        Of the part without penalties, at d = 0; on return at d.
    w : ndarray of shape (a,)
    lambda1, lambda2 : ndarray of shape (a,)
    tol : float
        By how much a sweep may still lower the objective.
    most : int
        Sweeps, at most.
    step : ndarray of shape (a,)
        d, on entry the start.

    Returns
    -------
    sweeps : int
    """
    a = w.size
    everywhere = True
    for sweep in range(most):
        gained = 0.0
        for j in range(a):
            value = w[j] + step[j]
            if value == 0.0 and not everywhere:
                continue
            curvature = H[j, j] + lambda2[j]
            if not curvature > 0.0:
                continue
            target = value - (slope[j] + lambda2[j] * value) / curvature
            threshold = lambda1[j] / curvature
            if target > threshold:
                target -= threshold
            elif target < -threshold:
                target += threshold
            else:
                target = 0.0
            change = target - value
            if change != 0.0:
                step[j] = target - w[j]
                gained += 0.5 * curvature * change * change
                row = H[j]
                for i in range(a):
                    slope[i] += row[i] * change
        if gained <= tol:
            if everywhere:
                return sweep + 1
            everywhere = True
        else:
            everywhere = False
    return most


@jit
def descend_columns(
    columns,
    features,
    outputs,
    Q,
    inverse,
    slope,
    w,
    lambda1,
    lambda2,
    tol,
    most,
    U,
    t,
    curvature,
    d,
):
    """The same where the Hessian is not formed: by X's columns and the change of the logits.

    Along the logits' change U (K, n) the residuals' is ``Q (U - t)`` with ``t = sum_k p_k U_k``
    for softmax and 0 for one-vs-all, so a coordinate costs as many operations as its column has
    entries.

    Parameters
    ----------
    columns : tuple of ndarray
        The CSR arrays (data, indices, indptr) of X transposed.
    features, outputs : ndarray of shape (a,), int64
        Of the coordinates; feature p is the intercept's.
    Q : ndarray of shape (K, n), C-contiguous
        Softmax: weights times probabilities.  One-vs-all: second derivatives of the loss.
    inverse : ndarray of shape (n,)
        Softmax: one over the weights.  One-vs-all: 0.
    slope, w, lambda1, lambda2 : ndarray of shape (a,)
        As in `descend`; ``slope`` stays that at d = 0.
    tol : float
    most : int
    U : ndarray of shape (K, n)
    t : ndarray of shape (n,)
        Both belong to ``d`` on entry and on return.
    curvature : ndarray of shape (a,)
        The Hessian's diagonal, or -1 where it is not known yet.
    d : ndarray of shape (a,)

    Returns
    -------
    sweeps : int
    """
    data, indices, indptr = columns
    p, n = indptr.size - 1, t.size
    everywhere = True
    for sweep in range(most):
        gained = 0.0
        for c in range(w.size):
            value = w[c] + d[c]
            if value == 0.0 and not everywhere:
                continue
            j, Qk, Uk = features[c], Q[outputs[c]], U[outputs[c]]
            first, last = (indptr[j], indptr[j + 1]) if j < p else (0, n)
            g = slope[c]
            if j < p:
                for q in range(first, last):
                    i = indices[q]
                    g += data[q] * Qk[i] * (Uk[i] - t[i])
            else:
                for i in range(n):
                    g += Qk[i] * (Uk[i] - t[i])
            if curvature[c] < 0.0:
                total = 0.0
                for q in range(first, last):
                    i = indices[q] if j < p else q
                    x = data[q] if j < p else 1.0
                    total += x * x * Qk[i] * (1.0 - Qk[i] * inverse[i])
                curvature[c] = total
            h = curvature[c] + lambda2[c]
            if not h > 0.0:
                continue
            target = value - (g + lambda2[c] * value) / h
            threshold = lambda1[c] / h
            if target > threshold:
                target -= threshold
            elif target < -threshold:
                target += threshold
            else:
                target = 0.0
            change = target - value
            if change != 0.0:
                d[c] = target - w[c]
                gained += 0.5 * h * change * change
                if j < p:
                    for q in range(first, last):
                        i = indices[q]
                        Uk[i] += data[q] * change
                        t[i] += Qk[i] * inverse[i] * data[q] * change
                else:
                    for i in range(n):
                        Uk[i] += change
                        t[i] += Qk[i] * inverse[i] * change
        if gained <= tol:
            if everywhere:
                return sweep + 1
            everywhere = True
        else:
            everywhere = False
    return most
