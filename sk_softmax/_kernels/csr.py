"""Products with a compressed sparse row matrix, for a range of its rows.

Logits are a product with X; the gradient is a product with X transposed, kept as CSR too.  Both
write to rows of their own, so threads share nothing and no sum depends on their number.
"""

import numpy as np

from .jit import jit
from .prefetch import AHEAD, CACHED, prefetch_rows
from .unsigned import FOUR, ONE, THREE, TWO


@jit
def csr_product(data, indices, indptr, start, stop, B, C):
    """C[i] += sum_j A[i, j] B[j] for the rows ``start <= i < stop`` of the matrix A.

    Parameters
    ----------
    data, indices, indptr : ndarray
        The CSR arrays of A: float64 or float32, int32 or int64.
    start, stop : int
    B : ndarray of shape (n_columns of A, K), C-contiguous, float64
    C : ndarray of shape (n_rows of A, K), C-contiguous, float64
    """
    K = B.shape[1]
    ahead, known = np.uint64(AHEAD), np.uint64(indptr[stop] if B.size > CACHED else 0)
    for i in range(start if K > 1 else stop, stop):
        row = C[i]
        q, end = np.uint64(indptr[i]), np.uint64(indptr[i + 1])
        while q + FOUR <= end:  # four entries share the row's loads and stores
            if q + ahead + FOUR <= known:
                prefetch_rows(B, indices, q + ahead)
            v0, v1, v2, v3 = data[q], data[q + ONE], data[q + TWO], data[q + THREE]
            b0, b1 = B[np.uint64(indices[q])], B[np.uint64(indices[q + ONE])]
            b2, b3 = B[np.uint64(indices[q + TWO])], B[np.uint64(indices[q + THREE])]
            for k in range(K):
                row[k] += (v0 * b0[k] + v1 * b1[k]) + (v2 * b2[k] + v3 * b3[k])
            q += FOUR
        while q < end:
            v, b = data[q], B[np.uint64(indices[q])]
            for k in range(K):
                row[k] += v * b[k]
            q += ONE
    for i in range(start if K == 1 else stop, stop):
        t0, t1, t2, t3 = C[i, 0], 0.0, 0.0, 0.0
        q, end = np.uint64(indptr[i]), np.uint64(indptr[i + 1])
        while q + FOUR <= end:  # four sums, so that none waits for the one before
            t0 += data[q] * B[np.uint64(indices[q]), 0]
            t1 += data[q + ONE] * B[np.uint64(indices[q + ONE]), 0]
            t2 += data[q + TWO] * B[np.uint64(indices[q + TWO]), 0]
            t3 += data[q + THREE] * B[np.uint64(indices[q + THREE]), 0]
            q += FOUR
        while q < end:
            t0 += data[q] * B[np.uint64(indices[q]), 0]
            q += ONE
        C[i, 0] = (t0 + t1) + (t2 + t3)


@jit
def csr_centred_squares(data, indices, indptr, start, stop, center, B, C):
    """C[j] += sum_i a_ji (a_ji - 2 center_j) B[i] for the rows ``start <= j < stop`` of A.

    With center_j^2 times the sum of B added, these are sums of squares of centred entries.

    Parameters are those of `csr_product`, and ``center``, one number a row of A.
    """
    K = B.shape[1]
    ahead, known = np.uint64(AHEAD), np.uint64(indptr[stop] if B.size > CACHED else 0)
    for j in range(start, stop):
        row, c = C[j], 2.0 * center[j]
        q, end = np.uint64(indptr[j]), np.uint64(indptr[j + 1])
        while q + FOUR <= end:  # as in `csr_product`
            if q + ahead + FOUR <= known:
                prefetch_rows(B, indices, q + ahead)
            v0, v1, v2, v3 = data[q], data[q + ONE], data[q + TWO], data[q + THREE]
            v0, v1, v2, v3 = v0 * (v0 - c), v1 * (v1 - c), v2 * (v2 - c), v3 * (v3 - c)
            b0, b1 = B[np.uint64(indices[q])], B[np.uint64(indices[q + ONE])]
            b2, b3 = B[np.uint64(indices[q + TWO])], B[np.uint64(indices[q + THREE])]
            for k in range(K):
                row[k] += (v0 * b0[k] + v1 * b1[k]) + (v2 * b2[k] + v3 * b3[k])
            q += FOUR
        while q < end:
            v, b = data[q] * (data[q] - c), B[np.uint64(indices[q])]
            for k in range(K):
                row[k] += v * b[k]
            q += ONE
