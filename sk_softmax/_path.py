"""Regularisation paths: the models of a whole grid of C, each fitted from the last."""

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, validate_params

from ._base import LinearClassifier
from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._grid import CoefficientPath, path_of

PARAMETERS = {
    "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "eps": [Interval(Real, 0, 1, closed="neither")],
    "sparse_output": ["boolean"],
    **{
        name: LinearClassifier._parameter_constraints[name]
        for name in (
            "l1_ratio",
            "fit_intercept",
            "class_weight",
            "solver",
            "tol",
            "max_iter",
            "n_jobs",
            "verbose",
        )
    },
}


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def softmax_path(
    X: Any,
    y: Any,
    *,
    Cs: Any = 100,
    eps: float = 1e-3,
    l1_ratio: float = 1.0,
    fit_intercept: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    solver: str = "auto",
    tol: float = 1e-4,
    max_iter: int = 1000,
    sparse_output: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> CoefficientPath:
    """The models of `SoftmaxClassifier` along a grid of C.

    Each fit starts where the last one ended, and is certified as a fit by itself is.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training data, float64 or float32 (other types are converted to float64).
    y : array-like of shape (n_samples,)
        Class labels of any one type.
    Cs : int or array-like, default=100
        So many values in geometric progression, from the smallest useful one to that over
        ``eps``; or the values, in any order. The smallest useful C is, with an L1 penalty, the
        largest that leaves every coefficient 0 (`softmax_l1_min_c`); with L2 alone, that at which
        the penalty leaves a hundredth of the first Newton step from the null model along the
        gradient. Either way a pure penalty's path has the same probabilities whatever constant
        multiplies X.
    eps : float, default=1e-3
        Smallest over largest C of a grid, 0 < eps < 1.
    l1_ratio : float, default=1.0
        0: L2, 1: L1, between: elastic net.
    fit_intercept, class_weight, solver
        As in `SoftmaxClassifier`.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights.
    tol : float, default=1e-4
        Largest violation of the optimality conditions allowed, at each C.
    max_iter : int, default=1000
        Bound on the solver's iterations, at each C.
    sparse_output : bool, default=False
        Whether coefficients come as CSR matrices, one for each C.
    n_jobs : int, default=None
        Threads. None: as many as ``numba.get_num_threads()`` allows; -1: all processors. The
        result does not depend on it.
    verbose : int, default=0
        1: a line for each C; more: the solver's progress too.

    Returns
    -------
    path : CoefficientPath

    Raises
    ------
    ValueError
        If the data cannot be fitted, or no C of a grid would give a coefficient other than 0.

    Warns
    -----
    ConvergenceWarning
        Once, naming the values of C at which the optimum was not certified.

    See Also
    --------
    ova_path : The same for `OvAClassifier`.
    SoftmaxClassifierCV : Chooses C by cross-validation.
    sklearn.linear_model.enet_path : The same for least squares.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import softmax_path
    >>> X, y = load_iris(return_X_y=True)
    >>> path = softmax_path(X, y, Cs=5)
    >>> path.n_nonzeros.sum(axis=1)
    array([0, 2, 3, 6, 6])
    >>> print(path.converged.all())
    True
    """
    model = SoftmaxClassifier(
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        class_weight=class_weight,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    return path_of(model, X, y, Cs, eps, sample_weight, sparse_output)


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def ova_path(
    X: Any,
    y: Any,
    *,
    Cs: Any = 100,
    eps: float = 1e-3,
    l1_ratio: float = 1.0,
    fit_intercept: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    solver: str = "auto",
    tol: float = 1e-4,
    max_iter: int = 1000,
    sparse_output: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> CoefficientPath:
    """The models of `OvAClassifier` along a grid of C, the same for all classes.

    Parameters and what is returned are those of `softmax_path`, with `OvAClassifier`'s problems
    instead: a grid begins at the smallest C that is useful to any of them (`ova_l1_min_c`), and
    certificates have a column for each class.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    Cs, eps, l1_ratio, sample_weight, tol, max_iter, sparse_output, n_jobs, verbose
        See `softmax_path`.
    fit_intercept, class_weight, solver
        As in `OvAClassifier`.

    Returns
    -------
    path : CoefficientPath

    See Also
    --------
    softmax_path : Every parameter in full.
    OvAClassifierCV : Chooses C by cross-validation.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import ova_path
    >>> X, y = load_iris(return_X_y=True)
    >>> path = ova_path(X, y, Cs=[0.1, 1.0, 10.0], l1_ratio=0.0)
    >>> path.coefs.shape
    (3, 3, 4)
    """
    model = OvAClassifier(
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        class_weight=class_weight,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    return path_of(model, X, y, Cs, eps, sample_weight, sparse_output)
