"""skglm: L1 and elastic-net logistic regression of two classes, by proximal Newton.

One-vs-all goes through scikit-learn's OneVsRestClassifier. Its ``alpha`` is 1 / (C S). It is
compiled by Numba on its first fit, which is not timed and has no limit. X may be dense or sparse.

References
----------
Bertrand, Klopfenstein, Bannier, Gidel and Massias (2022), "Beyond L1: faster and better sparse
models with skglm", Advances in Neural Information Processing Systems 35.
"""

import warnings
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import numpy as np
from scipy import sparse

from benchmarks.adapters import Lane
from benchmarks.adapters.scikit_learn import coefficients, in_formulation

__all__ = ["coefficients"]

ROLE = "peer"

TOLS = tuple(10.0**-power for power in range(2, 11))
# Large enough that the tolerance, not the count, ends the fit: sets, and steps on each.
MAX_ITER, MAX_STEPS = 10_000, 10_000

COMPILED = set()  # the kinds of fit that this process has made


def unavailable():
    """Say why skglm cannot be used; empty if it can."""
    try:
        from skglm import SparseLogisticRegression
    except Exception as error:
        return f"skglm cannot be imported ({error}): pip install skglm"
    if "l1_ratio" not in SparseLogisticRegression().get_params():
        return f"skglm {version()} has no l1_ratio; 0.5 is needed"
    return ""


def version():
    """Return the version of skglm, empty if there is none."""
    try:
        return installed("skglm")
    except PackageNotFoundError:
        return ""


def lanes(case):
    """Return its solver where there is L1 and the problem is of two classes at a time."""
    if case.l1_ratio == 0 or not np.isfinite(case.C) or case.n_rows != 1:
        return []
    return [Lane("prox-newton", TOLS, n_jobs=1, threads=1)]


def references(case):
    """Return nothing: it is one of the peers."""
    return []


def prepare(case, lane):
    """Have Numba compile what a fit of X's kind calls, by a fit of a few of its rows."""
    kind = (sparse.issparse(case.X), case.fit_intercept)
    if kind not in COMPILED:
        _, rows = np.unique(case.y, return_index=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator(case, lane, TOLS[0]).fit(case.X[rows], case.y[rows])
        COMPILED.add(kind)


def estimator(case, lane, tol):
    """Return the estimator of the case's formulation."""
    from skglm import SparseLogisticRegression

    model = SparseLogisticRegression(
        alpha=1.0 / (case.C * case.X.shape[0]),
        l1_ratio=case.l1_ratio,
        tol=tol,
        max_iter=MAX_ITER,
        max_epochs=MAX_STEPS,
        fit_intercept=case.fit_intercept,
    )
    return in_formulation(case, model, lane)


def details(estimator):
    """Return the largest number of working sets."""
    members = getattr(estimator, "estimators_", [estimator])
    return {"n_iter": max(int(np.max(member.n_iter_)) for member in members)}
