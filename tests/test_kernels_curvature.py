"""Second derivatives over the rows of CSR matrices, against their twins in `naive`."""

from itertools import pairwise

import naive
import numpy as np
import pytest
from kernel_cases import (
    ascending_csr,
    assert_close,
    curvature_state,
    over_coupling,
    over_ranges,
    overflow_is_no_accident,
    read_only,
    with_one_bad_value,
)
from scipy import sparse

from sk_softmax._kernels import curvature

KMS = ((1, 1), (1, 4), (2, 3), (3, 5), (4, 8), (5, 1), (8, 67))
pytestmark = overflow_is_no_accident


@over_coupling
@pytest.mark.parametrize(("K", "m"), KMS)
def test_couple_rows(K, m, softmax):
    state, s = curvature_state(m, K, softmax)
    T = np.random.default_rng(1).normal(size=(m, K))
    result = T.copy()
    curvature.couple_rows(state, s, softmax, result)
    assert_close(result, naive.couple_rows(state, s, softmax, T))


@over_coupling
def test_couple_rows_lets_a_nan_travel_in_its_row_only(softmax):
    state, s = curvature_state(5, 3, softmax)
    T = np.random.default_rng(1).normal(size=(5, 3))
    exact = naive.couple_rows(state, s, softmax, T)
    T[3, 1] = np.nan
    curvature.couple_rows(state, s, softmax, T)
    assert np.isnan(T[3, slice(None) if softmax else 1]).all()
    T[3] = exact[3] = 0.0
    assert_close(T, exact)


@pytest.mark.parametrize("pairs", [1, 2, 3, 6])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_gram(data_type, index_type, pairs):
    matrix = ascending_csr(data_type, index_type)
    rng = np.random.default_rng(1)
    D, G, sums = (rng.normal(size=(*shape, pairs)) for shape in ((40,), (11, 11), (11,)))
    result, result_sums = G.copy(), sums.copy()
    curvature.csr_gram(*matrix, 0, 40, read_only(D), result, result_sums)
    exact, exact_sums = naive.csr_gram(*matrix, D, 11)
    # float32 entries of several pairs are multiplied as they come
    eps = 1e-6 if data_type == np.float32 else 1e-13
    np.testing.assert_allclose(result - G, exact.astype(np.float64), rtol=eps, atol=40 * eps)
    assert_close(result_sums - sums, exact_sums, scale=40)
    upper = np.triu_indices(11, 1)
    np.testing.assert_array_equal(result[upper], G[upper])


@pytest.mark.parametrize("pairs", [1, 3])
@over_ranges
def test_csr_gram_of_a_range_of_rows(start, stop, pairs):
    data, indices, indptr = ascending_csr()
    D = np.random.default_rng(1).normal(size=(stop - start, pairs))
    G, sums = np.zeros((11, 11, pairs)), np.zeros((11, pairs))
    curvature.csr_gram(data, indices, indptr, start, stop, D, G, sums)
    own = slice(indptr[start], indptr[stop])
    rows = data[own], indices[own], indptr[start : stop + 1] - indptr[start]
    exact, exact_sums = naive.csr_gram(*rows, D, 11)
    assert_close(G, exact, scale=10)
    assert_close(sums, exact_sums, scale=10)


@pytest.mark.parametrize("pairs", [1, 3])
def test_csr_gram_lets_a_nan_travel(pairs):
    matrix, row = with_one_bad_value(ascending_csr(), np.nan)
    _, indices, indptr = matrix
    j = indices[indptr[row]]
    G, sums = np.zeros((11, 11, pairs)), np.zeros((11, pairs))
    curvature.csr_gram(*matrix, 0, 40, np.ones((40, pairs)), G, sums)
    assert np.isnan(G[indices[indptr[row] : indptr[row + 1]], j]).all()
    others = np.delete(np.delete(G, j, axis=0), j, axis=1)
    assert np.isfinite(others).all()
    np.testing.assert_array_equal(np.isnan(sums).all(axis=1), np.arange(11) == j)
    assert np.isfinite(np.delete(sums, j, axis=0)).all()


# ---- the Hessian of a CSR matrix on some coordinates ----------------------------------------


def support_case(seed, K, softmax, n=30, p=7):
    """A CSR matrix with an empty row and column, a state, coordinates with all intercepts."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.4)
    X[3], X[:, 2] = 0.0, 0.0
    s = rng.uniform(0.5, 2, n)
    state = rng.dirichlet(np.ones(K), n) if softmax else rng.uniform(0, 0.25, (n, K))
    mask = rng.random((K, p + 1)) < 0.6
    mask[:, p] = True
    return X, s, np.ascontiguousarray(state), mask


def hessian_by_hand(A, s, state, mask, softmax):
    """On the coordinates of ``mask``, from features A (n, q)."""
    size = mask.size
    H = np.zeros((size, size))
    for a, weight, values in zip(A, s, state, strict=True):
        d = weight * (np.diag(values) - np.outer(values, values)) if softmax else np.diag(values)
        H += np.kron(d, np.outer(a, a))
    return H[np.ix_(mask.ravel(), mask.ravel())]


@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_csr_support_hessian(seed, K, parts):
    X, s, state, mask = support_case(seed, K, True)
    n, p = X.shape
    matrix = sparse.csr_matrix(X)
    outputs, features = np.nonzero(mask)
    order = np.argsort(features, kind="stable")
    first = np.searchsorted(features[order], np.arange(p + 2))
    H = np.zeros((outputs.size, outputs.size))
    ends = [outputs.size * part // parts for part in range(parts + 1)]
    for start, stop in pairwise(ends):
        before = H.copy()
        curvature.csr_support_hessian(
            matrix.data,
            matrix.indices,
            matrix.indptr,
            start,
            stop,
            first,
            order,
            outputs[order],
            state,
            s,
            H,
        )
        np.testing.assert_array_equal(
            np.delete(H, range(start, stop), 0), np.delete(before, range(start, stop), 0)
        )
    A = np.column_stack([X, np.ones(n)])
    whole = np.tril(H) + np.triu(H, 1).T
    np.testing.assert_allclose(
        np.tril(whole), np.tril(hessian_by_hand(A, s, state, mask, True)), atol=1e-12
    )
    center = np.append(X.mean(axis=0), 0.0)
    curvature.fold_and_centre(H, center[features], np.flatnonzero(features == p)[outputs])
    A = A - center
    np.testing.assert_allclose(H, hessian_by_hand(A, s, state, mask, True), atol=1e-12)
    np.testing.assert_allclose(H, H.T, atol=1e-13)


# ---- an output's own Hessian ----------------------------------------------------------------


def run_class_hessian(X, curvature_of_rows, mask, center, least=0.0):
    """The result for one output; X a CSR matrix, ``mask`` and ``center`` (q,)."""
    p, size = X.shape[1], int(mask.sum())
    H = np.zeros((size, size))
    curvature.csr_class_hessian(
        X.data,
        X.indices,
        X.indptr,
        np.where(mask, np.cumsum(mask) - 1, -1)[:p],
        curvature_of_rows,
        np.broadcast_to(least, X.shape[0]).copy(),
        center[mask],
        mask.size > p,
        H,
    )
    return H


@pytest.mark.parametrize("of", ["some", "the intercept alone", "none"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_csr_class_hessian(of, intercept, centred, dtype, index):
    X, _, d, masks = support_case(0, 1, False)
    mask = masks[0] if intercept else masks[0, :-1]
    if of != "some":
        mask[:7] = False
    matrix = sparse.csr_matrix(X.astype(dtype))
    matrix.indices, matrix.indptr = (x.astype(index) for x in (matrix.indices, matrix.indptr))
    A = np.column_stack([matrix.toarray().astype("d"), np.ones(len(X))])[:, : mask.size]
    center = np.append(A[:, :7].mean(axis=0), 0.0)[: mask.size] * centred
    H = run_class_hessian(matrix, d[:, 0].copy(), mask, center)
    own = (A - center)[:, mask]
    np.testing.assert_allclose(H, (own * d).T @ own, atol=1e-12)
    np.testing.assert_array_equal(H, H.T)


def test_csr_class_hessian_leaves_out_rows_of_little_curvature():
    X, _, d, masks = support_case(1, 1, False)
    matrix, center, own = sparse.csr_matrix(X), np.linspace(-1, 1, 8), d[:, 0].copy()
    least = np.where(np.arange(len(X)) % 2, 1.5 * own, own)
    H = run_class_hessian(matrix, own, masks[0], center, least)
    left = run_class_hessian(matrix[::2], own[::2].copy(), masks[0], center)
    np.testing.assert_array_equal(H, left)
    assert not np.allclose(H, run_class_hessian(matrix, own, masks[0], center))


def test_csr_class_hessian_does_not_hide_bad_data():
    X, _, d, masks = support_case(2, 1, False)
    X[5, 4] = np.nan
    mask = np.ones_like(masks[0])
    H = run_class_hessian(sparse.csr_matrix(X), d[:, 0].copy(), mask, np.zeros(8))
    assert np.isnan(H[4]).sum() >= np.count_nonzero(X[5])
    assert np.isfinite(np.delete(np.delete(H, 4, 0), 4, 1)).all()
    d[5] = np.nan  # no share of it is less than anything
    assert np.isnan(
        run_class_hessian(sparse.csr_matrix(X), d[:, 0].copy(), mask, np.zeros(8), 1e9)
    ).any()
