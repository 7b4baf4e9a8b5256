"""The roofline: how fast sweeps are, beside what the machine allows at their intensity."""

from string import ascii_letters

from benchmarks.figures import STYLES
from benchmarks.kernels.limits import DTYPES

__all__ = ["draw"]

# Label, colour, marker: the colours are those of the other figures.
OURS = ("sk_softmax", STYLES["auto"][1], STYLES["auto"][2])
PEER = ("scikit-learn", STYLES["lbfgs"][1], STYLES["lbfgs"][2])
MARGIN = 2.0  # of the axes beyond the points


def draw(sweeps, limits, path):
    """Draw sweeps of softmax, a panel for each dtype.

    Parameters
    ----------
    sweeps : list of Sweep
    limits : Limits
    path : Path
        The file, ``.svg`` or whatever else matplotlib writes.
    """
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    # The same numbers give the same file: neither random identifiers nor a date.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "sk_softmax", "font.size": 9}):
        figure(sweeps, limits).savefig(path, metadata=metadata)


def figure(sweeps, limits):
    """The figure; see `draw`."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    chosen = [sweep for sweep in sweeps if sweep.formulation == "softmax"]
    dtypes = [dtype for dtype in DTYPES if any(sweep.dtype == dtype for sweep in chosen)]
    names = dict.fromkeys(map(short_name, chosen))
    letters = dict(zip(names, ascii_letters, strict=False))
    result = Figure(figsize=(2.4 + 3.8 * len(dtypes), 4.6), layout="constrained")
    panels = result.subplots(1, len(dtypes), sharey=True, squeeze=False)[0]
    for axes, dtype in zip(panels, dtypes, strict=True):
        _panel(axes, [sweep for sweep in chosen if sweep.dtype == dtype], limits, dtype, letters)
    panels[0].set_ylabel("GFLOP/s")
    handles = panels[0].get_legend_handles_labels()[0]
    result.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    key = [Line2D([], [], linestyle="", label=f"{letters[name]}  {name}") for name in names]
    result.legend(
        handles=key, loc="outside right upper", frameon=False, handlelength=0, handletextpad=0
    )
    return result


def _panel(axes, sweeps, limits, dtype, letters):
    """The roof, and two points a sweep with a line between them."""
    axes.set(xscale="log", yscale="log", title=dtype, xlabel="operations a byte of X")
    axes.grid(True, which="major", color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    for sweep in sweeps:
        rates = [sweep.operations / seconds / 1e9 for seconds in (sweep.peer, sweep.ours)]
        axes.plot([sweep.intensity] * 2, rates, color="0.7", linewidth=1, zorder=1)
    for (label, colour, marker), name in ((OURS, "ours"), (PEER, "peer")):
        x = [sweep.intensity for sweep in sweeps]
        y = [sweep.operations / getattr(sweep, name) / 1e9 for sweep in sweeps]
        axes.plot(x, y, marker, color=colour, markersize=6, label=label, zorder=3)
    ends = [
        min(sweep.intensity for sweep in sweeps) / MARGIN,
        max(sweep.intensity for sweep in sweeps) * MARGIN,
    ]
    _roof(axes, limits, dtype, ends)
    for sweep in sweeps:
        axes.annotate(
            letters[short_name(sweep)],
            (sweep.intensity, sweep.operations / sweep.ours / 1e9),
            xytext=(5, 4),
            textcoords="offset points",
        )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")


def _roof(axes, limits, dtype, ends):
    """What memory and arithmetic allow, from one end of the axis to the other."""
    peak, bandwidth = limits.peak(dtype) / 1e9, limits.bandwidth / 1e9
    ridge = min(max(peak / bandwidth, ends[0]), ends[1])
    x = [ends[0], ridge, ends[1]]
    y = [min(peak, bandwidth * intensity) for intensity in x]
    axes.plot(x, y, color="0.2", linewidth=1.5, label="what the machine allows", zorder=2)
    axes.set_xlim(ends)


def short_name(sweep):
    """What the key calls a sweep: without the size of a sparse X."""
    return sweep.name.partition(":")[0]
