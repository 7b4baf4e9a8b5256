"""What the tests of kernels share: data, sparse matrices, logits with known losses, problems."""

import importlib
import math
import pkgutil

import naive
import numba
import numpy as np
import pytest

from sk_softmax import _kernels
from sk_softmax._kernels import newton, tiles

LN2 = math.log(2)

# In pure Python, NumPy's scalars warn where compiled code is silent.
overflow_is_no_accident = pytest.mark.filterwarnings("ignore::RuntimeWarning")
needs_wide = pytest.mark.skipif(
    not naive.WIDE_IS_WIDER, reason="no float here is wide enough to measure ulps of float64"
)
needs_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the JIT is off")
over_coupling = pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "one-vs-all"])


def kernels():
    """Every kernel by module and name; none with the JIT off."""
    found = {}
    for module in pkgutil.iter_modules(_kernels.__path__, _kernels.__name__ + "."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if hasattr(value, "py_func") and value.__module__ == module.name:
                found[f"{module.name.rpartition('.')[2]}.{name}"] = value
    return found


def read_only(array):
    """A view of ``array`` that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def assert_close(result, exact, scale=1.0):
    """Equal up to the rounding of sums of terms about as large as ``scale``."""
    exact = np.asarray(exact, dtype=np.float64)
    np.testing.assert_allclose(result, exact, rtol=1e-13, atol=1e-13 * scale)


def rows_of_logits(n, K, seed=0):
    """Logits (n, K), classes and weights."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=5.0, size=(n, K)), rng.integers(K, size=n), rng.uniform(0, 2, n)


def columns_of_logits(K, m, seed=0):
    """Logits (K, m), classes and weights."""
    Z, y, s = rows_of_logits(m, K, seed)
    return np.ascontiguousarray(Z.T), y, s


def padded(Z, K, m, fill):
    """Z (at most K, at most m) in the corner of an array (K, m) of ``fill``."""
    result = np.full((K, m), fill)
    result[: Z.shape[0], : Z.shape[1]] = Z
    return result


def ova_sides(K, seed=0, classes=0):
    """columns, positive, negative; the columns not in order, of K or more classes."""
    rng = np.random.default_rng(seed)
    columns = rng.permutation(max(K, classes))[:K]
    return columns, rng.uniform(0.5, 2, K), rng.uniform(0.5, 2, K)


def exp_arguments():
    """[-708, 0]: evenly, near 0, and at both sides of where the range reduction turns over."""
    rng = np.random.default_rng(0)
    turns = -(np.arange(1021) + 0.5) * LN2
    near = turns[:, None] + np.arange(-2, 3) * np.spacing(turns)[:, None]
    even = rng.uniform(-708, 0, 20_000)
    small = -(10.0 ** rng.uniform(-20, 0, 5_000))
    return np.concatenate([even, small, near.ravel(), [-708.0, -LN2, -1.0]])


def with_one_bad_entry(X, row, bad):
    X = X.copy()
    X[row, 1] = bad
    return read_only(X)


def derivative(f, point, at):
    """Five-point central difference of ``f`` in the coordinate ``at`` of ``point``."""
    h = 1e-3
    values = []
    for step in (-2, -1, 1, 2):
        moved = point.copy()
        moved[at] += step * h
        values.append(f(moved))
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)


def probabilities(K, m, seed=0):
    """P (K, m), some of them 0 and 1, and weights."""
    Z, _, s = columns_of_logits(K, m, seed)
    P = naive.softmax(naive.wide(Z.T)).T.astype(np.float64)
    P[:, 0] = np.arange(K) == K - 1
    return np.ascontiguousarray(P), s


def curvature_state(n, K, softmax, seed=0):
    """What `couple_rows` takes, (n, K), and weights."""
    P, s = probabilities(K, n, seed)
    P = np.ascontiguousarray(P.T)
    return (P if softmax else s[:, None] * P * (1 - P)), s


SOFTMAX_EXTREMES = {
    # logits, class, loss, residual
    "far right": ([1e308, -1e308, 0.0], 0, 0.0, [0, 0, 0]),
    "far wrong": ([8e307, -8e307, 0.0], 1, 1.6e308, [1, -1, 0]),
    "wrong beyond what a float holds": ([1e308, -1e308, 0.0], 1, np.inf, [1, -1, 0]),
    "all large": ([1e308, 1e308], 0, LN2, [-0.5, 0.5]),
    "all very negative": ([-1e308, -1e308], 1, LN2, [0.5, -0.5]),
    "impossible class": ([-np.inf, 0.0], 1, 0.0, [0, 0]),
    "impossible class came": ([-np.inf, 0.0], 0, np.inf, [-1, 1]),
    "subnormal": ([5e-324, -5e-324], 0, LN2, [-0.5, 0.5]),
    "negative zero": ([-0.0, 0.0], 0, LN2, [-0.5, 0.5]),
}


SIGMOID_EXTREMES = {
    # logit, is of the class, loss, residual
    "far right": (1e308, True, 0.0, 0.0),
    "far wrong": (-1e308, True, 1e308, -1.0),
    "other class, far right": (-1e308, False, 0.0, 0.0),
    "other class, far wrong": (1e308, False, 1e308, 1.0),
    "infinitely right": (np.inf, True, 0.0, 0.0),
    "infinitely wrong": (-np.inf, True, np.inf, -1.0),
    "subnormal": (5e-324, True, LN2, -0.5),
    "negative zero": (-0.0, False, LN2, 0.5),
    "loss below 1e-300": (-700.0, False, math.exp(-700.0), math.exp(-700.0)),
}


def csr_problem(data_type=np.float64, index_type=np.int32, n=40, p=11):
    """A CSR matrix with empty rows and columns, duplicate and explicit zero entries."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 10, n)  # around the unrolled 4
    counts[[0, 3, n - 1]] = 0  # rows; column p - 1 is empty too
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index_type)
    indices = rng.integers(0, p - 1, indptr[-1]).astype(index_type)
    data = rng.normal(size=indices.size).astype(data_type)
    data[::7] = 0.0
    return read_only(data), read_only(indices), read_only(indptr)


def ascending_csr(data_type=np.float64, index_type=np.int32, n=40, p=11):
    """A CSR matrix in canonical order, with empty rows and columns and explicit zeros."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(rng.random(p - 1) < 0.4) for _ in range(n)]
    rows[0] = rows[3] = rows[n - 1] = np.empty(0, dtype=int)
    indptr = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(index_type)
    indices = np.concatenate(rows).astype(index_type)
    data = rng.normal(size=indices.size).astype(data_type)
    data[::7] = 0.0
    return read_only(data), read_only(indices), read_only(indptr)


over_ranges = pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (3, 4), (7, 40), (11, 12), (40, 40)]
)


def with_one_bad_value(matrix, bad):
    """The matrix with a bad first entry of a row, and that row."""
    data, indices, indptr = matrix
    data = data.copy()
    row = int(np.flatnonzero(np.diff(indptr) > 1)[0])
    data[indptr[row]] = bad
    return (read_only(data), indices, indptr), row


class NewtonProblem:
    """What Newton's kernels take, in ``blocks`` filled up with rows of weight 0; its twin's.

    Where rows may be left out (``share``), blocks are of whole vector registers.
    """

    def __init__(
        self,
        K=3,
        p=2,
        fit_intercept=True,
        blocks=1,
        n=41,
        lambda2=0.01,
        seed=0,
        share=0.0,
        signal=0.5,
    ):
        rng = np.random.default_rng(seed)
        self.K, self.p, self.q, self.lambda2 = K, p, p + fit_intercept, lambda2
        self.share = share
        self.y = rng.integers(K if K > 1 else 3, size=n)
        self.s = rng.uniform(0.5, 2, n) / n
        X = rng.normal(size=(n, p)) + signal * (self.y[:, None] == np.arange(p))
        self.center = 3.0 + X.mean(axis=0) if fit_intercept else np.zeros(p)
        self.A = np.ones((self.q, n))
        self.A[:p] = X.T - X.mean(axis=0)[:, None] if fit_intercept else X.T
        self.column, self.sides = -1, np.ones(2)
        if K == 1:
            self.column, self.sides = 1, np.array([0.75, 1.5])
        m = -(-n // blocks)
        self.rows_a_block = m = m + -m % tiles.LANES if share else m
        self.blocks_A = np.zeros((blocks, self.q, m))
        self.blocks_y = np.zeros((blocks, m), dtype=np.int64)
        self.blocks_s = np.zeros((blocks, m))
        for b in range(blocks):
            rows = slice(b * m, min((b + 1) * m, n))
            filled = rows.stop - rows.start
            self.blocks_A[b, :, :filled] = self.A[:, rows]
            self.blocks_y[b, :filled] = self.y[rows]
            self.blocks_s[b, :filled] = self.s[rows]

    def point(self, scale=0.0, seed=0):
        return scale * np.random.default_rng(seed).normal(size=(self.K, self.q))

    def run(self, point, tol=1e-2, goal=1e-5, limit=50, share=None):
        """Where the kernel ends, its steps and its evaluations."""
        if self.K > 1:
            end, counts = point.copy(), np.zeros(2, dtype=np.int64)
            data = self.blocks_A, self.center, self.blocks_y, self.blocks_s
            gradient = np.empty_like(end)
            value = newton.newton_softmax(
                *data, self.lambda2, end, tol, goal, limit, gradient, counts
            )
            self.known = np.array([value]), gradient[None]
            return end, *counts
        ends, counts = self.run_all(
            np.array([self.column]),
            self.sides[None],
            np.array([self.lambda2]),
            point[None],
            np.array([goal]),
            tol,
            limit,
            shares=None if share is None else np.array([share]),
        )
        return ends[0], *counts[0]

    def run_all(
        self,
        columns,
        sides,
        lambda2,
        points,
        goals,
        tol=1e-2,
        limits=50,
        null=False,
        shares=None,
    ):
        """Where the kernel ends in several binary problems, and its counts; ``shares`` change.

        What the kernel knows of the ends is kept as ``known``.
        """
        ends, counts = points.copy(), np.zeros((len(points), 2), dtype=np.int64)
        limits = np.broadcast_to(limits, len(points)).astype(np.int64)
        shares = np.full(len(points), self.share) if shares is None else shares
        data = self.blocks_A, self.center, self.blocks_y, self.blocks_s
        kinds = columns, sides, lambda2
        self.known = np.empty(len(points)), np.empty_like(ends)
        newton.newton_binary(
            *data, *kinds, ends, tol, goals, limits, null, shares, *self.known, counts
        )
        return ends, counts

    def rows(self):
        return self.A, self.y, self.s, self.column, self.sides

    def twin(self, point, tol=1e-2, goal=1e-5, max_iter=50):
        A, *rest = self.rows()
        blocks = self.share, self.rows_a_block
        return naive.newton(
            A, self.center, *rest, self.lambda2, point, tol, goal, max_iter, *blocks
        )

    def smooth(self, point):
        return naive.smooth(*self.rows(), self.lambda2, self.p, point)

    def violation(self, point):
        return naive.violation(self.smooth(point)[1], self.center)

    def hessian(self, point, share=0.0):
        """F's Hessian from the twin, without the rows that a share leaves out."""
        D = naive.curvature(*self.rows(), point)
        if share:
            D = naive.rows_of_weight(D[0], share, self.rows_a_block)[None]
        return naive.hessian(self.A, D, self.lambda2, self.p).astype(np.float64)

    def decrement(self, point, share=0.0):
        """Newton's, from the twin."""
        gradient = self.smooth(point)[1].astype(np.float64).ravel()
        return gradient @ np.linalg.solve(self.hessian(point, share), gradient) / 2


class BinaryProblems:
    """Problems on the same rows, of all kinds: near their ends and far, easy and impossible.

    Each has a class, factors on its sides, a penalty, a start and a goal of its own.
    """

    def __init__(self, p=3, fit_intercept=True, blocks=2, share=0.0):
        self.data = NewtonProblem(1, p, fit_intercept, blocks, share=share)
        rng = np.random.default_rng(1)
        m, q = 7, self.data.q
        self.columns = np.array([1, 0, 2, 1, 2, 0, 1])
        self.sides = rng.uniform(0.5, 2, (m, 2))
        self.lambda2 = np.array([0.01, 1.0, 1e-4, 1e-3, 0.1, 1e-2, 1e-2])
        self.points = np.array([0, 1, 8, 3, 0.1, 1, 0])[:, None, None] * rng.normal(size=(m, 1, q))
        # where one is reached, F still shows the last step, however sums are rounded
        self.goals = np.array([1e-5, 1e-11, 1e-5, 1e-2, np.inf, -1.0, 1e-8])

    def of(self, chosen):
        """What `NewtonProblem.run_all` takes for some of the problems."""
        arrays = self.columns, self.sides, self.lambda2, self.points, self.goals
        return [array[chosen] for array in arrays]

    def run(self, chosen=slice(None), **params):
        return self.data.run_all(*self.of(chosen), **params)


def assert_each_as_by_itself(problems, null=False, **params):
    """Where it ends, its steps and evaluations: to the bit, as null models to a rounding."""
    ends, counts = problems.run(null=null, **params)
    eps = 1e-12 if null else 0.0
    for c in range(len(ends)):
        end, own = problems.run([c], **params)
        np.testing.assert_allclose(ends[c], end[0], rtol=eps, atol=eps)
        np.testing.assert_array_equal(counts[c], own[0])
    return ends, counts
