"""The smallest C: exactly where the first coefficient leaves 0."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import DENSE, SPARSE, over
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import l1_min_c

from sk_softmax import OvAClassifier, SoftmaxClassifier, ova_l1_min_c, softmax_l1_min_c

SMALLEST_C = {SoftmaxClassifier: softmax_l1_min_c, OvAClassifier: ova_l1_min_c}
SETTINGS = {
    "plain": {},
    "no intercept": {"fit_intercept": False},
    "elastic net": {"l1_ratio": 0.3},
    "balanced": {"class_weight": "balanced"},
    "class weights": {"class_weight": {0: 3.0, 1: 0.5}, "l1_ratio": 0.7},
}
BEYOND = 1 + 1e-6


def assert_exact(Classifier, C, X, y, s=None, **parameters):
    """No coefficient at C, nor below it; one just above."""
    parameters = {"l1_ratio": 1.0, "tol": 1e-11, **parameters}
    for below in (C, C / 3):
        fitted = Classifier(C=below, **parameters).fit(X, y, s)
        assert not fitted.coef_.any()
        assert np.all(fitted.converged_)
    assert Classifier(C=C * BEYOND, **parameters).fit(X, y, s).coef_.any()


@over("settings", SETTINGS)
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_smallest_c_is_exact(Classifier, data, n_classes, weights, settings):
    d = data(n_classes)
    s = d.s if weights else None
    C = SMALLEST_C[Classifier](d.X, d.y, sample_weight=s, **settings)
    assert_exact(Classifier, C, d.X, d.y, s, **settings)


@over("storage", DENSE | SPARSE)
def test_smallest_c_of_any_storage(Classifier, data, storage):
    d = data(4)
    X = storage(d.X.astype(np.float32).astype(np.float64))
    C = SMALLEST_C[Classifier](X, d.y)
    np.testing.assert_allclose(C, SMALLEST_C[Classifier](np.asarray(d.X), d.y), rtol=1e-6)
    assert_exact(Classifier, C, X, d.y)


@given(
    seed=st.integers(0, 2**16),
    n_classes=st.integers(2, 5),
    scale=st.floats(-6, 6),
    l1_ratio=st.floats(0.01, 1.0),
    fit_intercept=st.booleans(),
    balanced=st.booleans(),
)
def test_smallest_c_is_exact_whatever_the_units(
    Classifier, data, seed, n_classes, scale, l1_ratio, fit_intercept, balanced
):
    d = data(n_classes, n=40, p=3, seed=seed)
    X = d.X * [10.0**scale, 1.0, 10.0**-scale]
    settings = {
        "l1_ratio": l1_ratio,
        "fit_intercept": fit_intercept,
        "class_weight": "balanced" if balanced else None,
    }
    C = SMALLEST_C[Classifier](X, d.y, sample_weight=d.s, **settings)
    steepest = l1_ratio / (C * d.s.sum())  # balancing keeps the sum of the weights
    for factor, beyond in ((1.0, 0.0), (1.5, 1 - 1 / 1.5)):
        there = Classifier(C=C * factor, max_iter=0, tol=0.0, **settings)
        with warnings.catch_warnings():  # the null model, which is where it starts
            warnings.simplefilter("ignore", ConvergenceWarning)
            there.fit(X, d.y, d.s)
        assert not there.coef_.any()
        violation = np.max(there.optimality_)
        np.testing.assert_allclose(violation, beyond * steepest, rtol=1e-9, atol=1e-15)


def test_two_classes_without_an_intercept_are_scikit_learn_s(data):
    d = data(2)
    theirs = l1_min_c(d.X, d.y, loss="log", fit_intercept=False)
    for function in SMALLEST_C.values():
        np.testing.assert_allclose(function(d.X, d.y, fit_intercept=False), theirs, rtol=1e-12)


def test_one_vs_all_is_the_smallest_of_its_problems(data):
    d = data(5)
    problems = [ova_l1_min_c(d.X, d.y == k) for k in range(5)]
    np.testing.assert_allclose(ova_l1_min_c(d.X, d.y), min(problems), rtol=1e-12)


def test_weights_count_rows(Classifier, data):
    d = data(3)
    twice = np.arange(150) % 4 == 0
    s = np.where(twice, 2.0, 1.0)
    s[1::4] = 0.0
    rows = np.repeat(np.arange(150), s.astype(int))
    np.testing.assert_allclose(
        SMALLEST_C[Classifier](d.X, d.y, sample_weight=s),
        SMALLEST_C[Classifier](d.X[rows], d.y[rows]),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "X", [np.zeros((6, 2)), sparse.csr_matrix((6, 2)), np.full((6, 2), 1e-320)]
)
def test_data_that_select_nothing_are_refused_in_scikit_learn_s_words(Classifier, X):
    with pytest.raises(ValueError, match="Ill-posed l1_min_c calculation: l1 will always select"):
        SMALLEST_C[Classifier](X, [0, 1, 2, 0, 1, 2])


def test_constant_features_select_nothing_beside_an_intercept(Classifier):
    X = np.tile([7.3, 1e9], (60, 1))
    y = np.arange(60) ** 2 % 7 % 3
    with pytest.raises(ValueError, match="Ill-posed"):
        SMALLEST_C[Classifier](X, y)
    assert SMALLEST_C[Classifier](X, y, fit_intercept=False) > 0


@pytest.mark.parametrize("l1_ratio", [0.0, -0.5, 1.5, "l1"])
def test_l1_ratio_out_of_range_is_refused(Classifier, data, l1_ratio):
    d = data(3)
    with pytest.raises(ValueError, match="The 'l1_ratio' parameter"):
        SMALLEST_C[Classifier](d.X, d.y, l1_ratio=l1_ratio)


def test_bad_data_are_refused_as_in_fit(Classifier, data):
    d = data(3)
    with pytest.raises(ValueError, match="only one class"):
        SMALLEST_C[Classifier](d.X, np.zeros(150))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        SMALLEST_C[Classifier](d.X, d.y, sample_weight=-d.s)
