"""Small problems for the tests of the inner layers, and what slow code makes of them.

Points are arrays (K, q), as `sk_softmax._objective` has them, and a problem is what converges by
itself.
"""

from dataclasses import dataclass
from typing import Any

import naive
import numba
import numpy as np
import pytest
from scipy import sparse

from sk_softmax._objective import make_objective
from sk_softmax._solvers import in_cache, l1_in_cache
from sk_softmax._threads import Workers, one_blas_thread

needs_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="too slow without the JIT")


@pytest.fixture(autouse=True, scope="module")
def as_in_a_fit():
    """For modules that import it: BLAS at one thread throughout."""
    with one_blas_thread():
        yield


LOSSES = {
    "softmax": {"n_classes": 3, "coupled": True},
    "one-vs-all": {"n_classes": 3, "coupled": False},
    "balanced": {"n_classes": 3, "coupled": False, "balanced": True},
    "binary": {"n_classes": 2, "coupled": True},
    "binary balanced": {"n_classes": 2, "coupled": False, "balanced": True},
}
PENALTIES = {
    "l2": {"C": 0.5, "l1_ratio": 0.0},
    "elastic net": {"C": 0.5, "l1_ratio": 0.5},
    "l1": {"C": 0.5, "l1_ratio": 1.0},
    "none": {"C": np.inf, "l1_ratio": 0.0},
}


def out_of_cache(monkeypatch):
    """Let small problems be solved as larger ones are."""
    monkeypatch.setattr(in_cache, "WORK", 0)
    monkeypatch.setattr(l1_in_cache, "ENTRIES", 0)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def strided(X):
    """X as every second row and column of a larger array, from the end."""
    large = np.full((2 * X.shape[0], 2 * X.shape[1]), np.nan)
    large[::-2, ::-2] = X
    return large[::-2, ::-2]


def long_indices(X):
    """CSR with int64 indices."""
    X = sparse.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unordered(X):
    """CSR with every entry stored as two halves, the indices of a row descending."""
    X = sparse.csr_matrix(X)
    twice = np.repeat(np.arange(X.nnz), 2)
    for lo, hi in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        twice[2 * lo : 2 * hi] = twice[2 * lo : 2 * hi][::-1]
    return sparse.csr_matrix((X.data[twice] / 2, X.indices[twice], 2 * X.indptr), shape=X.shape)


DENSE = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": strided,
    "read-only": read_only,
    "float32": lambda X: X.astype(np.float32),
    "float32 F": lambda X: np.asfortranarray(X, dtype=np.float32),
}
SPARSE = {
    "CSR": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "CSR float32": lambda X: sparse.csr_matrix(X.astype(np.float32)),
    "CSR int64": long_indices,
    "CSR unordered": unordered,
}
STORAGE = DENSE | SPARSE


def over(parameter, values):
    """Parametrise over a mapping of names to values."""
    return pytest.mark.parametrize(parameter, values.values(), ids=values)


class CountingWorkers(Workers):
    """Workers that remember how many parts each call had."""

    def __init__(self, n_threads=1):
        super().__init__(n_threads)
        self.parts = []

    def map(self, function, parts, worth):
        parts = list(parts)
        self.parts.append(len(parts))
        return super().map(function, parts, worth)


def half_empty(n, p, seed=0):
    """Normal entries (n, p), every second one 0, that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.5)
    return X.astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Problem:
    """What `make_objective` takes, with the slow twins of what it makes."""

    X: Any
    y: np.ndarray
    s: np.ndarray
    n_classes: int
    coupled: bool
    balanced: bool = False
    C: float = 1.0
    l1_ratio: float = 0.0
    fit_intercept: bool = True

    def objective(self, workers=None):
        return make_objective(
            self.X,
            self.y,
            self.s,
            n_classes=self.n_classes,
            coupled=self.coupled,
            balanced=self.balanced,
            C=self.C,
            l1_ratio=self.l1_ratio,
            fit_intercept=self.fit_intercept,
            workers=workers or Workers(1),
        )

    @property
    def softmax(self):
        return self.coupled and self.n_classes > 2

    @property
    def columns(self):
        return np.array([1]) if self.n_classes == 2 else np.arange(self.n_classes)

    @property
    def shape(self):
        """(K, q)"""
        return self.columns.size, self.X.shape[1] + self.fit_intercept

    @property
    def weights(self):
        """s / S"""
        return self.s / self.s.sum()

    @property
    def lambdas(self):
        """lambda1 and lambda2."""
        scale = 1 / (self.C * self.s.sum())
        return self.l1_ratio * scale, (1 - self.l1_ratio) * scale

    @property
    def sides(self):
        """One-vs-all: the factors on the weights of each class's rows and of the others."""
        share = np.bincount(self.y, self.weights)[self.columns]
        if self.balanced:
            return 0.5 / share, 0.5 / (1 - share)
        return np.ones_like(share), np.ones_like(share)

    def dense(self):
        """X as a float64 array."""
        X = self.X.toarray() if sparse.issparse(self.X) else self.X
        return np.asarray(X, dtype=np.float64)

    def features(self):
        """X, with a column of ones for the intercept."""
        X = self.dense()
        return np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X

    def split(self, point):
        p = self.X.shape[1]
        return point[:, :p], point[:, p] if self.fit_intercept else np.zeros(len(point))

    def points(self, count, scale=1.0, seed=0):
        """Random points, a third of the coefficients 0."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            point = rng.normal(scale=scale, size=self.shape)
            point[:, : self.X.shape[1]] *= rng.random((self.shape[0], self.X.shape[1])) < 0.67
            yield point

    # ---- twins --------------------------------------------------------------------------

    def loss_gradient(self, point):
        """Mean losses (m,) and their gradient (K, q)."""
        rows = (self.dense(), self.y, self.weights)
        if self.softmax:
            loss, G, g = naive.dense_softmax(*rows, *self.split(point))
        else:
            loss, G, g = naive.dense_sigmoid(*rows, self.columns, *self.sides, *self.split(point))
        gradient = np.column_stack([G, g]) if self.fit_intercept else G
        return np.atleast_1d(loss), gradient

    def by_problem(self, values):
        """Sums of (K, ...) over all but the first axis, and over that for softmax."""
        sums = values.reshape(len(values), -1).sum(axis=1)
        return sums.sum(keepdims=True) if self.softmax else sums

    def value(self, point):
        """F, (m,), in the widest float there is."""
        lambda1, lambda2 = self.lambdas
        coef = naive.wide(self.split(point)[0])
        penalty = lambda2 / 2 * coef**2 + lambda1 * np.abs(coef)
        return self.loss_gradient(point)[0] + self.by_problem(penalty)

    def violation(self, point):
        """Distance from 0 to the subdifferential, coordinate by coordinate, (K, q)."""
        lambda1, lambda2 = self.lambdas
        _, gradient = self.loss_gradient(point)
        result = np.empty(self.shape)
        for k, q in np.ndindex(self.shape):
            w, slope = point[k, q], gradient[k, q]
            if q == self.X.shape[1]:
                low = high = slope
            elif w == 0:
                low, high = slope - lambda1, slope + lambda1
            else:
                low = high = slope + lambda2 * w + lambda1 * np.sign(w)
            result[k, q] = 0 if low <= 0 <= high else min(abs(low), abs(high))
        return result

    def optimality(self, point):
        """Largest KKT violation, (m,)."""
        violation = self.violation(point)
        return violation.max(axis=None if self.softmax else 1, keepdims=self.softmax).ravel()

    def probability(self, point):
        """(n, K)"""
        Z = naive.logits(self.dense(), *self.split(point))
        return naive.softmax(Z) if self.softmax else naive.sigmoid(Z)

    def null_value(self):
        """F of the best model that ignores the features, (m,): an entropy."""
        values = []
        for Y, _, weights, _ in self.as_simplex(np.zeros(self.shape)):
            share = weights @ Y if self.fit_intercept else np.full(Y.shape[1], 1 / Y.shape[1])
            values.append(-(share * np.log(share)).sum())
        return np.array(values)

    def point_of(self, solution):
        """The point (K, q) that a solution holds."""
        return np.column_stack([solution.coef, solution.intercept])[:, : self.shape[1]]

    def as_simplex(self, point):
        """Each problem as Y and P (n, classes), weights (n,), and the columns with coefficients."""
        P = self.probability(point)
        Y = naive.wide(naive.is_class(self.y, self.columns))
        if self.softmax:
            return [(Y, P, naive.wide(self.weights), slice(None))]
        weights = self.weights[:, None] * np.where(Y == 1, *self.sides)
        return [
            (np.column_stack([1 - y, y]), np.column_stack([1 - p, p]), naive.wide(w), slice(1, 2))
            for y, p, w in zip(Y.T, P.T, weights.T, strict=True)
        ]

    def lower_bound(self, point):
        """A dual value D(Q) <= min F per problem, (m,), with Q (n, classes) written out."""
        X = naive.wide(self.dense())
        return np.array([self._dual_value(X, *problem) for problem in self.as_simplex(point)])

    def _dual_value(self, X, Y, P, weights, columns):
        lambda1, lambda2 = self.lambdas
        Q = P
        if self.fit_intercept:
            wanted, totals = weights @ Y, weights @ P
            eps = max(0, (1 - wanted / np.maximum(totals, np.finfo(float).tiny)).max())
            if eps > 0:
                T = np.maximum(wanted - (1 - eps) * totals, 0)
                T = T if T.any() else wanted  # eps is rounding
                Q = (1 - eps) * P + eps * T / T.sum()
            np.testing.assert_allclose(
                (weights @ Q).astype(float), wanted.astype(float), rtol=1e-14, atol=1e-14
            )
        largest = np.abs((weights[:, None] * (Y - Q)).T[columns] @ X).max()
        pull = min(1, lambda1 / largest) if largest > 0 else 1
        bounds = []
        for tau in (pull, 1) if lambda2 > 0 else (pull,):
            mixed = Y + tau * (Q - Y)
            entropy = -(weights @ (mixed * np.log(np.where(mixed > 0, mixed, 1)))).sum()
            G = (weights[:, None] * (Y - mixed)).T[columns] @ X
            excess = np.maximum(np.abs(G) - lambda1, 0)
            bounds.append(entropy - ((excess**2).sum() / (2 * lambda2) if lambda2 > 0 else 0))
        return max(bounds)

    def hessian(self, point):
        """Hessian of F's smooth part in (coef, intercept), one (d, d) a problem."""
        A, p = self.features(), self.X.shape[1]
        matrices = []
        for _, P, weights, columns in self.as_simplex(point):
            P, weights = P.astype(float)[:, columns], weights.astype(float)
            K, q = P.shape[1], A.shape[1]
            H = np.zeros((K, q, K, q))
            for k, other in np.ndindex(K, K):
                curvature = weights * P[:, k] * ((k == other) - P[:, other])
                H[k, :, other] = (A * curvature[:, None]).T @ A
            ridge = np.tile(np.arange(q) < p, K) * self.lambdas[1]
            matrices.append(H.reshape(K * q, K * q) + np.diag(ridge))
        return matrices

    def decrement(self, point):
        """Half of g' H^-1 g per problem, (m,): what a Newton step promises."""
        _, gradient = self.loss_gradient(point)
        slope = gradient.astype(float)
        slope[:, : self.X.shape[1]] += self.lambdas[1] * self.split(point)[0]
        result = []
        for H, g in zip(
            self.hessian(point), slope.reshape(len(self.value(point)), -1), strict=True
        ):
            scale = 1 / np.sqrt(np.where(H.diagonal() > 0, H.diagonal(), 1.0))
            step = np.linalg.lstsq(H * scale[:, None] * scale, scale * g, rcond=1e-13)[0]
            result.append(scale * g @ step / 2)
        return np.array(result)


def make_problem(
    loss="softmax", penalty="l2", storage="C", fit_intercept=True, *, n=60, p=4, seed=0, **changes
):
    """A weighted problem of overlapping classes, with an optimum also without a penalty."""
    parameters = LOSSES[loss] | PENALTIES[penalty] | changes
    K = parameters["n_classes"]
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(K), rng.integers(K, size=n - K)])
    X = half_empty(n, p, seed) + 0.25 * (y[:, None] == np.arange(p))
    return Problem(
        STORAGE[storage](X),
        y,
        rng.integers(1, 9, n) / 4,
        fit_intercept=fit_intercept,
        **parameters,
    )
