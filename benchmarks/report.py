"""Read the results and write them as Markdown tables.

python -m benchmarks.report
python -m benchmarks.report benchmarks/results/quick.csv --output quick.md
"""

import argparse
import math
import sys
from pathlib import Path

if not __package__:  # run as a file: `python benchmarks/report.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import results
from benchmarks.objective import GOAL

RESULTS = Path(__file__).parent / "results"

SUMMARY = (
    "problem",
    "n x p, K",
    "ours ms",
    "n_jobs=1 ms",
    "first fit s",
    "best peer",
    "peer ms",
    "peer / ours",
)
ACCURACY = (
    "problem",
    "(F - F_best) / F_null",
    "non-zero",
    "warnings",
    "n_iter",
    "evaluations",
    "solver",
    "converged",
    "KKT violation",
    "gap / F_null",
    "objective_ off by / F_null",
)
LANES = (
    "problem",
    "library",
    "solver",
    "n_jobs",
    "threads",
    "tol",
    "ms",
    "(F - F_best) / F_null",
    "non-zero",
)

INTRODUCTION = f"""# Benchmarks

Ours is the default fit: only `C` and `l1_ratio` are set. A peer is its fastest tolerance that
comes within {GOAL:g} F_null of the optimum, at its better thread setting. Whole calls of `fit`,
medians of repeats in turns. "First fit" is ours in a fresh process: it includes the imports and
the JIT or its cache. "Non-zero" counts coefficients, where some penalty makes zeros; of softmax
fits that are equally good some have more of them, since a feature's coefficients may shift.
`benchmarks/README.md` has the rule in full.
"""


def main(argv=None):
    """Write the report; return its text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("csv", nargs="?", type=Path, default=RESULTS / "results.csv")
    parser.add_argument("--output", type=Path, help="default: report.md beside results.csv")
    args = parser.parse_args(argv)
    text = report(results.read(args.csv))
    name = "report.md" if args.csv.stem == "results" else f"{args.csv.stem}.md"
    output = args.output or args.csv.with_name(name)
    output.write_text(text, encoding="utf-8")
    return text


def report(rows):
    """Return the Markdown report of rows as `benchmarks.results.read` gives them."""
    parts = [INTRODUCTION, _versions(rows)]
    for formulation, title in (("softmax", "Softmax"), ("ova", "One-vs-all")):
        chosen = [row for row in rows if row["formulation"] == formulation]
        if not chosen:
            continue
        names = dict.fromkeys(row["problem"] for row in chosen)
        cases = [case_rows(chosen, name) for name in names]
        parts += [f"## {title}\n", table(SUMMARY, map(_summary, cases))]
        parts += [f"### {title}: our default fit\n", table(ACCURACY, map(_accuracy, cases))]
        lanes = [_lane(row) for row in chosen if row["role"] == "peer"]
        parts += [f"### {title}: every peer\n", table(LANES, lanes)]
    return "\n".join(parts)


def table(header, lines):
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def best_peer(peers):
    """Return the peer to compare with: how to call it, its time in words, its seconds.

    Parameters
    ----------
    peers : list of dict
        Rows of one case.

    Returns
    -------
    name : str
    words : str
        Milliseconds, or "more than N s", or "never".
    seconds : float
        A lower bound if it was cut off, nan if none can ever get there.
    """
    reached = [row for row in peers if row["status"] == "reached"]
    if reached:
        row = min(reached, key=lambda row: float(row["median_s"]))
        return _peer_name(row), milliseconds(row["median_s"]), float(row["median_s"])
    running = [row for row in peers if row["status"] == "cut off"]
    if running:
        row = min(running, key=lambda row: float(row["limit_s"]))
        seconds = float(row["limit_s"])
        return "none arrived", f"more than {seconds:.2g} s", seconds
    missed = [row for row in peers if row["status"] == "missed"]
    if missed:
        row = min(missed, key=lambda row: float(row["suboptimality"]))
        return _peer_name(row), f"never: {float(row['suboptimality']):.0e} away", math.nan
    return "none", "", math.nan


def milliseconds(seconds):
    """Format seconds as milliseconds to three figures."""
    if seconds in ("", None):
        return ""
    value = 1e3 * float(seconds)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _versions(rows):
    """One line on what was measured with."""
    versions = dict.fromkeys(
        f"{row['library']} {row['version']}" for row in rows if row["role"] != "reference"
    )
    machines = dict.fromkeys(f"Python {row['python']}, {row['cpus']} CPUs" for row in rows)
    return "; ".join([*versions, *machines]) + ".\n"


def case_rows(rows, problem):
    """Return the rows of one problem: any, ours by default, ours on one thread, the peers."""
    rows = [row for row in rows if row["problem"] == problem]
    ours = [row for row in rows if row["role"] == "ours"]
    default = next((row for row in ours if row["n_jobs"] == ""), None)
    single = next((row for row in ours if row["n_jobs"] == "1"), None)
    return rows[0], default, single, [row for row in rows if row["role"] == "peer"]


def _summary(case):
    """A line of the table of times."""
    row, default, single, peers = case
    name, words, seconds = best_peer(peers)
    ratio = ""
    if default and default["median_s"] and not math.isnan(seconds):
        bound = "> " if words.startswith("more") else ""
        ratio = f"{bound}{seconds / float(default['median_s']):.3g}x"
    shape = f"{row['n']} x {row['p']}, {row['K']}"
    return (
        _problem_name(row),
        shape,
        _ours_words(default),
        _ours_words(single),
        f"{float(default['cold_s']):.2f}" if default and default["cold_s"] else "",
        name,
        words,
        ratio,
    )


def _accuracy(case):
    """A line of the table of our default fits."""
    row, default, _, _ = case
    if not default or not default["median_s"]:
        return (_problem_name(row), _ours_words(default), *[""] * (len(ACCURACY) - 2))
    return (
        _problem_name(row),
        _scientific(default["suboptimality"]) + _flag(default),
        _support(default),
        default["warnings"] or "none",
        default["n_iter"],
        f"{float(default['n_evaluations']):.4g}" if default["n_evaluations"] else "",
        default["chosen_solver"],
        default["converged"],
        _scientific(default["optimality"]),
        _scientific(default["dual_gap"]),
        _scientific(default["objective_error"]),
    )


def _lane(row):
    """A line of the table of every peer."""
    words = {
        "reached": milliseconds(row["median_s"]),
        "cut off": f"more than {float(row['limit_s'] or 0):.2g} s",
        "missed": f"never ({milliseconds(row['median_s'])})",
    }.get(row["status"], f"error: {row['warnings']}")
    return (
        _problem_name(row),
        row["library"],
        " ".join(filter(None, (row["solver"], row["options"]))),
        row["n_jobs"],
        row["threads"],
        row["tol"],
        words,
        _scientific(row["suboptimality"]),
        _support(row),
    )


def _support(row):
    """How many coefficients are not zero, of how many; nothing where none should be zero."""
    if row["n_nonzero"] == "" or float(row["l1_ratio"]) == 0:
        return ""
    outputs = 1 if row["K"] == "2" else int(row["K"])
    return f"{row['n_nonzero']} of {outputs * int(row['p'])}"


def _problem_name(row):
    """The problem with its penalty, unless that is the default."""
    ratio = {0.0: "", 1.0: "L1"}.get(float(row["l1_ratio"]), f"l1_ratio={row['l1_ratio']}")
    strength = "" if float(row["C"]) == 1 else f"C={float(row['C']):g}"
    origin = "no intercept" if row["fit_intercept"] == "False" else ""
    penalty = ", ".join(filter(None, (ratio, strength, origin)))
    return f"{row['problem']} ({penalty})" if penalty else row["problem"]


def _peer_name(row):
    """How to call the peer's fit: solver, tolerance, jobs, threads."""
    parts = [row["library"], row["solver"], row["options"], f"tol={float(row['tol'] or 'nan'):g}"]
    parts += [f"{row['threads']} threads" if row["threads"] == "2" else ""]
    parts += [f"n_jobs={row['n_jobs']}" if row["n_jobs"] == "2" else ""]
    return " ".join(filter(None, parts))


def _ours_words(row):
    """Our time, or what went wrong."""
    if row is None:
        return ""
    if row["median_s"]:
        return milliseconds(row["median_s"])
    return f"more than {float(row['limit_s']):.2g} s" if row["limit_s"] else row["warnings"]


def _flag(row):
    """A mark on a fit that is not at the optimum."""
    return "" if row["status"] == "reached" else " **missed**"


def _scientific(text):
    """Two figures; empty stays empty, nan is none."""
    if text in ("", None):
        return ""
    return "none" if math.isnan(float(text)) else f"{float(text):.1e}"


if __name__ == "__main__":
    main()
