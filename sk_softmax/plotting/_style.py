"""Colours, lines, panels and legends that all displays share."""

import math
from typing import Any

import numpy as np

from .._typing import Array

# Ten colours that readers with any colour vision tell apart (M. A. Petroff, arXiv:2107.02270, the
# palette of scikit-learn's displays), those close to grey last: grey is for what has no label.
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#92dadd",
    "#b9ac70",
    "#717581",
    "#94a4a2",
)
POSITIVE, NEGATIVE = PALETTE[2], PALETTE[0]
MUTED = "0.65"
BAND = "0.92"
# A second channel beside colour, for readers in grey.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)),
)
MARKERS = "os^DvPX<>*"
INSIDE = 6  # a legend with more entries goes beside the axes
LONGEST = 24


def class_colours(n_classes: int) -> list[str]:
    """Colours of classes, by their place in ``classes_``: the same in every display."""
    if n_classes <= len(PALETTE):
        return list(PALETTE[:n_classes])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["turbo"](np.linspace(0.04, 0.96, n_classes))]


def dash(place: int) -> Any:
    """Line style of the curve in some place."""
    return DASHES[place % len(DASHES)]


def marker(place: int) -> str:
    """Marker of the points in some place."""
    return MARKERS[place % len(MARKERS)]


def verbatim(name: Any) -> str:
    """What the data call a class or a feature: a dollar sign in it begins no formula."""
    return str(name).replace("$", r"\$")


def class_name(label: Any) -> str:
    """What a class is called in a title: strings speak for themselves."""
    return verbatim(label) if isinstance(label, str) else f"class {label}"


def every(n_points: int) -> int:
    """Which points of a curve have markers: all if they are few, else about twenty."""
    return max(1, n_points // 20)


def shortened(name: Any) -> str:
    """A feature's name, in at most `LONGEST` characters."""
    text = str(name)
    return verbatim(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def new_panels(
    ax: Any, names: list[str], panel: tuple[float, float], columns: int, **shared: Any
) -> Array:
    """One axes for each name, as an array (n,): those given, or those of a new figure.

    Parameters
    ----------
    ax : Axes, array-like of Axes or None
    names : list of str
        What the panels show, for the message of the error.
    panel : tuple of float
        Width and height of a new panel, in inches.
    columns : int
        New panels stand in rows of at most this many, in rows about equally long.
    **shared : dict
        For ``plt.subplots``.

    Raises
    ------
    ValueError
        If the number of axes given is another.
    """
    n = len(names)
    if ax is not None:
        axes = np.array(ax, dtype=object).ravel()
        if axes.size != n:
            listed = ", ".join(names[:10]) + (", ..." if n > 10 else "")
            raise ValueError(f"ax must hold {n} axes ({listed}), but it holds {axes.size}.")
        return axes
    import matplotlib.pyplot as plt

    rows = math.ceil(n / columns)
    columns = math.ceil(n / rows)
    axes = plt.subplots(
        rows,
        columns,
        figsize=(panel[0] * columns, panel[1] * rows),
        layout="constrained",
        squeeze=False,
        **shared,
    )[1]
    for empty in axes.ravel()[n:]:
        empty.remove()
    return axes.ravel()[:n]


def paired_panels(ax: Any, names: list[str]) -> tuple[Array, Array | None]:
    """Two axes for each name, one above the other, as arrays (n,): those given, or new ones.

    Where one axes for each name is given, there are none below.
    """
    n = len(names)
    if ax is not None and np.size(ax) == 2 * n:
        both = new_panels(ax, [*names] * 2, (0, 0), n)
        return both[:n], both[n:]
    if ax is not None:
        return new_panels(ax, names, (0, 0), n), None
    import matplotlib.pyplot as plt

    axes = plt.subplots(
        2,
        n,
        figsize=(3.9 * n + 0.5, 5.0),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey="row",
        height_ratios=[3.2, 1],
    )[1]
    return axes[0], axes[1]


def bottom(axes: Array) -> list[bool]:
    """Whether no other of the panels stands below, so that the axis is labelled there."""
    specs = [axis.get_subplotspec() for axis in axes]
    if any(spec is None for spec in specs):
        return [True] * len(axes)
    lowest: dict[int, int] = {}
    for spec in specs:
        first = spec.colspan.start
        lowest[first] = max(lowest.get(first, 0), spec.rowspan.start)
    return [spec.rowspan.start == lowest[spec.colspan.start] for spec in specs]


def leftmost(axes: Array) -> list[bool]:
    """Whether a panel stands first in its row."""
    specs = [axis.get_subplotspec() for axis in axes]
    if any(spec is None for spec in specs):
        return [True] * len(axes)
    return [spec.colspan.start == 0 for spec in specs]


def add_legend(
    ax: Any, *, beside: bool = False, below: bool = False, loc: str = "best", **options: Any
) -> Any:
    """A legend of what is labelled in an axes; None if nothing is.

    Parameters
    ----------
    ax : matplotlib Axes
    beside : bool, default=False
        Whether it stands to the right of the axes, as a long one always does.
    below : bool, default=False
        Whether it stands under all axes of the figure, in a row. Needs constrained layout.
    loc : str, default="best"
        Where it stands within the axes.
    **options : dict
        For ``Axes.legend``.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return None
    if below:
        place = "outside lower center"
        return ax.figure.legend(handles, labels, loc=place, ncols=len(labels), frameon=False)
    if beside or len(labels) > INSIDE:
        options |= {"bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0, "frameon": False}
        options["ncols"] = math.ceil(len(labels) / 20)
        loc = "upper left"
    return ax.legend(handles, labels, loc=loc, scatteryoffsets=[0.5], **options)
