"""A plain damped Newton method for L2: slow, readable, and apart from every library.

It only looks for the optimum, so that ours is not the only judge of our accuracy. Columns are
centred and scaled and the penalty stays in the user's units, so the objective is the same one.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import issparse
from scipy.special import expit, softmax

from benchmarks.adapters import Lane
from benchmarks.objective import objective

ROLE = "reference"

# Floating-point operations of one Hessian; a few seconds.
WORK_LIMIT = 2e10
DENSE_LIMIT = 5e7


def unavailable():
    """Return nothing to say: it needs numpy and scipy only."""
    return ""


def version():
    """Return the version of scipy, whose Cholesky it uses."""
    import scipy

    return scipy.__version__


def lanes(case):
    """Return nothing: this method is never timed."""
    return []


def references(case):
    """Return the method where the penalty is L2 and the Hessian affordable; with an intercept."""
    n, p = case.X.shape
    work = n * (case.n_rows * (p + 1)) ** 2 * (case.n_classes if case.n_rows == 1 else 1)
    fits = work <= WORK_LIMIT and n * p <= DENSE_LIMIT and case.n_rows * (p + 1) <= 3000
    ridge = case.l1_ratio == 0 and np.isfinite(case.C) and case.fit_intercept
    return [Lane("newton", threads=1)] if ridge and fits else []


def prepare(case, lane):
    """Do nothing: all is imported."""


def estimator(case, lane, tol):
    """Return the method as an estimator."""
    return DampedNewton(case.C, case.formulation)


def coefficients(estimator):
    """Return coef and intercept."""
    return estimator.coef_, estimator.intercept_


def details(estimator):
    """Return the largest number of Newton steps."""
    return {"n_iter": estimator.n_iter_}


class DampedNewton:
    """L2-penalised logistic regression by Newton steps and halving.

    Parameters
    ----------
    C : float
    formulation : {"softmax", "ova"}
    max_iter : int, default=300

    Attributes
    ----------
    coef_, intercept_ : ndarray
    n_iter_ : int
    """

    def __init__(self, C=1.0, formulation="softmax", max_iter=300):
        self.C, self.formulation, self.max_iter = C, formulation, max_iter

    def fit(self, X, y):
        """Find the optimum to rounding."""
        X = np.asarray(X.todense() if issparse(X) else X, dtype=np.float64)
        classes, code = np.unique(y, return_inverse=True)
        if self.formulation == "softmax" or len(classes) == 2:
            parts = [self._solve(X, code, len(classes))]
        else:
            parts = [self._solve(X, (code == k).astype(int), 2) for k in range(len(classes))]
        coefs, intercepts, counts = zip(*parts, strict=True)
        self.coef_, self.intercept_ = np.vstack(coefs), np.concatenate(intercepts)
        self.n_iter_ = max(counts)
        return self

    def _solve(self, X, code, n_classes):
        """Minimise one coupled problem in centred, scaled columns with a column of ones."""
        n, p = X.shape
        ridge = 1.0 / (self.C * n)
        mean = X.mean(axis=0)
        centred = X - mean
        # In these units each diagonal entry of the Hessian is about 1, penalty included.
        scale = np.sqrt(np.square(centred).mean(axis=0) + ridge)
        design = np.column_stack([centred / scale, np.ones(n)])
        penalty = np.append(ridge / scale**2, 0.0)
        weight = np.zeros((1 if n_classes == 2 else n_classes, p + 1))

        def in_user_units(weight):
            coef = weight[:, :-1] / scale
            return coef, weight[:, -1] - coef @ mean

        def value(weight):
            # Evaluated where the rounding is least: on the centred columns.
            coef = weight[:, :-1] / scale
            loss = objective(
                centred, code, coef, weight[:, -1], C=self.C, l1_ratio=0.0, formulation="softmax"
            )
            return loss[0]

        weight, count = _minimise(value, design, code, penalty, weight, self.max_iter)
        return (*in_user_units(weight), count)


def _minimise(value, design, code, penalty, weight, max_iter):
    """Newton steps, halved until F falls enough, until F falls no more."""
    current = value(weight)
    for count in range(1, max_iter + 1):
        gradient, hessian = _derivatives(design, code, penalty, weight)
        step = -cho_solve(cho_factor(hessian), gradient.ravel()).reshape(weight.shape)
        slope = np.vdot(gradient, step)
        for halving in range(40):
            trial = value(weight + 0.5**halving * step)
            if trial <= current + 1e-4 * 0.5**halving * slope:
                break
        else:
            return weight, count
        weight, current, previous = weight + 0.5**halving * step, trial, current
        if previous - current <= 1e-15 * previous:
            return weight, count
    return weight, max_iter


def _derivatives(design, code, penalty, weight):
    """Gradient of shape (R, p + 1) and Hessian of shape (R (p + 1), R (p + 1))."""
    n, width = design.shape
    n_rows = len(weight)
    raw = design @ weight.T
    if n_rows == 1:
        prob, target = expit(raw), code[:, None]
    else:
        prob, target = softmax(raw, axis=1), code[:, None] == np.arange(n_rows)
    gradient = (prob - target).T @ design / n + penalty * weight
    hessian = np.empty((n_rows, width, n_rows, width))
    for k in range(n_rows):
        for m in range(k + 1):
            row_weight = prob[:, k] * ((k == m) - prob[:, m]) / n
            block = design.T @ (row_weight[:, None] * design)
            hessian[k, :, m, :] = hessian[m, :, k, :] = block + (k == m) * np.diag(penalty)
    if n_rows > 1:
        # F does not change when all intercepts shift: give that direction some curvature.
        hessian[:, -1, :, -1] += 1.0 / n_rows
    return gradient, hessian.reshape(n_rows * width, n_rows * width)
