"""Products with a compressed sparse row matrix, for a range of its rows.

Logits are a product with X; the gradient is a product with X transposed, kept as CSR too.  Both
write to rows of their own, so threads share nothing and no sum depends on their number.
"""

from .jit import jit

TILE = 16  # of a matrix that is transposed: what a few cache lines hold


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
    if K == 1:  # a loop over outputs would cost more than its body
        for i in range(start, stop):
            total = 0.0
            for q in range(indptr[i], indptr[i + 1]):
                total += data[q] * B[indices[q], 0]
            C[i, 0] += total
        return
    for i in range(start, stop):
        row = C[i]
        for q in range(indptr[i], indptr[i + 1]):
            v = data[q]
            other = B[indices[q]]
            for k in range(K):
                row[k] += v * other[k]


@jit
def csr_centred_squares(data, indices, indptr, start, stop, center, B, C):
    """C[j] += sum_i a_ji (a_ji - 2 center_j) B[i] for the rows ``start <= j < stop`` of A.

    With center_j^2 times the sum of B added, these are sums of squares of centred entries.

    Parameters are those of `csr_product`, and ``center``, one number a row of A.
    """
    K = B.shape[1]
    for j in range(start, stop):
        row = C[j]
        for q in range(indptr[j], indptr[j + 1]):
            v = data[q] * (data[q] - 2.0 * center[j])
            other = B[indices[q]]
            for k in range(K):
                row[k] += v * other[k]


@jit
def transposed(A, B):
    """B = A' for A (K, at least p) and B (p, K), tile by tile."""
    p, K = B.shape
    for start in range(0, p, TILE):
        for k in range(K):
            for j in range(start, min(start + TILE, p)):
                B[j, k] = A[k, j]


@jit
def transposed_centred(A, total, center, B):
    """B[k, j] = A[j, k] - total_k center_j for A (p, K) and B (K, at least p), tile by tile."""
    p, K = A.shape
    for start in range(0, p, TILE):
        for k in range(K):
            for j in range(start, min(start + TILE, p)):
                B[k, j] = A[j, k] - total[k] * center[j]
