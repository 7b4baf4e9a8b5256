"""Run the benchmarks: problems x libraries, into a CSV file.

python -m benchmarks.run --quick
python -m benchmarks.run --data-dir DIR --problems floors
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

if not __package__:  # run as a file: `python benchmarks/run.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import adapters, problems, results
from benchmarks.measure import Settings, measure_case
from benchmarks.progress import Progress

RESULTS = Path(__file__).parent / "results"
QUICK = Settings(time_limit=1.0, floor=0.5, patience=3.0, rounds=2, burst=0.05, max_threads=1)


def main(argv=None):
    """Run what the command line asks for; return the rows."""
    args = _parser().parse_args(argv)
    settings = _settings(args)
    libraries = usable_libraries(args.peers)
    cases = _cases(args)
    output = args.output or RESULTS / ("quick.csv" if args.quick else "results.csv")
    progress = Progress(len(cases))
    rows = []
    for problem, formulation in cases:
        rows += run_case(
            problem, formulation, libraries, settings, output, progress, data_dir=args.data_dir
        )
    progress.note(f"wrote {len(rows)} rows to {output}")
    return rows


def run_case(problem, formulation, libraries, settings, output, progress, data_dir=None):
    """Measure one case, write its rows to the CSV file and say so; return the rows.

    Parameters are those of `benchmarks.measure.measure_case`, and the file.
    """
    start = time.perf_counter()
    try:
        rows = measure_case(problem, formulation, libraries, settings, data_dir, progress)
    except (EOFError, ConnectionError):
        progress.note(f"{problem.name} {formulation}: a process died while it was loading")
        return []
    finally:
        progress.step()
    results.write(output, rows)  # at once: a run that is stopped loses nothing
    progress.note(_line(rows, time.perf_counter() - start))
    return rows


def _parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="bundled data, few repeats")
    parser.add_argument("--data-dir", type=Path, help="folder with the other data sets")
    parser.add_argument(
        "--problems",
        nargs="+",
        metavar="NAME",
        help="problems or groups: "
        + ", ".join([*sorted({group for p in problems.PROBLEMS for group in p.groups}), "all"])
        + "; default: floors, or quick",
    )
    parser.add_argument("--formulations", nargs="+", choices=("softmax", "ova"))
    parser.add_argument("--peers", nargs="*", metavar="LIBRARY", help="default: every adapter")
    parser.add_argument("--output", type=Path, metavar="FILE.csv")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds a fit may take")
    parser.add_argument("--inline", action="store_true", help="no processes and no time limits")
    return parser


def _settings(args):
    """How long to try, quick or thorough."""
    settings = replace(QUICK if args.quick else Settings(), inline=args.inline)
    return settings if args.time_limit is None else replace(settings, time_limit=args.time_limit)


def usable_libraries(peers):
    """Roles of the libraries that can be used, by name; a line for those that cannot."""
    found = {}
    for name in adapters.ADAPTERS:
        adapter = adapters.load(name)
        if adapter.ROLE == "peer" and peers is not None and name not in peers:
            continue
        reason = adapter.unavailable()
        if reason:
            print(f"skipping {name}: {reason}", file=sys.stderr)
        else:
            found[name] = adapter.ROLE
    for name in peers or ():
        adapters.load(name)  # complains of a name that is none
    return found


def _cases(args):
    """Problems and formulations to run; a line for those whose data is not there."""
    cases = []
    for problem in problems.select(args.problems or ["quick" if args.quick else "floors"]):
        reason = problem.missing(args.data_dir)
        if reason:
            print(f"skipping {problem.name}: {reason}", file=sys.stderr)
            continue
        wanted = args.formulations or problem.formulations
        cases += [(problem, name) for name in problem.formulations if name in wanted]
    return cases


def _line(rows, seconds):
    """One line on a case that is done."""
    ours = [row for row in rows if row["role"] == "ours" and row["median_s"] != ""]
    peers = [row for row in rows if row["role"] == "peer" and row["status"] == "reached"]
    text = f"{rows[0]['problem']} {rows[0]['formulation']}:"
    if ours:
        text += f" ours {1e3 * ours[0]['median_s']:.3g} ms,"
    if peers:
        peer = min(peers, key=lambda row: row["median_s"])
        text += f" best peer {1e3 * peer['median_s']:.3g} ms ({peer['solver']}),"
    return f"{text} measured in {seconds:.0f} s"


if __name__ == "__main__":
    main()
