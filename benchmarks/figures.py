"""Figures of the sweeps of `benchmarks.scaling`: time of a fit against n, p or K."""

import math

__all__ = ["STYLES", "curve", "draw"]

# By solver: label, colour, marker. The colours are Okabe and Ito's, which the colour-blind can
# tell apart; the markers serve print without colours.
STYLES = {
    "auto": ("sk_softmax, default", "#0072B2", "o"),
    "newton-cholesky": ("scikit-learn, newton-cholesky", "#009E73", "s"),
    "lbfgs": ("scikit-learn, lbfgs", "#D55E00", "^"),
    "newton-cg": ("scikit-learn, newton-cg", "#CC79A7", "D"),
}
PANELS = {"softmax": "softmax", "ova": "one-vs-all"}
CUT_OFF = {"linestyle": ":", "linewidth": 1.5, "marker": "x", "markersize": 7}
UNITS = {"n": "rows", "p": "features", "K": "classes"}


def draw(rows, sweeps, folder):
    """Draw a figure for each sweep that has rows.

    Parameters
    ----------
    rows : list of dict
        As `benchmarks.results.read` gives them.
    sweeps : iterable of {"n", "p", "K"}
    folder : Path
        Where the files ``scaling_n.svg``, ``scaling_p.svg`` and ``scaling_K.svg`` go.

    Returns
    -------
    list of Path
        The files that were written.
    """
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sweep in sweeps:
        chosen = [row for row in rows if row["problem"].startswith(f"{sweep}=")]
        if not chosen:
            continue
        path = folder / f"scaling_{sweep}.svg"
        # The same rows give the same file: neither random identifiers nor a date.
        with matplotlib.rc_context({"svg.hashsalt": "sk_softmax", "font.size": 10}):
            _figure(chosen, sweep).savefig(path, metadata={"Date": None})
        paths.append(path)
    return paths


def curve(rows, sweep):
    """Return the points of one library's solver.

    Parameters
    ----------
    rows : list of dict
        Rows of one solver in one formulation of a sweep.
    sweep : {"n", "p", "K"}

    Returns
    -------
    sizes : list of int
    seconds : list of float
        Of the fastest lane that came within the goal; nan, a gap in the line, if none did.
    cut_off : list of float
        The limit where no lane arrived and some were cut off, else nan.
    """
    sizes = sorted({int(row[sweep]) for row in rows})
    seconds, cut_off = [], []
    for size in sizes:
        lanes = [row for row in rows if int(row[sweep]) == size]
        reached = [float(row["median_s"]) for row in lanes if row["status"] == "reached"]
        limits = [float(row["limit_s"]) for row in lanes if row["status"] == "cut off"]
        seconds.append(min(reached, default=math.nan))
        cut_off.append(math.nan if reached else max(limits, default=math.nan))
    return sizes, seconds, cut_off


def _figure(rows, sweep):
    """Two panels, softmax and one-vs-all, with a legend for both below them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (formulation, title) in zip(panels, PANELS.items(), strict=True):
        axes.set(xscale="log", yscale="log", title=title, xlabel=f"{UNITS[sweep]}, {sweep}")
        axes.grid(True, which="major", color="0.85", linewidth=0.8)
        axes.set_axisbelow(True)
        for solver in STYLES:
            _draw_curve(axes, _lanes(rows, formulation, solver), sweep, solver)
    panels[0].set_ylabel("time of a fit (seconds)")
    _label_ticks(panels[0], sorted({int(row[sweep]) for row in rows}))
    fixed = ", ".join(f"{name} = {int(rows[0][name]):,}" for name in UNITS if name != sweep)
    figure.suptitle(f"Time of a fit against the number of {UNITS[sweep]}; {fixed}", fontsize=11)
    handles = [line for axes in panels for line in axes.get_legend_handles_labels()[0]]
    handles = list({line.get_label(): line for line in handles}.values())
    handles.append(Line2D([], [], color="0.3", label="cut off: takes longer", **CUT_OFF))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _label_ticks(axes, sizes):
    """Write the sizes that were measured, and seconds without powers; for all panels."""
    from matplotlib.ticker import EngFormatter, NullFormatter, NullLocator

    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 3k, 1M
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _lanes(rows, formulation, solver):
    """The rows of a solver in a formulation."""
    return [
        row
        for row in rows
        if (row["formulation"], row["solver"]) == (formulation, solver)
        and row["role"] != "reference"
    ]


def _draw_curve(axes, rows, sweep, solver):
    """The line of a solver, and crosses where it was cut off."""
    if not rows:
        return
    label, colour, marker = STYLES[solver]
    sizes, seconds, cut_off = curve(rows, sweep)
    ours = solver == "auto"
    axes.plot(
        sizes,
        seconds,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=2.5 if ours else 1.5,
        zorder=3 if ours else 2,
        label=label,
    )
    for i, limit in enumerate(cut_off):
        if not math.isnan(limit):  # from the point before it, if there is one
            axes.plot(
                sizes[max(i - 1, 0) : i + 1],
                [*seconds[max(i - 1, 0) : i], limit],
                color=colour,
                markevery=[-1],
                **CUT_OFF,
            )
