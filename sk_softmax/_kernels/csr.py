"""Products with a compressed sparse row matrix, for a range of its rows.

Logits are a product with X; the gradient is a product with X transposed, kept as CSR too.  Both
write to rows of their own, so threads share nothing and no sum depends on their number.
"""

from .jit import jit


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
    for i in range(start, stop):
        row = C[i]
        for q in range(indptr[i], indptr[i + 1]):
            v = data[q]
            other = B[indices[q]]
            for k in range(K):
                row[k] += v * other[k]
