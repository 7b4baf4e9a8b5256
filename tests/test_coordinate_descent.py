"""Coordinate descent minimises the model; with columns it is the same as with the Hessian."""

import numpy as np
import pytest
from scipy import sparse

from sk_softmax._kernels.coordinate_descent import descend, descend_columns


def quadratic(seed, a=12, rank=30):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(rank, a)) * 10.0 ** rng.uniform(-2, 2, a)
    H = A.T @ A / rank
    slope = 3 * np.sqrt(H.diagonal()) * rng.normal(size=a)
    w = np.where(rng.random(a) < 0.5, 0.0, rng.normal(size=a) / np.sqrt(H.diagonal()))
    lambda1 = np.sqrt(H.diagonal()) * rng.uniform(0, 2, a)
    lambda1[0] = 0.0  # an intercept
    return H, slope, w, lambda1, rng.uniform(0, 1, a) * H.diagonal() * rng.integers(2)


def violation(H, slope, w, lambda1, lambda2, d):
    """The KKT violation of each coordinate at d, in units of its curvature."""
    at = w + d
    smooth = slope + H @ d + lambda2 * at
    off = np.where(at == 0, np.maximum(np.abs(smooth) - lambda1, 0), smooth + lambda1 * np.sign(at))
    return np.abs(off) / np.sqrt(H.diagonal())


@pytest.mark.parametrize("seed", range(20))
def test_it_ends_at_the_optimum_of_the_model(seed):
    H, slope, w, lambda1, lambda2 = quadratic(seed)
    d, at = np.zeros(w.size), slope.copy()
    sweeps = descend(H, at, w, lambda1, lambda2, 1e-24, 100_000, d)
    assert 1 < sweeps < 100_000
    assert violation(H, slope, w, lambda1, lambda2, d).max() < 1e-8
    np.testing.assert_allclose(at, slope + H @ d, atol=1e-9 * np.abs(slope).max())
    assert ((w + d == 0) | (w + d != 0)).all()
    assert (w + d == 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_it_may_go_on_from_where_it_was(seed):
    H, slope, w, lambda1, lambda2 = quadratic(seed)
    results = []
    for efforts in ((100_000,), (1, 3, 100_000)):
        d, at = np.zeros(w.size), slope.copy()
        for most in efforts:
            assert descend(H, at, w, lambda1, lambda2, 1e-24, most, d) <= most
        results.append(d)
    np.testing.assert_allclose(*results, atol=1e-8 * np.abs(results[0]).max())


def test_one_sweep_is_one_soft_threshold_after_another():
    H, slope, w, lambda1, lambda2 = quadratic(0)
    d, at = np.zeros(w.size), slope.copy()
    assert descend(H, at, w, lambda1, lambda2, 0.0, 1, d) == 1
    by_hand = np.zeros(w.size)
    for j in range(w.size):
        h = H[j, j] + lambda2[j]
        rest = slope[j] + H[j] @ by_hand - H[j, j] * (w[j] + by_hand[j])
        target = -np.sign(rest) * max(abs(rest) - lambda1[j], 0.0) / h
        by_hand[j] = target - w[j]
    np.testing.assert_allclose(d, by_hand, rtol=1e-9, atol=1e-12)


def test_a_solved_model_takes_one_sweep_and_no_step():
    H = np.eye(3)
    d, at = np.zeros(3), np.array([0.5, -0.5, 0.0])
    assert descend(H, at, np.zeros(3), np.ones(3), np.zeros(3), 0.0, 100, d) == 1
    assert not d.any()


class Columns:
    """A working set of softmax or of one binary problem, over a CSR X; `Hessian` by hand."""

    def __init__(self, seed, softmax, n=40, p=6):
        rng = np.random.default_rng(seed)
        self.K = K = 3 if softmax else 1
        X = rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.4)
        X[:, 2] = 0.0  # no entries
        transposed = sparse.csr_matrix(X.T)
        self.columns = transposed.data, transposed.indices, transposed.indptr
        s = rng.uniform(0.5, 2, n) / n
        P = rng.dirichlet(np.ones(3), n).T if softmax else rng.uniform(0.1, 0.9, (1, n))
        self.Q = np.ascontiguousarray(s * P if softmax else s * P * (1 - P))
        self.inverse = 1 / s if softmax else np.zeros(n)
        mask = rng.random((K, p + 1)) < 0.8
        mask[:, p] = True
        self.outputs, self.features = np.nonzero(mask)
        A = np.column_stack([X, np.ones(n)])
        D = [np.diag(p) - np.outer(p, p) for p in P.T] if softmax else (P * (1 - P)).T[:, :, None]
        whole = sum(w * np.kron(d, np.outer(x, x)) for w, d, x in zip(s, D, A, strict=True))
        self.H = whole[np.ix_(mask.ravel(), mask.ravel())]
        a = self.features.size
        self.slope = rng.normal(size=a) * 0.3
        self.w = np.where((rng.random(a) < 0.5) & (self.features < p), rng.normal(size=a), 0.0)
        self.lambda1 = np.where(self.features < p, 0.05, 0.0)
        self.lambda2 = np.where(self.features < p, 0.01, 0.0)
        self.slope[self.features == 2] = 0.0
        self.slope[self.features == p] -= self.slope[self.features == p].mean() * softmax

    def solve(self, tol, most):
        a, n = self.features.size, self.inverse.size
        U, t, d = np.zeros((self.K, n)), np.zeros(n), np.zeros(a)
        curvature = np.full(a, -1.0)
        sweeps = descend_columns(
            self.columns,
            self.features,
            self.outputs,
            self.Q,
            self.inverse,
            self.slope,
            self.w,
            self.lambda1,
            self.lambda2,
            tol,
            most,
            U,
            t,
            curvature,
            d,
        )
        return sweeps, d, U, t, curvature


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("most", [1, 2, 50])
def test_by_columns_as_with_the_hessian(seed, softmax, most):
    model = Columns(seed, softmax)
    sweeps, d, U, t, curvature = model.solve(1e-20, most)
    expected, at = np.zeros(d.size), model.slope.copy()
    same = descend(model.H + 0.0, at, model.w, model.lambda1, model.lambda2, 1e-20, most, expected)
    empty = model.features == 2
    assert not d[empty & (model.w == 0)].any()
    assert sweeps == same
    np.testing.assert_allclose(d, expected, atol=1e-10)
    seen = curvature >= 0
    np.testing.assert_allclose(curvature[seen], model.H.diagonal()[seen], atol=1e-13)
    coef = np.zeros((model.K, 7))
    coef[model.outputs, model.features] = d
    X = sparse.csr_matrix(model.columns, shape=(6, 40)).toarray().T
    np.testing.assert_allclose(U, (np.column_stack([X, np.ones(40)]) @ coef.T).T, atol=1e-11)
    np.testing.assert_allclose(t, (model.Q * model.inverse * U).sum(axis=0), atol=1e-11)


@pytest.mark.parametrize("softmax", [True, False])
def test_by_columns_to_the_optimum(softmax):
    model = Columns(0, softmax)
    _, d, *_ = model.solve(1e-24, 100_000)
    kept = model.H.diagonal() > 0
    off = violation(
        model.H[np.ix_(kept, kept)],
        *(x[kept] for x in (model.slope, model.w, model.lambda1, model.lambda2, d)),
    )
    assert off.max() < 1e-9
