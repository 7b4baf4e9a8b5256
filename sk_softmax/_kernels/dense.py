"""Loss and gradient over dense rows, and products with Hessians: X is read from memory once.

Rows come in blocks small enough to stay in the cache between their two uses, and are turned there
(see `tiles`).  n x K is never stored.  The number of outputs is best 1 or a multiple of 4: what
is missing, callers fill up with coefficients of 0.  A single output of many features is not worth
the turning.

``np.int64(0)`` is not the literal 0, for which Numba would compile the called kernel once more.
"""

import numpy as np

from .columns import couple_columns, sigmoid_residuals, softmax_columns, softmax_residuals
from .jit import jit
from .tiles import add_products, centred_columns, column_logits


@jit
def dense_softmax(X, first, center, y, s, W, K, block, G):
    """Softmax loss of some rows of X; its gradient is added to G.

    Parameters
    ----------
    X : ndarray of shape (n, p), C-contiguous
    first : int
        The first of the rows; there are as many as in ``y``.
    center : ndarray of shape (p,), float64
        What is taken from each row.
    y : ndarray of shape (m,), int64
    s : ndarray of shape (m,)
        Of the precision of W.
    W : ndarray of shape (at least K, p + 1), C-contiguous
        Coefficients, and intercepts in the last column.  Its precision is that of the arithmetic.
    K : int
        Outputs, of which there may be fewer than rows of W.
    block : int
        Rows taken at a time, a multiple of 8.
    G : ndarray of the shape of W, float64

    Returns
    -------
    loss : float
        The weighted sum of the rows' losses.
    """
    A, P = np.empty((W.shape[1], block), W.dtype), np.empty((W.shape[0], block), W.dtype)
    own, top = np.zeros(block, W.dtype), np.empty(block, W.dtype)
    log_total = np.empty(block, W.dtype)
    loss, zero = 0.0, np.int64(0)
    for start in range(0, y.size, block):
        stop = min(start + block, y.size)
        centred_columns(X, first + start, first + stop, center, A)
        column_logits(A, W, P)
        for i in range(stop - start):
            own[i] = P[y[start + i], i]
        softmax_columns(P[:K], top, log_total)
        loss += softmax_residuals(y[start:stop], s[start:stop], own, top, log_total, P[:K])
        add_products(P, A, zero, G, zero, zero)
    return loss


@jit
def dense_probabilities(X, W, K, block, P):
    """Softmax probabilities of all rows of X.

    Parameters
    ----------
    X, W, K, block
        As in `dense_softmax`.
    P : ndarray of shape (n, K)
        Result.

    Returns
    -------
    known : bool
        Whether none is nan, as they are where logits overflow.
    """
    center = np.zeros(X.shape[1])
    A, Z = np.empty((W.shape[1], block)), np.empty((W.shape[0], block))
    top, log_total = np.empty(block), np.empty(block)
    known = True
    for start in range(0, X.shape[0], block):
        count = min(block, X.shape[0] - start)
        centred_columns(X, start, start + count, center, A)
        column_logits(A, W, Z)
        softmax_columns(Z[:K], top, log_total)
        for i in range(count):
            known = known and not np.isnan(log_total[i])
            for k in range(K):
                P[start + i, k] = Z[k, i]
    return known


@jit
def dense_sigmoid(X, first, center, y, s, columns, positive, negative, W, block, G, loss):
    """The binary losses of some rows of X, added to ``loss`` (K,); gradients to G.

    Parameters are those of `dense_softmax`, and by output those of `sigmoid_residuals`.
    """
    A, P = np.empty((W.shape[1], block), W.dtype), np.empty((W.shape[0], block), W.dtype)
    t, zero = np.empty(block, W.dtype), np.int64(0)
    for start in range(0, y.size, block):
        stop = min(start + block, y.size)
        centred_columns(X, first + start, first + stop, center, A)
        column_logits(A, W, P)
        own, weight = y[start:stop], s[start:stop]
        for k in range(columns.size):
            loss[k] += sigmoid_residuals(own, weight, columns[k], positive[k], negative[k], P, k, t)
        add_products(P, A, zero, G, zero, zero)


@jit
def one_sigmoid(X, first, y, s, column, positive, negative, W, block, G):
    """`dense_sigmoid` of a single output, without turning; the loss.

    Parameters
    ----------
    column : int
    positive, negative : float
        As in `sigmoid_residuals`.
    W, G : ndarray of shape (1, p + 1)
    """
    p = X.shape[1]
    Z, t, zero = np.empty((1, block)), np.empty(block), np.int64(0)
    loss = 0.0
    for start in range(0, y.size, block):
        stop = min(start + block, y.size)
        m = stop - start
        whole = m - m % 4
        for i in range(0, whole, 4):
            r = first + start + i
            t0 = t1 = t2 = t3 = 0.0
            for j in range(p):
                w = W[0, j]
                t0, t1 = t0 + w * X[r, j], t1 + w * X[r + 1, j]
                t2, t3 = t2 + w * X[r + 2, j], t3 + w * X[r + 3, j]
            Z[0, i], Z[0, i + 1], Z[0, i + 2], Z[0, i + 3] = t0, t1, t2, t3
        for i in range(whole, m):
            t0 = 0.0
            for j in range(p):
                t0 += W[0, j] * X[first + start + i, j]
            Z[0, i] = t0
        for i in range(m):
            Z[0, i] += W[0, p]
        loss += sigmoid_residuals(
            y[start:stop], s[start:stop], column, positive, negative, Z, zero, t
        )
        for i in range(0, whole, 4):
            r = first + start + i
            z0, z1, z2, z3 = Z[0, i], Z[0, i + 1], Z[0, i + 2], Z[0, i + 3]
            for j in range(p):
                G[0, j] += (z0 * X[r, j] + z1 * X[r + 1, j]) + (z2 * X[r + 2, j] + z3 * X[r + 3, j])
        for i in range(whole, m):
            for j in range(p):
                G[0, j] += Z[0, i] * X[first + start + i, j]
        for i in range(m):
            G[0, p] += Z[0, i]
    return loss


@jit
def dense_curvature_product(X, first, center, state, s, softmax, V, block, G):
    """A Hessian times a direction, over some rows of X, is added to G.

    Parameters
    ----------
    X, first, center, block
        As in `dense_softmax`.
    state : ndarray of shape (m, K)
    s : ndarray of shape (m,)
    softmax : bool
        The three as in `couple_rows`.
    V : ndarray of shape (at least K, p + 1), C-contiguous
        The direction, in the coordinates in which rows are centred.
    G : ndarray of the shape of V
    """
    A, T = np.empty((V.shape[1], block)), np.empty((len(V), block))
    zero = np.int64(0)
    for start in range(0, s.size, block):
        stop = min(start + block, s.size)
        centred_columns(X, first + start, first + stop, center, A)
        column_logits(A, V, T)
        couple_columns(state[start:stop], s[start:stop], softmax, T)
        add_products(T, A, zero, G, zero, zero)
