"""Functions timed in turns, so that all of them feel the same machine."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter

__all__ = ["Settings", "in_turns"]

MOST_CALLS = 10_000  # in a burst


@dataclass(frozen=True)
class Settings:
    """How long to measure, and how small.

    Attributes
    ----------
    least, most : int
        Turns.
    budget : float
        Seconds after which no more turns than ``least`` are taken.
    burst : float
        Seconds of back-to-back calls in a turn; at least one call.
    long_sweep : float
        Seconds from which a sweep is timed on two threads too.
    processes : int
        Fresh processes for each time of a first fit.
    quick : bool
        Tiny shapes: a smoke test.
    """

    least: int = 5
    most: int = 50
    budget: float = 3.0
    burst: float = 0.02
    long_sweep: float = 0.05
    processes: int = 3
    quick: bool = False


THOROUGH = Settings()
QUICK = Settings(2, 2, 0.0, 0.001, 0.0, 1, True)


def in_turns(functions, settings):
    """Call functions in turns.

    Parameters
    ----------
    functions : sequence of callable
        Of no arguments. Each is called twice before its time counts, and may compile then.
    settings : Settings

    Returns
    -------
    list of float
        The median of the turns, seconds a call, by function.
    """
    counts = [_calls(function, settings.burst) for function in functions]
    seconds = [[] for _ in functions]
    start = perf_counter()
    for turn in range(settings.most):
        if turn >= settings.least and perf_counter() - start > settings.budget:
            break
        for function, count, taken in zip(functions, counts, seconds, strict=True):
            begin = perf_counter()
            for _ in range(count):
                function()
            taken.append((perf_counter() - begin) / count)
    return [median(taken) for taken in seconds]


def _calls(function, burst):
    """How many calls a burst has."""
    function()
    start = perf_counter()
    function()
    took = max(perf_counter() - start, 1e-9)
    return max(1, min(MOST_CALLS, int(burst / took)))
