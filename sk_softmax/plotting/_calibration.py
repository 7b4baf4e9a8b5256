"""Reliability curves: from probabilities to bins, their error, and how many rows are in each."""

from typing import Any

import numpy as np
from sklearn.calibration import CalibrationDisplay, calibration_curve
from sklearn.utils.validation import check_consistent_length

from .._typing import Array
from ._style import BAND, dash


def checked_probability(probability: Any, y: Array, labels: Array) -> Array:
    """Probabilities (n, K) in float64 and within [0, 1], whatever they were rounded to."""
    probability = np.asarray(probability, dtype=np.float64)
    if probability.ndim != 2 or probability.shape[1] != labels.size:
        raise ValueError(
            f"Probabilities must have a column for each of the {labels.size} classes. "
            f"Got shape {probability.shape}."
        )
    check_consistent_length(probability, y)
    return np.clip(probability, 0, 1)


def outcomes(
    y: Array, probability: Array, labels: Array, rows: list[int] | None
) -> list[tuple[Array, Array]]:
    """What was true (0 or 1) and its probability, for classes, or for the predicted class."""
    if rows is not None:
        return [((y == labels[row]).astype(int), probability[:, row]) for row in rows]
    predicted = labels[probability.argmax(axis=1)]
    return [((y == predicted).astype(int), probability.max(axis=1))]


def reliability_curve(
    true: Array, probability: Array, n_bins: int, strategy: str, name: str
) -> tuple[Any, float]:
    """A reliability curve, and the mean distance from the diagonal over the rows."""
    prob_true, prob_pred = calibration_curve(
        true, probability, pos_label=1, n_bins=n_bins, strategy=strategy
    )
    edges = np.linspace(0, 1, n_bins + 1)
    if strategy == "quantile":
        edges = np.quantile(probability, edges)
    counts = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=n_bins)
    counts = counts[counts > 0]  # as the curve leaves out empty bins
    error = counts @ np.abs(prob_true - prob_pred) / probability.size
    return CalibrationDisplay(prob_true, prob_pred, probability, estimator_name=name), float(error)


def draw_histogram(
    axis: Any, curves: list[Any], n_bins: int, codes: list[int], colours: list[str]
) -> list[Any]:
    """Draw how many rows have which probability: counts range widely, so a logarithm.

    Parameters
    ----------
    axis : matplotlib Axes
    curves : list of sklearn.calibration.CalibrationDisplay
    n_bins : int
        Bins are equally wide, whatever those of the curves are.
    codes : list of int
        Places of the classes, which say how their lines are dashed.
    colours : list of matplotlib colours

    Returns
    -------
    histograms : list of matplotlib StepPatch
    """
    edges = np.linspace(0, 1, n_bins + 1)
    fill = len(curves) == 1
    drawn = [
        axis.stairs(
            np.histogram(curve.y_prob, edges)[0],
            edges,
            baseline=0.5,
            fill=fill,
            facecolor=BAND if fill else None,
            edgecolor=colour,
            linestyle="-" if fill else dash(code),
            linewidth=1.2,
        )
        for curve, code, colour in zip(curves, codes, colours, strict=True)
    ]
    most = max((histogram.get_data().values.max() for histogram in drawn), default=1)
    axis.set_yscale("log")
    axis.set_ylim(0.5, max(2 * most, axis.get_ylim()[1]))  # the axes of a row share it
    return drawn
