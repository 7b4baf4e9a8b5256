"""scikit-learn's LogisticRegression, and OneVsRestClassifier around it for one-vs-all."""

import numpy as np

from benchmarks.adapters import Lane

ROLE = "peer"

TOLS = tuple(10.0**-power for power in range(2, 11))

# Large enough that the tolerance, not the count, ends the fit.
MAX_ITER = {
    "lbfgs": 1_000_000,
    "newton-cg": 100_000,
    "newton-cholesky": 10_000,
    "saga": 1_000_000,
    "liblinear": 1_000_000,
}

# newton-cholesky keeps a dense Hessian: above this many coupled coefficients it is over a gigabyte.
HESSIAN_LIMIT = 12_000

# liblinear penalises the intercept, the less the larger this is: at 1 it solves another problem.
INTERCEPT_SCALINGS = (1.0, 1e2, 1e4)


def unavailable():
    """Say why scikit-learn cannot be used; empty if it can."""
    import sklearn

    major, minor = (int(part) for part in sklearn.__version__.split(".")[:2])
    if (major, minor) < (1, 8):
        return f"scikit-learn {sklearn.__version__} has no l1_ratio without penalty; 1.8 is needed"
    return ""


def version():
    """Return the version of scikit-learn."""
    import sklearn

    return sklearn.__version__


def lanes(case):
    """Return every solver that takes the penalty, each at one and at two threads."""
    return [
        Lane(solver, TOLS, n_jobs, threads, options)
        for solver, options in _solvers(case)
        for n_jobs, threads in _parallel(case, solver)
    ]


def references(case):
    """Return SAGA at its tightest where there is L1, a judge apart from ours."""
    return [Lane("saga", (1e-8,), 1, 1)] if case.l1_ratio > 0 else []


def prepare(case, lane):
    """Import the solvers, in joblib's processes too where there are some."""
    _import_solvers()
    if lane.n_jobs is not None and lane.n_jobs > 1:
        from joblib import Parallel, delayed

        Parallel(lane.n_jobs)(delayed(_import_solvers)() for _ in range(lane.n_jobs))


def estimator(case, lane, tol):
    """Return the estimator of the case's formulation."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=case.C,
        l1_ratio=case.l1_ratio,
        solver=lane.solver,
        tol=tol,
        max_iter=MAX_ITER[lane.solver],
        fit_intercept=case.fit_intercept,
        random_state=0,
        **lane.options,
    )
    return in_formulation(case, model, lane)


def in_formulation(case, model, lane):
    """Return a scikit-learn estimator of two classes, or K of them where the case is one-vs-all.

    Estimators of other libraries that keep to scikit-learn's interface are welcome too, and
    `coefficients` takes what comes of them.
    """
    from sklearn.multiclass import OneVsRestClassifier

    if case.formulation == "softmax" or case.is_binary:
        return model
    return OneVsRestClassifier(model, n_jobs=lane.n_jobs)


def coefficients(estimator):
    """Return coef and intercept, stacked over the classes of one-vs-all."""
    members = getattr(estimator, "estimators_", [estimator])
    coef = np.vstack([member.coef_ for member in members])
    return coef, np.concatenate([np.atleast_1d(member.intercept_) for member in members])


def details(estimator):
    """Return the largest iteration count."""
    members = getattr(estimator, "estimators_", [estimator])
    return {"n_iter": max(int(np.max(member.n_iter_)) for member in members)}


def _import_solvers():
    """Import what a fit needs."""
    import sklearn.linear_model
    import sklearn.multiclass  # noqa: F401


def _solvers(case):
    """The solvers for the penalty, with their options, likely fastest first."""
    found = []
    if case.l1_ratio == 0:
        if case.n_rows * (case.X.shape[1] + 1) <= HESSIAN_LIMIT:
            found.append(("newton-cholesky", {}))
        found += [("lbfgs", {}), ("newton-cg", {})]
    one_row = case.n_rows == 1
    if one_row and case.l1_ratio in (0, 1) and np.isfinite(case.C):
        scalings = [{"intercept_scaling": scale} for scale in INTERCEPT_SCALINGS]
        found += [("liblinear", chosen) for chosen in (scalings if case.fit_intercept else [{}])]
    if case.l1_ratio > 0:
        found.append(("saga", {}))
    return found


def _parallel(case, solver):
    """Pairs of n_jobs and threads: two of either, never both on two cores."""
    pairs = [(1, 1)]
    if solver not in ("saga", "liblinear"):  # neither calls BLAS
        pairs.append((1, 2))
    if case.formulation == "ova" and not case.is_binary:
        pairs.append((2, 1))
    return pairs
