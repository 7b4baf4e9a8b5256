"""Fits in other processes and threads, without the JIT, and without a place for its cache."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest
from kernel_cases import needs_jit
from scipy import sparse
from sklearn.model_selection import GridSearchCV
from test_ecosystem import run

import sk_softmax
from sk_softmax import OvAClassifier, SoftmaxClassifier, _threads

pytestmark = needs_jit  # without it fits that are worth threads take hours

PACKAGE = Path(sk_softmax.__file__).parent
TESTS = Path(__file__).parent
PATIENCE = 120  # seconds after which a child counts as hung
N_CLASSES = 6
STORAGES = ("dense", "sparse")
CASES = [(name, storage) for name in ("softmax", "ova") for storage in STORAGES]
CLASSIFIERS = {"softmax": SoftmaxClassifier, "ova": OvAClassifier}


def problem(storage):
    """X with sweeps that are worth threads, and y."""
    rng = np.random.default_rng(0)
    if storage == "dense":
        X = rng.normal(size=(30_000, 40))
        first = X[:, :N_CLASSES]
    else:
        X = sparse.random(40_000, 200, density=0.06, format="csr", random_state=0)
        first = 10.0 * X[:, :N_CLASSES].toarray()
    return X, (first + rng.normal(scale=3.0, size=first.shape)).argmax(axis=1)


def fit(case, n_jobs=2):
    """What a fit finds, to the last bit."""
    name, storage = case
    classifier = CLASSIFIERS[name](tol=1e-2, n_jobs=n_jobs).fit(*problem(storage))
    found = classifier.coef_, classifier.intercept_, np.asarray(classifier.objective_)
    return hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest()


@contextmanager
def counted_threads():
    """The numbers of threads, with the caller's, that fits in the block have."""
    started = [1]

    class CountedPool(ThreadPoolExecutor):
        def __init__(self, max_workers, **names):
            started.append(1 + max_workers)
            super().__init__(max_workers, **names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "ThreadPoolExecutor", CountedPool)
        yield started


@pytest.fixture(scope="module")
def here():
    """What fits find in this process, one for each of `CASES`."""
    return [fit(case) for case in CASES]


@pytest.mark.parametrize("case", CASES)
def test_these_fits_are_worth_threads(case):
    with counted_threads() as started:
        fit(case, n_jobs=3)
    assert max(started) == 3


# ---- joblib ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_fits_by_joblib_are_those_of_one_process(here, backend, n_jobs):
    parallel = joblib.Parallel(n_jobs=2, backend=backend, timeout=PATIENCE)
    assert parallel(joblib.delayed(fit)(case, n_jobs) for case in CASES) == here


class Watched(SoftmaxClassifier):
    """Counts the threads of each fit."""

    def fit(self, X, y):
        with counted_threads() as started:
            super().fit(X, y)
        self.n_threads_ = max(started)
        return self


def threads_of_fit(classifier, X, y):
    """As a scorer: how many threads the fit had."""
    return classifier.n_threads_


def worker_threads(n_jobs, environment):
    """Threads of each fit in a search by two workers of joblib."""
    environment.delenv("NUMBA_NUM_THREADS", raising=False)
    X, y = problem("dense")
    search = GridSearchCV(
        Watched(tol=1e-2, n_jobs=n_jobs),
        {"C": [0.1, 1.0]},
        scoring=threads_of_fit,
        cv=[(np.arange(len(y)), np.arange(10))],
        refit=False,
        n_jobs=2,
    )
    return search.fit(X, y).cv_results_["split0_test_score"]


def test_a_grid_search_has_no_more_threads_than_processors(monkeypatch):
    """Two workers share the processors."""
    assert worker_threads(None, monkeypatch).max() <= max(1, joblib.cpu_count() // 2)


def test_threads_that_are_asked_for_in_a_grid_search_are_counted(monkeypatch):
    """Otherwise the test above would see nothing."""
    np.testing.assert_array_equal(worker_threads(3, monkeypatch), 3)


# ---- processes and threads ------------------------------------------------------------------


def report(send):
    """What fits find in this process."""
    send.send([fit(case) for case in CASES])


def print_both(method):
    """What fits find here, then in a daemon that is started by ``method``."""
    found = [fit(case) for case in CASES]
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(False)
    child = context.Process(target=report, args=(send,), daemon=True)
    child.start()
    if not receive.poll(PATIENCE):
        sys.exit("the child hangs")
    print(json.dumps([found, receive.recv()]))
    child.join(PATIENCE)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=() if method == "fork" else pytest.mark.slow)
        for method in multiprocessing.get_all_start_methods()
    ],
)
def test_fits_in_a_daemon_are_those_of_its_parent(here, method):
    """Which has fitted with threads before."""
    script = f"from test_processes import print_both; print_both({method!r})"
    folders = os.pathsep.join(map(str, (TESTS, PACKAGE.parent)))
    assert json.loads(run(script, PYTHONPATH=folders).stdout) == [here, here]


def test_fits_in_several_threads_are_those_of_one(here):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, CASES * 2)) == here * 2


# ---- without the JIT ------------------------------------------------------------------------

OBJECTIVES = """
import json, sys
import numpy as np
from scipy import sparse
from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._kernels import dense
from sk_softmax._solvers import in_cache, l1_in_cache

rng = np.random.default_rng(0)
X = np.where(rng.random((40, 5)) < 0.6, rng.normal(size=(40, 5)), 0.0)
y = (X[:, :3] + rng.normal(size=(40, 3))).argmax(axis=1)
found = []
limits = (in_cache.WORK, l1_in_cache.ENTRIES), (0, 0)
# in one call, and by the solvers of larger problems
for in_cache.WORK, l1_in_cache.ENTRIES in limits:
    for Classifier in (SoftmaxClassifier, OvAClassifier):
        for storage in (np.asarray, sparse.csr_matrix):
            for l1_ratio in (0.0, 1.0):
                classifier = Classifier(l1_ratio=l1_ratio, tol=1e-8).fit(storage(X), y)
                assert np.all(classifier.converged_)
                found.extend(np.atleast_1d(classifier.objective_))
kernel = hasattr(dense.dense_softmax, "py_func")
json.dump({"objectives": found, "compiled": kernel}, sys.stdout)
"""


def test_fits_without_the_jit_are_those_with_it():
    results = [json.loads(run(OBJECTIVES, NUMBA_DISABLE_JIT=off).stdout) for off in "01"]
    assert [result["compiled"] for result in results] == [True, False]
    compiled, plain = (result["objectives"] for result in results)
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-9)


# ---- caches ---------------------------------------------------------------------------------

# What fits found, where the package is, which kernels came from a cache.
COEFFICIENTS = """
import json, sys
import numpy as np
from scipy import sparse
import sk_softmax
from sk_softmax._kernels import csr, dense

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4))
y = (X[:, :3] + rng.normal(size=(90, 3))).argmax(axis=1)
found = [sk_softmax.SoftmaxClassifier(solver="lbfgs").fit(X, y).coef_.tolist()]
kernels = [dense.dense_softmax]
if "sparse" in sys.argv:
    S = sparse.csr_matrix(X)
    found.append(sk_softmax.OvAClassifier(solver="lbfgs").fit(S, y).coef_.tolist())
    kernels.append(csr.csr_product)
hits = [sum(kernel.stats.cache_hits.values()) for kernel in kernels]
json.dump({"found": found, "file": sk_softmax.__file__, "hits": hits}, sys.stdout)
"""


@pytest.fixture(scope="module")
def coefficients():
    """What `COEFFICIENTS` finds under the cache of these tests."""
    return json.loads(run(COEFFICIENTS, "sparse").stdout)["found"]


def begin(folder, *arguments, **environment):
    """`COEFFICIENTS` in a process with the package of ``folder``, without settings for caches."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    kept.pop("NUMBA_CACHE_DIR", None)
    return subprocess.Popen(
        [sys.executable, "-c", COEFFICIENTS, *arguments],
        cwd=folder,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(process):
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return json.loads(output)


@pytest.mark.recompiles
def test_a_package_and_a_home_that_cannot_be_written_do_not_stop_fits(coefficients, tmp_path):
    """A file where a folder would be made stops everybody, also those whom modes do not."""
    home = tmp_path / "home"
    home.write_text("not a folder")
    copy = tmp_path / "site" / "sk_softmax"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [copy, *(folder for folder in copy.rglob("*") if folder.is_dir())]
    for folder in folders:
        (folder / "__pycache__").write_text("not a folder")
        folder.chmod(0o555)
    try:
        before = sorted(tmp_path.rglob("*"))
        result = result_of(begin(copy.parent, "sparse", HOME=str(home)))
        assert sorted(tmp_path.rglob("*")) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert Path(result["file"]).parent == copy
    assert result["hits"] == [0, 0]
    assert result["found"] == coefficients


@pytest.mark.recompiles
def test_two_processes_that_compile_at_once_leave_a_cache_that_serves_a_third(
    coefficients, tmp_path
):
    def begun():
        return begin(PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))

    for result in map(result_of, [begun(), begun()]):
        assert result["found"] == coefficients[:1]
    third = result_of(begun())
    assert third["found"] == coefficients[:1]
    assert all(third["hits"])


# ---- prediction -----------------------------------------------------------------------------

PREDICT = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    models, X = pickle.load(file)
methods = "predict", "predict_proba", "predict_log_proba", "decision_function"
found = [[getattr(model, method)(X) for method in methods] for model in models]
with open(sys.argv[1], "wb") as file:
    pickle.dump(found, file)
print([name for name in ("numba", "llvmlite", "sk_softmax._objective") if name in sys.modules])
"""


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
def test_predictions_of_a_stored_model_need_no_numba(data, storage, tmp_path):
    d = data(3)
    X = storage(np.where(d.X > 0, d.X, 0.0))
    models = [C(l1_ratio=r).fit(X, d.y) for C in CLASSIFIERS.values() for r in (0.0, 1.0)]
    file = tmp_path / "models"
    file.write_bytes(pickle.dumps((models, X)))
    assert run(PREDICT, str(file)).stdout.strip() == "[]"
    for model, found in zip(models, pickle.loads(file.read_bytes()), strict=True):
        label, probability, logarithm, raw = found
        np.testing.assert_array_equal(label, model.predict(X))
        np.testing.assert_array_equal(probability, model.predict_proba(X))
        np.testing.assert_array_equal(logarithm, model.predict_log_proba(X))
        np.testing.assert_array_equal(raw, model.decision_function(X))
