"""Points with what a sweep found there: handed on, and shifted without another one."""

import numpy as np
import pytest
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from problems import make_problem, out_of_cache

from sk_softmax._solvers.bounded import lbfgs_on_set
from sk_softmax._solvers.evaluated import Evaluated
from sk_softmax._solvers.gauge import best_shift
from sk_softmax._solvers.solution import Control
from sk_softmax._solvers.table import solve

PENALTIES = ("l2", "elastic net", "l1")


def sweeps(objective):
    return objective.counts["rows"] / objective.design.n


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_point_in_the_gauge_is_not_evaluated_again(penalty):
    problem = make_problem("softmax", penalty)
    objective = problem.objective()
    at = Evaluated.at(objective, best_shift(objective, next(problem.points(1))))
    again = at.shifted(objective)
    assert sweeps(objective) == 1
    assert again.loss is at.loss
    assert again.gradient is at.gradient
    np.testing.assert_allclose(again.point, at.point, rtol=0, atol=1e-14)


@pytest.mark.parametrize("shift", [1e-3, 1e3])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_point_that_is_shifted_is_evaluated_there(penalty, shift):
    problem = make_problem("softmax", penalty)
    objective = problem.objective()
    best = best_shift(objective, next(problem.points(1)))
    far = best.copy()
    far[:, : objective.p] += shift
    moved = Evaluated.at(objective, far).shifted(objective)
    assert sweeps(objective) == 2
    np.testing.assert_allclose(moved.point, best, rtol=0, atol=1e-12 * (1 + shift))
    loss, gradient = objective.loss_gradient(moved.point)
    np.testing.assert_array_equal(moved.loss, loss)
    np.testing.assert_array_equal(moved.gradient, gradient)


def test_a_stage_of_lbfgs_begins_and_ends_with_what_is_known():
    objective = make_problem("one-vs-all", "l1").objective()
    start = Evaluated.at(objective, objective.null_point())
    everything = np.ones(start.point.shape, dtype=bool)
    control = Control(tol=1e-6, goal=np.full(3, 1e-6), max_iter=1)
    made, end, _ = lbfgs_on_set(
        control, objective, np.arange(3), start, everything, np.ones_like(start.point)
    )
    assert made == 1
    loss, gradient = objective.loss_gradient(end.point)
    np.testing.assert_array_equal(end.loss, loss)
    np.testing.assert_array_equal(end.gradient, gradient)
    value = loss + objective.penalty(end.point)
    assert value.sum() < (start.loss + objective.penalty(start.point)).sum()


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "binary"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("penalty", ["elastic net", "l1"])
def test_no_point_is_evaluated_twice(penalty, solver, loss, monkeypatch):
    """Where all features are in the working set, what is certified is the solver's last point."""
    objective = make_problem(loss, penalty).objective()
    out_of_cache(monkeypatch)
    points, original = [], type(objective).loss_gradient

    def recording(self, point):
        points.append(point.tobytes())
        return original(self, point)

    monkeypatch.setattr(type(objective), "loss_gradient", recording)
    solve(objective, solver)
    assert len(points) > 3
    assert len(set(points)) == len(points)
