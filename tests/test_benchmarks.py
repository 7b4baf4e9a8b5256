"""The benchmarks' judge, their harness and their report; never a time."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import adapters, problems, report, results, run  # noqa: E402
from benchmarks.adapters.newton import DampedNewton  # noqa: E402
from benchmarks.objective import (  # noqa: E402
    canonical,
    null_objective,
    objective,
    suboptimality,
)
from benchmarks.worker import Worker  # noqa: E402

C = 0.7


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def penalty(coef, total, l1_ratio):
    norms = l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * np.square(coef).sum()
    return norms / (C * total)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_objective_is_log_loss_and_penalty(iris, l1_ratio, weighted):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 4, len(y)) if weighted else np.ones(len(y))
    model = LogisticRegression(C=C, max_iter=1000).fit(X, y)
    expected = log_loss(y, model.predict_proba(X), sample_weight=weight)
    expected += penalty(model.coef_, weight.sum(), l1_ratio)
    arguments = {"C": C, "l1_ratio": l1_ratio, "formulation": "softmax", "sample_weight": weight}
    for data in (X, sparse.csr_matrix(X)):
        value = objective(data, y, model.coef_, model.intercept_, **arguments)
        assert value.shape == (1,)
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_ova_objective_is_a_log_loss_for_each_class(iris):
    X, y = iris
    model = OneVsRestClassifier(LogisticRegression(C=C)).fit(X, y)
    expected = [
        log_loss(y == k, member.predict_proba(X)[:, 1]) + penalty(member.coef_, len(y), 0.0)
        for k, member in enumerate(model.estimators_)
    ]
    coef = np.vstack([member.coef_ for member in model.estimators_])
    intercept = np.concatenate([member.intercept_ for member in model.estimators_])
    value = objective(X, y, coef, intercept, C=C, l1_ratio=0.0, formulation="ova")
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
def test_two_classes_have_one_weight_vector(formulation):
    X, y = load_breast_cancer(return_X_y=True)
    X = X / X.max(axis=0)
    y = np.where(y == 1, "b", "a")
    model = LogisticRegression(C=C, max_iter=1000).fit(X, y)
    expected = log_loss(y, model.predict_proba(X)) + penalty(model.coef_, len(y), 0.0)
    arguments = {"C": C, "l1_ratio": 0.0, "formulation": formulation}
    value = objective(X, y, model.coef_, model.intercept_, **arguments)
    np.testing.assert_allclose(value, [expected], rtol=1e-12)
    two_rows = np.vstack([0.25 * np.ones_like(model.coef_), model.coef_ + 0.25])
    coef, intercept = canonical(two_rows, [1.0, 1.0 + model.intercept_[0]], 2)
    np.testing.assert_allclose(coef, model.coef_)
    np.testing.assert_allclose(intercept, model.intercept_)


def test_canonical_refuses_the_wrong_number_of_rows():
    with pytest.raises(ValueError, match="3 classes need 3 rows"):
        canonical(np.ones((2, 4)), np.ones(2), 3)


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
def test_null_objective_is_that_of_the_best_intercept(iris, formulation):
    X, y = iris[0][:120], iris[1][:120]
    share = np.bincount(y) / len(y)
    intercept = np.log(share) if formulation == "softmax" else np.log(share / (1 - share))
    value = objective(X, y, np.zeros((3, 4)), intercept, C=C, l1_ratio=0.0, formulation=formulation)
    np.testing.assert_allclose(null_objective(y, formulation=formulation), value, rtol=1e-12)


def test_suboptimality_is_of_the_worst_problem():
    assert suboptimality([1.0, 2.5], [1.0, 2.0], [2.0, 5.0]) == pytest.approx(0.1)


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
def test_reference_is_stationary_in_any_units(iris, formulation):
    X, y = iris
    X = X * [1e-3, 1.0, 1e5, 10.0] + [0.0, 1e3, 0.0, 0.0]
    model = DampedNewton(C, formulation).fit(X, y)
    arguments = {"C": C, "l1_ratio": 0.0, "formulation": formulation}
    value = objective(X, y, model.coef_, model.intercept_, **arguments)
    rng = np.random.default_rng(0)
    for size in 1e-4, 1e-2:
        change = size * rng.standard_normal(model.coef_.shape) / X.std(axis=0)
        shift = -change @ X.mean(axis=0)
        moved = objective(X, y, model.coef_ + change, model.intercept_ + shift, **arguments)
        assert np.all(moved > value)


def test_problems_are_chosen_by_name_and_group():
    assert [problem.name for problem in problems.select(["wine", "iris"])] == ["iris", "wine"]
    assert {p.name for p in problems.select(["quick"])} < {p.name for p in problems.select(["all"])}
    with pytest.raises(ValueError, match="Unknown problems"):
        problems.select(["nothing"])


def test_a_problem_without_its_data_is_skipped(capsys, tmp_path):
    output = tmp_path / "rows.csv"
    assert run.main(["--problems", "letter", "--output", str(output)]) == []
    assert "skipping letter: needs letter.npz: pass --data-dir" in capsys.readouterr().err


def test_run_and_report_on_iris(tmp_path):
    reason = adapters.load("scikit_learn").unavailable()
    if reason:
        pytest.skip(reason)
    output = tmp_path / "rows.csv"
    arguments = ["--quick", "--inline", "--problems", "iris", "--peers", "scikit_learn"]
    rows = run.main([*arguments, "--output", str(output)])
    reached = {row["solver"] for row in rows if row["status"] == "reached"}
    assert {"newton-cholesky", "lbfgs", "newton-cg", "newton"} <= reached
    for row in rows:
        if row["role"] == "ours":
            assert row["status"] == "reached"
            assert row["warnings"] == ""
            assert row["objective_error"] < 1e-12

    stored = results.read(output)
    assert len(stored) == len(rows)
    results.write(output, [row for row in rows if row["formulation"] == "ova"])
    assert len(results.read(output)) == len(rows)  # replaced, not repeated

    text = report.main([str(output), "--output", str(tmp_path / "report.md")])
    assert "| iris | 150 x 4, 3 |" in text
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text


def test_a_worker_survives_a_fit_that_is_cut_off():
    worker = Worker("newton", "iris", "softmax", None)
    try:
        lane = worker.shape().references[0]
        assert worker.fit(lane, None, limit=0.0).status == "cut off"
        outcome = worker.fit(lane, None, limit=60.0)
        assert outcome.status == "fitted"
        assert len(outcome.seconds) == 1
    finally:
        worker.close()


def tiny_rows():
    """Rows of one case as the CSV file gives them."""
    common = dict.fromkeys(results.FIELDS, "")
    common.update(problem="toy", formulation="softmax", n="9", p="2", K="3", C="1", l1_ratio="0")
    ours = dict(
        common, role="ours", library="ours", status="reached", median_s="0.002", cold_s="0.5"
    )
    ours.update(suboptimality="1e-8", dual_gap="nan", optimality="1e-5", objective_error="0")
    peer = dict(common, role="peer", library="other", solver="slow", threads="2", tol="0.001")
    return ours, peer


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"status": "reached", "median_s": "0.25"},
            "| other slow tol=0.001 2 threads | 250 | 125x |",
        ),
        ({"status": "cut off", "limit_s": "60"}, "| none arrived | more than 60 s | > 3e+04x |"),
        (
            {"status": "missed", "median_s": "1", "suboptimality": "0.01"},
            "| other slow tol=0.001 2 threads | never: 1e-02 away |  |",
        ),
        ({"status": "error", "warnings": "MemoryError"}, "error: MemoryError"),
    ],
)
def test_report_says_how_the_best_peer_ended(changes, words):
    ours, peer = tiny_rows()
    text = report.report([ours, {**peer, **changes}])
    assert "| toy | 9 x 2, 3 | 2 |" in text
    assert words in text
