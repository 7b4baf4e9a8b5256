"""Newton steps on large supports: conjugate gradients, by classes or by coordinates."""

from itertools import pairwise

import numpy as np
import pytest
from problems import make_problem

from sk_softmax._preconditioner.changes import Centring
from sk_softmax._preconditioner.rows import support_sample
from sk_softmax._solvers import cost, support_cg
from sk_softmax._solvers.support_cg import (
    ByBlock,
    ByCoordinate,
    added_curvature,
    damping,
    fill_intercept,
    iterative_step,
    rows_worth_variables,
)

EXACT = 1e-12, 1000


class Case:
    """A point with zeros, its support, the slope there and what is added to the Hessian."""

    def __init__(self, loss="softmax", storage="CSR", fit_intercept=True, seed=0, n=120, unseen=0):
        problem = make_problem(loss, "elastic net", storage, fit_intercept, n=n, p=9)
        problem.X[:unseen, 0] = 0.0
        self.objective = objective = problem.objective()
        rng = np.random.default_rng(seed)
        self.point = 0.3 * rng.normal(size=(objective.K, objective.q))
        self.point[:, : objective.p] *= rng.random((objective.K, objective.p)) < 0.6
        self.support = self.point != 0
        self.support[:, objective.p :] = True
        gradient = objective.loss_gradient(self.point)[1] + objective.ridge(self.point)
        self.slope = np.where(self.support, gradient, 0.0)
        self.added = added_curvature(objective, self.point, None) + 0.01

    def change(self, by_class):
        of = ByBlock.by_class if by_class else ByCoordinate.at
        known = (self.support,) if by_class else ()
        return of(self.objective, self.point, *known, self.added)

    def hessian(self):
        """The whole one on the support, with what is added, one block a problem."""
        blocks = self.objective.hessian_on(self.point, self.support)
        for group, H in zip(self.objective.groups, blocks, strict=True):
            H += np.diag(self.added[group][self.support[group]])
        return blocks

    def pulled(self):
        return Centring(self.objective.center).pull(self.slope)

    def step(self, by_class, slope=None):
        slope = self.slope if slope is None else slope
        change = self.change(by_class)
        signs = np.sign(self.point)
        return iterative_step(self.objective, self.point, signs, slope, change, self.added, *EXACT)


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_step_and_a_pull_are_each_other_transposed(by_class, fit_intercept):
    case = Case(fit_intercept=fit_intercept)
    change, rng = case.change(by_class), np.random.default_rng(1)
    gradient = np.where(case.support, rng.normal(size=case.point.shape), 0.0)
    pulled = change.pull(gradient)
    u = rng.normal(size=pulled.shape)
    np.testing.assert_allclose((change.step(u) * gradient).sum(), (u * pulled).sum(), rtol=1e-12)


def test_by_class_each_hessian_is_the_identity():
    case = Case()
    change, own = case.change(True), case.support
    H = case.hessian()[0]
    for k in range(case.objective.K):
        at = np.nonzero(own)[0] == k
        M = np.array(
            [change.step(np.eye(1, at.size, c))[own] for c in np.flatnonzero(at)]
        )  # a row for each u of the class
        assert not M[:, ~at].any()
        np.testing.assert_allclose(M @ H @ M.T, np.eye(at.sum()), atol=1e-10)


def test_by_coordinate_each_curvature_is_1():
    case = Case()
    change, H = case.change(False), case.hessian()[0]
    scale = change.step(np.ones((1, case.point.size)))[case.support]
    np.testing.assert_allclose(scale**2 * H.diagonal(), 1.0, rtol=1e-10)


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_by_class_over_csr_and_for_softmax_alone(loss, storage):
    found = Case(loss, storage).change(True)
    assert (found is not None) == (loss == "softmax" and storage == "CSR")


@pytest.mark.parametrize("rows", [120, 2000])
@pytest.mark.parametrize("loss", ["softmax", "one-vs-all"])
@pytest.mark.parametrize("storage", ["C", "CSR"])
def test_by_sample_over_many_dense_rows_and_for_softmax_alone(loss, storage, rows, monkeypatch):
    monkeypatch.setattr(support_cg, "PRODUCTS", -1e9)
    case = Case(loss, storage, n=rows)
    found = ByBlock.by_sample(case.objective, case.point, case.support, case.added)
    assert (found is not None) == (loss == "softmax" and storage == "C" and rows == 2000)


def test_by_sample_where_it_saves_a_hessian(monkeypatch):
    objective = Case(storage="C", n=2000).objective
    rows = support_sample(objective, 20)
    some, every = (cost.support_hessian(20, m) for m in (rows, 2000))
    assert some < every
    worth = (every - some) / cost.sweep(objective)
    monkeypatch.setattr(support_cg, "PRODUCTS", worth * (1 - 1e-9))
    assert rows_worth_variables(objective, 20) == rows
    monkeypatch.setattr(support_cg, "PRODUCTS", worth * (1 + 1e-9))
    assert rows_worth_variables(objective, 20) is None


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_step_by_a_sample_is_that_of_all_rows(fit_intercept, monkeypatch):
    """The sample decides how many products it takes, not where it leads."""
    monkeypatch.setattr(support_cg, "PRODUCTS", -1e9)
    case = Case(storage="C", fit_intercept=fit_intercept, n=2000)
    change = ByBlock.by_sample(case.objective, case.point, case.support, case.added)
    products = []
    original = support_cg.conjugate_gradient

    def counted(image, rhs, tol, most):
        def one_more(u):
            products.append(u)
            return image(u)

        return original(one_more, rhs, tol, most)

    monkeypatch.setattr(support_cg, "conjugate_gradient", counted)
    signs = np.sign(case.point)
    small = 1e-6 * case.slope  # none crosses 0
    step = iterative_step(case.objective, case.point, signs, small, change, case.added, 1e-10, 1000)
    (H,) = case.hessian()
    fill_intercept(case.objective, H, case.support)
    pulled = Centring(case.objective.center).pull(small)[case.support]
    np.testing.assert_allclose(
        H @ step[case.support], -pulled, rtol=0, atol=1e-8 * np.abs(pulled).max()
    )
    assert 0 < len(products) <= 30


def test_a_feature_that_the_sample_has_not_seen_moves_too(monkeypatch):
    monkeypatch.setattr(support_cg, "PRODUCTS", -1e9)
    monkeypatch.setattr(
        support_cg, "stratified_rows", lambda *_: (np.arange(200), np.full(200, 10.0))
    )
    case = Case(storage="C", n=2000, unseen=200)
    change = ByBlock.by_sample(case.objective, case.point, case.support, np.zeros_like(case.added))
    assert np.isfinite(change.scale).all()
    u = np.random.default_rng(0).normal(size=(1, case.support.sum()))
    assert change.step(u)[case.support].all()


@pytest.mark.parametrize("limit", ["LARGEST_CLASSES", "SAVED"])
def test_by_class_up_to_a_size_and_a_cost(limit, monkeypatch):
    case = Case()
    most = float((case.support.sum(axis=1) ** 2).sum())
    if limit == "SAVED":
        most = cost.class_hessians(case.objective, case.support) / cost.sweep(case.objective)
    monkeypatch.setattr(support_cg, limit, most * (1 + 1e-9))
    assert case.change(True) is not None
    monkeypatch.setattr(support_cg, limit, most * (1 - 1e-9))
    assert case.change(True) is None


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_rows_of_little_curvature_count_on_the_diagonal(share, monkeypatch):
    """What is left of a Hessian is as large as it on the diagonal, and still positive definite."""
    monkeypatch.setattr(support_cg, "SHARE", 0.0)
    exact = Case().change(True).hessians
    monkeypatch.setattr(support_cg, "SHARE", share)
    found = Case().change(True).hessians
    for H, whole in zip(found, exact, strict=True):
        np.testing.assert_allclose(H.diagonal(), whole.diagonal(), rtol=1e-10)
        assert np.linalg.eigvalsh(H).min() > 0
        assert np.allclose(H, whole, rtol=1e-10) == (share == 0)


def test_factors_for_a_part_of_the_support():
    """The same as if the rest had never been in it."""
    case = Case()
    change, part = case.change(True), case.support.copy()
    assert change.within(part) is change
    part[0, :4] = part[1, 5] = False
    smaller = change.within(part)
    u = np.random.default_rng(0).normal(size=(1, part.sum()))
    case.support = part
    np.testing.assert_allclose(smaller.step(u), case.change(True).step(u), rtol=1e-9, atol=1e-12)
    assert (smaller.scale > 0).all()
    assert smaller.scale.size == part.sum()


def test_a_part_that_is_nearly_all_keeps_the_factors(monkeypatch):
    case = Case()
    change, part = case.change(True), case.support.copy()
    j = np.flatnonzero(part[0])[0]
    part[0, j] = False
    monkeypatch.setattr(support_cg, "LOST", 1.5 / case.support.sum())
    assert change.within(part) is change
    monkeypatch.setattr(support_cg, "LOST", 0.5 / case.support.sum())
    assert change.within(part) is not change


@pytest.mark.parametrize(("storage", "by_class"), [("CSR", True), ("CSR", False), ("C", False)])
def test_rough_steps_over_a_sparse_x_are_found_in_single_precision(storage, by_class, monkeypatch):
    case, asked = Case(storage=storage), []
    of_loss = type(case.objective).hessian_product

    def noting(objective, point, single):
        asked.append(single)
        return of_loss(objective, point, single)

    monkeypatch.setattr(type(case.objective), "hessian_product", noting)
    given = case.objective, case.point, np.sign(case.point), 1e-3 * case.slope
    change = case.change(by_class)
    rough, fine = (iterative_step(*given, change, case.added, tol, 1000) for tol in (1e-3, 1e-9))
    assert asked == [storage == "CSR", False]
    np.testing.assert_allclose(rough, fine, atol=0.01 * np.abs(fine).max())


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("loss", "storage", "by_class"),
    [
        ("softmax", "CSR", True),
        ("softmax", "CSR", False),
        ("softmax", "C", False),
        ("one-vs-all", "CSR", False),
        ("one-vs-all", "C", False),
    ],
)
def test_a_step_that_changes_no_sign_is_newtons(loss, storage, fit_intercept, by_class):
    case = Case(loss, storage, fit_intercept)
    slope = 1e-3 * case.slope
    step = case.step(by_class, slope)
    pulled = 1e-3 * case.pulled()
    assert not step[~case.support].any()
    for group, H in zip(case.objective.groups, case.hessian(), strict=True):
        own = case.support[group]
        expected = -np.linalg.solve(H, pulled[group][own])
        np.testing.assert_allclose(step[group][own], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_coefficients_end_at_0_where_the_step_would_cross_it(by_class, seed):
    case = Case(seed=seed)
    p, slope = case.objective.p, 3 * case.slope
    step = case.step(by_class, slope)
    coef, after = case.point[:, :p], (case.point + step)[:, :p]
    assert (coef * after >= 0).all()
    led = (coef != 0) & (after == 0)
    assert led.any()
    # the others are where the model has no slope, given those
    at = Centring(case.objective.center).pull(slope)[case.support]
    at += case.hessian()[0] @ step[case.support]
    free = ~np.append(led, np.zeros((len(led), 1), bool), axis=1)[case.support]
    np.testing.assert_allclose(at[free], 0.0, atol=1e-8)


def test_all_solutions_of_a_step_share_its_products(monkeypatch):
    case, left = Case(), []
    solve = support_cg.conjugate_gradient

    def counted(product, rhs, tol, max_iter):
        left.append(max_iter)
        return solve(product, rhs, tol, max_iter)

    monkeypatch.setattr(support_cg, "conjugate_gradient", counted)
    case.step(False, 3 * case.slope)
    assert left[0] == EXACT[1]
    assert len(left) > 1  # signs would have changed
    assert all(after < before for before, after in pairwise(left))
    left.clear()
    change = case.change(False)
    signs = np.sign(case.point)
    most = iterative_step(
        case.objective, case.point, signs, 3 * case.slope, change, case.added, 1e-12, 1
    )
    assert left == [1]
    assert most.any()


def test_damping_keeps_flat_coordinates_in_reach():
    case = Case()
    D = damping(case.objective, case.point, case.slope)
    p = case.objective.p
    size = np.abs(case.point[:, :p])
    reach = 4.0 * np.maximum(size, 0.01 * size.max())
    np.testing.assert_allclose(D[:, :p] * reach, np.abs(case.slope[:, :p]), rtol=1e-12)
    np.testing.assert_allclose(D[:, p:] * 0.04 * size.max(), np.abs(case.slope[:, p:]), rtol=1e-12)
    assert not damping(case.objective, case.point, 0 * case.slope).any()


def test_where_all_coefficients_are_0_damping_is_the_curvature():
    case = Case("one-vs-all")
    point, p = case.point.copy(), case.objective.p
    point[1, :p] = 0.0
    D = damping(case.objective, point, case.slope)
    own = case.objective.curvature(case.objective.logit_state(point))
    np.testing.assert_array_equal(D[1], own[1])
    expected = damping(case.objective, case.point, case.slope)
    np.testing.assert_array_equal(D[[0, 2]], expected[[0, 2]])
