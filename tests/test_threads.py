"""Threads: BLAS at one thread for as long as any fit runs, and work in order over a pool."""

import multiprocessing
import os
import threading
import warnings

import numba
import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import OpenBLASController, threadpool_info, threadpool_limits

from sk_softmax._threads import Workers, _blas_limit, _BlasLimit, one_blas_thread, thread_count

SEVERAL = 2  # threads that BLAS has before a fit


def blas_threads():
    """Threads of each BLAS library that is loaded."""
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def in_nobody_s_control():
    """threadpoolctl >= 3.8 lets only the first thread that sets a limit set others."""
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


@pytest.fixture
def blas():
    """`blas_threads`, each of which is `SEVERAL` to begin with."""
    in_nobody_s_control()
    limits = threadpool_limits(SEVERAL, user_api="blas")
    in_nobody_s_control()
    if not has_several(blas_threads):
        pytest.skip("BLAS runs with one thread here whatever it is told")
    yield blas_threads
    in_nobody_s_control()
    limits.restore_original_limits()
    in_nobody_s_control()


def has_one(blas):
    return set(blas()) == {1}


def has_several(blas):
    return set(blas()) == {SEVERAL}


# ---- BLAS -----------------------------------------------------------------------------------


def test_blas_has_one_thread_inside_and_its_own_again_outside(blas):
    with one_blas_thread():
        assert has_one(blas)
    assert has_several(blas)


def test_nested_blocks_share_one_limit(blas):
    with one_blas_thread():
        with one_blas_thread():
            assert has_one(blas)
        assert has_one(blas)
    assert has_several(blas)


def test_an_exception_gives_blas_its_threads_back(blas):
    with pytest.raises(ZeroDivisionError), one_blas_thread(), one_blas_thread():
        _ = 1 / 0
    assert has_several(blas)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_last_of_several_fits_at_once_lifts_the_limit(blas, order):
    """Fits in threads that begin in order, end in any, and live on: the threads of a pool."""
    seen = []
    began, go, ended = ([threading.Event() for _ in order] for _ in range(3))
    finish = threading.Event()

    def fit(i):
        with one_blas_thread():
            seen.append(has_one(blas))
            began[i].set()
            go[i].wait(timeout=30)
            seen.append(has_one(blas))
        ended[i].set()
        finish.wait(timeout=30)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(len(order))]
    try:
        for thread, event in zip(threads, began, strict=True):
            thread.start()
            assert event.wait(timeout=30)
        for i in order:
            assert has_one(blas)
            go[i].set()
            assert ended[i].wait(timeout=30)
        assert has_several(blas)
    finally:
        for event in (*go, finish):
            event.set()
        for thread in threads:
            thread.join(timeout=30)
    assert seen == [True] * 2 * len(order)


def test_a_fit_in_one_thread_leaves_no_other_without_its_limit(blas):
    """One after the other: here, there, and here again."""
    seen = []

    def fit():
        with one_blas_thread():
            seen.append(has_one(blas))
        seen.append(has_several(blas))

    fit()
    thread = threading.Thread(target=fit)
    thread.start()
    thread.join(timeout=30)
    fit()
    assert seen == [True] * 6


def test_a_later_fit_limits_anew(blas):
    for _ in range(3):
        with one_blas_thread():
            assert has_one(blas)
        assert has_several(blas)


def test_a_limit_that_others_set_in_between_is_kept(blas):
    """What was there before a block is what comes back, not what was there at import."""
    with one_blas_thread():
        pass
    with threadpool_limits(1, user_api="blas"):
        with one_blas_thread():
            assert has_one(blas)
        assert has_one(blas)
    assert has_several(blas)


def test_a_forgotten_limit_is_lifted(blas):
    limit = _BlasLimit()
    limit.enter()
    limit.enter()
    assert has_one(blas)
    limit.forget()
    assert has_several(blas)
    own = limit.enter()  # counted from nothing again
    assert has_one(blas)
    limit.leave(own)
    assert has_several(blas)
    limit.forget()
    assert has_several(blas)


def in_child(function):
    """Whether ``function()`` is true in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if function() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# a child that only looks at its threads is safe
ignore_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@needs_fork
@ignore_fork
def test_a_child_forked_during_a_fit_has_its_blas_threads(blas):
    def child():
        before = has_several(blas)
        with one_blas_thread():
            limited = has_one(blas)
        return before and limited and has_several(blas)

    with one_blas_thread():
        assert in_child(child)
        assert has_one(blas)
    assert has_several(blas)


@needs_fork
@ignore_fork
def test_a_child_forked_while_another_thread_holds_the_lock_can_fit(blas):
    with _blas_limit._lock:
        assert in_child(lambda: _blas_limit._lock.acquire(timeout=10))


# ---- workers --------------------------------------------------------------------------------


def pool_threads():
    return [t for t in threading.enumerate() if t.name.startswith("sk_softmax")]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("worth", [True, False])
def test_results_come_in_the_order_of_the_parts(n_threads, worth):
    first = threading.Event()

    def square(part):
        if part == 0 and n_threads > 1 and worth:
            first.wait(timeout=30)  # the first part is done last
        if part == 1:
            first.set()
        return part**2

    with Workers(n_threads) as workers:
        assert workers.map(square, range(40), worth) == [part**2 for part in range(40)]
        assert workers.map(square, iter([7, 3]), worth) == [49, 9]
        assert workers.map(square, [], worth) == []


def name_of_thread(_):
    return threading.current_thread().name


def test_the_pool_starts_when_it_is_first_worth_it():
    here = threading.current_thread().name
    with Workers(2) as workers:
        assert set(workers.map(name_of_thread, range(4), worth=False)) == {here}
        assert workers.map(name_of_thread, range(1), worth=True) == [here]
        assert not pool_threads()
        there = workers.map(name_of_thread, range(4), worth=True)
        assert all(name.startswith("sk_softmax") for name in there)
        assert len(pool_threads()) <= 2
    assert not pool_threads()


def test_one_thread_is_the_caller_s():
    with Workers(1) as workers:
        names = workers.map(name_of_thread, range(4), worth=True)
    assert set(names) == {threading.current_thread().name}


def test_several_threads_work_at_once():
    both = threading.Barrier(2)
    with Workers(2) as workers:
        turns = workers.map(lambda _: both.wait(timeout=30), range(2), worth=True)
    assert sorted(turns) == [0, 1]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_exception_in_a_part_reaches_the_caller(n_threads):
    def fail(part):
        raise KeyError(part)

    with pytest.raises(KeyError), Workers(n_threads) as workers:
        workers.map(fail, range(4), worth=True)
    assert not pool_threads()


# ---- how many -------------------------------------------------------------------------------


@pytest.fixture
def _eight_processors(monkeypatch):
    monkeypatch.setattr("sk_softmax._threads.cpu_count", lambda: 8)


@pytest.mark.usefixtures("_eight_processors")
@pytest.mark.parametrize(("n_jobs", "n_threads"), [(1, 1), (3, 3), (-1, 8), (-2, 7), (-100, 1)])
def test_thread_count_is_joblib_s(n_jobs, n_threads):
    count = thread_count(n_jobs)
    assert type(count) is int
    assert count == n_threads


def test_no_threads_at_all_are_an_error():
    with pytest.raises(ValueError, match="n_jobs"):
        thread_count(0)


@pytest.mark.parametrize("allowed", [1, numba.config.NUMBA_NUM_THREADS])
def test_none_is_what_numba_is_allowed(allowed):
    before = numba.get_num_threads()
    numba.set_num_threads(allowed)
    try:
        assert thread_count(None) == allowed
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_none_is_one_thread_beside_joblib_s_others(backend, monkeypatch):
    """Processes of loky are limited by joblib; these backends limit nothing."""
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with parallel_config(backend=backend):
        counts = Parallel(n_jobs=2)(delayed(thread_count)(None) for _ in range(4))
    assert counts == [1] * 4
    assert thread_count(None) == numba.get_num_threads()


def threads_in_a_daemon(send):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        send.send(thread_count(2))


def test_threads_in_a_daemon_are_not_joblib_s_processes():
    receive, send = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=threads_in_a_daemon, args=(send,), daemon=True)
    child.start()
    child.join(60)
    assert receive.poll()
    assert receive.recv() == 2


def test_numpy_has_a_blas_that_is_found():
    """Otherwise the tests above would see nothing."""
    assert np.ones((2, 2)) @ np.ones(2) is not None
    assert blas_threads()
