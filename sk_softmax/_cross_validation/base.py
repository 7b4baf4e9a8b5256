"""What the two cross-validated classifiers share: parameters, the search, the refit."""

import warnings
from collections import Counter
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval, StrOptions

from .._base import LinearClassifier
from .._callbacks import unfinished
from .._grid import checked_values
from .._threads import Workers, one_blas_thread, thread_count
from .._typing import Array
from .._validation import TrainingData, checked_rows, checked_weights, weighted
from .folds import FoldPath, Rows, Search, fit_folds
from .routing import RoutingMixin
from .scores import Scoring
from .selection import Selection, best_of_each_fold
from .tasks import GridTasks

if TYPE_CHECKING:
    from .._solvers.solution import Solution

DECADES = (-4.0, 4.0)  # of C, that an integer ``Cs`` spans
SHARED = ("fit_intercept", "class_weight", "solver", "tol", "max_iter", "n_jobs")
SEEN = ("n_features_in_", "feature_names_in_")


class LinearClassifierCV(RoutingMixin, LinearClassifier):
    """Base of SoftmaxClassifierCV and OvAClassifierCV."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratios": ["array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "selection": [StrOptions({"best", "1se"})],
        "refit": ["boolean"],
        **{name: LinearClassifier._parameter_constraints[name] for name in (*SHARED, "verbose")},
    }

    _plain: ClassVar[type[LinearClassifier]]

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = (0.0,),
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        selection: str = "best",
        refit: bool = True,
        class_weight: Any = None,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.selection = selection
        self.refit = refit
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> "LinearClassifierCV":
        """Choose C and l1_ratio by cross-validation, then fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, float64 or float32 (other types are converted to float64).
        y : array-like of shape (n_samples,)
            Class labels of any one type.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, for every fit, and for the scorer if it takes them (with
            ``enable_metadata_routing``: if it requests them). A weight of 2 is the row twice; a
            row of weight 0 is left out of the fits.
        **params : dict
            ``groups``, of shape (n_samples,), goes to ``cv``. With ``enable_metadata_routing``
            whatever ``cv`` and ``scoring`` request.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If the data or all folds cannot be fitted; the estimator is then as it was before.

        Warns
        -----
        ConvergenceWarning
            If an optimum was not certified, of the folds or of the refit.
        FitFailedWarning, UserWarning
            If a fold could not be fitted or scored; its scores are nan.
        """
        before = self.__dict__.copy()
        try:
            for name in [name for name in self.__dict__ if name[0] != "_" and name[-1] == "_"]:
                delattr(self, name)  # what the last fit had and this one may not
            self._search(X, y, sample_weight, params)
        except BaseException:
            self.__dict__ = before | unfinished(self)
            raise
        return self

    def _search(self, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> None:
        Cs, l1_ratios = self._grid()
        routed = self._routed(sample_weight, params)
        X, y, sample_weight = indexable(X, y, sample_weight)
        checked, labels = checked_rows(self, X, y)
        s = checked_weights(sample_weight, checked)
        model = self._model()
        data = weighted(checked, labels, s, model.class_weight, model._balances_rows)
        splitter = check_cv(self.cv, labels, classifier=True)
        folds = [
            (_numbers(train, s.size), _numbers(test, s.size))
            for train, test in splitter.split(X, y, **routed.splitter.split)
        ]
        tasks = GridTasks(
            self, X, y, sample_weight, data.classes,
            n_folds=len(folds), n_points=Cs.size * l1_ratios.size, refit=self.refit,
        )  # fmt: skip
        search = Search.of(model, l1_ratios, Cs, tasks)
        rows = Rows.of(checked, labels, s, finite=bool(np.isfinite(Cs * s.sum()).all()))
        paths = fit_folds(search, rows, folds, self.n_jobs)
        self._warn_of_folds(paths)
        scoring = Scoring(self.scoring, X, y, checked, labels, routed.scorer.score)
        scores = np.array(
            [
                [scoring.scores(*each, Cs, test) for each in zip(search.models, some, strict=True)]
                for some, (_, test) in zip(paths, folds, strict=True)
            ]
        )
        scoring.warn()
        self._choose(scores, Cs, l1_ratios)
        self.classes_ = data.classes
        self.coefs_paths_, self.n_iter_ = self._paths_of(paths, Cs.size)
        if self.refit:
            solution = self._refit(data, rows, tasks)
            self._warn(data, solution)
        else:
            self._average(scores)
        tasks.close()

    def _grid(self) -> tuple[Array, Array]:
        """C and l1_ratio, as they were given."""
        if isinstance(self.Cs, Integral):
            Cs = np.logspace(*DECADES, int(self.Cs))
        else:
            Cs = checked_values(self.Cs, "Cs")
        try:
            l1_ratios = np.asarray(self.l1_ratios, dtype=np.float64)
        except (TypeError, ValueError):
            l1_ratios = np.empty(0)
        inside = (l1_ratios >= 0) & (l1_ratios <= 1)
        if l1_ratios.ndim != 1 or not l1_ratios.size or not inside.all():
            raise ValueError(
                f"l1_ratios must be numbers between 0 and 1, in one dimension; "
                f"got {self.l1_ratios!r}."
            )
        return Cs, l1_ratios

    def _model(self) -> LinearClassifier:
        """The plain classifier with the parameters that it shares with this one."""
        shared = {name: getattr(self, name) for name in SHARED}
        model = self._plain(verbose=self.verbose, **shared)
        model.__dict__ |= {name: vars(self)[name] for name in SEEN if name in vars(self)}
        return model

    def _choose(self, scores: Array, Cs: Array, l1_ratios: Array) -> None:
        """Scores as attributes, and the choice by them."""
        selection = Selection.of(scores)
        if not np.isfinite(selection.mean).all():
            warnings.warn(
                f"One or more of the test scores are non-finite: {selection.mean}",
                UserWarning,
                stacklevel=5,
            )
        l1_ratio, C = selection.best
        if self.selection == "1se":
            l1_ratio, C = selection.one_standard_error(Cs)
        self.Cs_, self.l1_ratios_ = Cs, l1_ratios
        self.scores_ = scores
        self.mean_scores_, self.standard_errors_ = selection.mean, selection.error
        self.C_, self.l1_ratio_ = float(Cs[C]), float(l1_ratios[l1_ratio])

    def _paths_of(self, paths: list[list[FoldPath]], n_Cs: int) -> tuple[Array, Array]:
        """Coefficients (n_folds, n_l1_ratios, n_Cs, K, q) and iterations, (..., n_Cs)."""
        K, p = self.classes_.size, self.n_features_in_
        q = p + bool(self.fit_intercept)
        shape = len(paths), len(paths[0]), n_Cs
        coefs = np.full((*shape, 1 if K == 2 else K, q), np.nan)
        n_iter = np.zeros(shape, dtype=np.int32)
        for at in np.ndindex(shape):
            path = paths[at[0]][at[1]]
            if not path.error:
                model = path.models[at[2]]
                point = np.column_stack([model["coef_"], model["intercept_"]])[:, :q]
                self._place(point, path.classes, coefs[at])
                n_iter[at] = model["n_iter_"].max()
        return coefs, n_iter

    def _place(self, point: Array, classes: Array, into: Array) -> None:
        """A point of some classes in the rows of all; classes that it does not know stay nan."""
        if into.shape[0] > 1 and classes.size == 2:  # one row for two classes: as a row each
            point = np.vstack([-point, point]) * (0.5 if self._coupled else 1.0)
        if into.shape[0] == 1:
            into[:] = point
        else:
            into[np.searchsorted(self.classes_, classes)] = point

    def _refit(self, data: TrainingData, rows: Rows, tasks: GridTasks) -> "Solution":
        """The plain classifier's fit of all rows, bit for bit."""
        from .._solvers.table import solve

        model = self._model().set_params(C=self.C_, l1_ratio=self.l1_ratio_)
        design = rows.design if data.X is rows.X else None
        attributes = partial(model._attributes, data)
        task = tasks.refit(self.max_iter, attributes)
        with Workers(thread_count(self.n_jobs)) as workers, one_blas_thread():
            solution = solve(
                model._objective(data, workers, design),
                self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                verbose=max(0, int(self.verbose) - 1),
                watch=task.ended if task is not None else None,
                begins=task.begins if task is not None else None,
            )
        self.__dict__ |= {k: v for k, v in attributes(solution).items() if k != "n_iter_"}
        if task is not None:
            task.close()
        return solution

    def _average(self, scores: Array) -> None:
        """The mean over folds of their models at the choice; "best": each fold's own.

        Where a fold does not know a class, of the others.
        """
        chosen = best_of_each_fold(scores)
        if self.selection == "1se":
            at = np.flatnonzero(self.l1_ratios_ == self.l1_ratio_)[0]
            chosen = [(int(at), int(np.flatnonzero(self.Cs_ == self.C_)[0]))] * len(chosen)
        known = [(fold, *point) for fold, point in enumerate(chosen) if point is not None]
        if not known:
            raise ValueError("No fold has a score: without a refit there is no model.")
        points = np.array([self.coefs_paths_[at] for at in known])
        counted = np.isfinite(points)
        mean = np.where(counted, points, 0.0).sum(axis=0) / counted.sum(axis=0)
        p = self.n_features_in_
        self.coef_ = mean[:, :p]
        self.intercept_ = mean[:, p] if self.fit_intercept else np.zeros(mean.shape[0])
        self.C_ = float(np.mean([self.Cs_[C] for _, _, C in known]))
        self.l1_ratio_ = float(np.mean([self.l1_ratios_[l1_ratio] for _, l1_ratio, _ in known]))

    def _warn_of_folds(self, paths: list[list[FoldPath]]) -> None:
        """A warning for folds that could not be fitted, one for fits that did not converge.

        Raises
        ------
        ValueError
            If no fold could be fitted.
        """
        everything = [path for of_fold in paths for path in of_fold]
        errors = Counter(of_fold[0].error for of_fold in paths if of_fold[0].error)
        summary = "\n".join(f"{count} with the error:\n{text}" for text, count in errors.items())
        if errors.total() == len(paths):
            raise ValueError(f"All {len(paths)} folds failed to be fitted. {summary}")
        if errors:
            warnings.warn(
                f"{errors.total()} of {len(paths)} folds could not be fitted; their scores will "
                f"be set to nan. {summary}",
                FitFailedWarning,
                stacklevel=5,
            )
        fits = [model for path in everything for model in path.models]
        failed = sum(not np.all(model["converged_"]) for model in fits)
        if failed:
            warnings.warn(
                f"{type(self).__name__}: {failed} of {len(fits)} fits of cross-validation did not "
                "converge. Increase max_iter, or make tol larger if less precision is enough; "
                "without a penalty, classes may be separable.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _numbers(rows: Any, n: int) -> Array:
    """Row numbers of a fold, which may come as a mask."""
    rows = np.asarray(rows)
    return np.arange(n)[rows]
