"""Threads: how many, how work is spread over them, and BLAS kept out of their way.

BLAS threads that spin beside ours make a pass over the data many times slower, so BLAS runs with
one thread for the length of a fit and is restored after the last of several fits at once.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any, TypeVar

from joblib import cpu_count
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

T = TypeVar("T")


def thread_count(n_jobs: int | None) -> int:
    """Threads that ``n_jobs`` stands for.

    Parameters
    ----------
    n_jobs : int or None
        ``None``: what ``numba.get_num_threads()`` allows (joblib's processes and the environment
        variable ``NUMBA_NUM_THREADS`` limit it); 1 beside joblib's other threads.  Otherwise as
        joblib understands it: -1 is all processors, -2 all but one.

    Returns
    -------
    n_threads : int
        At least 1.

    Raises
    ------
    ValueError
        If ``n_jobs`` is 0.
    """
    if n_jobs is None:
        from numba import get_num_threads

        return 1 if _beside_others() else int(get_num_threads())
    if n_jobs == 0:
        raise ValueError("n_jobs == 0 has no meaning: it is a number of threads, or -1 for all.")
    return n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)


def _beside_others() -> bool:
    """Whether joblib runs several of us without a limit to each one's threads; loky has one."""
    nested = get_active_backend()[0].nesting_level
    return bool(nested) and "NUMBA_NUM_THREADS" not in os.environ


class Workers:
    """A pool of threads for one fit, started when it is first needed.

    Parameters
    ----------
    n_threads : int
        With 1, work runs in the caller's thread.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[Any], T], parts: Iterable[Any], worth: bool) -> list[T]:
        """Results of ``function`` for each part, in the order of the parts.

        ``worth`` says whether the work is worth the pool's cost (some 100 microseconds).
        """
        parts = list(parts)
        if self.n_threads == 1 or len(parts) == 1 or not worth:
            return [function(part) for part in parts]
        if self._pool is None:  # the caller's thread works too
            self._pool = ThreadPoolExecutor(self.n_threads - 1, thread_name_prefix="sk_softmax")
        results: list[Any] = [None] * len(parts)
        numbers = count()

        def work() -> None:
            while (number := next(numbers)) < len(parts):
                results[number] = function(parts[number])

        others = [self._pool.submit(work) for _ in range(min(self.n_threads, len(parts)) - 1)]
        try:
            work()
        finally:
            wait(others)
        for other in others:
            other.result()
        return results

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()


class _BlasLimit:
    """One BLAS thread while at least one fit runs in this process.

    Most builds of BLAS have one number of threads for the process; those on OpenMP have one for
    each thread that calls them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fits = 0
        self._process: Saved = []

    def enter(self) -> "Saved":
        """Set the limit; what this thread must give to `leave`."""
        process_wide, by_thread = _blas_libraries()
        with self._lock:
            self._fits += 1
            if self._fits == 1:
                self._process = _set_to_one(process_wide)
            return _set_to_one(by_thread)

    def leave(self, own: "Saved") -> None:
        """Lift the limit of this thread, and after the last fit that of the process."""
        with self._lock:
            _restore(own)
            self._fits -= 1
            if self._fits == 0:
                _restore(self._process)

    def forget(self) -> None:
        """In a forked child no fit of the parent goes on: give BLAS its threads back."""
        limited, saved = self._fits > 0, self._process
        self.__init__()  # type: ignore[misc]
        if limited:
            _restore(saved)


Saved = list[tuple[Any, int]]  # libraries and their numbers of threads


def _set_to_one(libraries: list[Any]) -> Saved:
    saved = [(library, library.num_threads) for library in libraries]
    _restore([(library, 1) for library in libraries])
    return saved


def _restore(saved: Saved) -> None:
    for library, n_threads in saved:
        # From version 3.8 threadpoolctl lets only one thread at a time control OpenBLAS, until
        # told otherwise; here our own lock sees to that.
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)
        library.set_num_threads(n_threads)
        if release is not None:
            release(force=True)


@cache
def _blas_libraries() -> tuple[list[Any], list[Any]]:
    """The loaded BLAS libraries with a limit for the process, and with one for each thread.

    Looking for them takes milliseconds, so it is done once.
    """
    import scipy.linalg  # noqa: F401  (so that SciPy's own BLAS is loaded and found)

    found = [lib for lib in ThreadpoolController().lib_controllers if lib.user_api == "blas"]
    by_thread = [lib for lib in found if getattr(lib, "threading_layer", "") == "openmp"]
    return [lib for lib in found if lib not in by_thread], by_thread


_blas_limit = _BlasLimit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas_limit.forget)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS at one thread inside the block; fits in several threads share one limit."""
    own = _blas_limit.enter()
    try:
        yield
    finally:
        _blas_limit.leave(own)
