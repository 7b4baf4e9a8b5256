"""Hessians over dense rows: sums of products of features in register tiles.

Rows are taken some hundred at a time and turned so that they run along the last axis: features
A (q, m), logits and probabilities (K, m).  Such a block stays in the cache for all pairs of
outputs, and every loop over its rows uses vector registers.
"""

import numpy as np

from .curvature import sigmoid_columns, softmax_columns
from .jit import jit
from .transpose import TILE


@jit
def add_weighted_gram(A, d, scratch, H, row, column):
    """H[row + r, column + j] += sum_i d_i a_ri a_ji for r >= j: a lower triangle.

    Tiles of 4 x 4 sums stay in registers while the rows pass by: eight loads for sixteen
    multiplications.  A few entries above the diagonal are written too, within the tiles.

    Parameters
    ----------
    A : ndarray of shape (q, m), C-contiguous
        Features; best where they stay in the cache, and with m a multiple of 8.
    d : ndarray of shape (m,)
    scratch : ndarray of shape (4, m)
    H : ndarray
    row, column : int
    """
    q, m = A.shape
    whole = q - q % 4
    for j in range(0, whole, 4):
        for i in range(m):
            scratch[0, i] = d[i] * A[j, i]
            scratch[1, i] = d[i] * A[j + 1, i]
            scratch[2, i] = d[i] * A[j + 2, i]
            scratch[3, i] = d[i] * A[j + 3, i]
        for r in range(j, whole, 4):
            t00 = t01 = t02 = t03 = t10 = t11 = t12 = t13 = 0.0
            t20 = t21 = t22 = t23 = t30 = t31 = t32 = t33 = 0.0
            for i in range(m):
                w0, w1, w2, w3 = scratch[0, i], scratch[1, i], scratch[2, i], scratch[3, i]
                a = A[r, i]
                t00, t01, t02, t03 = t00 + w0 * a, t01 + w1 * a, t02 + w2 * a, t03 + w3 * a
                a = A[r + 1, i]
                t10, t11, t12, t13 = t10 + w0 * a, t11 + w1 * a, t12 + w2 * a, t13 + w3 * a
                a = A[r + 2, i]
                t20, t21, t22, t23 = t20 + w0 * a, t21 + w1 * a, t22 + w2 * a, t23 + w3 * a
                a = A[r + 3, i]
                t30, t31, t32, t33 = t30 + w0 * a, t31 + w1 * a, t32 + w2 * a, t33 + w3 * a
            add_four(H, row + r, column + j, t00, t01, t02, t03)
            add_four(H, row + r + 1, column + j, t10, t11, t12, t13)
            add_four(H, row + r + 2, column + j, t20, t21, t22, t23)
            add_four(H, row + r + 3, column + j, t30, t31, t32, t33)
        for r in range(whole, q):
            t0 = t1 = t2 = t3 = 0.0
            for i in range(m):
                a = A[r, i]
                t0, t1 = t0 + scratch[0, i] * a, t1 + scratch[1, i] * a
                t2, t3 = t2 + scratch[2, i] * a, t3 + scratch[3, i] * a
            add_four(H, row + r, column + j, t0, t1, t2, t3)
    for j in range(whole, q):
        for r in range(j, q):
            total = 0.0
            for i in range(m):
                total += d[i] * A[j, i] * A[r, i]
            H[row + r, column + j] += total


@jit
def add_four(H, row, column, t0, t1, t2, t3):
    """Add four numbers to neighbours in a row of H."""
    H[row, column] += t0
    H[row, column + 1] += t1
    H[row, column + 2] += t2
    H[row, column + 3] += t3


@jit
def column_logits(A, W, P):
    """P = W A for features A (q, m) and coefficients W (K, q), four features at a time."""
    K, q = W.shape
    m = A.shape[1]
    whole = q - q % 4
    for k in range(K):
        for i in range(m):
            P[k, i] = 0.0
        for j in range(0, whole, 4):
            w0, w1, w2, w3 = W[k, j], W[k, j + 1], W[k, j + 2], W[k, j + 3]
            for i in range(m):
                P[k, i] += (w0 * A[j, i] + w1 * A[j + 1, i]) + (w2 * A[j + 2, i] + w3 * A[j + 3, i])
        for j in range(whole, q):
            w = W[k, j]
            for i in range(m):
                P[k, i] += w * A[j, i]


@jit
def centred_columns(X, start, center, A):
    """Rows of X from ``start`` on, less ``center``, as the columns of A (q, m).

    With q = p + 1 the last feature is 1.  Columns beyond the last row are 0.
    """
    n, p = X.shape
    q, m = A.shape
    count = min(m, n - start)
    for first in range(0, p, TILE):
        for i in range(count):
            for j in range(first, min(first + TILE, p)):
                A[j, i] = X[start + i, j] - center[j]
    for j in range(p, q):
        for i in range(count):
            A[j, i] = 1.0
    for j in range(q):
        for i in range(count, m):
            A[j, i] = 0.0


@jit
def dense_gram(X, center, weight, block, H):
    """The lower triangle of sum_i weight_i a_i a_i' is added to H (q, q), a_i centred rows of X.

    Parameters
    ----------
    X : ndarray of shape (n, p), C-contiguous, float64
    center : ndarray of shape (p,)
    weight : ndarray of shape (n,)
    block : int
        Rows taken at a time.
    """
    n = X.shape[0]
    A, d, scratch = np.empty((H.shape[0], block)), np.zeros(block), np.empty((4, block))
    for start in range(0, n, block):
        centred_columns(X, start, center, A)
        for i in range(block):
            d[i] = weight[start + i] if start + i < n else 0.0
        add_weighted_gram(A, d, scratch, H, 0, 0)


@jit
def dense_hessian(X, center, weight, W, softmax, by_class, block, H):
    """Second derivatives of the weighted loss of all rows of X, pair by pair of outputs.

    Parameters
    ----------
    X : ndarray of shape (n, p), C-contiguous, float64
    center : ndarray of shape (p,)
    weight : ndarray of shape (1 or K, n)
        The rows' weights, in all problems or in each.
    W : ndarray of shape (K, q)
        The point, in the coordinates in which rows are centred.
    softmax, by_class : bool
        Softmax, and not by class: pairs are all k <= l; else each output with itself.
    block : int
        Rows taken at a time.
    H : ndarray of shape (pairs, q, q)
        To its lower triangles the result is added.
    """
    n = X.shape[0]
    K, q = W.shape
    A, P, d = np.empty((q, block)), np.empty((K, block)), np.empty(block)
    s, scratch = np.zeros((weight.shape[0], block)), np.empty((4, block))
    for start in range(0, n, block):
        centred_columns(X, start, center, A)
        for c in range(weight.shape[0]):
            for i in range(block):
                s[c, i] = weight[c, start + i] if start + i < n else 0.0
        column_logits(A, W, P)
        if softmax:
            softmax_columns(P, d)
        else:
            sigmoid_columns(P)
        pair = 0
        for k in range(K):
            weights = s[min(k, weight.shape[0] - 1)]
            for i in range(block):
                d[i] = weights[i] * P[k, i] * (1.0 - P[k, i])
            add_weighted_gram(A, d, scratch, H[pair], 0, 0)
            pair += 1
            for other in range(k + 1, K if softmax and not by_class else 0):
                for i in range(block):
                    d[i] = -weights[i] * P[k, i] * P[other, i]
                add_weighted_gram(A, d, scratch, H[pair], 0, 0)
                pair += 1


@jit
def assemble(grams, coupled, H):
    """Hessians from the lower triangles of their blocks.

    Parameters
    ----------
    grams : ndarray of shape (pairs of outputs, q, q)
    coupled : bool
        Whether the pairs are all k <= l of one problem; else each is a problem of its own.
    H : ndarray of shape (1, K q, K q) if coupled, (K, q, q) else
        Result.
    """
    q = grams.shape[1]
    K = H.shape[1] // q if coupled else H.shape[0]
    pair = 0
    for k in range(K):
        for other in range(k, K if coupled else k + 1):
            problem, row, column = (0, k * q, other * q) if coupled else (k, 0, 0)
            for j in range(q):
                for r in range(j + 1):
                    value = grams[pair, j, r]
                    H[problem, row + j, column + r] = value
                    H[problem, row + r, column + j] = value
                    if column != row:
                        H[problem, column + j, row + r] = value
                        H[problem, column + r, row + j] = value
            pair += 1
