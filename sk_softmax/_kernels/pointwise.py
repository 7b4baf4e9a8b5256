"""From logits to losses and residuals, row by row, in place.

A residual is the derivative of the weighted loss with respect to a logit.  The same functions
serve dense and sparse designs.
"""

import math

import numpy as np

from .jit import jit

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# Adding and subtracting 1.5 * 2**52 rounds to the nearest integer, which is then in the low bits.
ROUND = 6755399441055744.0
HALF_ROOT = int(np.sqrt(0.5).view(np.int64))  # the bits of 1 / sqrt(2)
TAYLOR = tuple(1.0 / math.factorial(i) for i in range(14))
ATANH = tuple(1.0 / (2 * i + 1) for i in range(17))


@jit(in_order=True)
def exp_nonpositive(x):
    """Exponential of ``x <= 0`` without branches, so that loops over it use vector registers.

    x = k ln 2 + r with |r| <= ln(2) / 2; exp(r) by its Taylor series of degree 13, whose
    remainder is below 0.03 ulp.  Underflows to 0 below -708; nan stays nan.
    """
    clipped = -708.0 if x < -708.0 else x
    shifted = clipped * LOG2_E + ROUND
    k = shifted - ROUND
    r = (clipped - k * LN2_HIGH) - k * LN2_LOW
    series = TAYLOR[13]
    for degree in range(12, -1, -1):
        series = series * r + TAYLOR[degree]
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < -708.0 else series * power


@jit(in_order=True)
def log1p_unit(t):
    """log(1 + t) for ``-0.3 <= t <= 1``, without branches: 2 atanh(u), u = t / (2 + t) <= 1/3.

    With atanh(u) = u + u tail(u) and 2 u = t - t u, the leading term is t itself, which is exact.
    The first term that the series leaves out is below 2e-18 of the sum.
    """
    u = t / (2.0 + t)
    square = u * u
    tail = ATANH[16]
    for degree in range(15, 0, -1):
        tail = tail * square + ATANH[degree]
    return t - u * (t - 2.0 * square * tail)


@jit(in_order=True)
def log_from_one(x):
    """Logarithm of a finite ``x >= 1``, without branches; nan stays nan.

    x = 2^k (1 + t) with 1/sqrt(2) <= 1 + t < sqrt(2), so that k ln 2 and log(1 + t) never cancel.
    """
    bits = np.float64(x).view(np.int64)
    k = (bits - HALF_ROOT) >> 52
    t = np.int64(bits - (k << 52)).view(np.float64) - 1.0
    return x if np.isnan(x) else k * LN2_HIGH + (k * LN2_LOW + log1p_unit(t))


@jit(in_order=True)
def softmax_residual(Z, y, s):
    """Softmax cross-entropy of a block of rows.

    Parameters
    ----------
    Z : ndarray of shape (m, K), C-contiguous, float64
        Logits on entry, ``s_i * (p_ik - [y_i = k])`` on return.
    y : ndarray of shape (m,), int64
    s : ndarray of shape (m,), float64

    Returns
    -------
    loss : float
        ``sum_i s_i (logsumexp(z_i) - z_i,y_i)``
    """
    m, K = Z.shape
    loss = 0.0
    for i in range(m):
        z = Z[i]
        top = z[0]
        for k in range(1, K):
            top = top if z[k] <= top else z[k]  # a nan becomes the top, and is seen
        loss += s[i] * (top - z[y[i]])
        for k in range(K):
            z[k] -= top
    flat = Z.ravel()
    for q in range(m * K):
        flat[q] = exp_nonpositive(flat[q])
    for i in range(m):
        z = Z[i]
        total = 0.0
        for k in range(K):
            total += z[k]
        loss += s[i] * np.log(total)
        scale = s[i] / total
        for k in range(K):
            z[k] *= scale
        z[y[i]] -= s[i]
    return loss


@jit(in_order=True)
def sigmoid_residual(Z, y, s, columns, positive, negative, loss):
    """K binary cross-entropies of a block of rows, column ``c`` being "class or not".

    Parameters
    ----------
    Z : ndarray of shape (m, K), C-contiguous, float64
        Logits on entry, ``s_ik * (sigmoid(z_ik) - [y_i = columns_k])`` on return.
    y : ndarray of shape (m,), int64
    s : ndarray of shape (m,), float64
    columns : ndarray of shape (K,), int64
        The class that each column tells from the rest.
    positive, negative : ndarray of shape (K,), float64
        ``s_ik = s_i * positive_k`` where the row is of the class, ``s_i * negative_k`` elsewhere.
    loss : ndarray of shape (K,), float64
        ``sum_i s_ik * log(1 + exp(-+z_ik))`` is added to it.
    """
    m, K = Z.shape
    if K == 1:
        loss[0] += _one_sigmoid_residual(Z.ravel(), y, s, columns[0], positive[0], negative[0])
        return
    own = np.full(m, -1)
    for i in range(m):
        for k in range(K):
            if y[i] == columns[k]:
                own[i] = k
        if own[i] >= 0:  # from here on logits are margins: positive on the wrong side
            Z[i, own[i]] = -Z[i, own[i]]
    flat = Z.ravel()
    losses = np.empty(m * K)
    for q in range(m * K):  # no branches: all entries in vector registers
        margin = flat[q]
        t = exp_nonpositive(-abs(margin))
        losses[q] = (margin if not margin <= 0.0 else 0.0) + log1p_unit(t)
        flat[q] = (1.0 if margin >= 0.0 else t) / (1.0 + t)
    for i in range(m):
        z, c = Z[i], own[i]
        start = i * K
        if c >= 0:
            weight = s[i] * positive[c]
            loss[c] += weight * losses[start + c]
            losses[start + c] = 0.0
            residual = -weight * z[c]
        for k in range(K):
            weight = s[i] * negative[k]
            loss[k] += weight * losses[start + k]
            z[k] *= weight
        if c >= 0:
            z[c] = residual


@jit(in_order=True)
def _one_sigmoid_residual(z, y, s, column, positive, negative):
    """`sigmoid_residual` of one output, without branches; the loss."""
    losses = np.empty(z.size)
    for i in range(z.size):
        sign = 1.0 if y[i] == column else -1.0
        weight = s[i] * (positive if y[i] == column else negative)
        margin = -sign * z[i]
        t = exp_nonpositive(-abs(margin))
        losses[i] = weight * ((margin if not margin <= 0.0 else 0.0) + log1p_unit(t))
        z[i] = -sign * weight * ((1.0 if margin >= 0.0 else t) / (1.0 + t))
    loss = 0.0
    for i in range(z.size):
        loss += losses[i]
    return loss
