"""L1 and elastic net against other programs: glmnet, SAGA, liblinear, and our solvers each other.

glmnet's fits are data, in ``benchmarks/glmnet/``, with the command that made them in the file
``values.py`` there. F is recomputed by ``benchmarks/objective.py`` for everyone.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from problems import LOSSES, PENALTIES, make_problem, needs_jit, out_of_cache
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.multiclass import OneVsRestClassifier

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._solvers.table import solve

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks.adapters import glmnet  # noqa: E402
from benchmarks.glmnet import values  # noqa: E402
from benchmarks.objective import null_objective, objective, suboptimality  # noqa: E402
from benchmarks.problems import load_case  # noqa: E402

TIGHT = 1e-9
# Of F_null: what glmnet leaves at its tightest.
GLMNET_LEAVES = 1e-12
CASES = {f"{problem.name} {form}": (problem, form) for problem, form in values.cases()}
over_cases = pytest.mark.parametrize(("problem", "formulation"), CASES.values(), ids=CASES)


# ---- glmnet ---------------------------------------------------------------------------------


def objective_at(case, coef, intercept):
    return objective(
        case.X,
        case.y,
        coef,
        intercept,
        C=case.C,
        l1_ratio=case.l1_ratio,
        formulation=case.formulation,
    )


def fitted(case, tol=TIGHT, **parameters):
    classifier = SoftmaxClassifier if case.formulation == "softmax" else OvAClassifier
    model = classifier(
        C=case.C, l1_ratio=case.l1_ratio, fit_intercept=case.fit_intercept, tol=tol, **parameters
    )
    return model.fit(case.X, case.y)


@over_cases
def test_glmnet_s_problem_is_ours(problem, formulation):
    """What it says of its loss is what we compute from its coefficients: the same data, and F."""
    case = load_case(problem, formulation)
    coef, intercept, loss = values.read(problem.name, formulation, case.X.shape[1])
    without_penalty = replace(case, C=np.inf)
    # its probabilities stay 1e-9 away from 0 and 1
    np.testing.assert_allclose(objective_at(without_penalty, coef, intercept), loss, rtol=1e-9)


@needs_jit
@over_cases
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_we_end_where_glmnet_ends(problem, formulation, solver):
    case = load_case(problem, formulation)
    coef, intercept, _ = values.read(problem.name, formulation, case.X.shape[1])
    ours = fitted(case, solver=solver)
    theirs = objective_at(case, coef, intercept)
    best = objective_at(case, ours.coef_, ours.intercept_)
    null = null_objective(case.y, formulation=formulation, fit_intercept=case.fit_intercept)
    assert -1e-14 < suboptimality(theirs, best, null) < GLMNET_LEAVES
    raw = case.X @ coef.T + intercept
    if formulation == "softmax" and len(raw.T) > 1:
        np.testing.assert_allclose(ours.predict_proba(case.X), softmax(raw, axis=1), atol=1e-5)
        return
    own = expit(case.X @ ours.coef_.T + ours.intercept_)
    np.testing.assert_allclose(own, expit(raw), atol=1e-5)  # F within 1e-12
    # of two classes at a time, the optimum is unique
    np.testing.assert_allclose(ours.coef_, coef, atol=2e-5 * np.abs(coef).max())
    np.testing.assert_array_equal(ours.coef_ != 0, coef != 0)


def test_glmnet_s_files_say_what_was_asked():
    """Which problems, how they were stated, and by which versions."""
    with open(values.LOSSES, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["problem"], row["formulation"]) for row in rows} == {
        (problem.name, formulation) for problem, formulation in values.cases()
    }
    stated = {problem.name: problem for problem, _ in values.cases()}
    for row in rows:
        problem = stated[row["problem"]]
        assert float(row["C"]) == problem.C
        assert float(row["l1_ratio"]) == problem.l1_ratio
        assert row["fit_intercept"] == str(problem.fit_intercept)
        assert row["glmnet"]
        assert row["R"]
    with pytest.raises(LookupError, match="nothing of iris"):
        values.read("iris", "softmax", 4)


@pytest.mark.skipif(bool(glmnet.unavailable()), reason=glmnet.unavailable() or "it is there")
def test_glmnet_fits_the_same_again(tmp_path):
    files = tmp_path / "losses.csv", tmp_path / "coefficients.csv"
    chosen = [CASES["wine_std_l1 softmax"], CASES["wine_std_l1 ova"]]
    values.write(chosen, *files)
    for problem, formulation in chosen:
        again = values.read(problem.name, formulation, 13, *files)
        kept = values.read(problem.name, formulation, 13)
        for first, second in zip(again, kept, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)


# ---- SAGA and liblinear, one-vs-all ---------------------------------------------------------


def stacked(one_vs_rest):
    """Coefficients and intercepts of scikit-learn's binary fits."""
    members = one_vs_rest.estimators_
    coef = np.vstack([member.coef_ for member in members])
    return coef, np.concatenate([np.atleast_1d(member.intercept_) for member in members])


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("class_weight", [None, {0: 0.5, 2: 3.0}])
def test_one_vs_all_optimum_is_that_of_saga(
    data, reference, storage, l1_ratio, fit_intercept, class_weight
):
    d = data(3, n=90, p=4)
    X = storage(np.where(np.abs(d.X) > 0.5, d.X, 0.0))
    s = np.array([(class_weight or {}).get(label, 1.0) for label in d.y])
    parameters = {"C": 0.4, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    ours = OvAClassifier(class_weight=class_weight, tol=TIGHT, **parameters).fit(X, d.y)
    stated = {"C": 0.4, "l1_ratio": l1_ratio, "formulation": "softmax", "sample_weight": s}
    for k in range(3):  # a dict weighs each row by its own class, in every problem
        own = d.y == k
        binary = reference("saga", **parameters).fit(X, own, sample_weight=s)
        theirs = objective(X, own, binary.coef_, binary.intercept_, **stated)
        value = objective(X, own, ours.coef_[k], ours.intercept_[k], **stated)
        np.testing.assert_allclose(value, theirs, rtol=1e-9)
        np.testing.assert_allclose(value, ours.objective_[k], rtol=1e-12)
        np.testing.assert_allclose(ours.coef_[k], binary.coef_[0], atol=1e-6)


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("C", [0.05, 1.0])
def test_one_vs_all_optimum_without_intercepts_is_that_of_liblinear(
    data, reference, C, class_weight, storage
):
    d = data(4)
    X = storage(np.where(np.abs(d.X) > 0.5, d.X, 0.0))
    ours = OvAClassifier(
        C=C, l1_ratio=1.0, fit_intercept=False, class_weight=class_weight, tol=TIGHT
    ).fit(X, d.y)
    binary = reference(
        "liblinear", C=C, l1_ratio=1.0, fit_intercept=False, class_weight=class_weight
    )
    coef, _ = stacked(OneVsRestClassifier(binary).fit(X, d.y))
    np.testing.assert_array_equal(ours.coef_ != 0, coef != 0)
    np.testing.assert_allclose(ours.coef_, coef, atol=1e-6 * np.abs(coef).max())


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.5, 2: 3.0}])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_weighted_softmax_optimum_is_that_of_saga(data, reference, storage, class_weight, l1_ratio):
    d = data(3, n=90, p=4)
    kept = (d.y != 0) | (np.arange(90) % 3 == 0)
    X, y = storage(np.where(np.abs(d.X) > 0.5, d.X, 0.0)[kept]), d.y[kept]
    parameters = {"C": 0.4, "l1_ratio": l1_ratio, "class_weight": class_weight}
    ours = SoftmaxClassifier(tol=TIGHT, **parameters).fit(X, y)
    theirs = reference("saga", **parameters).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    dense = X.toarray() if sparse.issparse(X) else X
    raw = [dense @ model.coef_.T + model.intercept_ for model in (ours, theirs)]
    np.testing.assert_allclose(*(z - z.mean(axis=1, keepdims=True) for z in raw), atol=1e-5)


# ---- our two solvers ------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "no intercept"])
@pytest.mark.parametrize("storage", ["C", "F", "float32", "CSR"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("cached", [True, False])
def test_both_solvers_find_the_same_optimum(
    cached, penalty, loss, storage, fit_intercept, monkeypatch
):
    """In one call, and as they run on larger problems than these, which the cache holds."""
    if not cached:
        out_of_cache(monkeypatch)
    problem = make_problem(loss, penalty, storage, fit_intercept)
    newton, lbfgs = (solve(problem.objective(), name, tol=1e-7) for name in ("newton", "lbfgs"))
    for result in (newton, lbfgs):
        assert all(status.converged for status in result.status)
    np.testing.assert_allclose(newton.objective, lbfgs.objective, rtol=1e-9)
    np.testing.assert_allclose(
        problem.probability(problem.point_of(newton)).astype(float),
        problem.probability(problem.point_of(lbfgs)).astype(float),
        atol=1e-5,
    )
