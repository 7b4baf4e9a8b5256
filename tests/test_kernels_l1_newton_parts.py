"""The parts of proximal Newton in one call: penalty, gap, working set, the model's minimiser."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident, probabilities
from l1_kernel_cases import (
    L1Problem,
    left,
    model_step,
    model_value,
    over_few_shapes,
    over_ridges,
    over_shapes,
)

from sk_softmax._kernels import hessian, l1_model
from sk_softmax._kernels import l1_newton as kernels

pytestmark = overflow_is_no_accident


@over_few_shapes
def test_penalty(K, p, fit_intercept):
    """Not of intercepts."""
    point = np.random.default_rng(0).normal(size=(K, p + fit_intercept))
    coef = point[:, :p]
    exact = 0.5 * np.abs(coef).sum() + 0.125 * (coef**2).sum()
    assert kernels._penalty(0.5, 0.25, p, point) == pytest.approx(exact, rel=1e-14)


def sparse_point(problem):
    point = problem.point(1.0)
    point[:, : problem.p] *= np.arange(problem.p) % 2
    return point


@over_shapes
@over_ridges
def test_left(K, p, fit_intercept, lambda2):
    """Without intercepts F is above its minimum by no more than that; at the optimum nothing."""
    problem = L1Problem(K, p, fit_intercept, lambda2=lambda2)
    (end,) = problem.run().points
    optimum = problem.value(end)
    for point in (problem.point(), sparse_point(problem), problem.point(0.1), end):
        violation = problem.violation(point)
        worst, gap = left(problem, point)
        assert worst == pytest.approx(float(violation.max()), rel=1e-12, abs=1e-14)
        exact = violation.max() / problem.lambda1 * problem.value(point)
        if lambda2 > 0:
            exact = min(exact, (violation[:, :p] ** 2).sum() / (2 * lambda2))
        exact += (violation * np.abs(point)).sum()
        assert gap == pytest.approx(float(exact), rel=1e-12, abs=1e-14)
        assert fit_intercept or problem.value(point) - optimum <= gap + 1e-15
    assert gap < 1e-10


def working_set(point, gradient, p, lambda1, curvature, fewest, largest=100):
    """The mask (K, q) and where each output's coordinates begin; features are in order."""
    features, first = np.empty(largest, np.int64), np.empty(len(point) + 1, np.int64)
    size = kernels._working_set(point, gradient, p, lambda1, curvature, fewest, features, first)
    mask = np.zeros(point.shape, dtype=bool)
    if size:
        assert first[0] == 0
        assert first[-1] == size
    for k in range(len(point) if size else 0):
        own = features[first[k] : first[k + 1]]
        assert (np.diff(own) > 0).all()
        mask[k, own] = True
    assert mask.sum() == size
    return mask


@pytest.mark.parametrize("p", [6, 7])
@pytest.mark.parametrize("fewest", [0, 1, 5, 8, 100])
def test_working_set(p, fewest):
    """Non-zeros, intercepts, and of violators the worst, for there may be too many."""
    rng = np.random.default_rng(0)
    gradient, curvature = rng.normal(size=(3, 7)), rng.uniform(0.01, 1, (3, 7))
    point = np.zeros((3, 7))
    point[1, 2] = 5e-324
    mask = working_set(point, gradient, p, 0.3, curvature, fewest)
    kept = point != 0
    kept[:, p:] = True
    promise = np.maximum(np.abs(gradient) - 0.3, 0) ** 2 / curvature * ~kept
    assert mask[kept].all()
    taken = promise[mask & ~kept]
    room, asked = max(fewest, 2 * kept.sum()), promise.max() / 2.0 ** np.arange(60)
    as_many = (promise >= asked[:, None, None]).sum(axis=(1, 2))
    assert taken.size == as_many[as_many <= room].max()
    assert 0 < taken.size <= room
    assert (promise[~mask] < taken.min()).all()


@pytest.mark.parametrize(("largest", "size"), [(3, 0), (4, 4), (6, 6), (100, 12)])
def test_working_set_where_there_is_little_room(largest, size):
    """No non-zero is left out: rather is there no set."""
    point, gradient = np.zeros((2, 6)), np.tile(2.0 ** np.arange(6), (2, 1))
    gradient[1] *= 0.8
    point[:, :2] = 1.0
    mask = working_set(point, gradient, 6, 0.1, np.ones((2, 6)), 100, largest)
    assert mask.sum() == size
    assert mask[:, 5].all() == (size > 4)


@pytest.mark.parametrize("curvature", [1.0, 1e-300])
@pytest.mark.parametrize("fewest", [1, 5, 11])
def test_working_set_of_violators_that_promise_the_same(fewest, curvature):
    """As many as there is room for."""
    gradient = np.ones((2, 6))
    mask = working_set(0 * gradient, gradient, 6, 0.1, np.full((2, 6), curvature), fewest)
    assert mask.ravel().tolist() == [True] * fewest + [False] * (12 - fewest)


def model_case(a=6, seed=0):
    """H, where the point is and what it costs there; coordinate 2 is an intercept's."""
    rng = np.random.default_rng(seed)
    J = rng.normal(size=(2 * a, a))
    w, change = rng.normal(size=a), rng.normal(size=a)
    lambda1, lambda2 = rng.uniform(0.1, 1, (2, a))
    w[2] = lambda1[2] = lambda2[2] = 0.0
    w[4], change[4] = 0.5, -0.5
    return J.T @ J, w, change, lambda1, lambda2


@pytest.mark.parametrize("seed", range(3))
def test_fall(seed):
    _, w, change, lambda1, lambda2 = model_case(seed=seed)
    slope, nothing = np.random.default_rng(9).normal(size=6), np.zeros((6, 6))
    for sign in (1, -1):
        values = (model_value(nothing, slope, w, lambda1, lambda2, d) for d in (0 * w, change))
        fall = -np.subtract(*reversed([*values]))
        result = l1_model.fall(slope, w, lambda1, lambda2, change)
        assert result == pytest.approx(max(fall, 0), rel=1e-13, abs=1e-14)
        change = sign * -change


@pytest.mark.parametrize("K", [2, 3, 4, 5])
def test_to_medians(K):
    """Features 0 and 2 have coefficients everywhere, feature 1 not; feature 3 is the intercept."""
    rng = np.random.default_rng(K)
    there = 1.0 + rng.normal(scale=0.1, size=(K, 4))
    there[:, 2] = rng.permutation(np.arange(K) - K)
    there[K - 1, 1] = 0.0
    w = rng.normal(size=(K, 4))
    w[K - 1, 1] = 0.0
    w[:, 3] = 0.0
    change = (there - w).ravel()
    before = w + change.reshape(K, 4)
    features, order, first = np.tile(np.arange(4), K), np.empty(K), np.arange(0, 4 * K + 1, 4)
    l1_model.to_medians(features, first, 3, w.ravel(), order, change)
    after = w + change.reshape(K, 4)
    np.testing.assert_array_equal(after[:, [1, 3]], before[:, [1, 3]])
    for j in (0, 2):
        shift = before[:, j] - after[:, j]
        np.testing.assert_allclose(shift, shift[0], rtol=1e-13)
        low, high = np.sort(before[:, j])[[(K - 1) // 2, K // 2]]
        assert shift[0] == pytest.approx(min(low, high, key=abs), rel=1e-13)
        assert (after[:, j] == 0).sum() == 1
        assert np.abs(after[:, j]).sum() <= np.abs(before[:, j]).sum()


def solved(H, w, change, lambda1, lambda2, slope, tries):
    """Whether it was found, the change, and the slope of the loss's model there."""
    change, there = change.copy(), slope + H @ change
    found = l1_model.solved_on_support(
        H, np.full(H.size, np.nan), there, w, lambda1, lambda2, tries, change
    )
    assert_close(there, slope + H @ change, scale=100)
    return found, change


def slope_for(H, w, change, lambda1, lambda2, target):
    """The slope at 0 of the model that is least at ``target`` among those of change's signs."""
    sign = np.sign(w + change)
    return -(H @ (target - w) + lambda1 * sign + lambda2 * target)


@pytest.mark.parametrize("seed", range(3))
def test_solved_on_support(seed):
    """As NumPy solves it; an intercept may change its sign, be it 0, and what else is 0 stays."""
    H, w, change, *penalty = case = model_case(seed=seed)
    target = (w + change) * np.array([2.0, 0.5, -3.0, 1.5, 1.0, 0.1])
    if seed == 2:
        change[2], target[2] = 0.0, 1.0
    slope = slope_for(*case, target)
    found, moved = solved(*case, slope, 1)
    assert found
    assert_close(w + moved, target)
    support = np.array([0, 1, 2, 3, 5])
    own = np.ix_(support, support)
    pull = slope + H @ change + penalty[1] * (w + change) + penalty[0] * np.sign(w + change)
    step = np.linalg.solve(H[own] + np.diag(penalty[1][support]), pull[support])
    assert_close(moved[support], change[support] - step)


def test_solved_on_support_stops_where_signs_change():
    """Exactly at 0; then it goes on without that coefficient, and never up."""
    H, w, change, *penalty = case = model_case()
    target = (w + change) * np.array([-2.0, 1.0, 1.0, 0.9, 1.0, -0.2])
    slope = slope_for(*case, target)
    values = [model_value(H, slope, w, *penalty, change)]
    zeros = [1]
    for tries in (1, 2, 8):
        found, moved = solved(*case, slope, tries)
        values.append(model_value(H, slope, w, *penalty, moved))
        zeros.append(int((w + moved == 0).sum()))
        assert found == (tries == 8)
        if tries == 1:
            assert_close(moved, change + (target - w - change) / 3)
    assert values == sorted(values, reverse=True)
    assert zeros == [1, 2, 3, 3]
    there = w + moved
    left_over = slope + H @ moved + penalty[1] * there + penalty[0] * np.sign(there)
    assert_close(left_over[there != 0], 0.0, scale=100)


def test_solved_on_support_admits_that_it_cannot():
    _, w, change, lambda1, _ = model_case()
    H = np.ones((6, 6))
    found, moved = solved(H, w, change, lambda1, np.zeros(6), lambda1, 8)
    assert not found
    np.testing.assert_array_equal(moved, change)


@over_shapes
@over_ridges
def test_model_step(K, p, fit_intercept, lambda2):
    """To the minimiser on a set, from a point with zeros; below H's diagonal may be anything."""
    problem = L1Problem(K, p, fit_intercept, lambda2=lambda2)
    point, softmax, q = sparse_point(problem), K > 1, problem.q
    working = (np.random.default_rng(0).random((K, q)) < 0.8) | (point != 0)
    a = np.flatnonzero(working)
    outputs, features = np.nonzero(working)
    D, (_, gradient) = naive.curvature(*problem.rows(), point), problem.loss_gradient(point)
    H, gradient = naive.hessian(problem.A, D, 0.0, p)[np.ix_(a, a)].astype(float), gradient * 1.0
    gradient = gradient.astype(float)
    penalised = features < p
    parts = H, gradient[working], np.where(penalised, point[working], 0.0)
    parts += problem.lambda1 * penalised, lambda2 * penalised
    before, exact = model_value(*parts, np.zeros(a.size)), model_step(*parts)
    step = np.full((K, q), np.nan)
    promised = l1_model.model_step(
        np.where(np.tri(a.size, k=-1, dtype=bool), np.nan, H),
        2.0**-52,
        np.full(a.size**2, np.nan),
        gradient,
        features,
        np.searchsorted(outputs, np.arange(K + 1)),
        p,
        softmax,
        problem.lambda1,
        lambda2,
        point,
        np.empty(K),
        step,
    )
    assert not step[~working].any()
    d = step[working]
    assert model_value(*parts, d) <= model_value(*parts, exact) + 1e-14
    fall = before - model_value(0 * H, *parts[1:], d)
    assert promised == pytest.approx(fall, rel=1e-10, abs=1e-14)
    if lambda2 > 0 or not softmax:
        np.testing.assert_allclose(d[penalised], exact[penalised], atol=1e-8)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("K", [1, 3])
def test_add_support_hessian(K, softmax):
    """Of some coordinates, to what is there; there may be more room than they need."""
    P, s = probabilities(K, 9)
    A = np.random.default_rng(1).normal(size=(6, 9))
    support = np.random.default_rng(2).random((K, 6)) < 0.7
    outputs, features = np.nonzero(support)
    first = np.searchsorted(outputs, np.arange(K + 1))
    sizes = [features.size] if softmax else np.diff(first).tolist()
    H = np.full((len(sizes), max(sizes), max(sizes)), 2.0)
    room = np.empty((features.size + 3, 9)), np.empty((4, 9)), np.empty(9)
    hessian.add_support_hessian(A, P, s[None], softmax, features, first, *room, H)
    if softmax:
        exact = naive.hessian(A, naive.class_products(P, s), 0.0, 6)[None]
        masks = [np.flatnonzero(support)]
    else:
        exact = [naive.weighted_gram(A, d) for d in naive.wide(s) * P * (1 - naive.wide(P))]
        masks = [np.flatnonzero(own) for own in support]
    for found, whole, chosen in zip(H, exact, masks, strict=True):
        j, r = np.triu_indices(chosen.size)
        assert_close(found[j, r] - 2.0, whole[np.ix_(chosen, chosen)][j, r], scale=9)
