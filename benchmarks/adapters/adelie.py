"""adelie: elastic-net paths of logistic regression of two classes.

One-vs-all is one path a class. Its multinomial model is left out: there it penalises a feature's
coefficients of all classes as one group, which is another problem. ``lmda`` is 1 / (C S), and like
glmnet it fits a path of `PATH` values that ends there. It needs NumPy 1, so an environment of its
own. X may be dense or sparse; adelie's copy of it is made in the time that is measured.

References
----------
Yang and Hastie (2024), "A fast and scalable pathwise-solver for group lasso and elastic net
penalized regression via block-coordinate descent", arXiv:2405.08631.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import numpy as np
from scipy import sparse

from benchmarks.adapters import Lane

ROLE = "peer"

# For both of its tolerances; the default is 1e-7.
TOLS = tuple(10.0**-power for power in range(5, 15))
PATH = 20


def unavailable():
    """Say why adelie cannot be used; empty if it can."""
    try:
        import adelie  # noqa: F401
    except Exception as error:  # it is built for NumPy 1
        return f"adelie cannot be imported ({error}): pip install adelie, which needs NumPy 1"
    return ""


def version():
    """Return the version of adelie, empty if there is none."""
    try:
        return installed("adelie")
    except PackageNotFoundError:
        return ""


def lanes(case):
    """Return its solver where there is L1 and the problem is of two classes at a time."""
    if case.l1_ratio == 0 or not np.isfinite(case.C) or case.n_rows != 1:
        return []
    return [Lane("grpnet", TOLS, 1, 1, {"path": PATH})]


def references(case):
    """Return nothing: it is one of the peers."""
    return []


def prepare(case, lane):
    """Import the library."""
    import adelie  # noqa: F401


def estimator(case, lane, tol):
    """Return a path as an estimator."""
    return Adelie(case.C, case.l1_ratio, case.fit_intercept, tol, lane.options["path"])


def coefficients(estimator):
    """Return coef and intercept."""
    return estimator.coef_, estimator.intercept_


def details(estimator):
    """Return nothing: steps are not counted in a unit that compares."""
    return {"n_iter": ""}


class Adelie:
    """Fits of two classes, or of each class against the rest, at the end of a path.

    Parameters
    ----------
    C, l1_ratio : float
    fit_intercept : bool
    tol : float
    path : int
        Values of lambda on the way.

    Attributes
    ----------
    coef_, intercept_ : ndarray of shape (R, p) and (R,)
    """

    def __init__(self, C, l1_ratio, fit_intercept, tol, path=PATH):
        self.C, self.l1_ratio, self.fit_intercept = C, l1_ratio, fit_intercept
        self.tol, self.path = tol, path

    def fit(self, X, y):
        """Fit one path a problem."""
        classes = np.unique(y)
        positive = classes[1:] if len(classes) == 2 else classes
        fits = [self._solve(X, (y == label).astype(np.float64)) for label in positive]
        coefs, intercepts = zip(*fits, strict=True)
        self.coef_, self.intercept_ = np.vstack(coefs), np.array(intercepts)
        return self

    def _solve(self, X, target):
        """Return the coefficients (p,) and the intercept of one class against the rest."""
        import adelie

        if sparse.issparse(X):
            matrix = adelie.matrix.sparse(X.tocsc(), method="naive", n_threads=1)
        else:
            matrix = adelie.matrix.dense(np.asfortranarray(X), method="naive", n_threads=1)
        state = adelie.grpnet(
            matrix,
            adelie.glm.binomial(target, dtype=np.float64),
            alpha=self.l1_ratio,
            lmda_path=self._path(X, target),
            tol=self.tol,
            irls_tol=self.tol,
            intercept=self.fit_intercept,
            early_exit=False,
            progress_bar=False,
        )
        if len(state.lmdas) < self.path and state.lmdas[-1] > self._strength(X) * (1 + 1e-12):
            raise RuntimeError("adelie gave up before the last lambda.")
        return state.betas[-1].toarray().ravel(), float(state.intercepts[-1])

    def _strength(self, X):
        """1 / (C S)."""
        return 1.0 / (self.C * X.shape[0])

    def _path(self, X, target):
        """Lambda from the largest that is of any use to the one wanted, in equal ratios."""
        last = self._strength(X)
        residual = target - (target.mean() if self.fit_intercept else 0.5)
        first = np.abs(X.T @ residual).max() / X.shape[0] / self.l1_ratio
        if self.path < 2 or first <= last:
            return np.array([last])
        path = np.geomspace(first, last, self.path)
        path[-1] = last
        return path
