"""Cross-validation: scores, choice and model are GridSearchCV's, whatever is shared on the way."""

import tracemalloc
import warnings
from threading import Barrier

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import STORAGE, over
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.metrics import get_scorer, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sk_softmax import (
    OvAClassifier,
    OvAClassifierCV,
    SoftmaxClassifier,
    SoftmaxClassifierCV,
)
from sk_softmax._cross_validation import folds as shared_folds
from sk_softmax._cross_validation.selection import Selection
from sk_softmax._objective import make_objective
from sk_softmax._preconditioner.rows import stratified_rows
from sk_softmax._threads import Workers

PLAIN = {SoftmaxClassifierCV: SoftmaxClassifier, OvAClassifierCV: OvAClassifier}
TIGHT = 1e-9
# GridSearchCV passes sample_weight on to the scorer by itself.
WEIGHS_SCORES = hasattr(get_scorer("accuracy"), "_accept_sample_weight")


@pytest.fixture(params=list(PLAIN), ids=lambda CV: CV.__name__)
def CV(request):
    """Each of the two classifiers."""
    return request.param


def grid_search(
    CV, X, y, *, Cs, l1_ratios=(0.0,), cv=None, scoring="neg_log_loss", fit=None, **shared
):
    """GridSearchCV around the plain classifier, with its scores laid out as ours."""
    grid = {"C": list(Cs), "l1_ratio": list(l1_ratios)}
    search = GridSearchCV(PLAIN[CV](**shared), grid, cv=cv, scoring=scoring)
    search.fit(X, y, **(fit or {}))
    n_folds = search.n_splits_
    scores = np.array([search.cv_results_[f"split{fold}_test_score"] for fold in range(n_folds)])
    return search, scores.reshape(n_folds, len(Cs), len(l1_ratios)).transpose(0, 2, 1)


def assert_same(classifier, search, scores, X, atol=1e-6):
    """Scores, choice and predictions are those of a grid search."""
    np.testing.assert_allclose(classifier.scores_, scores, atol=atol, rtol=1e-5)
    mean = search.cv_results_["mean_test_score"].reshape(scores.shape[2], scores.shape[1]).T
    np.testing.assert_allclose(classifier.mean_scores_, mean, atol=atol, rtol=1e-5)
    assert {"C": classifier.C_, "l1_ratio": classifier.l1_ratio_} == search.best_params_
    np.testing.assert_array_equal(classifier.coef_, search.best_estimator_.coef_)
    np.testing.assert_array_equal(classifier.predict_proba(X), search.predict_proba(X))


# ---- equal to GridSearchCV -----------------------------------------------------------------


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**16),
    n_classes=st.integers(2, 4),
    n=st.integers(40, 90),
    p=st.integers(1, 12),
    l1_ratios=st.sampled_from([(0.0,), (1.0,), (1.0, 0.0), (0.3, 0.8)]),
    Cs=st.sampled_from([(0.01, 1.0, 100.0), (10.0, 0.1, 1.0), (0.5,)]),
    fit_intercept=st.booleans(),
    class_weight=st.sampled_from([None, "balanced", {0: 3.0}]),
    weights=st.booleans(),
    scoring=st.sampled_from(["neg_log_loss", "accuracy", None]),
    storage=st.sampled_from(["C", "F", "CSR", "float32"]),
    shared=st.booleans(),
)
def test_scores_choice_and_model_are_a_grid_search_s(
    data, seed, n_classes, n, p, l1_ratios, Cs, fit_intercept, class_weight, weights, scoring,
    storage, shared,
):  # fmt: skip
    d = data(n_classes, n=n, p=p, seed=seed)
    X = STORAGE[storage](d.X)
    fit = {"sample_weight": d.s} if weights and WEIGHS_SCORES and scoring is not None else {}
    if scoring != "neg_log_loss":  # what models without coefficients predict may be a tie
        l1_ratios = (0.0,)
    plain = {"fit_intercept": fit_intercept, "class_weight": class_weight, "tol": TIGHT}
    grid = {"Cs": Cs, "l1_ratios": l1_ratios, "cv": 3, "scoring": scoring}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_folds, "COPIED", -1 if shared else 2**40)
        for CV in PLAIN:
            search, scores = grid_search(CV, X, d.y, fit=fit, **grid, **plain)
            classifier = CV(**grid, **plain).fit(X, d.y, **fit)
            if scoring is None or scoring == "accuracy":
                np.testing.assert_allclose(classifier.scores_, scores, atol=1e-12)
            atol = 1e-4 if storage == "float32" else 1e-6
            assert_same(classifier, search, scores, X, atol=atol)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_raw_data_with_every_penalty(CV, load):
    X, y = load(return_X_y=True)
    grid = {"Cs": np.logspace(-3, 3, 5), "l1_ratios": (0.0, 0.5, 1.0)}
    search, scores = grid_search(CV, X, y, tol=1e-8, **grid)
    assert_same(CV(tol=1e-8, **grid).fit(X, y), search, scores, X, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_scores_of_more_features_than_rows(CV, data, shared, monkeypatch):
    monkeypatch.setattr(shared_folds, "COPIED", -1 if shared else 2**40)
    d = data(3, n=45, p=500)
    grid = {"Cs": (1e-4, 1e-2, 1.0), "l1_ratios": (0.0,), "cv": 3}
    search, scores = grid_search(CV, d.X, d.y, tol=1e-8, **grid)
    assert_same(CV(tol=1e-8, **grid).fit(d.X, d.y), search, scores, d.X)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_folds_of_many_rows_start_from_parts_of_them(CV, data, solver, shared, monkeypatch):
    monkeypatch.setattr(shared_folds, "COPIED", -1 if shared else 2**40)
    d = data(3, n=9000, p=40)
    grid = {"Cs": (0.01, 1.0), "cv": KFold(2), "l1_ratios": (0.0, 0.5)}
    search, scores = grid_search(CV, d.X, d.y, tol=1e-8, solver=solver, **grid)
    assert_same(CV(tol=1e-8, solver=solver, **grid).fit(d.X, d.y), search, scores, d.X)


@over("scoring", {name: name for name in ("roc_auc_ovr", "neg_brier_score", "f1_macro")})
def test_other_scores(CV, data, scoring):
    d = data(3)
    grid = {"Cs": (0.1, 10.0), "scoring": scoring}
    try:
        search, scores = grid_search(CV, d.X, d.y, tol=TIGHT, **grid)
    except ValueError:
        pytest.skip("this version scores only two classes so")
    if np.isnan(scores).all():
        pytest.skip("this version scores only two classes so")
    assert_same(CV(tol=TIGHT, **grid).fit(d.X, d.y), search, scores, d.X)


def test_scorers_see_a_plain_classifier_and_the_user_s_rows(CV, data):
    pandas = pytest.importorskip("pandas")
    d = data(3)
    X = pandas.DataFrame(d.X, columns=list("abcdef"))
    seen = []

    def scorer(estimator, X, y):
        seen.append((type(estimator), estimator.C, list(X.columns), type(y)))
        return estimator.score(X, y)

    labels = pandas.Series(np.array(["x", "y", "z"])[d.y])
    classifier = CV(Cs=[1.0, 0.1], cv=3, scoring=scorer).fit(X, labels)
    expected = [(PLAIN[CV], C, list("abcdef"), pandas.Series) for _ in range(3) for C in (1.0, 0.1)]
    assert seen == expected
    np.testing.assert_array_equal(classifier.feature_names_in_, list("abcdef"))
    np.testing.assert_array_equal(classifier.classes_, ["x", "y", "z"])
    np.testing.assert_array_equal(
        classifier.scores_, CV(Cs=[1.0, 0.1], cv=3, scoring=None).fit(X, labels).scores_
    )


def test_log_losses_are_scikit_learn_s(CV, data):
    """The default score is computed here; a scorer of its own takes the other way."""
    d = data(4)
    theirs = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")
    for X in (d.X, d.X.astype(np.float32), d.X * 1e3):
        first = CV(Cs=(0.1, 1e6), cv=3).fit(X, d.y, sample_weight=d.s).scores_
        second = CV(Cs=(0.1, 1e6), cv=3, scoring=theirs).fit(X, d.y, sample_weight=d.s).scores_
        np.testing.assert_allclose(first, second, rtol=1e-6 if X.dtype == np.float32 else 1e-13)


# ---- nan, as GridSearchCV ------------------------------------------------------------------


def rare_class():
    """Three classes, one of which is in the first of three folds alone."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.integers(2, size=60)
    y[[3, 8, 11]] = 2
    return X, y


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy"])
def test_a_fold_that_misses_a_class_has_grid_search_s_scores(CV, scoring):
    X, y = rare_class()
    grid = {"Cs": (0.1, 1.0), "cv": KFold(3), "scoring": scoring}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search, scores = grid_search(CV, X, y, tol=TIGHT, **grid)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = CV(tol=TIGHT, **grid).fit(X, y)
    assert np.isnan(scores).any() == (scoring == "neg_log_loss")
    assert_same(classifier, search, scores, X)
    texts = [str(warning.message) for warning in caught]
    if scoring == "neg_log_loss":
        assert any(text.startswith("Scoring failed for 6 of the models") for text in texts)
        assert any(text.startswith("One or more of the test scores are non-f") for text in texts)
        assert {warning.filename for warning in caught} == {__file__}
    else:
        assert texts == []
    # the fold that misses the class has coefficients for the others
    missing = np.isnan(classifier.coefs_paths_).any(axis=(1, 2, 4))
    np.testing.assert_array_equal(missing, [[False, False, True], [False] * 3, [False] * 3])
    fold = PLAIN[CV](C=1.0, tol=TIGHT).fit(X[20:], y[20:])
    path = classifier.coefs_paths_[0, 0, 1]
    across = path[1] - path[0] if CV is SoftmaxClassifierCV else path[1]
    np.testing.assert_allclose(across[:4], fold.coef_[0], atol=1e-6)


def test_a_fold_that_cannot_be_fitted_is_nan(CV, data):
    d = data(2, n=40)
    order = np.argsort(d.y, kind="stable")
    y, X = d.y[order], d.X[order]
    zeros = np.flatnonzero(y == 0)
    folds = [
        (zeros, np.setdiff1d(np.arange(40), zeros)),
        (np.arange(0, 40, 2), np.arange(1, 40, 2)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search, scores = grid_search(CV, X, y, Cs=(0.1, 1.0), cv=folds, tol=TIGHT)
    with (
        pytest.warns(FitFailedWarning, match="1 of 2 folds could not be fitted"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        classifier = CV(Cs=(0.1, 1.0), cv=folds, tol=TIGHT).fit(X, y)
    assert np.isnan(classifier.scores_[0]).all()
    assert np.isnan(classifier.coefs_paths_[0]).all()
    assert_same(classifier, search, scores, X)
    with pytest.raises(ValueError, match="All 1 folds failed to be fitted"):
        clone(classifier).set_params(cv=folds[:1]).fit(X, y)


def test_an_error_leaves_the_classifier_as_it_was(CV, data):
    d = data(3)
    classifier = CV(Cs=[1.0], cv=3)
    with pytest.raises(ValueError, match="only one class"):
        classifier.fit(d.X, np.zeros(150))
    with pytest.raises(NotFittedError):
        classifier.predict(d.X)
    classifier.fit(d.X, d.y)
    before = {name: id(value) for name, value in vars(classifier).items()}
    with pytest.raises(ValueError, match="contains NaN"):
        classifier.fit(np.full((150, 2), np.nan), d.y)
    assert {name: id(value) for name, value in vars(classifier).items()} == before


# ---- selection -----------------------------------------------------------------------------


def test_one_standard_error_by_hand():
    Cs = np.array([0.1, 1.0, 10.0, 100.0])
    scores = -np.array(
        [
            [[0.9, 0.52, 0.5, 0.6], [0.9, 0.7, 0.60, 0.7]],
            [[0.8, 0.66, 0.6, 0.7], [0.9, 0.7, 0.61, 0.7]],
            [[0.7, 0.65, 0.7, 0.8], [0.9, 0.7, 0.62, 0.7]],
        ]
    )
    selection = Selection.of(scores)
    # means -0.8, -0.61, -0.6, -0.7 and -0.9, -0.7, -0.61, -0.7
    assert selection.best == (0, 2)
    # that of 0.5, 0.6, 0.7 is 0.1 / sqrt(3) = 0.0577: -0.61 is within, -0.8 is not
    np.testing.assert_allclose(selection.error[0, 2], 0.1 / 3**0.5)
    assert selection.one_standard_error(Cs) == (0, 1)
    # the other way round -0.7 stands at C = 0.1 and -0.61 at 10: neither is a smaller one within
    assert selection.one_standard_error(Cs[::-1]) == (0, 2)
    # a score that does not vary has no error: only ties with it are within
    assert Selection.of(scores[:1].repeat(3, axis=0)).one_standard_error(Cs) == (0, 2)
    assert Selection.of(scores[:1]).one_standard_error(Cs) == (0, 2)  # a single fold


def test_one_standard_error_of_a_fit(CV):
    X, y = load_iris(return_X_y=True)
    best = CV(l1_ratios=(0.0, 1.0)).fit(X, y)
    simple = CV(l1_ratios=(0.0, 1.0), selection="1se").fit(X, y)
    np.testing.assert_array_equal(best.scores_, simple.scores_)
    row = list(best.l1_ratios_).index(best.l1_ratio_)
    folds = best.scores_[:, row]
    mean = folds.sum(axis=0) / 5
    at = mean.argmax()
    error = np.sqrt(((folds[:, at] - mean[at]) ** 2).sum() / 4) / np.sqrt(5)
    within = [C for C, each in zip(best.Cs_, mean, strict=True) if each >= mean[at] - error]
    np.testing.assert_array_equal([best.C_, simple.C_], [best.Cs_[at], min(within)])
    assert simple.C_ < best.C_
    assert simple.l1_ratio_ == best.l1_ratio_
    np.testing.assert_allclose(best.standard_errors_[row, at], error)
    plain = PLAIN[CV](C=simple.C_, l1_ratio=simple.l1_ratio_).fit(X, y)
    np.testing.assert_array_equal(simple.coef_, plain.coef_)


def test_ties_are_broken_as_grid_search_does(CV, data):
    d = data(3)
    constant = lambda estimator, X, y: 0.25 + 0.0 * estimator.C  # noqa: E731
    grid = {"Cs": (10.0, 0.1, 1.0), "l1_ratios": (0.5, 0.0), "scoring": constant, "cv": 3}
    search, scores = grid_search(CV, d.X, d.y, **grid)
    classifier = CV(**grid).fit(d.X, d.y)
    assert_same(classifier, search, scores, d.X)
    assert (classifier.C_, classifier.l1_ratio_) == (10.0, 0.5)
    simplest = CV(**grid, selection="1se").fit(d.X, d.y)
    assert (simplest.C_, simplest.l1_ratio_) == (0.1, 0.5)


def test_no_score_at_all_chooses_the_first_as_grid_search_does(CV, data):
    d = data(3)

    def fails(estimator, X, y):
        raise ArithmeticError("no score")

    grid = {"Cs": (10.0, 0.1), "scoring": fails, "cv": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search, scores = grid_search(CV, d.X, d.y, **grid)
    with (
        pytest.warns(UserWarning, match="(?s)Scoring failed for 6 .*ArithmeticError: no score"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        classifier = CV(**grid).fit(d.X, d.y)
    assert_same(classifier, search, scores, d.X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match="No fold has a score"):
            CV(**grid, refit=False).fit(d.X, d.y)


def test_scores_that_are_no_numbers_are_refused(CV, data):
    d = data(3)
    with pytest.raises(ValueError, match="scoring must return a number, got high"):
        CV(Cs=[1.0], scoring=lambda estimator, X, y: "high").fit(d.X, d.y)


# ---- without a refit -----------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_refit_folds_are_averaged(CV, data, n_classes, fit_intercept):
    d = data(n_classes)
    settings = {"Cs": 6, "l1_ratios": (0.0, 1.0), "cv": 3, "fit_intercept": fit_intercept}
    classifier = CV(refit=False, **settings).fit(d.X, d.y)
    coefs, Cs, ratios = [], [], []
    for fold, scores in enumerate(classifier.scores_):
        row, at = np.unravel_index(scores.argmax(), scores.shape)
        coefs.append(classifier.coefs_paths_[fold, row, at])
        Cs.append(classifier.Cs_[at])
        ratios.append(classifier.l1_ratios_[row])
    mean = np.mean(coefs, axis=0)
    np.testing.assert_allclose(classifier.coef_, mean[:, :6])
    if fit_intercept:
        np.testing.assert_allclose(classifier.intercept_, mean[:, 6])
    else:
        np.testing.assert_array_equal(classifier.intercept_, np.zeros(len(mean)))
    chosen = [classifier.C_, classifier.l1_ratio_]
    np.testing.assert_allclose(chosen, [np.mean(Cs), np.mean(ratios)])
    assert not hasattr(classifier, "converged_")
    assert classifier.predict_proba(d.X).shape == (150, n_classes)
    # what a refit had leaves with it
    again = CV(**settings).fit(d.X, d.y)
    assert hasattr(again, "converged_")
    assert not hasattr(again.set_params(refit=False).fit(d.X, d.y), "converged_")


def test_without_refit_one_standard_error_averages_one_point(CV, data):
    d = data(3)
    settings = {"Cs": 6, "cv": 3, "selection": "1se"}
    refitted = CV(**settings).fit(d.X, d.y)
    classifier = CV(refit=False, **settings).fit(d.X, d.y)
    assert classifier.C_ == refitted.C_
    at = list(classifier.Cs_).index(classifier.C_)
    mean = classifier.coefs_paths_[:, 0, at].mean(axis=0)
    np.testing.assert_allclose(classifier.coef_, mean[:, :-1])


# ---- attributes ----------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_layout(CV, data, n_classes, fit_intercept):
    d = data(n_classes)
    classifier = CV(Cs=5, l1_ratios=[0.0, 1.0], cv=3, fit_intercept=fit_intercept).fit(d.X, d.y)
    K = 1 if n_classes == 2 else n_classes
    assert classifier.scores_.shape == classifier.n_iter_.shape == (3, 2, 5)
    assert classifier.mean_scores_.shape == classifier.standard_errors_.shape == (2, 5)
    assert classifier.coefs_paths_.shape == (3, 2, 5, K, 6 + fit_intercept)
    assert classifier.coef_.shape == (K, 6)
    assert classifier.intercept_.shape == (K,)
    assert type(classifier.C_) is type(classifier.l1_ratio_) is float
    np.testing.assert_array_equal(classifier.Cs_, np.logspace(-4, 4, 5))
    np.testing.assert_array_equal(classifier.l1_ratios_, [0, 1])
    np.testing.assert_allclose(classifier.mean_scores_, classifier.scores_.mean(axis=0))
    by_hand = classifier.scores_.std(axis=0, ddof=1) / 3**0.5
    np.testing.assert_allclose(classifier.standard_errors_, by_hand)
    assert np.issubdtype(classifier.n_iter_.dtype, np.integer)
    plain = PLAIN[CV](C=classifier.C_, l1_ratio=classifier.l1_ratio_, fit_intercept=fit_intercept)
    plain.fit(d.X, d.y)
    for name in ("objective_", "optimality_", "dual_gap_", "converged_", "solver_"):
        np.testing.assert_array_equal(getattr(classifier, name), getattr(plain, name))
    # the folds' coefficients are the plain fits'
    train, _ = next(StratifiedKFold(3).split(d.X, d.y))
    fold = clone(plain).set_params(C=classifier.Cs_[2], l1_ratio=1.0).fit(d.X[train], d.y[train])
    path = classifier.coefs_paths_[0, 1, 2]
    np.testing.assert_allclose(path[:, :6], fold.coef_, atol=1e-3)


def test_no_penalty_is_a_point_of_the_grid(CV, data, monkeypatch):
    monkeypatch.setattr(shared_folds, "COPIED", -1)
    d = data(3)
    search, scores = grid_search(CV, d.X, d.y, Cs=(1.0, np.inf, 100.0), cv=3, tol=1e-8)
    classifier = CV(Cs=(1.0, np.inf, 100.0), cv=3, tol=1e-8).fit(d.X, d.y)
    assert_same(classifier, search, scores, d.X)


def test_one_warning_for_folds_that_do_not_converge(CV, data):
    d = data(3)
    with pytest.warns(ConvergenceWarning) as caught:
        CV(Cs=(0.1, 10.0), cv=3, l1_ratios=(1.0,), max_iter=1).fit(d.X, d.y)
    texts = [str(warning.message) for warning in caught]
    assert texts[0].startswith(f"{CV.__name__}: 6 of 6 fits of cross-validation did not converge")
    assert texts[1].startswith(f"{CV.__name__} did not converge")  # the refit
    assert {warning.filename for warning in caught} == {__file__}


def test_verbose_prints_a_line_for_each_fit(CV, data, capsys):
    d = data(3)
    CV(Cs=(0.1, 10.0), cv=3, l1_ratios=(0.0, 1.0), verbose=1, n_jobs=1).fit(d.X, d.y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert all(line.startswith("[sk_softmax] fold ") for line in lines)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"Cs": 0}, "The 'Cs' parameter"),
        ({"Cs": []}, "Cs must be positive numbers"),
        ({"Cs": [1.0, -1.0]}, "Cs must be positive numbers"),
        ({"l1_ratios": []}, "l1_ratios must be numbers between 0 and 1"),
        ({"l1_ratios": [0.5, 1.5]}, "l1_ratios must be numbers between 0 and 1"),
        ({"l1_ratios": ["l1"]}, "l1_ratios must be numbers between 0 and 1"),
        ({"l1_ratios": 0.5}, "The 'l1_ratios' parameter"),
        ({"selection": "2se"}, "The 'selection' parameter"),
        ({"scoring": "nothing"}, "The 'scoring' parameter"),
        ({"refit": "accuracy"}, "The 'refit' parameter"),
        ({"tol": -1}, "The 'tol' parameter"),
        ({"cv": 1}, "The 'cv' parameter"),
    ],
    ids=str,
)
def test_other_parameters_are_refused(CV, data, parameters, words):
    d = data(3)
    with pytest.raises(ValueError, match=words):
        CV(**parameters).fit(d.X, d.y)


def test_scikit_learn_checks(CV):
    results = check_estimator(CV(cv=3), on_skip=None, on_fail=None)
    by_status = {"failed": {}, "skipped": {}, "passed": {}}
    for result in results:
        by_status[result["status"]][result["check_name"]] = result["exception"]
    assert by_status["failed"] == {}
    assert set(by_status["skipped"]) <= {"check_array_api_input"}
    assert len(by_status["passed"]) > 40


# ---- weights, groups, routing --------------------------------------------------------------


def test_a_weight_of_2_is_the_row_twice(CV, data):
    d = data(3)
    s = np.where(np.arange(150) % 3 == 0, 2.0, 1.0)
    s[5:60:7] = 0.0
    fold = np.arange(150) % 3
    rows = np.repeat(np.arange(150), s.astype(int))
    grid = {"Cs": (0.1, 10.0), "l1_ratios": (0.0, 1.0), "tol": TIGHT}
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    twice = [(np.flatnonzero(fold[rows] != k), np.flatnonzero(fold[rows] == k)) for k in range(3)]
    weighted = CV(cv=folds, **grid).fit(d.X, d.y, sample_weight=s)
    repeated = CV(cv=twice, **grid).fit(d.X[rows], d.y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, atol=1e-7)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)


def test_folds_may_repeat_rows(CV, data, monkeypatch):
    d = data(3)
    rng = np.random.default_rng(0)
    folds = [(rng.integers(150, size=150), rng.integers(150, size=50)) for _ in range(2)]
    found = []
    for copied in (-1, 2**40):
        monkeypatch.setattr(shared_folds, "COPIED", copied)
        found.append(CV(Cs=(0.1, 10.0), cv=folds, tol=TIGHT).fit(d.X, d.y).scores_)
    _, scores = grid_search(CV, d.X, d.y, Cs=(0.1, 10.0), cv=folds, tol=TIGHT)
    for each in found:
        np.testing.assert_allclose(each, scores, atol=1e-7)


def test_masks_are_folds(CV, data):
    d = data(3)
    folds = list(StratifiedKFold(2).split(d.X, d.y))
    masks = [tuple(np.isin(np.arange(150), rows) for rows in fold) for fold in folds]
    np.testing.assert_array_equal(
        CV(Cs=3, cv=folds).fit(d.X, d.y).scores_, CV(Cs=3, cv=masks).fit(d.X, d.y).scores_
    )


def test_groups(CV, data):
    d = data(3)
    groups = np.arange(150) // 7
    grid = {"Cs": (0.1, 10.0), "cv": GroupKFold(3), "tol": TIGHT}
    search, scores = grid_search(CV, d.X, d.y, fit={"groups": groups}, **grid)
    assert_same(CV(**grid).fit(d.X, d.y, groups=groups), search, scores, d.X)
    with sklearn.config_context(enable_metadata_routing=True):
        assert_same(CV(**grid).fit(d.X, d.y, groups=groups), search, scores, d.X)
    with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
        CV(**grid).fit(d.X, d.y)
    with pytest.raises(ValueError, match="only with enable_metadata_routing=True"):
        CV(**grid).fit(d.X, d.y, colour=groups)


def test_without_routing_weights_go_to_scorers_that_take_them(CV, data):
    d = data(3)
    train, test = next(StratifiedKFold(3).split(d.X, d.y))
    plain = PLAIN[CV](C=0.5).fit(d.X[train], d.y[train], d.s[train])
    for scoring in ("neg_log_loss", "accuracy", None):
        classifier = CV(Cs=[0.5], cv=3, scoring=scoring).fit(d.X, d.y, sample_weight=d.s)
        scorer = get_scorer(scoring or "accuracy")
        expected = scorer(plain, d.X[test], d.y[test], sample_weight=d.s[test])
        np.testing.assert_allclose(classifier.scores_[0, 0, 0], expected, rtol=1e-4)
    unweighted = make_scorer(lambda y, z: np.mean(y == z))
    with pytest.warns(UserWarning, match="does not support sample_weight") as caught:
        classifier = CV(Cs=[0.5], cv=3, scoring=unweighted).fit(d.X, d.y, sample_weight=d.s)
    assert caught[0].filename == __file__
    assert classifier.scores_[0, 0, 0] == plain.score(d.X[test], d.y[test])


@pytest.mark.parametrize("requested", [True, False])
def test_with_routing_weights_go_where_they_are_requested(CV, data, requested):
    d = data(3)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=requested)
        grid = {"Cs": (0.1, 10.0), "cv": 3, "scoring": scorer}
        plain = PLAIN[CV](tol=TIGHT).set_fit_request(sample_weight=True)
        search = GridSearchCV(plain, {"C": [0.1, 10.0]}, cv=3, scoring=scorer)
        search.fit(d.X, d.y, sample_weight=d.s)
        classifier = CV(tol=TIGHT, **grid).fit(d.X, d.y, sample_weight=d.s)
        np.testing.assert_allclose(
            classifier.mean_scores_[0], search.cv_results_["mean_test_score"], atol=1e-7
        )
        weight = {"sample_weight": d.s} if requested else {}
        expected = scorer(classifier, d.X, d.y, **weight)
        assert classifier.score(d.X, d.y, sample_weight=d.s) == expected
        routing = classifier.get_metadata_routing()
        assert {"splitter", "scorer"} <= set(routing._route_mappings)


def test_score_is_that_of_scoring(CV, data):
    d = data(3)
    classifier = CV(Cs=3, cv=3).fit(d.X, d.y)
    expected = -log_loss(d.y, classifier.predict_proba(d.X), sample_weight=d.s)
    assert classifier.score(d.X, d.y, sample_weight=d.s) == pytest.approx(expected, rel=1e-12)
    classifier.set_params(scoring=None)
    assert classifier.score(d.X, d.y) == np.mean(classifier.predict(d.X) == d.y)
    with pytest.raises(ValueError, match="only with enable_metadata_routing=True"):
        classifier.score(d.X, d.y, colour=d.s)


# ---- what folds share ----------------------------------------------------------------------


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("shared", [False, True])
def test_threads_change_no_bit(CV, data, storage, shared, monkeypatch):
    monkeypatch.setattr(shared_folds, "COPIED", -1 if shared else 2**40)
    d = data(4, n=12_000, p=20)
    X = storage(np.where(np.abs(d.X) > 1.0, d.X, 0.0))
    grid = {"Cs": (1e-3, 0.1), "l1_ratios": (0.0, 1.0), "cv": 2}
    first, *others = (CV(n_jobs=n_jobs, **grid).fit(X, d.y) for n_jobs in (1, 3, 8))
    for other in others:
        for name in ("scores_", "coefs_paths_", "coef_", "n_iter_", "objective_"):
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize(
    ("storage", "l1_ratio"), [(np.asarray, 0.0), (np.asarray, 1.0), (sparse.csr_matrix, 0.0)]
)
def test_a_large_x_is_not_copied(CV, data, storage, l1_ratio, monkeypatch):
    """Four folds that have begun hold less by their copies' size than where they copy their rows.

    They wait for one another, so that what they hold does not depend on when threads run.
    """
    d = data(3, n=40_000, p=110)
    X = storage(np.where(np.abs(d.X) > 3.0, d.X, 0.0) if storage is sparse.csr_matrix else d.X)
    size = X.data.nbytes + X.indices.nbytes if sparse.issparse(X) else X.nbytes
    classifier = CV(Cs=(1e-3, 1e-2), l1_ratios=(l1_ratio,), cv=4, n_jobs=4)
    classifier.fit(X[:4000], d.y[:4000])  # whatever is made once a process
    held = []
    begun = Barrier(4, action=lambda: held.append(tracemalloc.get_traced_memory()[0]), timeout=60)
    begin = shared_folds.Fold._begin

    def begin_and_wait(*arguments):
        begin(*arguments)
        begun.wait()

    monkeypatch.setattr(shared_folds.Fold, "_begin", begin_and_wait)
    for copied in (2**20, 2**40):  # bytes up to which folds copy: fewer than here, and more
        monkeypatch.setattr(shared_folds, "COPIED", copied)
        tracemalloc.start()
        classifier.fit(X, d.y)
        tracemalloc.stop()
    shared, copies = held
    assert copies - shared > 2.5 * size  # three quarters of X each


def test_pipelines_and_clones(CV):
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), CV(Cs=4, cv=ShuffleSplit(3, random_state=0)))
    pipeline.fit(X, y)
    assert log_loss(y, pipeline.predict_proba(X)) == pytest.approx(-pipeline.score(X, y))
    assert clone(pipeline)[-1].get_params()["Cs"] == 4
    assert "C" not in pipeline[-1].get_params()
    assert isinstance(pipeline[-1], PLAIN[CV])


@pytest.mark.parametrize("storage", ["C", "F", "CSR", "CSR int64", "float32 F"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_rows_of_weight_0_are_not_there(CV, data, storage, l1_ratio, monkeypatch):
    """Folds that share X find what those that copy their rows do."""
    d = data(4, n=120, p=15)
    X = STORAGE[storage](np.where(np.abs(d.X) > 1.0, d.X, 0.0))
    classifier = CV(Cs=(0.01, 1.0, 100.0), l1_ratios=(l1_ratio,), cv=3, tol=TIGHT)
    found = []
    for copied in (-1, 2**40):
        monkeypatch.setattr(shared_folds, "COPIED", copied)
        found.append(clone(classifier).fit(X, d.y, sample_weight=d.s))
    shared, copies = found
    np.testing.assert_allclose(shared.scores_, copies.scores_, atol=1e-6)
    np.testing.assert_allclose(shared.coefs_paths_, copies.coefs_paths_, atol=1e-4)
    np.testing.assert_array_equal(shared.coefs_paths_ == 0, copies.coefs_paths_ == 0)


def test_a_sample_of_shared_rows_has_every_class(data):
    """Of a large class nearly all rows may have weight 0: one that has not is drawn."""
    d = data(3, n=6000)
    alone = np.flatnonzero(d.y == 2)[10]
    s = np.where((d.y == 2) & (np.arange(6000) != alone), 0.0, d.s)
    s[alone] = 1e-9
    with Workers(1) as workers:
        objective = make_objective(
            d.X, d.y, s, n_classes=3, coupled=True, balanced=False, C=1.0, l1_ratio=0.0,
            fit_intercept=True, workers=workers,
        )  # fmt: skip
        rows, scale = stratified_rows(objective, 100)
    assert alone in rows
    drawn = np.bincount(d.y[rows], s[rows] * scale)
    np.testing.assert_allclose(drawn, np.bincount(d.y, s), rtol=1e-9)
