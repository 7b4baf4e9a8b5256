"""celer: L1-penalised logistic regression of two classes, without an intercept.

One-vs-all goes through scikit-learn's OneVsRestClassifier. Its tolerance is on a duality gap, so
it certifies what it returns. X may be dense or sparse.

References
----------
Massias, Vaiter, Gramfort and Salmon (2020), "Dual extrapolation for sparse generalized linear
models", Journal of Machine Learning Research 21(234).
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from benchmarks.adapters import Lane
from benchmarks.adapters.scikit_learn import coefficients, in_formulation

__all__ = ["coefficients"]

ROLE = "peer"

TOLS = tuple(10.0**-power for power in range(2, 11))
# Large enough that the tolerance, not the count, ends the fit: sets, and epochs on each.
MAX_ITER, MAX_EPOCHS = 10_000, 1_000_000


def unavailable():
    """Say why celer cannot be used; empty if it can."""
    try:
        from celer import LogisticRegression  # noqa: F401
    except Exception as error:  # it may have been built for another NumPy
        return f"celer cannot be imported ({error}): pip install celer"
    return ""


def version():
    """Return the version of celer, empty if there is none."""
    try:
        return installed("celer")
    except PackageNotFoundError:
        return ""


def lanes(case):
    """Return its two solvers where the problem is one that it states."""
    if case.l1_ratio != 1 or case.fit_intercept or case.n_rows != 1:
        return []
    return [Lane(solver, TOLS, n_jobs=1, threads=1) for solver in ("celer-pn", "celer")]


def references(case):
    """Return nothing: it is one of the peers."""
    return []


def prepare(case, lane):
    """Import the library."""
    from celer import LogisticRegression  # noqa: F401


def estimator(case, lane, tol):
    """Return the estimator of the case's formulation."""
    from celer import LogisticRegression

    model = LogisticRegression(
        C=case.C, solver=lane.solver, tol=tol, max_iter=MAX_ITER, max_epochs=MAX_EPOCHS
    )
    return in_formulation(case, model, lane)


def details(estimator):
    """Return nothing: the library does not count."""
    return {"n_iter": ""}
