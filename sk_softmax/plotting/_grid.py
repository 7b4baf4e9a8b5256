"""Two features: the points, a grid over them, and the grid as the data came."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._typing import Array
from ._inputs import dense


def two_features(X: Any, fitted: dict[str, Any]) -> Array:
    """The points as an array (n, 2), after checks of all that needs two features."""
    for name, estimator in fitted.items():
        check_is_fitted(estimator)
        p = getattr(estimator, "n_features_in_", 2)
        if p != 2:
            raise ValueError(
                f"Decision regions are drawn over 2 features, but {name} is fitted on {p}. "
                "Fit it on the two columns to show."
            )
    points = np.asarray(dense(X), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"Decision regions are drawn over 2 features, but X has shape {points.shape}."
        )
    return points


def grid_over(points: Array, resolution: int, margin: float) -> tuple[Array, Array]:
    """A grid over the points and a margin around them; a constant feature gets a unit's width."""
    low, high = points.min(axis=0), points.max(axis=0)
    width = np.where(high > low, margin * (high - low), 0.5)
    sides = np.linspace(low - width, high + width, resolution)
    xx0, xx1 = np.meshgrid(sides[:, 0], sides[:, 1])
    return xx0, xx1


def like(X: Any, values: Array) -> Any:
    """Values as what X is: a dataframe of the same kind and names, or an array."""
    if not hasattr(X, "columns"):
        return values
    return type(X)(dict(zip(X.columns, values.T, strict=True)))
