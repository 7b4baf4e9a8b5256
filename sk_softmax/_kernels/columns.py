"""Losses and their derivatives by logits, for rows that run along the last axis.

In logits and probabilities (K, m) every loop over rows uses vector registers, however few classes
there are.  `pointwise` has the same where rows are rows.  Sums over rows may be reordered, without
which they use none; the exponentials in them keep the order that they rely on.
"""

import numpy as np

from .jit import jit
from .pointwise import log_from_one
from .single import exponential, logarithm


@jit(in_order=True)
def softmax_columns(Z, top, log_total):
    """Turn logits Z (K, m) into probabilities in place.

    Their logsumexp is the sum of ``top`` (m,), the largest, and ``log_total`` (m,), which loses
    no digits to it.
    """
    K, m = Z.shape
    total = np.zeros(m, Z.dtype)
    for i in range(m):
        top[i] = Z[0, i]
    for k in range(1, K):
        for i in range(m):
            top[i] = top[i] if Z[k, i] <= top[i] else Z[k, i]  # a nan becomes the top
    for k in range(K):
        for i in range(m):
            t = exponential(Z[k, i] - top[i])
            Z[k, i] = t
            total[i] += t
    for i in range(m):
        log_total[i] = log_from_one(total[i])
        total[i] = 1.0 / total[i]
    for k in range(K):
        for i in range(m):
            Z[k, i] *= total[i]


@jit
def softmax_residuals(y, s, own, top, log_total, P):
    """Softmax cross-entropy; probabilities P (K, at least m) become residuals.

    Parameters
    ----------
    y : ndarray of shape (m,), int64
    s : ndarray of shape (m,)
    own : ndarray of shape (at least m,)
        The logits of the rows' own classes.
    top, log_total
        As `softmax_columns` made them.
    P : ndarray

    Returns
    -------
    loss : float
        ``sum_i s_i (logsumexp(z_i) - z_i,y_i)``
    """
    loss = 0.0
    for i in range(y.size):
        loss += s[i] * ((top[i] - own[i]) + log_total[i])
    for k in range(P.shape[0]):
        for i in range(y.size):
            P[k, i] *= s[i]
    for i in range(y.size):
        P[y[i], i] -= s[i]
    return loss


@jit(in_order=True)
def sigmoid_columns(Z):
    """Turn logits Z (K, m) of one-vs-all into probabilities in place."""
    K, m = Z.shape
    zero, one = Z.dtype.type(0.0), Z.dtype.type(1.0)  # all in the precision of Z
    for k in range(K):
        for i in range(m):
            t = exponential(-abs(Z[k, i]))
            Z[k, i] = (one if Z[k, i] >= zero else t) / (one + t)


@jit
def sigmoid_residuals(y, s, column, positive, negative, Z, k, t):
    """Binary cross-entropy of "class ``column`` or not"; logits Z[k, :m] become residuals.

    Parameters
    ----------
    y : ndarray of shape (m,), int64
    s : ndarray of shape (m,)
    column : int
    positive, negative : float
        Factors on the weights of the class's rows and of the others.
    Z : ndarray
    k : int
    t : ndarray of shape (at least m,)
        Result: ``exp(-|z_i|)``.

    Returns
    -------
    loss : float
        ``sum_i s_ik log(1 + exp(-+z_i))``
    """
    number = Z.dtype.type  # all in the precision of Z
    zero, one, own, other = number(0.0), number(1.0), number(positive), number(negative)
    loss = zero
    for i in range(y.size):
        sign = one if y[i] == column else -one
        weight = s[i] * (own if y[i] == column else other)
        margin = -sign * Z[k, i]
        t[i] = exponential(-abs(margin))
        loss += weight * ((margin if not margin <= zero else zero) + logarithm(t[i]))
        Z[k, i] = -sign * weight * ((one if margin >= zero else t[i]) / (one + t[i]))
    return loss


@jit
def class_products(P, s, D):
    """The Hessian of softmax by logits, its upper triangle pair by pair.

    Parameters
    ----------
    P : ndarray of shape (K, m)
        Probabilities.
    s : ndarray of shape (m,)
    D : ndarray of shape (K (K + 1) / 2, m)
        Result: ``s_i p_ik ([k = l] - p_il)`` for k <= l.
    """
    K, m = P.shape
    pair = 0
    for k in range(K):
        for i in range(m):
            D[pair, i] = s[i] * P[k, i] * (1.0 - P[k, i])
        pair += 1
        for other in range(k + 1, K):
            for i in range(m):
                D[pair, i] = -s[i] * P[k, i] * P[other, i]
            pair += 1


@jit
def contrast_products(P, s, M, E, D):
    """The Hessian of softmax by Helmert's contrasts of the logits, pair by pair.

    Contrast a is that of output a + 1 with those before it, ``c_a (sum_{k <= a} z_k - t z_{a+1})``
    with t = a + 1 and c_a^-2 = t (t + 1).  For a < b the product of the two is constant where the
    first is not 0, so that a pair takes no sum.  Nothing is subtracted but in means.

    Parameters
    ----------
    P : ndarray of shape (K, m)
        Probabilities.
    s : ndarray of shape (m,)
    M, E : ndarray of shape (K - 1, m)
        Overwritten: the contrasts' means by P, and their c less these.
    D : ndarray of shape (K (K - 1) / 2, m)
        Result: s_i times the covariances, by P, of contrasts a <= b.
    """
    R, m = M.shape
    for i in range(m):
        M[0, i] = P[0, i]
    for a in range(1, R):
        for i in range(m):
            M[a, i] = M[a - 1, i] + P[a, i]  # of those before it
    after = np.zeros(m)
    for a in range(R - 1, -1, -1):
        t, own = a + 1.0, a * R - a * (a - 1) // 2
        c = 1.0 / np.sqrt(t * (t + 1.0))
        for i in range(m):
            before, here, rest = M[a, i], P[a + 1, i], after[i]
            spread = before * (here + rest) + t * t * here * (before + rest)
            D[own, i] = s[i] * c * c * (spread + 2.0 * t * before * here)
            M[a, i] = c * (before - t * here)
            E[a, i] = c * ((t + 1.0) * here + rest)
            after[i] = here + rest
    for a in range(R):
        own = a * R - a * (a - 1) // 2
        for b in range(a + 1, R):
            for i in range(m):
                D[own + b - a, i] = s[i] * M[a, i] * E[b, i]


@jit
def couple_columns(state, s, softmax, T):
    """`couple_rows` where rows run along the last axis of T (K, at least m): (m, K) is state."""
    K = state.shape[1]
    for i in range(s.size if softmax else 0):
        mean = 0.0
        for k in range(K):
            mean += state[i, k] * T[k, i]
        for k in range(K):
            T[k, i] = s[i] * state[i, k] * (T[k, i] - mean)
    for k in range(0 if softmax else K):
        for i in range(s.size):
            T[k, i] *= state[i, k]
