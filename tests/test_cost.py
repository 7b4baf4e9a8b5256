"""What a fit costs, by its shape, and what `solve` makes of that."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from problems import Problem, make_problem
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from sk_softmax._preconditioner.make import LARGEST_BLOCK, can_factor, can_factor_by_class
from sk_softmax._preconditioner.rows import class_sample, hessian_sample
from sk_softmax._solvers import cost
from sk_softmax._solvers.in_cache import fits_in_cache
from sk_softmax._solvers.table import choose

NS = [10**e for e in range(8)]
PS = [0, 1, 10, 100, 1000, 10_000]
KS = [1, 3, 10, 30, 100, 1000]
SHAPES = [
    (n, p, K, coupled)
    for n, p, K, coupled in product(NS, PS, KS, (True, False))
    if K > 2 or not coupled
]
PARTS = (cost.sweep, cost.factorisation, cost.whole_change, cost.class_change)
WHOLE = (cost.newton, cost.lbfgs, cost.change)


def of_shape(n, p, K, coupled=True, fit_intercept=True):
    """What costs are asked of an objective with a dense X, without the X."""
    q = p + fit_intercept
    return SimpleNamespace(
        design=SimpleNamespace(n=n, p=p),
        p=p,
        q=q,
        K=K,
        coupled=coupled,
        hessian_size=K * q if coupled else q,
        n_problems=1 if coupled else K,
    )


def larger(n, p, K):
    """The shapes ten times as large in one direction."""
    return (10 * n, p, K), (n, max(1, 10 * p), K), (n, p, 10 * K)


# ---- costs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_costs_are_finite_and_positive(fit_intercept):
    """Also without features, for one row and one output; 0 only where nothing is made."""
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled, fit_intercept)
        for part in (*PARTS, *WHOLE, lambda o: cost.hessian(o, o.design.n)):
            value = float(part(objective))
            assert np.isfinite(value)
            assert value > 0 or (value == 0 and objective.q == 0)
        for whole in (cost.sweep, cost.newton, cost.lbfgs):
            assert whole(objective) >= cost.CALLS
        assert 8 <= cost.stage(objective, 8, 200) <= 200


@pytest.mark.parametrize("part", [cost.sweep, cost.factorisation, cost.whole_change, cost.lbfgs])
def test_costs_grow_with_rows_features_and_classes(part):
    for n, p, K, coupled in SHAPES:
        here = part(of_shape(n, p, K, coupled))
        for shape in larger(n, p, K):
            assert part(of_shape(*shape, coupled)) >= here


def test_the_cost_of_a_hessian_grows_with_rows_features_and_classes():
    for n, p, K, coupled in SHAPES:
        here = cost.hessian(of_shape(n, p, K, coupled), n)
        for shape in larger(n, p, K):
            assert cost.hessian(of_shape(*shape, coupled), shape[0]) >= here
        assert cost.hessian(of_shape(n, p, K, coupled), 10 * n) == pytest.approx(10 * here)


def test_the_cost_of_newton_grows_but_where_samples_begin_to_help():
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled)
        for shape in larger(n, p, K):
            other = of_shape(*shape, coupled)
            saved = cost.sampled(other) and not cost.sampled(objective)
            most = cost.SMALL_NEWTON_STEPS / cost.NEWTON_STEPS if saved else 1.0
            assert cost.newton(other) * most >= cost.newton(objective)


def test_the_cost_class_by_class_grows_but_where_samples_begin_to_help():
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled)
        for shape in larger(n, p, K):
            other = of_shape(*shape, coupled)
            if class_sample(other) >= class_sample(objective):
                assert cost.class_change(other) >= cost.class_change(objective)


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("K", [1, 3, 5, 6, 26])
@pytest.mark.parametrize("q", [1, 5, 128, 129])
def test_a_hessian_costs_what_its_products_do(q, K, coupled):
    """Half a square in register tiles, whose sides cost too, for each pair of outputs."""
    objective = of_shape(1000, q - 1, K, coupled)
    pairs = K * (K + 1) // 2 if coupled else K
    products = 0.375 * q**2 + 4 * q
    assert cost.hessian(objective, 50) == 50 * pairs * products


@pytest.mark.parametrize("coupled", [True, False])
def test_a_sparse_sweep_costs_by_its_entries(coupled):
    rng = np.random.default_rng(0)
    sweeps, hessians = [], []
    for density in (0.01, 0.1, 1.0):
        X = sparse.csr_matrix(rng.normal(size=(500, 40)) * (rng.random((500, 40)) < density))
        y = np.arange(500) % 3
        problem = Problem(X, y, np.ones(500), n_classes=3, coupled=coupled)
        objective = problem.objective()
        sweeps.append(cost.sweep(objective))
        hessians.append(cost.hessian(objective, 500))
    assert sweeps == sorted(sweeps)
    assert hessians == sorted(hessians)
    dense = Problem(X.toarray(), y, np.ones(500), n_classes=3, coupled=coupled).objective()
    assert sweeps[-1] > cost.sweep(dense)
    assert hessians[0] < hessians[-1] <= cost.hessian(dense, 500)


@pytest.mark.parametrize("coupled", [True, False])
def test_a_sparse_matrix_without_entries_has_a_cost(coupled):
    X = sparse.csr_array((10, 4))
    objective = Problem(X, np.arange(10) % 3, np.ones(10), 3, coupled).objective()
    for part in (cost.sweep, cost.newton, cost.lbfgs, cost.change):
        assert 0 < part(objective) < np.inf
    assert cost.hessian(objective, 10) == 0


# ---- choices --------------------------------------------------------------------------------


def random_problem(n, p, K, coupled=True):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, p)), np.arange(n) % K
    return Problem(X, y, np.ones(n), n_classes=K, coupled=coupled)


def loaded(load, coupled=True):
    X, y = load(return_X_y=True)
    K = y.max() + 1
    return Problem(X, y.astype(np.int64), np.ones(y.size), n_classes=K, coupled=coupled)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("coupled", [True, False])
def test_small_data_stay_in_cache(load, coupled):
    objective = loaded(load, coupled).objective()
    assert fits_in_cache(objective)
    assert choose("auto", objective).name == "newton"


def test_spambase_stays_in_cache():
    objective = random_problem(4601, 57, 2).objective()
    assert fits_in_cache(objective)
    assert choose("auto", objective).name == "newton"


def test_digits_go_class_by_class():
    objective = loaded(load_digits).objective()
    assert not fits_in_cache(objective)
    assert choose("auto", objective).name == "lbfgs"
    assert cost.by_class(objective)
    assert not cost.exact(objective)
    assert cost.change(objective) == cost.class_change(objective)


def test_letter_goes_to_lbfgs():
    objective = random_problem(20_000, 16, 26).objective()
    assert not fits_in_cache(objective)
    assert choose("auto", objective).name == "lbfgs"
    assert not cost.exact(objective)


def test_letter_one_vs_all_stays_in_cache():
    objective = random_problem(20_000, 16, 26, coupled=False).objective()
    assert fits_in_cache(objective)
    assert choose("auto", objective).name == "newton"


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("p", [1, 10, 100])
def test_samples_are_for_a_quarter_of_8_rows_a_coordinate(p, coupled, monkeypatch):
    monkeypatch.setattr(cost, "SAMPLES_SAVE", 0.0)
    size = 3 * (p + 1) if coupled else p + 1
    assert cost.sampled(of_shape(32 * size, p, 3, coupled))
    assert not cost.sampled(of_shape(32 * size - 1, p, 3, coupled))


@pytest.mark.parametrize("coupled", [True, False])
def test_samples_are_for_rows_whose_newton_step_is_dear(coupled):
    """As rows grow, the answer changes once: where a step on all of them costs `SAMPLES_SAVE`."""
    shapes = [of_shape(1000 * 2**e, 5, 3, coupled) for e in range(12)]
    answers = [cost.sampled(shape) for shape in shapes]
    assert answers == sorted(answers)
    assert len(set(answers)) == 2
    assert answers == [cost.newton_step(shape) >= cost.SAMPLES_SAVE for shape in shapes]


@pytest.mark.parametrize("coupled", [True, False])
def test_exact_hessians_are_for_few_coordinates(coupled):
    """As features grow, the answer changes once."""
    answers = [cost.exact(of_shape(10**5, p, 3, coupled)) for p in (1, 3, 10, 30, 100, 300, 1000)]
    assert answers == sorted(answers, reverse=True)
    assert answers[0]
    assert not answers[-1]


def test_outputs_are_taken_one_by_one_where_all_at_once_cost_more():
    assert not cost.by_class(of_shape(10_000, 5, 3))
    assert cost.by_class(of_shape(10_000, 100, 20))
    assert cost.by_class(of_shape(10_000, 1000, 3))  # 3003 rows are no Hessian to factor
    assert cost.by_class(of_shape(10_000, LARGEST_BLOCK - 1, 3))
    assert not cost.by_class(of_shape(10_000, LARGEST_BLOCK, 3))  # nor is one class's
    assert not cost.by_class(of_shape(10_000, 1000, 100))  # nor are so many


@pytest.mark.parametrize("K", [1, 3])
def test_uncoupled_outputs_have_rows_of_their_own_where_samples_help(K):
    assert not cost.by_class(of_shape(10_000, 100, K, coupled=False))  # few features
    assert cost.by_class(of_shape(10_000, 200, K, coupled=False))
    assert not cost.by_class(of_shape(2000, 200, K, coupled=False))  # all rows
    assert not cost.by_class(of_shape(10_000, LARGEST_BLOCK, K, coupled=False))


def test_by_class_only_where_that_can_be_factored():
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled)
        if not can_factor_by_class(objective):
            assert not cost.by_class(objective)
        elif not can_factor(objective):
            assert cost.by_class(objective)


def test_stages_are_as_long_as_their_change_is_dear():
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled)
        ratio = cost.change(objective) / cost.sweep(objective)
        expected = int(np.clip(ratio, 8, 200)) if can_factor_by_class(objective) else 200
        assert cost.stage(objective, 8, 200) == expected


def test_a_change_is_made_of_the_rows_that_it_is_made_of():
    for n, p, K, coupled in SHAPES:
        objective = of_shape(n, p, K, coupled)
        whole = cost.hessian(objective, hessian_sample(objective)) + cost.factorisation(objective)
        assert cost.whole_change(objective) == whole
        assert cost.change(objective) in (whole, cost.class_change(objective))


def test_small_problems_are_newton_s_even_beyond_the_cache():
    """As long as a step costs no more than the sweeps it saves."""
    objective = make_problem("softmax", "none").objective()
    assert not fits_in_cache(objective)
    assert cost.newton(objective) <= cost.lbfgs(objective)
    assert choose("auto", objective).name == "newton"


# ---- classes' own Hessians ------------------------------------------------------------------


def test_classes_own_hessians_cost_what_their_entries_and_factors_do():
    X = sparse.random(300, 20, density=0.2, format="csr", random_state=0)
    y = np.arange(300) % 3
    objective = Problem(X, y, np.ones(300), n_classes=3, coupled=True).objective()
    support = np.random.default_rng(0).random((3, 21)) < 0.5
    support[:, 20] = True
    found = cost.class_hessians(objective, support)
    stored = X.toarray() != 0
    pairs = sum(stored[:, own].mean(axis=0).sum() ** 2 * 300 / 2 for own in support[:, :20])
    factors = (support.sum(axis=1) ** 3).sum() / 3
    np.testing.assert_allclose(found, cost.PLACE * pairs + cost.FACTORS * factors)
    fewer = support.copy()
    fewer[1, :10] = False
    assert cost.class_hessians(objective, fewer) < found
