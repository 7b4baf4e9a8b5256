"""From what users pass to what the solvers take: labels, weights, sparse formats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from ._typing import Array

DTYPES = (np.float64, np.float32)
LARGEST = 1e150
SMALL = 2**18  # entries that are not worth waking the threads of BLAS for
MANY_STRINGS = 2**12  # labels from which hashes save time
HASH = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio
PLAIN_LABELS = "biuUS"  # bool, integers, strings: class labels without a closer look, which is slow


@dataclass(frozen=True)
class TrainingData:
    """Checked data without rows of weight 0.

    Attributes
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    y : ndarray of shape (n,), int64
        Codes into ``classes``.
    s : ndarray of shape (n,), float64
        Positive weights.
    classes : ndarray of shape (n_classes,)
    """

    X: Any
    y: Array
    s: Array
    classes: Array


def check_training_data(
    estimator: Any, X: Any, y: Any, sample_weight: Any, class_weight: Any, balance_rows: bool
) -> TrainingData:
    """Check everything that `fit` is given.

    Parameters
    ----------
    estimator : object
        Its ``n_features_in_`` and ``feature_names_in_`` are set.
    X, y, sample_weight, class_weight
        As passed to the estimator.
    balance_rows : bool
        Whether ``class_weight="balanced"`` is a weight on rows.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words, for input that cannot be fitted.
    """
    X, y = checked_rows(estimator, X, y)
    return weighted(X, y, checked_weights(sample_weight, X), class_weight, balance_rows)


def checked_rows(estimator: Any, X: Any, y: Any) -> tuple[Any, Array]:
    """X (float64 or float32, dense or CSR) and y as arrays; see `check_training_data`."""
    if _plain_labels(y) and _plain(X) and y.shape == X.shape[:1]:
        validate_data(estimator, X, y, skip_check_array=True)
        return X, y
    X, y = validate_data(
        estimator, X, y, accept_sparse="csr", dtype=DTYPES, order=None, accept_large_sparse=True
    )
    if y.dtype.kind not in PLAIN_LABELS:
        check_classification_targets(y)
    X = checked_indices(X)
    if _largest(X.data if sparse.issparse(X) else X) > LARGEST:
        raise ValueError(
            f"X contains values beyond {LARGEST:.0e}, whose squares overflow. "
            "Scale its columns, for example with StandardScaler."
        )
    return X, y


def _plain(X: Any) -> bool:
    """Whether X is an array that scikit-learn's checks would return as it is.

    That is seen in a fraction of the time that they take, which is as long as the fit of a small
    problem.
    """
    if type(X) is not np.ndarray or X.dtype not in DTYPES or X.ndim != 2 or not X.size:
        return False
    if X.dtype == np.float32:
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(X.sum()))
    return _largest(X) <= LARGEST  # which a nan is not


def _plain_labels(y: Any) -> bool:
    """The same of labels, whatever their shape; cheaper than a look at X."""
    return type(y) is np.ndarray and y.dtype.kind in PLAIN_LABELS


def checked_weights(sample_weight: Any, X: Any) -> Array:
    """Non-negative weights (n,), 1 where none are given."""
    if sample_weight is None:
        return np.ones(X.shape[0])
    s = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if (s < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`")
    return s


def weighted(X: Any, y: Array, s: Array, class_weight: Any, balance_rows: bool) -> TrainingData:
    """Labels encoded and classes weighted, without the rows of weight 0.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    y : ndarray of shape (n,)
        Labels.
    s : ndarray of shape (n,)
        Weights, not negative.
    class_weight, balance_rows
        See `check_training_data`.
    """
    classes, codes = encoded(y)
    if isinstance(class_weight, dict):
        by_class = compute_class_weight(class_weight, classes=classes, y=y)
        if not (by_class >= 0).all():
            raise ValueError(f"The class_weight of a class is negative or nan: {class_weight}")
        s = s * by_class[codes]
    if not np.isfinite(s.sum()):
        raise ValueError("Weights (sample_weight times class_weight) are too large to be added.")
    kept = s > 0
    if not kept.any():
        raise ValueError("All weights are zero: at least one row of each class needs a weight.")
    if not kept.all():
        X, codes, s = X[kept], codes[kept], s[kept]
        present, codes = encoded(codes)
        classes = classes[present]
    if classes.size < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains "
            f"only one class: {classes[0]!r}"
        )
    if class_weight == "balanced" and balance_rows:
        totals = np.bincount(codes, s)
        s = s * (s.sum() / (classes.size * totals))[codes]
    return TrainingData(X, codes, s, classes)


def encoded(labels: Array) -> tuple[Array, Array]:
    """``np.unique(labels, return_inverse=True)``; few labels are not sorted for it.

    Parameters
    ----------
    labels : ndarray of shape (n,)

    Returns
    -------
    classes : ndarray of shape (n_classes,), the dtype of labels
        Ascending.
    codes : ndarray of shape (n,), int64
        ``classes[codes]`` is labels.
    """
    if labels.dtype.kind in "biu" and labels.size:
        lowest, highest = labels.min(), labels.max()
        if int(highest) - int(lowest) <= labels.size:
            if labels.dtype != np.uint64:  # where a label may be beyond int64, but not their range
                labels, lowest = labels.astype(np.int64, copy=False), np.int64(lowest)
            places = (labels - lowest).astype(np.int64, copy=False)
            present = np.bincount(places) > 0
            classes = lowest + np.flatnonzero(present).astype(labels.dtype, copy=False)
            codes = places if present.all() else (np.cumsum(present) - 1)[places]
            return classes.astype(highest.dtype, copy=False), codes
    if labels.dtype.kind == "U" and labels.dtype.isnative and labels.size >= MANY_STRINGS:
        found = _encoded_strings(np.ascontiguousarray(labels))
        if found is not None:
            return found
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, codes.astype(np.int64, copy=False)


def _encoded_strings(labels: Array) -> tuple[Array, Array] | None:
    """`encoded` of strings, told apart by hashes as short as to be counted; None if they are not.

    References
    ----------
    Dietzfelbinger, Hagerup, Katajainen and Penttonen (1997), "A reliable randomized algorithm for
    the closest-pair problem", section 2: multiplicative hashing, here character by character.
    """
    n, bits = labels.size, np.uint64(labels.size.bit_length() - 1)
    characters = labels.view(np.uint32).reshape(n, -1)
    factors = np.multiply.accumulate(np.full(characters.shape[1], HASH, np.uint64))
    hashes = (characters @ factors) >> (np.uint64(64) - bits)
    present, codes = encoded(hashes)
    first = np.empty(present.size, dtype=np.int64)
    first[codes[::-1]] = np.arange(n - 1, -1, -1)
    if not np.array_equal(characters, characters[first][codes]):
        return None  # two labels have the same hash
    classes, order = np.unique(labels[first], return_inverse=True)
    return classes, order[codes].astype(np.int64, copy=False)


def _largest(values: Array) -> float:
    """The largest absolute value, or a bound on it that is in range."""
    if values.dtype == np.float32 or not values.size:
        return 0.0
    if values.flags.forc and values.size > SMALL:  # one pass without a copy, however large X is
        flat = values.ravel(order="K")
        with np.errstate(over="ignore"):
            norm = float(np.sqrt(flat @ flat))
        if norm <= LARGEST:
            return norm
    return max(float(values.max()), -float(values.min()))


def check_prediction_data(estimator: Any, X: Any) -> Any:
    """X as `predict` and the like take it: float64 or float32, dense or CSR."""
    if _plain(X):
        return validate_data(estimator, X, reset=False, skip_check_array=True)
    X = validate_data(
        estimator, X, accept_sparse="csr", dtype=DTYPES, accept_large_sparse=True, reset=False
    )
    return checked_indices(X)


def checked_indices(X: Any) -> Any:
    """X, once the index arrays of a sparse one are known to point inside it.

    Raises
    ------
    ValueError
        If an index is out of range or the row pointers do not ascend.
    """
    if not sparse.issparse(X):
        return X
    same = sparse.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape, copy=False)
    same.check_format(full_check=True)
    return same
