"""Rows cut into chunks for threads, and into blocks for the cache.

Chunks depend on the shape of the problem alone and their sums are added in order, so the number of
threads changes no bit.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from .._kernels.tiles import LANES
from .._threads import Workers
from .._typing import Array

CHUNKS = 16  # at most: each needs a gradient of its own
CHUNK_WORK = 2**21  # multiplications in one, at least
ENTRY_WORK = 64  # multiplications that are worth an entry more of a result: new memory is slow
BUFFER_BYTES = 2**25  # for all chunks' gradients
WORTH = 2**23  # multiplications from which threads pay
ROW_WORK = 16  # multiplications that take the time of what else a row needs for an output
CACHED = 2**15  # entries of a block of rows that stay in the cache
FEWEST_ROWS, MOST_ROWS = 128, 512  # in it


def worth_threads(work: int) -> bool:
    """Whether so many multiplications are worth several threads."""
    return work >= WORTH


def blocks_of(rows: Array | slice, size: int) -> Iterator[Any]:
    """A range of rows, or their numbers, cut into pieces of at most ``size``."""
    if isinstance(rows, slice):
        for start in range(rows.start, rows.stop, size):
            yield slice(start, min(start + size, rows.stop))
    else:
        for start in range(0, rows.size, size):
            yield rows[start : start + size]


def chunks_for(work: int, entries: int = 0) -> int:
    """How many parts so many multiplications are worth, with ``entries`` in each part's result."""
    entries = max(1, entries)
    by_memory = min(BUFFER_BYTES // (8 * entries), work // max(1, ENTRY_WORK * entries))
    return max(1, min(CHUNKS, work // CHUNK_WORK, by_memory))


def cut(
    workers: Workers,
    part: Callable[[slice], tuple[Array, ...]],
    n: int,
    work: int,
    entries: int = 0,
) -> tuple[Array, ...]:
    """Sums of what ``part`` returns for equal ranges of n rows, in their order.

    The ranges depend on the shape of the problem alone, so the number of threads changes no bit.

    Parameters
    ----------
    workers : Workers
    part : callable
        From a range of rows to a tuple of arrays.
    n : int
    work : int
        Multiplications, in all parts together.
    entries : int, default=0
        Of each part's result.
    """
    count = min(chunks_for(work, entries), max(1, n))
    if count == 1:
        return part(slice(0, n))
    ends = [n * c // count for c in range(count + 1)]
    ranges = [slice(lo, hi) for lo, hi in pairwise(ends)]
    parts = workers.map(part, ranges, worth_threads(work))
    total = parts[0]
    for other in parts[1:]:
        for into, array in zip(total, other, strict=True):
            into += array
    return total


def balanced_chunks(indptr: Array, count: int) -> list[slice]:
    """Rows of a CSR matrix cut into ranges of about equal numbers of entries."""
    wanted = np.linspace(0, indptr[-1], count + 1)[1:-1]
    inner = np.searchsorted(indptr, wanted, side="left")
    cuts = [0, *inner.tolist(), indptr.size - 1]
    return [slice(lo, hi) for lo, hi in pairwise(cuts)]


def read_only(array: Array) -> Array:
    """A view as kernels take it: they have one signature for all that users may pass."""
    view = array.view()
    view.flags.writeable = False
    return view


def block_rows(q: int, n: int) -> int:
    """Rows of q features that stay in the cache: whole vector registers, n of them in all.

    Not a multiple of many registers: one place of the cache would be taken by all features.
    """
    most = max(FEWEST_ROWS, min(MOST_ROWS, CACHED // max(1, q)))
    rows = -(-n // -(-n // most)) if n else 1
    rows += -rows % LANES
    return rows if rows % (8 * LANES) else rows + LANES
