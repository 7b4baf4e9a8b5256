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


# ---- the outputs' own Hessians --------------------------------------------------------------


def run_class_hessians(X, curvatures, mask, center, parts=1):
    """The result, one matrix an output; X a CSR matrix, ``center`` (q,)."""
    p, K = X.shape[1], mask.shape[0]
    sizes = mask.sum(axis=1)
    features, outputs = np.nonzero(mask[:, :p].T)
    offset = np.append(0, np.cumsum(sizes**2))
    H = np.zeros(offset[-1])
    for start, stop in pairwise([K * part // parts for part in range(parts + 1)]):
        before = H.copy()
        curvature.csr_class_hessians(
            X.data,
            X.indices,
            X.indptr,
            start,
            stop,
            np.searchsorted(features, np.arange(p + 1)),
            (np.cumsum(mask, axis=1) - 1)[outputs, features],
            outputs,
            np.append(0, np.cumsum(sizes)),
            offset,
            curvatures,
            center[np.nonzero(mask)[1]],
            mask.shape[1] > p,
            H,
        )
        own = slice(offset[start], offset[stop])
        np.testing.assert_array_equal(np.delete(H, own), np.delete(before, own))
    return [
        block.reshape(size, size)
        for block, size in zip(np.split(H, offset[1:-1]), sizes, strict=True)
    ]


def class_hessians_by_hand(A, curvatures, mask):
    return [
        (A[:, own] * d[:, None]).T @ A[:, own] for d, own in zip(curvatures.T, mask, strict=True)
    ]


@pytest.mark.parametrize("K", [1, 2, 5])
@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", ["d", "f"])
def test_csr_class_hessians(K, parts, intercept, centred, dtype):
    X, _, d, mask = support_case(0, K, False)
    mask[0, : mask.shape[1] - 1] = False  # an output with its intercept alone, or with nothing
    mask = mask if intercept else mask[:, :-1]
    matrix = sparse.csr_matrix(X.astype(dtype))
    if parts == 2:
        matrix.indices, matrix.indptr = (x.astype("i8") for x in (matrix.indices, matrix.indptr))
    A = np.column_stack([matrix.toarray().astype("d"), np.ones(len(X))])[:, : mask.shape[1]]
    center = np.append(A[:, :7].mean(axis=0), 0.0)[: mask.shape[1]] * centred
    found = run_class_hessians(matrix, d, mask, center, parts)
    expected = class_hessians_by_hand(A - center, d, mask)
    for H, by_hand in zip(found, expected, strict=True):
        np.testing.assert_allclose(H, by_hand, atol=1e-12)
        np.testing.assert_array_equal(H, H.T)


def test_csr_class_hessians_of_one_output_do_not_depend_on_the_others():
    X, _, d, mask = support_case(1, 4, False)
    matrix, center = sparse.csr_matrix(X), np.linspace(-1, 1, 8)
    whole = run_class_hessians(matrix, d, mask, center)
    for k in range(4):
        own = slice(k, k + 1)
        (alone,) = run_class_hessians(matrix, np.ascontiguousarray(d[:, own]), mask[own], center)
        np.testing.assert_array_equal(alone, whole[k])


def test_csr_class_hessians_do_not_hide_bad_data():
    X, _, d, mask = support_case(2, 3, False)
    mask[:] = True
    X[5, 4] = np.nan
    for H in run_class_hessians(sparse.csr_matrix(X), d, mask, np.zeros(8)):
        assert np.isnan(H[4]).sum() >= np.count_nonzero(X[5])
        assert np.isfinite(np.delete(np.delete(H, 4, 0), 4, 1)).all()
