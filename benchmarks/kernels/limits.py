"""What one core can do at most: numbers read from memory, and multiply-adds.

* **Bandwidth**: the sum of a large float64 array, which is read once and in order.
* **Multiply-adds**: the larger of two rates, so that no limit is claimed that either beats.
  One is of a chain of multiply-adds for each of some numbers in the first cache: each is loaded
  once, and stays in its register for the length of the chain; chains are independent, so the
  processor works on many at once. The other is that of BLAS (`numpy.dot` of square matrices),
  which may use wider registers than the compiler chooses. A multiply-add is two operations.

The best of several tries counts, since nothing makes a machine faster than it is.
"""

from dataclasses import dataclass
from time import perf_counter

import numba
import numpy as np

__all__ = ["DTYPES", "Limits", "bound", "measure"]

DTYPES = ("float64", "float32")
CHAIN = 16  # multiply-adds on a number while it is in a register
IN_CACHE = 1024  # numbers
TRIES = 7


@dataclass(frozen=True)
class Limits:
    """The machine's limits, for one core.

    Attributes
    ----------
    bandwidth : float
        Bytes a second.
    chains, products : dict of float
        Operations a second in float64 and float32, of multiply-adds in registers and of BLAS.
    """

    bandwidth: float
    chains: dict
    products: dict

    def peak(self, dtype):
        """Operations a second, the larger of the two."""
        return max(self.chains[dtype], self.products[dtype])

    def seconds(self, operations, n_bytes, dtype):
        """The time that arithmetic and memory allow, if each hides behind the other."""
        return max(operations / self.peak(dtype), n_bytes / self.bandwidth)


def bound(limits, operations, n_bytes, dtype):
    """Which of the two it is: "memory" or "arithmetic"."""
    by_memory = n_bytes / limits.bandwidth > operations / limits.peak(dtype)
    return "memory" if by_memory else "arithmetic"


def measure(quick=False):
    """Measure the limits of the core that this runs on; BLAS should have one thread."""
    numbers = np.ones(2**17 if quick else 2**25)
    _sum(numbers)
    bandwidth = numbers.nbytes / _least(lambda: _sum(numbers))
    return Limits(
        bandwidth,
        {dtype: _rate_of_chains(dtype, quick) for dtype in DTYPES},
        {dtype: _rate_of_products(dtype, quick) for dtype in DTYPES},
    )


def _rate_of_chains(dtype, quick):
    x, times = np.ones(IN_CACHE, dtype), 100 if quick else 100_000
    factor, term = x.dtype.type(0.5), x.dtype.type(1.0)  # towards 2: nothing under- or overflows
    _multiply_add(x, factor, term, 1)
    seconds = _least(lambda: _multiply_add(x, factor, term, times))
    return 2.0 * CHAIN * IN_CACHE * times / seconds


def _rate_of_products(dtype, quick):
    n = 64 if quick else 1024
    A, C = np.ones((n, n), dtype), np.empty((n, n), dtype)
    return 2.0 * n**3 / _least(lambda: np.dot(A, A, out=C))


def _least(function):
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        function()
        seconds.append(perf_counter() - start)
    return min(seconds)


@numba.njit(fastmath={"reassoc", "nsz"})
def _sum(x):
    total = 0.0
    for i in range(x.size):
        total += x[i]
    return total


@numba.njit(fastmath={"contract"})  # contract: a product and a sum become one operation
def _multiply_add(x, factor, term, times):
    for _ in range(times):
        for i in range(x.size):
            value = x[i]
            for _ in range(CHAIN):
                value = value * factor + term
            x[i] = value
