"""Scores of a fold's models on its test rows, as `GridSearchCV` has them."""

import warnings
from copy import copy
from dataclasses import dataclass, field
from inspect import signature
from numbers import Number
from traceback import format_exc
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from .._base import LinearClassifier
from .._typing import Array
from .._validation import encoded
from .folds import FoldPath

LOG_LOSS = "neg_log_loss"
TOGETHER = 2**16  # logits up to which several models are scored together


def scorer_of(scoring: Any) -> Any:
    """The scorer that ``scoring`` names; None: accuracy, which is a classifier's own score."""
    return get_scorer("accuracy" if scoring is None else scoring)


def takes_weights(scorer: Any) -> bool:
    """Whether a scorer has a use for ``sample_weight``."""
    if hasattr(scorer, "_accept_sample_weight"):
        return bool(scorer._accept_sample_weight())
    function = getattr(scorer, "_score_func", scorer)
    return "sample_weight" in signature(function).parameters


@dataclass
class Scoring:
    """How models are scored, and what they are scored on.

    Attributes
    ----------
    scoring : str, callable or None
    X, y
        As the user passed them: a scorer may look at a data frame's columns.
    rows : ndarray or CSR matrix of shape (n, p)
        X as the solvers take it.
    labels : ndarray of shape (n,)
        y as an array.
    parameters : dict
        What the scorer is passed; what has a row for each of X's is split like them.
    """

    scoring: Any
    X: Any
    y: Any
    rows: Any
    labels: Array
    parameters: dict[str, Any]
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scorer = scorer_of(self.scoring)

    def scores(self, model: LinearClassifier, path: FoldPath, Cs: Array, test: Array) -> Array:
        """Scores of one path's models, (n_Cs,); nan where there is no model, or scoring fails.

        Parameters
        ----------
        model : LinearClassifier
            What the path's models have in common: parameters, names of features.
        path : FoldPath
        Cs : ndarray of shape (n_Cs,)
        test : ndarray of int
        """
        if path.error:
            return np.full(Cs.size, np.nan)
        parameters = _check_method_params(self.X, params=self.parameters, indices=test)
        models = [
            _fitted(model, float(C), attributes)
            for C, attributes in zip(Cs, path.models, strict=True)
        ]
        if self.scoring == LOG_LOSS and set(parameters) <= {"sample_weight"}:
            losses = self._log_losses(models, path.classes, test, **parameters)
            if losses is not None:
                return -losses
        X, y = _safe_indexing(self.X, test), _safe_indexing(self.y, test)
        return np.array([self._score(each, X, y, parameters) for each in models])

    def _score(self, model: LinearClassifier, X: Any, y: Any, parameters: dict[str, Any]) -> float:
        try:
            score = self.scorer(model, X, y, **parameters)
        except Exception:  # as GridSearchCV with error_score=nan
            self.failures.append(format_exc())
            return np.nan
        score = score.item() if hasattr(score, "item") else score
        if not isinstance(score, Number):
            raise ValueError(
                f"scoring must return a number, got {score} ({type(score)}) instead. "
                f"(scorer={self.scorer})"
            )
        return float(score)  # type: ignore[arg-type]

    def _log_losses(
        self,
        models: list[LinearClassifier],
        classes: Array,
        test: Array,
        sample_weight: Any = None,
    ) -> Array | None:
        """`sklearn.metrics.log_loss` of all models on checked rows, (n_Cs,), its checks aside.

        None where these would have something to say: the rows lack a class, or weights.
        """
        present, codes = encoded(self.labels[test])
        if not np.array_equal(present, classes):
            return None
        if sample_weight is not None and not np.sum(sample_weight) > 0:
            return None
        X, losses = self.rows[test], np.empty(len(models))
        eps, outputs = np.finfo(X.dtype).eps, models[0].coef_.shape[0]
        size = max(1, TOGETHER // (codes.size * outputs))
        for start in range(0, len(models), size):
            some = slice(start, start + size)
            raw = _stacked(models[some])._product(X, 1.0)
            if not np.isfinite(raw).all():
                return None
            log_probability = models[0]._log_probability(raw.reshape(-1, outputs))
            log_probability = log_probability.reshape(codes.size, -1, classes.size)
            own = np.exp(log_probability[np.arange(codes.size), :, codes])
            own = np.clip(own.astype(X.dtype, copy=False), eps, 1 - eps)
            losses[some] = np.average(-np.log(own), axis=0, weights=sample_weight)
        return losses

    def warn(self) -> None:
        """One warning for all failures."""
        if self.failures:
            warnings.warn(
                f"Scoring failed for {len(self.failures)} of the models of cross-validation, whose "
                f"scores will be set to nan. Details of the last: \n{self.failures[-1]}",
                UserWarning,
                stacklevel=5,
            )


def _stacked(models: list[LinearClassifier]) -> LinearClassifier:
    """A model with the logits of all ``models``, side by side."""
    if len(models) == 1:
        return models[0]
    coef = np.concatenate([model.coef_ for model in models])
    intercept = np.concatenate([model.intercept_ for model in models])
    return _fitted(models[0], models[0].C, {"coef_": coef, "intercept_": intercept})


def _fitted(model: LinearClassifier, C: float, attributes: dict[str, Any]) -> LinearClassifier:
    """A copy of ``model`` with a fit's attributes."""
    fitted = copy(model)
    fitted.__dict__ |= {"C": C, **attributes}
    return fitted
