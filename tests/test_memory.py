"""What fits take beside X, as NumPy tells tracemalloc; kernels' own scratch is not seen."""

import tracemalloc
import weakref

import numpy as np
import pytest
from kernel_cases import needs_jit
from scipy import sparse
from scipy.optimize import minimize

from sk_softmax import SoftmaxClassifier
from sk_softmax._solvers import samples

pytestmark = needs_jit  # plain Python takes hours over so many rows

LIMIT = 2**26  # bytes beside X, whatever its size
COPIES = 8  # of the coefficients, on top
NUMBERS_A_ROW = 10  # labels, weights, distances, chances to be drawn, and what they are made from
N_CLASSES = 5


class Square:
    """A function that can be asked whether it is still held."""

    def __call__(self, x):
        return x @ x, 2 * x


def minimize_holds_functions():
    """Whether SciPy (some releases) leaves cycles that hold what it has minimised."""
    function = Square()
    minimize(function, np.ones(2), jac=True, method="L-BFGS-B")
    held = weakref.ref(function)
    del function
    return held() is not None


no_cycles = pytest.mark.skipif(
    minimize_holds_functions(), reason="SciPy holds parts of X until cycles are collected"
)


def peak(function):
    """Bytes allocated at once while ``function()`` runs, at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak_of_fit(classifier, X, y):
    """Of what this fit takes, and not of what is made once a process."""
    classifier.fit(X[:6000], y[:6000])
    return peak(lambda: classifier.fit(X, y))


def rows(n, p, n_classes=N_CLASSES, dtype=np.float64):
    """X (n, p) in C order and overlapping classes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=dtype)
    y = X[:, :n_classes] + 2 * rng.standard_normal((n, n_classes), dtype=np.float32)
    return X, y.argmax(axis=1)


# ---- dense ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["float64", "float32"])
def large(request):
    """400 000 rows of 50 features, 160 and 80 MB, and their classes."""
    return rows(400_000, 50, dtype=np.dtype(request.param).type)


@no_cycles
@pytest.mark.parametrize(("order", "l1_ratio"), [("C", 0.0), ("C", 1.0), ("F", 0.0)])
def test_the_peak_is_below_64_megabytes(Classifier, large, order, l1_ratio):
    X, y = large
    X = np.asarray(X, order=order)
    classifier = Classifier(l1_ratio=l1_ratio, C=1e-2)
    assert X.nbytes > LIMIT
    assert peak_of_fit(classifier, X, y) < LIMIT + COPIES * classifier.coef_.nbytes


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_more_rows_take_a_few_numbers_each(Classifier, solver, monkeypatch):
    """Fewer than outputs or features: neither X nor anything else with a row for each is kept."""
    n, n_classes = 80_000, 12
    monkeypatch.setattr(samples, "PART_ENTRIES", 2**18)  # of parts that are copied: as many twice
    X, y = rows(2 * n, 30, n_classes)
    classifier = Classifier(solver=solver, C=1e-2, tol=1e-3)
    few, many = peak_of_fit(classifier, X[:n], y[:n]), peak_of_fit(classifier, X, y)
    assert NUMBERS_A_ROW < n_classes < X.shape[1]
    assert many - few < 8 * NUMBERS_A_ROW * n


def test_a_memory_mapped_x_is_read_where_it_is(Classifier, tmp_path):
    X, y = rows(200_000, 50)
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape)
    classifier = Classifier()
    assert mapped.nbytes > LIMIT
    assert peak_of_fit(classifier, mapped, y) < LIMIT
    found = classifier.coef_.copy()
    np.testing.assert_array_equal(found, classifier.fit(X, y).coef_)
    np.testing.assert_array_equal(mapped, X)


# ---- sparse ---------------------------------------------------------------------------------

ARRAYS = ("data", "indices", "indptr")


@no_cycles
def test_supports_of_many_sizes_take_turns_in_memory():
    """L1: working sets grow and shrink, and each has a Hessian of another size."""
    X, y = rows(200_000, 40, 20)
    classifier = SoftmaxClassifier(l1_ratio=1.0, C=1e-2, tol=1e-3)
    assert peak_of_fit(classifier, X, y) < LIMIT + COPIES * classifier.coef_.nbytes


@pytest.fixture(scope="module")
def large_sparse():
    """100 000 rows with 60 of 960 features each, 72 MB in CSR format, and their classes."""
    rng = np.random.default_rng(0)
    n, entries, gap = 100_000, 60, 16
    indices = np.arange(entries, dtype=np.int32) * gap
    indices = (indices + rng.integers(gap, size=(n, entries), dtype=np.int32)).ravel()
    indptr = np.arange(n + 1, dtype=np.int32) * entries
    data = rng.standard_normal(n * entries)
    X = sparse.csr_matrix((data, indices, indptr), shape=(n, entries * gap))
    raw = X[:, :N_CLASSES].toarray() + 0.5 * rng.normal(size=(n, N_CLASSES))
    return X, raw.argmax(axis=1)


@no_cycles
def test_a_read_only_sparse_x_is_not_copied(Classifier, large_sparse):
    """It takes no more than one that may be written to, which is transposed once."""
    X, y = large_sparse
    same = sparse.csr_matrix(tuple(getattr(X, name).copy() for name in ARRAYS), shape=X.shape)
    for name in ARRAYS:
        getattr(same, name).flags.writeable = False
    size = sum(getattr(X, name).nbytes for name in ARRAYS)
    classifier = Classifier(C=1e-2, tol=1e-2, n_jobs=1)  # what threads hold at once varies
    taken = peak_of_fit(classifier, X, y)
    found = classifier.coef_.copy()
    assert peak_of_fit(classifier, same, y) < taken + size / 10
    np.testing.assert_array_equal(classifier.coef_, found)
