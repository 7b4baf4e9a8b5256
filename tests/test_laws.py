"""Laws that hold for any data: what may not matter does not, and what must hold holds."""

import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sk_softmax import OvAClassifier, SoftmaxClassifier

TIGHT = 1e-8
# F within 1e-10 of its optimum leaves about five digits to the probabilities.
CLOSE = 2e-5


@dataclass
class Rows:
    """Training data; every class has a row."""

    X: np.ndarray
    y: np.ndarray
    s: np.ndarray

    @property
    def n_classes(self):
        return int(self.y.max()) + 1


@st.composite
def rows(draw, max_classes=4):
    """Few rows of round numbers: ties, constant columns and equal rows are frequent."""
    K = draw(st.integers(2, max_classes))
    n = draw(st.integers(K + 2, 30))
    p = draw(st.integers(1, 5))
    X = draw(hnp.arrays(np.float64, (n, p), elements=st.integers(-32, 32).map(lambda v: v / 8)))
    rest = draw(hnp.arrays(np.int64, n - K, elements=st.integers(0, K - 1)))
    s = draw(hnp.arrays(np.float64, n, elements=st.integers(1, 8).map(lambda v: v / 4)))
    return Rows(X, np.concatenate([np.arange(K), rest]), s)


# C = inf has its own laws: most small data is separable.
penalties = st.sampled_from(
    [{"C": C, "l1_ratio": l1_ratio} for C in (0.1, 1.0, 10.0) for l1_ratio in (0.0, 0.5, 1.0)]
)
balancing = st.sampled_from([None, "balanced"])


def assert_same_model(first, second, X, other_X=None):
    """The same probabilities and objective, whatever the coefficients."""
    np.testing.assert_allclose(first.objective_, second.objective_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        first.predict_proba(X),
        second.predict_proba(X if other_X is None else other_X),
        atol=CLOSE,
    )


# ---- what must hold -------------------------------------------------------------------------


@given(rows=rows(), penalty=penalties, scale=st.sampled_from([1e-3, 1.0, 1e3, 1e6]))
def test_probabilities_are_probabilities(Classifier, rows, penalty, scale):
    classifier = Classifier(**penalty).fit(rows.X, rows.y)
    X = rows.X * scale
    probability = classifier.predict_proba(X)
    assert probability.min() >= 0.0
    assert probability.max() <= 1.0
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    assert classifier.predict_log_proba(X).max() <= 0.0
    if Classifier is OvAClassifier:
        own = classifier.predict_ova_proba(X)
        assert own.min() >= 0.0
        assert own.max() <= 1.0


@given(rows=rows(), penalty=penalties)
def test_the_most_probable_class_is_predicted(Classifier, rows, penalty):
    classifier = Classifier(**penalty).fit(rows.X, rows.y)
    probability = classifier.predict_proba(rows.X)
    predicted = np.searchsorted(classifier.classes_, classifier.predict(rows.X))
    chosen = probability[np.arange(len(probability)), predicted]
    np.testing.assert_allclose(chosen, probability.max(axis=1), rtol=1e-12)


def with_coefficients(Classifier, coef, intercept):
    """A classifier as if a fit had ended there."""
    coef = np.array(coef, dtype=np.float64)
    n_classes = max(2, len(coef))
    X = np.vstack([np.zeros((n_classes, coef.shape[1])), np.ones((n_classes, coef.shape[1]))])
    classifier = Classifier().fit(X, np.tile(np.arange(n_classes), 2))
    classifier.coef_, classifier.intercept_ = coef, np.array(intercept, dtype=np.float64)
    return classifier


logits = st.floats(-1e308, 1e308) | st.sampled_from([-1e308, -0.0, 5e-324, 745.0, 1e308])


def assert_finite_and_consistent(classifier, X):
    """All outputs finite, probabilities sum to 1, logarithms belong to them."""
    probability, log_probability = classifier.predict_proba(X), classifier.predict_log_proba(X)
    assert np.isfinite(classifier.decision_function(X)).all()
    assert np.isfinite(log_probability).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_probability), probability, rtol=1e-5)
    if isinstance(classifier, OvAClassifier):
        own = classifier.predict_log_ova_proba(X)
        assert np.isfinite(own).all()
        np.testing.assert_allclose(np.exp(own), classifier.predict_ova_proba(X), rtol=1e-5)


@given(z=st.lists(logits, min_size=1, max_size=4).filter(lambda z: len(z) != 2))
def test_probabilities_of_any_finite_logits_are_finite(Classifier, z):
    classifier = with_coefficients(Classifier, np.zeros((len(z), 2)), z)
    assert_finite_and_consistent(classifier, np.zeros((1, 2)))
    np.testing.assert_array_equal(np.ravel(classifier.decision_function(np.zeros((1, 2)))), z)


# scikit-learn's check for nan adds all of X up, which may be inf - inf
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce:RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("coef", [[[1.0, -1.0]], [[1.0, -1.0], [1e10, 1e10], [-1e10, 1.0]]])
@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
def test_probabilities_of_huge_data_are_finite(Classifier, storage, coef, dtype):
    largest = np.finfo(dtype).max
    X = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [1, 0], [0, 0]], dtype=dtype) * largest
    classifier = with_coefficients(Classifier, coef, np.zeros(len(coef)))
    assert_finite_and_consistent(classifier, storage(X))


@given(
    z=hnp.arrays(np.float64, (5, 4), elements=st.integers(-80, 80).map(lambda v: v / 8)),
    shift=st.integers(-10_000, 10_000),
)
def test_softmax_does_not_see_a_shift_of_all_logits(z, shift):
    classifier = with_coefficients(SoftmaxClassifier, z.T, np.zeros(4))
    shifted = with_coefficients(SoftmaxClassifier, z.T + shift, np.zeros(4))
    X = np.eye(5)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(shifted, method)(X), getattr(classifier, method)(X))


@given(rows=rows(max_classes=3), penalty=penalties)
def test_pickle_and_clone_round_trips(Classifier, rows, penalty):
    classifier = Classifier(**penalty).fit(rows.X, rows.y, rows.s)
    loaded = pickle.loads(pickle.dumps(classifier))
    refitted = clone(classifier).fit(rows.X, rows.y, rows.s)
    for other in (loaded, refitted):
        np.testing.assert_array_equal(
            other.predict_log_proba(rows.X), classifier.predict_log_proba(rows.X)
        )


# ---- what may not matter --------------------------------------------------------------------


@given(rows=rows(), penalty=penalties, balance=balancing, seed=st.integers(0, 99), data=st.data())
def test_order_of_classes_rows_and_columns_does_not_matter(
    Classifier, rows, penalty, balance, seed, data
):
    X, y, s = rows.X, rows.y, rows.s
    classes = np.array(data.draw(st.permutations(range(rows.n_classes))))
    rng = np.random.default_rng(seed)
    order, columns = rng.permutation(len(y)), rng.permutation(X.shape[1])
    model = Classifier(class_weight=balance, tol=TIGHT, **penalty)
    classifier = clone(model).fit(X, y, s)
    permuted = clone(model).fit(X[order][:, columns], classes[y[order]], s[order])
    np.testing.assert_allclose(
        permuted.predict_proba(X[:, columns])[:, classes], classifier.predict_proba(X), atol=CLOSE
    )
    np.testing.assert_allclose(
        np.sort(np.ravel(permuted.objective_)), np.sort(np.ravel(classifier.objective_)), rtol=1e-8
    )


@given(rows=rows(), penalty=penalties, balance=balancing, data=st.data())
def test_a_weight_is_a_number_of_equal_rows(Classifier, rows, penalty, balance, data):
    X, y = rows.X, rows.y
    counts = data.draw(hnp.arrays(np.int64, len(y), elements=st.integers(0, 3)))
    counts[: rows.n_classes] += 1  # no class vanishes: that has a law of its own
    model = Classifier(class_weight=balance, tol=TIGHT, **penalty)
    weighted = clone(model).fit(X, y, counts)
    repeated = clone(model).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert_same_model(weighted, repeated, X)


@given(rows=rows(), penalty=penalties, balance=balancing, data=st.data())
def test_a_row_of_weight_0_is_not_there(Classifier, rows, penalty, balance, data):
    X, y = rows.X, rows.y
    kept = data.draw(hnp.arrays(np.bool_, len(y)))
    kept[:2] = True  # two classes are left
    model = Classifier(class_weight=balance, **penalty)
    weighted = clone(model).fit(X, y, np.where(kept, rows.s, 0.0))
    without = clone(model).fit(X[kept], y[kept], rows.s[kept])
    np.testing.assert_array_equal(weighted.classes_, without.classes_)
    np.testing.assert_array_equal(weighted.predict_log_proba(X), without.predict_log_proba(X))


@given(rows=rows(), penalty=penalties, factor=st.sampled_from([1e-6, 0.5, 3.0, 1e6]))
def test_only_the_penalty_sees_the_sum_of_weights(Classifier, rows, penalty, factor):
    classifier = Classifier(tol=TIGHT, **penalty).fit(rows.X, rows.y, rows.s)
    scaled = Classifier(tol=TIGHT, **{**penalty, "C": penalty["C"] / factor})
    assert_same_model(classifier, scaled.fit(rows.X, rows.y, rows.s * factor), rows.X)


@given(
    rows=rows(),
    penalty=penalties,
    fit_intercept=st.booleans(),
    container=st.sampled_from([sparse.csr_matrix, sparse.csr_array, sparse.csc_array]),
)
def test_sparse_is_dense(Classifier, rows, penalty, fit_intercept, container):
    X = np.where(np.abs(rows.X) > 1.5, rows.X, 0.0)
    model = Classifier(fit_intercept=fit_intercept, tol=TIGHT, **penalty)
    dense = clone(model).fit(X, rows.y, rows.s)
    assert_same_model(dense, clone(model).fit(container(X), rows.y, rows.s), X, container(X))


@given(rows=rows(), penalty=penalties)
def test_storage_order_does_not_matter(Classifier, rows, penalty):
    X, y, s = rows.X, rows.y, rows.s
    classifier = Classifier(tol=TIGHT, **penalty).fit(X, y, s)
    wider = np.zeros((len(y), 2 * X.shape[1]))
    wider[:, ::2] = X
    for other in (np.asfortranarray(X), X[::-1].copy()[::-1], wider[:, ::2]):
        refitted = Classifier(tol=TIGHT, **penalty).fit(other, y, s)
        assert_same_model(classifier, refitted, X, other)


@given(rows=rows(), penalty=penalties)
def test_float32_is_float64_to_its_precision(Classifier, rows, penalty):
    X = rows.X.astype(np.float32)  # exactly the same numbers
    double = Classifier(tol=TIGHT, **penalty).fit(rows.X, rows.y, rows.s)
    single = Classifier(tol=TIGHT, **penalty).fit(X, rows.y, rows.s)
    np.testing.assert_allclose(single.objective_, double.objective_, rtol=1e-6, atol=1e-7)
    probability = single.predict_proba(X)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, double.predict_proba(rows.X), atol=1e-4)


@given(rows=rows(), penalty=penalties, shift=st.integers(-100, 100))
def test_with_an_intercept_a_shift_of_a_column_does_not_matter(Classifier, rows, penalty, shift):
    moved = rows.X.copy()
    moved[:, 0] += shift
    classifier = Classifier(tol=TIGHT, **penalty).fit(rows.X, rows.y, rows.s)
    other = Classifier(tol=TIGHT, **penalty).fit(moved, rows.y, rows.s)
    assert_same_model(classifier, other, rows.X, moved)


@given(rows=rows(), penalty=penalties, label=st.sampled_from([0, 1]))
def test_binary_problems_are_symmetric(Classifier, rows, penalty, label):
    y = rows.y == label
    classifier = Classifier(tol=TIGHT, **penalty).fit(rows.X, y, rows.s)
    swapped = Classifier(tol=TIGHT, **penalty).fit(rows.X, ~y, rows.s)
    np.testing.assert_allclose(
        swapped.predict_proba(rows.X)[:, ::-1], classifier.predict_proba(rows.X), atol=CLOSE
    )


# ---- no penalty -----------------------------------------------------------------------------


def inseparable(rows):
    """Every row once with each class, with weights: there is a finite optimum."""
    K = rows.n_classes
    X = np.repeat(rows.X, K, axis=0)
    y = np.tile(np.arange(K), len(rows.X))
    s = np.repeat(rows.s, K) * np.where(y == np.repeat(rows.y, K), 3.0, 1.0)
    return Rows(X, y, s)


@given(rows=rows(), exponents=st.lists(st.integers(-6, 6), min_size=5, max_size=5))
def test_units_do_not_matter_without_a_penalty(Classifier, rows, exponents):
    rows = inseparable(rows)
    units = 10.0 ** np.array(exponents[: rows.X.shape[1]])
    classifier = Classifier(C=np.inf, tol=TIGHT).fit(rows.X, rows.y, rows.s)
    # the tolerance is in the units of X: the gradient by a column in small units is small
    tol = TIGHT * min(1.0, units.min())
    other = Classifier(C=np.inf, tol=tol).fit(rows.X * units, rows.y, rows.s)
    assert_same_model(classifier, other, rows.X, rows.X * units)


ONE_ROW_APART = Rows(
    np.array([[0.0], [0.0], [0.125], [0.0]]),
    np.array([0, 1, 0, 0]),
    np.array([0.25, 1.25, 0.25, 0.75]),
)


@given(rows=rows(), penalty=penalties)
@example(rows=ONE_ROW_APART, penalty={"l1_ratio": 1.0})  # certified when no problem was open
def test_no_penalty_is_the_limit_of_small_penalties(Classifier, rows, penalty):
    rows = inseparable(rows)
    free = Classifier(C=np.inf, l1_ratio=penalty["l1_ratio"], tol=TIGHT)
    nearly = Classifier(C=1e9, l1_ratio=penalty["l1_ratio"], tol=TIGHT)
    free.fit(rows.X, rows.y, rows.s)
    nearly.fit(rows.X, rows.y, rows.s)
    np.testing.assert_allclose(nearly.predict_proba(rows.X), free.predict_proba(rows.X), atol=CLOSE)


# ---- the strongest penalty that is of use ---------------------------------------------------


def smallest_useful_C(Classifier, X, y, s, l1_ratio):
    """1 / (C S) l1_ratio = largest derivative of the loss by a coefficient at the null model."""
    share = np.bincount(y, s) / s.sum()
    residual = share - np.eye(len(share))[y]  # the same for softmax and one-vs-all
    return l1_ratio / np.abs((s[:, None] * residual).T @ X).max()


@given(rows=rows(), l1_ratio=st.sampled_from([0.3, 1.0]))
def test_coefficients_are_0_up_to_the_smallest_useful_C(Classifier, rows, l1_ratio):
    X, y, s = rows.X, rows.y, rows.s
    X[0, 0] += 1.0  # a feature that says something
    X[1, 0] -= 1.0
    C = smallest_useful_C(Classifier, X, y, s, l1_ratio)
    useless = Classifier(C=0.999 * C, l1_ratio=l1_ratio, tol=TIGHT).fit(X, y, s)
    assert not useless.coef_.any()
    null = np.bincount(y, s) / s.sum()
    if Classifier is SoftmaxClassifier:
        np.testing.assert_allclose(useless.predict_proba(X), np.tile(null, (len(y), 1)), atol=1e-7)
    useful = Classifier(C=1.05 * C, l1_ratio=l1_ratio, tol=TIGHT).fit(X, y, s)
    assert useful.coef_.any()


@given(
    rows=rows(),
    C=st.sampled_from([5e-324, 1e-300, 1e-12, 1e12, 1e300]),
    l1_ratio=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_extreme_C_gives_a_model_or_says_that_it_could_not(Classifier, rows, C, l1_ratio):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = Classifier(C=C, l1_ratio=l1_ratio).fit(rows.X, rows.y)
    assert all(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    assert bool(caught) == (not np.all(classifier.converged_))
    assert np.isfinite(classifier.objective_).all()
    assert np.isfinite(classifier.coef_).all()
    assert np.isfinite(classifier.predict_log_proba(rows.X)).all()
    if C < 1:
        assert np.all(classifier.converged_)
        assert np.abs(classifier.coef_).max() <= 1e-6
