"""The coefficients of one class along a path, dense or sparse, and their curves."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from .._typing import Array
from ._style import MUTED, dash, every, marker


def trace(coefs: Any, row: int) -> tuple[Array, Array]:
    """The coefficients of one class that are not 0 all along the path.

    Parameters
    ----------
    coefs : ndarray of shape (n_Cs, n_rows, n_features), or sequence of sparse matrices
    row : int

    Returns
    -------
    values : ndarray of shape (n_Cs, n_used)
    features : ndarray of shape (n_used,)
        Their columns, ascending.
    """
    if sparse.issparse(coefs[0]):
        stacked = sparse.vstack([coef.tocsr()[[row]] for coef in coefs]).tocsc()
        stacked.eliminate_zeros()
        features = np.flatnonzero(np.diff(stacked.indptr))
        return stacked[:, features].toarray(), features
    values = np.asarray(coefs)[:, row]
    features = np.flatnonzero((values != 0).any(axis=0))
    return values[:, features], features


def largest(values: Array, n: int) -> Array:
    """Places (at most n) of the largest coefficients of a trace, the largest first.

    Only of those that the path's end knows, where their names will stand.
    """
    size = np.nanmax(np.abs(values), axis=0, initial=0.0)
    known = np.flatnonzero(np.isfinite(values[-1]))
    return known[np.argsort(-size[known], kind="stable")[:n]]


def mean_over_folds(paths: Array) -> Array:
    """Mean of the paths of folds, of those that know the class.

    Parameters
    ----------
    paths : ndarray of shape (n_folds, n_Cs, n_rows, n_columns)

    Returns
    -------
    path : ndarray of shape (n_Cs, n_rows, n_columns)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(paths, axis=0)


def draw_trace(axis: Any, x: Array, values: Array, top: Array, colour: Any) -> tuple[Any, Any]:
    """Draw the coefficients of a class: the largest as lines, the others thin and grey.

    Parameters
    ----------
    axis : matplotlib Axes
    x : ndarray of shape (n_Cs,)
    values : ndarray of shape (n_Cs, n_used)
    top : ndarray of int
        The columns to draw as lines.
    colour : matplotlib colour

    Returns
    -------
    lines : list of matplotlib Line2D
    others : matplotlib LineCollection or None
    """
    from matplotlib.collections import LineCollection

    axis.axhline(0, color="black", linewidth=0.6, zorder=1)
    rest = np.delete(values, top, axis=1)
    others = None
    if rest.size:
        curves = [np.column_stack([x, curve]) for curve in rest.T]
        others = LineCollection(curves, colors=MUTED, linewidths=0.7, zorder=1.5)
        axis.add_collection(others)
        axis.autoscale_view()
    lines = [
        axis.plot(x, values[:, place], color=colour, linestyle=dash(rank), linewidth=1.6)[0]
        for rank, place in enumerate(top)
    ]
    return lines, others


def draw_size(axis: Any, x: Array, values: Array, place: int, counted: bool, **style: Any) -> Any:
    """Draw the Euclidean norm of a class's coefficients, or how many are not 0; its line.

    Parameters
    ----------
    axis : matplotlib Axes
    x : ndarray of shape (n_Cs,)
    values : ndarray of shape (n_Cs, n_used)
    place : int
        The class's, which says how its line looks.
    counted : bool
        Whether the coefficients are counted.
    **style : dict
        For ``Axes.plot``.
    """
    if counted:
        size = (values != 0).sum(axis=1)
        style["drawstyle"] = "steps-post"
    else:
        size = np.linalg.norm(values, axis=1)
        style |= {"marker": marker(place), "markersize": 4, "markevery": every(x.size)}
    return axis.plot(x, size, linestyle=dash(place), linewidth=1.6, **style)[0]
