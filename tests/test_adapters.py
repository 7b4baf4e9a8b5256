"""The benchmarks' adapters: each library that is there solves the problem that is stated.

Most of these libraries are optional, and a test of one that is absent is skipped. R is played by a
script in Python that speaks to the adapter as `benchmarks/glmnet/fit.R` does.
"""

import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, load_wine

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import adapters, paths, results, run  # noqa: E402
from benchmarks.adapters import glmnet  # noqa: E402
from benchmarks.objective import GOAL, null_objective, objective, suboptimality  # noqa: E402
from benchmarks.problems import Case, Problem  # noqa: E402
from benchmarks.worker import Inline, answer, describe  # noqa: E402
from sk_softmax import softmax_path  # noqa: E402

# Peers with the formulations and penalties that they take.
pytestmark = pytest.mark.tools
PEERS = [name for name in adapters.ADAPTERS if adapters.load(name).ROLE == "peer"]
over_peers = pytest.mark.parametrize("name", PEERS)


def make_case(
    formulation="ova", K=3, C=0.5, l1_ratio=1.0, fit_intercept=True, storage=np.ascontiguousarray
):
    """Wine, standardised; with two classes the last two."""
    X, y = load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = np.where(np.abs(X) > 0.5, X, 0.0)  # not centred any more, and half empty
    kept = y >= 3 - K
    labels = np.array(["red", "rose", "white"])[y[kept]]
    return Case(storage(X[kept]), labels, formulation, C, l1_ratio, K, fit_intercept)


def fitted(adapter, case, lane, tol):
    return answer(adapter, case, (lane, tol, 1, 0.0, False), lambda message: None)


def tight(case):
    """The optimum by a tight fit of ours, which other tests certify."""
    ours = adapters.load("ours")
    (lane,) = ours.references(case)
    outcome = fitted(ours, case, lane, lane.tols[-1])
    assert outcome.warnings == ""
    return outcome


def usable(name):
    adapter = adapters.load(name)
    if reason := adapter.unavailable():
        pytest.skip(reason)
    return adapter


@over_peers
@pytest.mark.parametrize(
    ("storage", "fit_intercept"),
    [(np.ascontiguousarray, True), (np.ascontiguousarray, False), (sparse.csr_matrix, False)],
    ids=["dense", "dense, no intercept", "sparse, no intercept"],
)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize(("formulation", "K"), [("softmax", 3), ("ova", 3), ("softmax", 2)])
def test_a_peer_s_tightest_fits_are_at_the_optimum(
    name, formulation, K, l1_ratio, fit_intercept, storage
):
    adapter = usable(name)
    case = make_case(formulation, K, 0.5, l1_ratio, fit_intercept, storage)
    # liblinear penalises the intercept: the least where that is scaled most
    lanes = [
        lane
        for lane in adapter.lanes(case)
        if lane.n_jobs == 1 and lane.options.get("intercept_scaling", 1e4) == 1e4
    ]
    best = tight(case)
    null = null_objective(case.y, formulation=formulation, fit_intercept=fit_intercept)
    for lane in lanes:
        outcome = fitted(adapter, case, lane, lane.tols[-1])
        assert outcome.status == "fitted", outcome.warnings
        excess = suboptimality(outcome.objective, best.objective, null)
        assert -1e-13 < excess < 1e-7, lane
        if lane.solver != "liblinear":
            assert excess < 1e-9, lane
        if formulation == "ova" or K == 2:  # the optimum is unique: so are its zeros
            assert outcome.n_nonzero == best.n_nonzero


@over_peers
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("formulation", "K"), [("softmax", 3), ("ova", 3), ("softmax", 2)])
def test_peers_are_asked_only_what_they_solve(name, formulation, K, l1_ratio, fit_intercept):
    """Whether the library is there or not."""
    case = make_case(formulation, K, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
    solvers = {lane.solver for lane in adapters.load(name).lanes(case)}
    two_at_a_time = formulation == "ova" or K == 2
    expected = {
        "glmnet": {"glmnet"} if l1_ratio > 0 else set(),
        "celer": {"celer-pn", "celer"}
        if two_at_a_time and l1_ratio == 1 and not fit_intercept
        else set(),
        "skglm": {"prox-newton"} if two_at_a_time and l1_ratio > 0 else set(),
        "adelie": {"grpnet"} if two_at_a_time and l1_ratio > 0 else set(),
    }
    if name in expected:
        assert solvers == expected[name]
    else:
        assert ("saga" in solvers) == (l1_ratio > 0)
        assert ("liblinear" in solvers) == (two_at_a_time and l1_ratio in (0, 1))


def test_liblinear_without_an_intercept_has_nothing_to_scale():
    lanes = adapters.load("scikit_learn").lanes(make_case(fit_intercept=False))
    chosen = [lane.options for lane in lanes if lane.solver == "liblinear"]
    assert chosen
    assert not any(chosen)


@pytest.mark.parametrize("name", ["celer", "skglm", "adelie"])
def test_an_absent_library_is_skipped_with_a_line(name, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(adapters, "ADAPTERS", ("ours", name))
    assert list(run.usable_libraries(None)) == ["ours"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"skipping {name}: {name} cannot be imported")
    assert f"pip install {name}" in line


def test_an_intercept_where_there_should_be_none_is_an_error():
    case = make_case(fit_intercept=False)
    wrong = replace(case, fit_intercept=True)
    ours = adapters.load("ours")

    class Fake:
        prepare, coefficients, details = ours.prepare, ours.coefficients, ours.details

        @staticmethod
        def estimator(case, lane, tol):
            return ours.estimator(wrong, lane, tol)

    outcome = fitted(Fake, case, ours.lanes(case)[0], None)
    assert (outcome.status, outcome.objective) == ("error", None)
    assert "intercept" in outcome.warnings


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
def test_the_null_model_without_an_intercept_knows_nothing(formulation):
    case = make_case(formulation, fit_intercept=False, C=1e-6)
    outcome = tight(case)
    assert outcome.n_nonzero == 0
    shape = describe(adapters.load("ours"), case)
    np.testing.assert_allclose(shape.null, outcome.objective, rtol=1e-12)
    assert shape.null.shape == ((3,) if formulation == "ova" else (1,))


# ---- R --------------------------------------------------------------------------------------

# Speaks as fit.R does, and fits with sk_softmax.
FAKE = r"""#!{python}
import sys, warnings
from pathlib import Path
import numpy as np
from scipy import sparse

if sys.argv[1] == "-e":
    print("9.8", end="")
    raise SystemExit({exit_code})
script, folder = Path(sys.argv[1]), Path(sys.argv[2])
assert script.name == "fit.R" and script.exists(), script
n, p, K, entries = map(int, (folder / "shape.txt").read_text().split())
values = np.fromfile(folder / "x.bin")
if entries < 0:
    X = values.reshape((n, p), order="F")
else:
    rows, starts = (np.fromfile(folder / f"{{name}}.bin", "<i4") for name in ("rows", "starts"))
    X = sparse.csc_matrix((values, rows, starts), (n, p))
y = np.fromfile(folder / "y.bin", "<i4")
assert set(y) == set(range(K))
from sk_softmax import OvAClassifier, SoftmaxClassifier, softmax_path
print("ready 9.8 9.9", flush=True)
for line in sys.stdin:
    if {broken!r}:
        print({broken!r}, flush=True)
        raise SystemExit
    if line.startswith("path"):
        _, length, alpha, thresh, intercept = line.split()
        strengths = np.fromfile(folder / "lambda.bin")
        assert len(strengths) == int(length)
        path = softmax_path(
            X, y, Cs=1 / (strengths * n), l1_ratio=float(alpha), tol=float(thresh) ** 0.5,
            fit_intercept=intercept == "TRUE",
        )
        stacked = sparse.csc_matrix(path.coefs.reshape(len(strengths), -1).T)
        stacked.indices.astype("<i4").tofile(folder / "rows.bin")
        stacked.indptr.astype("<i4").tofile(folder / "starts.bin")
        stacked.data.tofile(folder / "x.bin")
        path.intercepts.tofile(folder / "offsets.bin")
        print("fitted", 0.125, length, flush=True)
        continue
    formulation, strength, alpha, thresh, path, intercept = line.split()
    kind = SoftmaxClassifier if formulation == "softmax" else OvAClassifier
    fit = kind(
        C=1 / (float(strength) * n), l1_ratio=float(alpha), tol=float(thresh) ** 0.5,
        fit_intercept=intercept == "TRUE",
    ).fit(X, y)
    np.column_stack([fit.coef_, fit.intercept_]).ravel(order="F").tofile(folder / "fitted.bin")
    print("fitted", 0.125, path, *np.atleast_1d(fit.objective_).tolist(), flush=True)
"""


@pytest.fixture
def fake_r(tmp_path, monkeypatch):
    """``fake_r()`` puts an Rscript on the PATH, by default one that works."""

    def install(broken="", exit_code=0):
        script = tmp_path / "Rscript"
        text = FAKE.format(python=sys.executable, broken=broken, exit_code=exit_code)
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))

    glmnet._version.cache_clear()
    yield install
    glmnet._version.cache_clear()
    glmnet.finish()


needs_shebang = pytest.mark.skipif(os.name == "nt", reason="a script with a shebang")


@needs_shebang
@pytest.mark.parametrize("storage", [np.ascontiguousarray, sparse.csr_matrix])
@pytest.mark.parametrize(("formulation", "K"), [("softmax", 3), ("ova", 3), ("ova", 2)])
def test_r_gets_the_problem_and_gives_back_the_fit(fake_r, formulation, K, storage):
    fake_r()
    assert glmnet.unavailable() == ""
    assert glmnet.version() == "9.8"
    case = make_case(formulation, K, C=0.3, l1_ratio=0.7, fit_intercept=False, storage=storage)
    (lane,) = glmnet.lanes(case)
    outcome = fitted(glmnet, case, lane, 1e-15)
    assert outcome.status == "fitted", outcome.warnings
    best = tight(case)
    np.testing.assert_allclose(outcome.objective, best.objective, rtol=1e-10)
    assert outcome.n_nonzero == best.n_nonzero
    assert outcome.seconds == [0.125]  # R's clock, not ours
    assert outcome.details == {"n_iter": 20}
    assert list(Path(glmnet.Session.current.folder.name).glob("fitted.bin"))


def assert_path_is_ours(case):
    """glmnet's path comes back sparse, and has the objectives of ours."""
    Cs = np.geomspace(0.02, 2.0, 5)
    ours = softmax_path(
        case.X,
        case.y,
        Cs=Cs,
        l1_ratio=case.l1_ratio,
        fit_intercept=case.fit_intercept,
        tol=1e-8,
    )
    session = glmnet.Session.of(case)
    coefs, intercepts, seconds, passes = session.path(
        1.0 / (Cs * len(case.y)), case.l1_ratio, glmnet.TOLS[-1]
    )
    assert seconds > 0
    assert passes > 0
    assert intercepts.shape == ours.intercepts.shape
    arguments = {"l1_ratio": case.l1_ratio, "formulation": "softmax"}
    for C, coef, intercept, expected in zip(Cs, coefs, intercepts, ours.objectives, strict=True):
        assert sparse.issparse(coef)
        value = objective(case.X, case.y, coef.toarray(), intercept, C=C, **arguments)
        np.testing.assert_allclose(value, expected, rtol=1e-9)


over_paths = pytest.mark.parametrize(
    ("K", "fit_intercept", "storage"),
    [(3, True, np.ascontiguousarray), (3, False, sparse.csr_matrix), (2, True, sparse.csr_matrix)],
)


@needs_shebang
@over_paths
def test_r_gets_a_grid_and_gives_back_the_path(fake_r, K, fit_intercept, storage):
    fake_r()
    assert_path_is_ours(make_case("softmax", K, fit_intercept=fit_intercept, storage=storage))


@over_paths
def test_a_path_by_r_itself_is_at_the_optimum(K, fit_intercept, storage):
    usable("glmnet")
    assert_path_is_ours(make_case("softmax", K, fit_intercept=fit_intercept, storage=storage))
    with pytest.raises(RuntimeError, match="failed"):
        glmnet.Session.current.path([-1.0], 1.0, 1e-7)


@needs_shebang
@pytest.mark.parametrize(("limit", "words"), [("300", "0.125"), ("0", "> 0")])
def test_paths_are_timed_beside_glmnet(fake_r, tmp_path, monkeypatch, limit, words):
    fake_r()
    monkeypatch.setattr(paths, "LENGTH", 4)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a process that is killed leaves its folder
    output = tmp_path / "paths.md"
    arguments = ["--problems", "wine_std_l1", "--repeats", "2", "--time-limit", limit]
    paths.main([*arguments, "--output", str(output)])
    text = output.read_text(encoding="utf-8")
    assert "glmnet 9.8 with R 9.9" in text
    cells = text.splitlines()[-1].strip("| ").split(" | ")
    assert len(cells) == len(paths.COLUMNS)
    assert cells[:4] == ["wine_std_l1", "178", "13", "3"]
    assert cells[6] == "0.0001"
    assert float(cells[7]) <= GOAL
    assert cells[9] == words
    assert cells[13].startswith("> ") == (limit == "0")


@needs_shebang
def test_r_holds_one_case_at_a_time(fake_r):
    fake_r()
    first, second = make_case(), make_case(C=0.1)
    (lane,) = glmnet.lanes(first)
    glmnet.prepare(first, lane)
    session = glmnet.Session.current
    assert list(Path(session.folder.name).iterdir())
    glmnet.prepare(first, lane)
    assert glmnet.Session.current is session
    glmnet.prepare(second, lane)
    assert session.process.poll() is not None
    assert not Path(session.folder.name).exists()
    with pytest.raises(ValueError, match="other data"):
        glmnet.estimator(second, lane, 1e-7).fit(first.X, first.y)


@needs_shebang
@pytest.mark.parametrize("broken", ["failed it gave up before the last lambda", " "])
def test_what_r_complains_of_is_an_error(fake_r, broken):
    fake_r(broken)
    case = make_case()
    outcome = fitted(glmnet, case, glmnet.lanes(case)[0], 1e-7)
    assert outcome.status == "error"
    assert (broken.strip() or "R ended") in outcome.warnings


@needs_shebang
def test_without_the_package_r_is_of_no_use(fake_r):
    fake_r(exit_code=1)
    assert glmnet.unavailable() == "R has no package glmnet"


def test_without_r_there_is_no_glmnet(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "Rscript" in glmnet.unavailable()
    assert glmnet.version() == ""


def _iris(data_dir):
    return load_iris(return_X_y=True)


def _as_it_is(X):
    return X


def test_r_itself_gives_up_aloud():
    """A fit that R cannot make is an error, and the session goes on."""
    adapter = usable("glmnet")
    inline = Inline("glmnet", Problem("iris", _iris, _as_it_is, l1_ratio=1.0), "softmax", None)
    (lane,) = inline.shape().lanes
    broken = replace(inline.case, C=-1.0)
    outcome = fitted(adapter, broken, lane, 1e-7)
    assert outcome.status == "error"
    assert outcome.warnings.startswith("RuntimeError: glmnet: failed")
    again = glmnet.Session.current.fit(0.01, 1.0, 1e-7, 20)
    assert again[0].shape == (3, 4)
    assert len(again[4]) == 1
    assert math.isfinite(again[2])


def test_rows_have_the_intercept_and_the_support():
    case = Problem("iris", _iris, _as_it_is, C=0.1, l1_ratio=1.0, fit_intercept=False)
    rows = run_quick(case)
    assert {row["fit_intercept"] for row in rows} == {False}
    ours = [row for row in rows if row["role"] == "ours"]
    inline = Inline("ours", case, "ova", None)
    coef = inline.adapter.estimator(inline.case, ours_lane(inline), None)
    coef = coef.fit(inline.case.X, inline.case.y).coef_
    assert {row["n_nonzero"] for row in ours} == {np.count_nonzero(coef)}
    assert all(set(row) == set(results.FIELDS) for row in rows)


def ours_lane(inline):
    return inline.shape().lanes[0]


def run_quick(problem):
    from benchmarks.measure import measure_case

    return measure_case(problem, "ova", {"ours": "ours"}, replace(run.QUICK, inline=True))
