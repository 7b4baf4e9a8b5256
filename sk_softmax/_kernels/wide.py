"""Loss and gradient over dense rows of many features, which are not turned.

Rows times coefficients are sums along features, and residuals times rows are combinations of rows:
the products of `tiles`, with rows in the place of features and features in that of rows.  A block
of rows stays in the cache between the two, and so do the coefficients, if there are not too many.
"""

import numpy as np

from .columns import sigmoid_residuals, softmax_columns, softmax_residuals
from .jit import jit
from .tiles import add_products, column_logits


@jit
def wide_softmax(X, first, y, s, W, b, K, block, G, g):
    """`dense.dense_softmax`, with the intercepts by themselves.

    Parameters
    ----------
    X, first, y, s, K, block
        As there.
    W, b : ndarray of shape (at least K, p) and (at least K,)
    G, g : ndarray of the shapes of W and b
        To them the gradient is added.

    Returns
    -------
    loss : float
    """
    own, top = np.empty(block, W.dtype), np.empty(block, W.dtype)
    log_total = np.empty(block, W.dtype)
    room, T = np.empty(b.size * block, W.dtype), np.empty(G.shape, W.dtype)
    loss = 0.0
    for start in range(0, y.size, block):
        count = min(block, y.size - start)
        stop = start + count
        Z = room[: b.size * count].reshape((b.size, count))
        _logits(X, first + start, W, b, Z)
        for i in range(count):
            own[i] = Z[y[start + i], i]
        softmax_columns(Z[:K], top, log_total)
        loss += softmax_residuals(y[start:stop], s[start:stop], own, top, log_total, Z[:K])
        _add_gradient(X, first + start, Z, T, G, g)
    return loss


@jit
def wide_sigmoid(X, first, y, s, columns, positive, negative, W, b, block, G, g, loss):
    """`dense.dense_sigmoid` in the same way."""
    t, room = np.empty(block, W.dtype), np.empty(b.size * block, W.dtype)
    T = np.empty(G.shape, W.dtype)
    for start in range(0, y.size, block):
        count = min(block, y.size - start)
        Z = room[: b.size * count].reshape((b.size, count))
        _logits(X, first + start, W, b, Z)
        own, weight = y[start : start + count], s[start : start + count]
        for k in range(columns.size):
            loss[k] += sigmoid_residuals(own, weight, columns[k], positive[k], negative[k], Z, k, t)
        _add_gradient(X, first + start, Z, T, G, g)


@jit
def _logits(X, first, W, b, Z):
    """Z[k, i] = sum_j w_kj x_ij + b_k for the rows i from ``first`` on."""
    zero = np.int64(0)
    for k in range(Z.shape[0]):
        for i in range(Z.shape[1]):
            Z[k, i] = b[k]
    add_products(W, X[first : first + Z.shape[1]], zero, Z, zero, zero)


@jit
def _add_gradient(X, first, R, T, G, g):
    """G += R X and g += R 1 for residuals R (K, m) of m rows; T (K, p) is overwritten."""
    column_logits(X[first : first + R.shape[1]], R, T)
    for k in range(G.shape[0]):
        for j in range(G.shape[1]):
            G[k, j] += T[k, j]
        for i in range(R.shape[1]):
            g[k] += R[k, i]
