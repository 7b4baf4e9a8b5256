"""What a fitted model says of rows: logits, labels, probabilities and their logarithms."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from ._typing import Array
from ._validation import check_prediction_data

LARGEST = np.finfo(np.float64).max
BLOCK_ENTRIES = 2**16  # of X whose rows are classified at a time
MANY = 2**27  # multiplications from which a kernel pays, though it may have to be compiled


class LinearPrediction:
    """Prediction by `coef_`, `intercept_` and `classes_`; a mixin."""

    coef_: Any
    intercept_: Array
    classes_: Array
    _coupled: ClassVar[bool]

    def _predicted(self, X: Any, of: Callable[[Array, Any], Array]) -> Array:
        """What ``of`` makes of finite logits (m, K) in float64 and X's dtype, for all rows of X."""
        return self._of_logits(self._checked(X), of)

    def _checked(self, X: Any) -> Any:
        check_is_fitted(self)
        return check_prediction_data(self, X)

    def _of_logits(self, X: Any, of: Callable[[Array, Any], Array]) -> Array:
        """`_predicted` of checked X.

        Block by block of rows, which stay in the cache: large arrays in between are slow.
        """
        n, p = X.shape
        product = self._product(X, 1.0) if sparse.issparse(X) else None  # slices would be copies
        size = max(1, BLOCK_ENTRIES // max(1, p))

        def block(start: int) -> Array:
            rows = slice(start, start + size)
            raw = self._product(X[rows], 1.0) if product is None else product[rows]
            if not np.isfinite(raw).all():  # the same logits, from smaller numbers
                overflown = ~np.isfinite(raw).all(axis=1)
                small = 2.0**-600
                with np.errstate(over="ignore"):
                    raw[overflown] = self._product(X[rows][overflown], small) / small
                np.clip(raw, -LARGEST, LARGEST, out=raw)
            return of(raw, X.dtype)

        first = block(0)
        if n <= size:
            return np.ascontiguousarray(first)
        result = np.empty((n, *first.shape[1:]), dtype=first.dtype)
        result[:size] = first
        for start in range(size, n, size):
            result[start : start + size] = block(start)
        return result

    def _product(self, X: Any, scale: float) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            X = X * scale if scale != 1 else X
            product = safe_sparse_dot(X, self.coef_.T, dense_output=True)
            return np.asarray(product, dtype=np.float64) + self.intercept_ * scale

    def decision_function(self, X: Any) -> Array:
        """Logits: W x + b.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        raw : ndarray of shape (n_samples, n_classes), or (n_samples,) with two classes
            With two classes, positive values speak for ``classes_[1]``. In X's dtype.
        """

        def in_range(raw: Array, dtype: Any) -> Array:
            limits = np.finfo(dtype)
            raw = np.clip(raw, limits.min, limits.max).astype(dtype, copy=False)
            return raw[:, 0] if raw.shape[1] == 1 else raw

        return self._predicted(X, in_range)

    def predict(self, X: Any) -> Array:
        """The most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """

        def codes_of(raw: Array, dtype: Any) -> Array:
            return (raw[:, 0] > 0).astype(int) if raw.shape[1] == 1 else raw.argmax(axis=1)

        codes = self._predicted(X, codes_of)
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class; each row sums to 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``, in X's dtype.
        """
        X = self._checked(X)
        result = self._by_kernel(X)
        if result is not None:
            return result
        return self._of_logits(
            X, lambda raw, dtype: self._probability(raw).astype(dtype, copy=False)
        )

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithm of `predict_proba`, finite where that underflows to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        return self._predicted(X, lambda raw, dtype: in_dtype(self._log_probability(raw), dtype))

    def _by_kernel(self, X: Any) -> Array | None:
        """Softmax probabilities of many dense rows; None where that does not pay or not do."""
        many = self.coef_.shape[0] * X.shape[0] * X.shape[1] >= MANY
        if not (many and self._coupled) or self.coef_.shape[0] == 1:
            return None
        if sparse.issparse(X) or sparse.issparse(self.coef_):
            return None
        from ._design.dense import softmax_probabilities

        return softmax_probabilities(X, self.coef_, self.intercept_)

    def _probability(self, raw: Array) -> Array:
        """Probabilities (n, n_classes) that sum to 1, from logits (n, K)."""
        return np.exp(self._log_probability(raw))

    @abstractmethod
    def _log_probability(self, raw: Array) -> Array:
        """Log-probabilities (n, n_classes) that sum to 1, from logits (n, K)."""


def in_dtype(log_probability: Array, dtype: Any) -> Array:
    """Log-probabilities in X's dtype: finite, and 0 where the probability rounds to 1 in it."""
    limits = np.finfo(dtype)
    rounded = np.where(log_probability > -limits.epsneg / 2, 0.0, log_probability)
    return np.maximum(rounded, limits.min).astype(dtype, copy=False)


def log_sigmoid(z: Array) -> Array:
    """log(1 / (1 + exp(-z))), accurate for all z."""
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def two_columns(z: Array) -> Array:
    """log(1 - p) and log(p) for the logits (n, 1) of two classes."""
    return np.column_stack([log_sigmoid(-z[:, 0]), log_sigmoid(z[:, 0])])


def softmax(z: Array) -> Array:
    """Softmax by row."""
    shifted = _less_their_largest(z)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=0)
    return shifted.T


def log_softmax(z: Array) -> Array:
    """log(softmax(z)) by row, finite for finite z."""
    shifted = _less_their_largest(z)
    shifted -= np.log(np.exp(shifted).sum(axis=0))
    return np.maximum(shifted, -LARGEST, out=shifted).T


def _less_their_largest(z: Array) -> Array:
    """The columns of the result are the rows of z less their largest entry: (K, n).

    Rows that run along the last axis are maximised and added up in vector registers.
    """
    columns = np.array(z.T, order="C")
    with np.errstate(over="ignore"):
        columns -= columns.max(axis=0)
    return columns
