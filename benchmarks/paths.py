"""Paths: softmax_path against glmnet's path, an L1 penalty, the same 100 values of C.

    python -m benchmarks.paths --data-dir DIR --output benchmarks/results/paths.md

The grid begins at `softmax_l1_min_c` and ends where glmnet's own would. F is recomputed by
`benchmarks.objective` at each C, and F_best is the least that anybody had there, a path of ours at
``tol=1e-8`` among them. The error of a path is its largest ``(F - F_best) / F_null``. Both climb
tolerances, ours from its default, until the error is at most `GOAL`, and are timed there.
"""

import argparse
import contextlib
import os
import sys
import warnings
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from scipy import sparse

if not __package__:  # run as a file: `python benchmarks/paths.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.adapters import glmnet, ours
from benchmarks.objective import GOAL, null_objective, objective
from benchmarks.problems import PROBLEMS, load_case
from benchmarks.progress import Progress
from benchmarks.report import table
from benchmarks.worker import Worker

LENGTH = 100
# Smallest over largest lambda, glmnet's default: with more features than rows, and otherwise.
WIDE_RATIO, RATIO = 1e-2, 1e-4
OURS, PEER = "sk_softmax", "glmnet"
TOLS = {OURS: (1e-4, 1e-6, 1e-8), PEER: glmnet.TOLS}  # loosest first
REFERENCE_TOL = 1e-8
DEFAULT = ("khan_std_l1", "letter_std_l1", "news20_l1")
CHOICES = {p.name: p for p in PROBLEMS if p.l1_ratio == 1 and "softmax" in p.formulations}
COLUMNS = ("problem", "n", "p", "K", "C", "ours, s", "tol", "error", "non-zero")
COLUMNS += ("glmnet, s", "thresh", "error", "non-zero", "glmnet / ours")
INTRODUCTION = f"""# Paths

`softmax_path` beside glmnet's path, both with an L1 penalty at the same {LENGTH} values of C, from
the smallest useful one to that over {WIDE_RATIO:g} with more features than rows, over {RATIO:g}
otherwise. One thread. "error": the largest (F - F_best) / F_null of the path, where F_best is the
least F that anybody had at that C, ours at `tol={REFERENCE_TOL:g}` among them. Each is timed at
its loosest tolerance with an error of at most {GOAL:g}. "> N": it was cut off after N seconds;
"never": its tightest tolerance is not enough. "non-zero": coefficients at the last C.
"""


@dataclass
class Outcome:
    """What came of a path.

    Attributes
    ----------
    tol : float
    seconds : list of float
        Of each fit.
    objectives : ndarray of shape (n_Cs,) or None
        F recomputed.
    n_nonzero : int
        Coefficients at the last C.
    failed : str
        Why it does not count: "> N", or what else was wrong.
    """

    tol: float
    seconds: list = field(default_factory=list)
    objectives: np.ndarray | None = None
    n_nonzero: int = 0
    failed: str = ""

    def error(self, best, null):
        """How far above the least F the path is where it is worst, relative to the null model."""
        return float(np.max(self.objectives - best) / null)


class PathWorker(Worker):
    """A process that holds one problem and fits its path, killed when a path outlasts its limit.

    Parameters
    ----------
    library : {"sk_softmax", "glmnet"}
    problem : Problem
    data_dir : str or None
    Cs : ndarray of shape (n_Cs,)

    Attributes
    ----------
    versions : str
        What it fits with.
    """

    def __init__(self, library, problem, data_dir, Cs):
        self.library = library
        context = get_context("spawn")  # a fork would inherit thread pools
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, library, problem, data_dir, Cs)
        self.process = context.Process(target=serve, args=arguments)
        self.process.start()
        theirs.close()
        self.versions = self.pipe.recv()

    def fit(self, tol, limit=None):
        """The outcome of a path; one that is cut off is the last that this process fits."""
        try:
            self.pipe.send(tol)
            if not self.pipe.poll(limit):
                self.kill()
                return Outcome(tol, failed=f"> {limit:g}")
            self.pipe.recv()  # the fit is over: F is outside the limit
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            return Outcome(tol, failed=f"the process died ({type(error).__name__})")


def serve(pipe, library, problem, data_dir, Cs):
    """Fit a path for each tolerance until the pipe closes: the body of a worker's process."""
    from threadpoolctl import threadpool_limits

    with contextlib.suppress(OSError, AttributeError):
        os.setsid()  # a group of its own, so that R dies with it
    case = load_case(problem, "softmax", data_dir)
    with contextlib.suppress(EOFError, OSError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.send(versions(library, case))
        while True:
            tol = pipe.recv()
            try:
                with threadpool_limits(1):
                    fitted = PATHS[library](case, Cs, tol)
            except RuntimeError as error:  # what R complains of
                fitted = error
            pipe.send("ended")
            failed = isinstance(fitted, RuntimeError)
            pipe.send(Outcome(tol, failed=str(fitted)) if failed else judged(case, Cs, tol, fitted))
    glmnet.finish()


def our_path(case, Cs, tol):
    """Coefficients and intercepts for each C, and seconds."""
    from sk_softmax import softmax_path

    start = perf_counter()
    path = softmax_path(
        case.X,
        case.y,
        Cs=Cs,
        l1_ratio=case.l1_ratio,
        fit_intercept=case.fit_intercept,
        tol=tol,
        sparse_output=sparse.issparse(case.X),
        n_jobs=1,
    )
    return path.coefs, path.intercepts, perf_counter() - start


def glmnet_path(case, Cs, tol):
    """Coefficients and intercepts for each C, and seconds by R's clock."""
    strengths = 1.0 / (Cs * case.X.shape[0])
    return glmnet.Session.of(case).path(strengths, case.l1_ratio, tol)[:3]


PATHS = {OURS: our_path, PEER: glmnet_path}


def versions(library, case):
    """What fits, in words; R gets the data before it says."""
    if library == OURS:
        return f"{OURS} {ours.version()}"
    return "glmnet {} with R {}".format(*glmnet.Session.of(case).versions)


def judged(case, Cs, tol, fitted):
    """The outcome of a fitted path, from its coefficients alone."""
    coefs, intercepts, seconds = fitted
    values = []
    for C, coef, intercept in zip(Cs, coefs, intercepts, strict=True):
        dense = coef.toarray() if sparse.issparse(coef) else coef  # one C at a time, for memory
        settings = {"C": C, "l1_ratio": case.l1_ratio, "formulation": "softmax"}
        values.extend(objective(case.X, case.y, dense, intercept, **settings))
    return Outcome(tol, [seconds], np.array(values), int(np.count_nonzero(dense)))


def grid(case):
    """`LENGTH` values of C from the smallest useful one to where glmnet would end."""
    from sk_softmax import softmax_l1_min_c

    n, p = case.X.shape
    smallest = softmax_l1_min_c(
        case.X, case.y, l1_ratio=case.l1_ratio, fit_intercept=case.fit_intercept
    )
    return np.geomspace(smallest, smallest / (WIDE_RATIO if p > n else RATIO), LENGTH)


def climb(worker, best, null, limit, repeats):
    """The path at the loosest tolerance at which it is near enough; or how far it came.

    ``best`` becomes the least F of all its paths and those before.
    """
    for tol in TOLS[worker.library]:
        outcome = worker.fit(tol, limit)
        if outcome.failed:
            return outcome
        np.minimum(best, outcome.objectives, out=best)
        if outcome.error(best, null) <= GOAL:
            for _ in range(repeats - 1):
                outcome.seconds += worker.fit(tol, limit).seconds
            return outcome
    outcome.failed = "never"
    return outcome


def run_problem(problem, data_dir, with_glmnet, limit, repeats, show):
    """A row of the report, as many cells as `COLUMNS`, and the versions of who fitted."""
    case = load_case(problem, "softmax", data_dir)
    Cs = grid(case)
    (null,) = null_objective(case.y, formulation="softmax", fit_intercept=case.fit_intercept)
    arguments, outcomes = (problem, data_dir, Cs), {}
    with contextlib.ExitStack() as stack:
        workers = {OURS: stack.enter_context(contextlib.closing(PathWorker(OURS, *arguments)))}
        show(f"{problem.name}: reference")  # what it compiles or loads is outside our times
        reference = workers[OURS].fit(REFERENCE_TOL)
        if reference.failed:
            raise RuntimeError(f"{problem.name}: no reference, {reference.failed}")
        best = reference.objectives.copy()
        if with_glmnet:
            workers[PEER] = stack.enter_context(contextlib.closing(PathWorker(PEER, *arguments)))
        for library in reversed(workers):  # ours last: measured by all that the peer has found
            show(f"{problem.name}: {library}")
            cut_off = limit if library == PEER else None
            outcomes[library] = climb(workers[library], best, null, cut_off, repeats)
        used = [worker.versions for worker in workers.values()]
    row = [problem.name, *case.X.shape, case.n_classes, f"{Cs[0]:.3g} to {Cs[-1]:.3g}"]
    row += cells(outcomes[OURS], best, null)
    row += cells(outcomes[PEER], best, null) if with_glmnet else ["not there", "", "", ""]
    return [*row, ratio(outcomes.get(PEER), outcomes[OURS], limit)], used


def cells(outcome, best, null):
    """Seconds or what went wrong, tolerance, error, non-zero coefficients."""
    words = outcome.failed or f"{median(outcome.seconds):.3g}"
    if outcome.objectives is None:
        return [words, f"{outcome.tol:g}", "", ""]
    return [words, f"{outcome.tol:g}", f"{outcome.error(best, null):.1e}", outcome.n_nonzero]


def ratio(peer, mine, limit):
    """The peer's time over ours, or what it is more than; empty where there is none."""
    if peer is None or mine.failed or (peer.failed and not peer.failed.startswith(">")):
        return ""
    if peer.failed:
        return f"> {limit / median(mine.seconds):.3g}"
    return f"{median(peer.seconds) / median(mine.seconds):.3g}"


def main(argv=None):
    """Measure the problems, print the report and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with khan.npz, letter.npz and news20")
    parser.add_argument("--output", type=Path, help="where the report goes, beside the terminal")
    parser.add_argument(
        "--problems", nargs="+", choices=CHOICES, default=list(DEFAULT), metavar="NAME"
    )
    parser.add_argument("--time-limit", type=float, default=300.0, help="seconds for glmnet's path")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    progress, lines, libraries = Progress(len(options.problems)), [], {}
    absent = glmnet.unavailable()
    if absent:
        progress.note(f"glmnet left out: {absent}")
    for name in options.problems:
        problem = CHOICES[name]
        if problem.missing(options.data_dir):
            progress.note(f"{name} left out: {problem.missing(options.data_dir)}")
        else:
            limits = options.time_limit, options.repeats
            line, used = run_problem(problem, options.data_dir, not absent, *limits, progress.show)
            lines.append(line)
            libraries.update(dict.fromkeys(used))
        progress.step()
        measured = f"Measured with {', '.join(libraries)}.\n" if libraries else ""
        report = f"{INTRODUCTION}{measured}\n{table(COLUMNS, lines)}"
        if options.output:  # after each problem: what comes may take long
            options.output.write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
