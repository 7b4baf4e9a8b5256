"""Loss and gradient over dense rows in one sweep: X is read from memory once.

Rows come in blocks small enough to stay in cache between their two uses, and four at a time, so
that each weight loaded serves four rows.  n x K is never stored.
"""

import numpy as np

from .jit import jit
from .pointwise import sigmoid_residual, softmax_residual

BLOCK = 64  # rows


@jit
def block_logits(X, start, stop, W, b, Z):
    """Z[r] = W x_{start + r} + b for the rows ``start <= i < stop``."""
    p = X.shape[1]
    K = W.shape[0]
    i = start
    while i + 4 <= stop:
        r = i - start
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        for k in range(K):
            w = W[k]
            a0 = a1 = a2 = a3 = 0.0
            for j in range(p):
                a0 += x0[j] * w[j]
                a1 += x1[j] * w[j]
                a2 += x2[j] * w[j]
                a3 += x3[j] * w[j]
            Z[r, k] = a0 + b[k]
            Z[r + 1, k] = a1 + b[k]
            Z[r + 2, k] = a2 + b[k]
            Z[r + 3, k] = a3 + b[k]
        i += 4
    while i < stop:
        x = X[i]
        for k in range(K):
            w = W[k]
            a = 0.0
            for j in range(p):
                a += x[j] * w[j]
            Z[i - start, k] = a + b[k]
        i += 1


@jit
def block_gradient(X, start, stop, R, G, g):
    """G += R' X and g += column sums of R, for the rows ``start <= i < stop``."""
    p = X.shape[1]
    K = G.shape[0]
    i = start
    while i + 4 <= stop:
        r = i - start
        x0, x1, x2, x3 = X[i], X[i + 1], X[i + 2], X[i + 3]
        for k in range(K):
            row = G[k]
            r0, r1, r2, r3 = R[r, k], R[r + 1, k], R[r + 2, k], R[r + 3, k]
            g[k] += (r0 + r1) + (r2 + r3)
            for j in range(p):
                row[j] += (r0 * x0[j] + r1 * x1[j]) + (r2 * x2[j] + r3 * x3[j])
        i += 4
    while i < stop:
        x = X[i]
        for k in range(K):
            row = G[k]
            r0 = R[i - start, k]
            g[k] += r0
            for j in range(p):
                row[j] += r0 * x[j]
        i += 1


@jit
def dense_softmax(X, y, s, W, b, G, g):
    """Softmax loss of all rows of X; its gradient is added to G (K, p) and g (K,).

    Parameters
    ----------
    X : ndarray of shape (n, p), C-contiguous, float64
    y : ndarray of shape (n,), int64
    s : ndarray of shape (n,), float64
    W : ndarray of shape (K, p), C-contiguous, float64
    b : ndarray of shape (K,), float64
    G : ndarray of shape (K, p), C-contiguous, float64
    g : ndarray of shape (K,), float64

    Returns
    -------
    loss : float
        The weighted sum of the rows' losses.
    """
    n = X.shape[0]
    Z = np.empty((BLOCK, W.shape[0]))
    loss = 0.0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        R = Z[: stop - start]
        block_logits(X, start, stop, W, b, R)
        loss += softmax_residual(R, y[start:stop], s[start:stop])
        block_gradient(X, start, stop, R, G, g)
    return loss


@jit
def dense_sigmoid(X, y, s, columns, positive, negative, W, b, G, g, loss):
    """The K binary losses of all rows of X, added to ``loss`` (K,); gradients to G and g.

    Parameters are those of `dense_softmax` and `sigmoid_residual`.
    """
    n = X.shape[0]
    Z = np.empty((BLOCK, W.shape[0]))
    part = np.empty(W.shape[0])
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        R = Z[: stop - start]
        block_logits(X, start, stop, W, b, R)
        part[:] = 0.0
        sigmoid_residual(R, y[start:stop], s[start:stop], columns, positive, negative, part)
        loss += part
        block_gradient(X, start, stop, R, G, g)
