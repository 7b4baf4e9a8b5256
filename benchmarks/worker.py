"""A process that holds one library and one case, fits on request, and can be killed.

Time is taken inside the process, around `fit` alone: starting it, loading the data and
recomputing F are never counted. `Inline` answers the same requests without a process.
"""

import contextlib
import os
import signal
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np

from benchmarks import adapters
from benchmarks.objective import canonical, null_objective, objective
from benchmarks.problems import load_case

__all__ = ["Inline", "Outcome", "Shape", "Worker"]

# Seconds that a process is given to end by itself.
FAREWELL = 2.0


@dataclass
class Outcome:
    """What one request came to.

    Attributes
    ----------
    status : {"fitted", "cut off", "error"}
    seconds : list of float
        Of each fit; for a fit that was cut off, the limit.
    objective : ndarray of shape (1,) or (K,), or None
        F recomputed at the last fit's coefficients.
    details : dict
        The library's own account.
    n_nonzero : int or None
        Coefficients of the last fit that are not exactly zero, intercepts aside.
    warnings : str
        The kinds of warnings of one fit, counted; empty if there were none.
    """

    status: str
    seconds: list = field(default_factory=list)
    objective: np.ndarray | None = None
    details: dict = field(default_factory=dict)
    warnings: str = ""
    n_nonzero: int | None = None


@dataclass
class Shape:
    """What a freshly started worker says of its case."""

    n: int
    p: int
    n_classes: int
    null: np.ndarray
    version: str
    lanes: list
    references: list


class Inline:
    """Fits in this very process: no limits, for tests and debuggers.

    Parameters
    ----------
    library : str
        Name of the adapter.
    problem : Problem
    formulation : {"softmax", "ova"}
    data_dir : str or None
    """

    def __init__(self, library, problem, formulation, data_dir):
        self.library = library
        self.adapter = adapters.load(library)
        self.case = load_case(problem, formulation, data_dir)

    def shape(self):
        """Describe the case and the lanes."""
        return describe(self.adapter, self.case)

    def fit(self, lane, tol, *, limit, max_fits=1, budget=0.0, warm_up=False):
        """Fit until `max_fits` or `budget` seconds are reached, at least once."""
        request = (lane, tol, max_fits, budget, warm_up)
        return answer(self.adapter, self.case, request, lambda message: None)

    def close(self):
        """Do nothing: there is no process."""


class Worker:
    """The same in a process of its own, killed when a fit outlasts its limit.

    Parameters are those of `Inline`.
    """

    def __init__(self, library, problem, formulation, data_dir):
        self.library = library
        self.arguments = (library, problem, formulation, data_dir)
        self.known_shape = None
        self.start()

    def start(self):
        """Start the process without waiting for it."""
        context = get_context("spawn")  # a fork would inherit thread pools
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *self.arguments))
        self.process.start()
        theirs.close()
        self.ready = False

    def shape(self):
        """Describe the case and the lanes, once the data is loaded."""
        if self.known_shape is None:
            self.await_ready()
        return self.known_shape

    def await_ready(self):
        """Wait until the data is loaded."""
        if not self.ready:
            self.known_shape, self.ready = self.pipe.recv(), True

    def fit(self, lane, tol, *, limit, max_fits=1, budget=0.0, warm_up=False):
        """Fit until `max_fits` or `budget` seconds are reached, at least once.

        With `warm_up` a fit that is not timed goes before them.
        The process is killed when the fits are not over after `limit` seconds, and starts
        afresh for the next request.
        """
        try:
            if self.process is None:
                self.start()
            self.await_ready()
            self.pipe.send((lane, tol, max_fits, budget, warm_up))
            self.pipe.recv()  # begun
            if not self.pipe.poll(limit):
                self.kill()
                return Outcome("cut off", [limit])
            self.pipe.recv()  # ended
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            self.kill()
            return Outcome("error", warnings=f"the process died ({type(error).__name__})")

    def kill(self):
        """End the process and whatever it started (joblib's workers, say)."""
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.process = None

    def close(self):
        """End the process if there is one; it may tidy up first."""
        if self.process is not None:
            self.pipe.close()
            self.process.join(FAREWELL)
            self.kill()


def serve(pipe, library, problem, formulation, data_dir):
    """Answer requests until the pipe closes: the body of a worker's process."""
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()  # a group of its own, so that its children die with it
    os.environ["PYTHONWARNINGS"] = "ignore"  # joblib's workers would print theirs
    inline = Inline(library, problem, formulation, data_dir)
    with contextlib.suppress(EOFError, OSError):  # the other end has closed
        pipe.send(inline.shape())
        while True:
            request = pipe.recv()
            pipe.send(answer(inline.adapter, inline.case, request, pipe.send))
    getattr(inline.adapter, "finish", lambda: None)()


def describe(adapter, case):
    """Return the `Shape` of a case for an adapter."""
    return Shape(
        *case.X.shape,
        case.n_classes,
        null_objective(case.y, formulation=case.formulation, fit_intercept=case.fit_intercept),
        adapter.version(),
        adapter.lanes(case),
        adapter.references(case),
    )


def answer(adapter, case, request, tell):
    """Fit and judge; say "begun" and "ended" around the fits, which alone have a limit."""
    adapter.prepare(case, request[0])
    tell("begun")
    try:
        fitted = timed_fits(adapter, case, *request)
    except Exception as error:  # a library that fails is a result like any other
        fitted = error
    tell("ended")
    if isinstance(fitted, Exception):
        return Outcome("error", warnings=f"{type(fitted).__name__}: {fitted}"[:200])
    return judged(adapter, case, *fitted)


def timed_fits(adapter, case, lane, tol, max_fits, budget, warm_up):
    """Time whole fits of fresh estimators; return the last one, the seconds, the warnings."""
    seconds = []
    with _thread_limit(lane.threads), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if warm_up:
            adapter.estimator(case, lane, tol).fit(case.X, case.y)
        while not seconds or (len(seconds) < max_fits and sum(seconds) < budget):
            estimator = adapter.estimator(case, lane, tol)
            caught.clear()
            start = time.perf_counter()
            estimator.fit(case.X, case.y)
            elapsed = time.perf_counter() - start
            seconds.append(getattr(estimator, "seconds_", elapsed))
    return estimator, seconds, caught


def judged(adapter, case, estimator, seconds, caught):
    """Recompute F and gather what the fit says of itself."""
    coef, intercept = canonical(*adapter.coefficients(estimator), case.n_classes)
    if not case.fit_intercept and intercept.any():
        return Outcome("error", warnings="it has an intercept, which the problem has not")
    value = objective(
        case.X,
        case.y,
        coef,
        intercept,
        C=case.C,
        l1_ratio=case.l1_ratio,
        formulation=case.formulation,
    )
    kinds = Counter(warning.category.__name__ for warning in caught)
    text = ", ".join(f"{kind} x{count}" for kind, count in sorted(kinds.items()))
    support = int(np.count_nonzero(coef))
    return Outcome("fitted", seconds, value, adapter.details(estimator), text, support)


def _thread_limit(threads):
    """Limit BLAS and OpenMP, or leave them alone."""
    if threads is None:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=threads)
