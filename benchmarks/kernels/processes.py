"""Fresh processes: the first fit with an empty cache of the JIT and with a full one, and memory.

Each scenario has a cache of its own.  The first process finds it empty; those after it find what
the first has compiled.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

__all__ = ["FirstFit", "Memory", "measure_first_fits", "measure_memory"]

ROOT = Path(__file__).resolve().parents[2]
# kind, rows, features, classes, dtype: the ways through the solvers that users meet first
FIRST_FITS = (
    ("dense", 150, 4, 3, "float64"),
    ("dense", 20_000, 20, 5, "float64"),
    ("dense", 20_000, 20, 5, "float32"),
    ("sparse", 2_000, 5_000, 5, "float64"),
)
MEMORY = (
    ("SoftmaxClassifier", 500_000, 54, 7, "float64"),
    ("SoftmaxClassifier", 60_000, 784, 10, "float64"),
    ("SoftmaxClassifier", 500_000, 54, 7, "float32"),
    ("OvAClassifier", 500_000, 54, 7, "float64"),
)
QUICK_FIRST_FITS = (("dense", 60, 4, 3, "float64"),)
QUICK_MEMORY = (("SoftmaxClassifier", 3_000, 4, 3, "float64"),)


@dataclass(frozen=True)
class FirstFit:
    """Seconds, by part.

    Attributes
    ----------
    name, dtype : str
    package, numba : float
        Importing sk_softmax (with scikit-learn), and then Numba.
    cold, warm : float
        The first fit after the imports: the cache is empty, or full.
    second : float
        A second fit in the same process.
    """

    name: str
    dtype: str
    package: float
    numba: float
    cold: float
    warm: float
    second: float


@dataclass(frozen=True)
class Memory:
    """Bytes of X, of the coefficients, and of a fit's peak of resident memory beyond X."""

    name: str
    dtype: str
    X: int
    coef: int
    beyond: int


def measure_first_fits(scenario, n_processes):
    """First fits in fresh processes.

    Parameters
    ----------
    scenario : tuple
        A line of `FIRST_FITS`.
    n_processes : int
        With an empty cache, and as many with a full one; medians count.

    Returns
    -------
    FirstFit
    """
    kind, n, p, K, dtype = scenario
    cold, warm = [], []
    for _ in range(n_processes):
        with TemporaryDirectory() as cache:
            cold.append(_run(cache, "fit", scenario))
            warm.append(_run(cache, "fit", scenario))
    of_warm = {part: median(run[part] for run in warm) for part in warm[0]}
    return FirstFit(
        f"{kind}, {n} x {p}, K={K}",
        dtype,
        of_warm["package"],
        of_warm["numba"],
        median(run["first"] for run in cold),
        of_warm["first"],
        of_warm["second"],
    )


def measure_memory(scenario):
    """A fit's memory, its kernels from the cache; a `Memory`."""
    classifier, n, p, K, dtype = scenario
    with TemporaryDirectory() as cache:
        _run(cache, "memory", scenario)  # compiling takes memory too
        found = _run(cache, "memory", scenario)
    return Memory(f"{classifier}, {n} x {p}, K={K}", dtype, **found)


def _run(cache, task, scenario):
    """What a fresh process says, with a folder for its cache."""
    command = [sys.executable, "-m", "benchmarks.kernels.child", task, *map(str, scenario)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(ended.stdout)
