"""Second derivatives over the rows of CSR matrices: products of Hessians with vectors, Hessians."""

import numpy as np

from .jit import jit
from .unsigned import ONE


@jit
def couple_rows(state, s, softmax, T):
    """From directions of logits to directions of residuals, in place.

    Parameters
    ----------
    state : ndarray of shape (m, K)
        Softmax: probabilities.  One-vs-all: second derivatives of the weighted loss by logits.
    s : ndarray of shape (m,)
    softmax : bool
    T : ndarray of shape (m, K)
        Softmax: becomes ``s_i p_ik (t_ik - sum_l p_il t_il)``.
    """
    m, K = T.shape
    for i in range(m):
        if softmax:
            mean = 0.0
            for k in range(K):
                mean += state[i, k] * T[i, k]
            for k in range(K):
                T[i, k] = s[i] * state[i, k] * (T[i, k] - mean)
        else:
            for k in range(K):
                T[i, k] *= state[i, k]


@jit
def csr_gram(data, indices, indptr, start, stop, D, G, sums):
    """G[j, r] += sum_i D[i] x_ij x_ir, r <= j, and sums[j] += sum_i D[i] x_ij, over some rows of X.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The CSR arrays of X; the indices of each row ascend.
    start, stop : int
        The range of rows.
    D : ndarray of shape (stop - start, pairs), C-contiguous
    G : ndarray of shape (p, p, pairs), C-contiguous
    sums : ndarray of shape (p, pairs), C-contiguous
    """
    pairs = D.shape[1]
    for i in range(start, stop):
        own = D[i - start]
        first = np.uint64(indptr[i])  # unsigned, as in `csr`
        for a in range(first, np.uint64(indptr[i + 1])):
            j = np.uint64(indices[a])
            row = G[j]
            if pairs == 1:
                v = data[a] * own[0]
                sums[j, 0] += v
                for b in range(first, a + ONE):
                    row[np.uint64(indices[b]), 0] += v * data[b]
            else:
                for pair in range(pairs):
                    sums[j, pair] += data[a] * own[pair]
                for b in range(first, a + ONE):
                    at, product = row[np.uint64(indices[b])], np.float64(data[a]) * data[b]
                    for pair in range(pairs):
                        at[pair] += product * own[pair]


@jit
def csr_class_hessian(data, indices, indptr, places, curvature, least, center, intercept, H):
    """An output's own Hessian on some coordinates, over all rows of X.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The CSR arrays of X; the indices of each row ascend.
    places : ndarray of shape (p,)
        The row of the Hessian that belongs to each feature, ascending; -1: none.
    curvature : ndarray of shape (n,)
        Second derivatives of the weighted loss by the logit.
    least : ndarray of shape (n,)
        Rows with less curvature than this are left out.
    center : ndarray of shape (a,)
        What is subtracted from each coordinate's feature; 0 for an intercept.
    intercept : bool
        Whether the last coordinate is the intercept's, 1 in each row.
    H : ndarray of shape (a, a)
        Zeros; result: the Hessian.
    """
    size, longest = H.shape[0], 1
    for i in range(indptr.size - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    at, values = np.empty(longest, np.uint64), np.empty(longest)  # unsigned, as in `csr`
    sums, total = np.zeros(size), 0.0
    for i in range(indptr.size - 1):
        own = curvature[i]
        if own < least[i]:
            continue
        total += own
        count = 0
        for q in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            place = places[np.uint64(indices[q])]
            if place >= 0:
                at[count], values[count] = place, data[q]
                count += 1
        for a in range(count):
            v = own * values[a]
            sums[at[a]] += v
            row = H[at[a]]
            for b in range(a + 1):
                row[at[b]] += v * values[b]
    if intercept:
        sums[size - 1] = total
        H[size - 1] = sums
    for a in range(size):
        for b in range(a + 1):
            centred = H[a, b] - sums[a] * center[b] - center[a] * sums[b]
            H[a, b] = H[b, a] = centred + total * center[a] * center[b]


@jit
def csr_support_hessian(
    data, indices, indptr, start, stop, first, coordinates, classes, probability, s, H
):
    """The rows ``start <= a < stop`` of softmax's Hessian on some coordinates, over all rows of X.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The CSR arrays of X.
    start, stop : int
        The range of coordinates.
    first : ndarray of shape (p + 2,)
        Coordinates ``coordinates[first[j] : first[j + 1]]`` belong to feature j; p is the
        intercept's, 1 in each row.
    coordinates, classes : ndarray of shape (a,)
        Rows of H, and the output behind each.
    probability : ndarray of shape (n, K)
    s : ndarray of shape (n,)
    H : ndarray of shape (a, a)
        Zeros; result: off the diagonal an entry and the one across it add up to the Hessian's.
    """
    p = first.size - 2
    at, by = np.empty(first[p + 1], np.int64), np.empty(first[p + 1], np.int64)
    values = np.empty(first[p + 1])
    for i in range(s.size):
        count = 0
        for q in range(indptr[i], indptr[i + 1] + 1):
            j = indices[q] if q < indptr[i + 1] else p
            x = data[q] if q < indptr[i + 1] else 1.0
            for c in range(first[j], first[j + 1]):
                at[count], by[count], values[count] = coordinates[c], classes[c], x
                count += 1
        for a in range(count):
            if at[a] < start or at[a] >= stop:
                continue
            k, row = by[a], H[at[a]]
            v = s[i] * values[a] * probability[i, k]
            for b in range(a):
                row[at[b]] -= v * values[b] * probability[i, by[b]]
                if by[b] == k:
                    row[at[b]] += v * values[b]
            row[at[a]] += v * values[a] * (1.0 - probability[i, k])


@jit
def fold_and_centre(H, center, intercepts):
    """Complete what `csr_support_hessian` made, in place; then centre the features.

    Parameters
    ----------
    H : ndarray of shape (a, a)
    center : ndarray of shape (a,)
        Of each coordinate's feature; 0 for intercepts.
    intercepts : ndarray of shape (a,), int64
        The coordinate of the intercept that belongs to each coordinate's output.
    """
    a = H.shape[0]
    for i in range(a):
        for j in range(i):
            H[i, j] += H[j, i]
            H[j, i] = H[i, j]
    for i in range(a):
        if center[i] != 0.0:
            row, own = H[i], H[intercepts[i]]
            for j in range(a):
                row[j] -= center[i] * own[j]
    for i in range(a):
        row = H[i]
        for j in range(a):
            row[j] -= row[intercepts[j]] * center[j]
