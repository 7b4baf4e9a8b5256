"""F recomputed apart from every library's own loss: the judge of the benchmarks.

Plain numpy, scipy and float64. With ``S = sum_i s_i``,

    F(W, b) = (1/S) sum_i s_i loss(y_i, W x_i + b) + lambda2/2 ||W||^2 + lambda1 ||W||_1
    lambda1 = l1_ratio / (C S),   lambda2 = (1 - l1_ratio) / (C S)

for softmax; one-vs-all is K such problems, each with a binary loss. Either way the answer is an
array with one entry a problem: one for softmax, K for one-vs-all, one for two classes.
"""

import numpy as np
from scipy.special import entr, logsumexp

__all__ = ["GOAL", "canonical", "null_objective", "objective", "suboptimality"]

# Suboptimality, relative to the null model's objective, that counts as having reached the optimum.
GOAL = 1e-6


def canonical(coef, intercept, n_classes):
    """Bring coefficients to this module's shapes.

    Two classes have one weight vector, that of the second class against the first; a library
    that keeps a row for each class is read as their difference.

    Parameters
    ----------
    coef : array-like of shape (p,), (1, p), (2, p) or (K, p)
    intercept : array-like of shape (), (1,), (2,) or (K,)
    n_classes : int

    Returns
    -------
    coef : ndarray of shape (R, p)
        R is 1 for two classes, K otherwise.
    intercept : ndarray of shape (R,)
    """
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    intercept = np.atleast_1d(np.asarray(intercept, dtype=np.float64))
    if n_classes == 2 and coef.shape[0] == 2:
        coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
    n_rows = 1 if n_classes == 2 else n_classes
    if coef.shape[0] != n_rows:
        raise ValueError(f"{n_classes} classes need {n_rows} rows of coef, not {coef.shape[0]}.")
    return coef, np.broadcast_to(intercept, (n_rows,))


def objective(X, y, coef, intercept, *, C, l1_ratio, formulation, sample_weight=None):
    """Return F at the given coefficients, penalty and all.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, p)
    y : array-like of shape (n,)
        Labels; classes are taken in sorted order.
    coef, intercept : array-like
        In any of the shapes that `canonical` takes.
    C : float
        Inverse strength of the penalty; ``np.inf`` is no penalty.
    l1_ratio : float
    formulation : {"softmax", "ova"}
    sample_weight : array-like of shape (n,), optional

    Returns
    -------
    ndarray of shape (1,) or (K,)
    """
    classes, code = np.unique(np.asarray(y), return_inverse=True)
    coef, intercept = canonical(coef, intercept, len(classes))
    weight = _weights(len(code), sample_weight)
    raw = np.asarray(X @ coef.T, dtype=np.float64) + intercept
    total = weight.sum()
    norm1, norm2 = np.abs(coef).sum(axis=1), np.square(coef).sum(axis=1)
    penalty = (l1_ratio * norm1 + 0.5 * (1.0 - l1_ratio) * norm2) / (C * total)
    if len(classes) == 2 or formulation == "ova":
        target = _binary_targets(code, len(classes))
        return weight @ (np.logaddexp(0.0, raw) - target * raw) / total + penalty
    losses = logsumexp(raw, axis=1) - raw[np.arange(len(code)), code]
    return np.atleast_1d(weight @ losses / total + penalty.sum())


def null_objective(y, *, formulation, sample_weight=None, fit_intercept=True):
    """Return F of the null model: no weights, the intercept at the class frequencies.

    Without an intercept all classes are equally probable.

    Returns
    -------
    ndarray of shape (1,) or (K,)
        The entropy of the labels: of the classes for softmax, of each class against the rest
        for one-vs-all; without an intercept log K and log 2.
    """
    _, code = np.unique(np.asarray(y), return_inverse=True)
    weight = _weights(len(code), sample_weight)
    share = np.bincount(code, weights=weight) / weight.sum()
    coupled = len(share) == 2 or formulation == "softmax"
    if not fit_intercept:
        return np.array([np.log(len(share))]) if coupled else np.full(len(share), np.log(2.0))
    if coupled:
        return np.atleast_1d(entr(share).sum())
    return entr(share) + entr(1.0 - share)


def suboptimality(value, best, null):
    """Return the worst ``(F - F_best) / F_null`` over the problems."""
    return float(np.max((np.asarray(value) - best) / null))


def _weights(n_samples, sample_weight):
    """Sample weights as float64, ones if there are none."""
    if sample_weight is None:
        return np.ones(n_samples)
    return np.asarray(sample_weight, dtype=np.float64)


def _binary_targets(code, n_classes):
    """0/1 targets of shape (n, R): the second class for two classes, else each class by itself."""
    if n_classes == 2:
        return code[:, None].astype(np.float64)
    return (code[:, None] == np.arange(n_classes)).astype(np.float64)
