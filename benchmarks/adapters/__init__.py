"""One module a library, all with one small interface.

A module of this package is an adapter; to add a library, add its module name to `ADAPTERS`.
Each one has

``ROLE``
    "ours", "peer", or "reference" (never timed; only there to find the optimum).
``unavailable()``
    Empty, or one line that says why the library cannot be used: it is then skipped.
``version()``
    The library's version.
``lanes(case)``
    The ways to fit the case that are timed, as a list of `Lane`; likely fastest first.
``references(case)``
    Lanes run once at their last tolerance, to find the optimum.
``prepare(case, lane)``
    Import the library and start what the lane's first fit would start; never timed.
``estimator(case, lane, tol)``
    An object whose ``fit(X, y)`` is what is timed. A library that runs in a process of its own
    says how long it took, as ``seconds_``: the way there and back does not count.
``coefficients(estimator)``
    Its coef and intercept, in any shape that `benchmarks.objective.canonical` takes.
``details(estimator)``
    A dict with what the fit says of itself; ``n_iter`` at least.
``finish()``
    Optional: called before the adapter's process ends, unless that is killed.

Modules import their library inside these functions only, so that listing adapters is free.
"""

from dataclasses import dataclass, field
from importlib import import_module

__all__ = ["ADAPTERS", "Lane", "load"]

ADAPTERS = ("ours", "scikit_learn", "glmnet", "celer", "skglm", "adelie", "newton")


@dataclass(frozen=True)
class Lane:
    """One way to fit: a solver with its threads, and the tolerances to try, loosest first.

    Attributes
    ----------
    solver : str
    tols : tuple of float or None
        None is the library's default.
    n_jobs : int or None
        None is the library's default.
    threads : int or None
        Limit on BLAS and OpenMP threads; None leaves them alone.
    options : dict
        Whatever else the adapter wants back.
    """

    solver: str
    tols: tuple = (None,)
    n_jobs: int | None = None
    threads: int | None = None
    options: dict = field(default_factory=dict)


def load(name):
    """Return the adapter module of the given name."""
    if name not in ADAPTERS:
        raise ValueError(f"Unknown library {name!r}; choose from {list(ADAPTERS)}.")
    return import_module(f"{__name__}.{name}")
