"""The classifiers against scikit-learn's contract and optima, and their own certificate."""

import pickle
import warnings
from types import SimpleNamespace

import naive
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

from sk_softmax import OvAClassifier, SoftmaxClassifier, _prediction
from sk_softmax._design import dense

PENALTIES = {
    "l2": {},
    "l1": {"l1_ratio": 1.0},
    "elastic net": {"l1_ratio": 0.5},
    "none": {"C": np.inf},
}
TIGHT = 1e-9
# What scikit-learn checks only where an optional array library is installed and switched on.
SKIPPED_CHECKS = {"check_array_api_input"}
ignore_convergence = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"  # wanted here, and tested where it matters
)


def over_penalties(test):
    return pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)(test)


def certificates(classifier):
    """What a fit says about each of its problems, as arrays."""
    names = ("converged_", "objective_", "optimality_", "dual_gap_")
    return (np.atleast_1d(getattr(classifier, name)) for name in names)


def of_twin(function, classifier, X, y, s=None, model=None, **parameters):
    """`naive.objective` or `naive.kkt_violation`, of ``model``, at the fitted coefficients."""
    model = classifier if model is None else model
    return function(
        X,
        y,
        classifier.coef_,
        classifier.intercept_,
        s=s,
        C=model.C,
        l1_ratio=model.l1_ratio,
        coupled=isinstance(model, SoftmaxClassifier),
        **parameters,
    )


def assert_certificate_is_true(classifier, X, y, s=None):
    """``objective_`` and ``optimality_`` are what the twins compute."""
    _, objective, optimality, _ = certificates(classifier)
    twin = of_twin(naive.objective, classifier, X, y, s)
    np.testing.assert_allclose(objective, twin, rtol=1e-12)
    violation = of_twin(
        naive.kkt_violation, classifier, X, y, s, fit_intercept=classifier.fit_intercept
    )
    # gradients are differences of numbers near 1 in size
    np.testing.assert_allclose(optimality, violation, rtol=1e-6, atol=1e-14)


# ---- scikit-learn's own checks ------------------------------------------------------------


@ignore_convergence
@over_penalties
def test_scikit_learn_checks(Classifier, penalty):
    results = check_estimator(Classifier(**penalty), on_skip=None, on_fail=None)
    by_status = {"failed": {}, "skipped": {}, "passed": {}}
    for result in results:
        by_status[result["status"]][result["check_name"]] = result["exception"]
    assert by_status["failed"] == {}
    assert set(by_status["skipped"]) <= SKIPPED_CHECKS
    assert len(by_status["passed"]) > 40


def test_scikit_learn_checks_are_all_meant_to_pass(Classifier):
    tags = Classifier().__sklearn_tags__()
    assert tags.input_tags.sparse
    assert not tags.no_validation
    assert not tags._skip_test
    assert not tags.non_deterministic
    assert not tags.classifier_tags.poor_score
    assert tags.classifier_tags.multi_class


# ---- attributes -----------------------------------------------------------------------------


@over_penalties
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_shapes_and_types_of_attributes(Classifier, data, n_classes, penalty):
    d = data(n_classes)
    classifier = Classifier(**penalty).fit(d.X, d.y)
    outputs = 1 if n_classes == 2 else n_classes
    problems = outputs if Classifier is OvAClassifier else 1
    assert classifier.coef_.shape == (outputs, 6)
    assert classifier.intercept_.shape == (outputs,)
    assert classifier.coef_.dtype == classifier.intercept_.dtype == np.float64
    assert classifier.n_iter_.shape == (problems,)
    assert np.issubdtype(classifier.n_iter_.dtype, np.integer)
    assert classifier.n_iter_.min() >= 1
    assert classifier.n_features_in_ == 6
    assert not hasattr(classifier, "feature_names_in_")
    assert classifier.solver_ in {"lbfgs", "newton"}
    np.testing.assert_array_equal(classifier.classes_, np.arange(n_classes))
    floats = classifier.objective_, classifier.optimality_, classifier.dual_gap_
    if Classifier is SoftmaxClassifier:
        assert classifier.converged_ is True
        assert all(type(value) is float for value in floats)
    else:
        assert classifier.converged_.dtype == bool
        assert all(value.dtype == np.float64 for value in floats)
        assert all(value.shape == (outputs,) for value in (*floats, classifier.converged_))


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
def test_coefficients_are_float64_and_predictions_follow_the_data(Classifier, data, storage):
    d = data(3)
    X = d.X.astype(np.float32)
    classifier = Classifier().fit(storage(X), d.y)
    assert classifier.coef_.dtype == classifier.intercept_.dtype == np.float64
    methods = ["decision_function", "predict_proba", "predict_log_proba"]
    if Classifier is OvAClassifier:
        methods += ["predict_ova_proba", "predict_log_ova_proba"]
    for method in methods:
        for dtype in (np.float32, np.float64):
            result = getattr(classifier, method)(storage(X.astype(dtype)))
            assert result.dtype == dtype
            assert result.shape == (150, 3)


@over_penalties
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_certificate_is_true(Classifier, data, n_classes, fit_intercept, penalty):
    d = data(n_classes)
    classifier = Classifier(fit_intercept=fit_intercept, **penalty).fit(d.X, d.y, d.s)
    converged, _, optimality, gap = certificates(classifier)
    assert converged.all()
    assert (optimality <= classifier.tol).all()
    assert np.isnan(gap).all() == np.isinf(classifier.C)
    assert_certificate_is_true(classifier, d.X, d.y, d.s)
    if not fit_intercept:
        assert not classifier.intercept_.any()


@over_penalties
def test_intercepts_sum_to_0_and_so_do_unpenalised_coefficients(data, penalty):
    d = data(4)
    classifier = SoftmaxClassifier(**penalty).fit(d.X + 3.0, d.y)
    assert abs(classifier.intercept_.sum()) <= 1e-12 * np.abs(classifier.intercept_).max()
    if penalty.get("l1_ratio", 0.0) == 0.0:
        sums = classifier.coef_.sum(axis=0)
        np.testing.assert_allclose(sums, 0.0, atol=1e-10 * np.abs(classifier.coef_).max())


@pytest.mark.parametrize("n_classes", [3, 4, 6])
@pytest.mark.parametrize("C", [0.1, 2.0])
def test_l1_coefficients_are_the_sparsest_with_their_probabilities_then_the_smallest(
    data, C, n_classes
):
    d = data(n_classes, n=200, p=20)
    classifier = SoftmaxClassifier(C=C, l1_ratio=1.0).fit(d.X, d.y)
    for w in classifier.coef_.T:
        shifts = w[:, None] - w  # all choices with an exact 0, one a column
        penalty, zeros = np.abs(shifts).sum(axis=0), (shifts == 0).sum(axis=0)
        assert np.abs(w).sum() <= penalty.min() * (1 + 1e-9)
        as_good = penalty <= np.abs(w).sum() * (1 + 1e-9)
        assert (w == 0).sum() == zeros[as_good].max()
        as_sparse = as_good & (zeros == (w == 0).sum())
        assert (w**2).sum() <= (shifts**2).sum(axis=0)[as_sparse].min() * (1 + 1e-9)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
def test_unpenalised_coefficients_of_collinear_features_have_the_least_norm(
    Classifier, data, solver
):
    d = data(3, n=300, p=3)
    X = np.column_stack([d.X, d.X[:, 0], d.X[:, 1] + d.X[:, 2], np.full(300, 7.0)])
    coef = Classifier(C=np.inf, solver=solver).fit(X, d.y).coef_
    centred = X - X.mean(axis=0)
    in_row_space = coef @ np.linalg.pinv(centred, rcond=1e-10) @ centred
    np.testing.assert_allclose(coef, in_row_space, atol=1e-6)


def test_zero_weights_leave_before_classes_are_known(Classifier, data):
    d = data(4)
    s = np.where(d.y == 2, 0.0, d.s)
    s[::5] = 0.0
    classifier = Classifier().fit(d.X, d.y, s)
    kept = s > 0
    same = Classifier().fit(d.X[kept], d.y[kept], s[kept])
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 3])
    np.testing.assert_array_equal(classifier.coef_, same.coef_)
    np.testing.assert_array_equal(classifier.intercept_, same.intercept_)


def test_a_class_of_weight_0_by_class_weight_is_not_in_classes(Classifier, data):
    d = data(4)
    classifier = Classifier(class_weight={2: 0.0}).fit(d.X, d.y)
    np.testing.assert_array_equal(classifier.classes_, [0, 1, 3])


@pytest.mark.parametrize(
    "weights", [None, [1.0, 1.0, 0.0, 0.0]], ids=["one label", "one label with weight"]
)
def test_one_class_is_an_error(Classifier, weights):
    X = np.arange(8.0).reshape(4, 2)
    y = [5, 5, 5, 5] if weights is None else [5, 5, 7, 7]
    message = (
        "This solver needs samples of at least 2 classes in the data, "
        "but the data contains only one class: .*5"
    )
    with pytest.raises(ValueError, match=message):
        Classifier().fit(X, y, weights)


def test_many_classes(Classifier, data):
    d = data(60, n=900, p=8)
    classifier = Classifier().fit(d.X, d.y)
    assert np.all(classifier.converged_)
    assert classifier.coef_.shape == (60, 8)
    probability = classifier.predict_proba(d.X)
    assert probability.shape == (900, 60)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(classifier.predict(d.X), probability.argmax(axis=1))


# ---- predictions ----------------------------------------------------------------------------


def test_softmax_probabilities(data):
    d = data(4)
    classifier = SoftmaxClassifier().fit(d.X, d.y)
    Z = d.X @ classifier.coef_.T + classifier.intercept_
    np.testing.assert_allclose(classifier.decision_function(d.X), Z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(classifier.predict_proba(d.X), naive.softmax(Z).astype(float))
    np.testing.assert_array_equal(classifier.predict(d.X), Z.argmax(axis=1))
    assert classifier.score(d.X, d.y) == np.mean(Z.argmax(axis=1) == d.y)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("storage", [np.asarray, np.asfortranarray, sparse.csr_matrix])
def test_many_rows_are_predicted_like_few(Classifier, data, n_classes, dtype, storage, monkeypatch):
    """Those of softmax by a kernel, where it reads X; also from coefficients stored sparse."""
    d = data(n_classes)
    classifier, X = Classifier(l1_ratio=1.0).fit(d.X, d.y), storage(d.X.astype(dtype))
    expected, taken = classifier.predict_proba(X), []
    kernel = dense.softmax_probabilities

    def noting(*args):
        taken.append(kernel(*args))
        return taken[-1]

    monkeypatch.setattr(_prediction, "MANY", 0)
    monkeypatch.setattr(dense, "softmax_probabilities", noting)
    probability = classifier.predict_proba(X)
    coupled = isinstance(classifier, SoftmaxClassifier) and n_classes > 2
    assert len(taken) == (coupled and not sparse.issparse(X))
    assert all((result is not None) == X.flags.c_contiguous for result in taken)
    assert probability.dtype == dtype
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(probability, expected, rtol=rtol)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=rtol)
    classifier.sparsify().predict_proba(np.asarray(d.X))
    assert len(taken) <= 1


def test_many_rows_of_huge_numbers_are_predicted_like_few(data, monkeypatch):
    d = data(3)
    classifier = SoftmaxClassifier().fit(d.X, d.y)
    X = np.vstack([d.X, np.full((1, d.X.shape[1]), 1e305), np.full((1, d.X.shape[1]), -1e305)])
    classifier.coef_ *= 1e6
    expected = classifier.predict_proba(X)
    monkeypatch.setattr(_prediction, "MANY", 0)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)
    assert np.isfinite(expected).all()


def test_ova_probabilities(data):
    d = data(4)
    classifier = OvAClassifier().fit(d.X, d.y)
    Z = d.X @ classifier.coef_.T + classifier.intercept_
    own = naive.sigmoid(Z).astype(float)
    np.testing.assert_allclose(classifier.predict_ova_proba(d.X), own)
    normalised = own / own.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(d.X), normalised)
    np.testing.assert_array_equal(classifier.predict(d.X), Z.argmax(axis=1))


def test_binary_probabilities(Classifier, data):
    d = data(2)
    classifier = Classifier().fit(d.X, d.y)
    z = d.X @ classifier.coef_[0] + classifier.intercept_[0]
    p = naive.sigmoid(z).astype(float)
    methods = ["predict_proba"]
    if Classifier is OvAClassifier:
        methods += ["predict_ova_proba"]
    for method in methods:
        np.testing.assert_allclose(
            getattr(classifier, method)(d.X), np.column_stack([1 - p, p]), rtol=1e-10
        )
    np.testing.assert_allclose(classifier.decision_function(d.X), z, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(classifier.predict(d.X), (z > 0).astype(int))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_log_probabilities_are_logarithms_of_probabilities(Classifier, data, n_classes):
    d = data(n_classes)
    classifier = Classifier().fit(d.X, d.y)
    pairs = [("predict_proba", "predict_log_proba")]
    if Classifier is OvAClassifier:
        pairs.append(("predict_ova_proba", "predict_log_ova_proba"))
    for proba, log_proba in pairs:
        np.testing.assert_allclose(
            np.exp(getattr(classifier, log_proba)(d.X)), getattr(classifier, proba)(d.X), rtol=1e-12
        )


LABELS = {
    "strings": np.array(["pear", "apple", "fig"]),
    "objects": np.array(["pear", "apple", "fig"], dtype=object),
    "negative integers": np.array([-3, 40, -1]),
    "small unsigned integers": np.array([200, 3, 7], dtype=np.uint8),
    "whole floats": np.array([2.0, -1.0, 0.0]),
    "two strings": np.array(["no", "a longer yes"]),
    "booleans": np.array([True, False]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(Classifier, data, kind):
    labels = LABELS[kind]
    d = data(len(labels))
    classifier = Classifier().fit(d.X, labels[d.y])
    codes = np.argsort(np.argsort(labels))
    by_code = Classifier().fit(d.X, codes[d.y])
    np.testing.assert_array_equal(classifier.classes_, np.sort(labels))
    assert classifier.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(classifier.coef_, by_code.coef_)
    predicted = classifier.predict(d.X)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, np.sort(labels)[by_code.predict(d.X)])


# ---- optima ---------------------------------------------------------------------------------


def assert_same_optimum(ours, theirs, d, s=None, accuracy=1e-9, probability=1e-6):
    """F no higher than the reference's, probabilities as its own."""
    X, y = d.X, d.y
    best = of_twin(naive.objective, theirs, X, y, s, model=ours)
    np.testing.assert_allclose(of_twin(naive.objective, ours, X, y, s), best, rtol=accuracy)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=probability)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton"])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0, np.inf])
def test_l2_optimum_is_that_of_newton_cholesky(
    data, reference, C, solver, n_classes, fit_intercept, weighted
):
    d = data(n_classes)
    s = d.s if weighted else None
    ours = SoftmaxClassifier(C=C, solver=solver, fit_intercept=fit_intercept, tol=TIGHT)
    theirs = reference("newton-cholesky", C=C, fit_intercept=fit_intercept)
    assert_same_optimum(ours.fit(d.X, d.y, s), theirs.fit(d.X, d.y, s), d, s)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_l1_and_elastic_net_optimum_is_that_of_saga(
    data, reference, C, l1_ratio, solver, n_classes, fit_intercept, weighted
):
    d = data(n_classes)
    s = d.s if weighted else None
    ours = SoftmaxClassifier(
        C=C, l1_ratio=l1_ratio, solver=solver, fit_intercept=fit_intercept, tol=TIGHT
    )
    theirs = reference("saga", C=C, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
    assert_same_optimum(ours.fit(d.X, d.y, s), theirs.fit(d.X, d.y, s), d, s)


@pytest.mark.parametrize("C", [0.05, 1.0])
def test_binary_l1_optimum_is_that_of_liblinear(Classifier, data, reference, C):
    d = data(2)
    ours = Classifier(C=C, l1_ratio=1.0, fit_intercept=False, tol=TIGHT).fit(d.X, d.y)
    theirs = reference("liblinear", C=C, l1_ratio=1.0, fit_intercept=False).fit(d.X, d.y)
    assert_same_optimum(ours, theirs, d)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)


@over_penalties
def test_two_classes_are_one_model(data, penalty):
    d = data(2)
    softmax = SoftmaxClassifier(tol=TIGHT, **penalty).fit(d.X, d.y)
    ova = OvAClassifier(tol=TIGHT, **penalty).fit(d.X, d.y)
    assert softmax.objective_ == pytest.approx(ova.objective_[0], rel=1e-12)
    np.testing.assert_allclose(softmax.coef_, ova.coef_, rtol=1e-6)
    np.testing.assert_allclose(softmax.predict_proba(d.X), ova.predict_proba(d.X), atol=1e-8)


@over_penalties
def test_ova_problems_are_binary_problems(data, penalty):
    d = data(4)
    ova = OvAClassifier(tol=TIGHT, **penalty).fit(d.X, d.y, d.s)
    for k in range(4):
        binary = SoftmaxClassifier(tol=TIGHT, **penalty).fit(d.X, d.y == k, d.s)
        assert ova.objective_[k] == pytest.approx(binary.objective_, rel=1e-10)
        np.testing.assert_allclose(
            ova.predict_ova_proba(d.X)[:, k], binary.predict_proba(d.X)[:, 1], atol=1e-6
        )


def null_objective(Classifier, y, s=None):
    """F of the best model without features."""
    share = np.bincount(y, s)
    share = share / share.sum()
    if Classifier is SoftmaxClassifier:
        return -(share * np.log(share)).sum()
    return -(share * np.log(share) + (1 - share) * np.log(1 - share))


# n, p, K, share of entries that are not 0: each takes another way through the solvers
SHAPES = {
    "many rows": (20_000, 4, 3, 1.0),
    "many rows, sparse": (20_000, 30, 3, 0.1),
    "more features than rows": (60, 900, 3, 1.0),
    "more features than rows, sparse": (200, 3000, 3, 0.01),
    "many coefficients": (500, 205, 10, 1.0),
    "many coefficients, sparse": (500, 205, 10, 0.05),
    "many classes": (2000, 10, 40, 1.0),
    "one feature": (100, 1, 3, 1.0),
    "fewer rows than classes need": (8, 3, 5, 1.0),
}


def shaped_data(n, p, K, density, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * (rng.uniform(size=(n, p)) < density)
    noise = rng.gumbel(size=(n, K))
    y = (X @ rng.normal(scale=2 / np.sqrt(p * density), size=(p, K)) + noise).argmax(axis=1)
    y[:K] = np.arange(K)
    return (X if density == 1 else sparse.csr_matrix(X)), y


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_promise_is_kept_at_any_shape(Classifier, shape, l1_ratio):
    X, y = shaped_data(*SHAPES[shape])
    classifier = Classifier(l1_ratio=l1_ratio).fit(X, y)
    converged, objective, optimality, gap = certificates(classifier)
    assert converged.all()
    assert (optimality <= classifier.tol).all()
    assert_certificate_is_true(classifier, X, y)
    excess = objective - clone(classifier).set_params(tol=1e-7).fit(X, y).objective_
    assert (excess <= 0.01 * classifier.tol * null_objective(Classifier, y)).all()
    assert (excess <= gap + 1e-14).all()


def test_the_promise_is_kept_with_thousands_of_coefficients_that_are_not_0():
    X, y = shaped_data(500, 270, 10, 1.0)
    classifier = SoftmaxClassifier(C=100.0, l1_ratio=0.01).fit(X, y)
    assert np.count_nonzero(classifier.coef_) > 2500
    assert classifier.converged_
    assert_certificate_is_true(classifier, X, y)


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_optimum_at_any_shape_is_that_of_newton_cg(data, reference, shape):
    X, y = shaped_data(*SHAPES[shape])
    ours = SoftmaxClassifier(tol=TIGHT).fit(X, y)
    theirs = reference("newton-cg").fit(X, y)
    assert_same_optimum(ours, theirs, SimpleNamespace(X=X, y=y))


@pytest.mark.parametrize(("seed", "optimum"), [(0, 0.119585), (1, 0.166559), (2, 0.124905)])
def test_default_fit_reaches_the_optimum_in_any_units(seed, optimum):
    X, y = make_classification(
        n_samples=100, n_features=60, n_informative=20, n_classes=2 + seed % 3, random_state=seed
    )
    X[:, 1] *= 1e3
    X[:, 1] -= 1e5
    X[:, 0] *= 1e-2
    X[:, 7] *= 1e6
    X[:, 9] = X[:, 9] * 1e-9 + 1
    classifier = SoftmaxClassifier().fit(X, y)
    assert classifier.converged_
    assert classifier.objective_ == pytest.approx(optimum, abs=1.5e-6)
    # logits are differences of numbers up to 1e6 in size, which leaves ten digits
    twin = of_twin(naive.objective, classifier, X, y)
    np.testing.assert_allclose(classifier.objective_, twin, rtol=1e-9)


@pytest.mark.parametrize("tol", [1.0, 1e-1, 1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("C", [0.1, 100.0])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_suboptimality_is_below_the_promise_and_the_gap(Classifier, data, l1_ratio, C, tol):
    d = data(3)
    model = Classifier(C=C, l1_ratio=l1_ratio)
    best = clone(model).set_params(tol=TIGHT).fit(d.X, d.y, d.s).objective_
    classifier = model.set_params(tol=tol).fit(d.X, d.y, d.s)
    excess = np.atleast_1d(classifier.objective_ - best)
    rounding = 1e-14
    assert (excess <= 0.01 * tol * null_objective(Classifier, d.y, d.s) + rounding).all()
    assert (excess <= np.atleast_1d(classifier.dual_gap_) + rounding).all()


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
@pytest.mark.parametrize("tol", [1.0, 1e-1, 1e-4])
def test_suboptimality_without_a_penalty_is_below_the_promise(Classifier, data, tol, solver):
    d = data(3)
    model = Classifier(C=np.inf, solver=solver)
    best = clone(model).set_params(tol=TIGHT).fit(d.X, d.y, d.s).objective_
    excess = model.set_params(tol=tol).fit(d.X, d.y, d.s).objective_ - best
    assert np.all(excess <= 0.01 * tol * null_objective(Classifier, d.y, d.s) + 1e-14)


@ignore_convergence
@pytest.mark.parametrize("max_iter", [0, 1, 2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@over_penalties
def test_fits_that_were_cut_off_tell_the_truth(Classifier, data, penalty, fit_intercept, max_iter):
    d = data(3)
    model = Classifier(fit_intercept=fit_intercept, tol=TIGHT, **penalty)
    best = clone(model).fit(d.X, d.y).objective_
    classifier = model.set_params(max_iter=max_iter).fit(d.X, d.y)
    converged, objective, optimality, gap = certificates(classifier)
    assert not converged.any()
    assert (optimality > TIGHT).all()
    assert classifier.n_iter_.max() <= max_iter
    assert_certificate_is_true(classifier, d.X, d.y)
    if np.isfinite(classifier.C):
        assert (objective - best <= gap + 1e-14).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_classes_without_a_penalty_are_named_as_the_cause(Classifier, data, n_classes):
    d = data(n_classes)
    X = np.column_stack([d.X, 10.0 * np.eye(n_classes)[d.y]])
    with pytest.warns(ConvergenceWarning, match=r"linearly separable.*finite C"):
        classifier = Classifier(C=np.inf).fit(X, d.y)
    assert not np.any(classifier.converged_)
    assert np.isfinite(classifier.coef_).all()
    assert classifier.score(X, d.y) == 1.0


def test_a_warning_names_the_classes_that_did_not_converge():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    names = np.array(["apart", "mixed", "blended"], dtype=object)
    y = names[rng.integers(3, size=60)]
    X[y == "apart", 0] += 100.0
    with pytest.warns(ConvergenceWarning, match=r"separable") as record:
        classifier = OvAClassifier(C=np.inf).fit(X, y)
    np.testing.assert_array_equal(classifier.converged_, classifier.classes_ != "apart")
    (message,) = [str(warning.message) for warning in record]
    assert "apart" in message
    assert "mixed" not in message


# ---- class weights --------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_class_weights_of_a_dict_are_weights_of_rows(Classifier, data, n_classes):
    d = data(n_classes)
    weight = {0: 0.3, 1: 2.5}  # classes that are left out weigh 1
    classifier = Classifier(class_weight=weight).fit(d.X, d.y, d.s)
    s = d.s * np.array([weight.get(label, 1.0) for label in d.y])
    same = Classifier().fit(d.X, d.y, s)
    np.testing.assert_allclose(classifier.coef_, same.coef_, rtol=1e-12)


def test_softmax_balanced_gives_every_class_the_same_weight(data):
    d = data(3)
    kept = (d.y != 0) | (np.arange(150) % 5 == 0)
    X, y = d.X[kept], d.y[kept]
    balanced = SoftmaxClassifier(class_weight="balanced").fit(X, y)
    same = SoftmaxClassifier().fit(X, y, compute_sample_weight("balanced", y))
    np.testing.assert_allclose(balanced.coef_, same.coef_, rtol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_ova_balanced_is_one_vs_rest_balanced(data, reference, n_classes):
    d = data(n_classes)
    kept = (d.y != 0) | (np.arange(150) % 5 == 0)
    X, y = d.X[kept], d.y[kept]
    ours = OvAClassifier(class_weight="balanced", tol=TIGHT).fit(X, y)
    theirs = OneVsRestClassifier(reference("newton-cholesky", class_weight="balanced")).fit(X, y)
    np.testing.assert_allclose(
        ours.coef_, np.vstack([binary.coef_ for binary in theirs.estimators_]), atol=1e-6
    )
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("C", [0.1, 10.0])
def test_ova_without_weights_is_one_vs_rest(data, reference, C):
    d = data(4)
    ours = OvAClassifier(C=C, tol=TIGHT).fit(d.X, d.y)
    theirs = OneVsRestClassifier(reference("newton-cholesky", C=C)).fit(d.X, d.y)
    np.testing.assert_allclose(
        ours.coef_, np.vstack([binary.coef_ for binary in theirs.estimators_]), atol=1e-6
    )


# ---- warm start -----------------------------------------------------------------------------


@over_penalties
@pytest.mark.parametrize("n_classes", [2, 4])
def test_warm_refit_at_the_optimum_stays_there(Classifier, data, n_classes, penalty):
    d = data(n_classes)
    classifier = Classifier(warm_start=True, **penalty).fit(d.X, d.y)
    probability, objective = classifier.predict_proba(d.X), classifier.objective_
    classifier.fit(d.X, d.y)
    assert classifier.n_iter_.max() <= 1
    assert np.all(classifier.converged_)
    np.testing.assert_allclose(classifier.objective_, objective, rtol=1e-6)
    np.testing.assert_allclose(classifier.predict_proba(d.X), probability, atol=1e-3)


def differences(classifier, X, labels):
    """What the model says of ``labels``: logits, for softmax by how much they differ."""
    Z = classifier.decision_function(X)
    if Z.ndim == 1:
        return Z
    columns = np.searchsorted(classifier.classes_, labels)
    Z = Z[:, columns]
    return Z - Z[:, :1] if isinstance(classifier, SoftmaxClassifier) else Z


TRANSITIONS = {
    "one more class": ([0, 1, 2], [0, 1, 2, 3]),
    "one less class": ([0, 1, 2, 3], [0, 1, 3]),
    "another class instead": ([0, 1, 2], [0, 2, 3]),
    "from two classes": ([1, 2], [0, 1, 2]),
}


@ignore_convergence
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_warm_start_goes_by_label(Classifier, data, transition):
    d = data(4)
    before, after = TRANSITIONS[transition]
    old, new = np.isin(d.y, before), np.isin(d.y, after)
    classifier = Classifier(warm_start=True).fit(d.X[old], d.y[old])
    shared = np.intersect1d(before, after)
    Z = differences(classifier, d.X, shared)
    classifier.set_params(max_iter=0).fit(d.X[new], d.y[new])  # returns where it starts
    np.testing.assert_array_equal(classifier.classes_, after)
    restarted = differences(classifier, d.X, shared)
    if Z.ndim == 1:  # classes 1 and 2 and nothing else, by one logit
        if Classifier is OvAClassifier:
            restarted = restarted[:, 1]
        else:
            restarted = restarted[:, 1] - restarted[:, 0]
    np.testing.assert_allclose(restarted, Z, atol=1e-10)


@ignore_convergence
def test_warm_start_down_to_two_classes_keeps_their_difference(Classifier, data):
    d = data(3)
    kept = d.y != 1
    classifier = Classifier(warm_start=True).fit(d.X, d.y)
    Z = classifier.decision_function(d.X)
    classifier.set_params(max_iter=0).fit(d.X[kept], d.y[kept])
    expected = Z[:, 2] - Z[:, 0] if Classifier is SoftmaxClassifier else Z[:, 2]
    np.testing.assert_allclose(classifier.decision_function(d.X), expected, atol=1e-10)


@over_penalties
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_warm_start_ends_where_a_cold_start_ends(Classifier, data, transition, penalty):
    d = data(4)
    before, after = TRANSITIONS[transition]
    old, new = np.isin(d.y, before), np.isin(d.y, after)
    warm = Classifier(warm_start=True, tol=TIGHT, **penalty).fit(d.X[old], d.y[old])
    warm.fit(d.X[new], d.y[new])
    cold = Classifier(tol=TIGHT, **penalty).fit(d.X[new], d.y[new])
    np.testing.assert_allclose(warm.objective_, cold.objective_, rtol=1e-9)
    np.testing.assert_allclose(warm.predict_proba(d.X), cold.predict_proba(d.X), atol=1e-6)


@pytest.mark.parametrize("change", ["labels permuted", "weights", "fit_intercept", "features"])
def test_warm_start_survives_other_data(Classifier, data, change):
    d = data(3)
    warm = Classifier(warm_start=True, tol=TIGHT).fit(d.X, d.y)
    X, y, s = d.X, d.y, None
    if change == "labels permuted":
        y = np.array([2, 0, 1])[d.y]
    elif change == "weights":
        s = d.s
    elif change == "fit_intercept":
        warm.set_params(fit_intercept=False)
    else:
        X = d.X[:, :3]
    warm.fit(X, y, s)
    cold = clone(warm).set_params(warm_start=False).fit(X, y, s)
    np.testing.assert_allclose(warm.objective_, cold.objective_, rtol=1e-9)
    np.testing.assert_allclose(warm.predict_proba(X), cold.predict_proba(X), atol=1e-6)


def test_without_warm_start_a_refit_forgets(Classifier, data):
    d, other = data(3), data(3, seed=1)
    classifier = Classifier().fit(other.X, other.y).fit(d.X, d.y)
    np.testing.assert_array_equal(classifier.coef_, Classifier().fit(d.X, d.y).coef_)


# ---- storage, copies, threads ---------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_sparse_coefficients_predict_the_same(Classifier, data, n_classes):
    d = data(n_classes)
    classifier = Classifier(l1_ratio=1.0, C=0.1).fit(d.X, d.y)
    dense, probability = classifier.coef_, classifier.predict_proba(d.X)
    assert classifier.sparsify() is classifier
    assert sparse.issparse(classifier.coef_)
    np.testing.assert_array_equal(classifier.coef_.toarray(), dense)
    np.testing.assert_allclose(classifier.predict_proba(d.X), probability, rtol=1e-12)
    np.testing.assert_allclose(
        classifier.predict_proba(sparse.csr_matrix(d.X)), probability, rtol=1e-12
    )
    classifier.set_params(warm_start=True).fit(d.X, d.y)
    assert classifier.n_iter_.max() <= 1
    assert isinstance(classifier.coef_, np.ndarray)
    classifier.sparsify()
    assert classifier.densify() is classifier
    assert isinstance(classifier.coef_, np.ndarray)


def fitted(classifier):
    """All that a fit has stored."""
    return {name: value for name, value in vars(classifier).items() if name.endswith("_")}


def assert_same_fit(first, second):
    """The same attributes with the same bits."""
    first, second = fitted(first), fitted(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@over_penalties
def test_refits_have_the_same_bits(Classifier, data, penalty):
    d = data(3)
    classifier = Classifier(**penalty).fit(d.X, d.y, d.s)
    first = pickle.loads(pickle.dumps(classifier))
    assert_same_fit(classifier.fit(d.X, d.y, d.s), first)
    assert_same_fit(clone(classifier).fit(d.X, d.y, d.s), first)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("storage", ["dense", "float32", "sparse"])
def test_the_number_of_threads_changes_no_bit(Classifier, storage, l1_ratio):
    rng = np.random.default_rng(0)
    n, p = 30_000, 40  # enough for the work to be split
    X = rng.normal(size=(n, p))
    y = (X[:, :6] + rng.normal(scale=3.0, size=(n, 6))).argmax(axis=1)
    if storage == "float32":
        X = X.astype(np.float32)
    if storage == "sparse":
        X = sparse.csr_matrix(X)
    model = Classifier(C=0.01, l1_ratio=l1_ratio, tol=1e-2)
    assert_same_fit(
        clone(model).set_params(n_jobs=1).fit(X, y), clone(model).set_params(n_jobs=2).fit(X, y)
    )


def test_pickle_keeps_everything(Classifier, data):
    d = data(3)
    classifier = Classifier(C=2.0).fit(d.X, d.y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert loaded.get_params() == classifier.get_params()
    assert_same_fit(loaded, classifier)
    np.testing.assert_array_equal(loaded.predict_proba(d.X), classifier.predict_proba(d.X))


PARAMETERS = {
    "C": 1.0,
    "l1_ratio": 0.0,
    "fit_intercept": True,
    "class_weight": None,
    "solver": "auto",
    "tol": 1e-4,
    "max_iter": 1000,
    "warm_start": False,
    "n_jobs": None,
    "verbose": 0,
}


def test_parameters_and_their_defaults(Classifier):
    assert Classifier().get_params() == PARAMETERS
    with pytest.raises(TypeError):
        Classifier(1.0)


def test_clone_keeps_parameters_and_drops_the_fit(Classifier, data):
    d = data(3)
    weight = {0: 2.0}
    copy = clone(Classifier(C=3.0, l1_ratio=0.5, class_weight=weight).fit(d.X, d.y))
    assert copy.get_params() == {**PARAMETERS, "C": 3.0, "l1_ratio": 0.5, "class_weight": weight}
    assert fitted(copy) == {}


def test_fit_leaves_parameters_and_data_alone(Classifier, data):
    d = data(3)
    X, y, s = d.X.copy(), d.y.copy(), d.s.copy()
    classifier = Classifier(class_weight="balanced")
    assert classifier.fit(X, y, s) is classifier
    assert classifier.get_params() == {**PARAMETERS, "class_weight": "balanced"}
    for array, original in zip((X, y, s), (d.X, d.y, d.s), strict=True):
        np.testing.assert_array_equal(array, original)


def test_verbose_prints_and_silence_is_the_default(Classifier, data, capsys):
    d = data(3)
    Classifier().fit(d.X, d.y)
    assert capsys.readouterr().out == ""
    Classifier(verbose=1).fit(d.X, d.y)
    assert capsys.readouterr().out != ""


@over_penalties
def test_a_plain_fit_warns_of_nothing(Classifier, data, penalty):
    d = data(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Classifier(**penalty).fit(d.X, d.y).predict_proba(d.X)
