"""Hessians over dense rows: sums of products of features, block of rows by block of rows."""

import numpy as np

from .columns import sigmoid_columns, softmax_columns
from .jit import jit
from .tiles import add_products, add_weighted_gram, centred_columns, column_logits


@jit
def dense_gram(X, center, weight, block, H):
    """The upper triangle of sum_i weight_i a_i a_i' is added to H (q, q), a_i centred rows of X.

    Parameters
    ----------
    X : ndarray of shape (n, p), C-contiguous, float64
    center : ndarray of shape (p,)
    weight : ndarray of shape (n,)
    block : int
        Rows taken at a time.
    """
    n = X.shape[0]
    A = np.empty((H.shape[0], block))
    d, scratch, zero = np.zeros(block), np.empty((4, block)), np.int64(0)
    for start in range(0, n, block):
        centred_columns(X, start, n, center, A)
        for i in range(block):
            d[i] = weight[start + i] if start + i < n else 0.0
        add_weighted_gram(A, d, scratch, H, zero, zero)


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
        The point, in the coordinates in which rows are centred.  Its precision is that of the
        arithmetic.
    softmax, by_class : bool
        Softmax, and not by class: pairs are all k <= l; else each output with itself.
    block : int
        Rows taken at a time.
    H : ndarray of shape (pairs, q, q)
        To its upper triangles the result is added, in double precision.
    """
    n = X.shape[0]
    K, q = W.shape
    number, zero = W.dtype.type, np.int64(0)
    A, P = np.empty((q, block), W.dtype), np.empty((K, block), W.dtype)
    d, scratch = np.empty(block, W.dtype), np.empty((4, block), W.dtype)
    s = np.zeros((weight.shape[0], block), W.dtype)
    for start in range(0, n, block):
        centred_columns(X, start, n, center, A)
        for c in range(weight.shape[0]):
            for i in range(block):
                s[c, i] = weight[c, start + i] if start + i < n else 0.0
        column_logits(A, W, P)
        if softmax:
            softmax_columns(P, d, scratch[0])
        else:
            sigmoid_columns(P)
        pair = 0
        for k in range(K):
            weights = s[min(k, weight.shape[0] - 1)]
            for i in range(block):
                d[i] = weights[i] * P[k, i] * (number(1.0) - P[k, i])
            add_weighted_gram(A, d, scratch, H[pair], zero, zero)
            pair += 1
            for other in range(k + 1, K if softmax and not by_class else 0):
                for i in range(block):
                    d[i] = -weights[i] * P[k, i] * P[other, i]
                add_weighted_gram(A, d, scratch, H[pair], zero, zero)
                pair += 1


@jit
def dense_support_hessian(X, center, weight, W, softmax, features, first, block, H):
    """The Hessian of the weighted loss on some coordinates, over all rows of X.

    Parameters
    ----------
    X, center, weight, W, softmax, block
        As in `dense_hessian`.
    features : ndarray of shape (a,), int64
        The coordinates' features, those of one output after those of the other.
    first : ndarray of shape (K + 1,), int64
        Where each output's coordinates begin, and their number.
    H : ndarray of shape (1, a, a) for softmax, (K, the most of an output, the same) else
        To its upper triangles the result is added.
    """
    n = X.shape[0]
    K, q = W.shape
    A = np.empty((q, block), W.dtype)
    P, V = np.empty((K, block), W.dtype), np.empty((features.size, block), W.dtype)
    s, scratch = np.zeros((weight.shape[0], block), W.dtype), np.empty((4, block), W.dtype)
    d = np.empty(block, W.dtype)
    for start in range(0, n, block):
        centred_columns(X, start, n, center, A)
        for c in range(weight.shape[0]):
            for i in range(block):
                s[c, i] = weight[c, start + i] if start + i < n else 0.0
        column_logits(A, W, P)
        if softmax:
            softmax_columns(P, d, scratch[0])
        else:
            sigmoid_columns(P)
        add_support_hessian(A, P, s, softmax, features, first, V, scratch, d, H)


@jit
def add_support_hessian(A, P, s, softmax, features, first, V, scratch, d, H):
    """The Hessian of a block's weighted loss on some coordinates is added to H.

    Parameters
    ----------
    A : ndarray of shape (q, block)
        Centred features.
    P : ndarray of shape (K, block)
        Probabilities.
    s : ndarray of shape (1 or K, block)
        The rows' weights, in all problems or in each.
    softmax, features, first, H
        As in `dense_support_hessian`.
    V, scratch, d : ndarray of shape (at least a, block), (4, block) and (block,)
        Room, of the type in which it is computed.
    """
    K, block = P.shape
    one, zero = P.dtype.type(1.0), np.int64(0)
    for k in range(K):
        begin, end = first[k], first[k + 1]
        own = s[min(k, s.shape[0] - 1)]
        for i in range(block):
            d[i] = own[i] * P[k, i] * (one - P[k, i])
        for c in range(begin, end):
            for i in range(block):
                V[c, i] = A[features[c], i]
        at = begin if softmax else zero
        add_weighted_gram(V[begin:end], d, scratch, H[zero if softmax else k], at, at)
        for c in range(begin, end if softmax else begin):
            for i in range(block):
                V[c, i] *= P[k, i]
    for k in range(K if softmax else 0):  # by other outputs: - s p_k a_j p_l a_r
        for begin in range(first[k], first[k + 1], 4):
            count = min(4, first[k + 1] - begin)
            for r in range(count):
                for i in range(block):
                    scratch[r, i] = -s[0, i] * V[begin + r, i]
            after = V[: first[K]]
            add_products(scratch[:count], after, first[k + 1], H[zero], begin, zero)


@jit
def assemble(grams, coupled, H):
    """Hessians from the upper triangles of their blocks.

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
                    value = grams[pair, r, j]
                    H[problem, row + j, column + r] = value
                    H[problem, row + r, column + j] = value
                    if column != row:
                        H[problem, column + j, row + r] = value
                        H[problem, column + r, row + j] = value
            pair += 1
