"""The classifiers among scikit-learn's tools, data frames, threads and processes."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

# ---- scikit-learn's tools -------------------------------------------------------------------


def test_pipeline(Classifier, data):
    d = data(3)
    pipeline = make_pipeline(StandardScaler(), Classifier()).fit(d.X, d.y)
    scaled = StandardScaler().fit_transform(d.X)
    by_hand = Classifier().fit(scaled, d.y)
    np.testing.assert_array_equal(pipeline.predict_proba(d.X), by_hand.predict_proba(scaled))
    assert pipeline.score(d.X, d.y) == by_hand.score(scaled, d.y)


def test_column_transformer_with_sparse_and_dense_output(Classifier, data):
    pd = pytest.importorskip("pandas")
    d = data(3)
    frame = pd.DataFrame({"a": d.X[:, 0], "b": d.X[:, 1], "c": np.array(list("xyz"))[d.y]})
    predicted = {}
    for sparse_threshold in (0.0, 1.0):
        transformer = ColumnTransformer(
            [
                ("numbers", StandardScaler(), make_column_selector(dtype_include="number")),
                ("words", OneHotEncoder(), ["c"]),
            ],
            sparse_threshold=sparse_threshold,
        )
        assert sparse.issparse(transformer.fit_transform(frame)) == bool(sparse_threshold)
        pipeline = make_pipeline(transformer, Classifier(tol=1e-8)).fit(frame, d.y)
        predicted[sparse_threshold] = pipeline.predict_proba(frame)
        assert pipeline.score(frame, d.y) == 1.0
    np.testing.assert_allclose(predicted[0.0], predicted[1.0], atol=1e-6)


def test_text(Classifier):
    texts = ["red apple", "green apple", "red brick", "brick house", "green house", "apple pie"]
    labels = ["fruit", "fruit", "stone", "stone", "stone", "fruit"]
    pipeline = make_pipeline(TfidfVectorizer(), Classifier()).fit(texts, labels)
    np.testing.assert_array_equal(pipeline.predict(texts), labels)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search(Classifier, data, n_jobs):
    d = data(3)
    grid = {"C": [1e-4, 1.0], "l1_ratio": [0.0, 1.0]}
    search = GridSearchCV(Classifier(), grid, scoring="neg_log_loss", cv=3, n_jobs=n_jobs)
    search.fit(d.X, d.y)
    assert search.best_params_["C"] == 1.0
    np.testing.assert_allclose(
        search.best_score_,
        cross_val_score(search.best_estimator_, d.X, d.y, scoring="neg_log_loss", cv=3).mean(),
    )


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_cross_val_predict(Classifier, data, method):
    d = data(3)
    names = np.array(["b", "c", "a"])
    result = cross_val_predict(Classifier(), d.X, names[d.y], cv=3, method=method)
    if method == "predict":
        assert np.mean(result == names[d.y]) > 0.6
        return
    assert result.shape == (150, 3)
    assert np.mean(np.sort(names)[result.argmax(axis=1)] == names[d.y]) > 0.6


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration(Classifier, data, n_classes, method):
    d = data(n_classes)
    calibrated = CalibratedClassifierCV(Classifier(), method=method, cv=3).fit(d.X, d.y)
    probability = calibrated.predict_proba(d.X)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    assert log_loss(d.y, probability) < 0.75 * np.log(n_classes)


def test_selection_of_features_by_l1(Classifier, data):
    d = data(3)
    noise = np.random.default_rng(0).normal(size=(150, 20))
    X = np.hstack([d.X, noise])
    chosen = SelectFromModel(Classifier(C=0.05, l1_ratio=1.0)).fit(X, d.y).get_support()
    assert chosen[:6].sum() > chosen[6:].sum()
    assert chosen.sum() < 20


def test_bagging_with_bootstrap_weights(Classifier, data):
    d = data(3)
    bagging = BaggingClassifier(Classifier(), n_estimators=3, random_state=0).fit(d.X, d.y)
    assert bagging.score(d.X, d.y) > 0.6


@pytest.mark.parametrize("response", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_decision_boundary_display(Classifier, data, n_classes, response):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    d = data(n_classes)
    classifier = Classifier().fit(d.X[:, :2], d.y)
    display = DecisionBoundaryDisplay.from_estimator(
        classifier,
        d.X[:, :2],
        response_method=response,
        class_of_interest=None if response == "predict" else 1,
        grid_resolution=5,
        ax=Figure().subplots(),
    )
    assert display.response.shape[:2] == (5, 5)
    assert np.isfinite(display.response).all()


# ---- data frames ----------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(Classifier, data, library):
    frames = pytest.importorskip(library)
    d = data(3)
    names = [f"x{j}" for j in range(6)]
    frame = frames.DataFrame(dict(zip(names, d.X.T, strict=True)))
    labels = frames.Series([["no", "yes", "maybe"][label] for label in d.y])
    weights = frames.Series(d.s)
    classifier = Classifier().fit(frame, labels, weights)
    np.testing.assert_array_equal(classifier.feature_names_in_, names)
    assert classifier.feature_names_in_.dtype == object
    same = Classifier().fit(d.X, np.array(["no", "yes", "maybe"])[d.y], d.s)
    np.testing.assert_allclose(classifier.coef_, same.coef_, rtol=1e-6, atol=1e-9)
    assert list(classifier.classes_) == ["maybe", "no", "yes"]
    np.testing.assert_allclose(classifier.predict_proba(frame), same.predict_proba(d.X), rtol=1e-6)
    assert classifier.score(frame, labels) == same.score(d.X, np.array(labels))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        classifier.predict(d.X)


def test_refit_without_names_forgets_them(Classifier, data):
    pd = pytest.importorskip("pandas")
    d = data(3)
    classifier = Classifier().fit(pd.DataFrame(d.X).add_prefix("x"), d.y)
    assert not hasattr(classifier.fit(d.X, d.y), "feature_names_in_")


def test_data_frame_with_sparse_columns(Classifier, data):
    pd = pytest.importorskip("pandas")
    d = data(3)
    X = np.where(np.abs(d.X) > 1, d.X, 0.0)
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X)).add_prefix("x")
    classifier = Classifier(tol=1e-8).fit(frame, d.y)
    same = Classifier(tol=1e-8).fit(X, d.y)
    np.testing.assert_allclose(classifier.coef_, same.coef_, atol=1e-6)


# ---- routing of sample weights --------------------------------------------------------------


def test_weights_are_routed_through_a_pipeline(Classifier, data):
    d = data(3)
    with config_context(enable_metadata_routing=True):
        pipeline = Pipeline([("model", Classifier().set_fit_request(sample_weight=True))])
        routed = pipeline.fit(d.X, d.y, sample_weight=d.s)
        same = Classifier().fit(d.X, d.y, d.s)
        np.testing.assert_array_equal(routed[-1].coef_, same.coef_)


def test_weights_are_routed_through_a_grid_search(Classifier, data):
    d = data(3)
    with config_context(enable_metadata_routing=True):
        model = Classifier().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"C": [1.0]}, cv=3).fit(d.X, d.y, sample_weight=d.s)
        same = Classifier().fit(d.X, d.y, d.s)
        np.testing.assert_array_equal(search.best_estimator_.coef_, same.coef_)


def test_weights_that_nobody_asked_for_are_refused(Classifier, data):
    d = data(3)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(Classifier(), {"C": [1.0]}, cv=3)
        with pytest.raises(ValueError, match="not explicitly set as requested"):
            search.fit(d.X, d.y, sample_weight=d.s)


# ---- threads --------------------------------------------------------------------------------


def blas_threads():
    """Threads of every BLAS library that is loaded, by file."""
    return {
        library["filepath"]: library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }


@pytest.fixture
def three_blas_threads():
    """A setting that no code would restore by chance."""
    import scipy.linalg  # noqa: F401  (a BLAS that is loaded later is not under the limit)

    with threadpool_limits(3, user_api="blas"):
        before = blas_threads()
        if set(before.values()) != {3}:
            pytest.skip("the threads of this BLAS cannot be set")
        yield before


def test_fit_gives_blas_its_threads_back(Classifier, data, three_blas_threads):
    d = data(3)
    Classifier().fit(d.X, d.y)
    assert blas_threads() == three_blas_threads


def test_a_fit_that_fails_gives_blas_its_threads_back(
    Classifier, data, three_blas_threads, monkeypatch
):
    from sk_softmax._solvers import table

    seen = []

    def fail(*_, **__):
        seen.append(blas_threads())
        raise MemoryError("no room")

    monkeypatch.setattr(table, "solve", fail)
    d = data(3)
    with pytest.raises(MemoryError, match="no room"):
        Classifier().fit(d.X, d.y)
    assert [set(threads.values()) for threads in seen] == [{1}]
    assert blas_threads() == three_blas_threads


def test_fits_in_several_threads_are_those_of_one_thread(Classifier, data):
    problems = [data(3, n=200 + 100 * (i % 4), seed=i) for i in range(12)]

    def fit(i):
        return Classifier(l1_ratio=i % 2).fit(problems[i].X, problems[i].y).coef_

    alone = [fit(i) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, range(12)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("first", ["first in", "last in"])
@pytest.mark.parametrize("main_before", [False, True])
def test_fits_at_once_share_one_limit_on_blas(first, main_before):
    script = """
import json, sys
from threading import Event, Thread
import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_info
from sk_softmax import SoftmaxClassifier
from sk_softmax._solvers import table

def blas():
    libraries = threadpool_info()
    return [each["num_threads"] for each in libraries if each["user_api"] == "blas"]

X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
before, inside, solve = blas(), [], table.solve
leaves_first, main_before = sys.argv[1:]
if main_before == "True":
    SoftmaxClassifier().fit(X, y)
entered, left, end = ([Event(), Event()] for _ in range(3))

def solve_in_turn(*arguments, **parameters):
    me = int(parameters["max_iter"]) - 1000
    entered[me].set()
    inside.append(blas())
    entered[1 - me].wait(60)
    if (me == 0) != (leaves_first == "first in"):
        left[1 - me].wait(60)
        inside.append(blas())
    return solve(*arguments, **parameters)

def fit(me):
    if me == 1:
        entered[0].wait(60)
    SoftmaxClassifier(max_iter=1000 + me).fit(X, y)
    left[me].set()
    end[0].wait(60)

table.solve = solve_in_turn
threads = [Thread(target=fit, args=(me,)) for me in (0, 1)]
for thread in threads:
    thread.start()
for event in left:
    event.wait(60)
after = blas()
end[0].set()
for thread in threads:
    thread.join()
table.solve = solve
SoftmaxClassifier().fit(X, y)
print(json.dumps([before, inside, after, blas()]))
"""
    result = run(script, first, str(main_before), OPENBLAS_NUM_THREADS="2")
    before, inside, *after = json.loads(result.stdout)
    assert inside == [[1] * len(before)] * 3
    assert after == [before, before]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fit_in_a_forked_child_gives_the_same():
    script = """
import multiprocessing, sys
import numpy as np
from sk_softmax import SoftmaxClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(30_000, 40))  # enough for threads
y = (X[:, :4] + rng.normal(scale=3.0, size=(30_000, 4))).argmax(axis=1)

def fit():
    return SoftmaxClassifier(n_jobs=2, tol=1e-2).fit(X, y).coef_

parent = fit()
context = multiprocessing.get_context("fork")
receive, send = context.Pipe(False)
child = context.Process(target=lambda: send.send(fit()), daemon=True)
child.start()
if not receive.poll(120):
    sys.exit("the child hangs")
print(np.array_equal(receive.recv(), parent))
"""
    assert run(script).stdout.strip() == "True"


# ---- processes of their own -----------------------------------------------------------------


def run(script, *arguments, **environment):
    """Run a script in a fresh process; its result, which must be success."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_importing_the_package_does_not_import_numba():
    script = """
import sys
import sk_softmax
from sk_softmax import OvAClassifier, SoftmaxClassifier
SoftmaxClassifier(C=2.0).get_params()
print([name for name in ("numba", "llvmlite", "matplotlib") if name in sys.modules])
"""
    assert run(script).stdout.strip() == "[]"


FIT = """
import numpy as np
import sk_softmax
rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 3)), np.arange(60) % 3
for Classifier in (sk_softmax.SoftmaxClassifier, sk_softmax.OvAClassifier):
    print(np.all(Classifier().fit(X, y).converged_), end=" ")
"""


@pytest.mark.recompiles
def test_a_cache_that_cannot_be_written_does_not_stop_fits(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = run(FIT, NUMBA_CACHE_DIR=str(blocked / "cache"))
    assert result.stdout.split() == ["True", "True"]
    assert blocked.read_text() == "not a folder"


def test_a_cache_that_breaks_between_import_and_fit_does_not_stop_fits(tmp_path):
    cache = tmp_path / "cache"
    break_cache = f"""
import pathlib, shutil
import sk_softmax._objective
shutil.rmtree({str(cache)!r}, ignore_errors=True)
pathlib.Path({str(cache)!r}).write_text("not a folder")
"""
    result = run(break_cache + FIT, NUMBA_CACHE_DIR=str(cache))
    assert result.stdout.split() == ["True", "True"]
    assert cache.read_text() == "not a folder"
