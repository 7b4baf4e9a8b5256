"""What the displays read from estimators: names, coefficients, names of features and classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import Array
from ._style import class_name


def named_estimators(estimator: Any, names: Any = None) -> dict[str, Any]:
    """Estimators by name.

    Parameters
    ----------
    estimator : estimator, sequence of estimators, or mapping of names to them
    names : str or sequence of str, default=None
        One for each. None: the keys of a mapping, else the class of each (of a pipeline: of its
        last step), with a number where two would be called the same.

    Returns
    -------
    estimators : dict

    Raises
    ------
    ValueError
        If there are none, or the names are too many, too few or not different.
    """
    if isinstance(estimator, Mapping):
        found, default = list(estimator.values()), [str(name) for name in estimator]
    elif isinstance(estimator, Sequence) and not hasattr(estimator, "fit"):
        found = list(estimator)
        default = _numbered([type(last_step(each)).__name__ for each in found])
    else:
        found, default = [estimator], [type(last_step(estimator)).__name__]
    if not found:
        raise ValueError("There is no estimator to show.")
    if names is not None:
        default = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(default) != len(found) or len(set(default)) != len(default):
        raise ValueError(
            f"Each of the {len(found)} estimators needs a name of its own. Got {default}."
        )
    return dict(zip(default, found, strict=True))


def _numbered(names: list[str]) -> list[str]:
    """Names, with a number after those that occur more than once."""
    return [
        f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def last_step(estimator: Any) -> Any:
    """The last step of a pipeline; anything else as it is."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def require(estimator: Any, attribute: str, wanted: str) -> Any:
    """A fitted estimator's attribute.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is, and has no such attribute; the message says what is `wanted` instead.
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"{type(estimator).__name__} has no attribute {attribute!r}: {wanted} is needed."
        )
    return getattr(estimator, attribute)


def dense(coef: Any) -> Array:
    """Coefficients as an array, also after ``sparsify``."""
    return coef.toarray() if hasattr(coef, "toarray") else np.asarray(coef)


def feature_names_of(estimator: Any) -> Array | None:
    """Names of the features that the last step was given; None where nobody knows them."""
    last = last_step(estimator)
    if last is not estimator:
        try:
            return estimator[:-1].get_feature_names_out()
        except (AttributeError, ValueError):  # a step that names nothing
            pass
    return getattr(last, "feature_names_in_", None)


def checked_names(feature_names: Any, n_features: int) -> Array:
    """Names of features, made up (x0, x1, ...) for None.

    Raises
    ------
    ValueError
        If their number is another.
    """
    if feature_names is None:
        return np.array([f"x{j}" for j in range(n_features)], dtype=object)
    names = np.asarray(feature_names, dtype=object).ravel()
    if names.size != n_features:
        raise ValueError(
            f"feature_names has {names.size} names, but there are {n_features} features."
        )
    return names


def chosen_rows(labels: Array, wanted: Any) -> list[int]:
    """Places of the wanted labels, all for None.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        Labels of the rows that there are.
    wanted : label, array-like of labels or None

    Raises
    ------
    ValueError
        If there is no row with such a label.
    """
    if wanted is None:
        return list(range(len(labels)))
    places = {label: place for place, label in enumerate(labels.tolist())}
    asked = np.atleast_1d(np.asarray(wanted)).ravel().tolist()
    unknown = [label for label in asked if label not in places]
    if unknown or not asked:
        raise ValueError(f"classes must be among {list(places)}. Got {asked}.")
    return [places[label] for label in asked]


def row_labels(classes: Any, n_rows: int) -> Array:
    """Labels of rows of coefficients: with two classes the one row speaks for the second.

    Raises
    ------
    ValueError
        If the numbers of classes and of rows do not fit.
    """
    classes = np.asarray(classes)
    if n_rows == classes.size:
        return classes
    if n_rows == 1 and classes.size == 2:
        return classes[1:]
    raise ValueError(f"{n_rows} rows of coefficients do not fit {classes.size} classes.")


def row_titles(classes: Any, labels: Array, rows: list[int]) -> list[str]:
    """Titles of rows of coefficients: with two classes it says against which the one speaks.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
    labels : ndarray of shape (n_rows,)
        From `row_labels`.
    rows : list of int
        The rows to name.
    """
    titles = [class_name(label) for label in labels[rows].tolist()]
    if labels.size < len(classes):
        titles = [f"{titles[0]} against {class_name(np.asarray(classes).tolist()[0])}"]
    return titles
