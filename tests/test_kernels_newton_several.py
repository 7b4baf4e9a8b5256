"""Newton's method in one call on several problems side by side, against each by itself."""

import naive
import numpy as np
import pytest
from kernel_cases import (
    BinaryProblems,
    assert_each_as_by_itself,
    overflow_is_no_accident,
    read_only,
)

pytestmark = overflow_is_no_accident

over_blocks = pytest.mark.parametrize("blocks", [1, 2, 3])


@over_blocks
@pytest.mark.parametrize(("p", "fit_intercept"), [(1, False), (0, True), (3, True), (6, True)])
def test_newton_on_several_problems_is_newton_on_each(p, fit_intercept, blocks):
    ends, counts = assert_each_as_by_itself(BinaryProblems(p, fit_intercept, blocks))
    assert len(np.unique(counts[:, 0])) > 1  # they end at different times
    assert np.isfinite(ends).all()


@pytest.mark.parametrize("limit", [0, 1, 3, 5])
def test_newton_makes_no_more_steps_than_allowed_in_any_problem(limit):
    problems = BinaryProblems()
    ends, counts = assert_each_as_by_itself(problems, limits=limit, tol=0.0)
    unlimited = problems.run(tol=0.0)[1]
    assert (unlimited[:, 0] > limit).any()
    np.testing.assert_array_equal(counts[:, 0], np.minimum(unlimited[:, 0], limit))
    before = unlimited[:, 0] < limit
    np.testing.assert_array_equal(counts[before], unlimited[before])
    if limit == 0:
        np.testing.assert_array_equal(ends, problems.points)
        np.testing.assert_array_equal(counts, [[0, 1]] * 7)


def test_each_problem_has_a_limit_of_its_own():
    problems = BinaryProblems()
    limits = np.array([0, 1, 2, 3, 1, 0, 50])
    ends, counts = problems.run(limits=limits, tol=0.0)
    for c, limit in enumerate(limits):
        end, own = problems.run([c], limits=limit, tol=0.0)
        np.testing.assert_array_equal(ends[c], end[0])
        np.testing.assert_array_equal(counts[c], own[0])
    np.testing.assert_array_equal(counts[:6, 0], limits[:6])
    assert 3 < counts[6, 0] < 50


def test_newton_on_several_problems_goes_where_its_twins_do():
    problems = BinaryProblems()
    data = problems.data
    ends, counts = problems.run()
    for c, (column, sides, lambda2, point, goal) in enumerate(
        zip(*problems.of(slice(None)), strict=True)
    ):
        if goal < 0:
            continue  # it ends where the objective shows no more, which is not there in wide floats
        rows = data.A, data.center, data.y, data.s, column, sides, lambda2
        exact, *exact_counts = naive.newton(*rows, point, 1e-2, goal, 50)
        np.testing.assert_allclose(ends[c], exact, rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(counts[c], exact_counts)


def test_newton_on_several_problems_ends_at_their_minima():
    """Where no goal stops it, the gradient of each is 0: to half of the digits at least."""
    problems = BinaryProblems()
    problems.goals[:] = 0.0
    data = problems.data
    ends, counts = problems.run(tol=0.0)
    assert counts[:, 0].max() < 25
    for column, sides, lambda2, end in zip(*problems.of(slice(None))[:3], ends, strict=True):
        _, gradient = naive.smooth(data.A, data.y, data.s, column, sides, lambda2, data.p, end)
        assert naive.violation(gradient, data.center) < 1e-8


def test_newton_on_problems_in_another_order_is_the_same():
    problems = BinaryProblems()
    ends, counts = problems.run()
    order = np.array([4, 2, 6, 0, 5, 3, 1])
    other_ends, other_counts = problems.run(order)
    np.testing.assert_array_equal(other_ends, ends[order])
    np.testing.assert_array_equal(other_counts, counts[order])


def test_problems_that_cannot_go_on_do_not_stop_the_others():
    """A start that is not finite, a Hessian that is singular, a loss beyond any float."""
    problems = BinaryProblems(p=3)
    expected, expected_counts = problems.run()
    problems.data.blocks_A[:, 2] = 0.0
    problems.lambda2[0] = 0.0
    problems.points[2, 0, 0] = np.nan
    problems.points[4] = 1e308
    ends, counts = assert_each_as_by_itself(problems)
    np.testing.assert_array_equal(ends[[0, 2]], problems.points[[0, 2]])
    np.testing.assert_array_equal(counts[[0, 2]], [[0, 1]] * 2)
    for c in (1, 3, 5, 6):
        assert counts[c, 0] > 0
        assert not np.array_equal(ends[c], problems.points[c])
    assert expected.shape == ends.shape
    assert (expected_counts[:, 0] > 0).all()


@pytest.mark.recompiles
def test_newton_takes_read_only_input():
    problems = BinaryProblems()
    expected, expected_counts = problems.run()
    data = problems.data
    for name in ("blocks_A", "center", "blocks_y", "blocks_s"):
        setattr(data, name, read_only(getattr(data, name)))
    columns, sides, lambda2, points, goals = problems.of(slice(None))
    frozen = [read_only(array) for array in (columns, sides, lambda2)]
    ends, counts = data.run_all(*frozen, points, read_only(goals))
    np.testing.assert_allclose(ends, expected, rtol=1e-12)
    np.testing.assert_array_equal(counts, expected_counts)


def test_newton_of_no_problems_does_nothing():
    ends, counts = BinaryProblems().run(slice(0, 0))
    assert ends.shape == (0, 1, 4)
    assert counts.shape == (0, 2)


# ---- null models, whose first Hessian is shared ---------------------------------------------


def null_models(p=3, fit_intercept=True, blocks=2, share=0.0):
    """Problems that start with intercepts alone, near and far from the best, and equal sides."""
    problems = BinaryProblems(p, fit_intercept, blocks, share)
    problems.sides[:] = 1.0
    problems.points[:, :, :p] = 0.0
    problems.points[:, 0, p:] = np.array([0, -0.5, 3, 1, 0, -2, 0.5])[:, None]
    problems.goals[:] = 1e-5, 1e-6, 1e-5, 1e-2, np.inf, 1e-6, 1e-4
    return problems


@over_blocks
@pytest.mark.parametrize("p", [0, 1, 5])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.15])
def test_newton_on_null_models_is_newton_on_each(share, fit_intercept, p, blocks):
    """The order in which they stand does not matter, nor do steps after the first."""
    problems = null_models(p, fit_intercept, blocks, share)
    _, first = assert_each_as_by_itself(problems, null=True, limits=1, tol=0.0)
    assert (first[:, 0] == 1).all()
    ends, counts = assert_each_as_by_itself(problems, null=True)
    assert p == 0 or len(np.unique(counts[:, 0])) > 1
    order = np.array([2, 5, 0, 6, 1, 4, 3])
    other_ends, other_counts = problems.run(order, null=True)
    np.testing.assert_allclose(other_ends, ends[order], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(other_counts, counts[order])


@pytest.mark.parametrize("c", range(7))
def test_newton_on_one_null_model_knows_it(c):
    """The factor of its Hessian is its own."""
    problems = null_models()
    end, counts = problems.run([c], null=True)
    expected, expected_counts = problems.run([c])
    np.testing.assert_allclose(end, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(counts, expected_counts)


@over_blocks
def test_newton_on_null_models_goes_where_its_twins_do(blocks):
    problems = null_models(5, True, blocks)
    data = problems.data
    ends, counts = problems.run(null=True)
    for c, (column, sides, lambda2, point, goal) in enumerate(
        zip(*problems.of(slice(None)), strict=True)
    ):
        rows = data.A, data.center, data.y, data.s, column, sides, lambda2
        exact, *exact_counts = naive.newton(*rows, point, 1e-2, goal, 50)
        np.testing.assert_allclose(ends[c], exact, rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(counts[c], exact_counts)


def test_null_models_share_a_hessian_of_all_rows():
    """Rows of little weight count in it, which else are left out."""
    problems = null_models(share=0.9)
    problems.data.blocks_s[:, ::2] *= 1e-3
    shared, _ = problems.run(limits=1, tol=0.0, null=True)
    exact, _ = problems.run(limits=1, tol=0.0, shares=np.zeros(7))
    np.testing.assert_allclose(shared, exact, rtol=1e-12, atol=1e-12)
    without, _ = problems.run(limits=1, tol=0.0)
    assert (np.abs(without - exact).max(axis=(1, 2)) > 1e-6).all()


def test_null_models_share_no_later_hessian():
    """Each is of a point, and without rows, of its own."""
    problems = null_models(share=0.9)
    for limit in (2, 3):
        ends, _ = problems.run(limits=limit, tol=0.0, null=True)
        exact, _ = problems.run(limits=limit, tol=0.0, null=True, shares=np.zeros(7))
        assert (np.abs(ends - exact).max(axis=(1, 2)) > 1e-9).sum() > 3
