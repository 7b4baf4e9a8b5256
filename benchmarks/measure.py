"""The rule, carried out on one case: references, ladders of tolerances, interleaved repeats.

* The optimum is the least F of any fit, with tight fits made for nothing else.
* A peer climbs its ladder of tolerances, loosest first, until it comes within `GOAL` of the
  optimum relative to the null model's objective; ours is its default fit, wherever it ends.
* The lanes worth it are then timed again in turns, so that all feel the same machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.objective import GOAL, suboptimality
from benchmarks.results import row_of
from benchmarks.worker import Inline, Worker

__all__ = ["REFERENCE_LIMIT", "Settings", "Trial", "close_idle", "measure_case"]

# Seconds a reference may take at least: without one, every ladder is climbed to its end.
REFERENCE_LIMIT = 20.0
# Seconds that our first fit may take on top of its limit: it may compile.
COMPILATION = 20.0


@dataclass(frozen=True)
class Settings:
    """How long to try.

    Attributes
    ----------
    time_limit : float
        Seconds after which a fit is cut off.
    patience : float
        A peer is cut off earlier, at this many times the fastest peer that reached the goal.
    floor : float
        But never before this many seconds.
    rounds : int
        Interleaved rounds of repeats.
    burst : float
        Seconds of back-to-back fits in a round; at least one fit.
    max_threads : int or None
        Leave out peers with more jobs or threads.
    wanted : callable or None
        ``wanted(lane)`` tells whether to time it; references are not asked about.
    tightest : float
        Leave out tolerances below this one.
    inline : bool
        Fit in this process, without limits.
    """

    time_limit: float = 60.0
    patience: float = 10.0
    floor: float = 2.0
    rounds: int = 7
    burst: float = 0.1
    max_threads: int | None = None
    wanted: Callable | None = None
    tightest: float = 0.0
    inline: bool = False

    def choose(self, lanes):
        """Return the lanes that are not left out, with the tolerances that are not."""
        chosen = []
        for lane in lanes:
            few = max(lane.n_jobs or 1, lane.threads or 1) <= (self.max_threads or np.inf)
            if few and (self.wanted is None or self.wanted(lane)):
                tols = tuple(tol for tol in lane.tols if tol is None or tol >= self.tightest)
                chosen.append(replace(lane, tols=tols))
        return chosen


@dataclass
class Trial:
    """One lane with what came of it.

    Attributes
    ----------
    probes : list of (tol, Outcome)
        One fit, or two if it is short, at each tolerance tried.
    cut_off : float or None
        The limit at which the lane was cut off.
    seconds : list of float
        The repeats.
    """

    worker: Worker | Inline
    role: str
    lane: object
    probes: list = field(default_factory=list)
    cut_off: float | None = None
    failed: str = ""
    first_rung: int = 0
    seconds: list = field(default_factory=list)

    @property
    def exhausted(self):
        """Whether no tolerance is left to try."""
        tried = self.first_rung + len(self.probes)
        return self.cut_off is not None or bool(self.failed) or tried >= len(self.lane.tols)

    def probe(self, limit):
        """Fit at the next tolerance."""
        tol = self.lane.tols[self.first_rung + len(self.probes)]
        extra = COMPILATION if self.role == "ours" and not self.probes else 0.0
        outcome = self.worker.fit(self.lane, tol, limit=limit + extra)
        if outcome.status == "fitted":
            took = outcome.seconds[0]
            # A first fit may have compiled or started a pool; a short one felt cold caches.
            warming = {"ours": 20.0, "peer": 0.1 if self.probes else 3.0, "reference": 0.0}
            if took < warming[self.role]:
                outcome.seconds += self.worker.fit(self.lane, tol, limit=limit).seconds
            self.probes.append((tol, outcome))
        elif outcome.status == "cut off":
            self.cut_off = limit
        else:
            self.failed = outcome.warnings

    def winner(self, best, null):
        """Return the fastest (tol, Outcome) within the goal, or None; ours has just one."""
        within = [
            probe
            for probe in self.probes
            if self.role == "ours" or suboptimality(probe[1].objective, best, null) <= GOAL
        ]
        return min(within, key=lambda probe: probe[1].seconds[-1], default=None)


def measure_case(problem, formulation, libraries, settings, data_dir=None, progress=None):
    """Measure every library on one problem in one formulation.

    Parameters
    ----------
    problem : Problem
    formulation : {"softmax", "ova"}
    libraries : dict
        Role of each adapter by its name.
    settings : Settings
    data_dir : path or None
    progress : Progress or None

    Returns
    -------
    list of dict
        One row a lane, in the fields of `benchmarks.results`.
    """
    show = progress.show if progress else lambda text: None
    kind = Inline if settings.inline else Worker
    workers = []
    try:
        for library in libraries:
            workers.append(kind(library, problem, formulation, data_dir))
        null = workers[0].shape().null
        trials, references = _trials(workers, libraries, settings)
        close_idle(workers, trials + references)
        title = f"{problem.name} {formulation}"
        _probe_ours(trials, settings, show, title)
        _climb(references, max(settings.time_limit, REFERENCE_LIMIT), show, f"{title} reference")
        best = _climb_all(trials, references, null, settings, show, title)
        _repeat(trials, best, null, settings, show, title)
    finally:
        for worker in workers:
            worker.close()
    return [
        row_of(problem, formulation, trial, best, trial.winner(best, null))
        for trial in trials + references
    ]


def _trials(workers, libraries, settings):
    """The lanes that are timed, and those that only look for the optimum."""
    trials, references = [], []
    for worker in workers:
        shape, role = worker.shape(), libraries[worker.library]
        trials += [Trial(worker, role, lane) for lane in settings.choose(shape.lanes)]
        references += [Trial(worker, "reference", lane) for lane in shape.references]
    return trials, references


def close_idle(workers, trials):
    """End the processes of libraries that have no way to fit the case: they hold its data."""
    for worker in workers:
        if all(trial.worker is not worker for trial in trials):
            worker.close()


def _probe_ours(trials, settings, show, title):
    """Fit ours first: its worker is fresh, so its first fit is the cold one."""
    _climb([trial for trial in trials if trial.role == "ours"], settings.time_limit, show, title)


def _climb(trials, limit, show, title):
    """Try every tolerance of every lane."""
    for trial in trials:
        while not trial.exhausted:
            show(f"{title} {trial.worker.library}")
            trial.probe(limit)


def _least(trials):
    """The least F of any fit, problem by problem; inf before there is one."""
    values = [outcome.objective for trial in trials for _, outcome in trial.probes]
    return np.fmin.reduce(values) if values else np.inf  # a nan is no optimum


def _climb_all(trials, references, null, settings, show, title):
    """Let the peers climb until each is within the goal, cut off, or out of tolerances.

    A later fit may lower the optimum, so those who had arrived are asked again until nothing
    moves. Without any tight fit to compare with, every ladder is climbed to its end.
    """
    everyone = trials + references
    certain = any(trial.probes for trial in references)
    moved = True
    while moved:
        moved = False
        for trial in trials:
            _skip_rungs(trial, trials, _least(everyone), null)
            while not trial.exhausted:
                best = _least(everyone)
                if certain and trial.winner(best, null):
                    break
                lane = trial.lane
                tol = lane.tols[trial.first_rung + len(trial.probes)]
                show(f"{title} {lane.solver} n_jobs={lane.n_jobs} threads={lane.threads} {tol:g}")
                limit = _limit(trials, best, null, settings) if certain else settings.time_limit
                trial.probe(limit)
                moved = True
    return _least(everyone)


def _skip_rungs(trial, trials, best, null):
    """Start where the same solver, with other threads, first got within the goal.

    If it was cut off, start where it was: the looser tolerances would miss again.
    """
    if trial.probes or trial.role == "ours":
        return
    for other in trials:
        same = other.worker is trial.worker and other.lane.solver == trial.lane.solver
        if same and other.lane.options == trial.lane.options and other.probes:
            tols = [tol for tol, outcome in other.probes]
            won = other.winner(best, null)
            trial.first_rung = trial.lane.tols.index(won[0] if won else tols[-1])
            if not won and other.cut_off is not None:
                trial.first_rung += 1
            return


def _limit(trials, best, null, settings):
    """Seconds that a peer may take now, given the fastest that arrived."""
    arrived = [trial.winner(best, null) for trial in trials if trial.role == "peer"]
    fastest = min((won[1].seconds[-1] for won in arrived if won), default=np.inf)
    return min(settings.time_limit, max(settings.floor, settings.patience * fastest))


def _repeat(trials, best, null, settings, show, title):
    """Time ours and the fastest peers again, in turns."""
    probed = [(trial, trial.winner(best, null)) for trial in trials]
    probed = [(trial, *won) for trial, won in probed if won]
    peers = [outcome.seconds[-1] for trial, _, outcome in probed if trial.role == "peer"]
    # Beyond three times the fastest peer, repeats could change no figure that is reported.
    slowest = 3.0 * min(peers, default=np.inf)
    for turn in range(settings.rounds):
        for trial, tol, outcome in probed:
            took = outcome.seconds[-1]
            if trial.role == "peer" and took > slowest:
                continue
            if turn < _rounds(took, settings):
                show(f"{title} round {turn + 1}/{settings.rounds}")
                again = trial.worker.fit(
                    trial.lane,
                    tol,
                    limit=10.0 + 4.0 * took,
                    max_fits=20,
                    budget=settings.burst,
                    warm_up=took < 1.0,
                )
                trial.seconds += again.seconds if again.status == "fitted" else []


def _rounds(took, settings):
    """Fewer rounds for longer fits."""
    return settings.rounds if took < 1.0 else min(settings.rounds, 3 if took < 10.0 else 1)
