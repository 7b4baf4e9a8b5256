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


def csr_centred_squares(data, indices, indptr, center, B):
    """sum_i a_ji (a_ji - 2 center_j) b_i, one stored entry of A after the other."""
    data = wide(data)
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return csr_product(data * (data - 2 * wide(center)[row]), indices, indptr, B)


def transposed_centred(A, total, center):
    """a_jk - total_k center_j, (K, p), for A (p, K)."""
    A, total, center = wide(A, total, center)
    return A.T - np.outer(total, center)


def finish_product(image, direction, g, center, ridge):
    """X' T centred, ridge times a direction added, and g for an intercept, (q, K)."""
    image, direction, g, center, ridge = wide(image, direction, g, center, ridge)
    p = len(center)
    features = image[:p] - np.outer(center, g) + ridge * direction[:p]
    return np.concatenate([features, np.tile(g, (len(image) - p, 1))])


def advance(x, direction, residual, image, length, scale, coupled):
    """A step along a direction, the residual there, and that preconditioned, (q, K) each."""
    x, direction, residual, image = wide(x, direction, residual, image)
    residual = residual - wide(length) * image
    z = wide(scale) ** 2 * residual
    if coupled:
        z = z - z.mean(axis=1, keepdims=True)
    return x + wide(length) * direction, residual, z


def pairs(K):
    """The pairs k <= l in the order of the kernels."""
    return [(k, other) for k in range(K) for other in range(k, K)]


def class_products(P, s):
    """s_i p_ik ([k = l] - p_il) for k <= l, (pairs, m), from probabilities P (K, m)."""
    P, s = wide(P, s)
    return np.array([s * P[k] * ((k == other) - P[other]) for k, other in pairs(len(P))])


def contrasts(K):
    """Helmert's, orthonormal: each output but the first against those before it, (K, K - 1)."""
    B = np.zeros((K, K - 1), dtype=WIDE)
    for a in range(K - 1):
        B[: a + 1, a], B[a + 1, a] = 1, -(a + 1)
    return B / np.sqrt((B**2).sum(axis=0))


def contrast_products(P, s):
    """The same by contrasts a <= b, (pairs, m)."""
    K, B = len(P), contrasts(len(P))
    D = np.zeros((K, K, P.shape[1]), dtype=WIDE)
    for (k, other), d in zip(pairs(K), class_products(P, s), strict=True):
        D[k, other] = D[other, k] = d
    D = np.einsum("ka,klm,lb->abm", B, D, B)
    return np.array([D[pair] for pair in pairs(K - 1)])


def couple_rows(state, s, softmax, T):
    """The Hessian by logits times T, row by row, (m, K)."""
    state, s, T = wide(state, s, T)
    if not softmax:
        return state * T
    blocks = (np.diag(p) - np.outer(p, p) for p in state)
    return np.array([weight * (H @ t) for weight, H, t in zip(s, blocks, T, strict=True)])


def curvature_product(X, center, state, s, softmax, V, v):
    """The Hessian by coefficients and (centred) intercepts times V and v."""
    X, center = wide(X, center)
    return gradient(X - center, couple_rows(state, s, softmax, logits(X - center, V, v)))


def csr_gram(data, indices, indptr, D, p):
    """sum_i d_i x_ij x_ir for r <= j, (p, p, pairs), D (n, pairs); sum_i d_i x_ij, (p, pairs)."""
    X, D = csr_product(data, indices, indptr, np.eye(p)), wide(D)
    G = np.einsum("ij,ir,iv->jrv", X, X, D)
    return np.where(np.tri(p, dtype=bool)[:, :, None], G, 0), X.T @ D


def centred_columns(X, first, last, center, q, m):
    """Centred rows ``first <= i < last``, at most m, as columns (q, m): then ones, and 0 beyond."""
    rows = (wide(X) - wide(center))[first:last][:m]
    A = np.zeros((q, m), dtype=WIDE)
    A[: len(center), : len(rows)] = rows.T
    A[len(center) :, : len(rows)] = 1
    return A


def products(B, A):
    """sum_i b_ki a_ji, (K, q), for B (K, m) and A (q, m)."""
    B, A = wide(B, A)
    return np.array([[(b * a).sum() for a in A] for b in B]).reshape(len(B), len(A))


def weighted_gram(A, d):
    """sum_i d_i a_i a_i' of the columns of A."""
    A, d = wide(A, d)
    return (A * d) @ A.T


def dense_hessian(X, center, weight, W, coupled, by_class):
    """Second derivatives (pairs, q, q) by the centred coordinates W (K, q), weight (1 or K, n)."""
    K, q = W.shape
    A = centred_columns(X, 0, len(X), center, q, len(X))
    Z = wide(W) @ A
    P = softmax(Z.T).T if coupled else sigmoid(Z)
    weight = np.broadcast_to(wide(weight), P.shape)
    chosen = [(k, other) for k, other in pairs(K) if k == other or (coupled and not by_class)]
    return np.array(
        [weighted_gram(A, weight[k] * P[k] * ((k == other) - P[other])) for k, other in chosen]
    )


def assemble(grams, coupled):
    """Whole Hessians from the upper triangles of their blocks (pairs of outputs, q, q)."""
    blocks = np.triu(grams) + np.triu(grams, 1).swapaxes(1, 2)
    if not coupled:
        return blocks
    q = grams.shape[1]
    K = next(K for K in range(len(grams) + 1) if len(pairs(K)) == len(grams))
    H = np.zeros((K, q, K, q), dtype=grams.dtype)
    for (k, other), block in zip(pairs(K), blocks, strict=True):
        H[k, :, other] = H[other, :, k] = block
    return H.reshape(1, K * q, K * q)


def curvature(A, y, s, column, sides, point):
    """Second derivatives of the loss by logits, (pairs, m), for features A (q, m)."""
    Z = logits(A.T, point, np.zeros(len(point)))
    if column < 0:
        return class_products(softmax(Z).T, s)
    weight = wide(s) * wide(sides)[(np.asarray(y) == column).astype(int)]
    return (weight * sigmoid(Z[:, 0]) * sigmoid(-Z[:, 0]))[None]


def smooth(A, y, s, column, sides, lambda2, p, point):
    """F and its gradient (K, q): softmax where ``column < 0``, else that class or not."""
    zeros = np.zeros(len(point))
    if column < 0:
        loss, G, _ = dense_softmax(A.T, y, s, point, zeros)
    else:
        loss, G, _ = dense_sigmoid(A.T, y, s, [column], sides[1:], sides[:1], point, zeros)
        loss = loss[0]
    ridge = wide(lambda2) * wide(point) * (np.arange(point.shape[1]) < p)
    return loss + (ridge * point).sum() / 2, G + ridge


def hessian(A, D, lambda2, p):
    """F's Hessian (K q, K q) from second derivatives D (pairs, m) by logits."""
    H = assemble(np.array([weighted_gram(A, d) for d in D]), coupled=True)[0]
    ridge = lambda2 * (np.arange(len(H)) % len(A) < p)
    return H + np.diag(ridge)


def violation(gradient, center):
    """Largest entry of a gradient (K, q) by the features before they were centred."""
    original = wide(gradient).copy()
    p = len(center)
    if original.shape[1] > p:
        original[:, :p] += np.outer(original[:, p], center)
    return np.abs(original).max()


def rows_of_weight(d, share, m):
    """Second derivatives d, with 0 where one is below a share of the mean of a block of m.

    The last block is filled up with zeros.  One of which more than 3/4 would remain stays whole.
    """
    result = wide(d).copy()
    for first in range(0, len(result), m):
        block = result[first : first + m]
        small = block < share * block.sum() / m
        if 4 * (~small).sum() <= 3 * m:
            block[small] = 0
    return result


def newton(A, center, y, s, column, sides, lambda2, point, tol, goal, max_iter, share=0.0, m=None):
    """Damped Newton: the point where it ends, steps taken, evaluations of F.

    Binary Hessians are made of `rows_of_weight`, in blocks of m.
    """
    p, point = len(center), np.array(point)
    value, gradient = smooth(A, y, s, column, sides, lambda2, p, point)
    evaluations, last = 1, False
    for iterations in range(max_iter):
        if last:
            return point, iterations, evaluations
        D = curvature(A, y, s, column, sides, point)
        if share and column >= 0:
            D = rows_of_weight(D[0], share, m)[None]
        H = hessian(A, D, lambda2, p).astype(float)
        scale = 1 / np.sqrt(H.diagonal())
        g = gradient.astype(float).ravel() * scale
        step = scale * np.linalg.lstsq(H * np.outer(scale, scale), g, rcond=1e-13)[0]
        step = step.reshape(point.shape)
        if column < 0:  # softmax does not see a shift of all intercepts
            step[:, p:] -= step[:, p:].mean(axis=0)
        decrement = (gradient * step).sum() / 2
        last = decrement <= goal and violation(gradient, center) <= tol
        length = 1.0
        while True:
            trial = point - length * step
            there, slope = smooth(A, y, s, column, sides, lambda2, p, trial)
            evaluations += 1
            if there <= value - 2e-4 * length * decrement:
                break
            length, share = length / 2, share / 2
        point, value, gradient = trial, there, slope
    return point, max_iter, evaluations


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
