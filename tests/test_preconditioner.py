"""Changes of variables: in the new ones F is round, and what they say of F is true."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy import sparse

from sk_softmax import _factor
from sk_softmax._factor import JITTER, Inverses, Triangles
from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._preconditioner import rows as preconditioner_rows
from sk_softmax._preconditioner.changes import Centring, Diagonal, Factor, Kronecker
from sk_softmax._preconditioner.make import (
    can_factor,
    can_factor_by_class,
    diagonal,
    factor,
    factor_by_class,
    kronecker,
    null_curvature,
    without_factor,
)
from sk_softmax._preconditioner.rows import (
    LARGEST_SAMPLE,
    class_sample,
    hessian_sample,
    important_rows,
    residual_sizes,
    stratified_rows,
)
from sk_softmax._solvers import cost, samples
from sk_softmax._solvers.newton import newton_steps
from sk_softmax._solvers.samples import ITERATIONS, NOISE, rough_start
from sk_softmax._solvers.solution import Control

over_losses = pytest.mark.parametrize("loss", LOSSES)
over_storage = pytest.mark.parametrize("storage", ["C", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)
over_units = pytest.mark.parametrize("units", [0, 8], ids=["same units", "other units"])
FORMS = {"inverses": Inverses, "triangles": Triangles}


# ---- changes of variables -------------------------------------------------------------------


def in_other_units(problem):
    """The problem with its features scaled and moved far from 0, as users' columns are."""
    scale, shift = np.array([1e-3, 1.0, 1e5, 10.0]), np.array([1.0, -30.0, 1e4, 0.0])
    X = problem.dense() * scale + (0 if sparse.issparse(problem.X) else shift)
    store = sparse.csr_matrix if sparse.issparse(problem.X) else np.asarray
    return replace(problem, X=store(X))


def diagonal_at(objective, point):
    return diagonal(objective, objective.logit_state(point))


@over_losses
@over_intercepts
def test_step_and_pull_are_adjoint(loss, fit_intercept):
    problem = in_other_units(make_problem(loss, fit_intercept=fit_intercept))
    objective = problem.objective()
    point, gradient = problem.points(2)
    for make in (factor, factor_by_class, kronecker, diagonal_at):
        is_adjoint(make(objective, 1e-6 * point), point, gradient)


def is_adjoint(change, point, gradient):
    """Whether (M u)' gradient = u' (M' gradient)."""
    like = change.pull(gradient)
    u = np.random.default_rng(0).normal(size=like.shape)
    step = change.step(u)
    assert step.shape == point.shape
    np.testing.assert_allclose((step * gradient).sum(), (u * like).sum(), rtol=1e-9)


def matrix_of(change, shape):
    """M as a matrix from all entries of u to all of a step."""
    u_shape = change.pull(np.zeros(shape)).shape
    units = np.eye(shape[0] * shape[1])
    return np.array([change.step(u.reshape(u_shape)).ravel() for u in units]).T


def stepped(change, shape):
    """M M' as a matrix: from gradients to the steps against them."""
    units = np.eye(shape[0] * shape[1])
    return np.array([change.step(change.pull(g.reshape(shape))).ravel() for g in units]).T


@over_intercepts
def test_centring_and_its_inverse_and_transpose(fit_intercept):
    rng = np.random.default_rng(0)
    center = rng.normal(size=4) if fit_intercept else np.zeros(4)
    centring = Centring(center)
    point, gradient = rng.normal(size=(2, 3, 4 + fit_intercept))
    np.testing.assert_allclose(centring.undo(centring.apply(point)), point, rtol=1e-13)
    if fit_intercept:
        np.testing.assert_allclose(
            centring.apply(point)[:, 4], point[:, 4] + point[:, :4] @ center, rtol=1e-13
        )
    there = (centring.undo(point.copy()) * gradient).sum()
    np.testing.assert_allclose((point * centring.pull(gradient)).sum(), there, rtol=1e-12)


@over_losses
@over_storage
@over_intercepts
@pytest.mark.parametrize(
    ("penalty", "form"), [("l2", "inverses"), ("l2", "triangles"), ("none", "inverses")]
)
@over_units
def test_a_factor_s_step_solves_the_newton_system(
    loss, storage, fit_intercept, penalty, form, units, monkeypatch
):
    """H step = gradient, for a gradient of F and its Hessian, both from the twin."""
    monkeypatch.setattr(_factor, "SMALL", 0 if form == "triangles" else 10**6)
    problem = make_problem(loss, penalty, storage, fit_intercept)
    if units:
        problem = in_other_units(problem)
    objective = problem.objective()
    point = objective.null_point()
    change = factor(objective, point)
    assert change.exact
    assert type(change.blocks) is FORMS[form]
    assert change.jitter == (JITTER if penalty == "l2" else 0.0)
    solves_newton_system(problem, change, point)


def solves_newton_system(problem, change, point):
    """Whether the step from ``change`` solves H step = gradient, H and its decrement the twin's."""
    objective = problem.objective()
    _, gradient = objective.smooth(point)
    step = change.step(change.pull(gradient))
    size = step.size // objective.n_problems
    for H, v, g in zip(
        problem.hessian(point), step.reshape(-1, size), gradient.reshape(-1, size), strict=True
    ):
        np.testing.assert_allclose(H @ v, g, rtol=1e-6, atol=1e-8 * np.abs(H * v).max())
    np.testing.assert_allclose(
        (step * gradient).sum() / 2, problem.decrement(point).sum(), rtol=1e-6
    )


@pytest.mark.parametrize("loss", ["softmax", "one-vs-all", "binary"])
@over_storage
@over_intercepts
@pytest.mark.parametrize("penalty", ["l2", "none"])
def test_the_kronecker_form_is_exact_at_the_null_model(
    loss, storage, fit_intercept, penalty, monkeypatch
):
    monkeypatch.setattr(preconditioner_make, "ROWS_A_FEATURE", 1000)  # all rows
    problem = make_problem(loss, penalty, storage, fit_intercept)
    objective = problem.objective()
    null = objective.null_point()
    solves_newton_system(problem, kronecker(objective, null), null)


@over_losses
def test_the_kronecker_form_is_near_the_hessian_elsewhere_and_on_a_sample(loss, monkeypatch):
    """In its variables the Hessian's eigenvalues spread far less than before."""
    problem = make_problem(loss, n=2000)
    X = problem.X @ np.linalg.cholesky(np.eye(4) + 99 * np.ones((4, 4)))
    problem = replace(problem, X=X)
    objective = problem.objective()
    (point,) = problem.points(1, scale=0.05)
    hessians = problem.hessian(point)
    flat = int(problem.softmax)  # the shift of all intercepts

    def spread(H):
        values = np.linalg.eigvalsh(H)[flat:]
        return values[-1] / values[0]

    for rows_a_feature in (50, 10**6):
        monkeypatch.setattr(preconditioner_make, "ROWS_A_FEATURE", rows_a_feature)
        M = matrix_of(kronecker(objective, point), problem.shape)
        for k, H in enumerate(hessians):
            own = slice(k * len(H), (k + 1) * len(H))
            assert spread(M[own, own].T @ H @ M[own, own]) < 4
            assert spread(H) > 100


@over_losses
def test_without_a_factor_changes_go_by_class_then_by_covariance_then_by_coordinate(
    loss, monkeypatch
):
    problem = make_problem(loss)
    objective = problem.objective()

    def kind():
        change = without_factor(objective, objective.null_point())
        assert not change.exact
        return type(change)

    assert kind() is Factor
    assert without_factor(objective, objective.null_point()).by_class == problem.softmax
    entries = problem.shape[0] * 25
    for name, enough in (("LARGEST_BLOCK", 5), ("LARGEST_BLOCKS", entries)):
        with monkeypatch.context() as patch:
            patch.setattr(preconditioner_make, name, enough)
            assert can_factor_by_class(objective)
            assert kind() is Factor
            patch.setattr(preconditioner_make, name, enough - 1)
            assert not can_factor_by_class(objective)
            assert kind() is Kronecker
            patch.setattr(preconditioner_make, "LARGEST_COVARIANCE", 3)
            assert kind() is Diagonal


@over_losses
@over_storage
@over_intercepts
def test_the_diagonal_is_that_of_the_hessian_at_the_point(loss, storage, fit_intercept):
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    (point,) = problem.points(1)
    change = diagonal_at(objective, point)
    H = objective.hessian(point)
    exact = np.einsum("mdd->md", H).reshape(problem.shape).copy()
    exact[:, :4] += objective.lambda2[0]
    np.testing.assert_allclose(change.scale, 1 / np.sqrt(exact), rtol=1e-12)


@over_intercepts
def test_without_a_penalty_no_step_shifts_a_feature_over_all_classes(fit_intercept):
    """What F does not see stays as it is, whatever the feature's units."""
    problem = in_other_units(make_problem("softmax", "none", fit_intercept=fit_intercept))
    objective = problem.objective()
    change = factor(objective, objective.null_point())
    _, gradient = objective.smooth(objective.null_point())
    step = change.step(change.pull(gradient))
    assert (np.abs(step.sum(axis=0)) <= 1e-6 * np.abs(step).max(axis=0)).all()


@over_losses
@over_storage
@over_intercepts
def test_null_curvature_is_the_hessian_s_diagonal_at_the_null_model(loss, storage, fit_intercept):
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    H = objective.hessian(objective.null_point())
    exact = np.einsum("mdd->md", H).reshape(problem.shape)
    exact[:, :4] += objective.lambda2[0]
    curvature = null_curvature(objective)
    assert (curvature > 0).all()
    # balanced problems: an estimate with the weights of all, which is enough
    np.testing.assert_allclose(curvature, exact, rtol=0.5 if problem.balanced else 1e-10)


@over_intercepts
def test_null_curvature_of_constant_and_empty_features_is_positive(fit_intercept):
    problem = make_problem("softmax", "none", fit_intercept=fit_intercept)
    X = problem.X.copy()
    X[:, 0], X[:, 1] = 0.0, 1e8 / 3
    objective = replace(problem, X=X).objective()
    curvature = null_curvature(objective)
    assert (curvature > 0).all()
    assert np.isfinite(curvature).all()
    change = diagonal_at(objective, objective.null_point())
    assert isinstance(change, Diagonal)
    assert np.isfinite(change.step(np.ones((1, curvature.size)))).all()


def test_the_limit_of_can_factor_is_that_of_one_problem(monkeypatch):
    softmax, ova = (make_problem(loss).objective() for loss in ("softmax", "one-vs-all"))
    for limit, softmax_can, ova_can in ((15, True, True), (14, False, True), (4, False, False)):
        monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", limit)
        assert can_factor(softmax) == softmax_can
        assert can_factor(ova) == ova_can


def test_a_factor_knows_what_it_is_of():
    change = factor(make_problem("one-vs-all").objective(), np.zeros((3, 5)))
    assert isinstance(change, Factor)
    assert change.blocks.M.shape == (3, 5, 5)
    assert change.shape == (3, 5)
    assert change.exact
    assert not change.coupled
    assert not change.by_class
    softmax = make_problem("softmax").objective()
    change = factor(softmax, np.zeros((3, 5)))
    assert change.blocks.M.shape == (1, 15, 15)
    assert change.exact
    assert change.coupled
    assert not change.by_class
    change = factor_by_class(softmax, np.zeros((3, 5)))
    assert change.blocks.M.shape == (3, 5, 5)
    assert change.shape == (3, 5)
    assert change.coupled
    assert change.by_class
    assert not change.exact


# ---- class by class -------------------------------------------------------------------------


def class_blocks(problem, point):
    """The diagonal blocks of F's Hessian in (coef, intercept), one an output, (K, q, q)."""
    K, q = problem.shape
    hessians = problem.hessian(point)
    if not problem.softmax:
        return np.array(hessians)
    return np.einsum("kjkr->kjr", hessians[0].reshape(K, q, K, q))


def without_shift(step):
    """What is left of (K, q) without the mean over classes."""
    return step - step.mean(axis=0)


@over_losses
@over_storage
@over_intercepts
@over_units
def test_by_class_the_blocks_are_those_of_the_hessian(loss, storage, fit_intercept, units):
    """In the variables of its block each output's own curvature is the identity."""
    problem = make_problem(loss, "l2", storage, fit_intercept)
    if units:
        problem = in_other_units(problem)
    objective = problem.objective()
    point = objective.null_point()
    change = factor_by_class(objective, point)
    assert change.jitter == JITTER
    K, q = problem.shape
    for k, H in enumerate(class_blocks(problem, point)):
        columns = []
        for unit in np.eye(q):
            u = np.zeros((K, q))
            u[k] = unit
            columns.append(change.centring.undo(change.blocks.times(u))[k])
        M = np.array(columns).T
        np.testing.assert_allclose(M.T @ H @ M, np.eye(q), atol=1e-6)


@over_intercepts
@pytest.mark.parametrize("penalty", ["l2", "none"])
@pytest.mark.parametrize("form", FORMS)
def test_by_class_a_step_solves_each_class_s_system_and_sums_to_0_over_classes(
    fit_intercept, penalty, form, monkeypatch
):
    """step(pull(g)) = P B^-1 P g, B the blocks and P the projection that takes the shift out.

    Without a penalty a class's block is regular all the same: it sees the shift.
    """
    monkeypatch.setattr(_factor, "SMALL", 0 if form == "triangles" else 10**6)
    problem = make_problem("softmax", penalty, fit_intercept=fit_intercept)
    objective = problem.objective()
    (point,) = problem.points(1)
    change = factor_by_class(objective, point)
    blocks = class_blocks(problem, point)
    (gradient,) = problem.points(1, seed=1)
    exact = without_shift(
        np.array(
            [np.linalg.solve(H, g) for H, g in zip(blocks, without_shift(gradient), strict=True)]
        )
    )
    step = change.step(change.pull(gradient))
    np.testing.assert_allclose(step, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())
    u = np.random.default_rng(0).normal(size=change.pull(gradient).shape)
    for any_step in (step, change.step(u)):
        assert np.abs(any_step.sum(axis=0)).max() <= 1e-13 * np.abs(any_step).max()


def test_by_class_a_shift_of_all_classes_is_not_seen():
    problem = make_problem("softmax")
    objective = problem.objective()
    change = factor_by_class(objective, objective.null_point())
    _, gradient = objective.smooth(objective.null_point())
    shift = np.random.default_rng(0).normal(size=5)
    pulled = change.pull(gradient)
    np.testing.assert_allclose(change.pull(gradient + shift), pulled, rtol=0, atol=1e-13)
    assert np.abs(pulled).max() > 0.1


@over_losses
@over_intercepts
def test_by_class_no_gradient_is_stepped_along_upwards(loss, fit_intercept):
    """step(pull(g)) . g >= 0, symmetric, and 0 for what is not seen alone."""
    problem = make_problem(loss, fit_intercept=fit_intercept)
    objective = problem.objective()
    (point,) = problem.points(1)
    S = stepped(factor_by_class(objective, point), problem.shape)
    np.testing.assert_allclose(S, S.T, atol=1e-12 * np.abs(S).max())
    values = np.linalg.eigvalsh(S)
    flat = problem.shape[1] if problem.softmax else 0
    assert np.abs(values[:flat]).max(initial=0.0) <= 1e-12 * values[-1]
    assert values[flat] > 1e-4 * values[-1]


@over_intercepts
@pytest.mark.parametrize("K", [3, 5])
def test_by_class_steps_are_newton_s_times_a_number_for_equal_classes_at_the_null_model(
    K, fit_intercept
):
    """There H is (1/K) (1 - 1/K) (I - the rest) x covariance: a class says 1 - 1/K of all."""
    n = 20 * K
    X = make_problem("softmax", n=n, n_classes=K).X
    problem = make_problem("softmax", "none", fit_intercept=fit_intercept, n=n, n_classes=K)
    y = np.arange(n) % K
    problem = replace(problem, X=X, y=y, s=np.ones(n))
    objective = problem.objective()
    null = objective.null_point()
    change = factor_by_class(objective, null)
    _, gradient = objective.smooth(null)
    step = change.step(change.pull(gradient)) * (K - 1) / K
    (H,) = problem.hessian(null)
    np.testing.assert_allclose(H @ step.ravel(), gradient.ravel(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "softmax"])
def test_outputs_without_coupling_are_factored_as_they_are(loss):
    """Then the blocks are the problems, and there is no shift to take out."""
    problem = make_problem(loss)
    objective = problem.objective()
    (point,) = problem.points(1)
    change = factor_by_class(objective, point)
    assert not change.by_class
    solves_newton_system(problem, change, point)


def large_problem(loss, storage="C", n=6000):
    """More rows than a class's block takes of a wide X."""
    return make_problem(loss, "l2", storage, n=n)


@pytest.fixture
def wide(monkeypatch):
    """Every X counts as wide: a class's block is made of some of the rows."""
    monkeypatch.setattr(preconditioner_rows, "NARROW", 0)


@over_losses
@over_storage
@pytest.mark.parametrize("stored", [2**22, 9000], ids=["all seen", "some seen"])
def test_by_class_blocks_of_important_rows_are_near_those_of_all(
    loss, storage, stored, wide, monkeypatch
):
    """In the sample's variables each output's own curvature is nearly the identity."""
    monkeypatch.setattr(preconditioner_rows, "STORED", stored)
    problem = large_problem(loss, storage)
    objective = problem.objective()
    assert class_sample(objective) == 2000
    (point,) = problem.points(1)
    change = factor_by_class(objective, point)
    assert not change.exact
    K, q = problem.shape
    for k, H in enumerate(class_blocks(problem, point)):
        u = np.zeros((q, K, q))
        u[:, k] = np.eye(q)
        M = np.array([change.centring.undo(change.blocks.times(v))[k] for v in u]).T
        seen = np.linalg.eigvalsh(M.T @ H @ M)
        assert 0.75 < seen.min() < seen.max() < 1.35


@over_losses
def test_by_class_a_sample_of_the_rows_is_the_same_every_time(loss, wide):
    problem = large_problem(loss)
    (point,) = problem.points(1)
    first, second = (
        stepped(factor_by_class(problem.objective(), point), problem.shape) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_a_class_sample_is_all_rows_unless_many_fewer_do(monkeypatch):
    assert class_sample(large_problem("softmax").objective()) == 6000  # few features
    monkeypatch.setattr(preconditioner_rows, "NARROW", 4)
    assert class_sample(large_problem("softmax").objective()) == 2000
    assert class_sample(large_problem("softmax", n=4000).objective()) == 4000
    monkeypatch.setattr(preconditioner_rows, "CLASS_ROWS_A_FEATURE", 500)
    assert class_sample(large_problem("softmax").objective()) == 2500
    monkeypatch.setattr(preconditioner_rows, "CLASS_ROWS_A_FEATURE", 600)
    assert class_sample(large_problem("softmax").objective()) == 6000


# ---- rows drawn by their curvature ----------------------------------------------------------


def own_curvature(problem, point):
    """Second derivatives of each row's weighted loss by each logit, (K, n)."""
    P = problem.probability(point).astype(float)
    weights = problem.weights[:, None]
    if not problem.softmax:
        weights = weights * np.where(problem.y[:, None] == problem.columns, *problem.sides)
    return (weights * P * (1 - P)).T


@over_losses
def test_important_rows_weigh_what_all_do_on_average(loss, monkeypatch):
    """Unbiased: over many draws, and nearly so in each; for totals as for Hessians."""
    problem = large_problem(loss, n=3000)
    objective = problem.objective()
    (point,) = problem.points(1)
    curvature = own_curvature(problem, point)
    A = problem.features()
    totals = np.zeros((20, problem.shape[0]))
    grams = np.zeros((problem.shape[0], 5, 5))
    for seed in range(20):
        monkeypatch.setattr(preconditioner_rows, "SEED", seed)
        for k, (rows, weight) in important_rows(objective, point, 600).items():
            totals[seed, k] = weight.sum() / curvature[k].sum()
            grams[k] += (A[rows] * weight[:, None]).T @ A[rows] / 20
    assert np.abs(totals - 1).max() < 0.2
    np.testing.assert_allclose(totals.mean(axis=0), 1.0, atol=0.02)
    for gram, d in zip(grams, curvature, strict=True):
        whole = (A * d[:, None]).T @ A
        scale = np.sqrt(whole.diagonal())
        np.testing.assert_allclose(
            gram / np.outer(scale, scale), whole / np.outer(scale, scale), atol=0.05
        )


@over_losses
@pytest.mark.parametrize("stored", [2**22, 3000], ids=["all seen", "some seen"])
def test_important_rows_are_about_as_many_as_wanted_ascending_and_always_the_same(
    loss, stored, monkeypatch
):
    monkeypatch.setattr(preconditioner_rows, "STORED", stored)
    problem = large_problem(loss, n=3000)
    (point,) = problem.points(1)
    first, second = (important_rows(problem.objective(), point, 300) for _ in range(2))
    assert list(first) == list(range(problem.shape[0]))
    for k, (rows, weight) in first.items():
        assert 150 < rows.size < 400
        assert (np.diff(rows) > 0).all()
        assert (weight > 0).all()
        np.testing.assert_array_equal(rows, second[k][0])
        np.testing.assert_array_equal(weight, second[k][1])


def test_important_rows_that_are_all_rows_weigh_what_they_do():
    problem = make_problem("softmax")
    (point,) = problem.points(1)
    chosen = important_rows(problem.objective(), point, 10**9)
    for k, exact in enumerate(own_curvature(problem, point)):
        rows, weight = chosen[k]
        np.testing.assert_array_equal(rows, np.arange(60))
        np.testing.assert_allclose(weight, exact, rtol=1e-12)


def test_rows_that_a_model_is_sure_of_are_not_drawn(wide):
    """And where it is sure of all, there is no curvature, and nothing breaks."""
    problem = large_problem("one-vs-all")
    point = np.zeros(problem.shape)
    point[0, -1] = 800.0
    objective = problem.objective()
    chosen = important_rows(objective, point, 300)
    assert chosen[0][0].size == 0
    assert chosen[1][0].size > 200
    change = factor_by_class(objective, point)
    step = change.step(change.pull(np.ones(problem.shape)))
    assert np.isfinite(step).all()


# ---- samples of the rows --------------------------------------------------------------------


def uneven(n=2000, counts=(1, 3, 40), seed=0, loss="softmax"):
    """Three small classes and two that share the other rows; rows shuffled."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.repeat(np.arange(3), counts), rng.integers(3, 5, n - sum(counts))])
    rng.shuffle(y)
    problem = make_problem(loss, n=n, n_classes=5)
    return replace(problem, y=y)


def some_point(problem, given):
    """A point, or None where residuals are to have no say."""
    return next(problem.points(1)) if given else None


over_given = pytest.mark.parametrize("given", [False, True], ids=["no point", "a point"])
over_coupled = pytest.mark.parametrize("loss", ["softmax", "balanced"])


@over_coupled
@over_given
@pytest.mark.parametrize("wanted", [1, 50, 500, 1900])
def test_stratified_rows_keep_the_weight_of_every_class(wanted, given, loss):
    problem = uneven(loss=loss)
    objective = problem.objective()
    rows, scale = stratified_rows(objective, wanted, some_point(problem, given))
    assert (np.diff(rows) > 0).all()
    assert rows.size <= 1.25 * wanted + 5 + 4 * np.sqrt(wanted)
    assert rows.size >= 0.5 * wanted  # chances beyond 1 are lost
    assert (scale > 0).all()
    y, s = problem.y, problem.weights
    np.testing.assert_allclose(np.bincount(y[rows], s[rows] * scale), np.bincount(y, s), rtol=1e-14)
    for k in range(5):
        own = y[rows] == k
        assert own.any()
        if (y == k).sum() <= wanted // 20:  # a quarter of an equal share
            assert own.sum() == (y == k).sum()
            np.testing.assert_array_equal(scale[own], 1.0)


@over_given
def test_stratified_rows_are_the_same_every_time(given):
    problem = uneven()
    point = some_point(problem, given)
    first, second = (stratified_rows(problem.objective(), 300, point) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@over_given
def test_stratified_rows_that_are_all_rows(given):
    """Where every row's chance is 1."""
    problem = uneven()
    rows, scale = stratified_rows(problem.objective(), 10**9, some_point(problem, given))
    np.testing.assert_array_equal(rows, np.arange(2000))
    np.testing.assert_array_equal(scale, 1.0)


@over_given
@pytest.mark.parametrize("storage", ["C", "F", "CSR"])
def test_stratified_rows_contain_those_far_from_the_others(storage, given):
    """They carry a large part of the curvature, and a sample without them says nothing of it."""
    problem = make_problem("softmax", n=2000)
    X = problem.X.copy()
    far = [3, 700, 1999]
    X[far] = np.random.default_rng(1).normal(size=(3, 4)) + 100.0
    store = {"C": np.ascontiguousarray, "F": np.asfortranarray, "CSR": sparse.csr_matrix}[storage]
    for units in (1.0, np.array([1e-6, 1.0, 1e6, 1.0])):
        objective = replace(problem, X=store(X * units)).objective()
        rows, scale = stratified_rows(objective, 200, some_point(problem, given))
        assert np.isin(far, rows).all()
        assert (scale[np.isin(rows, far)] < 2).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_stratified_rows_at_a_point_contain_those_that_it_has_wrong(loss):
    """Of classes that are nearly separable the others say little."""
    problem = make_problem(loss, n=2000)
    X = 0.01 * problem.X + (problem.y[:, None] == np.arange(4))
    wrong = [1990, 1995]
    y = problem.y.copy()
    y[wrong] = (y[wrong] + 1) % problem.n_classes
    problem = replace(problem, X=X, y=y)
    point = np.full(problem.shape, -20.0)
    point[np.arange(problem.shape[0]), problem.columns] = 40.0
    point[:, -1] = -10.0
    objective = problem.objective()
    rows, _ = stratified_rows(objective, 200, point)
    assert np.isin(wrong, rows).all()
    drawn, _ = stratified_rows(objective, 200)
    assert not np.isin(wrong, drawn).all()


@over_given
@pytest.mark.parametrize("constant", [0.0, 1.0, 1e9 / 3])
def test_stratified_rows_of_constant_features(constant, given):
    """All rows are alike: they are drawn by weight, as many as wanted."""
    problem = uneven()
    problem = replace(problem, X=np.full_like(problem.X, constant))
    point = np.zeros(problem.shape) if given else None
    rows, scale = stratified_rows(problem.objective(), 500, point)
    assert 200 < rows.size < 650
    y, s = problem.y, problem.weights
    np.testing.assert_allclose(np.bincount(y[rows], s[rows] * scale), np.bincount(y, s), rtol=1e-14)


@over_given
@pytest.mark.parametrize("columns", [slice(0, 1), slice(None)], ids=["one", "all"])
@pytest.mark.parametrize("power", [-150, -155, -160, -170])
def test_stratified_rows_of_features_whose_squares_vanish(power, columns, given):
    problem = uneven()
    X = problem.X.copy()
    X[:, columns] *= 10.0**power
    problem = replace(problem, X=X)
    point = np.zeros(problem.shape) if given else None
    rows, scale = stratified_rows(problem.objective(), 500, point)
    assert 200 < rows.size < 650
    assert np.isfinite(scale).all()


def test_stratified_rows_where_no_residual_is_left():
    """Nothing is wrong by as much as a float shows: the other chances remain."""
    problem = make_problem("softmax", n=2000)
    X = problem.X.copy()
    X[:, 0] = problem.y
    problem = replace(problem, X=X)
    point = np.zeros(problem.shape)
    k = np.arange(3.0)
    point[:, 0], point[:, -1] = 4000 * k, -2000 * k**2
    objective = problem.objective()
    assert not residual_sizes(objective, point).any()
    rows, _ = stratified_rows(objective, 300, point)
    assert rows.size > 100


def test_a_sampled_hessian_is_near_the_whole_one():
    objective = uneven(n=20_000).objective()
    point = objective.null_point()
    whole, sampled = (factor(objective, point, rows) for rows in (None, 5000))
    assert whole.exact
    assert not sampled.exact
    # in the sample's variables the whole Hessian is nearly the identity
    back = np.linalg.inv(matrix_of(whole, (5, 5)))
    M = matrix_of(sampled, (5, 5))
    seen = np.linalg.eigvalsh(M.T @ back.T @ back @ M)
    assert 0.7 < seen.min() < seen.max() < 1.4


@pytest.mark.parametrize(
    ("n", "K", "p"),
    [(60, 3, 4), (3000, 3, 4), (100_000, 3, 20), (30_000, 10, 149), (10**6, 10, 50)],
)
def test_a_hessian_sample_has_enough_rows_or_all(n, K, p):
    class Sizes:
        hessian_size = K * (p + 1)
        design = type("Design", (), {"n": n})

    objective = Sizes()
    rows = hessian_sample(objective)
    assert rows <= n
    assert rows == n or rows >= max(2000, 10 * K * (p + 1), min(n // 4, LARGEST_SAMPLE))
    assert rows == n or rows < 0.7 * n
    if n <= 2000:
        assert rows == n


# ---- single precision -----------------------------------------------------------------------


def approximations(problem):
    """Samples' factors and factors by class, in double precision and where single was asked for."""
    objective = problem.objective()
    point = objective.null_point()
    for make in (partial(factor, rows_wanted=800), factor_by_class):
        yield make(objective, point), make(objective, point, single=True)


def of_many_features(loss, change_X=lambda X: X):
    """1000 rows with 70 features: no inverses are taken."""
    rng = np.random.default_rng(3)
    problem = make_problem(loss, "l2")
    y = np.arange(1000) % problem.y.max() + rng.integers(0, 2, 1000)
    X = change_X(rng.normal(size=(1000, 70)) + 30.0)
    return replace(problem, X=X, y=y, s=np.ones(1000), C=1e4)


@over_losses
def test_approximate_hessians_are_made_in_single_precision(loss):
    gradient = np.random.default_rng(4).normal(size=(*make_problem(loss, "l2").shape[:1], 71))
    if loss == "softmax":  # which sees no shift of all classes
        gradient -= gradient.mean(axis=0)
    for double, single in approximations(of_many_features(loss)):
        assert single.single
        assert not double.single
        one, other = (change.step(change.pull(gradient)) for change in (single, double))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
        assert not np.array_equal(one, other)


BLURRED = {
    "collinear features": lambda X: np.column_stack([X, X[:, :1] + 1e-3 * X[:, 1:2]]),
    "squares that overflow": lambda X: X * 1e25,
}


@over_losses
@pytest.mark.parametrize("why", BLURRED)
def test_hessians_that_single_precision_would_blur_are_made_in_double(loss, why):
    for double, single in approximations(of_many_features(loss, BLURRED[why])):
        assert not single.single
        assert isinstance(single.blocks, Triangles)
        for one, other in zip(single.blocks.L, double.blocks.L, strict=True):
            np.testing.assert_array_equal(one, other)


@over_losses
def test_without_a_penalty_hessians_are_made_in_double(loss):
    for _, single in approximations(replace(of_many_features(loss), C=np.inf)):
        assert not single.single


# ---- starts from samples of the rows --------------------------------------------------------


class Recorded:
    """Minimises by Newton steps, and remembers the runs that it was given."""

    def __init__(self):
        self.runs, self.starts = [], []

    def __call__(self, run):
        self.runs.append(run)
        self.starts.append(run.point.copy())
        newton_steps(run)


@pytest.fixture
def parts_are_worth_it(monkeypatch):
    """However little a Newton step on all rows costs."""
    monkeypatch.setattr(cost, "SAMPLES_SAVE", 0.0)


over_parts = pytest.mark.usefixtures("parts_are_worth_it")


def control_for(objective, max_iter=100):
    return Control(1e-8, np.full(objective.n_problems, 1e-10), max_iter)


@over_parts
@over_losses
@pytest.mark.parametrize("storage", ["C", "F", "CSR"])
def test_a_rough_start_is_as_good_as_its_parts_can_be(loss, storage):
    """Two parts, each begun where the one before ended, and ended at its own noise."""
    problem = make_problem(loss, "l2", storage, n=4000)
    objective = problem.objective()
    null, minimise = objective.null_point(), Recorded()
    point, iterations = rough_start(objective, control_for(objective), null, minimise)
    sixteenth, quarter = minimise.runs
    size = objective.hessian_size
    assert 125 < sixteenth.objective.design.n < 375
    assert 500 < quarter.objective.design.n < 1250
    for run in minimise.runs:
        assert run.control.tol == np.inf
        np.testing.assert_allclose(run.control.goal, NOISE * size / run.objective.design.n)
        assert run.control.max_iter <= ITERATIONS
        np.testing.assert_allclose(run.objective.target.s.sum(), 1.0, rtol=1e-12)
        np.testing.assert_array_equal(run.objective.lambda2, objective.lambda2)
        assert not run.open.size
    np.testing.assert_array_equal(minimise.starts[0], null)
    np.testing.assert_array_equal(minimise.starts[1], sixteenth.point)
    np.testing.assert_array_equal(point, quarter.point)
    assert iterations == sixteenth.iterations + quarter.iterations > 0
    assert (problem.decrement(point) <= size / quarter.objective.design.n).all()
    assert (problem.decrement(point) < 0.1 * problem.decrement(null)).all()


@over_parts
def test_later_parts_are_drawn_by_what_the_ones_before_leave_wrong(monkeypatch):
    points = []

    def drawn(objective, wanted, point=None):
        points.append(point)
        return stratified_rows(objective, wanted, point)

    monkeypatch.setattr(samples, "stratified_rows", drawn)
    objective = make_problem("softmax", n=4000).objective()
    minimise = Recorded()
    rough_start(objective, control_for(objective), objective.null_point(), minimise)
    assert points[0] is None
    np.testing.assert_array_equal(points[1], minimise.runs[0].point)


@over_parts
def test_a_rough_start_counts_what_its_parts_read():
    objective = make_problem("softmax", n=4000).objective()
    minimise = Recorded()
    rough_start(objective, control_for(objective), objective.null_point(), minimise)
    assert objective.counts["rows"] >= sum(run.objective.design.n for run in minimise.runs)
    assert objective.counts["rows"] < 4 * 4000


@over_parts
@pytest.mark.parametrize("max_iter", [0, 1, 2, 3])
def test_a_rough_start_makes_no_more_iterations_than_allowed(max_iter):
    objective = make_problem("softmax", n=4000).objective()
    null = objective.null_point()
    point, iterations = rough_start(objective, control_for(objective, max_iter), null, newton_steps)
    assert iterations == max_iter
    assert (point == null).all() == (max_iter == 0)


@over_parts
@pytest.mark.parametrize(("n", "fractions"), [(479, []), (480, [4]), (1919, [4]), (1920, [16, 4])])
def test_parts_have_8_rows_a_coordinate_or_are_left_out(n, fractions):
    objective = make_problem("softmax", n=n).objective()
    null, minimise = objective.null_point(), Recorded()
    point, iterations = rough_start(objective, control_for(objective), null, minimise)
    assert len(minimise.runs) == len(fractions)
    assert (iterations == 0) == (not fractions)
    if not fractions:
        assert point is null


@over_parts
def test_no_rough_start_without_a_penalty_or_a_hessian(monkeypatch):
    """Parts may be separable where all is not, and without a factor they end too early."""

    def never(run):
        raise AssertionError

    objective = make_problem("softmax", "none", n=4000).objective()
    null = objective.null_point()
    point, iterations = rough_start(objective, control_for(objective), null, never)
    assert point is null
    assert iterations == 0
    monkeypatch.setattr(preconditioner_make, "LARGEST_HESSIAN", 14)
    objective = make_problem("softmax", n=4000).objective()
    null = objective.null_point()
    point, iterations = rough_start(objective, control_for(objective), null, never)
    assert point is null
    assert iterations == 0


@over_parts
def test_no_class_is_missing_from_a_part():
    problem = uneven(n=8000)
    objective = problem.objective()
    minimise = Recorded()
    point, _ = rough_start(objective, control_for(objective), objective.null_point(), minimise)
    assert len(minimise.runs) == 2
    for run in minimise.runs:
        part = run.objective.target
        np.testing.assert_allclose(
            np.bincount(part.y, part.s), np.bincount(problem.y, problem.weights), rtol=1e-12
        )
        np.testing.assert_array_equal(run.objective.class_sums.shape, objective.class_sums.shape)
    assert np.isfinite(point).all()
