"""Changes of variables: in the new ones F is round, and what they say of F is true."""

from dataclasses import replace

import numpy as np
import pytest
from problems import LOSSES, make_problem
from problems import as_in_a_fit as _as_in_a_fit  # noqa: F401  (an autouse fixture)
from scipy import sparse

from sk_softmax import _preconditioner
from sk_softmax._preconditioner import (
    JITTER,
    Centring,
    Diagonal,
    Factor,
    Kronecker,
    can_factor,
    diagonal,
    factor,
    hessian_sample,
    inverse_factor,
    kronecker,
    null_curvature,
    pseudo_inverse_factor,
    stratified_rows,
    without_factor,
)

EPS = np.finfo(float).eps
over_losses = pytest.mark.parametrize("loss", LOSSES)
over_storage = pytest.mark.parametrize("storage", ["C", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)
over_units = pytest.mark.parametrize("units", [0, 8], ids=["same units", "other units"])
SPECTRA = {
    "round": [3.0, 2.0, 1.0, 1.0, 0.5, 0.1],
    "oblong": [1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10],
    "nearly singular": [1.0, 1.0, 1e-3, 1e-13, 1e-14, 1e-15],
    "singular": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
    "of rank 1": [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}


def with_spectrum(values, units, seed=0):
    """A symmetric matrix with these eigenvalues, then in units 10^-units to 10^units."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    H = (Q * values) @ Q.T * np.outer(*(10.0 ** rng.uniform(-units, units, len(values)),) * 2)
    return (H + H.T) / 2


def assert_equal_in_units_of(H, A, B, tolerance):
    """A = B where each coordinate is measured in units that make H's diagonal 1."""
    scale = np.sqrt(H.diagonal())
    np.testing.assert_allclose(
        A / np.outer(scale, scale), B / np.outer(scale, scale), atol=tolerance
    )


# ---- inverse factors ------------------------------------------------------------------------


@over_units
@pytest.mark.parametrize("spectrum", ["round", "oblong"])
def test_in_its_factor_s_variables_a_hessian_is_the_identity(spectrum, units):
    values = SPECTRA[spectrum]
    H = with_spectrum(values, units)
    M, jitter = inverse_factor(H)
    assert jitter == JITTER
    condition = max(values) / min(values)
    np.testing.assert_allclose(M.T @ H @ M, np.eye(6), atol=100 * EPS * condition + 10 * JITTER)


@over_units
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_factor_is_exact_for_the_hessian_with_its_jitter(spectrum, units):
    """Also where H is singular: then the jitter is all that there is in some directions."""
    H = with_spectrum(SPECTRA[spectrum], units)
    M, jitter = inverse_factor(H)
    assert JITTER <= jitter <= 1e-10
    back = np.linalg.inv(M)
    jittered = H + jitter * np.diag(H.diagonal())
    assert_equal_in_units_of(H, back.T @ back, jittered, 1e-14)


@over_units
def test_an_indefinite_matrix_costs_the_jitter_that_it_needs(units):
    H = with_spectrum([1.0, 1.0, 1.0, 1.0, 1.0, -1e-9], units)
    M, jitter = inverse_factor(H)
    assert 1e-10 < jitter < 1e-5
    back = np.linalg.inv(M)
    assert_equal_in_units_of(H, back.T @ back, H + jitter * np.diag(H.diagonal()), 1e-14)


@pytest.mark.parametrize(
    "inverse", [inverse_factor, lambda H: (pseudo_inverse_factor(H, np.zeros(6)), 0)]
)
def test_a_coordinate_without_curvature_is_left_out(inverse):
    H = with_spectrum(SPECTRA["round"], 3)
    H[2] = H[:, 2] = 0.0
    M, _ = inverse(H)
    assert not M[2].any()
    expected = np.eye(6)
    expected[2, 2] = 0.0
    np.testing.assert_allclose(M.T @ H @ M, expected, atol=1e-12)


def test_no_coordinates_are_factored_without_a_word(capfd):
    M, _ = inverse_factor(np.zeros((0, 0)))
    assert M.shape == (0, 0)
    assert capfd.readouterr() == ("", "")


@over_units
@pytest.mark.parametrize("spectrum", ["round", "oblong", "singular", "of rank 1"])
def test_a_pseudo_inverse_undoes_the_hessian_on_its_range(spectrum, units):
    values = SPECTRA[spectrum]
    H = with_spectrum(values, units)
    M = pseudo_inverse_factor(H, np.zeros(6))
    smallest = min(v for v in values if v > 0)
    assert_equal_in_units_of(H, H @ M @ M.T @ H, H, 100 * EPS / smallest)
    # each direction is seen as round, or not at all and never stepped along
    seen = np.linalg.eigvalsh(M.T @ H @ M)
    flat = values.count(0.0)
    np.testing.assert_allclose(seen, [0.0] * flat + [1.0] * (6 - flat), atol=100 * EPS / smallest)
    assert np.linalg.matrix_rank(M * np.sqrt(H.diagonal())[:, None], tol=1e-6) == 6 - flat


def test_a_diagonal_within_its_noise_counts_as_0():
    H = with_spectrum(SPECTRA["round"], 0)
    noise = np.zeros(6)
    noise[3] = H[3, 3]
    M = pseudo_inverse_factor(H, noise)
    assert not M[3].any()
    rest = np.delete(np.arange(6), 3)
    inner = np.ix_(rest, rest)
    np.testing.assert_allclose((M @ M.T)[inner], np.linalg.inv(H[inner]), rtol=1e-12)


# ---- changes of variables -------------------------------------------------------------------


def in_other_units(problem):
    """The problem with its features scaled and moved far from 0, as users' columns are."""
    scale, shift = np.array([1e-3, 1.0, 1e5, 10.0]), np.array([1.0, -30.0, 1e4, 0.0])
    X = problem.dense() * scale + (0 if sparse.issparse(problem.X) else shift)
    store = sparse.csr_matrix if sparse.issparse(problem.X) else np.asarray
    return replace(problem, X=store(X))


@over_losses
@over_intercepts
def test_step_and_pull_are_adjoint(loss, fit_intercept):
    problem = in_other_units(make_problem(loss, fit_intercept=fit_intercept))
    objective = problem.objective()
    point, gradient = problem.points(2)
    changes = [factor(objective, 1e-6 * point), diagonal(objective)]
    if problem.softmax:
        changes.append(kronecker(objective, 1e-6 * point))
    for change in changes:
        like = change.pull(gradient)
        u = np.random.default_rng(0).normal(size=like.shape)
        step = change.step(u)
        assert step.shape == point.shape
        np.testing.assert_allclose((step * gradient).sum(), (u * like).sum(), rtol=1e-9)


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
@pytest.mark.parametrize("penalty", ["l2", "none"])
@over_units
def test_a_factor_s_step_solves_the_newton_system(loss, storage, fit_intercept, penalty, units):
    """H step = gradient, for a gradient of F and its Hessian, both from the twin."""
    problem = make_problem(loss, penalty, storage, fit_intercept)
    if units:
        problem = in_other_units(problem)
    objective = problem.objective()
    point = objective.null_point()
    change = factor(objective, point)
    assert change.exact
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


@over_storage
@over_intercepts
@pytest.mark.parametrize("penalty", ["l2", "none"])
def test_the_kronecker_form_is_exact_at_the_null_model(
    storage, fit_intercept, penalty, monkeypatch
):
    monkeypatch.setattr(_preconditioner, "ROWS_A_FEATURE", 1000)  # all rows
    problem = make_problem("softmax", penalty, storage, fit_intercept)
    objective = problem.objective()
    null = objective.null_point()
    solves_newton_system(problem, kronecker(objective, null), null)


def test_the_kronecker_form_is_near_the_hessian_elsewhere_and_on_a_sample(monkeypatch):
    """In its variables the Hessian's eigenvalues spread far less than before."""
    problem = make_problem("softmax", n=2000)
    X = problem.X @ np.linalg.cholesky(np.eye(4) + 99 * np.ones((4, 4)))
    problem = replace(problem, X=X)
    objective = problem.objective()
    (point,) = problem.points(1, scale=0.05)
    (H,) = problem.hessian(point)

    def spread(H):
        values = np.linalg.eigvalsh(H)[1:]  # the first: the shift of all intercepts
        return values[-1] / values[0]

    for rows_a_feature in (50, 10**6):
        monkeypatch.setattr(_preconditioner, "ROWS_A_FEATURE", rows_a_feature)
        change = kronecker(objective, point)
        M = np.array([change.step(u[None]).ravel() for u in np.eye(15)]).T
        assert spread(M.T @ H @ M) < 4
        assert spread(H) > 100


@over_losses
def test_without_a_factor_softmax_takes_the_kronecker_form_and_others_a_diagonal(loss, monkeypatch):
    problem = make_problem(loss)
    objective = problem.objective()
    expected = Kronecker if problem.softmax else Diagonal
    assert type(without_factor(objective, objective.null_point())) is expected
    monkeypatch.setattr(_preconditioner, "LARGEST_COVARIANCE", 3)
    assert type(without_factor(objective, objective.null_point())) is Diagonal


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
    change = diagonal(objective)
    assert isinstance(change, Diagonal)
    assert np.isfinite(change.step(np.ones((1, curvature.size)))).all()


def test_the_limit_of_can_factor_is_that_of_one_problem(monkeypatch):
    softmax, ova = (make_problem(loss).objective() for loss in ("softmax", "one-vs-all"))
    for limit, softmax_can, ova_can in ((15, True, True), (14, False, True), (4, False, False)):
        monkeypatch.setattr(_preconditioner, "LARGEST_HESSIAN", limit)
        assert can_factor(softmax) == softmax_can
        assert can_factor(ova) == ova_can


# ---- samples of the rows --------------------------------------------------------------------


def uneven(n=2000, counts=(1, 3, 40), seed=0):
    """Three small classes and two that share the other rows; rows shuffled."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.repeat(np.arange(3), counts), rng.integers(3, 5, n - sum(counts))])
    rng.shuffle(y)
    problem = make_problem("softmax", n=n, n_classes=5)
    return replace(problem, y=y)


@pytest.mark.parametrize("wanted", [1, 50, 500, 1900])
def test_stratified_rows_keep_the_weight_of_every_class(wanted):
    problem = uneven()
    objective = problem.objective()
    rows, scale = stratified_rows(objective, wanted)
    assert (np.diff(rows) > 0).all()
    assert rows.size <= 1.25 * wanted + 5
    y, s = problem.y, problem.weights
    np.testing.assert_allclose(np.bincount(y[rows], s[rows] * scale), np.bincount(y, s), rtol=1e-14)
    for k in range(5):
        own = y[rows] == k
        assert own.any()
        if (y == k).sum() <= wanted // 20:  # a quarter of an equal share
            assert own.sum() == (y == k).sum()
            np.testing.assert_array_equal(scale[own], 1.0)


def test_stratified_rows_are_the_same_every_time():
    problem = uneven()
    first, second = (stratified_rows(problem.objective(), 300) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_stratified_rows_that_are_all_rows():
    rows, scale = stratified_rows(uneven().objective(), 2000)
    np.testing.assert_array_equal(rows, np.arange(2000))
    np.testing.assert_array_equal(scale, 1.0)


def test_a_sampled_hessian_is_near_the_whole_one():
    objective = uneven(n=20_000).objective()
    point = objective.null_point()
    whole, sampled = (factor(objective, point, rows) for rows in (None, 5000))
    assert whole.exact
    assert not sampled.exact
    # in the sample's variables the whole Hessian is nearly the identity
    back = np.linalg.inv(whole.M[0])
    seen = np.linalg.eigvalsh(sampled.M[0].T @ back.T @ back @ sampled.M[0])
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
    assert rows == n or rows >= max(2000, 10 * K * (p + 1))
    if n <= 2000:
        assert rows == n


def test_a_factor_knows_what_it_is_of():
    change = factor(make_problem("one-vs-all").objective(), np.zeros((3, 5)))
    assert isinstance(change, Factor)
    assert change.M.shape == (3, 5, 5)
    assert change.shape == (3, 5)
