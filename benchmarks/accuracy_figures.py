"""Figures of `benchmarks.accuracy`: how near to the optimum a fit of so many seconds is."""

import math

from benchmarks.objective import GOAL

__all__ = ["STYLES", "curve", "draw"]

# By library and solver: label, colour, marker. The colours are Okabe and Ito's.
STYLES = {
    ("ours", "auto"): ("sk_softmax", "#0072B2", "o"),
    ("scikit_learn", "saga"): ("scikit-learn, SAGA", "#D55E00", "^"),
    ("scikit_learn", "liblinear"): ("scikit-learn, liblinear", "#E69F00", "v"),
    ("glmnet", "glmnet"): ("glmnet", "#009E73", "s"),
    ("celer", "celer-pn"): ("celer", "#CC79A7", "D"),
    ("skglm", "prox-newton"): ("skglm", "#56B4E9", "P"),
    ("adelie", "grpnet"): ("adelie", "#000000", "X"),
}
# Below this, relative to F_null, points are drawn at it: it is rounding.
LOWEST = 1e-12
COLUMNS = 3
CUT_OFF = {"linestyle": ":", "linewidth": 1.5, "marker": "x", "markersize": 7}


def draw(rows, folder):
    """Draw a figure for each formulation that has rows, a panel for each problem.

    Parameters
    ----------
    rows : list of dict
        As `benchmarks.results.read` gives them.
    folder : Path
        Where ``accuracy_softmax.svg`` and ``accuracy_ova.svg`` go.

    Returns
    -------
    list of Path
        The files that were written.
    """
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for formulation in ("softmax", "ova"):
        chosen = [row for row in rows if row["formulation"] == formulation]
        if chosen:
            path = folder / f"accuracy_{formulation}.svg"
            # The same rows give the same file: neither random identifiers nor a date.
            with matplotlib.rc_context({"svg.hashsalt": "sk_softmax", "font.size": 9}):
                _figure(chosen).savefig(path, metadata={"Date": None})
            paths.append(path)
    return paths


def curve(rows):
    """Return the points of one solver on one problem, its loosest tolerance first.

    Parameters
    ----------
    rows : list of dict

    Returns
    -------
    seconds : list of float
    errors : list of float
        ``(F - F_best) / F_null``, at least `LOWEST`; nan if F was.
    limit : float
        Seconds at which the next tolerance was cut off; nan if none was.
    """
    fitted = [row for row in rows if row["median_s"]]
    seconds = [float(row["median_s"]) for row in fitted]
    errors = [max(LOWEST, float(row["suboptimality"])) for row in fitted]
    limits = [float(row["limit_s"]) for row in rows if row["status"] == "cut off"]
    return seconds, errors, min(limits, default=math.nan)


def _figure(rows):
    """A panel for each problem, with a legend for all below them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(row["problem"] for row in rows))
    n_columns = min(COLUMNS, len(names))
    n_lines = math.ceil(len(names) / n_columns)
    size = (max(5.0, 3.4 * n_columns), 2.9 * n_lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_lines, n_columns, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        _panel(axes, [row for row in rows if row["problem"] == name])
    for line in panels:
        line[0].set_ylabel("$(F - F_{best})\\, /\\, F_{null}$")
    used = {(row["library"], row["solver"]) for row in rows}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=label)
        for solver, (label, colour, marker) in STYLES.items()
        if solver in used
    ]
    handles.append(Line2D([], [], color="0.3", label="cut off: takes longer", **CUT_OFF))
    n_wide = int(size[0] / 2.4)
    figure.legend(handles=handles, loc="outside lower center", ncols=n_wide, frameon=False)
    return figure


def _panel(axes, rows):
    """Every solver's curve on one problem, and the line that counts as the optimum."""
    from matplotlib.ticker import LogLocator, NullFormatter

    first = rows[0]
    axes.set(xscale="log", yscale="log", xlabel="time of a fit (seconds)")
    axes.set_title(f"{first['problem']}, C={float(first['C']):g}\n{_shape(rows)}", fontsize=9)
    axes.grid(True, which="major", color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axhline(GOAL, color="0.5", linestyle="--", linewidth=1)
    for solver in STYLES:
        _draw_curve(axes, [r for r in rows if (r["library"], r["solver"]) == solver], solver)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))  # a decade may be all there is
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    top = axes.get_ylim()[1]
    axes.set_ylim(LOWEST / 3, min(top, 30.0))


def _shape(rows):
    """The size of the problem, and how many coefficients our last fit left."""
    text = f"{int(rows[0]['n']):,} x {int(rows[0]['p']):,}, K={rows[0]['K']}"
    ours = [row["n_nonzero"] for row in rows if row["library"] == "ours" and row["n_nonzero"]]
    return f"{text}; {int(ours[-1]):,} non-zero" if ours else text


def _draw_curve(axes, rows, solver):
    """The line of a solver, and a cross where its next fit was cut off."""
    seconds, errors, limit = curve(rows)
    label, colour, marker = STYLES[solver]
    ours = solver[0] == "ours"
    if seconds:
        axes.plot(
            seconds,
            errors,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=2.5 if ours else 1.5,
            zorder=3 if ours else 2,
            label=label,
        )
    if not math.isnan(limit):  # from the last point, if there is one
        start = [(seconds[-1], errors[-1])] if seconds else []
        ends = [*start, (limit, errors[-1] if errors else 1.0)]
        axes.plot(*zip(*ends, strict=True), color=colour, markevery=[-1], **CUT_OFF)
