"""Products with CSR matrices, against their twins in `naive`."""

from itertools import pairwise

import naive
import numpy as np
import pytest
from kernel_cases import (
    ascending_csr,
    assert_close,
    csr_problem,
    over_ranges,
    overflow_is_no_accident,
    read_only,
    with_one_bad_value,
)

from sk_softmax._kernels import csr, prefetch

pytestmark = overflow_is_no_accident


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_product(data_type, index_type, K):
    matrix = csr_problem(data_type, index_type)
    rng = np.random.default_rng(1)
    B, C = rng.normal(size=(11, K)), rng.normal(size=(40, K))
    result = C.copy()
    csr.csr_product(*matrix, 0, 40, B, result)
    assert_close(result, C + naive.csr_product(*matrix, B))


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_product_touches_its_rows_only(start, stop, K):
    matrix = csr_problem()
    B = np.random.default_rng(1).normal(size=(11, K))
    C = np.zeros((40, K))
    csr.csr_product(*matrix, start, stop, B, C)
    exact = naive.csr_product(*matrix, B)
    assert_close(C[start:stop], exact[start:stop])
    assert not C[:start].any()
    assert not C[stop:].any()


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_product_with_rows_that_begin_further_on(start, stop, K):
    """A part of ``indptr`` stands for those rows alone, whose entries stay where they are."""
    data, indices, indptr = csr_problem()
    B = np.random.default_rng(1).normal(size=(11, K))
    C = np.ones((stop - start, K))
    csr.csr_product(data, indices, indptr[start : stop + 1], 0, stop - start, B, C)
    exact = naive.csr_product(data, indices, indptr, B)[start:stop]
    assert_close(C - 1, exact)


@pytest.mark.parametrize("K", [1, 2, 3])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
@pytest.mark.parametrize(("start", "stop"), [(0, 20), (3, 17), (9, 10), (10, 13)])
def test_csr_products_of_rows_of_every_length(start, stop, data_type, index_type, K):
    """On and beside the unrolled 4, in the midst of others; added to what is there."""
    rng = np.random.default_rng(2)
    lengths = np.concatenate([np.arange(10), np.arange(10)[::-1]])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index_type)
    indices = rng.integers(0, 11, indptr[-1]).astype(index_type)
    data = rng.normal(size=indices.size).astype(data_type)
    matrix = [read_only(array) for array in (data, indices, indptr)]
    center, B, before = rng.normal(size=20), rng.normal(size=(11, K)), rng.normal(size=(20, K))
    results = np.array([before, before])
    csr.csr_product(*matrix, start, stop, read_only(B), results[0])
    csr.csr_centred_squares(*matrix, start, stop, read_only(center), read_only(B), results[1])
    exact = naive.csr_product(*matrix, B), naive.csr_centred_squares(*matrix, center, B)
    rows = slice(start, stop)
    for result, product in zip(results, exact, strict=True):
        assert_close((result - before)[rows], product[rows], scale=10)
        result[rows] = before[rows]
        np.testing.assert_array_equal(result, before)


@pytest.mark.parametrize("type_of_B", [np.float64, np.float32])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize(("start", "stop"), [(0, 40), (3, 17)])
def test_csr_products_with_more_numbers_than_the_cache_holds(start, stop, index_type, type_of_B):
    """Their rows are asked for beforehand, up to the last entry of the range."""
    rng = np.random.default_rng(3)
    columns = prefetch.CACHED // 3
    assert 4 * columns > prefetch.CACHED
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 90, 40))]).astype(index_type)
    indices = rng.integers(0, columns, indptr[-1]).astype(index_type)
    data = rng.normal(size=indices.size).astype(type_of_B)
    center, B = rng.normal(size=40), rng.normal(size=(columns, 4)).astype(type_of_B)
    products = np.zeros((2, 40, 4), type_of_B)
    csr.csr_product(data, indices, indptr, start, stop, B, products[0])
    csr.csr_centred_squares(data, indices, indptr, start, stop, center, B, products[1])
    used, numbers = np.unique(indices, return_inverse=True)  # the twin's matrix is dense
    few = data, numbers.astype(index_type), indptr
    exact = naive.csr_product(*few, B[used]), naive.csr_centred_squares(*few, center, B[used])
    eps = np.finfo(type_of_B).eps
    for result, product in zip(products, exact, strict=True):
        rows = slice(start, stop)
        np.testing.assert_allclose(result[rows], product[rows], rtol=0, atol=2000 * eps)
        assert not result[:start].any()
        assert not result[stop:].any()


@pytest.mark.parametrize("K", [1, 2])
def test_csr_products_with_no_entries_at_all(K):
    nothing = np.empty(0), np.empty(0, dtype=np.int32), np.zeros(4, dtype=np.int32)
    matrix = [read_only(array) for array in nothing]
    C = np.ones((3, K))
    csr.csr_product(*matrix, 0, 3, np.ones((5, K)), C)
    csr.csr_centred_squares(*matrix, 0, 3, np.ones(3), np.ones((5, K)), C)
    np.testing.assert_array_equal(C, 1.0)


@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_csr_products_let_bad_entries_travel(bad, K):
    matrix, row = with_one_bad_value(csr_problem(), bad)
    C = np.zeros((2, 40, K))
    csr.csr_product(*matrix, 0, 40, np.ones((11, K)), C[0])
    csr.csr_centred_squares(*matrix, 0, 40, np.ones(40), np.ones((11, K)), C[1])
    assert not np.isfinite(C[:, row]).any()
    assert np.isfinite(np.delete(C, row, axis=1)).all()


@pytest.mark.parametrize("K", [1, 2])
def test_csr_product_with_bad_weights_is_bad_where_they_are_used(K):
    """And nowhere else: entries that are not stored are no products with 0."""
    data, indices, indptr = csr_problem()
    B, C = np.ones((11, K)), np.zeros((40, K))
    B[4, K - 1] = np.nan
    csr.csr_product(data, indices, indptr, 0, 40, B, C)
    uses = [4 in indices[first:last] for first, last in pairwise(indptr)]
    assert 0 < sum(uses) < 40
    np.testing.assert_array_equal(np.isnan(C[:, K - 1]), uses)


@pytest.mark.parametrize("K", [1, 2])
def test_csr_products_of_extremes(K):
    """Squares may go beyond what a float holds; nothing else does, and nothing is lost."""
    data = read_only(np.array([1e308, 5e-324, -1e308, 1e-160]))
    indices, indptr = np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3, 4])
    C = np.zeros((4, K))
    csr.csr_product(data, indices, indptr, 0, 4, np.ones((2, K)), C)
    np.testing.assert_array_equal(C, np.tile(data[:, None], K))
    C[:] = 0.0
    csr.csr_centred_squares(data, indices, indptr, 0, 4, np.zeros(4), np.ones((2, K)), C)
    np.testing.assert_array_equal(C, np.tile(data[:, None] ** 2, K))


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("data_type", [np.float64, np.float32])
def test_csr_centred_squares(data_type, index_type, K):
    matrix = csr_problem(data_type, index_type)
    rng = np.random.default_rng(1)
    center = read_only(rng.normal(scale=3.0, size=40))
    B, C = rng.normal(size=(11, K)), rng.normal(size=(40, K))
    result = C.copy()
    csr.csr_centred_squares(*matrix, 0, 40, center, B, result)
    assert_close(result - C, naive.csr_centred_squares(*matrix, center, B), scale=10)


@pytest.mark.parametrize("K", [1, 3])
@over_ranges
def test_csr_centred_squares_touch_their_rows_only(start, stop, K):
    matrix = csr_problem()
    rng = np.random.default_rng(1)
    center, B, C = rng.normal(size=40), rng.normal(size=(11, K)), np.zeros((40, K))
    csr.csr_centred_squares(*matrix, start, stop, center, B, C)
    exact = naive.csr_centred_squares(*matrix, center, B)
    assert_close(C[start:stop], exact[start:stop], scale=10)
    assert not C[:start].any()
    assert not C[stop:].any()


@pytest.mark.parametrize("K", [1, 3])
def test_csr_centred_squares_are_squares_of_centred_entries(K):
    """With the entries that are not stored, which add center_j^2 each."""
    data, indices, indptr = ascending_csr()
    rng = np.random.default_rng(1)
    center, B = rng.normal(size=40), rng.uniform(size=(11, K))
    C = center[:, None] ** 2 * B.sum(axis=0)
    csr.csr_centred_squares(data, indices, indptr, 0, 40, center, B, C)
    entries = naive.csr_product(data, indices, indptr, np.eye(11))
    assert_close(C, (entries - center[:, None]) ** 2 @ B, scale=10)
