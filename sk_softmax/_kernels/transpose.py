"""Matrices transposed tile by tile, so that both sides are read and written by cache lines."""

from .jit import jit

TILE = 16  # rows and columns: a few cache lines


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
