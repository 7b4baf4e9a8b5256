"""sk_softmax itself, at its defaults: only what states the problem is set.

That is C, l1_ratio, and fit_intercept where there is none.
"""

import numpy as np

from benchmarks.adapters import Lane

ROLE = "ours"


def unavailable():
    """Say why sk_softmax cannot be used; empty if it can."""
    try:
        from sk_softmax import OvAClassifier, SoftmaxClassifier  # noqa: F401
    except ImportError as error:
        return f"sk_softmax cannot be imported ({error})"
    return ""


def version():
    """Return the version of sk_softmax."""
    import sk_softmax

    return sk_softmax.__version__


def lanes(case):
    """Return the default fit, which is ours, and the same on one thread."""
    return [Lane("auto"), Lane("auto", n_jobs=1)]


def references(case):
    """Return a tight fit, which stands in for the optimum."""
    return [Lane("auto", tols=(1e-8,), options={"max_iter": 100_000})]


def prepare(case, lane):
    """Import the package only: what its first fit imports and compiles is measured."""
    import sk_softmax  # noqa: F401


def estimator(case, lane, tol):
    """Return the classifier of the case's formulation."""
    from sk_softmax import OvAClassifier, SoftmaxClassifier

    classifier = SoftmaxClassifier if case.formulation == "softmax" else OvAClassifier
    chosen = {"n_jobs": lane.n_jobs, "tol": tol, **lane.options}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if not case.fit_intercept:
        chosen["fit_intercept"] = False
    return classifier(C=case.C, l1_ratio=case.l1_ratio, **chosen)


def coefficients(estimator):
    """Return coef and intercept."""
    return estimator.coef_, estimator.intercept_


def details(estimator):
    """Return the fit's account of itself; the worst class speaks for one-vs-all."""
    return {
        "n_iter": int(np.max(estimator.n_iter_)),
        "n_evaluations": estimator.n_evaluations_,
        "chosen_solver": "+".join(np.unique(estimator.solver_).tolist()),
        "converged": bool(np.all(estimator.converged_)),
        "objective": np.atleast_1d(np.asarray(estimator.objective_, dtype=np.float64)),
        "optimality": float(np.max(estimator.optimality_)),
        "dual_gap": np.atleast_1d(np.asarray(estimator.dual_gap_, dtype=np.float64)),
    }
