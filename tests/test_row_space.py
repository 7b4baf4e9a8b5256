"""More features than rows: the row space holds the optimum, and leads to it."""

import numpy as np
import pytest
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)

from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._solvers import row_space
from sk_softmax._solvers.row_space import in_row_space, wide
from sk_softmax._solvers.table import solve

EPS = np.finfo(float).eps
over_losses = pytest.mark.parametrize("loss", LOSSES)
over_storage = pytest.mark.parametrize("storage", ["C", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


@pytest.fixture(params=["products", "reflections"])
def basis(request, monkeypatch):
    """Which way to a basis is taken."""
    if request.param == "reflections":
        monkeypatch.setattr(row_space, "ROUND", np.inf)
    return request.param


def wide_problem(loss, storage="C", fit_intercept=True, penalty="l2"):
    return make_problem(loss, penalty, storage, fit_intercept, n=15, p=40)


@over_losses
@over_storage
@over_intercepts
def test_the_row_space_holds_the_same_f(loss, storage, fit_intercept, basis):
    problem = wide_problem(loss, storage, fit_intercept)
    objective = problem.objective()
    rotated, restore = in_row_space(objective)
    # centred rows are one fewer than they seem
    assert rotated.p == 15 - (fit_intercept and basis == "products")
    rng = np.random.default_rng(0)
    for _ in range(2):
        inner = rng.normal(size=(rotated.K, rotated.q))
        point = restore(inner)
        assert point.shape == problem.shape
        np.testing.assert_allclose(
            rotated.smooth(inner)[0], problem.value(point).astype(float), rtol=1e-11
        )
        # the gradient in the row space is the image of the whole one: <g, restore(v)>
        v = rng.normal(size=inner.shape)
        along = restore(inner + v) - point
        np.testing.assert_allclose(
            (rotated.smooth(inner)[1] * v).sum(),
            (objective.smooth(point)[1] * along).sum(),
            rtol=1e-9,
        )


@over_losses
@over_intercepts
def test_the_row_space_has_the_same_null_model(loss, fit_intercept, basis):
    problem = wide_problem(loss, fit_intercept=fit_intercept)
    objective = problem.objective()
    rotated, restore = in_row_space(objective)
    np.testing.assert_allclose(restore(rotated.null_point()), objective.null_point(), atol=1e-14)
    np.testing.assert_allclose(rotated.null_value, objective.null_value)
    for name in ("class_sums", "means"):  # both say what a step adds to the mean logits
        v = np.random.default_rng(0).normal(size=(rotated.K, rotated.q))
        np.testing.assert_allclose(
            (getattr(rotated, name) * v).sum(axis=1),
            (getattr(objective, name) * restore(v)).sum(axis=1),
            rtol=1e-10,
            atol=1e-13,
        )


@over_losses
@over_storage
@over_intercepts
def test_a_wide_fit_is_exact(loss, storage, fit_intercept, basis, monkeypatch):
    """By the row space, and by the whole Hessian: the one optimum, which the twin confirms."""
    problem = wide_problem(loss, storage, fit_intercept)
    coupled = problem.softmax
    assert not wide(problem.objective())
    direct = solve(problem.objective(), tol=1e-11)
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 3 * 16 if coupled else 16)
    assert wide(problem.objective())
    rotated = solve(problem.objective(), tol=1e-11)
    assert problem.optimality(problem.point_of(rotated)).max() < 1e-11
    np.testing.assert_allclose(rotated.objective, direct.objective, rtol=1e-13)
    np.testing.assert_allclose(rotated.coef, direct.coef, atol=1e-9)
    np.testing.assert_allclose(rotated.intercept, direct.intercept, atol=1e-9)


@pytest.mark.parametrize("units", [1.0, 1e-30, 1e60])
def test_a_basis_from_products_is_orthonormal(units):
    """Of rows that depend on each other, too, in any units."""
    rng = np.random.default_rng(0)
    X = units * rng.normal(size=(12, 40))
    X[5] = X[2] - X[3]
    X[7] = 0.0
    coordinates, into, back = row_space._products(X)
    assert coordinates.shape == (12, 10)
    V = back(np.eye(10))
    np.testing.assert_allclose(V @ V.T, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(coordinates @ V, X, rtol=0, atol=1e-12 * units)
    np.testing.assert_allclose(into(X), coordinates, rtol=0, atol=1e-12 * units)


def test_no_basis_from_products_of_columns_in_different_units():
    X = np.random.default_rng(0).normal(size=(12, 40)) * np.logspace(-8, 8, 40)
    assert row_space._products(X) is None
    assert row_space._products(np.zeros((3, 5))) is None
    coordinates, _, back = row_space._reflections(X)
    np.testing.assert_allclose(back(coordinates), X, rtol=1e-12, atol=1e-12 * np.abs(X).max())


def test_wide_asks_for_a_small_row_space(monkeypatch):
    objective = wide_problem("softmax").objective()
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 60)
    assert wide(objective)
    monkeypatch.setattr(row_space, "LARGEST_BASIS", 15 * 40 - 1)
    assert not wide(objective)
    monkeypatch.setattr(row_space, "LARGEST_BASIS", 15 * 40)
    assert wide(objective)
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 47)
    assert not wide(objective)
    assert not wide(make_problem("softmax").objective())
