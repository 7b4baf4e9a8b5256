"""Time against n, p and K: our default fit beside scikit-learn's, as a CSV file and figures.

    python -m benchmarks.scaling                # all three sweeps
    python -m benchmarks.scaling --sweeps n K
    python -m benchmarks.scaling --plot-only    # draw again what the CSV file has
    python -m benchmarks.scaling --quick        # tiny, a smoke test

One of n, p and K varies and the others stay; the rows are those of `benchmarks.synthetic`, the
rule that of `benchmarks.measure`. A solver that is cut off at one size is not tried at larger
ones.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

if not __package__:  # run as a file: `python benchmarks/scaling.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import figures, results
from benchmarks.measure import Settings
from benchmarks.problems import synthetic
from benchmarks.progress import Progress
from benchmarks.run import QUICK, RESULTS, run_case, usable_libraries

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

# What varies, and then what stays, by the name of the sweep.
SIZES = {
    "n": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "p": (10, 30, 100, 300, 1_000, 3_000),
    "K": (2, 5, 20, 100, 300),
}
FIXED = {"n": {"p": 20, "K": 5}, "p": {"n": 10_000, "K": 5}, "K": {"n": 20_000, "p": 20}}
QUICK_SIZES = {"n": (200, 600), "p": (4, 12), "K": (2, 5)}
QUICK_FIXED = {"n": {"p": 5, "K": 3}, "p": {"n": 300, "K": 3}, "K": {"n": 300, "p": 5}}

# Fits run longer here than elsewhere: fewer repeats, and less patience with slow peers.
THOROUGH = Settings(time_limit=20.0, patience=5.0, rounds=2, tightest=1e-6)
SMOKE = replace(QUICK, rounds=1, burst=0.0, tightest=1e-6, inline=True)


def main(argv=None):
    """Measure, write and draw what the command line asks for; return the new rows."""
    parser = _parser()
    args = parser.parse_args(argv)
    output = args.output or RESULTS / ("quick.scaling.csv" if args.quick else "scaling.csv")
    folder = args.figures or (RESULTS / "quick.scaling" if args.quick else IMAGES)
    can_draw = find_spec("matplotlib") is not None
    if args.plot_only and not can_draw:
        parser.error("--plot-only needs matplotlib, which is not installed")
    rows = [] if args.plot_only else _measure(args, output)
    if can_draw:
        for path in figures.draw(results.read(output), args.sweeps, folder):
            print(f"drew {path}", file=sys.stderr)
    else:
        print("no figures: matplotlib is not installed", file=sys.stderr)
    return rows


def sweep(name, quick=False):
    """Return the problems of a sweep, smallest first."""
    sizes, fixed = (QUICK_SIZES, QUICK_FIXED) if quick else (SIZES, FIXED)
    return [
        # The name says which sweep a row is of: a figure begins with it.
        synthetic(f"{name}={size}", **{name: size}, **fixed[name])
        for size in sizes[name]
    ]


def still_running(solvers, rows):
    """Return the solvers that were not cut off in every lane that they have in these rows."""
    statuses = {solver: set() for solver in solvers}
    for row in rows:
        if row["role"] != "reference":
            statuses[row["solver"]].add(row["status"])
    return tuple(solver for solver in solvers if statuses[solver] != {"cut off"})


def _is_wanted(solvers, lane):
    """Whether a lane is of one of the solvers, and not ours at another n_jobs than the default."""
    return lane.solver in solvers and (lane.solver != "auto" or lane.n_jobs is None)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny problems, no processes")
    parser.add_argument("--plot-only", action="store_true", help="draw what is measured already")
    parser.add_argument("--sweeps", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--output", type=Path, metavar="FILE.csv")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="default: docs/images")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds a fit may take")
    return parser


def _measure(args, output):
    """Run the sweeps in both formulations; return the rows."""
    settings = SMOKE if args.quick else THOROUGH
    if args.time_limit is not None:
        settings = replace(settings, time_limit=args.time_limit)
    libraries = usable_libraries(["scikit_learn"])
    sweeps = [sweep(name, args.quick) for name in args.sweeps]
    progress = Progress(2 * sum(map(len, sweeps)))
    rows = []
    for problems in sweeps:
        for formulation in ("softmax", "ova"):
            solvers = tuple(figures.STYLES)
            for problem in problems:
                chosen = replace(settings, wanted=partial(_is_wanted, solvers))
                fresh = run_case(problem, formulation, libraries, chosen, output, progress)
                solvers = still_running(solvers, fresh)
                rows += fresh
    progress.note(f"wrote {len(rows)} rows to {output}")
    return rows


if __name__ == "__main__":
    main()
