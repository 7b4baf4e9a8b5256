"""Designs: sweeps over X in any storage are the twin's, in any number of parts and threads."""

import tracemalloc

import naive
import numpy as np
import pytest
from problems import DENSE, STORAGE, CountingWorkers, half_empty, over
from scipy import sparse

from sk_softmax._design import chunks, csr, dense, single
from sk_softmax._design.csr import CSRDesign
from sk_softmax._design.dense import DenseDesign
from sk_softmax._design.make import make_design
from sk_softmax._design.single import SingleDesign
from sk_softmax._design.target import Target
from sk_softmax._threads import Workers

CLASSES = 4


def softmax_target(y, s):
    return Target(y, s, np.arange(CLASSES))


def ova_target(y, s):
    """Three of the four one-vs-all problems, not in order."""
    columns = np.array([2, 0, 3])
    return Target(y, s, columns, np.array([0.5, 2.0, 1.0]), np.array([1.5, 1.0, 0.25]))


TARGETS = {"softmax": softmax_target, "one-vs-all": ova_target}


def rows_of(n, p, seed=0):
    """X, y, s; one row and one column of X are empty where there are several."""
    rng = np.random.default_rng(seed)
    X = half_empty(n, p, seed)
    if n > 2 and p > 2:
        X[n // 2] = 0.0
        X[:, 1] = 0.0
    return X, rng.integers(CLASSES, size=n), rng.uniform(0, 2, n)


def weights_for(target, p, seed=1):
    rng = np.random.default_rng(seed)
    K = target.columns.size
    return rng.normal(size=(K, p)), rng.normal(size=K)


def twin_sweep(X, target, W, b):
    """Loss, G and g; X a float64 array."""
    if target.softmax:
        loss, G, g = naive.dense_softmax(X, target.y, target.s, W, b)
        return np.array([loss]), G, g
    sides = target.columns, target.positive, target.negative
    return naive.dense_sigmoid(X, target.y, target.s, *sides, W, b)


def assert_sums(results, exact, scale):
    """Equal up to the rounding of sums of terms that add up to about ``scale``."""
    for result, twin in zip(results, exact, strict=True):
        twin = twin.astype(np.float64)
        assert result.shape == twin.shape
        np.testing.assert_allclose(result, twin, rtol=1e-13, atol=1e-14 * scale)


@pytest.fixture
def many_chunks(monkeypatch):
    """As many chunks as there may be, and threads whenever there are several."""
    monkeypatch.setattr(chunks, "CHUNK_WORK", 1)
    monkeypatch.setattr(chunks, "ENTRY_WORK", 0)
    monkeypatch.setattr(chunks, "WORTH", 0)


# ---- sweeps ---------------------------------------------------------------------------------


@over("store", STORAGE)
@over("make_target", TARGETS)
@pytest.mark.parametrize(("n", "p"), [(1, 1), (7, 3), (70, 5)])
def test_sweep_equals_the_twin(store, make_target, n, p):
    X, y, s = rows_of(n, p)
    target = make_target(y, s)
    W, b = weights_for(target, p)
    sweep = make_design(store(X)).sweep(target, W, b, Workers(1))
    assert_sums(sweep, twin_sweep(X, target, W, b), scale=n)


@over("store", STORAGE)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_sweep_with_a_single_output_equals_the_twin(store, more, monkeypatch):
    """On both sides of where dense rows are no longer turned, in place and by three in scratch."""
    p = dense.UNTURNED + more
    X, y, s = rows_of(70, p)
    target = ova_target(y, s).take_outputs(np.array([1]))
    W, b = weights_for(target, p)
    design = make_design(store(X))
    assert_sums(design.sweep(target, W, b, Workers(1)), twin_sweep(X, target, W, b), scale=70)
    monkeypatch.setattr(dense, "BLOCK_BYTES", 8 * p * 3)
    design = make_design(store(X))
    assert_sums(design.sweep(target, W, b, Workers(1)), twin_sweep(X, target, W, b), scale=70)


@over("store", STORAGE)
@over("make_target", TARGETS)
@pytest.mark.parametrize(("more", "cached"), [(-1, 2**15), (0, 2**15), (1, 2**15), (1, 256)])
def test_sweep_over_many_features_equals_the_twin(store, make_target, more, cached, monkeypatch):
    """On both sides of where rows are no longer turned, and of where all outputs are cached."""
    monkeypatch.setattr(dense, "CACHED", cached)
    p = dense.WIDE + more
    X, y, s = rows_of(70, p)
    target = make_target(y, s)
    W, b = weights_for(target, p)
    results = [
        make_design(store(X)).sweep(target, W, b, Workers(n_threads)) for n_threads in (1, 2)
    ]
    assert_sums(results[0], twin_sweep(X, target, W, b), scale=70)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@over("store", STORAGE)
@over("make_target", TARGETS)
def test_sweep_in_many_chunks_equals_the_twin(store, make_target, many_chunks):
    X, y, s = rows_of(70, 5)
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    workers = CountingWorkers()
    sweep = make_design(store(X)).sweep(target, W, b, workers)
    assert workers.parts[0] == chunks.CHUNKS
    assert_sums(sweep, twin_sweep(X, target, W, b), scale=70)


@over("store", STORAGE)
@over("make_target", TARGETS)
def test_the_number_of_threads_changes_no_bit(store, make_target, many_chunks):
    X, y, s = rows_of(70, 5)
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    design = make_design(store(X))
    alone = design.sweep(target, W, b, Workers(1))
    for n_threads in (2, 3):
        with Workers(n_threads) as workers:
            for _ in range(3):
                together = design.sweep(target, W, b, workers)
                for one, other in zip(alone, together, strict=True):
                    np.testing.assert_array_equal(one, other)


@over("store", {name: DENSE[name] for name in ("F", "strided", "float32 F")})
def test_blocks_in_scratch_equal_the_twin(store, monkeypatch):
    """Rows that kernels cannot read where they are, some at a time."""
    X, y, s = rows_of(70, 5)
    monkeypatch.setattr(dense, "BLOCK_BYTES", 8 * 5 * 3)  # three rows
    design = make_design(store(X))
    taken = []
    for (rows, block, first), start in zip(
        design._blocks(slice(10, 20)), (10, 13, 16, 19), strict=True
    ):
        assert (rows.start, rows.stop, first) == (start, min(start + 3, 20), 0)
        assert block.flags.c_contiguous
        assert block.dtype == np.float64
        assert not block.flags.writeable
        taken.append(block[: rows.stop - rows.start].copy())
    np.testing.assert_array_equal(np.vstack(taken), X[10:20])
    target = softmax_target(y, s)
    W, b = weights_for(target, 5)
    assert_sums(design.sweep(target, W, b, Workers(1)), twin_sweep(X, target, W, b), scale=70)


def test_chunks_are_few_where_their_gradients_are_large(monkeypatch, many_chunks):
    X, y, s = rows_of(70, 5)
    target = softmax_target(y, s)
    W, b = weights_for(target, 5)
    for buffers in (0, 1, 3):
        monkeypatch.setattr(chunks, "BUFFER_BYTES", buffers * dense.in_tiles(W, b).nbytes)
        workers = CountingWorkers()
        sweep = DenseDesign(X).sweep(target, W, b, workers)
        assert workers.parts == ([buffers] if buffers > 1 else [])  # one part is no work to share
        assert_sums(sweep, twin_sweep(X, target, W, b), scale=70)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 100])
@pytest.mark.parametrize("count", [0, 1, 3, 16])
def test_chunks_cover_all_rows_once(n, count):
    parts = []
    work = count * chunks.CHUNK_WORK
    chunks.cut(Workers(1), lambda chunk: parts.append(chunk) or (), n, work)
    assert len(parts) == max(1, min(count, n))
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[c] for c in parts]), np.arange(n))
    sizes = [c.stop - c.start for c in parts]
    assert max(sizes) - min(sizes) <= 1


def test_balanced_chunks_have_about_equal_numbers_of_entries():
    rng = np.random.default_rng(0)
    lengths = rng.geometric(0.05, size=400)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    parts = chunks.balanced_chunks(indptr, 8)
    covered = np.concatenate([np.arange(400)[c] for c in parts])
    np.testing.assert_array_equal(covered, np.arange(400))
    entries = [indptr[c.stop] - indptr[c.start] for c in parts]
    assert max(entries) <= indptr[-1] / 8 + lengths.max()


@over("make_target", TARGETS)
def test_a_sparse_design_without_entries(make_target, many_chunks):
    _, y, s = rows_of(20, 5)
    X = np.zeros((20, 5))
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    sweep = CSRDesign(sparse.csr_matrix(X)).sweep(target, W, b, Workers(1))
    assert_sums(sweep, twin_sweep(X, target, W, b), scale=20)


def test_nan_in_x_is_seen_in_the_loss():
    X, y, s = rows_of(20, 5)
    X[7, 3] = np.nan
    target = softmax_target(y, s)
    W, b = weights_for(target, 5)
    for store in (np.ascontiguousarray, np.asfortranarray, sparse.csr_matrix):
        loss, G, _ = make_design(store(X)).sweep(target, W, b, Workers(1))
        assert np.isnan(loss).all()
        assert np.isnan(G[:, 3]).all()


# ---- sweeps in single precision -------------------------------------------------------------


def single_sweeps(X, target, W, b, *, n_threads=1, steady=True):
    """Loss, G and g in single precision, with the weighted mean of the features as center."""
    center = np.average(np.asarray(X, dtype=np.float64), axis=0)
    return SingleDesign(X, center, steady).sweep(target, W, b, Workers(n_threads))


def assert_seven_digits(results, exact, scale):
    for result, twin in zip(results, exact, strict=True):
        assert result.dtype == np.float64
        assert result.shape == twin.shape
        np.testing.assert_allclose(result, twin.astype(np.float64), atol=3e-6 * scale)


@over("store", DENSE)
@over("make_target", TARGETS)
@pytest.mark.parametrize(
    ("p", "by_blas"),
    [(1, 2**16), (5, 2**16), (dense.WIDE - 1, 2**16), (dense.WIDE, 2**16), (5, 0), (40, 0)],
)
def test_sweep_in_single_precision_has_seven_digits(store, make_target, p, by_blas, monkeypatch):
    """By tiles, turned and not, and by BLAS."""
    monkeypatch.setattr(single, "BY_BLAS", by_blas)
    monkeypatch.setattr(single, "PRODUCT_ROWS", 16)
    X, y, s = rows_of(70, p)
    target = make_target(y, s)
    W, b = weights_for(target, p)
    W /= np.sqrt(p)
    results = [single_sweeps(store(X), target, W, b, n_threads=threads) for threads in (1, 2)]
    assert_seven_digits(results[0], twin_sweep(X, target, W, b), scale=70)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@over("make_target", TARGETS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("p", "by_blas"), [(5, 2**16), (dense.WIDE, 2**16), (5, 0)])
def test_features_far_from_0_keep_their_digits_in_single_precision(
    p, by_blas, dtype, make_target, monkeypatch
):
    """Logits are of what features differ by, of which X in single precision has three digits."""
    monkeypatch.setattr(single, "BY_BLAS", by_blas)
    X, y, s = rows_of(70, p)
    X = (X + 1e4).astype(dtype)
    target = make_target(y, s)
    W, b = weights_for(target, p)
    W /= np.sqrt(p)
    b -= W.sum(axis=1) * 1e4
    exact = twin_sweep(X.astype(np.float64), target, W, b)
    assert_seven_digits(single_sweeps(X, target, W, b), exact, scale=70e4)
    moved = exact[1] - np.outer(exact[2], np.full(p, 1e4))
    loss, G, g = single_sweeps(X, target, W, b)
    assert_seven_digits(
        (loss, G - np.outer(g, np.full(p, 1e4)), g), (exact[0], moved, exact[2]), 70
    )


@over("make_target", TARGETS)
@pytest.mark.parametrize(("p", "by_blas"), [(dense.WIDE, 2**16), (5, 0)])
def test_sums_over_features_far_from_0_keep_their_digits_too(p, by_blas, make_target, monkeypatch):
    """Where coefficients are 0 no logit shows how far away the features are."""
    monkeypatch.setattr(single, "BY_BLAS", by_blas)
    X, y, s = rows_of(70, p)
    X = (X + 1e4).astype(np.float32)
    target = make_target(y, s)
    W, b = np.zeros((target.columns.size, p)), np.zeros(target.columns.size)
    _, G, g = twin_sweep(X.astype(np.float64), target, W, b)
    spread = G - np.outer(g, np.full(p, 1e4))
    errors = []
    for steady in (False, True):
        _, G, g = single_sweeps(X, target, W, b, steady=steady)
        moved = G - np.outer(g, np.full(p, 1e4))
        errors.append(np.abs(moved - spread.astype(np.float64)).max())
    assert errors[0] <= 3e-6 * 70 < errors[1]


@over("make_target", TARGETS)
@pytest.mark.parametrize("by_blas", [0, 2**16])
@pytest.mark.parametrize("unit", [1e40, 1e-40, 1e150])
def test_what_is_out_of_range_is_swept_in_double_precision(unit, by_blas, make_target, monkeypatch):
    """Features or coefficients."""
    monkeypatch.setattr(single, "BY_BLAS", by_blas)
    X, y, s = rows_of(70, 5)
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    X, W = X * unit, W / unit
    expected = DenseDesign(X).sweep(target, W, b, Workers(1))
    for result, exact in zip(single_sweeps(X, target, W, b), expected, strict=True):
        np.testing.assert_array_equal(result, exact)


def test_a_single_output_is_swept_in_double_precision():
    X, y, s = rows_of(70, 5)
    target = ova_target(y, s).take_outputs(np.array([1]))
    W, b = weights_for(target, 5)
    expected = DenseDesign(X).sweep(target, W, b, Workers(1))
    for result, exact in zip(single_sweeps(X, target, W, b), expected, strict=True):
        np.testing.assert_array_equal(result, exact)


# ---- sums and blocks ------------------------------------------------------------------------


def assert_class_sums_and_moments(store):
    X, y, s = rows_of(70, 5)
    design = make_design(store(X))
    sums = [(s * (y == k)) @ X for k in range(CLASSES + 1)]  # no row of the last class
    np.testing.assert_allclose(design.class_sums(y, s, CLASSES + 1), sums, rtol=1e-13, atol=1e-13)
    first, second = design.moments(s)
    np.testing.assert_allclose(first, s @ X, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(second, s @ X**2, rtol=1e-13)


@over("store", STORAGE)
def test_class_sums_and_moments(store):
    assert_class_sums_and_moments(store)


@over("store", DENSE)
def test_class_sums_and_moments_by_blocks(store, monkeypatch):
    monkeypatch.setattr(dense, "BLOCK_BYTES", 8 * 5 * 3)
    design = make_design(store(half_empty(70, 5)))
    assert len(list(design.native_blocks())) == 24
    assert_class_sums_and_moments(store)


@over("store", STORAGE)
@pytest.mark.parametrize("size", [1, 32, 70, 1000])
@pytest.mark.parametrize("chosen", [slice(0, 70), slice(3, 66), [], [3], [69, 0, 5, 5, 31]])
def test_row_blocks_are_dense_float64_with_their_numbers(store, size, chosen):
    X, _, _ = rows_of(70, 5)
    rows = chosen if isinstance(chosen, slice) else np.array(chosen, dtype=int)
    blocks = list(make_design(store(X)).row_blocks(rows, size))
    wanted = np.arange(70)[rows]
    assert len(blocks) == -(-wanted.size // size)
    numbers = np.concatenate([np.arange(70)[block] for block, _ in blocks] or [wanted])
    np.testing.assert_array_equal(numbers, wanted)
    for block, array in blocks:
        assert type(array) is np.ndarray
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, X[block])


@over("store", STORAGE)
def test_native_blocks_multiply_as_x(store):
    X, _, _ = rows_of(70, 5)
    B = np.random.default_rng(0).normal(size=(5, 2))
    blocks = list(make_design(store(X)).native_blocks())
    assert np.concatenate([np.arange(70)[rows] for rows, _ in blocks]).tolist() == [*range(70)]
    for rows, block in blocks:
        assert (block @ B).dtype == np.float64
        np.testing.assert_allclose(block @ B, X[rows] @ B, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(block.T @ X[rows], X[rows].T @ X[rows], rtol=1e-13, atol=1e-13)


@over("store", STORAGE)
def test_taken_rows_and_features_sweep_as_such(store):
    X, y, s = rows_of(70, 5)
    rows, features = np.array([3, 3, 68, 0, 41]), np.array([4, 1, 2])
    design = make_design(store(X))
    target = softmax_target(y, s)
    W, b = weights_for(target, 5)
    few = softmax_target(y[rows], s[rows])
    assert_sums(
        design.take_rows(rows).sweep(few, W, b, Workers(1)), twin_sweep(X[rows], few, W, b), 5
    )
    W = np.ascontiguousarray(W[:, features])
    taken = design.take_features(features)
    assert (taken.n, taken.p) == (70, 3)
    assert_sums(taken.sweep(target, W, b, Workers(1)), twin_sweep(X[:, features], target, W, b), 70)


# ---- blocks and tiles -----------------------------------------------------------------------


@pytest.mark.parametrize("q", [0, 1, 3, 63, 64, 65, 256, 257, 5000])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 500, 512, 513, 4096, 100_003])
def test_blocks_of_rows_are_whole_registers_of_about_equal_numbers(n, q):
    rows = chunks.block_rows(q, n)
    assert rows % chunks.LANES == 0
    assert rows % (8 * chunks.LANES) != 0
    most = np.clip(chunks.CACHED // max(q, 1), chunks.FEWEST_ROWS, chunks.MOST_ROWS)
    assert 0 < rows <= most + 2 * chunks.LANES
    share = max(1, -(-n // max(1, -(-n // most))))
    assert share <= rows < share + 2 * chunks.LANES


@pytest.mark.parametrize("K", range(1, 10))
def test_coefficients_are_filled_up_to_tiles(K):
    """With zeros, to a multiple of 4 outputs, unless just one would be left beside tiles."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(K, 3)), rng.normal(size=K)
    V = dense.in_tiles(W, b)
    np.testing.assert_array_equal(V[:K], np.column_stack([W, b]))
    assert len(V) == {1: 1, 2: 4, 3: 4, 4: 4, 5: 5, 6: 8, 7: 8, 8: 8, 9: 9}[K]
    assert not V[K:].any()
    assert V.flags.c_contiguous


# ---- memory ---------------------------------------------------------------------------------


@over("store", {name: DENSE[name] for name in ("C", "read-only")})
def test_dense_rows_are_read_in_place(store):
    X = store(rows_of(70, 5)[0])
    design = DenseDesign(X)
    everything = slice(0, 70)
    for blocks in (design.row_blocks(everything, 32), design.native_blocks()):
        for rows, block in blocks:
            assert np.shares_memory(block, X)
            assert block.base is not None
            np.testing.assert_array_equal(block, X[rows])


@over("store", {name: DENSE[name] for name in ("C", "read-only", "float32")})
@pytest.mark.parametrize(("size", "starts"), [(2**62, [3]), (32, [3, 35, 67])])
def test_kernels_read_rows_where_they_are(store, size, starts):
    """They get all of X, and which rows of it: even a view of some would be made in time."""
    X = store(rows_of(70, 5)[0])
    blocks = list(DenseDesign(X)._blocks(slice(3, 68), size))
    assert [(rows.start, first) for rows, _, first in blocks] == [(at, at) for at in starts]
    assert [rows.stop for rows, _, _ in blocks] == [*starts[1:], 68]
    for _, block, _ in blocks:
        assert np.shares_memory(block, X)
        assert (block.shape, block.dtype) == (X.shape, X.dtype)
        assert not block.flags.writeable


@over("store", {name: DENSE[name] for name in ("float32", "float32 F")})
@over("make_target", TARGETS)
def test_sweeps_of_float32_are_those_of_the_same_numbers_in_float64(store, make_target):
    """To the bit."""
    X, y, s = rows_of(70, 5)
    X = store(np.random.default_rng(1).normal(size=X.shape))
    assert X.dtype == np.float32
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    sweep = make_design(X).sweep(target, W, b, Workers(1))
    wide = make_design(np.ascontiguousarray(X, dtype=np.float64)).sweep(target, W, b, Workers(1))
    for result, exact in zip(sweep, wide, strict=True):
        np.testing.assert_array_equal(result, exact)


@over("store", DENSE)
def test_a_design_leaves_x_as_it_is(store):
    X = store(rows_of(70, 5)[0])
    before, writeable = X.copy(), X.flags.writeable
    _, y, s = rows_of(70, 5)
    target = softmax_target(y, s)
    design = DenseDesign(X)
    design.sweep(target, *weights_for(target, 5), Workers(1))
    design.moments(s)
    np.testing.assert_array_equal(X, before)
    assert X.flags.writeable == writeable
    assert not design.X.flags.writeable


@over("store", {name: DENSE[name] for name in ("C", "F", "float32", "float32 F")})
def test_memory_beside_x_is_small(store):
    X = store(half_empty(4000, 100))
    design = DenseDesign(X)
    target = ova_target(*rows_of(4000, 1)[1:]).take_outputs(np.array([0]))
    W, b = weights_for(target, 100)

    def work():
        design.sweep(target, W, b, Workers(1))
        design.class_sums(target.y, target.s, CLASSES)
        design.moments(target.s)
        for _ in design.row_blocks(slice(0, 4000), 256):
            pass

    DenseDesign(store(half_empty(8, 100))).sweep(
        ova_target(target.y[:8], target.s[:8]).take_outputs(np.array([0])), W, b, Workers(1)
    )  # compiles
    tracemalloc.start()
    try:
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4000 * 100 * 8 / 3


def test_a_sparse_design_shares_the_arrays_of_x():
    X = sparse.csr_matrix(half_empty(70, 5))
    design = make_design(X)
    for ours, theirs in zip(design._forward, (X.data, X.indices, X.indptr), strict=True):
        assert np.shares_memory(ours, theirs)
        assert theirs.flags.writeable
        assert not ours.flags.writeable


def test_a_sparse_design_has_one_entry_a_feature():
    """In order, in a copy: kernels count on it.  One that is so already is not copied."""
    parts = np.arange(1.0, 7.0), np.array([2, 0, 2, 2, 1, 1]), np.array([0, 4, 6])
    X = sparse.csr_matrix(parts, shape=(2, 3))
    design = CSRDesign(X)
    np.testing.assert_array_equal(design.X.indices, [0, 2, 1])
    np.testing.assert_array_equal(design.X.data, [2.0, 8.0, 11.0])
    np.testing.assert_array_equal(X.data, parts[0])
    assert CSRDesign(design.X).X is design.X


@over("make_target", TARGETS)
@pytest.mark.parametrize("rows", [1, 7, 70])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_sparse_design_transposed_by_blocks_of_rows(make_target, rows, threads, monkeypatch):
    """Sweeps, squares and sums are those of X transposed as a whole."""
    X, y, s = half_empty(70, 5), *rows_of(70, 5)[1:]
    X[:, 2] = 0.0
    target = make_target(y, s)
    W, b = weights_for(target, 5)
    D, center = np.abs(np.random.default_rng(3).normal(size=(70, W.shape[0]))), np.arange(5.0)

    def found():
        design, workers = CSRDesign(sparse.csr_matrix(X)), Workers(threads)
        sums = design.class_sums(y, s, CLASSES)
        squares = design.squares(D, center, workers)
        return design, (*design.sweep(target, W, b, workers), sums, squares)

    whole, expected = found()
    assert len(whole.blocks) == 1
    assert whole.columns is whole.blocks[0][1]
    monkeypatch.setattr(csr, "BLOCK_ROWS", rows)
    monkeypatch.setattr(csr, "ENTRIES_A_FEATURE", 0)
    design, results = found()
    assert len(design.blocks) == 70 // rows
    assert [design.blocks[0][0].start, design.blocks[-1][0].stop] == [0, 70]
    for result, one in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, one, rtol=1e-12, atol=1e-12)
    for array, one in zip(design.columns, whole.columns, strict=True):
        np.testing.assert_array_equal(array, one)
    np.testing.assert_array_equal(design.entries, (X != 0).sum(axis=0))


def test_blocks_of_rows_have_some_entries_a_feature(monkeypatch):
    monkeypatch.setattr(csr, "BLOCK_ROWS", 1)
    X = sparse.random(200, 30, density=0.1, format="csr", random_state=0)
    blocks = CSRDesign(X).blocks
    assert len(blocks) == X.nnz // 240  # eight a feature
    assert len(CSRDesign(X[:2]).blocks) == 1
    assert len(CSRDesign(sparse.csr_matrix((9, 0))).blocks) == 9
    assert len(CSRDesign(sparse.csr_matrix((9, 4))).blocks) >= 1
