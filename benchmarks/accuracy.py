"""Time against suboptimality: fits at tolerances from loose to tight, ours beside the peers'.

    python -m benchmarks.accuracy --data-dir DIR     # the L1 problems
    python -m benchmarks.accuracy --problems wine_std_l1 digits16_l1 --formulations softmax
    python -m benchmarks.accuracy --plot-only        # draw again what the CSV file has
    python -m benchmarks.accuracy --quick            # two small problems, a smoke test

Each point is a whole fit from nothing, on one thread, at one tolerance; every solver goes down its
tolerances until it is within `DEEPEST` of the optimum, out of tolerances, or cut off. F is
recomputed as everywhere here. The rows go to ``results/accuracy.csv``, the figures to
``docs/images``.
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: `python benchmarks/accuracy.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import accuracy_figures, problems, results
from benchmarks.measure import REFERENCE_LIMIT, Settings, Trial, close_idle
from benchmarks.objective import suboptimality
from benchmarks.progress import Progress
from benchmarks.run import QUICK, RESULTS, usable_libraries
from benchmarks.worker import Inline, Worker

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
QUICK_PROBLEMS = ("wine_std_l1", "breast_cancer_std_l1_origin")

# Relative to the null model's objective: beyond this, rounding is as large.
DEEPEST = 1e-11
# Where a library has one tolerance for us to use, its default, these are tried.
OUR_TOLS = tuple(10.0**-power for power in range(0, 9))
# Fits longer than this many seconds are not repeated.
SHORT = 3.0

THOROUGH = Settings(time_limit=60.0, rounds=5, burst=0.0, max_threads=1)
SMOKE = replace(QUICK, rounds=1, burst=0.0, inline=True, tightest=1e-6)


@dataclass
class Ladder:
    """One solver going down its tolerances.

    Attributes
    ----------
    trial : Trial
        Its probes are the points.
    repeats : list of list of float
        More seconds of each probe.
    """

    trial: Trial
    repeats: list = field(default_factory=list)


def main(argv=None):
    """Measure, write and draw what the command line asks for; return the new rows."""
    parser = _parser()
    args = parser.parse_args(argv)
    output = args.output or RESULTS / ("quick.accuracy.csv" if args.quick else "accuracy.csv")
    folder = args.figures or (RESULTS / "quick.accuracy" if args.quick else IMAGES)
    can_draw = find_spec("matplotlib") is not None
    if args.plot_only and not can_draw:
        parser.error("--plot-only needs matplotlib, which is not installed")
    rows = [] if args.plot_only else _measure_all(args, output)
    if can_draw:
        for path in accuracy_figures.draw(results.read(output), folder):
            print(f"drew {path}", file=sys.stderr)
    else:
        print("no figures: matplotlib is not installed", file=sys.stderr)
    return rows


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two problems, no processes")
    parser.add_argument("--inline", action="store_true", help="no processes and no time limits")
    parser.add_argument("--plot-only", action="store_true", help="draw what is measured already")
    parser.add_argument("--data-dir", type=Path, help="folder with the other data sets")
    parser.add_argument("--problems", nargs="+", metavar="NAME", help="default: the group l1")
    parser.add_argument("--formulations", nargs="+", choices=("softmax", "ova"))
    parser.add_argument("--peers", nargs="*", metavar="LIBRARY", help="default: every adapter")
    parser.add_argument("--output", type=Path, metavar="FILE.csv")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="default: docs/images")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds a fit may take")
    return parser


def _measure_all(args, output):
    """Measure the cases and write each as soon as it is done; return the rows."""
    settings = SMOKE if args.quick else replace(THOROUGH, inline=args.inline)
    if args.time_limit is not None:
        settings = replace(settings, time_limit=args.time_limit)
    libraries = usable_libraries(args.peers)
    cases = []
    for problem in problems.select(args.problems or (QUICK_PROBLEMS if args.quick else ["l1"])):
        if reason := problem.missing(args.data_dir):
            print(f"skipping {problem.name}: {reason}", file=sys.stderr)
            continue
        wanted = args.formulations or problem.formulations
        cases += [(problem, name) for name in problem.formulations if name in wanted]
    progress = Progress(len(cases))
    rows = []
    for problem, formulation in cases:
        fresh = measure(problem, formulation, libraries, settings, args.data_dir, progress)
        results.write(output, fresh)
        progress.step()
        progress.note(f"{problem.name} {formulation}: {len(fresh)} fits")
        rows += fresh
    return rows


def measure(problem, formulation, libraries, settings, data_dir=None, progress=None):
    """Fit one problem by every solver at every tolerance.

    Parameters are those of `benchmarks.measure.measure_case`.

    Returns
    -------
    list of dict
        One row a fit, in the fields of `benchmarks.results`, a solver's loosest tolerance first;
        after the last of a solver that was cut off or failed, a row that says so.
    """
    show = progress.show if progress else lambda text: None
    kind = Inline if settings.inline else Worker
    workers, title = [], f"{problem.name} {formulation}"
    try:
        for library in libraries:
            workers.append(kind(library, problem, formulation, data_dir))
        null = workers[0].shape().null
        references = [
            Trial(worker, "reference", lane)
            for worker in workers
            for lane in worker.shape().references
        ]
        ladders = [
            Ladder(Trial(worker, libraries[worker.library], lane))
            for worker in workers
            for lane in lanes_of(worker.library, worker.shape().lanes, settings)
        ]
        trials = references + [ladder.trial for ladder in ladders]
        close_idle(workers, trials)
        for trial in references:
            limit = max(settings.time_limit, REFERENCE_LIMIT)
            _descend(trial, limit, lambda text: show(f"{title} {text}"))
        certain = any(trial.probes for trial in references)

        def enough(value):  # without a tight fit to compare with, nothing is
            return certain and suboptimality(value, _least(trials), null) <= DEEPEST

        for ladder in ladders:
            _descend(
                ladder.trial, settings.time_limit, lambda text: show(f"{title} {text}"), enough
            )
        _repeat(ladders, settings, lambda text: show(f"{title} {text}"))
    finally:
        for worker in workers:
            worker.close()
    best = _least(trials)
    return [row for ladder in ladders for row in _rows(problem, formulation, ladder, best)]


def lanes_of(library, lanes, settings):
    """Return one lane a solver that the figures know, on one thread, with tolerances to go down.

    Parameters
    ----------
    library : str
    lanes : list of Lane
    settings : Settings

    Returns
    -------
    list of Lane
        Of liblinear, which penalises the intercept, that which does so least.
    """
    chosen = {}
    for lane in settings.choose(lanes):
        if (library, lane.solver) in accuracy_figures.STYLES and lane.n_jobs == 1:
            chosen[lane.solver] = lane  # the last: liblinear's scalings ascend
    return [
        replace(lane, tols=OUR_TOLS) if lane.tols == (None,) else lane for lane in chosen.values()
    ]


def _descend(trial, limit, show, enough=lambda value: False):
    """Fit at one tolerance after the other, until F is low enough."""
    while not trial.exhausted:
        show(f"{trial.worker.library} {trial.lane.solver}")
        trial.probe(limit)
        if trial.probes and enough(trial.probes[-1][1].objective):
            return


def _least(trials):
    """The least F of any fit, problem by problem."""
    values = [outcome.objective for trial in trials for _, outcome in trial.probes]
    return np.fmin.reduce(values) if values else np.inf


def _repeat(ladders, settings, show):
    """Time the short fits again, in turns."""
    for ladder in ladders:
        ladder.repeats = [[] for _ in ladder.trial.probes]
    for turn in range(settings.rounds):
        show(f"round {turn + 1}/{settings.rounds}")
        for ladder in ladders:
            trial = ladder.trial
            for (tol, outcome), seconds in zip(trial.probes, ladder.repeats, strict=True):
                took = outcome.seconds[-1]
                if took <= SHORT:
                    again = trial.worker.fit(trial.lane, tol, limit=10.0 + 4.0 * took)
                    seconds += again.seconds if again.status == "fitted" else []


def _rows(problem, formulation, ladder, best):
    """A row for each fit of a ladder, and one for how it ended unless that was well."""
    trial, rows = ladder.trial, []
    for probe, seconds in zip(trial.probes, ladder.repeats, strict=True):
        point = replace(trial, probes=[probe], cut_off=None, failed="", seconds=seconds)
        rows.append(results.row_of(problem, formulation, point, best, probe))
    if trial.cut_off is not None or trial.failed:
        end = replace(trial, probes=[], seconds=[])
        rows.append(results.row_of(problem, formulation, end, best, None))
    return rows


if __name__ == "__main__":
    main()
