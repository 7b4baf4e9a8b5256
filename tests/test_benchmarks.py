"""The benchmarks' judge, their harness and their report; never a time."""

import math
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier

from sk_softmax import SoftmaxClassifier
from sk_softmax._design.dense import DenseDesign

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.tools
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    accuracy,
    accuracy_figures,
    adapters,
    figures,
    paths,
    problems,
    readme,
    report,
    results,
    run,
    scaling,
    screening,
    synthetic,
)
from benchmarks.adapters import Lane  # noqa: E402
from benchmarks.adapters.newton import DampedNewton  # noqa: E402
from benchmarks.measure import Settings, Trial, _skip_rungs, close_idle  # noqa: E402
from benchmarks.objective import (  # noqa: E402
    canonical,
    null_objective,
    objective,
    suboptimality,
)
from benchmarks.worker import Inline, Outcome, Worker  # noqa: E402

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


def test_problems_can_be_sent_to_a_worker():
    sent = (*problems.PROBLEMS, problems.synthetic("any", n=9, p=2, K=3))
    assert [problem.name for problem in pickle.loads(pickle.dumps(sent))] == [
        problem.name for problem in sent
    ]


def test_digits16_is_digits_over_16():
    (problem,) = problems.select(["digits16"])
    case = problems.load_case(problem, "softmax")
    assert (case.X.min(), case.X.max()) == (0.0, 1.0)
    assert (case.C, case.l1_ratio) == (1.0, 0.0)
    assert "dense" in problem.groups


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
            assert row["n_evaluations"] > 0

    stored = results.read(output)
    assert len(stored) == len(rows)
    results.write(output, [row for row in rows if row["formulation"] == "ova"])
    assert len(results.read(output)) == len(rows)  # replaced, not repeated

    text = report.main([str(output), "--output", str(tmp_path / "report.md")])
    assert "| iris | 150 x 4, 3 |" in text
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text


def test_a_worker_survives_a_fit_that_is_cut_off():
    worker = Worker("newton", problems.select(["iris"])[0], "softmax", None)
    try:
        lane = worker.shape().references[0]
        assert worker.fit(lane, None, limit=0.0).status == "cut off"
        outcome = worker.fit(lane, None, limit=60.0)
        assert outcome.status == "fitted"
        assert len(outcome.seconds) == 1
    finally:
        worker.close()


def test_libraries_without_a_way_to_fit_a_case_do_not_hold_it():
    problem = problems.select(["iris"])[0]
    busy, idle = (Worker("newton", problem, "softmax", None) for _ in range(2))
    try:
        close_idle([busy, idle], [Trial(busy, "reference", busy.shape().references[0])])
        assert busy.process.is_alive()
        assert idle.process is None
    finally:
        busy.close()
        idle.close()


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


def test_report_shows_supports_where_a_penalty_makes_zeros():
    ours, peer = tiny_rows()
    counts = {"n_nonzero": "4", "median_s": "0.25", "suboptimality": "0", "status": "reached"}
    l1 = counts | {"l1_ratio": "1", "fit_intercept": "False"}
    text = report.report([ours | l1, peer | l1])
    assert "| toy (L1, no intercept) | 9 x 2, 3 |" in text
    assert text.count("| 4 of 6 |") == 2
    two = report.report([ours | l1 | {"K": "2"}])
    assert "| 4 of 2 |" in two  # one row of coefficients
    assert "| 4 of" not in report.report([ours | counts, peer | counts])


def test_report_shows_evaluations_and_reads_files_without_them(tmp_path):
    ours, _ = tiny_rows()
    ours.update(n_iter="7", n_evaluations="12.4999", chosen_solver="lbfgs", converged="True")
    assert "| 7 | 12.5 | lbfgs | True |" in report.report([ours])

    older = {name: value for name, value in ours.items() if name != "n_evaluations"}
    path = tmp_path / "older.csv"
    path.write_text(f"{','.join(older)}\n{','.join(older.values())}\n", encoding="utf-8")
    (row,) = results.read(path)
    assert row["n_evaluations"] == ""
    assert "| 7 |  | lbfgs | True |" in report.report([row])


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
@pytest.mark.parametrize("name", ["wine", "digits16_l1"])
def test_two_fits_take_the_same_evaluations(name, formulation):
    worker = Inline("ours", problems.select([name])[0], formulation, None)
    lanes = worker.shape().lanes
    counts = {
        worker.fit(lane, None, limit=math.inf).details["n_evaluations"] for lane in (*lanes, *lanes)
    }
    assert len(counts) == 1  # the same at any number of threads, too
    assert counts.pop() > 0


def test_synthetic_rows_are_what_they_say():
    X, y = synthetic.draw(4000, 30, 6)
    again, labels = synthetic.draw(4000, 30, 6)
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(y, labels)
    assert np.unique(y).tolist() == list(range(6))
    correlation = np.corrcoef(X, rowvar=False)
    np.testing.assert_allclose(correlation.diagonal(1), 0.9, atol=0.02)
    np.testing.assert_allclose(correlation.diagonal(2), 0.81, atol=0.03)
    spread = X.std(axis=0)
    assert spread.min() < 0.5
    assert spread.max() > 5
    assert np.all(np.abs(X.mean(axis=0)) < 3.2 * spread)
    accuracy = LogisticRegression(solver="newton-cg", tol=1e-2).fit(X, y).score(X, y)
    assert 1.5 / 6 < accuracy < 0.9  # neither noise nor classes that are told apart


def test_scaling_measures_and_draws_every_sweep(tmp_path):
    pytest.importorskip("matplotlib")
    output = tmp_path / "rows.csv"
    arguments = ["--output", str(output), "--figures", str(tmp_path)]
    rows = scaling.main(["--quick", *arguments])
    assert len(results.read(output)) == len(rows)
    assert all(set(row) == set(results.FIELDS) for row in rows)
    ours = [row for row in rows if row["role"] == "ours"]
    expected = [
        (problem.name, formulation)
        for name in scaling.SIZES
        for formulation in ("softmax", "ova")
        for problem in scaling.sweep(name, quick=True)
    ]
    assert [(row["problem"], row["formulation"]) for row in ours] == expected
    for row in ours:
        assert row["status"] == "reached"
        assert row["n_evaluations"] > 0
        name, _, size = row["problem"].partition("=")
        assert row[name] == int(size)
    if not adapters.load("scikit_learn").unavailable():
        solvers = {row["solver"] for row in rows if row["role"] != "reference"}
        assert solvers == set(figures.STYLES)

    drawn = {path: path.read_bytes() for path in tmp_path.glob("*.svg")}
    for name, units in figures.UNITS.items():
        text = drawn[tmp_path / f"scaling_{name}.svg"].decode()
        for label in ("time of a fit (seconds)", f"{units}, {name}", "sk_softmax, default"):
            assert label in text
    assert scaling.main(["--plot-only", *arguments]) == []
    assert drawn == {path: path.read_bytes() for path in drawn}  # to the byte


QUICK_ACCURACY = ["--quick", "--problems", "wine_std_l1", "--peers", "scikit_learn"]


def test_accuracy_goes_down_the_tolerances_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    if reason := adapters.load("scikit_learn").unavailable():
        pytest.skip(reason)
    output = tmp_path / "rows.csv"
    arguments = ["--output", str(output), "--figures", str(tmp_path)]
    rows = accuracy.main([*QUICK_ACCURACY, *arguments])
    assert len(results.read(output)) == len(rows)
    for formulation in ("softmax", "ova"):
        ours, saga = (
            [r for r in rows if (r["formulation"], r["solver"]) == (formulation, solver)]
            for solver in ("auto", "saga")
        )
        assert all(row["role"] == "ours" for row in ours)
        assert [row["tol"] for row in saga] == list(adapters.load("scikit_learn").TOLS[: len(saga)])
        for ladder in ours, saga:
            errors = [row["suboptimality"] for row in ladder]
            assert ladder[0]["n_repeats"] == 1
            assert errors[-1] < 1e-6
            assert all(row["status"] == ("reached", "missed")[e > 1e-6] for row, e in
                       zip(ladder, errors, strict=True))  # fmt: skip
        assert ours[-1]["suboptimality"] <= accuracy.DEEPEST
        assert 0 < ours[-1]["n_nonzero"] < 39
        assert saga[0]["suboptimality"] > saga[-1]["suboptimality"]

    drawn = {path: path.read_bytes() for path in tmp_path.glob("*.svg")}
    assert {path.name for path in drawn} == {"accuracy_softmax.svg", "accuracy_ova.svg"}
    text = drawn[tmp_path / "accuracy_ova.svg"].decode()
    for label in ("wine_std_l1, C=1", "178 x 13, K=3", "liblinear", "SAGA", "sk_softmax"):
        assert label in text
    assert accuracy.main(["--plot-only", *arguments]) == []
    assert drawn == {path: path.read_bytes() for path in drawn}  # to the byte


def test_ladders_have_one_lane_a_solver_on_one_thread():
    case = problems.load_case(problems.select(["digits16_l1"])[0], "ova")
    lanes = accuracy.lanes_of(
        "scikit_learn", adapters.load("scikit_learn").lanes(case), accuracy.THOROUGH
    )
    assert [(lane.solver, lane.n_jobs, lane.threads) for lane in lanes] == [
        ("liblinear", 1, 1),
        ("saga", 1, 1),
    ]
    assert lanes[0].options == {"intercept_scaling": 1e4}
    (ours,) = accuracy.lanes_of("ours", adapters.load("ours").lanes(case), accuracy.THOROUGH)
    assert (ours.n_jobs, ours.tols) == (1, accuracy.OUR_TOLS)


def test_a_ladder_ends_with_how_it_ended():
    problem = problems.select(["wine_std_l1"])[0]
    worker = Inline("ours", problem, "softmax", None)
    probes = [(1e-2, Outcome("fitted", [0.5], np.array([0.3]), n_nonzero=7))]
    trial = Trial(worker, "peer", Lane("saga", (1e-2, 1e-3), 1, 1), probes, cut_off=9.0)
    rows = accuracy._rows(
        problem, "softmax", accuracy.Ladder(trial, [[0.2, 0.4, 0.3]]), np.array([0.1])
    )
    assert [row["status"] for row in rows] == ["missed", "cut off"]
    assert (rows[0]["median_s"], rows[0]["n_nonzero"]) == (0.3, 7)
    stored = [{name: str(value) for name, value in row.items()} for row in rows]
    seconds, errors, limit = accuracy_figures.curve(stored)
    assert (seconds, limit) == ([0.3], 9.0)
    np.testing.assert_allclose(errors, [0.2 / worker.shape().null[0]], rtol=1e-12)
    seconds, errors, limit = accuracy_figures.curve(stored[:1])
    assert math.isnan(limit)


def test_settings_leave_lanes_and_tolerances_out():
    lanes = [Lane("plain", (1e-2, 1e-6, 1e-8), 1, 1), Lane("plain", (1e-2,), 1, 2), Lane("auto")]
    assert Settings().choose(lanes) == lanes
    assert Settings(max_threads=1).choose(lanes) == [lanes[0], lanes[2]]
    assert Settings(wanted=lambda lane: lane.solver == "auto").choose(lanes) == [lanes[2]]
    assert Settings(tightest=1e-6).choose(lanes)[0].tols == (1e-2, 1e-6)


@pytest.mark.parametrize(
    ("value", "cut_off", "rung"), [(1.0, None, 0), (2.0, 5.0, 1), (1.0, 5.0, 0)]
)
def test_a_second_lane_starts_where_the_first_ended(value, cut_off, rung):
    lane = Lane("plain", (1e-2, 1e-3), 1, 1)
    fitted = Outcome("fitted", [1.0], np.array([value]))
    first = Trial(None, "peer", lane, probes=[(1e-2, fitted)], cut_off=cut_off)
    second = Trial(None, "peer", replace(lane, threads=2))
    _skip_rungs(second, [first, second], best=np.array([1.0]), null=np.array([1.0]))
    assert second.first_rung == rung


def lanes_of_a_sweep(*ends):
    """Rows of one solver at n = 1, 2, ...: each entry has the ends of its lanes at one size."""
    return [
        {"n": str(n), "solver": "lbfgs", "role": "peer", "status": status}
        | {"median_s": seconds, "limit_s": seconds}
        for n, lanes in enumerate(ends, start=1)
        for status, seconds in lanes
    ]


def test_a_curve_is_of_the_best_lane_and_ends_where_all_were_cut_off():
    reached, missed, cut_off = ("reached", "0.5"), ("missed", "0.1"), ("cut off", "20")
    rows = lanes_of_a_sweep(
        [reached, ("reached", "0.3"), cut_off], [missed, missed], [cut_off, ("cut off", "9")]
    )
    sizes, seconds, limits = figures.curve(rows, "n")
    assert sizes == [1, 2, 3]
    np.testing.assert_equal(seconds, [0.3, math.nan, math.nan])
    np.testing.assert_equal(limits, [math.nan, math.nan, 20.0])
    for ends, left in (([reached, cut_off], 1), ([missed], 1), ([], 1), ([cut_off, cut_off], 0)):
        assert len(scaling.still_running(("lbfgs",), lanes_of_a_sweep(ends))) == left


def test_paths_without_glmnet_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # no Rscript there
    monkeypatch.setattr(paths, "LENGTH", 5)
    output = tmp_path / "paths.md"
    paths.main(["--problems", "khan_std_l1", "wine_std_l1", "--output", str(output)])
    errors = capsys.readouterr().err
    assert "glmnet left out: Rscript is not on the PATH" in errors
    assert "khan_std_l1 left out: needs khan.npz: pass --data-dir" in errors
    text = output.read_text(encoding="utf-8")
    assert "Measured with sk_softmax" in text
    name, *_, seconds, tol, error, n_nonzero, peer = text.splitlines()[-1].split(" | ")[:10]
    assert name == "| wine_std_l1"
    assert float(seconds) > 0
    assert float(tol) in paths.TOLS["sk_softmax"]
    assert float(error) <= 1e-6
    assert 0 < int(n_nonzero) < 39
    assert peer == "not there"


@pytest.mark.parametrize(("n", "p", "span"), [(30, 4, 1e4), (6, 9, 1e2)])
def test_a_path_s_grid_ends_where_glmnet_s_does(n, p, span):
    case = problems.load_case(problems.synthetic("any", n, p, K=3), "softmax")
    Cs = paths.grid(replace(case, l1_ratio=1.0))
    assert Cs.size == 100
    assert Cs[-1] / Cs[0] == pytest.approx(span)


def test_a_path_s_error_is_that_of_its_worst_C():
    outcome = paths.Outcome(1e-4, [1.0], np.array([1.0, 1.5, 2.0]))
    assert outcome.error(np.array([1.0, 1.25, 1.9]), null=2.0) == pytest.approx(0.125)


def test_screening_reports_single_fits_and_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(screening, "LENGTH", 4)
    output = tmp_path / "screening.md"
    screening.main(["--problems", "wine_std_l1", "khan_std_l1", "--output", str(output)])
    assert "khan_std_l1 left out: needs khan.npz: pass --data-dir" in capsys.readouterr().err
    for (row,) in screening_tables(output):
        assert row["problem"] == "wine_std_l1"
        assert 0 < row["saved, features"] <= row["saved"] < 100
        assert row["gap, last"] < 1e-6 < row["gap, first"]
        assert row["out, first"] < 50 < row["out, last"]


def screening_tables(path):
    """The tables of a report, each a list of rows: numbers by column, "%" aside."""
    for block in re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8"), re.M):
        head, _, *lines = [line.strip("| ").split(" | ") for line in block.splitlines()]
        rows = [dict(zip(head, line, strict=True)) for line in lines]
        words = ("problem", "C")
        yield [
            {name: cell if name in words else float(cell.strip("%")) for name, cell in row.items()}
            for row in rows
        ]


def test_what_screening_rules_out_is_zero():
    _, case = screening.load("wine_std_l1", None)
    _, (fit,) = screening.observed_fits(case, [case.C])
    optimum = SoftmaxClassifier(C=case.C, l1_ratio=1.0, tol=1e-9).fit(case.X, case.y)
    screen = fit.screen
    assert screen.out.any()
    assert not optimum.coef_[screen.out].any()
    rounding = 8 * np.spacing(screen.null)  # of F; both points may be the optimum
    assert screen.dual <= optimum.objective_ + rounding <= screen.value + 2 * rounding
    np.testing.assert_allclose(screen.spread, case.X.std(axis=0), rtol=1e-12)


def test_screening_that_rules_out_too_much_is_an_error(monkeypatch):
    _, case = screening.load("wine_std_l1", None)
    monkeypatch.setattr(DenseDesign, "squares", lambda self, *_: np.zeros((1, self.p)))
    with pytest.raises(RuntimeError, match="ruled out that is not 0"):
        screening.observed_fits(case, [case.C])


def test_the_page_on_l1_quotes_the_committed_screening():
    page, results_of = ROOT / "docs/user_guide/l1.rst", ROOT / "benchmarks/results/screening.md"
    if not (page.exists() and results_of.exists()):
        pytest.skip("the documentation or its results are not beside the tests")
    _, _, section = page.read_text(encoding="utf-8").partition(".. _no-screening:")
    text = " ".join(section.partition(".. _l1-gauge:")[0].split())
    single, path = screening_tables(results_of)
    largest = {
        (table, name): max(row[name] for row in rows)
        for table, rows in (("single", single), ("path", path))
        for name in ("half out", "in sets", "saved", "saved, time")
    }
    assert f"no more than {largest['single', 'half out']:g} full sweeps" in text
    assert f"{largest['single', 'saved']:g}% of the work of a single fit" in text
    assert f"it would be {largest['single', 'saved, time']:g}% of the time" in text
    both = (largest["path", "saved"], largest["path", "saved, time"])
    assert "{:g}% of the work and {:g}% of the time".format(*both) in text
    assert largest["single", "in sets"] == largest["path", "in sets"] == 0


def test_the_readme_s_table_is_that_of_the_results():
    text = readme.README.read_text(encoding="utf-8")
    rows = results.read(report.RESULTS / "results.csv")
    assert readme.found_table(text) == readme.readme_table(rows)
