"""What fresh processes do: a first fit, timed, or a fit whose memory is watched; JSON on stdout.

    python -m benchmarks.kernels.child fit KIND N P K DTYPE
    python -m benchmarks.kernels.child memory CLASSIFIER N P K DTYPE

Nothing is imported before its time is taken.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

SEED = 0
DENSITY = 0.01  # of sparse rows
WARM_UP_ROWS = 2_000
BLOCK = 4_096  # rows drawn at a time, so that drawing leaves no peak of memory behind


def main(argv):
    """Do what the command line says; print what came of it."""
    task, kind, *sizes, dtype = argv
    n, p, K = map(int, sizes)
    result = {"fit": first_fit, "memory": memory}[task](kind, n, p, K, dtype)
    print(json.dumps(result))


def first_fit(kind, n, p, K, dtype):
    """Seconds of importing the package, of importing Numba, of the first fit and of a second."""
    start = perf_counter()
    from sk_softmax import SoftmaxClassifier

    package = perf_counter() - start
    X, y = {"dense": rows, "sparse": sparse_rows}[kind](n, p, K, dtype)
    start = perf_counter()
    import numba  # noqa: F401  (the fit would import it)

    of_numba = perf_counter() - start
    seconds = []
    for _ in range(2):
        start = perf_counter()
        SoftmaxClassifier().fit(X, y)
        seconds.append(perf_counter() - start)
    return {"package": package, "numba": of_numba, "first": seconds[0], "second": seconds[1]}


def memory(classifier, n, p, K, dtype):
    """Bytes: of X, of the coefficients, and of the fit's peak beyond what was there before it."""
    import sk_softmax

    estimator = getattr(sk_softmax, classifier)
    X, y = rows(n, p, K, dtype)
    estimator().fit(X[:WARM_UP_ROWS], y[:WARM_UP_ROWS])  # imports, and kernels from the cache
    before = resident("VmRSS")
    fitted = estimator().fit(X, y)
    coef = fitted.coef_.nbytes + fitted.intercept_.nbytes
    return {"X": X.nbytes, "coef": coef, "beyond": resident("VmHWM") - before}


def rows(n, p, K, dtype):
    """Normal rows (n, p), and classes from a softmax model; the first K rows have one each."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    X, y = np.empty((n, p), dtype), np.empty(n, dtype=np.int64)
    W = rng.standard_normal((p, K)) / np.sqrt(p)
    for start in range(0, n, BLOCK):
        block = X[start : start + BLOCK]
        rng.standard_normal(out=block, dtype=dtype)
        y[start : start + BLOCK] = (block @ W + rng.gumbel(size=(len(block), K))).argmax(axis=1)
    y[:K] = np.arange(K)
    return X, y


def sparse_rows(n, p, K, dtype):
    """CSR rows (n, p) with a share `DENSITY` of entries, and classes in turn."""
    import numpy as np
    from scipy import sparse

    X = sparse.random(n, p, DENSITY, format="csr", dtype=dtype, random_state=SEED)
    return X, np.arange(n) % K


def resident(field):
    """Resident bytes of this process: now ("VmRSS") or at most so far ("VmHWM").

    Linux keeps them by program.  ``getrusage`` is the way elsewhere; on Linux what it says of a
    child may be its parent's.  It knows the peak alone, so there both fields are the peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
