"""Screening: how much of our fits with an L1 penalty would be saved by gap-safe screening.

    python -m benchmarks.screening --data-dir DIR --output benchmarks/results/screening.md

Nothing is screened.  At every full sweep (loss and gradient from all rows and all features) of a
fit at the default tolerance, the duality gap says which coefficients a solver could leave out for
good; what that would have saved in the sweeps to come is added up.  Each fit is then checked: what
was ruled out must be 0 at an optimum that is much more precise, or the run ends.

References
----------
Ndiaye, Fercoq, Gramfort and Salmon (2017), "Gap safe screening rules for sparsity enforcing
penalties".
"""

import argparse
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from time import perf_counter
from unittest import mock

import numpy as np
from scipy.special import entr, softmax

if not __package__:  # run as a file: `python benchmarks/screening.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.problems import load_case, select
from benchmarks.progress import Progress
from benchmarks.report import table
from sk_softmax import SoftmaxClassifier
from sk_softmax._objective import Objective
from sk_softmax._smallest_c import smallest_c
from sk_softmax._solvers import l1_in_cache
from sk_softmax._solvers.table import solve
from sk_softmax._threads import Workers, one_blas_thread

NAMES = ("digits16_l1", "wine_std_l1", "letter_std_l1", "khan_std_l1", "mnist_l1", "news20_l1")
CHOICES = {problem.name: problem for problem in select(NAMES)}
ROWS = {"mnist_l1": 10_000}  # the first ones; of other problems all
LENGTH, SPAN = 20, 100.0  # values of C in a path; the largest over the smallest
REFERENCE_TOL = 1e-8
ROUNDING = 1e-14  # of F and 1, what a gap may be too small by
LISTS = ("gaps", "shares", "features")  # of a `Screen`, one entry a sweep
WHEN = {"first": 0.0, "middle": 0.5, "last": 1.0}  # of the sweeps of a fit
COLUMNS = ("problem", "n", "p", "K", "C", "non-zero", "sweeps", "half out", "of the time")
COLUMNS += tuple(f"{what}, {when}" for when in WHEN for what in ("gap", "out", "features"))
COLUMNS += ("in sets", "saved", "saved, features", "saved, time")
INTRODUCTION = f"""# Screening

What gap-safe screening could save in our fits with an L1 penalty: softmax, default tolerance, one
thread. Nothing is screened. At each full sweep (loss and gradient from all rows and all features)
the duality gap says which coefficients must be 0 at the optimum; once ruled out they stay so.
Every one of them is 0 in fits at `tol={REFERENCE_TOL:g}`, or there would be no table.

* "[:N]": the first N rows. "non-zero": the share of the K p coefficients at the optimum.
* "sweeps": full sweeps. "half out": how many of them are still to come when half of the zeros are
  ruled out. "of the time": the share of a fit's time that full sweeps take.
* "gap": the duality gap over the null model's objective at the first, the middle and the last
  sweep. "out": the share of the coefficients that is ruled out there. "features": the share of
  the features of which all K coefficients are; one that does not vary is so at the first sweep.
* "in sets": of the coefficients that the next working set could take (they are not 0, or violate
  the optimality conditions), the share that is ruled out, over all sweeps. Steps on working sets
  could leave out nothing else.
* "saved": the share of the work of all sweeps that is left out if each leaves out what those
  before it ruled out, coefficient by coefficient. "saved, features": the same by whole features,
  which our kernels could do. "saved, time": "saved" times "of the time", the share of a fit's
  time. What the tests cost is not taken off.
"""
PATH_INTRODUCTION = f"""\
{LENGTH} values of C, from the smallest useful one to {SPAN:g} times that, each fit from the last
solution. "non-zero" is that of the last fit; sweeps are those of all fits. Gaps are medians over
the fits, and what is ruled out is a mean.
"""


@dataclass
class Screen:
    """What gap-safe spheres rule out in the course of a fit.

    A solver may keep the best of its bounds, so the sphere at a sweep is that of the least F and
    the largest dual value so far.

    Attributes
    ----------
    spread : ndarray of shape (p,)
        ||x_j - mean of x_j||_s, the features' weighted standard deviations.
    null : float
        The null model's objective.
    out : ndarray of shape (K, p)
        Mask of the coefficients that are ruled out.
    gaps, shares, features : list of float
        After each sweep: gap over ``null``, shares of the coefficients and of the features.
    wanted, in_vain : int
        Coefficients that working sets could take, and those of them that are ruled out.
    seconds, away : float
        That sweeps took, and that looking on took.
    """

    spread: np.ndarray
    null: float
    out: np.ndarray
    value: float = np.inf
    dual: float = -np.inf
    force: np.ndarray | None = None
    gaps: list = field(default_factory=list)
    shares: list = field(default_factory=list)
    features: list = field(default_factory=list)
    wanted: int = 0
    in_vain: int = 0
    seconds: float = 0.0
    away: float = 0.0

    def add(self, lambda1, value, dual, force, wanted):
        """Go on to the next sweep: F, a dual value, |G| at the dual point, a mask; (K, p) each.

        The entropy is 1-strongly concave in the 1-norm (Pinsker's inequality), and q - q* sums to
        0 over classes, so its 1-norm is at least 2 |q_k - q*_k|: from Q to the optimum Q*, where D
        is largest, D grows by at least 2 sum_i s_i (q_ik - q*_ik)^2 / S, for each k.  It is at
        most the gap, so q_k is within sqrt(gap / 2) of q*_k in ||.||_s: the paper's radius for
        gamma = 4, as in a logit's curvature p (1 - p) <= 1/4.  Both Q have Y's class totals, so
        G_kj(Q) - G_kj(Q*) = sum_i s_i (q*_ik - q_ik) (x_ij - mean of x_j) / S, which is at most
        radius times spread.  Only where |G_kj(Q*)| = lambda1 has any optimum w_kj other than 0.
        """
        self.value = min(self.value, value)
        if dual > self.dual:
            self.dual, self.force = dual, force
        gap = max(self.value - self.dual, 0.0)
        radius = np.sqrt((gap + ROUNDING * (1 + self.value)) / 2)
        self.out |= self.force + radius * self.spread < lambda1
        self.gaps.append(gap / self.null)
        self.shares.append(self.out.mean())
        self.features.append(self.out.all(axis=0).mean())
        self.wanted += int(wanted.sum())
        self.in_vain += int((wanted & self.out).sum())


# The objective is what is wrapped, as `Run.accept` sees only the sweeps that choose working sets:
# where a set spans more than half of the features, steps on it read all of them too, and screening
# could save there as well.  Objectives of fewer features have a design of their own.
@dataclass
class Observed(Objective):
    """F of softmax with an intercept and an L1 penalty, and a screen that sees every full sweep."""

    screen: Screen | None = None
    whole: object = None

    @classmethod
    def of(cls, objective):
        """The same objective, with a new screen."""
        known = {each.name: getattr(objective, each.name) for each in fields(Objective)}
        design, s = objective.design, objective.target.s
        squares = design.squares(s[:, None], objective.center, objective.workers)[0]
        out = np.zeros((objective.K, objective.p), dtype=bool)
        screen = Screen(np.sqrt(squares), float(objective.null_value[0]), out)
        return cls(**known, screen=screen, whole=design)

    def loss_gradient(self, point):
        """The same, seen."""
        if self.design is not self.whole:
            return super().loss_gradient(point)
        began = perf_counter()
        loss, gradient = super().loss_gradient(point)
        ended = perf_counter()
        value, lambda1 = float((loss + self.penalty(point))[0]), float(self.lambda1[0])
        wanted = ((point != 0) | (np.abs(gradient) > lambda1))[:, : self.p]
        self.screen.add(lambda1, value, *self.dual_point(point, gradient), wanted)
        self.screen.seconds += ended - began
        self.screen.away += perf_counter() - ended
        return loss, gradient

    def dual_point(self, point, gradient):
        """D(Q) and |G(Q)|, (K, p), for the user guide's Q ("The dual gap").

        Unlike the solvers', which have no second look at the rows, D has the entropy of Q itself.
        """
        p, y, s = self.p, self.target.y, self.target.s
        coef, intercept = self.split(point)
        logits = self.design.logits(slice(0, s.size), np.ascontiguousarray(coef.T), intercept)
        wanted, totals = self.class_sums[:, p], self.class_sums[:, p] + gradient[:, p]
        eps = max(0.0, float((1 - wanted / totals).max()))
        mixed_in = wanted - (1 - eps) * totals
        sums = self.class_sums[:, :p]
        G = sums - (1 - eps) * (sums + gradient[:, :p]) - np.outer(mixed_in, self.center)
        force = np.abs(G)
        tau = min(1.0, float(self.lambda1[0] / force.max()))
        Q = tau * ((1 - eps) * softmax(logits, axis=1) + mixed_in)
        Q[np.arange(y.size), y] += 1 - tau
        return float(s @ entr(np.maximum(Q, 0.0)).sum(axis=1)), tau * force


@dataclass(frozen=True)
class Fit:
    """One observed fit: its screen, seconds, and mask of the non-zeros at the optimum, (K, p)."""

    screen: Screen
    seconds: float
    nonzero: np.ndarray


def observed_fits(case, Cs):
    """A grid of C, ascending, and its fits, each from the last one's solution; None: a path's.

    All are fitted on working sets, small problems too.  It is a RuntimeError if a coefficient is
    ruled out that is not 0 at the optimum.
    """
    model, n = SoftmaxClassifier(l1_ratio=1.0), case.y.size
    fits, start, precise = [], None, None
    not_in_cache = mock.patch.object(l1_in_cache, "ENTRIES", 0)
    with Workers(1) as workers, one_blas_thread(), not_in_cache:
        whole = model._objective(model._training_data(case.X, case.y, None), workers)
        Cs = smallest_c(whole, 1.0, n) * np.geomspace(1, SPAN, LENGTH) if Cs is None else Cs
        for C in Cs:
            objective = whole.penalised(1 / (C * n), 0.0)
            # the reference goes first: what it compiles is not in the observed fit's time
            near = start is not None
            reference = solve(objective, tol=REFERENCE_TOL, start=precise, near=near)
            observed = Observed.of(objective)
            began = perf_counter()
            solution = solve(observed, start=start, near=near)
            seconds = perf_counter() - began - observed.screen.away
            fits.append(Fit(observed.screen, seconds, reference.coef != 0))
            if not reference.status[0].converged:
                raise RuntimeError(f"C = {C:g}: no optimum to compare with")
            if (observed.screen.out & fits[-1].nonzero).any():
                raise RuntimeError(f"C = {C:g}: a coefficient was ruled out that is not 0")
            start, precise = point_of(solution), point_of(reference)
    return Cs, fits


def point_of(solution):
    """A solution as a point (K, p + 1) to go on from."""
    return np.column_stack([solution.coef, solution.intercept])


def saved(shares):
    """Share of the work of all sweeps that is left out; each test serves from the next one on."""
    return sum(sum(each[:-1]) for each in shares) / sum(map(len, shares))


def after_half(fit):
    """Sweeps that are still to come when half of the zeros are ruled out."""
    late = np.array(fit.screen.shares) >= (1 - fit.nonzero.mean()) / 2
    return max(0, int(late.sum()) - 1)


def line(title, case, Cs, fits):
    """A row of the report: as many cells as `COLUMNS`."""
    screens = [fit.screen for fit in fits]
    time = sum(screen.seconds for screen in screens) / sum(fit.seconds for fit in fits)
    cells = [title, *case.X.shape, case.n_classes]
    cells += [f"{Cs[0]:.3g}" if len(Cs) == 1 else f"{Cs[0]:.3g} to {Cs[-1]:.3g}"]
    cells += [percent(fits[-1].nonzero.mean()), sum(len(screen.gaps) for screen in screens)]
    cells += [sum(map(after_half, fits)), percent(time)]
    gaps, shares, features = ([getattr(screen, name) for screen in screens] for name in LISTS)
    for part in WHEN.values():
        lists = ([one[int(part * (len(one) - 1))] for one in w] for w in (gaps, shares, features))
        gap, out, whole = lists
        cells += [f"{np.median(gap):.1e}", percent(np.mean(out)), percent(np.mean(whole))]
    in_sets = sum(s.in_vain for s in screens) / sum(s.wanted for s in screens)
    bounds = in_sets, saved(shares), saved(features), saved(shares) * time
    return [*cells, *map(percent, bounds)]


def percent(share):
    """A share in percent, to three digits."""
    return f"{100 * share:.3g}%"


def load(name, data_dir):
    """What a problem is called in the report, and its case."""
    case, rows = load_case(CHOICES[name], "softmax", data_dir), ROWS.get(name)
    title = f"{name}[:{rows}]" if rows else name
    return title, replace(case, X=case.X[:rows], y=case.y[:rows])


def main(argv=None):
    """Measure the problems, print the report and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with khan.npz, letter.npz, mnist.npz and news20")
    parser.add_argument("--output", type=Path, help="where the report goes, beside the terminal")
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    options = parser.parse_args(argv)
    progress, single, path = Progress(len(options.problems)), [], []
    for name in options.problems:
        progress.show(name)
        if reason := CHOICES[name].missing(options.data_dir):
            progress.note(f"{name} left out: {reason}")
        else:
            title, case = load(name, options.data_dir)
            single.append(line(title, case, *observed_fits(case, [case.C])))
            path.append(line(title, case, *observed_fits(case, None)))
        progress.step()
        report = f"{INTRODUCTION}\n## Single fits\n\n{table(COLUMNS, single)}"
        report += f"\n## Paths\n\n{PATH_INTRODUCTION}\n{table(COLUMNS, path)}"
        if options.output:  # after each problem: what comes may take long
            options.output.write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
