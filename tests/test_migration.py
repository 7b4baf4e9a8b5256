"""docs/migration.rst: snippets do the same before and after, and tables leave nothing out."""

import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.fixes import parse_version

from sk_softmax import (
    OvAClassifier,
    OvAClassifierCV,
    SoftmaxClassifier,
    SoftmaxClassifierCV,
)

PAGE = Path(__file__).parents[1] / "docs" / "migration.rst"
if not PAGE.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^\.\. code-block:: python\n   :caption: (?P<caption>.+)\n   :name: (?P<names>.+)\n\n"
    r"(?P<code>(?:(?:   .*)?\n)+)",
    re.M,
)
UP_TO = re.compile(r"scikit-learn up to (\d+\.\d+)")

# What has been in some supported version of scikit-learn and is not in all of them.
PARAMETERS_OF_SOME = {"multi_class", "penalty", "n_jobs", "use_legacy_attributes"}

KINDS = pytest.mark.parametrize(
    ("prefix", "Theirs", "Ours"),
    [
        ("", LogisticRegression, SoftmaxClassifier),
        ("", LogisticRegression, OvAClassifier),
        ("cv-", LogisticRegressionCV, SoftmaxClassifierCV),
        ("cv-", LogisticRegressionCV, OvAClassifierCV),
    ],
)


def snippets():
    """The page's blocks of code, by name: caption and code."""
    return {
        name: (block["caption"], inspect.cleandoc(block["code"]))
        for block in BLOCK.finditer(TEXT)
        for name in block["names"].split()
    }


SNIPPETS = snippets()
PAIRS = sorted(name.removesuffix("-before") for name in SNIPPETS if name.endswith("-before"))


def run(name):
    """What a snippet leaves behind, from the data of the page."""
    caption, code = SNIPPETS[name]
    last = UP_TO.search(caption)
    installed = parse_version(sklearn.__version__).release[:2]
    if last and installed > parse_version(last[1]).release[:2]:
        pytest.skip(f"{name}: {caption}")
    left = {}
    exec(SNIPPETS["data"][1], left)
    with warnings.catch_warnings():
        for category in (FutureWarning, UserWarning):  # of what the page is there to replace
            warnings.simplefilter("ignore", category)
        warnings.simplefilter("error", ConvergenceWarning)
        exec(code, left)
    return left


def table(name):
    """The rows of a table of the page, each a list of cells."""
    _, _, rest = TEXT.partition(f"   :name: {name}\n\n")
    assert rest, f"no table {name}"
    body = re.split(r"\n(?=\S)", rest, maxsplit=1)[0]
    rows = re.split(r"^   \* -", body, flags=re.M)[1:]
    return [
        [" ".join(cell.split()) for cell in re.split(r"^     -", row, flags=re.M)] for row in rows
    ][1:]


def literals(cell):
    return re.findall(r"``(\w+)``", cell)


def test_every_snippet_has_its_other_side():
    sides = {name for name in SNIPPETS if name != "data"}
    assert sides == {f"{pair}-{side}" for pair in PAIRS for side in ("before", "after")}
    assert len(PAIRS) >= 9
    assert TEXT.count(".. code-block:: python") == len(list(BLOCK.finditer(TEXT)))


@pytest.mark.parametrize("pair", PAIRS)
def test_before_and_after_predict_the_same(pair):
    before, after = run(f"{pair}-before"), run(f"{pair}-after")
    assert type(after["clf"]).__module__.startswith("sk_softmax")
    assert not type(before["clf"]).__module__.startswith("sk_softmax")
    for rows in ("X", "X_test"):
        labels = before["clf"].predict(before[rows])
        np.testing.assert_array_equal(labels, after["clf"].predict(after[rows]))
        assert np.unique(labels).size > 1
    assert largest_difference(before, after) < 5e-3  # scikit-learn's default tolerance is loose


@pytest.mark.parametrize("pair", PAIRS)
def test_before_and_after_are_the_same_model(monkeypatch, pair):
    """To six digits, once the snippets' default tolerances are small ones."""
    for model in (LogisticRegression, LogisticRegressionCV, SoftmaxClassifier, SoftmaxClassifierCV):
        monkeypatch.setitem(model.__init__.__kwdefaults__, "tol", 1e-9)
        monkeypatch.setitem(model.__init__.__kwdefaults__, "max_iter", 10_000)
    before, after = run(f"{pair}-before"), run(f"{pair}-after")
    assert largest_difference(before, after) < 1e-6


def largest_difference(before, after):
    """Of the probabilities on all rows."""
    theirs, ours = (
        np.vstack([left["clf"].predict_proba(left[rows]) for rows in ("X", "X_test")])
        for left in (before, after)
    )
    return np.abs(theirs - ours).max()


def test_a_snippet_of_another_penalty_would_be_noticed():
    after = run("softmax-after")
    other = SoftmaxClassifier(C=1.0).fit(after["X"], after["y"])
    X = after["X_test"]
    assert np.abs(other.predict_proba(X) - after["clf"].predict_proba(X)).max() > 1e-2


@KINDS
def test_every_parameter_is_listed(prefix, Theirs, Ours):
    rows = table(f"{prefix}parameters")
    theirs = [name for row in rows for name in literals(row[0])]
    assert len(theirs) == len(set(theirs))
    installed = set(inspect.signature(Theirs).parameters)
    assert installed <= set(theirs)
    assert set(theirs) <= installed | PARAMETERS_OF_SOME
    here = {name for row in rows for name in literals(row[1])}
    assert here == set(inspect.signature(Ours).parameters)
    assert {row[1] for row in rows if not literals(row[1])} == {"none"}
    alone = {name for row in rows if not literals(row[0]) for name in literals(row[1])}
    assert alone == here - installed - {"l1_ratio"}


@KINDS
def test_every_attribute_is_listed(prefix, Theirs, Ours):
    rows = table(f"{prefix}attributes")
    X, y = load_iris(return_X_y=True, as_frame=True)
    few = {"Cs": [0.1, 1.0]} if prefix else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = Theirs(max_iter=10_000, **few).fit(X, y)
    assert {name for row in rows for name in literals(row[0])} == fitted_attributes(theirs)
    ours = Ours(**few).fit(X, y)
    assert {name for row in rows for name in literals(row[1])} == fitted_attributes(ours)


def fitted_attributes(model):
    return {name for name in vars(model) if name.endswith("_") and name[0] != "_"}


def test_defaults_differ_where_the_page_says_so():
    ours = inspect.signature(SoftmaxClassifier).parameters
    theirs = inspect.signature(LogisticRegression).parameters
    same = {"C", "fit_intercept", "class_weight", "tol", "verbose", "warm_start", "n_jobs"}
    for name in same:
        assert ours[name].default == theirs[name].default
    assert (theirs["max_iter"].default, ours["max_iter"].default) == (100, 1000)
    (row,) = (row for row in table("parameters") if row[0] == "``max_iter``")
    assert row[2].startswith("100 there, 1000 here")
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in ours.values())


def test_defaults_of_cross_validation():
    ours = inspect.signature(SoftmaxClassifierCV).parameters
    theirs = inspect.signature(LogisticRegressionCV).parameters
    for name in {"Cs", "fit_intercept", "cv", "class_weight", "tol", "verbose", "refit", "n_jobs"}:
        assert ours[name].default == theirs[name].default
    assert ours["scoring"].default == "neg_log_loss"
    assert ours["l1_ratios"].default == (0.0,)
    assert "neg_log_loss" in next(row[2] for row in table("cv-parameters") if "scoring" in row[0])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_shapes_of_cross_validation_are_those_of_the_page(n_classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < n_classes], y[y < n_classes]
    options = {"Cs": [0.01, 0.1], "l1_ratios": [0.0]}
    ours = SoftmaxClassifierCV(**options).fit(X, y)
    sizes = {"n_folds": 5, "n_l1_ratios": 1, "n_Cs": 2, "n_features": 4}
    sizes["n_classes"] = n_classes if n_classes > 2 else 1
    said = {
        literals(row[1])[0]: re.search(r"[Ss]hape \((.*?)\)", row[2])
        for row in table("cv-attributes")
    }
    named = {name: found[1] for name, found in said.items() if found}
    assert set(named) == {"scores_", "coefs_paths_", "n_iter_", "mean_scores_"}
    for name, shape in named.items():
        assert getattr(ours, name).shape == eval(f"({shape},)", {}, sizes)
    assert isinstance(ours.C_, float)
    assert isinstance(ours.l1_ratio_, float)
    if "use_legacy_attributes" in inspect.signature(LogisticRegressionCV).parameters:
        theirs = LogisticRegressionCV(
            **options, scoring="neg_log_loss", use_legacy_attributes=False
        ).fit(X, y)
        for name in fitted_attributes(theirs):
            assert np.shape(getattr(theirs, name)) == np.shape(getattr(ours, name)), name


def test_cross_validation_chooses_what_it_chose():
    before, after = run("cv-before")["clf"], run("cv-after")["clf"]
    assert np.ravel(before.C_)[0] == after.C_
    before, after = run("grid-before")["clf"], run("grid-after")["clf"]
    assert before.best_params_ == {"estimator__C": after.C_}


def test_what_the_page_says_of_attributes():
    X, y = load_iris(return_X_y=True)
    softmax = SoftmaxClassifier().fit(X.astype(np.float32), y)
    assert softmax.coef_.dtype == np.float64
    assert abs(softmax.intercept_.sum()) < 1e-9
    assert softmax.n_iter_.shape == (1,)
    ova = OvAClassifier().fit(X, y)
    for name in ("n_iter_", "converged_", "objective_", "optimality_", "dual_gap_"):
        assert getattr(ova, name).shape == (3,)
    weight = (y != 1).astype(float)
    assert SoftmaxClassifier().fit(X, y, sample_weight=weight).classes_.tolist() == [0, 2]


def test_methods_are_called_in_the_same_way():
    (methods,) = re.findall(r"``fit\(X.*?are called in the same way", TEXT, re.S)
    names = re.findall(r"``(\w+)", methods)
    assert "predict_log_proba" in names
    for name in names:
        for model in (LogisticRegression, SoftmaxClassifier, OvAClassifier):
            assert callable(getattr(model, name))
    assert not hasattr(SoftmaxClassifier, "predict_ova_proba")
    assert callable(OvAClassifier.predict_ova_proba)


def test_feature_names_of_frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    assert isinstance(X, pd.DataFrame)
    theirs = LogisticRegression(max_iter=1000).fit(X, y)
    for Ours in (SoftmaxClassifier, OvAClassifier):
        ours = Ours().fit(X, y)
        np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
