"""Which classes are separated, against linear programmes over all pairs of rows and classes."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import example, given
from hypothesis import strategies as st
from problems import STORAGE, Problem, needs_jit, over
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import PolynomialFeatures, scale

from sk_softmax._solvers import separated_pairs, separation, whitened_rows
from sk_softmax._solvers.separation import separated
from sk_softmax._solvers.table import solve


def unpenalised(X, y, coupled=True, s=None, **changes):
    s = np.ones(y.size) if s is None else s
    return Problem(X, y, s, n_classes=int(y.max()) + 1, coupled=coupled, C=np.inf, **changes)


def found(problem, solver="auto", **options):
    """The codes that are found where a solver stops, one list a problem."""
    objective = problem.objective()
    point = problem.point_of(solve(objective, solver, **options))
    return [codes.tolist() for codes in separated(objective, point)]


def gaining(A, y, K):
    """The pairs (n, K) that gain for ever, by a linear programme; A (n, q) has like columns.

    Maximise the sum of t_ik <= 1 with margins m_ik . D >= t_ik >= 0.  As any multiple of D is as
    good, t_ik is 1 for all that can gain, and 0 for the others.
    """
    n, q = A.shape
    i, k = np.nonzero(np.arange(K) != y[:, None])
    M = np.zeros((i.size, K, q))
    M[np.arange(i.size), y[i]] = A[i]
    M[np.arange(i.size), k] = -A[i]
    M = M[:, 1:].reshape(i.size, -1)
    result = linprog(
        np.r_[np.zeros(M.shape[1]), -np.ones(i.size)],
        A_ub=np.hstack([-M, np.eye(i.size)]),
        b_ub=np.zeros(i.size),
        bounds=[(None, None)] * M.shape[1] + [(0, 1)] * i.size,
    )
    assert result.status == 0
    gains = np.zeros((n, K), dtype=bool)
    gains[i, k] = result.x[M.shape[1] :] > 0.5
    return gains


def expected(problem, A=None):
    """The codes by `gaining`; ``A`` spans the same functions as the problem's features."""
    A = problem.features() if A is None else A
    y, K = problem.y, problem.n_classes
    if not problem.softmax:
        one_of_two = [(k, gaining(A, (y == k).astype(int), 2)) for k in problem.columns]
        return [[int(k)] if gains.any() else [] for k, gains in one_of_two]
    gains = gaining(A, y, K)
    whole = [k for k in range(K) if (gains[y == k].sum(axis=1) == K - 1).all()]
    return [whole or np.unique(y[gains.any(axis=1)]).tolist()]


# ---- random data ----------------------------------------------------------------------------


def random_data(rng):
    """Well-scaled X and y: normal, on a grid, binary; with an ordered or a one-class feature."""
    K = rng.integers(2, 5)
    n, p = rng.integers(K + 2, 80), rng.integers(1, 6)
    y = np.concatenate([np.arange(K), rng.integers(K, size=n - K)])
    kind = rng.integers(5)
    if kind == 0:
        X = rng.normal(size=(n, p)) + rng.choice([0, 1, 4]) * rng.normal(size=(K, p))[y]
    elif kind == 1:
        X = rng.integers(-2, 3, (n, p)) + rng.integers(-2, 3, (K, p))[y]
    elif kind == 2:
        X = rng.random((n, p)) < 0.3
    elif kind == 3:  # classes touch where a feature is 0
        X = rng.normal(size=(n, p))
        X[:, 0] = np.abs(np.round(X[:, 0])) * np.where(y == rng.integers(K), 1, -1)
    else:
        rare = (y == rng.integers(K)) & (rng.random(n) < 0.2)
        X = np.column_stack([rng.normal(size=(n, p)), rare])
    return np.asarray(X, dtype=np.float64), y


def disguised(X, rng):
    """The same functions of a row: redundant features, and units of every size."""
    extra = [X]
    if rng.random() < 0.3:
        extra.append(X[:, :1])
    if rng.random() < 0.3:
        extra.append(X @ rng.normal(size=(X.shape[1], 2)))
    if rng.random() < 0.3:
        extra.append(np.full((len(X), 1), rng.choice([0.1, 1.0, 1e5])))
    X = np.hstack(extra)
    return X * 10.0 ** rng.integers(-7, 8, X.shape[1]) if rng.random() < 0.5 else X


@given(
    seed=st.integers(0, 2**32 - 1), coupled=st.booleans(), solver=st.sampled_from(["auto", "lbfgs"])
)
@example(seed=185, coupled=True, solver="auto")
@pytest.mark.parametrize("max_iter", [1000, 3, 0])
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_what_is_separated_is_what_a_linear_programme_says(
    seed, coupled, solver, max_iter, storage
):
    rng = np.random.default_rng(seed)
    X, y = random_data(rng)
    fit_intercept = rng.random() < 0.7
    s = np.ones(y.size) if rng.random() < 0.5 else rng.integers(1, 9, y.size) / 4
    Z = disguised(X, rng)
    problem = unpenalised(STORAGE[storage](Z), y, coupled, s, fit_intercept=fit_intercept)
    A = np.column_stack([X, np.ones(len(X))])
    if not fit_intercept:  # a constant feature may serve as one
        A = Z / np.where(Z.any(axis=0), np.abs(Z).max(axis=0), 1.0)
    assert found(problem, solver, max_iter=max_iter) == expected(problem, A)


@given(seed=st.integers(0, 2**32 - 1), coupled=st.booleans())
def test_more_features_than_rows(seed, coupled):
    """Only rows that are there twice, and in two classes, keep such data from being separable."""
    rng = np.random.default_rng(seed)
    n, distinct = rng.integers(5, 30, 2)
    X = rng.normal(size=(distinct, 40))[rng.integers(distinct, size=n)]
    y = np.concatenate([np.arange(3), rng.integers(3, size=n - 3)])
    problem = unpenalised(X, y, coupled)
    assert found(problem) == expected(problem)


# ---- one case at a time ---------------------------------------------------------------------


def overlapping(K, n=200, p=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(K), rng.integers(K, size=n - K)])
    return rng.normal(size=(n, p)), y


@pytest.mark.parametrize("n_apart", [0, 1, 2, 4])
def test_classes_that_are_apart(n_apart):
    X, y = overlapping(4, p=5)
    X[:, :4] += 20.0 * np.where(np.arange(4) < n_apart, np.eye(4)[y], 0.0)
    assert found(unpenalised(X, y)) == [list(range(n_apart))]
    one_vs_all = [[k] if k < n_apart else [] for k in range(4)]
    assert found(unpenalised(X, y, coupled=False)) == one_vs_all


def test_two_groups_of_classes():
    """No class is apart from all others, but each gains against the other group."""
    X, y = overlapping(4)
    X[:, 0] += np.where(y < 2, 5.0, -5.0)
    assert found(unpenalised(X, y)) == [[0, 1, 2, 3]]
    assert found(unpenalised(X, y, coupled=False)) == [[], [], [], []]


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("K", [2, 3])
def test_a_rare_feature_of_one_class(K, coupled):
    X, y = overlapping(K)
    X = np.column_stack([X, (y == 1) & (np.arange(200) % 20 == 0)])
    assert X[:, -1].any()
    problem = unpenalised(X.astype(float), y, coupled)
    # it speaks for class 1, and against each of the others
    assert found(problem) == ([[1]] if problem.softmax or K == 2 else [[0], [1], [2]])
    assert found(problem) == expected(problem)


def test_classes_that_touch():
    """Rows of both classes on the border, all others strictly on their sides."""
    X, y = overlapping(2)
    X[:, 0] = np.where(np.arange(200) < 20, 0.0, np.abs(X[:, 0]) * np.where(y == 1, 1, -1))
    assert found(unpenalised(X, y)) == [[1]]
    X[0, 0] = -0.01 * (2 * y[0] - 1)
    assert found(unpenalised(X, y)) == [[]]


@pytest.mark.parametrize("overlap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_nearly_separable(overlap, solver):
    """One row is barely on the wrong side of a border on which both classes have rows."""
    X, y = overlapping(2)
    X[:, 0] = (np.abs(X[:, 0]) + 0.1) * np.where(y == 1, 1, -1)
    X[:, 1:] = np.round(X[:, 1:])
    X[:3] = 0.0
    y[:3] = 1, 1, 0
    assert found(unpenalised(X, y), solver) == [[1]]
    X[0, 0] = -overlap
    assert found(unpenalised(X, y), solver) == [[]]


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("K", [2, 3])
def test_one_wrong_label_far_inside(K, solver):
    X, y = overlapping(K, n=300)
    centres = 12.0 * np.eye(3)[:K]
    X += centres[y]
    assert found(unpenalised(X, y), solver) == [[1] if K == 2 else [0, 1, 2]]
    # in the middle of another class's rows, and far from its own
    X[0], y[0] = centres[1], 0
    X[1:4], y[1:4] = centres[1] + [[9, 0, 0], [-9, 9, 0], [-9, -9, 0]], 1
    problem = unpenalised(X, y)
    assert found(problem, solver) == expected(problem)
    assert 0 not in found(problem, solver)[0]


def test_what_does_not_vary_separates_nothing():
    X, y = overlapping(3)
    redundant = np.column_stack([X, X[:, 0], X @ np.ones(3), np.full(200, 0.1), np.zeros(200)])
    for coupled, nothing in ((True, [[]]), (False, [[], [], []])):
        assert found(unpenalised(redundant, y, coupled)) == nothing
        assert found(unpenalised(np.full((200, 2), 0.1), y, coupled)) == nothing
        assert found(unpenalised(np.zeros((200, 2)), y, coupled, fit_intercept=False)) == nothing


def test_without_an_intercept_borders_pass_through_0():
    X, y = overlapping(2)
    X = np.where(y == 1, 2.0, 1.0)[:, None] + 0.1 * X
    assert found(unpenalised(X, y)) == [[1]]
    assert found(unpenalised(X[:, :1], y, fit_intercept=False)) == [[]]
    assert found(unpenalised(X[:, :1] - 1.5, y, fit_intercept=False)) == [[1]]


@over("store", STORAGE)
def test_storage(store):
    X, y = overlapping(3)
    X = np.column_stack([X, y == 2]).astype(np.float32).astype(np.float64)
    assert found(unpenalised(store(X), y)) == [[2]]
    assert found(unpenalised(store(X[:, :3]), y)) == [[]]


def test_weights_do_not_matter():
    X, y = overlapping(3)
    s = 10.0 ** np.random.default_rng(1).uniform(-4, 4, 200)
    apart = np.column_stack([X, y == 2])
    for coupled, balanced in ((True, False), (False, False), (False, True)):
        changes = {"s": s, "balanced": balanced}
        assert not any(found(unpenalised(X, y, coupled, **changes)))
        assert found(unpenalised(apart, y, coupled, **changes))[-1] == [2]


@pytest.mark.parametrize("prepare", [np.asarray, scale], ids=["as it is", "standardised"])
def test_data_sets(prepare):
    X, y = load_iris(return_X_y=True)
    assert found(unpenalised(prepare(X), y)) == [[0]]
    assert found(unpenalised(prepare(X), y, coupled=False)) == [[0], [], []]
    X, y = load_wine(return_X_y=True)
    assert found(unpenalised(prepare(X), y)) == [[0, 1, 2]]
    X, y = load_breast_cancer(return_X_y=True)
    assert found(unpenalised(prepare(X), y)) == [[1]]


@needs_jit
def test_digits_one_against_all():
    """The last two by pixels that only few rows have."""
    X, y = load_digits(return_X_y=True)
    assert found(unpenalised(X, y, coupled=False)) == [[k] for k in range(10)]


def test_features_that_are_nearly_collinear():
    X, y = overlapping(2, n=500)
    powers = PolynomialFeatures(4, include_bias=False).fit_transform(X)
    assert found(unpenalised(powers, y)) == [[]]
    inside = (X**2).sum(axis=1) < 2
    X = X[np.abs((X**2).sum(axis=1) - 2) > 0.2]
    inside = ((X**2).sum(axis=1) < 2).astype(int)
    powers = PolynomialFeatures(4, include_bias=False).fit_transform(X)
    assert found(unpenalised(powers, inside)) == [[1]]


@pytest.mark.parametrize("spread", [2, 4, 8])
def test_heavy_tails_separate_nothing(spread):
    X, y = overlapping(3, n=400)
    assert found(unpenalised(np.exp(spread * X), y)) == [[]]


# ---- how it is done -------------------------------------------------------------------------


@pytest.fixture
def grams(monkeypatch):
    """The numbers of rows that matrices are made of."""
    sizes = []
    gram = separated_pairs.Pairs._gram

    def counted(pairs, weight, among):
        sizes.append(among.size)
        return gram(pairs, weight, among)

    monkeypatch.setattr(separated_pairs.Pairs, "_gram", counted)
    return sizes


def at_optimum(problem):
    objective = problem.objective()
    return objective, problem.point_of(solve(objective))


def test_a_finite_optimum_takes_one_matrix(grams):
    objective, point = at_optimum(unpenalised(*overlapping(3)))
    grams.clear()
    assert not separated(objective, point)[0].size
    assert grams == [200]


@needs_jit
@pytest.mark.parametrize("coupled", [True, False])
def test_of_many_rows_a_sample_does(grams, coupled):
    X, y = overlapping(3, n=30_000, p=10)
    objective, point = at_optimum(unpenalised(X, y, coupled))
    grams.clear()
    assert not any(codes.size for codes in separated(objective, point))
    assert len(grams) == objective.n_problems
    assert max(grams) < 4000


@needs_jit
def test_one_row_of_many():
    X, y = overlapping(3, n=30_000, p=5)
    X[:, 4] = np.arange(30_000) == 12_345
    assert found(unpenalised(X, y)) == [[y[12_345]]]


@given(seed=st.integers(0, 2**32 - 1), coupled=st.booleans())
def test_blocks_batches_and_samples_change_nothing(seed, coupled):
    rng = np.random.default_rng(seed)
    X, y = random_data(rng)
    objective, point = at_optimum(unpenalised(disguised(X, rng), y, coupled))
    whole = separated(objective, point)
    sizes = {
        whitened_rows: {"ROWS": 7, "KEPT": 0},
        separated_pairs: {"ROWS": 7, "BATCH": 2, "PACKED": 2},
        separation: {"SAMPLE": 1, "SMALLEST_SAMPLE": 10},
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, of_module in sizes.items():
            for name, size in of_module.items():
                patch.setattr(module, name, size)
        for codes, same in zip(separated(objective, point), whole, strict=True):
            np.testing.assert_array_equal(codes, same)


def test_any_point_will_do():
    X, y = overlapping(3)
    rng = np.random.default_rng(0)
    for features, expected_codes in ((X, []), (np.column_stack([X, y == 2]), [2])):
        problem = unpenalised(features, y)
        for scale_ in (0.0, 1.0, 100.0, 1e4):
            point = scale_ * rng.normal(size=problem.shape)
            assert separated(problem.objective(), point)[0].tolist() == expected_codes


def test_class_by_class_where_the_hessian_is_too_large(monkeypatch):
    monkeypatch.setattr(separation, "factorable", lambda size: size <= 6)
    X, y = overlapping(4)
    assert found(unpenalised(X, y)) == [[]]
    assert found(unpenalised(np.column_stack([X, y == 2]), y)) == [[2]]
    rare = (y == 1) & (np.arange(200) % 20 == 0)
    assert found(unpenalised(np.column_stack([X, rare]), y)) == [[1]]
    two = np.column_stack([X, y == 2, y == 3])
    assert found(unpenalised(two, y)) == [[2, 3]]


def test_only_what_the_point_separates_where_that_is_too_large(monkeypatch):
    monkeypatch.setattr(separation, "factorable", lambda size: False)
    X, y = overlapping(3)
    assert found(unpenalised(np.column_stack([X, y == 2]), y)) == [[]]
    everything = np.column_stack([X, np.eye(3)[y]])
    assert found(unpenalised(everything, y)) == [[0, 1, 2]]
    assert found(unpenalised(everything, y, coupled=False)) == [[0], [1], [2]]


def test_nothing_is_said_where_least_squares_fail(monkeypatch):
    """Far rows on the right side turn the sum of the rows away from the border's normal."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 2))
    X[:, 0] = np.where(y == 1, 1, -1) * (np.abs(X[:, 0]) + 0.1)
    X[1::8] = [2.0, 100.0]
    objective = unpenalised(X, y).objective()
    point = objective.null_point()
    assert separated(objective, point)[0].tolist() == [1]

    def fails(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(scipy.optimize, "nnls", fails)
    assert not separated(objective, point)[0].size
