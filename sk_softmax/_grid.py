"""Grids of C: what users may pass, the solutions along one, and what is kept of them."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from ._base import LinearClassifier
from ._smallest_c import smallest_useful_c
from ._threads import Workers, one_blas_thread, thread_count
from ._typing import Array

if TYPE_CHECKING:
    from ._objective import Objective
    from ._solvers.solution import Solution, Status


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


def path_of(
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
