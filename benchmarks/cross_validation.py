"""Cross-validation: SoftmaxClassifierCV against LogisticRegressionCV, same grid, same folds.

    python -m benchmarks.cross_validation --data-dir DIR --output FILE.md

10 values of C from 1e-4 to 1e4, 5 stratified folds, log loss, refit, one thread each.  The scores
that all must have are those of our fits at ``tol=1e-8``.  Everybody climbs tolerances, ours from
its default, until the scores are the same to 1e-4, and is timed there.  The peer that counts is
the fastest of those that arrive in time: the limit, and `PATIENCE` times the fastest so far.
"""

import argparse
import multiprocessing
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

if not __package__:  # run as a file: `python benchmarks/cross_validation.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.problems import load_case, select
from benchmarks.progress import Progress
from benchmarks.report import table

CS = np.logspace(-4, 4, 10)
FOLDS = 5
GOAL = 1e-4  # largest difference between scores
TOLS = tuple(10.0**-power for power in range(4, 11))  # loosest first
PATIENCE, FLOOR = 20.0, 5.0  # times the fastest peer; seconds that each may take in any case
REFERENCE_TOL = 1e-8
MAX_ITER = 100_000
SMOOTH, ELASTIC = ("newton-cholesky", "newton-cg", "lbfgs"), ("saga",)
COLUMNS = ("problem", "n", "p", "K", "l1_ratios", "ours, s", "tol", "error", "best peer", "peer, s")
COLUMNS += ("tol", "error", "ratio", "other peers")
INTRODUCTION = f"""# Cross-validation

`SoftmaxClassifierCV` beside `LogisticRegressionCV`: {CS.size} values of C from {CS[0]:g} to
{CS[-1]:g}, {FOLDS} folds, `scoring="neg_log_loss"`, with the refit, one thread. "error": the
largest difference of any fold's score from that of our fits at `tol={REFERENCE_TOL:g}`. Each is
timed at the loosest tolerance at which its error is at most {GOAL:g}; "> N s": it was cut off
before it got there.
"""


@dataclass(frozen=True)
class Study:
    """One problem: its name in `benchmarks.problems`, how many rows, and the grid's l1_ratios."""

    name: str
    rows: int | None = None
    l1_ratios: tuple[float, ...] = (0.0,)

    @property
    def title(self):
        rows = f"[:{self.rows}]" if self.rows else ""
        return self.name + rows + ("" if self.l1_ratios == (0.0,) else ", elastic net")

    @property
    def solvers(self):
        return SMOOTH if self.l1_ratios == (0.0,) else ELASTIC

    def load(self, data_dir):
        """X in float64 and y."""
        (problem,) = (each for each in select([self.name]) if each.name == self.name)
        case = load_case(problem, "softmax", data_dir)
        return case.X[: self.rows], case.y[: self.rows]

    def missing(self, data_dir):
        """Why it cannot be loaded; empty if it can."""
        return select([self.name])[0].missing(data_dir)


STUDIES = (
    Study("iris"),
    Study("digits"),
    Study("digits16", l1_ratios=(0.1, 0.5, 0.9)),
    Study("letter"),
    Study("mnist", rows=10_000),
    Study("news20"),
)


@dataclass
class Outcome:
    """What came of one subject: seconds of each fit, its scores, whether it warned.

    Attributes
    ----------
    seconds : list of float
    scores : ndarray of shape (n_folds, n_l1_ratios, n_Cs) or None
    tol : float
    failed : str
        Why it does not count: "> N s", or what else was wrong.
    """

    tol: float = 0.0
    seconds: list = field(default_factory=list)
    scores: np.ndarray | None = None
    failed: str = ""

    @property
    def time(self):
        return min(self.seconds)

    def error(self, reference):
        """Largest difference from the scores that all must have."""
        return float(np.abs(self.scores - reference).max())


def subject(solver, tol, study):
    """The estimator: ours for ``solver=None``, else a peer's with that solver."""
    grid = {"Cs": CS, "l1_ratios": study.l1_ratios, "cv": FOLDS, "scoring": "neg_log_loss"}
    if solver is None:
        from sk_softmax import SoftmaxClassifierCV

        return SoftmaxClassifierCV(tol=tol, n_jobs=1, **grid)
    from sklearn.linear_model import LogisticRegressionCV

    return LogisticRegressionCV(
        solver=solver,
        tol=tol,
        max_iter=MAX_ITER,
        random_state=0,
        n_jobs=1,
        use_legacy_attributes=False,
        **grid,
    )


def fit_in_process(sender, study, data_dir, solver, tol, repeats):
    """Load, fit once unmeasured where it is ours and may compile, then measure; send an outcome."""
    from threadpoolctl import threadpool_limits

    X, y = study.load(data_dir)
    outcome = Outcome(tol)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if solver is None:
            subject(solver, tol, study).fit(X, y)
        sender.send("begins")
        for _ in range(repeats):
            estimator = subject(solver, tol, study)
            start = perf_counter()
            estimator.fit(X, y)
            outcome.seconds.append(perf_counter() - start)
        outcome.scores = np.asarray(estimator.scores_)
    sender.send(outcome)


def measure(study, data_dir, solver, tol, limit, repeats):
    """The outcome of a fit in a process of its own, which is ended after ``limit`` seconds."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, study, data_dir, solver, tol, repeats)
    process = context.Process(target=fit_in_process, args=arguments)
    process.start()
    sender.close()
    try:
        receiver.recv()  # loaded, and compiled
        if not receiver.poll(limit):
            return Outcome(tol, failed=f"> {limit:.3g} s")
        return receiver.recv()
    except EOFError:
        return Outcome(tol, failed="failed")
    finally:
        process.terminate()
        process.join()


def climb(study, data_dir, solver, reference, limit, repeats):
    """Whoever it is at the loosest tolerance at which it has the scores; or how far it came."""
    outcome = Outcome(failed="no tolerance")
    for tol in TOLS:
        outcome = measure(study, data_dir, solver, tol, limit, 1)
        if outcome.failed:
            return outcome
        if outcome.error(reference) <= GOAL:
            if repeats > 1:
                again = measure(study, data_dir, solver, tol, limit * repeats, repeats)
                outcome.seconds += again.seconds
            return outcome
    outcome.failed = f"off by {outcome.error(reference):.1g}"
    return outcome


def run_study(study, data_dir, limit, repeats, show):
    """A row of the report; as many cells as `COLUMNS`."""
    X, y = study.load(data_dir)
    show(f"{study.title}: reference")
    reference = measure(study, data_dir, None, REFERENCE_TOL, 10 * limit, 1)
    show(f"{study.title}: ours")
    if reference.failed:
        raise RuntimeError(f"{study.title}: no reference, {reference.failed}")
    ours = climb(study, data_dir, None, reference.scores, limit, repeats)
    if ours.failed:
        raise RuntimeError(f"{study.title}: ours {ours.failed}")
    peers = {}
    for solver in study.solvers:
        show(f"{study.title}: {solver}")
        fastest = min((peer.time for peer in peers.values() if not peer.failed), default=np.inf)
        patient = min(limit, max(FLOOR, PATIENCE * fastest))
        peers[solver] = climb(study, data_dir, solver, reference.scores, patient, repeats)
    arrived = {name: peer for name, peer in peers.items() if not peer.failed}
    best = min(arrived, key=lambda name: arrived[name].time, default=None)
    cells = [study.title, *X.shape, np.unique(y).size, ", ".join(map(str, study.l1_ratios))]
    cells += [f"{ours.time:.3g}", f"{ours.tol:g}", f"{ours.error(reference.scores):.1e}"]
    if best is None:
        cells += ["none", f"> {limit:g}", "", "", f"> {limit / ours.time:.1f}"]
    else:
        peer = arrived[best]
        error = peer.error(reference.scores)
        cells += [best, f"{peer.time:.3g}", f"{peer.tol:g}", f"{error:.1e}"]
        cells += [f"{peer.time / ours.time:.1f}"]
    others = [f"{name} {peer.failed or f'{peer.time:.3g} s'}" for name, peer in peers.items()
              if name != best]  # fmt: skip
    return [str(cell) for cell in [*cells, "; ".join(others)]]


def main(argv=None):
    """Run the studies, print the report and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with letter.npz, mnist.npz and news20")
    parser.add_argument("--output", type=Path, help="where the report goes, beside the terminal")
    names = [study.title for study in STUDIES]
    parser.add_argument("--problems", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--time-limit", type=float, default=300.0, help="seconds for a peer's fit")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    chosen = [study for study in STUDIES if study.title in options.problems]
    progress, lines = Progress(len(chosen)), []
    for study in chosen:
        if study.missing(options.data_dir):
            progress.note(f"{study.title} left out: {study.missing(options.data_dir)}")
        else:
            limits = options.time_limit, options.repeats
            lines.append(run_study(study, options.data_dir, *limits, progress.show))
        progress.step()
        report = f"{INTRODUCTION}\n{table(COLUMNS, lines)}"
        if options.output:  # after each study: what comes may take long
            options.output.write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
