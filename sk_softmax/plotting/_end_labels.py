"""Names beside the ends of lines, clear of each other."""

from typing import Any

import numpy as np
from sklearn.isotonic import isotonic_regression

from .._typing import Array

SIZE = 8.5  # of the font, in points
LEADING = 1.2


def label_ends(axis: Any, ends: Array, names: list[str], colour: Any) -> list[Any]:
    """Write names to the right of an axes, each joined to the end of its line.

    Parameters
    ----------
    axis : matplotlib Axes
        With the limits that it will keep.
    ends : ndarray of shape (n_names,)
        Heights at which the lines end, in units of the y axis.
    names : list of str
    colour : matplotlib colour

    Returns
    -------
    labels : list of matplotlib Annotation
    """
    across = axis.get_yaxis_transform()
    screen = across.transform(np.column_stack([np.ones(len(ends)), ends]))
    heights = axis.transAxes.inverted().transform(screen)[:, 1]
    points = axis.get_window_extent().height * 72 / axis.figure.dpi
    places = spread(heights, LEADING * SIZE / points)
    return [
        axis.annotate(
            name,
            xy=(1.0, end),
            xycoords=across,
            xytext=(1.05, place),
            textcoords="axes fraction",
            va="center",
            ha="left",
            fontsize=SIZE,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
        for name, end, place in zip(names, ends, places, strict=True)
    ]


def spread(heights: Array, gap: float) -> Array:
    """Heights at least `gap` apart and within [0, 1], as near to those asked for as can be.

    Least squares: with the gaps taken off, their order is all that is left to keep, which is an
    isotonic regression. Where there is no room for such gaps, they are as wide as there is.

    Parameters
    ----------
    heights : ndarray of shape (n,)
    gap : float

    Returns
    -------
    places : ndarray of shape (n,)
    """
    n = len(heights)
    if n < 2:
        return np.clip(heights, 0, 1)
    gap = min(gap, 1 / (n - 1))
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(n)
    places = np.empty(n)
    places[order] = steps + isotonic_regression(
        heights[order] - steps, y_min=0.0, y_max=max(1 - steps[-1], 0.0)
    )
    return places
