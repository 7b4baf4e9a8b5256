"""Matrix products in register tiles, with rows of X along the last axis.

Rows are taken some hundred at a time and turned: features A (q, m), outputs (K, m).  Such a block
stays in the cache, and every loop over its rows uses vector registers, however few features or
classes there are.  Tiles of 4 x 4 use each number that is loaded four times.
"""

from .jit import jit
from .prefetch import LINE, prefetch_far
from .turn import LANES, turn_tile

AHEAD = 2**11  # numbers of X that are asked for before they are turned


@jit
def centred_columns(X, first, last, center, A):
    """Rows ``first <= i < last`` of X, less ``center``, as columns of A (q, m); as many as fit.

    With q = p + 1 the last feature is 1.  Columns beyond the last row are 0.  The last tile of
    eight rows overlaps the one before it.
    """
    p = X.shape[1]
    q, m = A.shape
    count = min(m, last - first)
    whole = count - count % LANES if p >= LANES else 0
    ahead = max(LANES, AHEAD // max(1, p))
    for i in range(0, whole, LANES):
        coming = first + i + ahead
        for r in range(coming, coming + LANES if coming + LANES <= X.shape[0] else coming):
            for j in range(0, p, LINE // X.itemsize):
                prefetch_far(X, r, j)
        for j in range(0, p - LANES, LANES):
            turn_tile(X, first + i, j, center, A, i)
        turn_tile(X, first + i, p - LANES, center, A, i)
    for i in range(whole, count):
        for j in range(p):
            A[j, i] = X[first + i, j] - center[j]
    for j in range(p, q):
        for i in range(count):
            A[j, i] = 1.0
    for j in range(q):
        for i in range(count, m):
            A[j, i] = 0.0


@jit
def column_logits(A, W, P):
    """P = W A for features A (q, m) and coefficients W (K, q): four outputs by four features."""
    K, q = W.shape
    m = A.shape[1]
    tiled, whole = K - K % 4, q - q % 4
    for k in range(K):
        for i in range(m):
            P[k, i] = 0.0
    for k in range(0, tiled, 4):
        for j in range(0, whole, 4):
            a0, a1, a2, a3 = W[k, j], W[k, j + 1], W[k, j + 2], W[k, j + 3]
            b0, b1, b2, b3 = W[k + 1, j], W[k + 1, j + 1], W[k + 1, j + 2], W[k + 1, j + 3]
            c0, c1, c2, c3 = W[k + 2, j], W[k + 2, j + 1], W[k + 2, j + 2], W[k + 2, j + 3]
            d0, d1, d2, d3 = W[k + 3, j], W[k + 3, j + 1], W[k + 3, j + 2], W[k + 3, j + 3]
            for i in range(m):
                x0, x1, x2, x3 = A[j, i], A[j + 1, i], A[j + 2, i], A[j + 3, i]
                P[k, i] += (a0 * x0 + a1 * x1) + (a2 * x2 + a3 * x3)
                P[k + 1, i] += (b0 * x0 + b1 * x1) + (b2 * x2 + b3 * x3)
                P[k + 2, i] += (c0 * x0 + c1 * x1) + (c2 * x2 + c3 * x3)
                P[k + 3, i] += (d0 * x0 + d1 * x1) + (d2 * x2 + d3 * x3)
    for k in range(K):
        for j in range(whole if k < tiled else 0, q - 3, 4):
            a0, a1, a2, a3 = W[k, j], W[k, j + 1], W[k, j + 2], W[k, j + 3]
            for i in range(m):
                P[k, i] += (a0 * A[j, i] + a1 * A[j + 1, i]) + (a2 * A[j + 2, i] + a3 * A[j + 3, i])
        for j in range(whole, q):
            for i in range(m):
                P[k, i] += W[k, j] * A[j, i]


@jit(inlined=True)
def add_products(B, A, first, G, row, column):
    """G[row + k, column + j] += sum_i b_ki a_ji, for j from ``first`` on.

    Tiles of 4 x 4 sums stay in registers while the rows pass by: eight loads for sixteen
    multiplications.  What they leave is done in fours, too: five loads for four.

    Parameters
    ----------
    B : ndarray of shape (K, m)
    A : ndarray of shape (q, m), C-contiguous
        Features; best where they stay in the cache, and with m a multiple of 8.
    first : int
    G : ndarray
    row, column : int
    """
    K, m = B.shape
    q = A.shape[0]
    tiled, whole = K - K % 4, q - (q - first) % 4
    zero = B.dtype.type(0.0)
    for k in range(0, tiled, 4):
        for j in range(first, whole, 4):
            t00 = t01 = t02 = t03 = t10 = t11 = t12 = t13 = zero
            t20 = t21 = t22 = t23 = t30 = t31 = t32 = t33 = zero
            for i in range(m):
                a0, a1, a2, a3 = A[j, i], A[j + 1, i], A[j + 2, i], A[j + 3, i]
                b = B[k, i]
                t00, t01, t02, t03 = t00 + b * a0, t01 + b * a1, t02 + b * a2, t03 + b * a3
                b = B[k + 1, i]
                t10, t11, t12, t13 = t10 + b * a0, t11 + b * a1, t12 + b * a2, t13 + b * a3
                b = B[k + 2, i]
                t20, t21, t22, t23 = t20 + b * a0, t21 + b * a1, t22 + b * a2, t23 + b * a3
                b = B[k + 3, i]
                t30, t31, t32, t33 = t30 + b * a0, t31 + b * a1, t32 + b * a2, t33 + b * a3
            add_four(G, row + k, column + j, t00, t01, t02, t03)
            add_four(G, row + k + 1, column + j, t10, t11, t12, t13)
            add_four(G, row + k + 2, column + j, t20, t21, t22, t23)
            add_four(G, row + k + 3, column + j, t30, t31, t32, t33)
    for k in range(0, tiled, 4):
        for j in range(whole, q):
            t0 = t1 = t2 = t3 = zero
            for i in range(m):
                a = A[j, i]
                t0, t1 = t0 + B[k, i] * a, t1 + B[k + 1, i] * a
                t2, t3 = t2 + B[k + 2, i] * a, t3 + B[k + 3, i] * a
            G[row + k, column + j] += t0
            G[row + k + 1, column + j] += t1
            G[row + k + 2, column + j] += t2
            G[row + k + 3, column + j] += t3
    for k in range(tiled, K):
        for j in range(first, whole, 4):
            t0 = t1 = t2 = t3 = zero
            for i in range(m):
                b = B[k, i]
                t0, t1 = t0 + b * A[j, i], t1 + b * A[j + 1, i]
                t2, t3 = t2 + b * A[j + 2, i], t3 + b * A[j + 3, i]
            add_four(G, row + k, column + j, t0, t1, t2, t3)
        for j in range(whole, q):
            total = zero
            for i in range(m):
                total += B[k, i] * A[j, i]
            G[row + k, column + j] += total


@jit(inlined=True)
def add_four(G, row, column, t0, t1, t2, t3):
    """Add four numbers to neighbours in a row of G."""
    G[row, column] += t0
    G[row, column + 1] += t1
    G[row, column + 2] += t2
    G[row, column + 3] += t3


@jit(inlined=True)
def add_weighted_gram(A, d, scratch, H, row, column):
    """H[row + j, column + r] += sum_i d_i a_ji a_ri for r >= j: an upper triangle.

    Some entries below the diagonal are written too: those of its tiles.

    Parameters
    ----------
    A : ndarray of shape (q, m), C-contiguous
    d : ndarray of shape (m,)
    scratch : ndarray of shape (4, m)
    H : ndarray
    row, column : int
    """
    q, m = A.shape
    for j in range(0, q, 4):
        count = min(4, q - j)
        for r in range(count):
            for i in range(m):
                scratch[r, i] = d[i] * A[j + r, i]
        add_products(scratch[:count], A, j, H, row + j, column)
