"""Laws of L1 and elastic net: copies of columns, the smallest useful C, weights, warm starts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone

from sk_softmax import OvAClassifier, SoftmaxClassifier, ova_l1_min_c, softmax_l1_min_c

TIGHT = 1e-9
SMALLEST_C = {SoftmaxClassifier: softmax_l1_min_c, OvAClassifier: ova_l1_min_c}
over_ratios = pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
over_classes = pytest.mark.parametrize("n_classes", [2, 3])
over_storage = pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])


def fewer_entries(X):
    """X with its smaller entries 0."""
    return np.where(np.abs(X) > 0.8, X, 0.0)


# ---- copies ---------------------------------------------------------------------------------


@over_storage
@over_classes
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_for_l1_a_copy_of_a_column_changes_nothing(Classifier, data, n_classes, sign, storage):
    """|u| + |v| is least for u + v = w when it is |w|, however w is shared out."""
    d = data(n_classes)
    X = fewer_entries(d.X)
    model = Classifier(C=0.3, l1_ratio=1.0, tol=TIGHT)
    plain = clone(model).fit(storage(X), d.y, d.s)
    used = np.abs(plain.coef_).max(axis=0).argmax()
    copied = np.column_stack([X, sign * X[:, used]])
    other = clone(model).fit(storage(copied), d.y, d.s)
    np.testing.assert_allclose(other.objective_, plain.objective_, rtol=1e-11)
    np.testing.assert_allclose(other.predict_proba(copied), plain.predict_proba(X), atol=1e-6)
    pair = other.coef_[:, [used, -1]] * [1.0, sign]
    if Classifier is OvAClassifier or n_classes == 2:
        np.testing.assert_allclose(pair.sum(axis=1), plain.coef_[:, used], atol=1e-5)
        assert (pair.min(axis=1) * pair.max(axis=1) >= 0).all()  # never against each other


@over_storage
@over_classes
def test_for_elastic_net_copies_share_equally(Classifier, data, n_classes, storage):
    """A column m times is that column times the root of m, to the L2 part: they split evenly."""
    d = data(n_classes)
    X = fewer_entries(d.X)
    model = Classifier(C=0.3, l1_ratio=0.5, tol=TIGHT)
    copied = np.column_stack([X, X[:, 0], X[:, 0]])
    classifier = clone(model).fit(storage(copied), d.y, d.s)
    assert classifier.coef_[:, 0].any()
    for j in (-1, -2):
        np.testing.assert_allclose(classifier.coef_[:, j], classifier.coef_[:, 0], atol=1e-6)
    plain = clone(model).fit(storage(X), d.y, d.s)
    assert (np.asarray(classifier.objective_) < np.asarray(plain.objective_)).any()


@given(factor=st.sampled_from([0.25, 3.0, 100.0]), C=st.sampled_from([0.02, 0.3, 5.0]))
def test_units_and_penalty_go_together(Classifier, data, factor, C):
    """All columns times a factor: for L1 the same as C times it."""
    d = data(3, n=60)
    model = Classifier(C=C, l1_ratio=1.0, tol=TIGHT)
    scaled = clone(model).fit(d.X * factor, d.y)
    other = clone(model).set_params(C=C * factor).fit(d.X, d.y)
    np.testing.assert_allclose(scaled.objective_, other.objective_, rtol=1e-8)
    np.testing.assert_allclose(
        scaled.predict_proba(d.X * factor), other.predict_proba(d.X), atol=1e-5
    )


# ---- the smallest useful C ------------------------------------------------------------------


@over_storage
@over_ratios
@over_classes
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs"])
def test_just_below_the_smallest_useful_c_a_fit_takes_a_pass_or_two(
    Classifier, data, n_classes, l1_ratio, fit_intercept, storage, solver
):
    d = data(n_classes, n=300, p=12)
    X = storage(fewer_entries(d.X))
    stated = {"l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    smallest = SMALLEST_C[Classifier](X, d.y, sample_weight=d.s, **stated)
    model = Classifier(solver=solver, **stated)
    below = clone(model).set_params(C=smallest * (1 - 1e-6)).fit(X, d.y, d.s)
    assert not below.coef_.any()
    assert np.all(below.converged_)
    assert below.n_evaluations_ <= 2
    assert np.max(below.dual_gap_) <= 1e-6 * np.min(below.objective_)
    above = clone(model).set_params(C=smallest * (1 + 1e-3), tol=1e-7).fit(X, d.y, d.s)
    assert above.coef_.any()


@over_ratios
def test_supports_grow_from_nothing_and_never_pass_the_features(Classifier, data, l1_ratio):
    d = data(3, p=12)
    smallest = SMALLEST_C[Classifier](d.X, d.y, l1_ratio=l1_ratio)
    counts, objectives = [], []
    for factor in (1.0, 1.5, 10.0, 1000.0):
        fit = Classifier(C=smallest * factor, l1_ratio=l1_ratio).fit(d.X, d.y)
        counts.append(np.count_nonzero(fit.coef_))
        objectives.append(np.sum(fit.objective_))
    assert counts[0] == 0
    assert 0 < counts[1] < counts[-1] <= fit.coef_.size
    assert (np.diff(objectives) < 0).all()


# ---- weights, warm starts, storage of the coefficients --------------------------------------


@over_ratios
@over_classes
def test_class_weights_of_a_dict_are_weights_of_rows(Classifier, data, n_classes, l1_ratio):
    d = data(n_classes)
    weight = {0: 0.3, 1: 2.5}  # classes that are left out weigh 1
    model = Classifier(C=0.03, l1_ratio=l1_ratio)
    classifier = clone(model).set_params(class_weight=weight).fit(d.X, d.y, d.s)
    s = d.s * np.array([weight.get(label, 1.0) for label in d.y])
    same = model.fit(d.X, d.y, s)
    assert (same.coef_ == 0).any()
    np.testing.assert_allclose(classifier.coef_, same.coef_, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(classifier.coef_ == 0, same.coef_ == 0)


@over_ratios
@over_classes
def test_balanced_is_each_side_alike(Classifier, data, n_classes, l1_ratio):
    """Softmax balances its classes, one-vs-all the two sides of each problem."""
    d = data(n_classes)
    kept = (d.y != 0) | (np.arange(150) % 5 == 0)
    X, y = d.X[kept], d.y[kept]
    stated = {"C": 0.2, "l1_ratio": l1_ratio, "tol": TIGHT}
    balanced = Classifier(class_weight="balanced", **stated).fit(X, y).coef_
    apart = Classifier is OvAClassifier and n_classes > 2
    problems = [(y == k, balanced[[k]]) for k in range(3)] if apart else [(y, balanced)]
    for labels, coef in problems:
        _, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
        s = (len(y) / (counts.size * counts))[code]
        alone = SoftmaxClassifier(**stated).fit(X, labels, s)
        np.testing.assert_allclose(coef, alone.coef_, atol=1e-5)


@over_storage
@over_ratios
@over_classes
def test_warm_starts_along_a_path_end_where_cold_ones_do(
    Classifier, data, n_classes, l1_ratio, storage
):
    """From more non-zeros to fewer and back, from sparse coefficients too."""
    d = data(n_classes, p=12)
    X = storage(fewer_entries(d.X))
    warm = Classifier(l1_ratio=l1_ratio, warm_start=True, tol=TIGHT)
    for C in (1.0, 0.05, 1e-5, 0.3):
        warm.set_params(C=C).fit(X, d.y, d.s)
        cold = clone(warm).fit(X, d.y, d.s)
        np.testing.assert_allclose(warm.objective_, cold.objective_, rtol=1e-10)
        np.testing.assert_allclose(warm.predict_proba(X), cold.predict_proba(X), atol=1e-6)
        if Classifier is OvAClassifier or n_classes == 2:
            np.testing.assert_array_equal(warm.coef_ == 0, cold.coef_ == 0)
        warm.sparsify()


@over_ratios
@over_classes
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("scale", [-1.0, -100.0, 1e4])
def test_a_start_far_off_does_not_matter(Classifier, data, n_classes, scale, solver, l1_ratio):
    """Where all probabilities are 0 or 1 there is no curvature to go by."""
    d = data(n_classes)
    warm = Classifier(C=1.0, l1_ratio=l1_ratio, solver=solver, warm_start=True).fit(d.X, d.y)
    warm.fit(scale * d.X, d.y)
    cold = clone(warm).fit(scale * d.X, d.y)
    assert np.all(warm.converged_)
    np.testing.assert_allclose(warm.objective_, cold.objective_, rtol=1e-6)


@over_storage
@over_ratios
@over_classes
def test_sparsify_keeps_the_non_zeros_and_densify_gives_the_same_bits(
    Classifier, data, n_classes, l1_ratio, storage
):
    d = data(n_classes, p=12)
    X = storage(fewer_entries(d.X))
    classifier = Classifier(C=0.05, l1_ratio=l1_ratio).fit(X, d.y)
    coef = classifier.coef_.copy()
    results = classifier.decision_function(X)
    assert classifier.sparsify().coef_.nnz == np.count_nonzero(coef) < coef.size
    np.testing.assert_allclose(classifier.decision_function(X), results, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(classifier.densify().coef_, coef)
    np.testing.assert_array_equal(classifier.decision_function(X), results)
