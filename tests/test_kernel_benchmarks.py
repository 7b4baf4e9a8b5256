"""The benchmarks of the kernels: that they compare what they say, and say what they found."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from problems import needs_jit
from scipy import sparse

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.tools
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks.kernels import (  # noqa: E402
    __main__,
    child,
    limits,
    prediction,
    processes,
    report,
    roofline,
    second_order,
    sweeps,
    timing,
)
from benchmarks.kernels.case import AGREEMENT, Case, agree, cases  # noqa: E402
from benchmarks.kernels.outcome import Outcome  # noqa: E402
from benchmarks.kernels.shapes import Shape, Text  # noqa: E402

LIMITS = limits.Limits(
    10e9, {"float64": 40e9, "float32": 100e9}, {"float64": 50e9, "float32": 80e9}
)
SMALL = Shape(90, 6, 4)


def sparse_case(formulation="softmax", dtype="float64"):
    X = sparse.random(80, 30, 0.2, format="csr", dtype=dtype, random_state=0)
    return Case(Text("words", formulation), X, np.arange(80) % 3)


def sweep(**changes):
    row = {"name": "9 x 2, K=3", "formulation": "softmax", "dtype": "float64", "ours": 2e-3}
    row |= {"peer": 6e-3, "operations": 50e6, "n_bytes": 5e6, "goal": 2.0}
    return sweeps.Sweep(**row | changes)


# ---- time -----------------------------------------------------------------------------------


class Clock:
    """A clock that functions move on."""

    def __init__(self):
        self.now, self.called = 0.0, []

    def taking(self, name, seconds):
        """A function that takes so long, and longer in its first two calls."""

        def function():
            self.called.append(name)
            self.now += seconds * (100 if self.called.count(name) == 1 else 1)

        return function


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    return clock


def test_functions_take_turns_and_first_calls_do_not_count(clock):
    settings = timing.Settings(least=3, most=3, burst=0.0)
    seconds = timing.in_turns([clock.taking("a", 0.5), clock.taking("b", 2.0)], settings)
    assert seconds == pytest.approx([0.5, 2.0])
    assert "".join(clock.called) == "aabb" + "ab" * 3


def test_short_calls_are_timed_in_bursts(clock):
    settings = timing.Settings(least=2, most=2, burst=1.0)
    seconds = timing.in_turns([clock.taking("a", 0.125), clock.taking("b", 3.0)], settings)
    assert seconds == pytest.approx([0.125, 3.0])
    assert "".join(clock.called) == "aabb" + ("a" * 8 + "b") * 2


@pytest.mark.parametrize(("budget", "turns"), [(0.0, 2), (3.5, 4), (100.0, 6)])
def test_turns_end_with_the_budget(clock, budget, turns):
    settings = timing.Settings(least=2, most=6, budget=budget, burst=0.0)
    timing.in_turns([clock.taking("a", 1.0)], settings)
    assert len(clock.called) == 2 + turns


# ---- limits ---------------------------------------------------------------------------------


def test_the_limit_is_the_longer_of_reading_and_computing():
    assert LIMITS.peak("float64") == 50e9  # BLAS is the faster of the two there
    assert LIMITS.peak("float32") == 100e9
    assert LIMITS.seconds(50e9, 5e9, "float64") == 1.0
    assert LIMITS.seconds(50e9, 20e9, "float64") == 2.0
    assert LIMITS.seconds(50e9, 0.0, "float32") == 0.5
    assert limits.bound(LIMITS, 50e9, 5e9, "float64") == "arithmetic"
    assert limits.bound(LIMITS, 50e9, 20e9, "float64") == "memory"


@pytest.mark.parametrize("dtype", limits.DTYPES)
def test_chains_do_the_multiply_adds_that_are_counted(dtype):
    x = np.arange(5, dtype=dtype)
    one = x.dtype.type(1.0)
    limits._multiply_add(x, one, one, 3)
    np.testing.assert_array_equal(x, np.arange(5) + 3 * limits.CHAIN)
    assert limits._sum(np.arange(9.0)) == 36.0


@needs_jit
def test_limits_are_measured():
    found = limits.measure(quick=True)
    assert found.bandwidth > 0
    for dtype in limits.DTYPES:
        assert found.peak(dtype) >= max(found.chains[dtype], found.products[dtype]) > 0


# ---- values before times --------------------------------------------------------------------


@pytest.mark.parametrize("formulation", ["softmax", "ova"])
@pytest.mark.parametrize("dtype", limits.DTYPES)
@pytest.mark.parametrize("dense", [True, False])
def test_both_libraries_give_the_same_values(formulation, dtype, dense):
    shape = Shape(90, 6, 4, formulation)
    if dense:
        (case,) = cases(shape, (dtype,))
    else:
        case = sparse_case(formulation, dtype)
    assert case.X.dtype == dtype
    objective = case.objective()
    case.check_sweep(objective)  # or an error says so
    mine, theirs = objective.loss_gradient(case.point), case.peer_sweep()
    for one, other in zip(mine, theirs, strict=True):
        assert one.shape == other.shape
        agree(one, other, dtype)
    assert mine[0].shape == ((1,) if formulation == "softmax" else (case.K,))
    assert theirs[1].dtype == dtype


@pytest.mark.parametrize(("error", "passes"), [(5e-6, True), (5e-4, False)])
def test_on_float32_data_ours_must_be_near_float64(error, passes):
    """Nearer than scikit-learn's values in float32 need be to ours."""
    (case,) = cases(SMALL, ("float32",))
    objective = case.objective()
    loss, gradient = objective.loss_gradient(case.point)
    objective.loss_gradient = lambda _: (loss, gradient * (1 + error))
    if passes:
        case.check_sweep(objective)
    else:
        with pytest.raises(AssertionError, match="values differ"):
            case.check_sweep(objective)
    objective.loss_gradient = lambda _: (loss, gradient)
    peer = case.peer_sweep()
    for off, near in ((5e-4, True), (5e-3, False)):
        case.peer_sweep = lambda off=off: (peer[0], peer[1] * (1 + off))
        if near:
            case.check_sweep(objective)
        else:
            with pytest.raises(AssertionError, match="values differ"):
                case.check_sweep(objective)


@pytest.mark.parametrize("dtype", limits.DTYPES)
def test_two_classes_are_one_output(dtype):
    for formulation in ("softmax", "ova"):
        (case,) = cases(Shape(90, 20, 2, formulation), (dtype,))
        row = sweeps.measure(case, timing.QUICK)  # values agree, or an error says so
        assert case.peer_sweep()[1].shape == (1, 21)
        assert row.operations == 4 * 90 * 20


@pytest.mark.parametrize("dtype", limits.DTYPES)
def test_values_that_differ_do_not_agree(dtype):
    exact = np.array([0.0, 1e-20, -3.0])
    agree(exact, exact, dtype)
    agree(exact + np.array([0, 0, 2 * AGREEMENT[dtype]]), exact, dtype)
    for wrong in (4 * AGREEMENT[dtype], np.nan, np.inf):
        with pytest.raises(AssertionError, match="values differ"):
            agree(exact + np.array([0, 0, wrong]), exact, dtype)


MEASURED = {
    "sweep": (sweeps.measure, "peer_sweep"),
    "hessian": (second_order.measure_hessian, "peer_hessian"),
    "product": (second_order.measure_product, "peer_product"),
}


@pytest.mark.parametrize("what", MEASURED)
def test_nothing_is_timed_where_values_differ(monkeypatch, what):
    measure, peer = MEASURED[what]
    (case,) = cases(SMALL, ("float64",))
    exact = getattr(case, peer)()
    wrong = {
        "sweep": lambda: (exact[0], exact[1] * (1 + 1e-7)),
        "hessian": lambda: (exact[0], exact[1] * (1 + 1e-7)),
        "product": lambda: lambda V: exact(V) * (1 + 1e-7),
    }
    monkeypatch.setattr(case, peer, wrong[what])
    for module in (sweeps, second_order):
        monkeypatch.setattr(module, "in_turns", lambda *_: pytest.fail("a time was taken"))
    with pytest.raises(AssertionError, match="values differ"):
        measure(case, timing.QUICK)


def test_two_threads_must_give_the_same_bits(monkeypatch):
    (case,) = cases(SMALL, ("float64",))
    objective = case.objective()
    exact = objective.loss_gradient(case.point)
    monkeypatch.setattr(objective, "loss_gradient", lambda _: (exact[0], np.nextafter(exact[1], 9)))
    with pytest.raises(AssertionError, match="different bits"):
        sweeps._two_threads(case, objective, timing.QUICK)


def test_two_threads_are_timed_only_where_sweeps_are_long():
    (case,) = cases(SMALL, ("float64",))
    short, long = (
        sweeps.measure(case, timing.Settings(2, 2, burst=0.0, long_sweep=limit))
        for limit in (1e9, 0.0)
    )
    assert short.two_threads is None
    assert long.two_threads > 0


@pytest.mark.parametrize("shape", [SMALL, Shape(70, 3, 5)])
def test_hessians_and_products_with_them_are_measured(shape):
    """Their values agree with scikit-learn's, or an error says so."""
    (case,) = cases(shape, ("float64",))
    hessian = second_order.measure_hessian(case, timing.QUICK)
    assert min(hessian.ours, hessian.with_gradient, hessian.peer) > 0
    for any_case in (case, sparse_case()):
        product = second_order.measure_product(any_case, timing.QUICK)
        assert min(product.ours, product.sweep, product.peer) > 0


def test_predictions_are_of_the_same_coefficients():
    ours, peer = prediction.with_the_same_coefficients(6, 3)
    np.testing.assert_array_equal(ours.coef_, peer.coef_)
    np.testing.assert_array_equal(ours.intercept_, peer.intercept_)
    assert ours.coef_ is not peer.coef_
    rows = prediction.measure(Shape(5, 6, 3, goals=(2.0, 3.0)), limits.DTYPES, timing.QUICK)
    assert [(row.dtype, row.goal) for row in rows] == [("float64", 2.0), ("float32", 3.0)]


def test_work_is_counted():
    wide, narrow = cases(SMALL, limits.DTYPES)
    assert (wide.operations, wide.n_bytes) == (4 * 90 * 6 * 4, 90 * 6 * 8)
    assert (narrow.operations, narrow.n_bytes) == (4 * 90 * 6 * 4, 90 * 6 * 4)
    words = sparse_case()
    entries = words.X.nnz
    assert words.operations == 4 * entries * 3
    assert words.n_bytes == entries * (8 + 4) + 81 * 4
    assert sweep().intensity == 10.0
    assert sweep().ratio == pytest.approx(3.0)


# ---- fresh processes ------------------------------------------------------------------------


def test_a_fresh_process_imports_nothing_before_its_time():
    code = "import sys, benchmarks.kernels.child; print({'numpy', 'numba'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "set()"


@needs_jit
def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    scenario = ("dense", 60, 4, 3, "float64")
    cold, warm = (processes._run(str(tmp_path), "fit", scenario) for _ in range(2))
    assert list(tmp_path.rglob("*.nbc"))
    assert warm["first"] < cold["first"]
    assert min(cold.values()) > 0
    found = processes._run(str(tmp_path), "memory", ("OvAClassifier", 500, 4, 3, "float32"))
    assert (found["X"], found["coef"]) == (500 * 4 * 4, 3 * 5 * 8)
    assert 0 <= found["beyond"] < 2**30


def test_cold_and_warm_are_medians_of_their_own(monkeypatch):
    caches, results = [], iter([9.0, 1.0, 5.0, 3.0, 7.0, 2.0])

    def run(cache, task, scenario):
        caches.append(cache)
        first = next(results)
        return {"package": 0.5, "numba": 0.25, "first": first, "second": first / 10}

    monkeypatch.setattr(processes, "_run", run)
    row = processes.measure_first_fits(("sparse", 20, 5, 3, "float64"), 3)
    assert (row.cold, row.warm, row.second) == (7.0, 2.0, 0.2)
    assert row.name == "sparse, 20 x 5, K=3"
    assert caches[::2] == caches[1::2]
    assert len(set(caches)) == 3
    assert not any(os.path.exists(cache) for cache in caches)


@pytest.mark.parametrize("dtype", limits.DTYPES)
def test_rows_of_fresh_processes(dtype):
    """More than a block of them; every class occurs in those that warm up."""
    X, y = child.rows(5_000, 3, 4, dtype)
    assert X.dtype == dtype
    assert abs(X.mean(axis=0)).max() < 0.1
    assert abs(X.std(axis=0) - 1).max() < 0.1
    assert set(y[: child.WARM_UP_ROWS]) == {0, 1, 2, 3}
    X, y = child.sparse_rows(100, 50, 3, dtype)
    assert (X.format, X.dtype, X.nnz, set(y)) == ("csr", dtype, 50, {0, 1, 2})


GROW = """
import json
import numpy as np
from benchmarks.kernels.child import resident
sizes = [resident("VmRSS")]
kept = np.ones(2**23)
sizes += [resident("VmRSS"), resident("VmHWM")]
del kept
print(json.dumps([*sizes, resident("VmHWM")]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only the peak is known here")
def test_resident_memory_is_seen():
    """In a process that has nothing else to let go of meanwhile."""
    command = [sys.executable, "-c", GROW]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, now, *peaks = json.loads(asked.stdout)
    assert now - before == pytest.approx(8 * 2**23, rel=0.1)
    for peak in peaks:  # the two are not read at one moment
        assert peak >= now - 2**20


def test_a_child_prints_json(monkeypatch, capsys):
    monkeypatch.setattr(child, "memory", lambda *arguments: {"arguments": arguments})
    child.main(["memory", "OvAClassifier", "5", "4", "3", "float32"])
    assert json.loads(capsys.readouterr().out) == {
        "arguments": ["OvAClassifier", 5, 4, 3, "float32"]
    }


# ---- the report and the figure --------------------------------------------------------------


@pytest.fixture
def outcome():
    """One row of everything."""
    outcome = Outcome(long_sweep=0.05, limits=LIMITS, skipped=["news20 needs a file"])
    outcome.sweeps = [sweep(), sweep(formulation="ova", goal=None, n_bytes=15e6, two_threads=1.8)]
    outcome.hessians = [second_order.Hessian("9 x 2, K=3", 1e-3, 2e-3, 5e-3, 4.5)]
    outcome.products = [second_order.Product("9 x 2, K=3", 3e-3, 2e-3, 9e-3)]
    outcome.predictions = [prediction.Prediction("1 x 2, K=3", "float64", 1e-4, 2e-4)]
    outcome.first_fits = [processes.FirstFit("dense", "float64", 1, 0.4, 3, 0.2, 0.005)]
    outcome.memory = [processes.Memory("fit", "float64", 2**30, 2**10, 2**25)]
    return outcome


def test_report_shows_ratios_and_shares_of_the_limit(outcome):
    text = report.report(outcome)
    for line in (
        "| multiply-adds in registers, GFLOP/s | 40.0 | 100.0 |",
        "| read from memory, GB/s | 10.0 | 10.0 |",
        "| 9 x 2, K=3 | float64 | 2 | 6 | 3x | 2x | 1 | arithmetic | 50 | 17 |",
        "| 9 x 2, K=3 | float64 | 2 | 6 | 3x |  | 1.5 | memory | 75 | 25 |",
        "| 9 x 2, K=3 | one-vs-all | float64 | 2 | 1.8x |",
        "| 9 x 2, K=3 | 1 | 5 | 5x | 4.5x | 2.5x |",
        "| 9 x 2, K=3 | 3 | 1.5x | 9 | 3x |",
        "| 1 x 2, K=3 | float64 | 0.1 | 0.2 | 2x |  |",
        "| dense | float64 | 3.00 | 0.20 | 0.0050 | 0.40 | 1.00 |",
        "| fit | float64 | 1.02e+03 | 0.000977 | 32 |",
        "Not measured: news20 needs a file.",
        "take 50 ms or more",
    ):
        assert line in text, line
    assert text.count("It has no one-vs-all loss") == 1


@pytest.fixture
def quotations(monkeypatch, tmp_path):
    """docs/quotations.py, with results in a folder of their own."""
    file = ROOT / "docs" / "quotations.py"
    if not file.exists():
        pytest.skip("the documentation is not here")
    spec = spec_from_file_location("quotations", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "RESULTS", folder)
    return module


def test_the_page_on_kernels_shows_the_report(quotations, outcome):
    """Every table with all its cells, and no title, as docutils reads them."""
    core = pytest.importorskip("docutils.core")
    (quotations.RESULTS / "kernels.md").write_text(report.report(outcome), encoding="utf-8")
    (quotations.RESULTS / "roofline.svg").write_text("<svg/>", encoding="utf-8")
    text = quotations.kernel_results()
    tree = core.publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
    rows = [
        [entry.astext() for entry in row.children]
        for row in tree.findall(lambda node: node.tagname == "row")
    ]
    tables = [line for line in report.report(outcome).splitlines() if line.startswith("| ")]
    written = [[cell.strip() for cell in line[1:-1].split("|")] for line in tables]
    assert rows == [line for line in written if set(line) != {"---"}]
    rubrics = [node.astext() for node in tree.findall(lambda node: node.tagname == "rubric")]
    assert rubrics[:2] == ["The machine's limits", "Softmax"]
    assert len(rubrics) == 9
    (image,) = tree.findall(lambda node: node.tagname == "image")
    assert image["uri"] == "../../benchmarks/results/roofline.svg"
    assert "Objective.loss_gradient" in {
        node.astext() for node in tree.findall(lambda node: node.tagname == "literal")
    }


def test_the_page_on_kernels_says_where_there_are_no_results(quotations):
    assert "No results" in quotations.kernel_results()
    (quotations.RESULTS / "kernels.md").write_text("# Kernels\n\nWords.\n", encoding="utf-8")
    assert quotations.kernel_results() == "Words.\n"


def test_report_has_no_section_without_rows():
    text = report.report(Outcome(long_sweep=0.05))
    assert "## " not in text
    assert "scikit-learn" in text


def test_report_names_the_processor_and_no_place():
    text = report.machine()
    assert f"NumPy {np.__version__}" in text
    assert "LLVM" in text
    assert not {socket.gethostname(), str(ROOT), str(Path.home())} & set(text.split())


def test_roofline_has_a_point_for_each_sweep_of_softmax(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        sweep(),
        sweep(name="words: 9 x 2, K=3", operations=5e9, n_bytes=50e6, ours=0.2, peer=0.4),
        sweep(formulation="ova", ours=1.0),
        sweep(dtype="float32", n_bytes=2.5e6),
    ]
    figure = roofline.figure(rows, LIMITS)
    wide, narrow = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["float64", "float32"]
    lines = {line.get_label(): line for line in wide.get_lines()}
    np.testing.assert_allclose(lines["sk_softmax"].get_xydata(), [[10, 25], [100, 25]])
    np.testing.assert_allclose(lines["scikit-learn"].get_xydata(), [[10, 25 / 3], [100, 12.5]])
    x, y = lines["what the machine allows"].get_data()
    np.testing.assert_allclose(y, np.minimum(50, 10 * x))
    assert 5 in x  # the ridge
    assert [text.get_text() for text in wide.texts + narrow.texts] == ["a", "b", "a"]
    key = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"a  9 x 2, K=3", "b  words"} < set(key)
    roofline.draw(rows, LIMITS, tmp_path / "one.svg")
    roofline.draw(rows, LIMITS, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


# ---- the command ----------------------------------------------------------------------------


@needs_jit
def test_quick_run_writes_a_report_and_a_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    output, figure = tmp_path / "kernels.md", tmp_path / "roofline.svg"
    arguments = ["--quick", "--parts", "sweeps", "hessians", "prediction"]
    outcome = __main__.main([*arguments, "--output", str(output), "--figure", str(figure)])
    text = output.read_text(encoding="utf-8")
    for title in ("Softmax", "One-vs-all", "Two threads", "Hessians", "Products", "predict_proba"):
        assert f"## {title}" in text
    assert figure.stat().st_size > 1000
    assert {(row.formulation, row.dtype) for row in outcome.sweeps} == {
        (formulation, dtype) for formulation in ("softmax", "ova") for dtype in limits.DTYPES
    }
    assert "skipping news20 needs news20_X.npz and news20_y.npy" in capsys.readouterr().err
    assert "Not measured: langid needs" in text
    assert str(tmp_path) not in text


@needs_jit
def test_text_is_measured_where_its_data_are(tmp_path):
    rng = np.random.default_rng(0)
    sparse.save_npz(tmp_path / "news20_X.npz", sparse.csr_matrix(rng.poisson(0.3, (60, 40))))
    np.save(tmp_path / "news20_y.npy", np.array(["a", "b", "c"])[np.arange(60) % 3])
    arguments = ["--quick", "--parts", "sweeps", "--data-dir", str(tmp_path)]
    outcome = __main__.main([*arguments, "--output", str(tmp_path / "kernels.md")])
    found = [row for row in outcome.sweeps if row.name.startswith("news20: 60 x 40, K=3, ")]
    assert [(row.formulation, row.dtype, row.goal) for row in found] == [
        ("softmax", "float64", 1.8),
        ("softmax", "float32", 2.0),
        ("ova", "float64", None),
        ("ova", "float32", None),
    ]
    assert [line.split()[0] for line in outcome.skipped] == ["langid"]


@pytest.mark.parametrize(("part", "row"), [("first_fits", "FirstFit"), ("memory", "Memory")])
def test_parts_of_fresh_processes(monkeypatch, tmp_path, part, row):
    seen = []
    monkeypatch.setattr(processes, f"measure_{part}", lambda *task: seen.append(task))
    monkeypatch.setattr(report, "report", lambda outcome: "")
    outcome = __main__.main(["--quick", "--parts", part, "--output", str(tmp_path / "out.md")])
    assert [task[0] for task in seen] == [*getattr(processes, f"QUICK_{part.upper()}")]
    assert len(getattr(outcome, part)) == 1


def test_a_figure_needs_sweeps(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--parts", "memory", "--figure", "roofline.svg"])
    assert "--parts leaves out" in capsys.readouterr().err
