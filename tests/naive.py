"""Slow, readable twins of the kernels and of the objective, in the widest float there is.

Arrays have the shapes that the kernels document: X (n, p), W (K, p), b (K,), logits Z (n, K).
"""

import numpy as np

WIDE = np.longdouble
WIDE_IS_WIDER = np.finfo(WIDE).eps < np.finfo(np.float64).eps


def wide(*arrays):
    """The arrays as `WIDE`; a single one by itself."""
    converted = [np.asarray(array, dtype=WIDE) for array in arrays]
    return converted if len(converted) > 1 else converted[0]


def ulps(value, exact):
    """Distance of float64 values from exact ones, in units in the last place of the latter."""
    return np.abs(wide(value) - exact) / np.spacing(np.abs(exact).astype(np.float64))


def logsumexp(Z):
    """log(sum_k exp(z_k)) of each row."""
    top = Z.max(axis=1)
    return top + np.log(np.exp(Z - top[:, None]).sum(axis=1))


def softmax(Z):
    return np.exp(Z - logsumexp(Z)[:, None])


def softplus(Z):
    """log(1 + exp(z))."""
    return np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z)))


def sigmoid(Z):
    return np.exp(-softplus(-Z))


def is_class(y, columns):
    """Whether row i is of class columns[k], (n, K)."""
    return np.asarray(y)[:, None] == np.asarray(columns)


def softmax_residual(Z, y, s):
    """sum_i s_i (logsumexp(z_i) - z_i,y_i) and its derivative by Z."""
    Z, s = wide(Z, s)
    loss = s * (logsumexp(Z) - Z[np.arange(len(y)), y])
    return loss.sum(), s[:, None] * (softmax(Z) - is_class(y, range(Z.shape[1])))


def sigmoid_residual(Z, y, s, columns, positive, negative):
    """sum_i s_ik softplus(-+z_ik), (K,), and its derivative by Z."""
    Z, s, positive, negative = wide(Z, s, positive, negative)
    own = is_class(y, columns)
    weight = s[:, None] * np.where(own, positive, negative)
    loss = weight * softplus(np.where(own, -Z, Z))
    return loss.sum(axis=0), weight * (sigmoid(Z) - own)


def logits(X, W, b):
    X, W, b = wide(X, W, b)
    return X @ W.T + b


def gradient(X, R):
    """R' X and the column sums of R."""
    X, R = wide(X, R)
    return R.T @ X, R.sum(axis=0)


def dense_softmax(X, y, s, W, b):
    """Loss, and its gradient by W and b."""
    loss, R = softmax_residual(logits(X, W, b), y, s)
    return loss, *gradient(X, R)


def dense_sigmoid(X, y, s, columns, positive, negative, W, b):
    """The K losses, and their gradients by W and b."""
    loss, R = sigmoid_residual(logits(X, W, b), y, s, columns, positive, negative)
    return loss, *gradient(X, R)


def csr_product(data, indices, indptr, B):
    """A B, one stored entry of A after the other."""
    B = wide(B)
    product = np.zeros((len(indptr) - 1, B.shape[1]), dtype=WIDE)
    for i in range(len(product)):
        for q in range(indptr[i], indptr[i + 1]):
            product[i] += WIDE(data[q]) * B[indices[q]]
    return product


def problem(X, y, coef, intercept, s, coupled):
    """Mean losses (m,) and their gradients (K, p) and (K,), m = 1 or K; and S."""
    X = X.toarray() if hasattr(X, "toarray") else X
    s = np.ones(len(y), dtype=WIDE) if s is None else wide(s)
    S = s.sum()
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) > 2 and coupled:
        loss, G, g = dense_softmax(X, codes, s / S, coef, intercept)
        return np.array([loss]), G, g, S
    columns = [1] if len(classes) == 2 else range(len(classes))
    ones = np.ones(len(columns))
    return *dense_sigmoid(X, codes, s / S, columns, ones, ones, coef, intercept), S


def objective(X, y, coef, intercept, *, s=None, C=1.0, l1_ratio=0.0, coupled=True):
    """F of each problem: (1,) for softmax and for two classes, else (K,).

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, p)
    y : array-like of shape (n,)
        Labels; classes are their sorted values.
    coef, intercept : array-like of shape (K, p) and (K,), one row for two classes
    s : array-like of shape (n,)
        Weights; default 1.
    """
    losses, _, _, S = problem(X, y, coef, intercept, s, coupled)
    coef = wide(coef)
    penalty = (1 - l1_ratio) / 2 * (coef**2).sum(axis=1) + l1_ratio * np.abs(coef).sum(axis=1)
    if len(losses) < len(coef):
        penalty = penalty.sum(keepdims=True)
    return (losses + penalty / (C * S)).astype(np.float64)


def kkt_violation(
    X, y, coef, intercept, *, s=None, C=1.0, l1_ratio=0.0, coupled=True, fit_intercept=True
):
    """Largest distance from 0 to F's subdifferential in each problem; parameters as above."""
    losses, G, g, S = problem(X, y, coef, intercept, s, coupled)
    coef = wide(coef)
    lambda1, lambda2 = l1_ratio / (C * S), (1 - l1_ratio) / (C * S)
    slope = G + lambda2 * coef
    at_zero = np.maximum(np.abs(slope) - lambda1, 0)
    violation = np.where(coef == 0, at_zero, np.abs(slope + lambda1 * np.sign(coef)))
    largest = violation.max(axis=1)
    if fit_intercept:
        largest = np.maximum(largest, np.abs(g))
    if len(losses) < len(coef):
        largest = largest.max(keepdims=True)
    return largest.astype(np.float64)
