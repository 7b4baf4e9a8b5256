"""Regularisation paths: the models of a whole grid of C, each fitted from the last."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, validate_params

from ._base import LinearClassifier
from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._smallest_c import smallest_useful_c
from ._threads import Workers, one_blas_thread, thread_count
from ._typing import Array

if TYPE_CHECKING:
    from ._objective import Objective
    from ._solvers.solution import Solution, Status

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


@dataclass(frozen=True)
class CoefficientPath:
    """The models along a grid of C; what belongs to one C has its place on the first axis.

    m is the number of problems that converge by themselves: 1 for softmax and for two classes,
    else n_classes.

    Attributes
    ----------
    Cs : ndarray of shape (n_Cs,)
        Ascending.
    coefs : ndarray of shape (n_Cs, n_classes, n_features) or (n_Cs, 1, n_features)
        One row with two classes (for ``classes[1]``). With ``sparse_output=True`` a list of
        n_Cs CSR matrices.
    intercepts : ndarray of shape (n_Cs, n_classes) or (n_Cs, 1)
    n_iters : ndarray of shape (n_Cs, m), int
        Iterations from the model before.
    objectives : ndarray of shape (n_Cs, m)
        Mean loss (nats a row) plus penalty.
    optimalities : ndarray of shape (n_Cs, m)
        Largest violation of the optimality conditions.
    dual_gaps : ndarray of shape (n_Cs, m)
        Upper bounds on objective minus optimum; nan without a penalty.
    converged : ndarray of shape (n_Cs, m), bool
        Whether the optimum is certified.
    n_nonzeros : ndarray of shape (n_Cs, n_classes) or (n_Cs, 1), int
        Coefficients other than 0, by class.
    classes : ndarray of shape (n_classes,)
    l1_ratio : float
    feature_names : ndarray of shape (n_features,) or None
        Where X had string names.
    """

    Cs: Array
    coefs: Any = field(repr=False)
    intercepts: Array = field(repr=False)
    n_iters: Array = field(repr=False)
    objectives: Array = field(repr=False)
    optimalities: Array = field(repr=False)
    dual_gaps: Array = field(repr=False)
    converged: Array = field(repr=False)
    n_nonzeros: Array = field(repr=False)
    classes: Array
    l1_ratio: float
    feature_names: Array | None = field(repr=False)


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
    return _path(model, X, y, Cs, eps, sample_weight, sparse_output)


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
    return _path(model, X, y, Cs, eps, sample_weight, sparse_output)


def _path(
    model: LinearClassifier,
    X: Any,
    y: Any,
    Cs: Any,
    eps: float,
    sample_weight: Any,
    sparse_output: bool,
) -> CoefficientPath:
    """The path of a classifier's parameters, its C aside."""
    values = None if isinstance(Cs, Integral) else np.sort(checked_values(Cs, "Cs"))
    data = model._training_data(X, y, sample_weight)
    l1_ratio = float(model.l1_ratio)
    with Workers(thread_count(model.n_jobs)) as workers, one_blas_thread():
        objective = model._objective(data, workers)
        S = float(data.s.sum())
        if values is None:
            smallest = smallest_useful_c(objective, l1_ratio, S)
            values = np.geomspace(smallest, smallest / eps, int(Cs))
        coefs, facts, statuses = [], [], []
        for C, solution in zip(values, solve_grid(model, objective, S, values), strict=True):
            coefs.append(sparse.csr_matrix(solution.coef) if sparse_output else solution.coef)
            facts.append(_facts(solution))
            statuses.append(solution.status)
            if model.verbose:
                print(_line(C, facts[-1]))
    _warn(model, values, statuses)
    return CoefficientPath(
        Cs=values,
        coefs=coefs if sparse_output else np.array(coefs),
        **{name: np.array([fact[name] for fact in facts]) for name in facts[0]},
        classes=data.classes,
        l1_ratio=l1_ratio,
        feature_names=getattr(model, "feature_names_in_", None),
    )


def checked_values(values: Any, name: str) -> Array:
    """A grid as an array of positive numbers, in the user's order; the last may be infinite.

    Raises
    ------
    ValueError
        If it is empty, has other than one dimension, or a value is not positive.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 1 or not array.size or not (array > 0).all():
        raise ValueError(f"{name} must be positive numbers, in one dimension; got {values!r}.")
    return array


def solve_grid(
    model: LinearClassifier, objective: "Objective", S: float, Cs: Array
) -> Iterator["Solution"]:
    """Solutions for ascending C, with the other parameters of ``model``.

    Parameters
    ----------
    model : LinearClassifier
    objective : Objective
    S : float
        Sum of the weights.
    Cs : ndarray of shape (n_Cs,)
    """
    from ._objective import penalties
    from ._solvers.path import solve_path

    return solve_path(
        objective,
        [penalties(float(C), float(model.l1_ratio), S) for C in Cs],
        model.solver,
        tol=model.tol,
        max_iter=model.max_iter,
        verbose=max(0, int(model.verbose) - 1),
    )


def _facts(solution: "Solution") -> dict[str, Array]:
    """What a path keeps of a solution beside the coefficients."""
    return {
        "intercepts": solution.intercept,
        "n_iters": solution.n_iter,
        "objectives": solution.objective,
        "optimalities": solution.optimality,
        "dual_gaps": solution.dual_gap,
        "converged": np.array([status.converged for status in solution.status]),
        "n_nonzeros": np.count_nonzero(solution.coef, axis=1),
    }


def _line(C: float, facts: dict[str, Array]) -> str:
    return (
        f"[sk_softmax] C {C:.3g}  iterations {facts['n_iters'].max()}  "
        f"optimality {facts['optimalities'].max():.3g}  non-zeros {facts['n_nonzeros'].sum()}"
    )


def _warn(model: LinearClassifier, Cs: Array, statuses: list[list["Status"]]) -> None:
    """One ConvergenceWarning for all the C that did not converge, by cause."""
    causes: dict[Any, list[float]] = {}
    for C, status in zip(Cs.tolist(), statuses, strict=True):
        for cause in {each for each in status if not each.converged}:
            causes.setdefault(cause, []).append(C)
    if causes:
        text = " ".join(f"At C = {_listed(at)}: {cause.value}" for cause, at in causes.items())
        name = "softmax_path" if model._coupled else "ova_path"
        warnings.warn(f"{name} did not converge. {text}", ConvergenceWarning, stacklevel=5)


def _listed(Cs: list[float]) -> str:
    """The first ten of some values."""
    more = f" and {len(Cs) - 10} more" if len(Cs) > 10 else ""
    return ", ".join(f"{C:.4g}" for C in Cs[:10]) + more
