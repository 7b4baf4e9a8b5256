"""The axis of C: logarithmic, with a place for no penalty, and marks of what was chosen."""

import math
from typing import Any

import numpy as np

from .._typing import Array
from ._style import BAND


def log_positions(Cs: Array) -> Array:
    """Where values of C stand on a logarithmic axis: an infinite one is a step beyond the rest.

    Parameters
    ----------
    Cs : ndarray of shape (n_Cs,)
        Ascending, positive.

    Returns
    -------
    positions : ndarray of shape (n_Cs,)
    """
    finite = Cs[np.isfinite(Cs)]
    if finite.size == 0:
        return np.ones_like(Cs)
    step = max(finite[-1] / finite[-2], 10 ** (1 / 3)) if finite.size > 1 else 10.0
    return np.where(np.isfinite(Cs), Cs, finite[-1] * step)


def log_axis(ax: Any, Cs: Array) -> None:
    """Make the x axis logarithmic, with a tick for an infinite C."""
    ax.set_xscale("log")
    ax.set_xlabel("C (inverse of the penalty's strength)")
    if np.isfinite(Cs).all():
        return
    positions = log_positions(Cs)
    finite = positions[np.isfinite(Cs)]
    exponents = np.arange(0)
    if finite.size:
        low, high = np.log10(finite[[0, -1]])
        exponents = np.arange(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        exponents = exponents[:: math.ceil(max(exponents.size, 1) / 8)]
    ticks = [*(10.0**exponents), positions[-1]]
    ax.set_xticks(ticks, [*(f"$10^{{{power}}}$" for power in exponents), r"$\infty$"])
    ax.set_xticks([], minor=True)


def mark_choice(
    ax: Any, Cs: Array, C: float | None, band: tuple[float, float] | None = None, label: str = ""
) -> tuple[Any, Any]:
    """Mark the C that was chosen, and those within one standard error of the best.

    Parameters
    ----------
    ax : matplotlib Axes
    Cs : ndarray of shape (n_Cs,)
        Ascending; what is infinite is marked at the end.
    C : float or None
    band : tuple of float or None
        The smallest and the largest C.
    label : str
        What was chosen, for the legend.

    Returns
    -------
    line : matplotlib Line2D or None
    area : matplotlib artist or None
    """
    last = log_positions(Cs)[-1]
    line = area = None
    if band is not None:
        low, high = np.minimum(band, last)
        area = ax.axvspan(low, high, color=BAND, zorder=0, label="within 1 SE of the best")
    if C is not None:
        at = C if np.isfinite(C) else last
        line = ax.axvline(
            at,
            color="black",
            linewidth=1,
            linestyle=(0, (4, 2)),
            zorder=1,
            label=label or f"chosen: C = {C:.3g}",
        )
    return line, area
