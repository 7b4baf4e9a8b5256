"""What the two classifiers share: parameters, fit, the attributes of a solution."""

import warnings
from functools import cache, partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from ._callbacks import CallbackSupportMixin, TrainingRows, fit_tasks, unfinished
from ._prediction import LinearPrediction
from ._threads import Workers, one_blas_thread, thread_count
from ._typing import Array
from ._validation import TrainingData, check_training_data

if TYPE_CHECKING:
    from ._design.make import Design
    from ._objective import Objective
    from ._solvers.solution import Solution


class LinearClassifier(
    LinearPrediction, CallbackSupportMixin, SparseCoefMixin, ClassifierMixin, BaseEstimator
):
    """Base of SoftmaxClassifier and OvAClassifier."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "solver": [StrOptions({"auto", "lbfgs", "newton"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    _coupled: ClassVar[bool]

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """Signatures are slow to look at, and the same for all fits."""
        return super()._get_param_names()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearClassifier":
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, float64 or float32 (other types are converted to float64).
        y : array-like of shape (n_samples,)
            Class labels of any one type.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A weight of 2 is the row twice; a row of weight 0 is left out,
            and so is a class without any weight.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If the data cannot be fitted; the estimator is then as it was before the call.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not certified; the message names the cause and the remedy.
        """
        before = self.__dict__.copy()
        try:
            self._fit(X, y, sample_weight)
        except BaseException:
            self.__dict__ = before | unfinished(self)
            raise
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, watch: Any = None, begins: Any = None
    ) -> None:
        """`fit`; ``watch`` and ``begins``, where no callbacks are set, are those of `solve`."""
        from ._solvers.table import solve

        data = self._training_data(X, y, sample_weight)
        rows = TrainingRows(X, y, sample_weight, data.classes)
        tasks = fit_tasks(self, rows, partial(self._attributes, data))
        if tasks is not None:
            watch, begins = tasks.ended, tasks.begins
        with Workers(thread_count(self.n_jobs)) as workers, one_blas_thread():
            objective = self._objective(data, workers)
            solution = solve(
                objective,
                self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                start=self._warm_point(data, objective),
                verbose=int(self.verbose),
                watch=watch,
                begins=begins,
            )
        self.__dict__ |= self._attributes(data, solution)
        if tasks is not None:
            tasks.close()
        self._warn(data, solution)

    @property
    def _balances_rows(self) -> bool:
        """Whether ``class_weight="balanced"`` is a weight on rows, not on sides of problems."""
        return self._coupled or self.class_weight != "balanced"

    def _training_data(self, X: Any, y: Any, sample_weight: Any) -> TrainingData:
        """Checked data, with weights that the parameters ask for."""
        return check_training_data(
            self, X, y, sample_weight, self.class_weight, balance_rows=self._balances_rows
        )

    def _objective(
        self, data: TrainingData, workers: Workers, design: "Design | None" = None
    ) -> "Objective":
        """The objective that the parameters ask for; ``design``: that of X, if there is one."""
        from ._objective import make_objective

        return make_objective(
            data.X,
            data.y,
            data.s,
            n_classes=data.classes.size,
            coupled=self._coupled,
            balanced=not self._balances_rows,
            C=float(self.C),
            l1_ratio=float(self.l1_ratio),
            fit_intercept=self.fit_intercept,
            workers=workers,
            design=design,
        )

    def _attributes(self, data: TrainingData, solution: "Solution") -> dict[str, Any]:
        """A solution as attributes."""
        by_problem = {
            "converged_": np.array([status.converged for status in solution.status]),
            "objective_": solution.objective,
            "optimality_": solution.optimality,
            "dual_gap_": solution.dual_gap,
        }
        if self._coupled:
            by_problem = {name: values[0].item() for name, values in by_problem.items()}
        return {
            "classes_": data.classes,
            "coef_": solution.coef,
            "intercept_": solution.intercept,
            "n_iter_": solution.n_iter.astype(np.int32),
            "n_evaluations_": solution.evaluations,
            "solver_": solution.solver,
            **by_problem,
        }

    def _warn(self, data: TrainingData, solution: "Solution") -> None:
        """One ConvergenceWarning for each cause."""
        causes: dict[Any, list[int]] = {}
        for problem, status in enumerate(solution.status):
            if not status.converged:
                causes.setdefault(status, []).append(problem)
        for status, problems in causes.items():
            worst = max(solution.optimality[problem] for problem in problems)
            which = ""
            if len(solution.status) > 1:
                which = f" for {len(problems)} of {data.classes.size} classes"
                which += f" ({_listed(data.classes[problems])})"
            elif solution.separated and solution.separated[0].size:
                which = f": separated classes {_listed(data.classes[solution.separated[0]])}"
            warnings.warn(
                f"{type(self).__name__} did not converge{which}. {status.value} "
                f"(Largest KKT violation {worst:.3g}, tol={self.tol:.3g}, "
                f"iterations {solution.n_iter.max()}.)",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _warm_point(self, data: TrainingData, objective: "Objective") -> Array | None:
        """The last fit's coefficients, matched by label, as a point (K, q); None to start anew."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        old = self.coef_.toarray() if hasattr(self.coef_, "toarray") else self.coef_
        if old.shape[1] != objective.p:
            return None
        old = np.column_stack([old, self.intercept_])
        if self.classes_.size == 2:  # one row for two classes: as a row each
            old = np.vstack([-old, old]) * (0.5 if self._coupled else 1.0)
        by_label = dict(zip(self.classes_.tolist(), old, strict=True))
        cold = objective.null_point()
        point = np.zeros((data.classes.size, objective.p + 1))
        if data.classes.size > 2 and self.fit_intercept:
            point[:, -1] = cold[:, -1]
        for row, label in zip(point, data.classes.tolist(), strict=True):
            if label in by_label:
                row[:] = by_label[label]
        if data.classes.size == 2:
            point = point[1:] - point[:1] if self._coupled else point[1:]
        return np.ascontiguousarray(point[:, : objective.q])


def _listed(names: Array) -> str:
    """The first ten of some names."""
    more = f" and {names.size - 10} more" if names.size > 10 else ""
    return f"{names[:10].tolist()}{more}"
