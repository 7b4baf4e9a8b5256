"""Measure the kernels, one call at a time, and write a report.

    python -m benchmarks.kernels --data-dir DIR --output benchmarks/results/kernels.md \\
        --figure benchmarks/results/roofline.svg
    python -m benchmarks.kernels --quick        # tiny, a smoke test

On one thread, where nothing else runs: turns even out a machine's moods, and not its neighbours.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks import problems
from benchmarks.kernels import (
    limits,
    prediction,
    processes,
    report,
    roofline,
    second_order,
    shapes,
    sweeps,
)
from benchmarks.kernels.case import cases
from benchmarks.kernels.outcome import Outcome
from benchmarks.kernels.timing import QUICK, THOROUGH
from benchmarks.progress import Progress

RESULTS = Path(__file__).resolve().parents[1] / "results"
PARTS = ("sweeps", "hessians", "prediction", "first_fits", "memory")


def main(argv=None):
    """Measure what the command line asks for, write it; return the `Outcome`."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.figure and "sweeps" not in args.parts:
        parser.error("--figure draws sweeps, which --parts leaves out")
    if args.figure and find_spec("matplotlib") is None:
        parser.error("--figure needs matplotlib, which is not installed")
    output = args.output or RESULTS / ("quick.kernels.md" if args.quick else "kernels.md")
    settings = QUICK if args.quick else THOROUGH
    outcome = Outcome(settings.long_sweep)
    progress = Progress(len(args.parts))
    for part in args.parts:
        with threadpool_limits(1):
            MEASURES[part](outcome, settings, progress, args.data_dir)
        progress.step()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(report.report(outcome), encoding="utf-8")
    progress.note(f"wrote {output}")
    if args.figure:
        roofline.draw(outcome.sweeps, outcome.limits, args.figure)
        progress.note(f"drew {args.figure}")
    return outcome


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes, few turns")
    parser.add_argument("--data-dir", type=Path, help="folder with news20 and langid")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=f"of {', '.join(PARTS)}; default: all")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE.md")
    parser.add_argument("--figure", type=Path, metavar="FILE.svg", help="default: none")
    return parser


def _measure_sweeps(outcome, settings, progress, data_dir):
    """Sweeps of all shapes in both dtypes, and products with Hessians in float64."""
    progress.show("the machine's limits")
    outcome.limits = limits.measure(settings.quick)
    if settings.quick:
        chosen = shapes.QUICK_SOFTMAX + shapes.QUICK_OVA
    else:
        chosen = shapes.SOFTMAX + shapes.OVA
    for shape in chosen + _texts(outcome, progress, data_dir):
        for case in cases(shape, limits.DTYPES, data_dir):
            progress.show(f"{case.name} {shape.formulation} {case.dtype}")
            sweep = sweeps.measure(case, settings)
            outcome.sweeps.append(sweep)
            progress.note(
                f"{case.name} {shape.formulation} {case.dtype}: ours {1e3 * sweep.ours:.4g} ms, "
                f"scikit-learn {1e3 * sweep.peer:.4g} ms"
            )
            if case.coupled and case.dtype == "float64":
                outcome.products.append(second_order.measure_product(case, settings))


def _texts(outcome, progress, data_dir):
    """The sparse shapes whose data are there; a line for those whose are not."""
    found, lines = [], {}
    for text in shapes.TEXT:
        (problem,) = problems.select([text.name])
        if problem.missing(data_dir):
            names = " and ".join(problem.files)
            lines[text.name] = f"{text.name} needs {names} in the folder of --data-dir"
        else:
            found.append(text)
    for line in lines.values():
        progress.note(f"skipping {line}")
    outcome.skipped += lines.values()
    return tuple(found)


def _measure_hessians(outcome, settings, progress, data_dir):
    for shape in shapes.QUICK_HESSIANS if settings.quick else shapes.HESSIANS:
        progress.show(f"Hessian of {shape.name}")
        (case,) = cases(shape, ("float64",))
        outcome.hessians.append(second_order.measure_hessian(case, settings))


def _measure_prediction(outcome, settings, progress, data_dir):
    for shape in shapes.QUICK_PREDICTION if settings.quick else shapes.PREDICTION:
        progress.show(f"predict_proba of {shape.name}")
        outcome.predictions += prediction.measure(shape, limits.DTYPES, settings)


def _measure_first_fits(outcome, settings, progress, data_dir):
    for scenario in processes.QUICK_FIRST_FITS if settings.quick else processes.FIRST_FITS:
        progress.show(f"first fit, {scenario}")
        outcome.first_fits.append(processes.measure_first_fits(scenario, settings.processes))


def _measure_memory(outcome, settings, progress, data_dir):
    for scenario in processes.QUICK_MEMORY if settings.quick else processes.MEMORY:
        progress.show(f"memory, {scenario}")
        outcome.memory.append(processes.measure_memory(scenario))


MEASURES = {
    "sweeps": _measure_sweeps,
    "hessians": _measure_hessians,
    "prediction": _measure_prediction,
    "first_fits": _measure_first_fits,
    "memory": _measure_memory,
}

if __name__ == "__main__":
    main()
