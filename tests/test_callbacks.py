"""Callbacks of scikit-learn see every iteration of a fit, may stop it, and change nothing else."""

import copy
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import naive
import numpy as np
import pandas as pd
import pytest
from problems import out_of_cache
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_softmax import (
    OvAClassifier,
    OvAClassifierCV,
    SoftmaxClassifier,
    SoftmaxClassifierCV,
    _callbacks,
)
from sk_softmax._callbacks import (
    CallbackSupportMixin,
    FitTasks,
    TrainingRows,
    record_convergence,
)
from sk_softmax._cross_validation.tasks import GridTasks
from sk_softmax._solvers import table

try:
    from sklearn.callback import ProgressBar, ScoringMonitor
except ImportError:
    SUPPORTED = False
else:
    SUPPORTED = True

needs_callbacks = pytest.mark.skipif(not SUPPORTED, reason="scikit-learn before 1.9")
over_penalties = pytest.mark.parametrize(
    "penalty",
    [{"C": 1.0}, {"C": 0.5, "l1_ratio": 1.0}, {"l1_ratio": 0.3}, {"C": np.inf}],
    ids=["L2", "L1", "elastic net", "none"],
)
over_solvers = pytest.mark.parametrize("solver", ["newton", "lbfgs"])


class Recorder:
    """Keeps what its hooks are given; may stop a fit, or fail."""

    def __init__(self, stop_at=None, fail_at=None):
        self.stop_at, self.fail_at = stop_at, fail_at
        self.record = []

    def _note(self, hook, context, **given):
        self.record.append((hook, context, given))
        if self.fail_at == hook or self.fail_at == (hook, context.task_name):
            raise ValueError(f"failed at {hook}")

    def setup(self, estimator, context):
        self._note("setup", context)

    def teardown(self, estimator, context):
        self._note("teardown", context)

    def on_fit_task_begin(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        given = {"X": X, "y": y, "metadata": metadata, "fitted_estimator": fitted_estimator}
        self._note("begin", context, **given)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        given = {"X": X, "y": y, "metadata": metadata, "fitted_estimator": fitted_estimator}
        self._note("end", context, **given)
        return context.task_name == "iteration" and context.task_id + 1 == self.stop_at

    def hooks(self):
        return [hook for hook, _, _ in self.record]

    def of(self, hook, task="iteration"):
        return [(c, g) for h, c, g in self.record if h == hook and c.task_name == task]


class Bystander:
    """Asks for nothing."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        pass


def attributes(classifier):
    """What a fit has left."""
    return {name: value for name, value in vars(classifier).items() if name.endswith("_")}


def assert_same_attributes(classifier, other, but=None):
    ours, theirs = attributes(classifier), attributes(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name == but:
            continue
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def assert_honest(classifier, X, y, s=None):
    """objective_ and optimality_ are what slow code makes of coef_ and intercept_."""
    penalty = {"C": classifier.C, "l1_ratio": classifier.l1_ratio}
    coupled = isinstance(classifier, SoftmaxClassifier)
    where = (X, y, classifier.coef_, classifier.intercept_)
    value = naive.objective(*where, s=s, coupled=coupled, **penalty)
    violation = naive.kkt_violation(*where, s=s, coupled=coupled, **penalty)
    np.testing.assert_allclose(np.atleast_1d(classifier.objective_), value, rtol=1e-12)
    optimality, gap = np.atleast_1d(classifier.optimality_, classifier.dual_gap_)
    np.testing.assert_allclose(optimality, violation, rtol=1e-8, atol=1e-13)
    certified = (violation <= classifier.tol) & (gap <= 0.001 * classifier.tol)
    assert np.atleast_1d(classifier.converged_)[certified].all()


@pytest.fixture
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture
def recorder():
    return Recorder()


# ---- scikit-learn before 1.9 ----------------------------------------------------------------


@pytest.mark.skipif(SUPPORTED, reason="scikit-learn 1.9 or later")
def test_without_support_there_is_nothing_to_set(Classifier, iris, capsys):
    assert not hasattr(Classifier(), "set_callbacks")
    assert np.all(Classifier(verbose=1).fit(*iris).converged_)
    assert "[sk_softmax] iteration" in capsys.readouterr().out


# ---- what callbacks see ---------------------------------------------------------------------


@needs_callbacks
@over_penalties
@over_solvers
def test_a_task_for_each_iteration(Classifier, penalty, solver, data, recorder):
    rows = data()
    classifier = Classifier(solver=solver, **penalty).set_callbacks(recorder)
    classifier.fit(rows.X, rows.y)
    n = classifier.n_iter_.max()
    assert recorder.hooks() == ["setup", "begin", *["begin", "end"] * n, "end", "teardown"]
    for hook in ("begin", "end"):
        ((fit, _),) = recorder.of(hook, "fit")
        assert fit.max_subtasks == classifier.max_iter
        tasks = [context for context, _ in recorder.of(hook)]
        assert [task.task_id for task in tasks] == list(range(n))
        assert all(task.parent is fit for task in tasks)
        assert all(task.max_subtasks == 0 for task in tasks)


@needs_callbacks
@over_penalties
@over_solvers
def test_callbacks_change_nothing(Classifier, penalty, solver, data):
    rows = data()
    plain = Classifier(solver=solver, **penalty).fit(rows.X, rows.y, rows.s)
    for callbacks in ([Recorder()], [Bystander()], [Bystander(), Recorder()]):
        watched = clone(plain).set_callbacks(*callbacks).fit(rows.X, rows.y, rows.s)
        assert_same_attributes(watched, plain)


@needs_callbacks
@over_penalties
def test_the_fitted_estimator_is_what_as_many_iterations_make(Classifier, penalty, data, recorder):
    """As scikit-learn asks of its own; and at the beginning it is what it was at the last end."""
    rows = data()
    model = Classifier(**penalty)
    fitted = clone(model).set_callbacks(recorder).fit(rows.X, rows.y, rows.s)
    begins, ends = recorder.of("begin"), recorder.of("end")
    for i, (_, given) in enumerate(ends):
        seen = given["fitted_estimator"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            expected = clone(model).set_params(max_iter=i + 1).fit(rows.X, rows.y, rows.s)
        tolerance = {"rtol": 1e-9, "atol": 1e-9}
        np.testing.assert_allclose(
            seen.predict_proba(rows.X), expected.predict_proba(rows.X), **tolerance
        )
        np.testing.assert_array_equal(seen.n_iter_, expected.n_iter_)
        assert attributes(seen).keys() == attributes(fitted).keys()
        assert type(seen) is Classifier
        assert_honest(seen, rows.X, rows.y, rows.s)
        if i + 1 < len(begins):
            began = begins[i + 1][1]["fitted_estimator"]
            np.testing.assert_array_equal(began.coef_, seen.coef_)
    start = begins[0][1]["fitted_estimator"]
    assert not start.coef_.any()
    assert start.n_iter_.max() == 0
    assert not np.any(start.converged_)
    assert recorder.of("end", "fit")[0][1]["fitted_estimator"].coef_ is fitted.coef_


@needs_callbacks
@over_penalties
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_fitted_estimator_is_a_copy(Classifier, penalty, fit_intercept, data):
    """Whatever a callback does to it."""

    class Spoils(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "iteration":
                assert fitted_estimator is not estimator
                for name, value in attributes(fitted_estimator).items():
                    if isinstance(value, np.ndarray) and name != "classes_":
                        value[...] = 0

    rows, spoils = data(), Spoils()
    plain = Classifier(fit_intercept=fit_intercept, **penalty).fit(rows.X, rows.y)
    watched = clone(plain).set_callbacks(spoils).fit(rows.X, rows.y)
    assert_same_attributes(watched, plain)
    begins = [given["fitted_estimator"] for _, given in spoils.of("begin")]
    assert all(began.coef_.any() for began in begins[1:])
    assert all(np.all(began.objective_) for began in begins)


@needs_callbacks
def test_a_refit_shows_the_new_model(Classifier, iris, recorder):
    """Not the attributes that the last fit has left."""
    X, y = iris
    classifier = Classifier().fit(X, y).set_callbacks(recorder)
    classifier.set_params(C=0.01).fit(X[:, :2], y)
    for _, given in recorder.of("end"):
        assert given["fitted_estimator"].coef_.shape == (3, 2)
        assert_honest(given["fitted_estimator"], X[:, :2], y)


@needs_callbacks
def test_warm_start_begins_where_the_last_fit_ended(Classifier, iris, recorder):
    classifier = Classifier(warm_start=True).fit(*iris)
    before = classifier.predict_proba(iris[0])
    classifier.set_params(C=10.0).set_callbacks(recorder).fit(*iris)
    start = recorder.of("begin")[0][1]["fitted_estimator"]
    np.testing.assert_allclose(start.predict_proba(iris[0]), before, rtol=1e-9, atol=1e-12)


@needs_callbacks
def test_nobody_pays_for_what_nobody_looks_at(iris, monkeypatch):
    """No points, objectives or models are made for callbacks that do not ask."""

    def fails(*_):
        raise AssertionError("made, though nobody asked")

    monkeypatch.setattr(_callbacks, "solution_at", fails)
    monkeypatch.setattr(TrainingRows, "_kept", property(fails))
    out_of_cache(monkeypatch)
    for l1_ratio in (0.0, 1.0):
        SoftmaxClassifier(l1_ratio=l1_ratio).set_callbacks(Bystander()).fit(*iris)


@needs_callbacks
def test_without_callbacks_solvers_are_not_watched(Classifier, iris, monkeypatch):
    seen, original = [], table.Watch

    def watch(*args):
        seen.append(args)
        return original(*args)

    monkeypatch.setattr(table, "Watch", watch)
    Classifier().fit(*iris)
    Classifier().set_callbacks(Bystander()).set_callbacks().fit(*iris)
    assert not seen
    Classifier().set_callbacks(Bystander()).fit(*iris)
    assert len(seen) == 1


@needs_callbacks
def test_no_iterations(Classifier, iris, recorder):
    classifier = Classifier(max_iter=0).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        classifier.fit(*iris)
    assert recorder.hooks() == ["setup", "begin", "end", "teardown"]


@needs_callbacks
@pytest.mark.parametrize("max_iter", [1, 2, 3])
@pytest.mark.parametrize("cached", [True, False])
@over_penalties
def test_no_more_tasks_than_allowed(Classifier, max_iter, cached, penalty, data, monkeypatch):
    """scikit-learn's contexts refuse a task too many."""
    if not cached:
        out_of_cache(monkeypatch)
    rows, recorder = data(), Recorder()
    classifier = Classifier(max_iter=max_iter, **penalty).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning):
        classifier.fit(rows.X * 10.0 ** np.arange(-3, 3), rows.y)
    assert len(recorder.of("end")) == classifier.n_iter_.max() <= max_iter


# ---- the data that they see -----------------------------------------------------------------


@needs_callbacks
def test_hooks_get_the_data_of_the_fit(Classifier, iris, recorder):
    X, y = iris
    labels = np.array(["a", "b", "c"], dtype=object)[y]
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    weight = np.linspace(1, 2, len(y))
    Classifier().set_callbacks(recorder).fit(frame, list(labels), sample_weight=list(weight))
    for hook, _, given in recorder.record:
        if hook in ("begin", "end"):
            assert given["X"] is frame
            np.testing.assert_array_equal(given["y"], labels)
            np.testing.assert_array_equal(given["metadata"]["sample_weight"], weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as for names that are missing
        assert recorder.of("end")[0][1]["fitted_estimator"].score(frame, labels) > 0.6


@needs_callbacks
def test_without_weights_there_is_no_metadata(Classifier, iris, recorder):
    Classifier().set_callbacks(recorder).fit(*iris)
    assert all(given["metadata"] is None for _, given in recorder.of("end"))


CONTAINERS = {
    "array": np.asarray,
    "list": np.ndarray.tolist,
    "frame": pd.DataFrame,
    "CSR": sparse.csr_matrix,
    "COO": sparse.coo_matrix,
}


@needs_callbacks
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("by", ["sample", "class"])
def test_rows_of_weight_0_are_left_out(Classifier, container, by, iris):
    """The model may not know their class, so nobody could score them."""
    X, y = iris
    weight = {"sample": {"sample_weight": np.where(y == 2, 0.0, 1.5)}, "class": {}}[by]
    classes = {"sample": {}, "class": {"class_weight": {0: 1.0, 1: 1.0, 2: 0.0}}}[by]
    monitor, recorder = ScoringMonitor(scoring="neg_log_loss"), Recorder()
    classifier = Classifier(**classes).set_callbacks(monitor, recorder)
    classifier.fit(container(X), y, **weight)
    assert classifier.classes_.tolist() == [0, 1]
    for _, given in recorder.of("end"):
        rows = given["X"].toarray() if sparse.issparse(given["X"]) else np.asarray(given["X"])
        np.testing.assert_array_equal(rows, X[:100])
        np.testing.assert_array_equal(given["y"], y[:100])
    scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "fit"]
    expected = -log_loss(y[:100], classifier.predict_proba(X[:100]))
    np.testing.assert_allclose(scores, expected)


# ---- scikit-learn's own callbacks -----------------------------------------------------------


@needs_callbacks
@over_penalties
def test_scoring_monitor(Classifier, penalty, data):
    rows = data()
    monitor, recorder = ScoringMonitor(scoring="neg_log_loss"), Recorder()
    classifier = Classifier(**penalty).set_callbacks(monitor, recorder)
    classifier.fit(rows.X, rows.y, sample_weight=rows.s)
    log = monitor.get_logs().data
    scores = {row["task_id"]: row["neg_log_loss"] for row in log if row["task_name"] != "fit"}
    assert list(scores) == list(range(classifier.n_iter_.max()))
    for context, given in recorder.of("end"):
        probability = given["fitted_estimator"].predict_proba(rows.X)
        expected = -log_loss(rows.y, probability, sample_weight=rows.s)
        np.testing.assert_allclose(scores[context.task_id], expected)
    assert scores[len(scores) - 1] > scores[0]


@needs_callbacks
def test_progress_bar(Classifier, iris, capsys):
    pytest.importorskip("rich")
    Classifier().set_callbacks(ProgressBar()).fit(*iris)
    output = capsys.readouterr().out
    assert f"{Classifier.__name__} - fit" in output
    assert "100%" in output


@needs_callbacks
def test_in_a_pipeline_and_a_search(Classifier, iris):
    """The classifier's tasks hang below those of what it is part of; clones keep callbacks."""
    recorder = Recorder()
    pipeline = make_pipeline(StandardScaler(), Classifier().set_callbacks(recorder))
    search = GridSearchCV(pipeline, {f"{Classifier.__name__.lower()}__C": [0.1, 1.0]}, cv=3)
    search.fit(*iris)
    assert recorder.hooks().count("setup") == recorder.hooks().count("teardown") == 7
    roots = set()
    for context, _ in recorder.of("end"):
        assert context.parent.estimator_name == Classifier.__name__
        assert context.parent.source_estimator_name == "Pipeline"
        roots.add(context.root_uuid)
    assert len(roots) == 1
    assert np.all(search.best_estimator_[-1].converged_)


@needs_callbacks
def test_propagated_callbacks(Classifier, iris):
    """Those of a search reach the classifiers, and leave them with the fit."""

    class Propagated(Recorder):
        max_propagation_depth = None

    recorder = Propagated()
    search = GridSearchCV(Classifier(), {"C": [0.1, 1.0]}, cv=3).set_callbacks(recorder)
    search.fit(*iris)
    assert recorder.hooks().count("setup") == 1
    fits = {context.parent for context, _ in recorder.of("end")}
    assert len(fits) == 7
    assert not hasattr(search.best_estimator_, "_skl_callbacks")


@needs_callbacks
def test_fits_in_threads_have_their_own_tasks(Classifier, iris):
    recorders = [Recorder() for _ in range(4)]

    def fit(recorder):
        return Classifier().set_callbacks(recorder).fit(*iris)

    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(fit, recorders))
    for classifier, recorder in zip(fitted, recorders, strict=True):
        assert len(recorder.of("end")) == classifier.n_iter_.max()


# ---- stopping -------------------------------------------------------------------------------


@needs_callbacks
@over_penalties
@over_solvers
@pytest.mark.parametrize("iteration", [1, 3])
@pytest.mark.parametrize("cached", [True, False])
def test_a_stopped_fit_is_usable_and_honest(
    Classifier, penalty, solver, iteration, cached, data, monkeypatch
):
    if not cached:
        out_of_cache(monkeypatch)
    rows, recorder = data(), Recorder(stop_at=iteration)
    classifier = Classifier(solver=solver, tol=1e-8, **penalty).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning, match="callback stopped it before the optimum") as caught:
        classifier.fit(rows.X, rows.y, rows.s)
    assert [warning.filename for warning in caught] == [__file__] * len(caught)
    assert recorder.hooks().count("end") == iteration + 1
    assert recorder.hooks()[-1] == "teardown"
    assert classifier.n_iter_.max() == iteration
    assert not np.all(classifier.converged_)
    assert_honest(classifier, rows.X, rows.y, rows.s)
    seen = recorder.of("end")[-1][1]["fitted_estimator"]
    np.testing.assert_array_equal(classifier.coef_, seen.coef_)
    np.testing.assert_array_equal(classifier.converged_, seen.converged_)
    probability = classifier.predict_proba(rows.X)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    null = log_loss(rows.y, np.tile(np.bincount(rows.y) / rows.y.size, (rows.y.size, 1)))
    assert log_loss(rows.y, probability) < null
    assert_same_attributes(classifier, seen, but="n_evaluations_")  # it was certified once more
    again = pickle.loads(pickle.dumps(copy.copy(classifier).set_callbacks()))
    np.testing.assert_array_equal(again.predict_proba(rows.X), probability)


@needs_callbacks
def test_stopped_where_it_is_certified_anyway(Classifier, iris):
    n_iter = Classifier().fit(*iris).n_iter_.max()
    classifier = Classifier().set_callbacks(Recorder(stop_at=n_iter))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.fit(*iris)
    assert np.all(classifier.converged_)
    assert_same_attributes(classifier, Classifier().fit(*iris))


@needs_callbacks
def test_the_warning_names_the_classes_that_were_not_done(iris):
    n_iter = OvAClassifier().fit(*iris).n_iter_
    stop_at = int(n_iter.min())
    classifier = OvAClassifier().set_callbacks(Recorder(stop_at=stop_at))
    left = np.flatnonzero(n_iter > stop_at).tolist()
    assert 0 < len(left) < 3
    with pytest.warns(ConvergenceWarning, match="callback stopped it") as caught:
        classifier.fit(*iris)
    assert f"for {len(left)} of 3 classes ({left})" in str(caught[0].message)
    np.testing.assert_array_equal(classifier.converged_, n_iter <= stop_at)


@needs_callbacks
def test_a_stopped_fit_can_go_on(Classifier, iris):
    X, y = iris
    classifier = Classifier(warm_start=True).set_callbacks(Recorder(stop_at=2))
    with pytest.warns(ConvergenceWarning, match="callback stopped it"):
        classifier.fit(X, y)
    classifier.set_callbacks().fit(X, y)
    assert np.all(classifier.converged_)
    full = Classifier().fit(X, y)
    np.testing.assert_allclose(classifier.predict_proba(X), full.predict_proba(X), atol=1e-3)


# ---- errors ---------------------------------------------------------------------------------


@needs_callbacks
@over_solvers
@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "fail_at",
    ["setup", ("begin", "fit"), ("begin", "iteration"), ("end", "iteration"), ("end", "fit")],
)
def test_errors_leave_the_estimator_as_it_was(
    Classifier, solver, l1_ratio, cached, fail_at, iris, monkeypatch
):
    if not cached:
        out_of_cache(monkeypatch)
    X, y = iris
    recorder = Recorder(fail_at=fail_at)
    classifier = Classifier(solver=solver, l1_ratio=l1_ratio, C=0.1)
    classifier.fit(X[:, :2], y).set_callbacks(recorder)
    before = dict(vars(classifier))
    with pytest.raises(ValueError, match="failed at"):
        classifier.fit(X, y)
    assert recorder.hooks()[-1] == "teardown"
    assert vars(classifier).keys() == before.keys()
    assert all(vars(classifier)[name] is value for name, value in before.items())
    assert classifier.predict(X[:, :2]).shape == y.shape
    unfitted = Classifier().set_callbacks(Recorder(fail_at=fail_at))
    with pytest.raises(ValueError, match="failed at"):
        unfitted.fit(X, y)
    assert not attributes(unfitted)


@needs_callbacks
def test_an_error_when_all_is_done_is_raised_too(Classifier, iris):
    classifier = Classifier().set_callbacks(Recorder(fail_at="teardown"))
    with pytest.raises(ValueError, match="failed at teardown"):
        classifier.fit(*iris)
    assert not set(_callbacks.UNFINISHED) & set(vars(classifier))


@needs_callbacks
def test_bad_data_meets_no_callback(Classifier, iris, recorder):
    with pytest.raises(ValueError, match="NaN"):
        Classifier().set_callbacks(recorder).fit(np.full((150, 4), np.nan), iris[1])
    assert not recorder.record


# ---- how a fit converged --------------------------------------------------------------------


@over_penalties
@over_solvers
def test_record_convergence(Classifier, penalty, solver, data):
    rows = data()
    classifier = Classifier(solver=solver, **penalty)
    record = record_convergence(classifier, rows.X, rows.y, sample_weight=rows.s)
    assert list(record) == ["iteration", "seconds", "objective", "optimality", "dual_gap"]
    fitted = clone(classifier).fit(rows.X, rows.y, rows.s)
    n = fitted.n_iter_.max()
    np.testing.assert_array_equal(record["iteration"], np.arange(n + 1))
    assert (np.diff(record["seconds"]) >= 0).all()
    shape = (n + 1,) if Classifier is SoftmaxClassifier else (n + 1, 3)
    null = np.zeros((3, rows.X.shape[1])), null_intercept(rows, Classifier)
    for name in ("objective", "optimality", "dual_gap"):
        assert record[name].shape == shape
        last = getattr(fitted, f"{name}_")
        np.testing.assert_allclose(record[name][-1], last, rtol=1e-6, atol=1e-9)
    coupled = Classifier is SoftmaxClassifier
    weights = {"s": rows.s, "coupled": coupled}
    strength = {"C": classifier.C, "l1_ratio": classifier.l1_ratio}
    value = naive.objective(rows.X, rows.y, *null, **weights, **strength)
    violation = naive.kkt_violation(rows.X, rows.y, *null, **weights, **strength)
    np.testing.assert_allclose(np.atleast_1d(record["objective"][0]), value, rtol=1e-12)
    np.testing.assert_allclose(np.atleast_1d(record["optimality"][0]), violation, rtol=1e-9)
    best = record["objective"][-1]
    if np.isfinite(classifier.C):
        assert (record["dual_gap"] >= record["objective"] - best - 1e-12).all()
    else:
        assert np.isnan(record["dual_gap"]).all()
    assert not attributes(classifier)


def null_intercept(rows, Classifier):
    share = np.bincount(rows.y, rows.s) / rows.s.sum()
    if Classifier is OvAClassifier:
        return np.log(share) - np.log1p(-share)
    return np.log(share) - np.log(share).mean()


def test_record_convergence_where_nothing_is_to_be_done(Classifier):
    """The null model is the optimum."""
    X, y = np.ones((6, 2)), np.arange(6) % 3
    record = record_convergence(Classifier(l1_ratio=1.0), X, y)
    assert record["iteration"].tolist() == [0]
    np.testing.assert_allclose(record["objective"].ravel(), Classifier().fit(X, y).objective_)


def test_record_convergence_checks_parameters(Classifier, iris):
    with pytest.raises(ValueError, match="'C' parameter"):
        record_convergence(Classifier(C=-1.0), *iris)


@needs_callbacks
def test_record_convergence_leaves_callbacks_alone(Classifier, iris, recorder):
    classifier = Classifier().set_callbacks(recorder)
    assert record_convergence(classifier, *iris)["iteration"].size > 1
    assert not recorder.record
    assert classifier._skl_callbacks == [recorder]


# ---- folds and grid -------------------------------------------------------------------------


class Grid(CallbackSupportMixin, BaseEstimator):
    """Folds side by side, in each a point for each C; then a refit."""

    def __init__(self, Cs=(0.1, 1.0), n_folds=3, refit=True):
        self.Cs, self.n_folds, self.refit = Cs, n_folds, refit

    def fit(self, X, y, sample_weight=None):
        tasks = GridTasks(
            self,
            X,
            y,
            sample_weight,
            np.unique(y),
            n_folds=self.n_folds,
            n_points=len(self.Cs),
            refit=self.refit,
        )
        self.tasks_, self.heard_ = tasks, []
        folds = [np.flatnonzero(np.arange(len(y)) % self.n_folds != i) for i in range(self.n_folds)]
        with ThreadPoolExecutor(self.n_folds) as pool:
            list(pool.map(lambda i: self._fit_fold(tasks, i, folds[i], X, y), range(self.n_folds)))
        if self.refit:
            self._refit(tasks, X, y)
        tasks.close(usable=self.refit)
        return self

    def _fit_fold(self, tasks, number, train, X, y):
        fold = tasks.fold(number, train, np.unique(y[train]))
        for i, C in enumerate(self.Cs):
            point = fold.point(i, f"C={C}")
            model = SoftmaxClassifier(C=C).fit(X[train], y[train])
            point.close(lambda model=model: {"model_": model})
        fold.close()

    def _refit(self, tasks, X, y):
        refit = tasks.refit(100, lambda solution: {"model_": solution})
        assert refit is None or isinstance(refit, FitTasks)
        hooks = {} if refit is None else {"watch": refit.ended, "begins": refit.begins}
        self.model_ = SoftmaxClassifier()
        self.model_._fit(X, y, None, **hooks)
        if refit is not None:
            refit.close()

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


class Alone(Recorder):
    """Notes whether hooks are called at the same time."""

    def __init__(self):
        super().__init__()
        self.busy, self.clashes = threading.Lock(), 0

    def _note(self, hook, context, **given):
        if not self.busy.acquire(blocking=False):
            self.clashes += 1
            return
        try:
            threading.Event().wait(0.002)
            super()._note(hook, context, **given)
        finally:
            self.busy.release()


def fit_grid(grid, *args, **kwargs):
    from sklearn.callback import with_callbacks

    return with_callbacks(Grid.fit)(grid, *args, **kwargs)


@needs_callbacks
@pytest.mark.parametrize("refit", [True, False])
def test_grid_tasks(iris, refit):
    X, y = iris
    recorder = Alone()
    weight = np.linspace(1, 2, 150)
    grid = Grid(refit=refit).set_callbacks(recorder)
    fit_grid(grid, X, y, sample_weight=weight)
    assert recorder.clashes == 0
    ((root, given),) = recorder.of("end", "fit")
    assert given["X"] is X
    assert (given["fitted_estimator"] is not None) == refit
    assert root.max_subtasks == 3 + refit
    folds = sorted(recorder.of("end", "fold"), key=lambda fold: fold[0].task_id)
    assert [context.task_id for context, _ in folds] == [0, 1, 2]
    for number, (context, given) in enumerate(folds):
        train = np.arange(150) % 3 != number
        assert context.parent is root
        assert context.max_subtasks == 2
        np.testing.assert_array_equal(given["X"], X[train])
        np.testing.assert_array_equal(given["y"], y[train])
        np.testing.assert_array_equal(given["metadata"]["sample_weight"], weight[train])
    for i, C in enumerate(grid.Cs):
        points = recorder.of("end", f"C={C}")
        assert {context.parent for context, _ in points} == {context for context, _ in folds}
        for context, given in points:
            assert context.task_id == i
            model = given["fitted_estimator"].model_
            assert model.C == C
            assert model.coef_.shape == (3, 4)
    iterations = recorder.of("end")
    if refit:
        ((context, given),) = recorder.of("end", "refit")
        assert context.parent is root
        assert context.task_id == 3
        assert given["fitted_estimator"].model_ is grid.model_
        assert len(iterations) == grid.model_.n_iter_.max()
        assert all(task.parent is context for task, _ in iterations)
    else:
        assert not iterations
    begins = [context for hook, context, _ in recorder.record if hook == "begin"]
    ends = [context for hook, context, _ in recorder.record if hook == "end"]
    assert len(begins) == len(ends) == len(set(ends))
    assert set(begins) == set(ends)


@pytest.fixture(params=[SoftmaxClassifierCV, OvAClassifierCV])
def ClassifierCV(request):
    return request.param


@needs_callbacks
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation(ClassifierCV, iris, n_jobs):
    """The point of the grid is the model that a plain fit of the fold's rows makes."""
    X, y = iris
    recorder = Alone()
    classifier = ClassifierCV(Cs=[0.1, 10.0], l1_ratios=(0.0, 1.0), cv=3, n_jobs=n_jobs)
    plain = clone(classifier).fit(X, y)
    classifier.set_callbacks(recorder).fit(X, y)
    assert recorder.clashes == 0
    np.testing.assert_array_equal(classifier.coef_, plain.coef_)
    np.testing.assert_array_equal(classifier.scores_, plain.scores_)
    assert len(recorder.of("end", "fold")) == 3
    assert len(recorder.of("end")) == len(recorder.of("begin")) > 1
    assert {task.parent.task_name for task, _ in recorder.of("end")} == {"refit"}
    points = [(c, g) for h, c, g in recorder.record if h == "end" and c.parent is not None]
    points = [(c, g) for c, g in points if c.parent.task_name == "fold"]
    assert len(points) == 3 * 4
    assert len({(context.parent, context.task_id) for context, _ in points}) == 3 * 4
    for context, given in points:
        seen = given["fitted_estimator"]
        named = dict(pair.split("=") for pair in context.task_name.split(", "))
        model = classifier._plain(**{name: float(value) for name, value in named.items()})
        expected = model.fit(given["X"], given["y"])
        assert len(given["y"]) == 100
        np.testing.assert_allclose(seen.predict_proba(X), expected.predict_proba(X), atol=5e-3)
    final = recorder.of("end", "fit")[0][1]["fitted_estimator"]
    assert final.C_ == classifier.C_


@needs_callbacks
def test_cross_validation_is_stopped_in_the_refit_alone(ClassifierCV, iris):
    classifier = ClassifierCV(Cs=[0.1, 10.0], cv=3)
    plain = clone(classifier).fit(*iris)
    with pytest.warns(ConvergenceWarning, match="callback stopped it"):
        classifier.set_callbacks(Recorder(stop_at=2)).fit(*iris)
    np.testing.assert_array_equal(classifier.scores_, plain.scores_)
    assert classifier.C_ == plain.C_
    assert not np.all(classifier.converged_)
    assert np.all(plain.converged_)


@needs_callbacks
@pytest.mark.parametrize("fail_at", ["setup", ("end", "fold"), ("end", "iteration")])
def test_errors_in_cross_validation_propagate(ClassifierCV, iris, fail_at):
    classifier = ClassifierCV(Cs=[0.1, 10.0], cv=3)
    before = classifier.fit(*iris).coef_
    with pytest.raises(ValueError, match="failed at"):
        classifier.set_callbacks(Recorder(fail_at=fail_at)).fit(*iris)
    assert classifier.coef_ is before
    assert not set(_callbacks.UNFINISHED) & set(vars(classifier))


def test_a_grid_without_callbacks_has_no_tasks(iris):
    grid = Grid().fit(*iris)
    assert grid.tasks_.context is None
    assert np.all(grid.model_.converged_)


@needs_callbacks
def test_the_scores_of_a_grid(iris):
    X, y = iris
    monitor = ScoringMonitor(scoring="neg_log_loss")
    fit_grid(Grid(refit=False).set_callbacks(monitor), X, y)
    scored = [row for row in monitor.get_logs().data if row["task_name"].startswith("C=")]
    assert len(scored) == 6
    for row in scored:
        train = np.arange(150) % 3 != row["parent_task_id_path"][1]
        model = SoftmaxClassifier(C=Grid().Cs[row["task_id"]]).fit(X[train], y[train])
        expected = -log_loss(y[train], model.predict_proba(X[train]))
        np.testing.assert_allclose(row["neg_log_loss"], expected)
