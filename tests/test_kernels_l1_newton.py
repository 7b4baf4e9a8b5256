"""Proximal Newton in one call ends at the optimum, against slow twins and its conditions."""

import naive
import numpy as np
import pytest
from kernel_cases import assert_close, overflow_is_no_accident
from l1_kernel_cases import (
    SHAPES,
    L1Problem,
    left,
    model_step,
    model_value,
    over_blocks,
    over_few_shapes,
    over_K,
    over_ridges,
    over_shapes,
)

from sk_softmax._kernels import l1_newton as kernels

pytestmark = overflow_is_no_accident


# ---- where it ends --------------------------------------------------------------------------


@over_shapes
@over_ridges
@over_blocks
def test_it_ends_at_the_optimum(K, p, fit_intercept, lambda2, blocks):
    """By the twin's conditions, and with what the twin has for loss and gradient."""
    problem = L1Problem(K, p, fit_intercept, blocks, lambda2=lambda2)
    end = problem.run()
    (point,) = end.points
    assert problem.violation(point).max() <= 1e-11
    slope = np.abs(problem.slope(point)[:, :p])
    assert not point[:, :p][slope < problem.lambda1 - 1e-9].any()
    assert 0 < end.counts[0, 0] < 12
    loss, gradient = problem.loss_gradient(point)
    assert_close(end.losses, loss)
    assert_close(end.gradients[0], gradient)


@pytest.mark.parametrize(("K", "p"), [(1, 300), (3, 150)])
@over_ridges
@over_blocks
@pytest.mark.parametrize("fewest", [2, 128])
def test_far_more_features_than_fit_a_set(K, p, lambda2, blocks, fewest):
    """Steps stay on sets, the first of them wrong; where that ends all slopes are known."""
    problem = L1Problem(K, p, blocks=blocks, lambda2=lambda2, lambda1=0.03)
    for start, far in ((problem.point(), True), (sparse_point(problem, 9), False)):
        end = problem.run(start, far=far, fewest=fewest)
        (point,) = end.points
        assert problem.violation(point).max() <= 1e-11
        assert 4 < np.count_nonzero(point) < 60
        loss, gradient = problem.loss_gradient(point)
        assert_close(end.losses, loss)
        assert_close(end.gradients[0], gradient)
    for limit in (1, 3):
        end = problem.run(limit=limit, fewest=fewest)
        assert end.counts[0, 0] == limit
        assert_close(end.gradients[0], problem.loss_gradient(end.points[0])[1])


def sparse_point(problem, step):
    """Coefficients of which one in ``step`` is not 0."""
    point = problem.point(0.5)
    point[:, : problem.p] *= np.arange(problem.p) % step == 0
    return point


@over_few_shapes
def test_sparse_logits(K, p, fit_intercept):
    problem = L1Problem(K, p, fit_intercept)
    Z = np.empty((K, problem.A.shape[1]))
    for point in (problem.point(1.0), sparse_point(problem, 2), 0 * problem.point()):
        kernels._sparse_logits(problem.A, point, Z)
        assert_close(Z, point @ problem.A.astype(np.longdouble))


def test_the_optima_above_have_zeros_and_others():
    """Or they would say little."""
    shares = [
        (L1Problem(K, p, fit_intercept).run().points[0, :, :p] == 0).mean()
        for K, p, fit_intercept in SHAPES
        if p > 2
    ]
    assert all(0 < share < 1 for share in shares)


@over_few_shapes
@over_ridges
def test_no_slower_method_finds_less(K, p, fit_intercept, lambda2):
    problem = L1Problem(K, p, fit_intercept, 2, lambda2=lambda2)
    slow = problem.slow_optimum()
    (point,) = problem.run().points
    assert problem.violation(slow).max() < 1e-6
    assert problem.value(point) <= problem.value(slow) + 1e-15
    if lambda2 > 0 or K == 1:
        np.testing.assert_allclose(point[:, :p], slow[:, :p], atol=1e-5)


@over_shapes
@over_ridges
def test_hessians_in_single_precision_lead_there_too(K, p, fit_intercept, lambda2):
    """In other steps, of which the last are shorter by seven digits each."""
    problem = L1Problem(K, p, fit_intercept, 2, lambda2=lambda2)
    end, exact = problem.run(dtype=np.float32), problem.run()
    assert problem.violation(end.points[0]).max() <= 1e-11
    assert end.counts[0, 0] <= exact.counts[0, 0] + 2
    assert p == 1 or (end.points != exact.points).any()
    loss, gradient = problem.loss_gradient(end.points[0])
    assert_close(end.losses, loss)
    assert_close(end.gradients[0], gradient)


@over_few_shapes
@over_ridges
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_any_start_leads_there(K, p, fit_intercept, lambda2, scale):
    """From far outside by halved steps."""
    problem = L1Problem(K, p, fit_intercept, 2, lambda2=lambda2)
    optimum = problem.value(problem.run().points[0])
    end = problem.run(problem.point(scale))
    assert problem.violation(end.points[0]).max() <= 1e-11
    assert abs(problem.value(end.points[0]) - optimum) <= 1e-14
    assert scale < 8 or end.counts[0, 1] > end.counts[0, 0] + 1


@over_few_shapes
@pytest.mark.parametrize(("tol", "goal"), [(1e-2, np.inf), (np.inf, 1e-3), (1e-2, 1e-3)])
def test_it_ends_where_both_goals_are_met(K, p, fit_intercept, tol, goal):
    """Not before, and not an iteration later."""
    problem = L1Problem(K, p, fit_intercept, lambda2=0.02)
    end = problem.run(tol=tol, goal=goal)
    optimum = problem.value(problem.run().points[0])
    assert problem.violation(end.points[0]).max() <= tol
    assert problem.value(end.points[0]) - optimum <= goal
    before = problem.run(limit=int(end.counts[0, 0]) - 1).points[0]
    _, gap = left(problem, before)
    assert problem.violation(before).max() > tol or gap > goal
    assert problem.run(end.points, tol=tol, goal=goal).counts.tolist() == [[0, 1]]


@over_shapes
@over_ridges
@pytest.mark.parametrize("far", [False, True])
def test_the_first_step_is_to_the_minimiser_of_the_model(K, p, fit_intercept, lambda2, far):
    """On the violators; of as few rows as there may be where it is far, each for several."""
    problem = L1Problem(K, p, fit_intercept, blocks=9, n=72, lambda2=lambda2, lambda1=0.02)
    start = problem.point()
    end = problem.run(start, limit=1, far=far)
    working = (np.abs(problem.loss_gradient(start)[1]) > 0.02) | (np.arange(problem.q) >= p)
    few = -(-9 // kernels.SHARE), -(-kernels.ROWS_A_COORDINATE * working.sum() // 8)
    used = min(9, max(few)) if far else 9
    D = naive.curvature(*problem.rows(), start) * 9 / used
    D[:, 8 * used :] = 0
    a, penalised = np.flatnonzero(working), np.nonzero(working)[1] < p
    H = naive.hessian(problem.A, D, 0.0, p).astype(float)[np.ix_(a, a)]
    slope = problem.loss_gradient(start)[1].astype(float)[working]
    parts = H, slope, np.zeros(a.size), 0.02 * penalised, lambda2 * penalised
    assert end.counts[0].tolist() == [1, 2]
    assert not end.points[0][~working].any()
    step, exact = end.points[0][working], model_step(*parts)
    assert abs(model_value(*parts, step) - model_value(*parts, exact)) <= 1e-14
    if lambda2 > 0 or K == 1:
        np.testing.assert_allclose(step[penalised], exact[penalised], atol=1e-8)
    assert end.far[0] in ([True, False] if far else [False])


def test_far_is_over_once_a_step_promises_little_or_goes_too_far():
    problem = L1Problem(1, 3, blocks=9, n=72, lambda1=0.02, signal=2.0)
    assert problem.run(limit=1).far[0]
    assert not problem.run().far[0]
    halved = problem.run(problem.point(8.0), limit=1)
    assert halved.counts[0, 1] > 2
    assert not halved.far[0]


@over_K
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_steps_are_halved_until_F_falls(K, seed):
    problem = L1Problem(K)
    start = problem.point(4.0, seed)
    end = problem.run(start, limit=1)
    (move,), halvings = end.points - start, end.counts[0, 1] - 2
    assert halvings > 0
    assert problem.value(end.points[0]) < problem.value(start)
    for power in range(1, halvings + 1):
        assert problem.value(start + 2.0**power * move) > problem.value(start)


# ---- the same whatever the calls ------------------------------------------------------------


@over_few_shapes
@over_ridges
@pytest.mark.parametrize("scale", [0.0, 8.0])
def test_fewer_iterations_are_the_first_of_more(K, p, fit_intercept, lambda2, scale):
    """F falls from one to the next, and no more than are allowed make the last of them."""
    problem = L1Problem(K, p, fit_intercept, 5, n=38, lambda2=lambda2, lambda1=0.02)
    start = problem.point(scale)
    whole = problem.run(start)
    made = whole.counts[0, 0]
    assert made > 1
    ends = [problem.run(start, limit=limit) for limit in range(made + 1)]
    assert [end.counts[0, 0] for end in ends] == [*range(made + 1)]
    assert (np.diff([problem.value(end.points[0]) for end in ends]) <= 1e-15).all()
    np.testing.assert_array_equal(ends[-1].points, whole.points)


@over_few_shapes
@pytest.mark.parametrize("scale", [0.0, 8.0])
def test_a_known_gradient_is_not_found_anew(K, p, fit_intercept, scale):
    """It leads where one that was found leads; a wrong one elsewhere."""
    problem = L1Problem(K, p, fit_intercept, 2, lambda1=0.02)
    start = problem.point(scale)
    gradient = problem.run(start, limit=0).gradients
    problem.run(start, known=gradient).equals(problem.run(start))
    wrong = problem.run(start, known=gradient + 1.0, limit=0)
    np.testing.assert_array_equal(wrong.gradients, gradient + 1.0)


@over_few_shapes
@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_it_makes_no_more_steps_than_allowed(K, p, fit_intercept, limit):
    problem = L1Problem(K, p, fit_intercept, lambda1=0.01)
    start = problem.point(1.0)
    end = problem.run(start, limit=limit)
    assert end.counts[0, 0] == limit
    assert_close(end.losses, problem.loss_gradient(end.points[0])[0])
    if limit == 0:
        np.testing.assert_array_equal(end.points[0], start)
        assert end.counts[0, 1] == 1


@over_ridges
def test_several_binary_problems_end_as_each_alone(lambda2):
    """To the bit, whatever the sizes of the working sets before."""
    problem = L1Problem(1, 5, blocks=2)
    rng = np.random.default_rng(1)
    several = {
        "columns": np.array([1, 0, 2, 1]),
        "sides": rng.uniform(0.5, 2, (4, 2)),
        "lambda1": np.array([0.05, 1e-3, 0.2, 1e3]),
        "lambda2": lambda2 * np.arange(4.0),
    }
    starts = np.array([0, 1, 8, 1])[:, None, None] * rng.normal(size=(4, 1, 6))
    whole = problem.run(starts, **several)
    assert len({*whole.counts[:, 0].tolist()}) > 1
    for c in range(4):
        own = {name: values[[c]] for name, values in several.items()}
        problem.run(starts[[c]], **own).equals(whole, [c])
    assert not whole.points[3, :, :5].any()


@over_K
def test_rows_of_weight_0_do_not_matter(K):
    problem = L1Problem(K, blocks=3)
    expected = problem.run()
    padding = problem.blocks_s == 0
    assert padding.sum() == 2
    problem.blocks_A[np.broadcast_to(padding[:, None], problem.blocks_A.shape)] = 100.0
    problem.blocks_y[padding] = 2 if K > 1 else 1
    end = problem.run()
    np.testing.assert_array_equal(end.counts, expected.counts)
    np.testing.assert_allclose(end.points, expected.points, rtol=1e-12)


@over_K
def test_weight_2_is_a_row_twice(K):
    twice, heavy = L1Problem(K, n=24), L1Problem(K, n=24)
    for rows in (twice.blocks_A, twice.blocks_y, twice.blocks_s):
        rows[..., 1] = rows[..., 0]
    heavy.blocks_s[:, 1] = 0.0
    heavy.blocks_s[:, 0] *= 2.0
    np.testing.assert_allclose(twice.run().points, heavy.run().points, rtol=1e-10)


@over_ridges
def test_other_names_of_classes_are_another_order(lambda2):
    problem = L1Problem(3, 4, lambda2=lambda2)
    points = []
    for order in (np.arange(3), np.array([2, 0, 1])):
        renamed = L1Problem(3, 4, lambda2=lambda2)
        renamed.blocks_y = order[problem.blocks_y]
        points.append(renamed.run().points[0][order])
    np.testing.assert_allclose(*points, atol=1e-9)


@over_K
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_data_are_left(K, bad):
    problem = L1Problem(K, blocks=2)
    problem.blocks_A[1, 0, 3] = bad
    start = problem.point(1.0)
    end = problem.run(start)
    np.testing.assert_array_equal(end.points[0], start)
    assert end.counts[0, 0] == 0
    assert end.counts[0, 1] <= 22
    assert np.isnan(end.losses).all()


def test_more_non_zeros_than_there_is_room_for_stay():
    problem = L1Problem(1, kernels.LARGEST, n=4)
    start = problem.point(1e-3)
    end = problem.run(start)
    np.testing.assert_array_equal(end.points[0], start)
    assert end.counts[0].tolist() == [0, 1]
