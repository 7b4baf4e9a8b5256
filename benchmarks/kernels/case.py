"""One problem in one dtype, as both libraries take it: ours, and scikit-learn's loss.

Values are compared before anything is timed. scikit-learn has no one-vs-all loss; its way there
is a binary one for each class, one after another.
"""

from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.linear_model._linear_loss import LinearModelLoss

from benchmarks import problems
from benchmarks.kernels.shapes import Text
from sk_softmax._objective import make_objective
from sk_softmax._solvers import cost
from sk_softmax._threads import Workers

__all__ = ["AGREEMENT", "Case", "agree", "cases"]

# How near two values must be, relative to the largest entry, by the dtype of X.
AGREEMENT = {"float64": 1e-9, "float32": 1e-4}
# scikit-learn adds float32 rows up in float32: of half a million, a few 1e-4 are lost.
IN_FLOAT32 = 1e-3
SEED = 0


def cases(shape, dtypes, data_dir=None):
    """The cases of a shape, one a dtype; they share what they can.

    Parameters
    ----------
    shape : Shape or Text
    dtypes : sequence of str
        Of {"float64", "float32"}, float64 first.
    data_dir : Path or None
        Where the data of a Text is.

    Yields
    ------
    Case
    """
    if isinstance(shape, Text):
        (problem,) = problems.select([shape.name])
        loaded = problems.load_case(problem, shape.formulation, data_dir)
        X, y = loaded.X, np.unique(loaded.y, return_inverse=True)[1]
    else:
        X, y = drawn(shape)
    for dtype in dtypes:
        X = X.astype(dtype, copy=False)
        yield Case(shape, X, y)


def drawn(shape):
    """Normal rows (n, p) in float64, and classes: each of them occurs."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((shape.n, shape.p))
    return X, rng.permutation(np.arange(shape.n) % shape.K)


def agree(ours, theirs, dtype, limit=None):
    """Raise `AssertionError` unless two values are the same up to rounding in a dtype.

    ``limit`` takes the place of `AGREEMENT`.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(float).tiny)
    if not error <= (AGREEMENT[dtype] if limit is None else limit):
        raise AssertionError(f"values differ by {error:.1e} of the largest, in {dtype}")


class Case:
    """X and y with a point at which losses and their derivatives are evaluated.

    Parameters
    ----------
    shape : Shape or Text
    X : ndarray or CSR matrix of shape (n, p), float64 or float32
    y : ndarray of shape (n,), int
        Codes of classes from 0 on, each present.

    Attributes
    ----------
    dtype : {"float64", "float32"}
    n_classes : int
    K : int
        Outputs: 1 for two classes.
    coupled : bool
        Softmax of more than two classes.
    point, direction : ndarray of shape (K, p + 1), float64
        Both are the same numbers in float32.
    """

    def __init__(self, shape, X, y):
        self.shape, self.X, self.y = shape, X, np.asarray(y, dtype=np.int64)
        self.dtype = str(X.dtype)
        (self.n, self.p), self.n_classes = X.shape, int(y.max()) + 1
        self.K = 1 if self.n_classes == 2 else self.n_classes
        self.coupled = shape.formulation == "softmax" and self.K > 1
        scale = 1.0 if sparse.issparse(X) else self.p**-0.5  # raw values of about 1
        rng = np.random.default_rng(SEED + 1)
        drawn = scale * rng.standard_normal((2, self.K, self.p + 1))
        self.point, self.direction = drawn.astype(np.float32).astype(np.float64)

    @property
    def name(self):
        if not sparse.issparse(self.X):
            return self.shape.name
        return f"{self.shape.name}: {self.n} x {self.p}, K={self.n_classes}, {self.X.nnz} non-zero"

    @property
    def n_bytes(self):
        """Bytes of X: what a sweep must read at least."""
        if sparse.issparse(self.X):
            return self.X.data.nbytes + self.X.indices.nbytes + self.X.indptr.nbytes
        return self.X.nbytes

    @property
    def operations(self):
        """Floating-point operations of a sweep's two products: 4 n p (or non-zero entries) K."""
        entries = self.X.nnz if sparse.issparse(self.X) else self.n * self.p
        return 4.0 * entries * self.K

    def objective(self, workers=None):
        """Our objective, without a penalty; float32 data are swept as fits begin on them."""
        objective = make_objective(
            self.X,
            self.y,
            np.ones(self.n),
            n_classes=self.n_classes,
            coupled=self.coupled,
            balanced=False,
            C=np.inf,
            l1_ratio=0.0,
            fit_intercept=True,
            workers=workers or Workers(1),
        )
        if self.dtype == "float32" and cost.single(objective):
            return objective.in_single()
        return objective

    @cached_property
    def _losses(self):
        """scikit-learn's: (loss, point, target), for softmax one and for one-vs-all K."""
        dtype, point = self.X.dtype, self.point.astype(self.dtype)
        if self.coupled:
            loss = LinearModelLoss(HalfMultinomialLoss(n_classes=self.K), fit_intercept=True)
            return [(loss, np.asfortranarray(point), self.y.astype(dtype))]
        loss = LinearModelLoss(HalfBinomialLoss(), fit_intercept=True)
        classes = [1] if self.K == 1 else range(self.K)
        targets = [(self.y == k).astype(dtype) for k in classes]
        return [(loss, at.copy(), y) for at, y in zip(point, targets, strict=True)]

    def peer_sweep(self):
        """scikit-learn's loss and gradient: (1,) or (K,), and (K, p + 1)."""
        parts = [loss.loss_gradient(at, self.X, y, n_threads=1) for loss, at, y in self._losses]
        values, gradients = zip(*parts, strict=True)
        return np.array(values), gradients[0] if self.coupled else np.array(gradients)

    def check_sweep(self, objective):
        """Raise `AssertionError` unless both libraries have the same loss and gradient.

        On float32 data ours must be near scikit-learn's in float64, on the same numbers.
        """
        ours, peer = objective.loss_gradient(self.point), self.peer_sweep()
        if self.dtype == "float32":
            for mine, theirs in zip(ours, peer, strict=True):
                agree(mine, theirs, self.dtype, IN_FLOAT32)
            peer = Case(self.shape, self.X.astype(np.float64), self.y).peer_sweep()
        for mine, theirs in zip(ours, peer, strict=True):
            agree(mine, theirs, self.dtype)

    def peer_hessian(self):
        """scikit-learn's gradient and Hessian of softmax: (K, q) and (q K, q K)."""
        ((loss, point, y),) = self._losses
        return loss.gradient_hessian(point, self.X, y, n_threads=1)[:2]

    def peer_product(self):
        """scikit-learn's map from a direction, its `peer_direction`, to a Hessian's product."""
        ((loss, point, y),) = self._losses
        return loss.gradient_hessian_product(point, self.X, y, n_threads=1)[1]

    def peer_direction(self):
        return np.asfortranarray(self.direction.astype(self.dtype))
