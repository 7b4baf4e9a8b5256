"""Callbacks of scikit-learn (1.9 and later): a task for the fit, and one for each iteration.

Older versions have none; there the classifiers have no ``set_callbacks``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from ._typing import Array

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn 1.9 has support for callbacks."""


if TYPE_CHECKING:
    from ._solvers.solution import Solution
    from ._solvers.watch import State

MEASURES = ("objective", "optimality", "dual_gap")

# What scikit-learn keeps in an estimator's __dict__ for the length of a fit, to clean up with.
UNFINISHED = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


def unfinished(estimator: Any) -> dict[str, Any]:
    """Attributes that an estimator must keep until its callbacks are torn down."""
    return {name: vars(estimator)[name] for name in UNFINISHED if name in vars(estimator)}


def has_callbacks(estimator: Any) -> bool:
    """Whether anybody is to be told how the estimator's fit goes."""
    return bool(getattr(estimator, "_skl_callbacks", None))


@dataclass
class TrainingRows:
    """Training data as users see them, for hooks that ask for them.

    Attributes
    ----------
    X, y, sample_weight
        As passed to ``fit``.
    classes : ndarray of shape (n_classes,)
        Those that the model knows.
    rows : ndarray of int, optional
        Those of a fold; by default all.
    """

    X: Any
    y: Any
    sample_weight: Any
    classes: Array
    rows: Array | None = None

    @cached_property
    def _kept(self) -> tuple[Any, Array, dict[str, Any] | None]:
        """X, y and metadata; no rows of weight 0, whose classes the model may not know."""
        X, y, s = self.X, column_or_1d(self.y), None
        rows = np.arange(y.size) if self.rows is None else self.rows
        kept = np.isin(y[rows], self.classes)
        if self.sample_weight is not None:
            s = _check_sample_weight(self.sample_weight, X, dtype=np.float64)
            kept &= s[rows] > 0
        if self.rows is not None or not kept.all():
            rows = rows[kept]
            X = X.tocsr()[rows] if sparse.issparse(X) else _safe_indexing(X, rows)
            y, s = y[rows], None if s is None else s[rows]
        return X, y, None if s is None else {"sample_weight": s}

    def hook_arguments(self) -> dict[str, Callable[[], Any]]:
        """What the hooks of scikit-learn's contexts take, made when a callback asks for it."""
        return {
            "X": lambda: self._kept[0],
            "y": lambda: self._kept[1],
            "metadata": lambda: self._kept[2],
        }


@dataclass
class FitTasks:
    """The task of a fit, and below it one for each iteration of the solver.

    Attributes
    ----------
    estimator : object
    fit : sklearn.callback.CallbackContext
        Of the fit, which has begun.
    rows : TrainingRows
    attributes : callable
        From a `Solution` to the estimator's fitted attributes, a dict.
    """

    estimator: Any
    fit: Any
    rows: TrainingRows
    attributes: Callable[["Solution"], dict[str, Any]]
    _iteration: Any = field(default=None, init=False)

    def begins(self, state: "State") -> None:
        """An iteration begins at ``state``."""
        self._iteration = self.fit.subcontext(task_name="iteration")
        self._iteration.call_on_fit_task_begin(**self._arguments(state))

    def ended(self, state: "State") -> bool:
        """It has led to ``state``; whether a callback stops the fit there."""
        context, self._iteration = self._iteration, None
        return bool(context.call_on_fit_task_end(**self._arguments(state)))

    def close(self) -> None:
        """The fit has ended, and the estimator has its attributes."""
        arguments = {"estimator": self.estimator, **self.rows.hook_arguments()}
        if self._iteration is not None:  # began, and led nowhere: scikit-learn's empty task
            self._iteration.call_on_fit_task_end(estimator=self.estimator)
        self.fit.call_on_fit_task_end(**arguments, reconstruction_attributes={})

    def _arguments(self, state: "State") -> dict[str, Any]:
        return {
            "estimator": self.estimator,
            **self.rows.hook_arguments(),
            "reconstruction_attributes": lambda: self.attributes(solution_at(state)),
        }


def fit_tasks(
    estimator: Any, rows: TrainingRows, attributes: Callable[["Solution"], dict[str, Any]]
) -> FitTasks | None:
    """The tasks of a fit that begins; None where nobody has set a callback.

    Parameters
    ----------
    estimator : LinearClassifier
    rows : TrainingRows
    attributes : callable
        See `FitTasks`.
    """
    if not has_callbacks(estimator):
        return None
    context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
    context.call_on_fit_task_begin(estimator=estimator, **rows.hook_arguments())
    return FitTasks(estimator, context, rows, attributes)


def solution_at(state: "State") -> "Solution":
    """The solution, had the fit been stopped at ``state``; its arrays are nobody else's."""
    from ._solvers.solution import Solution, Status, answer

    coef, intercept = answer(state.full, state.point.copy())
    return Solution(
        coef=coef,
        intercept=intercept,
        status=[Status.CONVERGED if done else Status.STOPPED for done in state.converged],
        n_iter=state.n_iter,
        objective=state.objective.copy(),
        optimality=state.optimality.copy(),
        dual_gap=state.dual_gap.copy(),
        solver=state.solver,
        evaluations=state.evaluations,
        trace=[],
    )


def record_convergence(
    classifier: Any, X: Any, y: Any, sample_weight: Any = None
) -> dict[str, Array]:
    """How far a clone of ``classifier`` is from its optimum, iteration by iteration.

    Parameters
    ----------
    classifier : SoftmaxClassifier or OvAClassifier
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    record : dict of str to ndarray
        "iteration" (T,), which begins with 0, the start; "seconds" (T,), of the solver alone;
        "objective", "optimality" and "dual_gap": (T,), or (T, n_problems) for `OvAClassifier`.

    Raises
    ------
    ValueError
        If the data cannot be fitted.

    Warns
    -----
    ConvergenceWarning
        As the fit itself does.
    """
    model = clone(classifier)
    if hasattr(model, "set_callbacks"):
        model.set_callbacks()
    model._validate_params()
    rows: list[dict[str, Any]] = []

    def see(state: "State") -> None:
        rows.append({name: getattr(state, name) for name in ("iteration", "seconds", *MEASURES)})

    def see_start(state: "State") -> None:
        if not rows:
            see(state)

    model._fit(X, y, sample_weight, watch=see, begins=see_start)
    if not rows:  # at the optimum already, or max_iter=0
        measures = {name: np.atleast_1d(getattr(model, f"{name}_")) for name in MEASURES}
        rows.append({"iteration": 0, "seconds": 0.0, **measures})
    record = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if model._coupled:
        record |= {name: record[name][:, 0] for name in MEASURES}
    return record
