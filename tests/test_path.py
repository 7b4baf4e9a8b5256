"""Paths: each of their models is what a fit by itself certifies, on a grid that is as promised."""

from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import LOSSES, STORAGE, make_problem, over
from scipy import sparse
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning

from sk_softmax import (
    OvAClassifier,
    SoftmaxClassifier,
    ova_l1_min_c,
    ova_path,
    softmax_l1_min_c,
    softmax_path,
)
from sk_softmax._objective import Objective
from sk_softmax._solvers import cost, samples
from sk_softmax._solvers import path as solvers_path
from sk_softmax._solvers.table import solve

PATH = {SoftmaxClassifier: softmax_path, OvAClassifier: ova_path}
SMALLEST_C = {SoftmaxClassifier: softmax_l1_min_c, OvAClassifier: ova_l1_min_c}
WEIGHTS = [None, "balanced", {0: 2.0, 1: 0.5}]


def model_at(Classifier, path, number):
    """What a path says of one C, as a fitted classifier would."""
    return SimpleNamespace(
        C=path.Cs[number],
        coef=path.coefs[number],
        intercept=path.intercepts[number],
        objective=path.objectives[number],
        optimality=path.optimalities[number],
        gap=path.dual_gaps[number],
    )


def assert_certified(Classifier, path, X, y, s=None, *, tol=1e-4, fit_intercept=True):
    """Every point's certificate is there, good enough, and what the twins compute."""
    assert path.converged.all()
    assert (path.optimalities <= tol).all()
    settings = {"l1_ratio": path.l1_ratio, "coupled": Classifier is SoftmaxClassifier, "s": s}
    for number in range(path.Cs.size):
        at = model_at(Classifier, path, number)
        objective = naive.objective(X, y, at.coef, at.intercept, C=at.C, **settings)
        np.testing.assert_allclose(at.objective, objective, rtol=1e-12)
        violation = naive.kkt_violation(
            X, y, at.coef, at.intercept, C=at.C, fit_intercept=fit_intercept, **settings
        )
        np.testing.assert_allclose(at.optimality, violation, rtol=1e-6, atol=1e-14)


# ---- each point is a fit -------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**16),
    n_classes=st.integers(2, 5),
    n=st.integers(15, 60),
    p=st.integers(1, 25),
    l1_ratio=st.sampled_from([0.0, 0.4, 1.0]),
    fit_intercept=st.booleans(),
    storage=st.sampled_from(["C", "F", "CSR"]),
    solver=st.sampled_from(["auto", "lbfgs", "newton"]),
)
def test_paths_are_separate_fits(
    Classifier, data, seed, n_classes, n, p, l1_ratio, fit_intercept, storage, solver
):
    d = data(n_classes, n=n, p=p, seed=seed)
    X = STORAGE[storage](np.where(np.abs(d.X) > 0.7, d.X, 0.0))
    settings = {"l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "solver": solver}
    path = PATH[Classifier](X, d.y, sample_weight=d.s, Cs=6, eps=1e-2, **settings)
    dense = X.toarray() if sparse.issparse(X) else X
    assert_certified(Classifier, path, dense, d.y, d.s, fit_intercept=fit_intercept)
    for number, C in enumerate(path.Cs):
        alone = Classifier(C=C, tol=1e-8, **settings).fit(X, d.y, d.s)
        above = path.objectives[number] - alone.objective_
        assert (above <= path.dual_gaps[number] + 1e-13).all()
        assert (above >= -alone.dual_gap_ - 1e-13).all()


@pytest.mark.parametrize("class_weight", WEIGHTS, ids=str)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_coefficients_are_those_of_separate_fits(
    Classifier, data, n_classes, l1_ratio, class_weight
):
    d = data(n_classes)
    settings = {"l1_ratio": l1_ratio, "class_weight": class_weight, "tol": 1e-9}
    Cs = [0.001, 0.01, 0.1, 1.0, 10.0]
    path = PATH[Classifier](d.X, d.y, Cs=Cs, sample_weight=d.s, **settings)
    for number, C in enumerate(Cs):
        alone = Classifier(C=C, **settings).fit(d.X, d.y, d.s)
        np.testing.assert_allclose(path.coefs[number], alone.coef_, atol=1e-5)
        np.testing.assert_allclose(path.intercepts[number], alone.intercept_, atol=1e-5)
        np.testing.assert_allclose(path.objectives[number], alone.objective_, rtol=1e-10)
        np.testing.assert_array_equal(path.coefs[number] == 0, alone.coef_ == 0)


def test_more_features_than_rows_change_to_the_row_space_once(Classifier, data, monkeypatch):
    d = data(3, n=40, p=2500)
    changes = []
    in_row_space = solvers_path.in_row_space
    monkeypatch.setattr(
        solvers_path, "in_row_space", lambda o: changes.append(o) or in_row_space(o)
    )
    path = PATH[Classifier](d.X, d.y, Cs=[1e-4, 1e-2, 1.0], l1_ratio=0.0)
    assert len(changes) == 1
    assert_certified(Classifier, path, d.X, d.y)
    alone = Classifier(C=1.0, tol=1e-8).fit(d.X, d.y)
    np.testing.assert_allclose(path.coefs[2], alone.coef_, atol=1e-5)


def test_later_models_start_from_earlier_ones(Classifier):
    X, y = load_wine(return_X_y=True)
    for l1_ratio in (0.5, 1.0):
        path = PATH[Classifier](X, y, Cs=15, l1_ratio=l1_ratio)
        alone = [Classifier(C=C, l1_ratio=l1_ratio).fit(X, y).n_iter_.sum() for C in path.Cs]
        assert path.n_iters.sum() < 0.8 * sum(alone)


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
@pytest.mark.parametrize("storage", ["C", "CSR"])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_a_model_knows_of_where_it_ends_is_so(loss, storage, solver, monkeypatch):
    """The next one begins with that, and evaluates nothing there; spreads are found once."""
    objective = make_problem(loss, "l1", storage).objective()
    moments, spreads = objective.design.moments, []
    monkeypatch.setattr(objective.design, "moments", lambda s: spreads.append(s) or moments(s))
    penalties = [(lambda1, 0.0) for lambda1 in (0.05, 0.02, 0.01, 0.005)]
    for at in solvers_path.solve_path(objective, penalties, solver):
        point = np.column_stack([at.coef, at.intercept])
        for known, exact in zip(at.known, objective.loss_gradient(point), strict=True):
            np.testing.assert_allclose(known, exact, rtol=1e-12, atol=1e-15)
        known = at.known
    assert len(spreads) == 1

    evaluated = []
    evaluate = Objective.loss_gradient
    monkeypatch.setattr(
        Objective, "loss_gradient", lambda self, w: evaluated.append(w) or evaluate(self, w)
    )
    weakest = objective.penalised(*penalties[-1])
    again = solve(weakest, solver, start=point, known=known)
    assert not evaluated
    assert again.n_iter.max() == 0
    np.testing.assert_array_equal(again.coef, at.coef)


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_only_the_first_model_starts_from_parts_of_the_rows(data, monkeypatch, solver):
    d = data(3, n=8000, p=60)
    monkeypatch.setattr(cost, "SAMPLES_SAVE", 0.0)
    parts = []
    stratified_rows = samples.stratified_rows
    monkeypatch.setattr(
        samples, "stratified_rows", lambda *a: parts.append(a) or stratified_rows(*a)
    )
    softmax_path(d.X, d.y, Cs=[0.01], l1_ratio=0.0, solver=solver)
    once = len(parts)
    assert once > 0
    softmax_path(d.X, d.y, Cs=[0.01, 0.02, 0.04], l1_ratio=0.0, solver=solver)
    assert len(parts) == 2 * once


def test_a_weight_of_2_is_the_row_twice(Classifier, data):
    d = data(3)
    s = np.where(np.arange(150) % 3 == 0, 2.0, 1.0)
    s[5:60:7] = 0.0
    rows = np.repeat(np.arange(150), s.astype(int))
    for l1_ratio in (0.0, 1.0):
        settings = {"Cs": 6, "l1_ratio": l1_ratio, "tol": 1e-9}
        weighted = PATH[Classifier](d.X, d.y, sample_weight=s, **settings)
        repeated = PATH[Classifier](d.X[rows], d.y[rows], **settings)
        np.testing.assert_allclose(weighted.Cs, repeated.Cs, rtol=1e-10)
        np.testing.assert_allclose(weighted.coefs, repeated.coefs, atol=1e-6)
        np.testing.assert_allclose(weighted.objectives, repeated.objectives, rtol=1e-9)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_threads_change_no_bit(Classifier, data, l1_ratio):
    d = data(4, n=30_000, p=12)
    paths = [
        PATH[Classifier](d.X, d.y, Cs=4, l1_ratio=l1_ratio, n_jobs=n_jobs) for n_jobs in (1, 3)
    ]
    for name in ("Cs", "coefs", "intercepts", "objectives", "n_iters"):
        first, second = (getattr(path, name) for path in paths)
        np.testing.assert_array_equal(first, second)


@over("storage", STORAGE)
def test_any_storage_has_the_same_path(Classifier, data, storage):
    d = data(3)
    X = d.X.astype(np.float32).astype(np.float64)
    expected = PATH[Classifier](X, d.y, Cs=4, tol=1e-8)
    path = PATH[Classifier](storage(X), d.y, Cs=4, tol=1e-8)
    np.testing.assert_allclose(path.Cs, expected.Cs, rtol=1e-6)
    np.testing.assert_allclose(path.coefs, expected.coefs, atol=1e-4)
    assert path.coefs.dtype == path.intercepts.dtype == np.float64


# ---- the grid ------------------------------------------------------------------------------


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_l1_grids_begin_exactly_where_coefficients_do(Classifier, data, n_classes, l1_ratio):
    d = data(n_classes)
    path = PATH[Classifier](d.X, d.y, Cs=30, eps=0.01, l1_ratio=l1_ratio)
    assert path.Cs[0] == SMALLEST_C[Classifier](d.X, d.y, l1_ratio=l1_ratio)
    np.testing.assert_allclose(path.Cs[-1] * 0.01, path.Cs[0], rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.log(path.Cs)), np.log(100) / 29, rtol=1e-9)
    assert not path.n_nonzeros[0].any()
    assert path.n_nonzeros[1].any()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_l2_grids_begin_where_a_hundredth_of_the_first_step_is_left(Classifier, data, n_classes):
    d = data(n_classes)
    path = PATH[Classifier](d.X, d.y, Cs=3, l1_ratio=0.0, sample_weight=d.s)
    # Slope and curvature of the mean loss along its own gradient, by differences; the intercept
    # keeps the raw values at the mean.
    null = Classifier(C=1e-200).fit(d.X, d.y, d.s)
    assert not null.coef_.round(12).any()
    centred = d.X - np.average(d.X, axis=0, weights=d.s)

    def losses(coef):
        coupled = Classifier is SoftmaxClassifier
        return naive.objective(
            centred, d.y, coef, null.intercept_, s=d.s, C=np.inf, coupled=coupled
        )

    coef, h = np.zeros(null.coef_.shape), 1e-4
    gradient = np.zeros_like(coef)
    for at in np.ndindex(coef.shape):
        unit = np.zeros_like(coef)
        unit[at] = h
        gradient[at] = (losses(unit) - losses(-unit)).sum() / (2 * h)
    second = (losses(h * gradient) + losses(-h * gradient) - 2 * losses(coef)) / h**2
    lengths = (gradient**2).sum(axis=1)
    if second.size == 1:
        lengths = lengths.sum(keepdims=True)
    curvature = (second / lengths).max()
    left = curvature / (curvature + 1 / (path.Cs[0] * d.s.sum()))
    np.testing.assert_allclose(left, 0.01, rtol=1e-4)
    np.testing.assert_allclose(path.Cs, path.Cs[0] * np.array([1, 1000**0.5, 1000]), rtol=1e-9)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
@pytest.mark.parametrize("unit", [1e-7, 1e6])
def test_grids_follow_the_units_of_the_data(Classifier, data, l1_ratio, unit):
    d = data(3)
    here = PATH[Classifier](d.X, d.y, Cs=5, l1_ratio=l1_ratio)
    there = PATH[Classifier](d.X * unit, d.y, Cs=5, l1_ratio=l1_ratio)
    power = 1 if l1_ratio else 2
    np.testing.assert_allclose(there.Cs * unit**power, here.Cs, rtol=1e-9)
    np.testing.assert_allclose(there.objectives, here.objectives, rtol=1e-5)


def test_the_user_s_values_ascend(Classifier, data):
    d = data(3)
    path = PATH[Classifier](d.X, d.y, Cs=[1, 0.01, 0.1, 1], l1_ratio=0.5)
    np.testing.assert_array_equal(path.Cs, [0.01, 0.1, 1, 1])
    np.testing.assert_array_equal(path.coefs[2], path.coefs[3])
    assert path.n_iters[3].max() == 0
    assert_certified(Classifier, path, d.X, d.y)


def test_no_penalty_may_end_a_path(Classifier, data):
    d = data(3)
    path = PATH[Classifier](d.X, d.y, Cs=[0.1, 10.0, np.inf], l1_ratio=1.0)
    alone = Classifier(C=np.inf).fit(d.X, d.y)
    np.testing.assert_allclose(path.objectives[2], alone.objective_, rtol=1e-6)
    assert np.isnan(path.dual_gaps[2]).all()
    assert np.isfinite(path.dual_gaps[:2]).all()
    assert path.converged.all()


@pytest.mark.parametrize("Cs", [[], [1.0, -1.0], [0.0], [[1.0, 2.0]], [np.nan], 0, -3, "all", 1.5])
def test_other_grids_are_refused(Classifier, data, Cs):
    d = data(3)
    with pytest.raises(ValueError, match="Cs"):
        PATH[Classifier](d.X, d.y, Cs=Cs)


@pytest.mark.parametrize(
    "parameters",
    [
        {"eps": 0.0},
        {"eps": 1.0},
        {"l1_ratio": 1.1},
        {"solver": "saga"},
        {"tol": -1.0},
        {"Cs": None},
    ],
    ids=str,
)
def test_other_parameters_are_refused(Classifier, data, parameters):
    d = data(3)
    (name,) = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        PATH[Classifier](d.X, d.y, **parameters)


def test_data_without_a_path_are_refused(Classifier):
    y = [0, 1, 2, 0, 1, 2]
    for l1_ratio in (0.0, 1.0):
        with pytest.raises(ValueError, match="Ill-posed"):
            PATH[Classifier](np.zeros((6, 2)), y, l1_ratio=l1_ratio)
    path = PATH[Classifier](np.zeros((6, 2)), y, Cs=[1.0])  # a grid of one's own is no problem
    assert path.converged.all()


# ---- what comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
def test_shapes(Classifier, data, n_classes):
    d = data(n_classes)
    path = PATH[Classifier](d.X, d.y, Cs=5)
    outputs = 1 if n_classes == 2 else n_classes
    problems = outputs if Classifier is OvAClassifier else 1
    assert path.Cs.shape == (5,)
    assert path.coefs.shape == (5, outputs, 6)
    assert path.intercepts.shape == (5, outputs)
    for name in ("n_iters", "objectives", "optimalities", "dual_gaps", "converged"):
        assert getattr(path, name).shape == (5, problems)
    assert path.converged.dtype == bool
    assert np.issubdtype(path.n_iters.dtype, np.integer)
    np.testing.assert_array_equal(path.n_nonzeros, (path.coefs != 0).sum(axis=2))
    np.testing.assert_array_equal(path.classes, np.arange(n_classes))
    assert path.l1_ratio == 1.0
    assert path.feature_names is None
    with pytest.raises(FrozenInstanceError):
        path.Cs = None


def test_names_and_labels(Classifier, data):
    pandas = pytest.importorskip("pandas")
    d = data(3)
    names = [f"feature {j}" for j in range(6)]
    labels = np.array(["one", "three", "two"])
    path = PATH[Classifier](pandas.DataFrame(d.X, columns=names), labels[d.y], Cs=2)
    np.testing.assert_array_equal(path.classes, labels)
    np.testing.assert_array_equal(path.feature_names, names)


def test_sparse_output_holds_the_same(Classifier, data):
    d = data(3)
    dense = PATH[Classifier](d.X, d.y, Cs=6)
    path = PATH[Classifier](d.X, d.y, Cs=6, sparse_output=True)
    assert len(path.coefs) == 6
    for here, there in zip(path.coefs, dense.coefs, strict=True):
        assert here.format == "csr"
        assert here.nnz == np.count_nonzero(there)
        np.testing.assert_array_equal(here.toarray(), there)


def test_one_warning_names_each_c_that_did_not_converge(Classifier, data):
    d = data(3)
    Cs = [1e-9, 0.5, 2.0]
    with pytest.warns(ConvergenceWarning) as caught:
        path = PATH[Classifier](d.X, d.y, Cs=Cs, max_iter=1)
    (warning,) = caught
    assert warning.filename == __file__
    text = str(warning.message)
    assert f"{PATH[Classifier].__name__} did not converge. At C = 0.5, 2: The iteration" in text
    np.testing.assert_array_equal(path.converged.all(axis=1), [True, False, False])
    np.testing.assert_array_equal(path.n_iters.max(axis=1), [0, 1, 1])


def test_separated_classes_are_named_as_the_cause(Classifier):
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    with pytest.warns(ConvergenceWarning, match=r"At C = inf: Some classes are linearly separable"):
        path = PATH[Classifier](X, [0, 0, 1, 1], Cs=[1.0, np.inf])
    np.testing.assert_array_equal(path.converged, [[True], [False]])


def test_verbose_prints_a_line_for_each_c(Classifier, data, capsys):
    d = data(3)
    PATH[Classifier](d.X, d.y, Cs=4, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("[sk_softmax] C ") for line in lines)
    PATH[Classifier](d.X, d.y, Cs=4, verbose=2)
    assert len(capsys.readouterr().out.splitlines()) > 4


def test_bad_data_are_refused_as_in_fit(Classifier, data):
    d = data(3)
    with pytest.raises(ValueError, match="only one class"):
        PATH[Classifier](d.X, np.zeros(150))
    with pytest.raises(ValueError, match="contains NaN"):
        PATH[Classifier](np.full((150, 2), np.nan), d.y)
