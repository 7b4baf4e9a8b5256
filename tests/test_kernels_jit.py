"""The decorator that every kernel uses, and what it makes of the kernels."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from kernel_cases import kernels, needs_jit

from sk_softmax import _kernels
from sk_softmax._kernels import jit

over_kernels = pytest.mark.parametrize("name", kernels())


@needs_jit
def test_there_are_kernels_in_every_module_but_three():
    """The decorator's, that of the numbers for positions, and that of an instruction for others."""
    modules = {module.name for module in pkgutil.iter_modules(_kernels.__path__)}
    assert {name.partition(".")[0] for name in kernels()} == modules - {"jit", "turn", "unsigned"}


@over_kernels
def test_kernels_release_the_gil_and_never_assume_finite_numbers(name):
    options = kernels()[name].targetoptions
    assert options["nogil"]
    assert not options["fastmath"] & {"fast", "nnan", "ninf"}


@needs_jit
@pytest.mark.parametrize(
    "name",
    [
        "pointwise.exp_nonpositive",
        "pointwise.log1p_unit",
        "pointwise.log_from_one",
        "pointwise.softmax_residual",
        "pointwise.sigmoid_residual",
        "pointwise._one_sigmoid_residual",
        "columns.softmax_columns",
        "columns.sigmoid_columns",
    ],
)
def test_code_that_relies_on_rounding_is_not_reordered(name):
    assert not kernels()[name].targetoptions["fastmath"] & {"reassoc", "arcp"}


# ---- what fits compile ----------------------------------------------------------------------

# Small problems in one call; with no room for that or for Hessians also what the others take.
FITS = """
import json, sys
import numpy as np
from kernel_cases import kernels
from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._preconditioner import rows as preconditioner_rows
from sk_softmax._solvers import in_cache, l1_in_cache

rng = np.random.default_rng(0)
y = np.arange(90) % 3
X = rng.normal(size=(90, 5)) + y[:, None]
many = np.hstack([X, rng.normal(size=(90, 20))])
for Classifier in (SoftmaxClassifier, OvAClassifier):
    for labels in (y, y > 0):
        Classifier().fit(X, labels).predict_proba(X)
        Classifier(C=0.1, l1_ratio=0.5).fit(X, labels)
in_cache.WORK = l1_in_cache.ENTRIES = 0
for room in (preconditioner_make.LARGEST_HESSIAN, 0):
    preconditioner_make.LARGEST_HESSIAN = preconditioner_rows.NARROW = room
    for Classifier in (SoftmaxClassifier, OvAClassifier):
        for solver in ("lbfgs", "newton"):
            Classifier(solver=solver).fit(X, y)
            Classifier(solver=solver).fit(np.asfortranarray(X), y)
            Classifier(solver=solver).fit(many, y > 0)
        Classifier(C=0.1, l1_ratio=0.5).fit(X, y)
json.dump({name: [str(s) for s in k.signatures] for name, k in kernels().items()}, sys.stdout)
"""
DENSE = "cholesky", "columns", "dense", "hessian", "l1_model", "l1_newton", "newton", "tiles"
# For classes of wide X and for separation; for sparse X; for predictions of many rows.
UNCALLED = {"hessian.dense_gram", "columns.class_products", "dense.dense_probabilities"}


@pytest.mark.recompiles
@needs_jit
def test_fits_of_dense_data_compile_each_kernel_once(tmp_path):
    """For one signature, whoever calls it: each more is time at the first fit.

    An integer that is written as such is a type of its own to Numba, and so are arrays that may
    be written to beside those that may not.
    """
    folders = Path(__file__).parent, Path(_kernels.__file__).parents[2]
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),  # what comes from a cache does not list what it calls
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
    }
    done = subprocess.run(
        [sys.executable, "-c", FITS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    signatures = json.loads(done.stdout)
    several = {name: types for name, types in signatures.items() if len(types) > 1}
    assert not several
    called = {name for name, types in signatures.items() if types}
    assert called >= {name for name in signatures if name.split(".")[0] in DENSE} - UNCALLED


# ---- caches ---------------------------------------------------------------------------------

CALLER = """
from called import called
from jit import jit


@jit
def caller(x):
    return called(x) + 1.0


print(caller(2.0), sum(caller.stats.cache_hits.values()))
"""
CALLED = """
from jit import jit


@jit
def called(x):
    return {factor} * x
"""


@needs_jit
def test_compiled_code_is_read_from_disk_until_any_kernel_changes(tmp_path):
    """Also one that is called, in a file of the same size and time as before."""
    (tmp_path / "jit.py").write_text(Path(jit.__file__).read_text())
    (tmp_path / "caller.py").write_text(CALLER)
    called = tmp_path / "called.py"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(factor):
        called.write_text(CALLED.format(factor=factor))
        os.utime(called, (1e9, 1e9))
        command = sys.executable, "-B", "caller.py"
        return subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).split()

    assert run(3.0) == ["7.0", "0"]
    assert run(3.0) == ["7.0", "1"]
    assert run(5.0) == ["11.0", "0"]


class BrokenCache:
    """A cache on a disk that fails, or with a fault of its own."""

    def __init__(self, error):
        self.error = error

    def load_overload(self, *_):
        raise self.error

    save_overload = load_overload


@pytest.mark.parametrize("method", ["load_overload", "save_overload"])
@pytest.mark.parametrize("error", [OSError("disk full"), PermissionError("read-only")])
def test_a_cache_that_breaks_counts_as_empty(error, method):
    kernel = SimpleNamespace(_cache=BrokenCache(error))
    jit._tolerate_cache_errors(kernel)
    assert getattr(kernel._cache, method)("signature", "data") is None


def test_other_faults_of_a_cache_are_not_hidden():
    kernel = SimpleNamespace(_cache=BrokenCache(KeyError("fault")))
    jit._tolerate_cache_errors(kernel)
    with pytest.raises(KeyError, match="fault"):
        kernel._cache.load_overload("signature", "data")


def test_a_kernel_without_a_folder_for_its_cache_still_runs(monkeypatch):
    njit = numba.njit

    def nowhere_to_write(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    with monkeypatch.context() as patch:
        patch.setattr(numba, "njit", nowhere_to_write)
        kernel = jit.jit(double)
    assert kernel(2.0) == 4.0


def double(x):
    return 2 * x
