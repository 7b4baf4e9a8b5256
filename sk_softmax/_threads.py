"""Threads: how many, how work is spread over them, and BLAS kept out of their way.

BLAS threads that spin beside ours make a pass over the data many times slower, so BLAS runs with
one thread for the length of a fit and is restored after the last of several fits at once.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

T = TypeVar("T")


def thread_count(n_jobs: int | None) -> int:
    """Threads that ``n_jobs`` stands for.

    Parameters
    ----------
    n_jobs : int or None
        ``None``: what ``numba.get_num_threads()`` allows (joblib's workers and the environment
        variable ``NUMBA_NUM_THREADS`` limit it).  Otherwise as joblib understands it: -1 is all
        processors, -2 all but one.

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

        return int(get_num_threads())
    return int(effective_n_jobs(n_jobs))


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
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="sk_softmax")
        return list(self._pool.map(function, parts))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()


class _BlasLimit:
    """One BLAS thread while at least one fit runs in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fits = 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            self._fits += 1
            if self._fits == 1:
                self._limiter = _controller().limit(limits=1, user_api="blas")

    def leave(self) -> None:
        with self._lock:
            self._fits -= 1
            if self._fits == 0:
                self._limiter.restore_original_limits()
                self._limiter = None

    def forget(self) -> None:
        """In a forked child no fit of the parent goes on: give BLAS its threads back."""
        limiter = self._limiter
        self.__init__()  # type: ignore[misc]
        if limiter is not None:
            limiter.restore_original_limits()


@cache
def _controller() -> ThreadpoolController:
    """Looking for the loaded BLAS libraries takes milliseconds: done once."""
    import scipy.linalg  # noqa: F401  (so that SciPy's own BLAS is loaded and found)

    return ThreadpoolController()


_blas_limit = _BlasLimit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas_limit.forget)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS at one thread inside the block; fits in several threads share one limit."""
    _blas_limit.enter()
    try:
        yield
    finally:
        _blas_limit.leave()
