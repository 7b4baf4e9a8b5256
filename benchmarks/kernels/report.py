"""What was measured, as Markdown: one section a question, and the machine it was asked on."""

import os
import platform
import re
from pathlib import Path

import numpy as np

from benchmarks.kernels.limits import DTYPES, bound
from benchmarks.report import milliseconds, table

__all__ = ["machine", "report"]

INTRODUCTION = """# Kernels

One call at a time, on one thread, with BLAS at one thread; medians of calls in turns, so that both
libraries felt the same machine, and each ratio is from one run. Before a time was taken, both gave
the same values: to 1e-9 of the largest entry on float64 data. On float32 data ours were within 1e-4
of what scikit-learn makes of the same numbers in float64, and within 1e-3 of its values in float32,
which lose digits where many rows are added up. Sweeps over dense float32 data are those of a fit
far from its optimum, in single precision where that saves time; all others are in double precision.
"""
SWEEPS = """## {title}

Loss and gradient: ours is `Objective.loss_gradient`; scikit-learn's is
`LinearModelLoss.loss_gradient` in the dtype of X.{how} "Limit" is the time that the machine needs
at least: to read X once, or for 4 n p K operations (4 K for each non-zero entry of a sparse X; K is
1 for two classes), whichever is longer. An X that stays in the cache between calls is not read from
memory, and may beat it.
"""
THREADS = """## Two threads

How many times as fast sweeps that take {limit:g} ms or more on one thread are on two; loss and
gradient have the same bits. The goal is {goal:g}x.
"""
HESSIANS = """## Hessians

Ours is `Objective.hessian`; scikit-learn's is `LinearModelLoss.gradient_hessian`, which makes the
gradient too. The last column has ours with a sweep for the gradient.
"""
PRODUCTS = """## Products of Hessians with vectors

Ours is the map that `Objective.hessian_product` returns; scikit-learn's is that of
`LinearModelLoss.gradient_hessian_product`. Softmax, float64.
"""
PREDICTIONS = """## predict_proba

`SoftmaxClassifier` beside `LogisticRegression` with the same coefficients.
"""
FIRST_FITS = """## The first fit of a process

Seconds in a fresh process, as users have it: BLAS and threads as they come. "Cold" is the first fit
with an empty cache of compiled code, "warm" with a full one; neither contains the imports, which
have columns of their own. Goals: under {cold:g} s cold, under {warm:g} s warm.
"""
MEMORY = """## Memory of a fit

The peak of resident memory during a default fit, less what was resident before it: X and y, the
libraries, and kernels loaded by the fit of a few rows. The goal is {goal:g} MiB and a few
copies of the coefficients.
"""
THREADS_GOAL = 1.7
FIRST_FIT_GOALS = {"cold": 4.0, "warm": 0.5}  # seconds
MEMORY_GOAL = 64.0  # MiB
HOW = {
    "softmax": "",
    "ova": " It has no one-vs-all loss: its time is that of a binary loss for each class in turn.",
}
TITLES = {"softmax": "Softmax", "ova": "One-vs-all"}


def report(outcome):
    """The whole text.

    Parameters
    ----------
    outcome : Outcome

    Returns
    -------
    str
    """
    parts = [INTRODUCTION, machine() + "\n"]
    if outcome.limits is not None:
        parts.append(_limits(outcome.limits))
    for formulation, title in TITLES.items():
        chosen = [sweep for sweep in outcome.sweeps if sweep.formulation == formulation]
        if chosen:
            parts.append(SWEEPS.format(title=title, how=HOW[formulation]))
            parts.append(_sweeps(chosen, outcome.limits))
    threaded = [sweep for sweep in outcome.sweeps if sweep.two_threads is not None]
    sections = (
        (THREADS.format(limit=1e3 * outcome.long_sweep, goal=THREADS_GOAL), _threads, threaded),
        (HESSIANS, _hessians, outcome.hessians),
        (PRODUCTS, _products, outcome.products),
        (PREDICTIONS, _predictions, outcome.predictions),
        (FIRST_FITS.format(**FIRST_FIT_GOALS), _first_fits, outcome.first_fits),
        (MEMORY.format(goal=MEMORY_GOAL), _memory, outcome.memory),
    )
    for introduction, section, rows in sections:
        if rows:
            parts += [introduction, section(rows)]
    return "\n".join([*parts, *(f"Not measured: {line}.\n" for line in outcome.skipped)])


def _limits(limits):
    """The limits, and what they are the larger of."""
    head = ("one core", *DTYPES)
    lines = [
        ("multiply-adds in registers, GFLOP/s", *_giga(limits.chains)),
        ("matrix products by BLAS, GFLOP/s", *_giga(limits.products)),
        ("read from memory, GB/s", *[f"{limits.bandwidth / 1e9:.1f}"] * len(DTYPES)),
    ]
    return f"## The machine's limits\n\n{table(head, lines)}"


def _giga(rates):
    return [f"{rates[dtype] / 1e9:.1f}" for dtype in DTYPES]


def _sweeps(sweeps, limits):
    head = ("X", "dtype", "ours ms", "scikit-learn ms", "ratio", "goal")
    head += ("limit ms", "bound by", "ours, % of limit", "scikit-learn, %")
    return table(head, [_sweep(sweep, limits) for sweep in sweeps])


def _sweep(sweep, limits):
    least = limits.seconds(sweep.operations, sweep.n_bytes, sweep.dtype)
    return (
        sweep.name,
        sweep.dtype,
        milliseconds(sweep.ours),
        milliseconds(sweep.peer),
        times(sweep.ratio),
        times(sweep.goal),
        milliseconds(least),
        bound(limits, sweep.operations, sweep.n_bytes, sweep.dtype),
        f"{100 * least / sweep.ours:.0f}",
        f"{100 * least / sweep.peer:.0f}",
    )


def _threads(sweeps):
    head = ("X", "loss", "dtype", "one thread ms", "one over two")
    return table(
        head,
        [
            (
                sweep.name,
                TITLES[sweep.formulation].lower(),
                sweep.dtype,
                milliseconds(sweep.ours),
                times(sweep.two_threads),
            )
            for sweep in sweeps
        ],
    )


def _hessians(rows):
    head = ("X", "ours ms", "scikit-learn ms", "ratio", "goal", "ratio with our gradient")
    return table(
        head,
        [
            (
                row.name,
                milliseconds(row.ours),
                milliseconds(row.peer),
                times(row.peer / row.ours),
                times(row.goal),
                times(row.peer / row.with_gradient),
            )
            for row in rows
        ],
    )


def _products(rows):
    head = ("X", "ours ms", "over a sweep", "scikit-learn ms", "ratio")
    return table(
        head,
        [
            (
                row.name,
                milliseconds(row.ours),
                times(row.ours / row.sweep),
                milliseconds(row.peer),
                times(row.peer / row.ours),
            )
            for row in rows
        ],
    )


def _predictions(rows):
    head = ("X", "dtype", "ours ms", "scikit-learn ms", "ratio", "goal")
    return table(
        head,
        [
            (
                row.name,
                row.dtype,
                milliseconds(row.ours),
                milliseconds(row.peer),
                times(row.peer / row.ours),
                times(row.goal),
            )
            for row in rows
        ],
    )


def _first_fits(rows):
    head = (
        "X",
        "dtype",
        "cold s",
        "warm s",
        "second fit s",
        "import numba s",
        "import sk_softmax s",
    )
    return table(
        head,
        [
            (
                row.name,
                row.dtype,
                *(f"{s:.2f}" for s in (row.cold, row.warm)),
                f"{row.second:.4f}",
                *(f"{s:.2f}" for s in (row.numba, row.package)),
            )
            for row in rows
        ],
    )


def _memory(rows):
    head = ("fit", "dtype", "X MiB", "coefficients MiB", "peak beyond X MiB")
    return table(
        head,
        [
            (row.name, row.dtype, *(f"{b / 2**20:.3g}" for b in (row.X, row.coef, row.beyond)))
            for row in rows
        ],
    )


def times(ratio):
    """A ratio as tables have it; nothing for none."""
    return "" if ratio is None else f"{ratio:.3g}x"


def machine():
    """Versions, the processor, and how many of it; no names of machines or folders."""
    import llvmlite
    import numba
    import scipy
    import sklearn
    from threadpoolctl import threadpool_info

    import sk_softmax

    modules = {
        "sk_softmax": sk_softmax, "scikit-learn": sklearn, "NumPy": np, "SciPy": scipy,
        "Numba": numba, "llvmlite": llvmlite,
    }  # fmt: skip
    versions = [f"{name} {module.__version__}" for name, module in modules.items()]
    libraries = {
        f"{pool['internal_api']} {pool['version']}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    versions += [f"Python {platform.python_version()}", *sorted(libraries)]
    cores = os.cpu_count()
    return f"{'; '.join(versions)}. {processor()}, {cores} core{'s' * (cores != 1)}."


def processor():
    """What the processor calls itself, and what the compiler takes it for."""
    import llvmlite.binding

    information = Path("/proc/cpuinfo")
    found = None
    if information.exists():
        found = re.search(r"^model name\s*: (.*)$", information.read_text(), re.M)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{name} (LLVM: {llvmlite.binding.get_host_cpu_name()})"
