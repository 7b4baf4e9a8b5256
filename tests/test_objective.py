"""F and its derivatives: against the twins, and each derivative against differences of the last."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from problems import LOSSES, PENALTIES, CountingWorkers, make_problem
from scipy import sparse

from sk_softmax._curvature import hessians, outputs, supports
from sk_softmax._design import chunks, dense
from sk_softmax._preconditioner.changes import Centring

over_losses = pytest.mark.parametrize("loss", LOSSES)
over_penalties = pytest.mark.parametrize("penalty", PENALTIES)
over_storage = pytest.mark.parametrize("storage", ["C", "float32 F", "CSR"])
over_intercepts = pytest.mark.parametrize(
    "fit_intercept", [True, False], ids=["intercept", "no intercept"]
)


def differences(function, point, step=1e-3):
    """Derivatives of ``function`` by each coordinate of ``point``, from five points."""
    result = None
    for at in np.ndindex(point.shape):
        unit = np.zeros_like(point)
        unit[at] = step
        slope = (
            function(point - 2 * unit)
            - 8 * function(point - unit)
            + 8 * function(point + unit)
            - function(point + 2 * unit)
        ) / (12 * step)
        if result is None:
            result = np.empty((*point.shape, *np.shape(slope)))
        result[at] = slope
    return result


def whole(objective, blocks):
    """Each problem's Hessian as one (K q, K q) over all outputs."""
    if objective.coupled:
        return blocks[0]
    K, q = objective.K, objective.q
    full = np.zeros((K, q, K, q))
    for k, block in enumerate(blocks):
        full[k, :, k] = block
    return full.reshape(K * q, K * q)


def uncentred(objective, H):
    """A Hessian by (coef, intercept + coef @ center) as one by (coef, intercept)."""
    K, q, p = objective.K, objective.q, objective.p
    into = np.eye(q)  # row (coef, intercept) -> coordinates
    into[p:, :p] = objective.center
    into = np.kron(np.eye(K), into)
    return into.T @ H @ into


# ---- value and gradient ---------------------------------------------------------------------


@over_losses
@over_storage
@over_intercepts
def test_loss_and_gradient_equal_the_twin(loss, storage, fit_intercept):
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    for point in problem.points(3):
        loss_value, gradient = objective.loss_gradient(point)
        twin_loss, twin_gradient = problem.loss_gradient(point)
        assert loss_value.shape == (objective.n_problems,)
        np.testing.assert_allclose(loss_value, twin_loss.astype(float), rtol=1e-13)
        np.testing.assert_allclose(gradient, twin_gradient.astype(float), rtol=1e-12, atol=1e-15)
    assert objective.counts["rows"] == 3 * objective.design.n


@over_losses
@over_penalties
@over_intercepts
def test_value_with_its_penalty_equals_the_twin(loss, penalty, fit_intercept):
    problem = make_problem(loss, penalty, fit_intercept=fit_intercept)
    objective = problem.objective()
    for point in problem.points(3):
        twin = problem.value(point).astype(float)
        value = objective.loss_gradient(point)[0] + objective.penalty(point)
        np.testing.assert_allclose(value, twin, rtol=1e-13)
        coef, intercept = problem.split(point)
        if not problem.balanced:  # the public twin says the same of the data as users pass it
            parameters = {name: getattr(problem, name) for name in ("C", "l1_ratio", "coupled")}
            public = naive.objective(
                problem.X, problem.y, coef, intercept, s=problem.s, **parameters
            )
            np.testing.assert_allclose(value, public, rtol=1e-13)
        smooth = twin - objective.by_problem(np.abs(coef)) * problem.lambdas[0]
        np.testing.assert_allclose(objective.smooth(point)[0], smooth, rtol=1e-13)


@over_losses
@over_storage
@over_intercepts
def test_the_gradient_is_the_derivative_of_the_value(loss, storage, fit_intercept):
    problem = make_problem(loss, "l2", storage, fit_intercept, n=25)
    objective = problem.objective()
    for point in problem.points(2):
        slopes = differences(lambda w: objective.smooth(w)[0].sum(), point)
        np.testing.assert_allclose(objective.smooth(point)[1], slopes, rtol=1e-9, atol=1e-11)


def test_values_are_kept_by_problem():
    values = np.array([[1.0, -2.0], [3.0, 4.0], [0.0, 5.0]])
    together, apart = (make_problem(loss).objective() for loss in ("softmax", "one-vs-all"))
    assert together.by_problem(values).tolist() == [11.0]
    assert apart.by_problem(values).tolist() == [-1.0, 7.0, 5.0]
    assert together.largest_by_problem(values).tolist() == [5.0]
    assert apart.largest_by_problem(values).tolist() == [1.0, 4.0, 5.0]
    assert together.largest_by_problem(values[:, :0]).tolist() == [0.0]
    assert together.per_output(np.array([7.0])).tolist() == [[7.0], [7.0], [7.0]]
    assert apart.per_output(np.array([7.0, 8.0, 9.0])).tolist() == [[7.0], [8.0], [9.0]]


@over_losses
def test_the_number_of_threads_changes_no_bit(loss, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_WORK", 1)
    monkeypatch.setattr(chunks, "ENTRY_WORK", 0)
    monkeypatch.setattr(chunks, "WORTH", 0)
    problem = make_problem(loss)
    (point,) = problem.points(1)
    alone = problem.objective().loss_gradient(point)
    with CountingWorkers(3) as workers:
        together = problem.objective(workers).loss_gradient(point)
    assert workers.parts == [chunks.CHUNKS]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- the null model -------------------------------------------------------------------------


@over_losses
@over_storage
def test_the_null_point_is_the_best_intercept_alone(loss, storage):
    problem = make_problem(loss, storage=storage)
    objective = problem.objective()
    null = objective.null_point()
    assert not null[:, :-1].any()
    value, gradient = objective.loss_gradient(null)
    np.testing.assert_allclose(gradient[:, -1], 0.0, atol=1e-15)
    np.testing.assert_allclose(objective.null_value, value, rtol=1e-14)
    np.testing.assert_allclose(value, problem.null_value().astype(float), rtol=1e-13)
    if problem.softmax:
        assert abs(null[:, -1].sum()) < 1e-14


@over_losses
@over_storage
def test_without_an_intercept_the_null_point_is_0(loss, storage):
    objective = make_problem(loss, "l2", storage, fit_intercept=False).objective()
    null = objective.null_point()
    assert not null.any()
    value, _ = objective.loss_gradient(null)
    np.testing.assert_allclose(objective.null_value, value, rtol=1e-14)


@over_losses
@over_storage
@over_intercepts
def test_class_sums_means_and_center(loss, storage, fit_intercept):
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective, A = problem.objective(), problem.features()
    for k, (Y, _, weights, columns) in enumerate(problem.as_simplex(np.zeros(problem.shape))):
        weights = weights.astype(float)
        own = (weights[:, None] * Y[:, columns].astype(float)).T @ A
        rows = slice(None) if problem.softmax else slice(k, k + 1)
        np.testing.assert_allclose(objective.class_sums[rows], own, rtol=1e-12, atol=1e-14)
        means = np.broadcast_to(weights @ A, own.shape)
        np.testing.assert_allclose(objective.means[rows], means, rtol=1e-12, atol=1e-14)
    center = problem.weights @ problem.dense() if fit_intercept else np.zeros(4)
    np.testing.assert_allclose(objective.center, center, rtol=1e-12, atol=1e-14)


# ---- parts of an objective ------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["one-vs-all", "balanced"])
@over_intercepts
def test_some_of_the_outputs(loss, fit_intercept):
    problem = make_problem(loss, "elastic net", fit_intercept=fit_intercept)
    objective, chosen = problem.objective(), np.array([2, 0])
    part = objective.take_outputs(chosen)
    (point,) = problem.points(1)
    for of_part, of_all in zip(part.smooth(point[chosen]), objective.smooth(point), strict=True):
        np.testing.assert_allclose(of_part, of_all[chosen], rtol=1e-13)
    np.testing.assert_array_equal(part.null_point(), objective.null_point()[chosen])
    np.testing.assert_array_equal(part.null_value, objective.null_value[chosen])
    np.testing.assert_array_equal(part.penalty(point[chosen]), objective.penalty(point)[chosen])
    np.testing.assert_allclose(
        part.hessian(point[chosen]), objective.hessian(point)[chosen], rtol=1e-12, atol=1e-15
    )
    assert part.counts is objective.counts


@over_losses
@over_storage
@over_intercepts
def test_some_of_the_features(loss, storage, fit_intercept):
    problem = make_problem(loss, "elastic net", storage, fit_intercept)
    objective, chosen = problem.objective(), np.array([3, 0])
    part = objective.take_features(chosen)
    (point,) = problem.points(1)
    kept = np.append(chosen, 4) if fit_intercept else chosen
    sparse_point = np.zeros_like(point)
    sparse_point[:, kept] = point[:, kept]
    value, gradient = part.smooth(point[:, kept])
    whole_value, whole_gradient = objective.smooth(sparse_point)
    np.testing.assert_allclose(value, whole_value, rtol=1e-13)
    np.testing.assert_allclose(gradient, whole_gradient[:, kept], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(part.penalty(point[:, kept]), objective.penalty(sparse_point))
    np.testing.assert_array_equal(part.null_value, objective.null_value)
    for name in ("class_sums", "means"):
        np.testing.assert_array_equal(getattr(part, name), getattr(objective, name)[:, kept])
    np.testing.assert_array_equal(part.center, objective.center[chosen])
    assert part.counts is objective.counts


@over_losses
@over_storage
@over_intercepts
def test_some_of_the_rows(loss, storage, fit_intercept):
    """Rows that keep each class's weight: the objective of these rows with these weights."""
    problem = make_problem(loss, "l2", storage, fit_intercept)
    objective = problem.objective()
    rows = np.arange(0, 60, 2)
    y, s = problem.y, problem.s
    totals = np.bincount(y, s) / np.bincount(y[rows], s[rows])
    part = objective.take_rows(rows, totals[y[rows]])
    few = replace(problem, X=problem.X[rows], y=y[rows], s=s[rows] * totals[y[rows]])
    (point,) = problem.points(1)
    value, gradient = part.smooth(point)
    np.testing.assert_allclose(value, few.value(point).astype(float), rtol=1e-12)
    np.testing.assert_allclose(gradient, few.objective().smooth(point)[1], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(part.class_sums, few.objective().class_sums, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(part.null_value, objective.null_value, rtol=1e-13)
    assert part.counts is objective.counts


# ---- second derivatives ---------------------------------------------------------------------

PATHS = {
    "in one block": {},
    "in blocks": {"FEWEST_ROWS": 7, "MOST_ROWS": 8, "BLOCK_ENTRIES": 0},
    "entry by entry": {"SPARSE": 1.0},
}


@pytest.fixture
def along(monkeypatch):
    """To take one of the `PATHS` to the Hessian."""

    def patch(path):
        for name, value in PATHS[path].items():
            for module in (chunks, outputs, hessians):
                if name in vars(module):
                    monkeypatch.setattr(module, name, value)

    return patch


@over_losses
@over_storage
@over_intercepts
@pytest.mark.parametrize("path", PATHS)
def test_the_hessian_is_the_derivative_of_the_gradient(loss, storage, fit_intercept, path, along):
    problem = make_problem(loss, "none", storage, fit_intercept, n=25, p=3)
    objective = problem.objective()
    (point,) = problem.points(1)
    slopes = differences(lambda w: objective.loss_gradient(w)[1], point)
    size = point.size
    along(path)
    blocks = objective.hessian(point)
    one = size if objective.coupled else objective.q
    assert blocks.shape == (objective.n_problems, one, one)
    H = uncentred(objective, whole(objective, blocks))
    np.testing.assert_allclose(H, slopes.reshape(size, size), rtol=1e-9, atol=1e-11)


@over_losses
@over_storage
@over_intercepts
@pytest.mark.parametrize("path", PATHS)
def test_the_hessian_equals_the_twin(loss, storage, fit_intercept, path, along):
    problem = make_problem(loss, "none", storage, fit_intercept, n=70)
    objective = problem.objective()
    along(path)
    for point in problem.points(2, scale=3.0):
        H = uncentred(objective, whole(objective, objective.hessian(point)))
        twin = whole(objective, problem.hessian(point))
        np.testing.assert_allclose(H, twin, rtol=1e-11, atol=1e-14)


@over_losses
@over_storage
@pytest.mark.parametrize("path", PATHS)
def test_the_hessian_on_some_rows_is_that_of_their_objective(loss, storage, path, along):
    problem = make_problem(loss, "none", storage)
    objective = problem.objective()
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.arange(3), 3 + np.flatnonzero(rng.random(57) < 0.5)])
    scale = rng.uniform(1, 3, rows.size)
    (point,) = problem.points(1)
    part = objective.take_rows(rows, scale)
    along(path)
    sampled = objective.hessian(point, rows, scale)
    np.testing.assert_allclose(sampled, part.hessian(point), rtol=1e-11, atol=1e-14)


@over_losses
@over_storage
@over_intercepts
@pytest.mark.parametrize("mostly", [0.0, 2.0], ids=["cut out", "block by block"])
@pytest.mark.parametrize("path", PATHS)
def test_the_hessian_on_a_support_is_a_part_of_the_whole(
    loss, storage, fit_intercept, mostly, path, along, monkeypatch
):
    problem = make_problem(loss, "none", storage, fit_intercept)
    objective = problem.objective()
    rng = np.random.default_rng(0)
    along(path)
    monkeypatch.setattr(supports, "MOSTLY", mostly)
    for point, density in zip(problem.points(3), (0.0, 0.4, 1.0), strict=True):
        support = rng.random(point.shape) < density
        blocks = objective.hessian_on(point, support)
        masks = support.reshape(objective.n_problems, -1)
        for block, H, mask in zip(blocks, objective.hessian(point), masks, strict=True):
            np.testing.assert_allclose(block, H[np.ix_(mask, mask)], rtol=1e-11, atol=1e-14)


@over_losses
@over_storage
@over_intercepts
@pytest.mark.parametrize("units", [1.0, 1e-20, 1e9])
@pytest.mark.parametrize("by_blas", [False, True])
def test_a_sampled_hessian_in_single_precision(
    loss, storage, fit_intercept, units, by_blas, monkeypatch
):
    """Whatever the features' units, and still positive semidefinite."""
    problem = make_problem(loss, "none", storage, fit_intercept, n=200)
    point = next(problem.points(1))
    X = problem.dense() * np.array([units, 1, 1, 1])
    problem = replace(problem, X=sparse.csr_matrix(X) if sparse.issparse(problem.X) else X)
    point[:, 0] /= units
    objective = problem.objective()
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(rng.random(200) < 0.5)
    scale = rng.uniform(1, 3, rows.size)
    support = rng.random(point.shape) < 0.7
    exact = objective.hessian_on(point, support, rows, scale)
    monkeypatch.setattr(supports, "LARGE", 0 if by_blas else 600)
    monkeypatch.setattr(supports, "SINGLE_WORK", rows.size * np.count_nonzero(support) ** 2)
    found = objective.sampled_hessian_on(point, support, rows, scale)
    for H, G in zip(found, exact, strict=True):
        unit = np.sqrt(G.diagonal())
        H, G = H / np.outer(unit, unit), G / np.outer(unit, unit)
        np.testing.assert_allclose(H, G, rtol=0, atol=1e-5)
        extreme = units == 1e-20 and not (by_blas and objective.coupled)  # in double precision
        assert np.array_equal(H, G) == extreme
        assert np.linalg.eigvalsh(H).min() > -1e-15


@over_losses
@over_storage
@over_intercepts
def test_curvature_is_the_diagonal_of_the_hessian(loss, storage, fit_intercept, monkeypatch):
    monkeypatch.setattr(dense, "BLOCK_BYTES", 8 * 4 * 16)  # several blocks
    objective = make_problem(loss, "l2", storage, fit_intercept).objective()
    (point,) = make_problem(loss, "l2", storage, fit_intercept).points(1)
    diagonal = np.einsum("mdd->md", objective.hessian(point)).reshape(point.shape)
    np.testing.assert_allclose(
        objective.curvature(objective.logit_state(point)), diagonal, rtol=1e-11
    )


@over_storage
@over_intercepts
def test_uncertainty_is_a_weighted_covariance(storage, fit_intercept):
    problem = make_problem("softmax", "l2", storage, fit_intercept)
    objective = problem.objective()
    (point,) = problem.points(1)
    P = problem.probability(point).astype(float)
    X = problem.dense() - objective.center
    weight = problem.weights * (P * (1 - P)).sum(axis=1)
    exact = (X * weight[:, None]).T @ X
    np.testing.assert_allclose(objective.uncertainty(point, None, None), exact, rtol=1e-11)
    rows, scale = np.array([3, 5, 40]), np.array([2.0, 1.0, 0.5])
    few = (X[rows] * (weight[rows] * scale)[:, None]).T @ X[rows]
    np.testing.assert_allclose(
        objective.uncertainty(point, rows, scale), few, rtol=1e-11, atol=1e-15
    )


@over_losses
@over_storage
@over_intercepts
def test_the_hessian_times_a_vector(loss, storage, fit_intercept, monkeypatch):
    monkeypatch.setattr(dense, "BLOCK_BYTES", 8 * 4 * 16)  # several blocks
    problem = make_problem(loss, "none", storage, fit_intercept)
    objective = problem.objective()
    point, V = problem.points(2)
    product = objective.hessian_product(point)
    centring = Centring(objective.center)
    T = np.array([centring.undo(e.reshape(V.shape)).ravel() for e in np.eye(V.size)]).T
    H = T.T @ whole(objective, problem.hessian(point)) @ T
    exact = (H @ V.ravel()).reshape(V.shape)
    np.testing.assert_allclose(product(V), exact, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(product(2 * V), 2 * exact, rtol=1e-11, atol=1e-14)
    along = centring.undo(V.copy())
    slope = differences(lambda t: objective.loss_gradient(point + t * along)[1], np.zeros(1))[0]
    np.testing.assert_allclose(product(V), centring.pull(slope), rtol=1e-9, atol=1e-11)


@over_losses
@pytest.mark.parametrize("path", PATHS)
def test_certain_rows_have_no_curvature(loss, path, along):
    problem = make_problem(loss, "none")
    objective = problem.objective()
    along(path)
    (point,) = problem.points(1, scale=1e6)
    H = objective.hessian(point)
    assert np.isfinite(H).all()
    product = objective.hessian_product(point)(np.ones(problem.shape))
    assert np.isfinite(product).all()
    assert np.abs(H).max() < np.abs(objective.hessian(np.zeros(problem.shape))).max()


# ---- separable or not -----------------------------------------------------------------------


@over_losses
@over_storage
@over_intercepts
def test_separates_asks_every_row(loss, storage, fit_intercept):
    """Each class on its own axis, and then one row moved to another's."""
    K = LOSSES[loss]["n_classes"]
    y = np.repeat(np.arange(K), 4)
    X = np.eye(K)[y]
    problem = make_problem(loss, "none", storage, fit_intercept)
    coef = np.array([[-1.0, 1.0]]) if K == 2 else 3 * np.eye(K) - 1
    point = np.column_stack([coef, np.zeros(len(coef))])[:, : K + fit_intercept]

    def separates(X):
        store = sparse.csr_matrix if storage == "CSR" else np.asarray
        return replace(problem, X=store(X), y=y, s=np.ones(y.size)).objective().separates(point)

    assert separates(X).all()
    assert not separates(0 * X).any()  # on the border is on no side
    X[-1] = np.eye(K)[0]
    apart = separates(X)
    # the row of the last class spoils the problems of that class and of the first
    assert apart.tolist() == ([False, True, False] if apart.size == 3 else [False])
