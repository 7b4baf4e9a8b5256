"""The one decorator that every kernel uses.

``cache``      compiled code is kept on disk; a cache that cannot be written is done without.
               It is that of the kernels as they are now: a change in any of them, by hand or by an
               upgrade, makes all code on disk stale.
``nogil``      several threads may run kernels at once, each on its own rows.
``error_model``  a division by 0 is inf or nan, as in NumPy; a test for it would stop the
               vectoriser.
``fastmath``   ``nnan`` and ``ninf`` are never set: nan and inf must travel to where they are seen.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

# Sums may be reordered, so that dot products use vector registers.
REORDER = frozenset({"contract", "nsz", "arcp", "reassoc"})
# Order kept: for code that relies on how each operation rounds.
IN_ORDER = frozenset({"contract", "nsz"})


def jit(
    function: Callable[..., Any] | None = None, *, in_order: bool = False, inlined: bool = False
) -> Any:
    """Compile ``function`` on its first call.

    Parameters
    ----------
    function : callable
        A module-level function of arrays and scalars (closures defeat the disk cache).
    in_order : bool, default=False
        Whether floating-point operations must keep the order in which they are written.
    inlined : bool, default=False
        Whether callers always get a copy.  Else a process that compiles a caller may run another
        one than a process that loads it from disk, and sums in loops round otherwise there.

    Returns
    -------
    kernel : callable
        The compiled function; the Python one is its ``py_func``.
    """
    if function is None:
        return lambda function: jit(function, in_order=in_order, inlined=inlined)
    fastmath = set(IN_ORDER if in_order else REORDER)
    options = {
        "nogil": True,
        "fastmath": fastmath,
        "error_model": "numpy",
        "forceinline": inlined,
    }
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write to
        return numba.njit(**options)(function)
    _depend_on_all_kernels(kernel)
    _tolerate_cache_errors(kernel)
    return kernel


def _depend_on_all_kernels(kernel: Any) -> None:
    """Let a cache be fresh only while no kernel has changed.

    Numba looks at the time and size of the file with the function.  It misses changes of what the
    function calls, and wheels give all versions of a file the same time.
    """
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if file is not None and hasattr(file, "_source_stamp"):
        file._source_stamp = (file._source_stamp, _digest())


@cache
def _digest() -> str:
    """Of all kernels' sources."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _tolerate_cache_errors(kernel: Any) -> None:
    """Let a cache that breaks later (full disk, lost permission) cost time, not the fit."""
    cache = getattr(kernel, "_cache", None)  # absent when the JIT is disabled
    for name in ("load_overload", "save_overload"):
        method = getattr(cache, name, None)
        if method is not None:
            setattr(cache, name, _without_os_error(method))


def _without_os_error(method: Callable[..., Any]) -> Callable[..., Any]:
    def tolerant(*args: Any) -> Any:
        try:
            return method(*args)
        except OSError:
            return None

    return tolerant
