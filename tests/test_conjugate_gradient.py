"""Conjugate gradients: every block is solved by itself, and rounding ends a block, not the fit."""

import numpy as np
import pytest

from sk_softmax._solvers.conjugate_gradient import conjugate_gradient


def system(condition, m=3, d=8, seed=0):
    """Symmetric positive definite blocks (m, d, d) and right-hand sides (m, d)."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(m, d, d)))[0]
    H = (Q * np.geomspace(1, condition, d)) @ Q.transpose(0, 2, 1)
    return H, rng.normal(size=(m, d))


def times(H):
    return lambda v: np.einsum("mij,mj->mi", H, v)


@pytest.mark.parametrize("tol", [0.1, 1e-6])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_each_block_leaves_a_small_residual(condition, tol):
    H, rhs = system(condition)
    residual = times(H)(conjugate_gradient(times(H), rhs, tol)) - rhs
    assert (np.linalg.norm(residual, axis=1) <= 1.001 * tol * np.linalg.norm(rhs, axis=1)).all()


@pytest.mark.parametrize("condition", [1e2, 1e14])
def test_a_block_does_not_see_the_others(condition):
    H, rhs = system(condition)
    together = conjugate_gradient(times(H), rhs)
    for k in range(3):
        alone = conjugate_gradient(times(H[k : k + 1]), rhs[k : k + 1])
        np.testing.assert_allclose(together[k], alone[0], rtol=1e-9)


@pytest.mark.parametrize("condition", [1e8, 1e16, 1e30])
def test_the_model_falls_along_the_solution_however_ill_conditioned(condition):
    H, rhs = system(condition)
    v = conjugate_gradient(times(H), rhs)
    assert np.isfinite(v).all()
    gain = (v * rhs).sum(axis=1)
    assert (gain > 0).all()
    exact = np.linalg.eigvalsh(H)[:, 0]
    assert (gain <= (rhs**2).sum(axis=1) / np.maximum(exact, 1e-300) * (1 + 1e-6)).all()


def test_identities_are_solved_at_once():
    products = []

    def product(v):
        products.append(1)
        return v * np.array([[1.0], [1e-8], [1e8]])

    rhs = np.ones((3, 4))
    np.testing.assert_allclose(
        conjugate_gradient(product, rhs), rhs / np.array([[1.0], [1e-8], [1e8]])
    )
    assert len(products) == 1


def test_a_flat_or_solved_block_stays_at_zero():
    H, rhs = system(10.0)
    H[0] = 0.0
    rhs[1] = 0.0
    v = conjugate_gradient(times(H), rhs)
    assert not v[:2].any()
    assert v[2].any()
