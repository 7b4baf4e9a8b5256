"""``python -m sk_softmax``: what it computes, prints, draws and refuses."""

import argparse
import builtins
import contextlib
import io
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression

from sk_softmax import OvAClassifier, SoftmaxClassifier, __main__

DATA = ("Wine, standardised", "Wine, raw", "Digits, raw")
OURS = ("SoftmaxClassifier", "OvAClassifier")
MODELS = ("SoftmaxClassifier", "LogisticRegression", "OvAClassifier", "OneVsRestClassifier")


@pytest.fixture(autouse=True, scope="module")
def _fewer_digits_without_the_jit():
    def few(return_X_y):
        X, y = load_digits(return_X_y=return_X_y)
        return X[::9], y[::9]

    with pytest.MonkeyPatch.context() as patch:
        if numba.config.DISABLE_JIT:
            patch.setattr(__main__, "load_digits", few)
        yield


@pytest.fixture(scope="module")
def printed():
    """All that a run without arguments prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        __main__.main([])
    return out.getvalue()


def wine_split(scaled=True):
    return next(s for s in __main__.splits() if s.name == DATA[0 if scaled else 1])


# ---- the table ------------------------------------------------------------------------------


def test_calibration_error_by_hand():
    """Bins [0.5, 0.6): one right of two; [0.9, 1]: two right of three."""
    confidence = np.array([0.55, 0.58, 0.90, 0.95, 1.0])
    right = np.array([True, False, True, True, False])
    probability = np.column_stack([confidence, 1 - confidence])
    y, predicted = np.where(right, 0, 1), np.zeros(5, dtype=int)
    first = abs((0.45 - 0.58) / 2)
    last = abs((0.10 + 0.05 - 1.0) / 3)
    expected = 2 / 5 * first + 3 / 5 * last
    assert __main__.calibration_error(y, predicted, probability) == pytest.approx(expected)


def test_a_certain_and_right_model_is_calibrated():
    y = np.array([0, 1, 2, 1])
    assert __main__.calibration_error(y, y, np.eye(3)[y]) == 0.0
    assert __main__.calibration_error(y, (y + 1) % 3, np.eye(3)[(y + 1) % 3]) == 1.0


def test_class_cosines_by_hand():
    ours = SimpleNamespace(coef_=np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]]))
    parts = [SimpleNamespace(coef_=np.array([c])) for c in ([2.0, 0.0], [4.0, 3.0], [-1.0, -1.0])]
    models = {
        "OvAClassifier": (ours, 0.0, True),
        "OneVsRestClassifier": (SimpleNamespace(estimators_=parts), 0.0, True),
    }
    np.testing.assert_allclose(__main__.class_cosines(models), [1.0, 24 / 25, -1.0])


def test_a_table_aligns_text_left_and_numbers_right():
    rows = [
        ("data", "model", "n", "last"),
        ("a", "long model", "12345", "x"),
        ("bcdef", "m", "1", "yz"),
    ]
    assert __main__.table(rows).splitlines() == [
        "data   model           n  last",
        "-" * 30,
        "a      long model  12345  x",
        "bcdef  m               1  yz",
    ]


def test_iterations_are_the_most_over_the_problems():
    one = SimpleNamespace(n_iter_=np.array([3, 7, 5]))
    parts = SimpleNamespace(estimators_=[SimpleNamespace(n_iter_=np.array([n])) for n in (2, 9, 4)])
    assert __main__.iterations(one) == 7
    assert __main__.iterations(parts) == 9


def test_splits_hold_out_the_same_rows_each_time():
    first, second = __main__.splits(), __main__.splits()
    assert tuple(s.name for s in first) == DATA
    for one, other in zip(first, second, strict=True):
        for array, same in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(array, same)
        n = len(one.y) + len(one.y_test)
        assert len(one.y_test) == -(-3 * n // 10)
        shares, held_out = (np.bincount(y) / len(y) for y in (one.y, one.y_test))
        np.testing.assert_allclose(held_out, shares, atol=1 / len(one.y_test))
    np.testing.assert_allclose(first[0].X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(first[0].X.std(axis=0), 1)
    np.testing.assert_array_equal(first[0].y, first[1].y)


def test_every_model_is_fitted_on_the_training_rows():
    split = wine_split()
    fitted = __main__.fit_all(split)
    assert tuple(fitted) == MODELS
    for name, (model, seconds, converged) in fitted.items():
        assert type(model).__name__ == name
        assert model.n_features_in_ == split.X.shape[1]
        assert seconds > 0
        assert converged is True
    same = SoftmaxClassifier().fit(split.X, split.y)
    np.testing.assert_array_equal(fitted["SoftmaxClassifier"][0].coef_, same.coef_)


def test_a_convergence_warning_becomes_a_no_in_the_table():
    """scikit-learn's default on raw Wine; it is caught, not shown."""
    split = wine_split(scaled=False)
    fitted = __main__.fit_all(split)
    assert [fitted[name][2] for name in MODELS] == [True, False, True, False]
    cells = __main__.row(split, "LogisticRegression", *fitted["LogisticRegression"])
    assert cells[__main__.HEADER.index("converged")] == "NO"


def test_a_row_says_what_the_model_scores():
    split = wine_split()
    model = OvAClassifier().fit(split.X, split.y)
    cells = dict(zip(__main__.HEADER, __main__.row(split, "OvA", model, 0.0123, True), strict=True))
    probability = model.predict_proba(split.X_test)
    own = probability[np.arange(len(split.y_test)), split.y_test]
    assert cells == {
        "data": split.name,
        "model": "OvA",
        "accuracy": f"{model.score(split.X_test, split.y_test):.3f}",
        "log loss": f"{-np.log(own).mean():.4f}",
        "ECE": cells["ECE"],
        "iterations": str(model.n_iter_.max()),
        "converged": "yes",
        "gap <=": f"{model.dual_gap_.max():.0e}",
        "time ms": "12.3",
        "solver_": model.solver_,
    }
    assert re.fullmatch(r"0\.\d{4}", cells["ECE"])
    theirs = LogisticRegression().fit(split.X, split.y)
    cells = __main__.row(split, "theirs", theirs, 0.0, True)
    assert cells[__main__.HEADER.index("gap <=")] == "-"


# ---- the whole run --------------------------------------------------------------------------


def rows_of(printed):
    """(data, model) -> the other cells of the row."""
    rows = {}
    for line in printed.splitlines():
        for name in DATA:
            cells = line.removeprefix(name).split()
            if line.startswith(name) and cells[0] in MODELS:
                rows[name, cells[0]] = dict(zip(__main__.HEADER[2:], cells[1:], strict=True))
    return rows


def test_a_run_prints_a_row_for_every_model_on_every_data_set(printed):
    rows = rows_of(printed)
    assert list(rows) == [(name, model) for name in DATA for model in MODELS]
    lines = printed.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("data "))
    assert re.split(r"\s{2,}", lines[header]) == list(__main__.HEADER)
    assert set(lines[header + 1]) == {"-"}
    assert len(lines[header + 1]) >= max(map(len, lines[header : header + 14]))


def test_a_run_shows_our_fits_converged_and_accurate(printed):
    for (name, model), cells in rows_of(printed).items():
        assert float(cells["accuracy"]) > 0.85
        assert 0 < float(cells["ECE"]) < 0.15
        if model in OURS:
            assert cells["converged"] == "yes"
            assert float(cells["gap <="]) < 1e-3
            assert cells["solver_"] in ("newton", "lbfgs")
        else:
            assert cells["gap <="] == "-"
        if model == "LogisticRegression" and name == DATA[1]:
            assert cells["converged"] == "NO"


def test_our_softmax_is_no_worse_than_scikit_learn_s_where_that_converges(printed):
    rows = rows_of(printed)
    ours, theirs = (float(rows[DATA[0], model]["log loss"]) for model in MODELS[:2])
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_a_run_compares_one_vs_all_coefficients(printed):
    cosines = {
        name: [float(value) for value in line.removeprefix(f"  {name}").split()]
        for name in DATA
        for line in printed.splitlines()
        if line.startswith(f"  {name}")
    }
    assert [len(cosines[name]) for name in DATA] == [3, 3, 10]
    assert min(cosines[DATA[0]]) > 0.999  # the same optimum, where scikit-learn reaches it


def test_a_run_explains_itself(printed):
    assert printed.startswith("Kernels ready in ")
    for words in ("30% of the rows are held out", "expected calibration error", "upper bound"):
        assert words in printed
    assert "Decision regions" not in printed


# ---- drawing --------------------------------------------------------------------------------


@pytest.fixture
def _quick(monkeypatch):
    """Only the drawing: the table is tested above."""
    monkeypatch.setattr(__main__, "warm_up", lambda: None)
    monkeypatch.setattr(__main__, "splits", list)


@pytest.mark.usefixtures("_quick")
@pytest.mark.filterwarnings("error::UserWarning:sklearn.inspection._plot.decision_boundary")
def test_plot_writes_a_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = tmp_path / "regions.png"
    __main__.main(["--plot", str(file)])
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) > 10_000
    assert capsys.readouterr().out.endswith(f"Decision regions: {file}\n")


def test_plot_draws_the_regions_of_both_classifiers(monkeypatch):
    figures = []
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    monkeypatch.setattr(figure_class, "savefig", lambda self, file, **_: figures.append(self))
    __main__.plot("regions.png")
    (figure,) = figures
    wine = load_wine()
    for axes, Classifier in zip(figure.axes, (SoftmaxClassifier, OvAClassifier), strict=True):
        X = wine.data[:, [0, 6]]
        accuracy = Classifier().fit(X, wine.target).score(X, wine.target)
        assert axes.get_title() == f"{Classifier.__name__}: accuracy {accuracy:.3f}"
        assert axes.get_xlabel() == "alcohol"
        points = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) > 1]
        assert sum(map(len, points)) == len(X)
    assert figure.axes[0].get_ylabel() == "flavanoids"
    legend = figure.axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(wine.target_names)


def test_the_classes_have_their_colours_in_every_scikit_learn():
    colors = pytest.importorskip("matplotlib.colors")

    def newer(estimator, X, *, multiclass_colors=None):
        raise NotImplementedError

    def older(estimator, X, **contour):
        raise NotImplementedError

    named = list(__main__.COLOURS)
    keyword = __main__.class_colours(SimpleNamespace(from_estimator=newer))
    assert keyword == {"multiclass_colors": named}
    keyword = __main__.class_colours(SimpleNamespace(from_estimator=older))
    assert list(keyword) == ["cmap"]
    np.testing.assert_allclose(keyword["cmap"](range(3)), colors.to_rgba_array(named))


@pytest.fixture
def _no_matplotlib(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)


@pytest.mark.usefixtures("_no_matplotlib")
def test_plot_without_matplotlib_says_what_to_install(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["--plot", str(tmp_path / "regions.png")])
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    assert "needs matplotlib, which is not installed" in captured.err
    assert "pip install 'sk_softmax[plot]'" in captured.err
    assert captured.out == ""  # at once, before anything is fitted
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_no_matplotlib")
def test_matplotlib_is_needed_for_drawing_only():
    with pytest.raises(SystemExit):
        __main__.require_matplotlib(argparse.ArgumentParser())
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.MonkeyPatch.context() as patch:
        patch.setattr(__main__, "warm_up", lambda: None)
        patch.setattr(__main__, "splits", lambda: [])
        __main__.main([])
    assert "held out" in out.getvalue()


# ---- the command ----------------------------------------------------------------------------


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sk_softmax", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ,
    )


def test_the_module_runs_as_a_command():
    helped = run("--help")
    assert helped.returncode == 0
    assert "usage: python -m sk_softmax" in helped.stdout
    assert "--plot FILE" in helped.stdout


def test_an_unknown_argument_is_an_error():
    wrong = run("--plots", "x.png")
    assert wrong.returncode == 2
    assert "unrecognized arguments" in wrong.stderr
