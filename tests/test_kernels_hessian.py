"""Hessians over dense rows, against their twins in `naive`."""

import naive
import numpy as np
import pytest
from kernel_cases import (
    assert_close,
    derivative,
    overflow_is_no_accident,
    read_only,
    with_one_bad_entry,
)

from sk_softmax._kernels import dense, hessian

pytestmark = overflow_is_no_accident


def hessian_problem(n, p, intercept, K, problems=1, seed=0):
    """X, center, weight (problems, n), W (K, q) in the centred coordinates; read-only."""
    rng = np.random.default_rng(seed)
    center = rng.normal(scale=3.0, size=p)
    X, W = center + rng.normal(size=(n, p)), rng.normal(size=(K, p + intercept))
    return [read_only(array) for array in (X, center, rng.uniform(0, 2, (problems, n)), W)]


# (p, intercept, block): on and beside multiples of 4 and 16; blocks of whole vector registers
DENSE_HESSIANS = (
    (1, False, 8),
    (1, True, 8),
    (0, True, 8),
    (3, True, 8),
    (4, True, 16),
    (7, False, 8),
    (16, False, 8),
    (16, True, 16),
)
over_dense_hessians = pytest.mark.parametrize(("p", "intercept", "block"), DENSE_HESSIANS)
BY_BLOCK = ((1, 0), (1, -1), (1, 1), (2, 0), (2, 3))  # rows: so many blocks and so many more


@over_dense_hessians
@pytest.mark.parametrize(("blocks", "more"), [(0, 1), *BY_BLOCK])
def test_dense_gram(p, intercept, block, blocks, more):
    n = blocks * block + more
    X, center, weight, _ = hessian_problem(n, p, intercept, 1)
    q = p + intercept
    before = np.random.default_rng(1).normal(size=(q, q))
    H = before.copy()
    hessian.dense_gram(X, center, weight[0], block, H)
    exact = naive.weighted_gram(naive.centred_columns(X, 0, n, center, q, n), weight[0])
    upper = np.triu_indices(q)
    assert_close((H - before)[upper], exact[upper], scale=n)


@pytest.mark.parametrize("row", [0, 7, 8, 17])
def test_dense_gram_does_not_hide_bad_data(row):
    X, center, weight, _ = hessian_problem(18, 3, True, 1)
    H = np.zeros((4, 4))
    hessian.dense_gram(with_one_bad_entry(X, row, np.nan), center, weight[0], 8, H)
    bad = np.zeros((4, 4), dtype=bool)
    bad[1] = bad[:, 1] = True
    upper = np.triu_indices(4)
    np.testing.assert_array_equal(np.isnan(H[upper]), bad[upper])


def test_dense_hessians_of_no_rows():
    X, center, weight, W = hessian_problem(0, 3, True, 2)
    H = np.ones((3, 4, 4))
    hessian.dense_gram(X, center, weight[0], 8, H[0])
    hessian.dense_hessian(X, center, weight, W, True, False, 8, H)
    np.testing.assert_array_equal(H, 1.0)


# softmax, by class, problems with weights of their own
HESSIAN_KINDS = {
    "softmax": (True, False, False),
    "softmax by class": (True, True, False),
    "one-vs-all": (False, False, False),
    "one-vs-all with sides": (False, False, True),
    "one-vs-all by class": (False, True, True),
}
over_kinds = pytest.mark.parametrize("kind", HESSIAN_KINDS)


def run_dense_hessian(X, center, weight, W, kind, block=8, before=0.0):
    softmax, by_class, _ = HESSIAN_KINDS[kind]
    K, q = W.shape
    H = np.empty((K * (K + 1) // 2 if softmax and not by_class else K, q, q))
    H[:] = before
    hessian.dense_hessian(X, center, weight, W, softmax, by_class, block, H)
    return H


@over_kinds
@over_dense_hessians
@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_dense_hessian(kind, p, intercept, block, K):
    softmax, by_class, sides = HESSIAN_KINDS[kind]
    for blocks, more in ((0, 1), *BY_BLOCK):
        n = blocks * block + more
        X, center, weight, W = hessian_problem(n, p, intercept, K, K if sides else 1)
        H = run_dense_hessian(X, center, weight, W, kind, block, before=1.0) - 1.0
        exact = naive.dense_hessian(X, center, weight, W, softmax, by_class)
        j, r = np.triu_indices(W.shape[1])
        assert H.shape == exact.shape
        assert_close(H[:, j, r], exact[:, j, r], scale=n)


@pytest.mark.parametrize("q", range(1, 18))
@pytest.mark.parametrize("K", range(1, 10))
def test_dense_hessian_of_every_shape(K, q):
    """On and beside tiles of 4, over a block and a row."""
    X, center, weight, W = hessian_problem(9, q - 1, True, K)
    j, r = np.triu_indices(q)
    for kind in ("softmax", "one-vs-all"):
        H = run_dense_hessian(X, center, weight, W, kind)
        exact = naive.dense_hessian(X, center, weight, W, kind == "softmax", False)
        assert_close(H[:, j, r], exact[:, j, r], scale=9)


@over_kinds
def test_rows_of_weight_0_add_nothing(kind):
    _, _, sides = HESSIAN_KINDS[kind]
    X, center, weight, W = hessian_problem(19, 4, True, 3, 3 if sides else 1)
    weight = weight.copy()
    weight[:, ::3] = 0.0
    kept = weight[0] > 0
    few = read_only(X[kept]), center, read_only(np.ascontiguousarray(weight[:, kept])), W
    H, of_few = (run_dense_hessian(*rows, kind) for rows in ((X, center, weight, W), few))
    j, r = np.triu_indices(5)
    assert_close(H[:, j, r], of_few[:, j, r], scale=19)
    weight[:] = 0.0
    assert not run_dense_hessian(X, center, weight, W, kind)[:, j, r].any()


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
def test_dense_hessian_by_class_is_a_part_of_the_whole(kind):
    """Bit for bit."""
    problem = hessian_problem(19, 5, True, 4)
    whole, parts = (
        run_dense_hessian(*problem, kind),
        run_dense_hessian(*problem, kind + " by class"),
    )
    own = [k == other for k, other in naive.pairs(4)] if kind == "softmax" else slice(None)
    np.testing.assert_array_equal(parts, whole[own])


@over_kinds
def test_dense_hessian_in_other_blocks_is_the_same(kind):
    problem = hessian_problem(37, 5, True, 3)
    results = [run_dense_hessian(*problem, kind, block) for block in (8, 16, 40)]
    assert_close(results[1], results[0], scale=37)
    assert_close(results[2], results[0], scale=37)


@over_kinds
def test_dense_hessian_of_sure_rows_is_0(kind):
    """Beyond what an exponential, or a float, can show."""
    X, center, weight, W = hessian_problem(9, 3, True, 3)
    for scale in (1e6, 1e150, 1e306):
        assert not run_dense_hessian(X, center, weight, W * scale, kind).any()


@over_kinds
@pytest.mark.parametrize("row", [0, 7, 8, 18])
def test_dense_hessian_does_not_hide_bad_data(kind, row):
    X, center, weight, W = hessian_problem(19, 4, True, 2)
    H = run_dense_hessian(with_one_bad_entry(X, row, np.nan), center, weight, W, kind)
    j, r = np.triu_indices(5)
    assert np.isnan(H[:, j, r]).all()


@pytest.mark.parametrize("kind", ["one-vs-all", "one-vs-all with sides"])
def test_a_bad_weight_is_of_its_problem_only(kind):
    X, center, weight, W = hessian_problem(19, 4, True, 3, HESSIAN_KINDS[kind][2] * 2 + 1)
    weight = weight.copy()
    weight[-1, 11] = np.nan
    H = run_dense_hessian(X, center, weight, W, kind)
    j, r = np.triu_indices(5)
    bad = np.isnan(H[:, j, r])
    assert (bad.all(axis=1) == bad.any(axis=1)).all()
    np.testing.assert_array_equal(bad.any(axis=1), [len(weight) == 1] * 2 + [True])


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("K", [1, 2, 3, 5])
@pytest.mark.parametrize("q", [1, 2, 3, 7])
def test_assemble(q, K, coupled):
    """From upper triangles: what is below them is not read."""
    pairs = K * (K + 1) // 2 if coupled else K
    grams = np.random.default_rng(0).normal(size=(pairs, q, q))
    grams[0, 0, q - 1] = np.inf
    grams[:, *np.tril_indices(q, -1)] = np.nan
    H = np.full((1, K * q, K * q) if coupled else (K, q, q), np.nan)
    hessian.assemble(read_only(grams), coupled, H)
    np.testing.assert_array_equal(H, naive.assemble(grams, coupled))
    np.testing.assert_array_equal(H, H.swapaxes(1, 2))


def whole_hessian(problem, kind):
    """Assembled, as (K, q, K, q)."""
    K, q = problem[-1].shape
    coupled = kind == "softmax"
    H = np.empty((1, K * q, K * q) if coupled else (K, q, q))
    hessian.assemble(run_dense_hessian(*problem, kind), coupled, H)
    if coupled:
        return H.reshape(K, q, K, q)
    result = np.zeros((K, q, K, q))
    result[np.arange(K), :, np.arange(K)] = H
    return result


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("p", [1, 4, 7])
def test_hessians_times_directions_are_products_by_rows(kind, p):
    """What `dense_curvature_product` makes without a Hessian."""
    K, n = 3, 21
    X, center, weight, W = problem = hessian_problem(n, p, True, K)
    A = naive.centred_columns(X, 0, n, center, p + 1, n)
    state = np.empty((n, K))
    state[:] = (naive.wide(W) @ A).T
    if kind == "softmax":
        state = naive.softmax(state)
    else:
        P = naive.sigmoid(state)
        state = weight.T * P * (1 - P)
    V = np.random.default_rng(1).normal(size=(K, p + 1))
    G = np.zeros_like(V)
    softmax = kind == "softmax"
    rows = X, 0, center, state.astype(np.float64), weight[0], softmax
    dense.dense_curvature_product(*rows, read_only(V), 8, G)
    product = np.einsum("kjlr,lr->kj", whole_hessian(problem, kind), V)
    assert_close(product, G, scale=10 * n)


@pytest.mark.parametrize("kind", ["softmax", "one-vs-all"])
def test_hessians_are_differences_of_gradients(kind):
    n, p, K = 21, 3, 3
    X, center, weight, W = problem = hessian_problem(n, p, True, K)
    X = read_only(X - center)
    y = np.random.default_rng(2).integers(K, size=n)
    sides = np.arange(K), np.ones(K), np.ones(K)

    def gradient(point):
        G = np.zeros_like(point)
        if kind == "softmax":
            dense.dense_softmax(X, 0, np.zeros(p), y, weight[0], read_only(point), K, 8, G)
        else:
            dense.dense_sigmoid(
                X, 0, np.zeros(p), y, weight[0], *sides, read_only(point), 8, G, np.zeros(K)
            )
        return G

    H = whole_hessian(problem, kind)
    for at in np.ndindex(W.shape):
        np.testing.assert_allclose(H[at], derivative(gradient, W, at), atol=1e-7)


def test_hessians_of_softmax_do_not_see_a_shift_of_all_classes():
    H = whole_hessian(hessian_problem(21, 4, True, 3), "softmax")
    np.testing.assert_allclose(H.sum(axis=2), 0.0, atol=1e-13)


# ---- on some coordinates --------------------------------------------------------------------


def run_support_hessian(X, center, weight, W, softmax, support, block=8, before=0.0):
    """The Hessians of all problems on a mask (K, q), and their numbers of coordinates."""
    outputs, features = np.nonzero(support)
    first = np.searchsorted(outputs, np.arange(len(W) + 1))
    sizes = [outputs.size] if softmax else np.diff(first).tolist()
    H = np.full((len(sizes), max(sizes), max(sizes)), before)
    hessian.dense_support_hessian(X, center, weight, W, softmax, features, first, block, H)
    return H, sizes


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("sides", [False, True])
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize(("K", "p"), [(1, 3), (2, 9), (3, 4), (5, 8), (6, 17)])
def test_dense_support_hessian(K, p, softmax, sides, share):
    """A part of the whole one; outputs without a coordinate are no problem."""
    if softmax and sides:
        pytest.skip("softmax has one weight a row")
    for n in (1, 7, 8, 21):
        problem = hessian_problem(n, p, True, K, K if sides else 1)
        support = np.random.default_rng(n).random((K, p + 1)) < share
        support[K // 2] = False if share < 1 and K > 1 else support[K // 2]
        support[0, 0] = True
        H, sizes = run_support_hessian(*problem, softmax, support, before=1.0)
        blocks = naive.dense_hessian(*problem, softmax, False)
        whole = naive.assemble(np.array(blocks), softmax)
        masks = support.reshape(1, -1) if softmax else support
        for number, (mask, size) in enumerate(zip(masks, sizes, strict=True)):
            upper = np.triu_indices(size)
            exact = whole[number][np.ix_(mask, mask)]
            assert_close(H[number, :size, :size][upper] - 1.0, exact[upper], scale=n)
            np.testing.assert_array_equal(H[number, size:], 1.0)


@pytest.mark.parametrize("softmax", [True, False])
def test_dense_support_hessian_in_single_precision(softmax):
    """The type of the point is that of the arithmetic; what comes of it is added in double."""
    X, center, weight, W = hessian_problem(100, 9, True, 3)
    support = np.random.default_rng(0).random((3, 10)) < 0.6
    parts = X, center, weight, W, softmax, support
    exact, _ = run_support_hessian(*parts)
    H, _ = run_support_hessian(X, center, weight, W.astype(np.float32), softmax, support)
    assert H.dtype == np.float64
    assert 0 < np.abs(H - exact).max() <= 1e-5 * np.abs(exact).max()


@pytest.mark.parametrize("softmax", [True, False])
def test_dense_support_hessian_of_sure_rows_is_0(softmax):
    X, center, weight, W = hessian_problem(9, 3, True, 3)
    for scale in (1e6, 1e150, 1e306):
        H, _ = run_support_hessian(X, center, weight, W * scale, softmax, np.ones((3, 4), bool))
        assert not H.any()


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("row", [0, 7, 8, 18])
def test_dense_support_hessian_does_not_hide_bad_data(softmax, row):
    X, center, weight, W = hessian_problem(19, 4, True, 2)
    X = with_one_bad_entry(X, row, np.nan)
    H, _ = run_support_hessian(X, center, weight, W, softmax, np.ones((2, 5), dtype=bool))
    j, r = np.triu_indices(H.shape[1])
    assert np.isnan(H[:, j, r]).all()
