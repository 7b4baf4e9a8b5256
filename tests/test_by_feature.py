"""Newton systems of a wide sparse X: their solutions, and the precision they are found in."""

from dataclasses import replace

import numpy as np
import pytest
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy import sparse

from sk_softmax._preconditioner.make import diagonal
from sk_softmax._solvers import by_feature
from sk_softmax._solvers.by_feature import solve_by_feature

over_losses = pytest.mark.parametrize("loss", LOSSES)
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


class System:
    """The Newton system of a sparse problem at some point, features in units of ``units``."""

    def __init__(self, loss="softmax", fit_intercept=True, units=1.0):
        problem = make_problem(loss, "l2", "CSR", fit_intercept)
        problem = replace(problem, X=sparse.csr_matrix(problem.X * units))
        self.objective = problem.objective()
        rng = np.random.default_rng(0)
        self.point = rng.normal(size=problem.shape) / units
        if self.objective.coupled:  # as all points of a fit
            self.point -= self.point.mean(axis=0)
        self.state = self.objective.logit_state(self.point)
        self.change = diagonal(self.objective, self.state)
        _, gradient = self.objective.smooth(self.point)
        self.gradient = self.change.centring.pull(gradient)

    def solve(self, tol, max_iter=200):
        rest = self.state, self.change, self.gradient
        return solve_by_feature(self.objective, *rest, tol, max_iter)

    def left(self, step):
        """What a step leaves of the gradient, in the scaled variables, by problem."""
        product = self.objective.hessian_product(self.point)
        residual = self.gradient - product(step) - self.objective.ridge(step)
        sizes = [
            self.objective.by_problem(v * self.preconditioned(v)) for v in (residual, self.gradient)
        ]
        return np.sqrt(sizes[0] / sizes[1])

    def preconditioned(self, v):
        """Softmax does not see a shift of all classes."""
        z = v * self.change.scale**2
        return z - z.mean(axis=0) if self.objective.coupled else z


def precision(monkeypatch, system, tol):
    """The type of the vectors."""
    seen = []
    original = by_feature.advance

    def advance(x, *rest):
        seen.append(x.dtype)
        return original(x, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(by_feature, "advance", advance)
        system.solve(tol)
    assert len(set(seen)) == 1
    return seen[0]


@over_losses
@over_intercepts
@pytest.mark.parametrize("tol", [0.5, 0.1, 1e-3, 1e-4, 1e-8])
def test_no_more_is_left_than_asked_for(loss, fit_intercept, tol):
    system = System(loss, fit_intercept)
    step, decrement = system.solve(tol)
    assert step.dtype == np.float64
    assert (system.left(step) <= 1.01 * tol).all()
    along = system.objective.by_problem(system.gradient * step) / 2
    np.testing.assert_allclose(decrement, along, rtol=1e-5)


@over_losses
@over_intercepts
def test_single_precision_finds_the_same_step(loss, fit_intercept, monkeypatch):
    system = System(loss, fit_intercept)
    single, decrement = system.solve(1e-3)
    monkeypatch.setattr(by_feature, "RANGE", 0.0)
    double, same = system.solve(1e-3)
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-3 * np.abs(double).max())
    np.testing.assert_allclose(decrement, same, rtol=1e-4)


@pytest.mark.parametrize(
    ("tol", "units", "dtype"),
    [
        (0.1, 1.0, np.float32),
        (1e-3, 1.0, np.float32),
        (0.99e-3, 1.0, np.float64),
        (0.1, 0.1, np.float32),
        (0.1, 1e9, np.float64),
        (0.1, 1e100, np.float64),
    ],
)
def test_single_precision_is_for_rough_steps_and_numbers_of_its_range(
    tol, units, dtype, monkeypatch
):
    system = System(units=units)
    assert precision(monkeypatch, system, tol) == dtype
    step, _ = system.solve(tol)
    assert (system.left(step) <= 1.01 * tol).all()


def test_gradients_of_any_size_have_steps_in_proportion():
    system = System()
    step, decrement = system.solve(0.1)
    for size in (1e-40, 1e-200, 1e60):
        system.gradient *= size
        scaled, other = system.solve(0.1)
        np.testing.assert_allclose(scaled / size, step, rtol=1e-6, atol=1e-6 * np.abs(step).max())
        system.gradient /= size
        if 1e-100 < size < 1e100:
            np.testing.assert_allclose(other / size**2, decrement, rtol=1e-6)


def test_steps_of_softmax_sum_to_0_over_classes():
    """In double precision: what single leaves would add up, step by step."""
    step, _ = System().solve(0.1)
    np.testing.assert_allclose(step.sum(axis=0), 0.0, atol=1e-14 * np.abs(step).max())


def test_no_gradient_no_step():
    system = System()
    system.gradient = np.zeros_like(system.gradient)
    step, decrement = system.solve(0.1)
    assert not step.any()
    assert not decrement.any()


def test_x_in_single_precision_is_not_copied():
    system = System()
    design = system.objective.design
    vectors = np.zeros(1, np.float32)
    once, again = (design._as_precise_as(vectors, design._forward) for _ in range(2))
    assert once[0] is again[0]
    assert once[0].dtype == np.float32
    design = make_problem("softmax", "l2", "CSR float32").objective().design
    for arrays in (design._forward, design.columns):
        assert design._as_precise_as(vectors, arrays)[0] is arrays[0]
