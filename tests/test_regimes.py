"""Default fits in every regime that the solvers tell apart, with what they cost.

Some regimes are those of large data; constants are then changed so that small data gets there.
What a fit says of itself is compared with the twins in `problems` and with a tight fit by the
solver's other path.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from problems import Problem, needs_jit
from scipy import sparse

from sk_softmax import OvAClassifier, SoftmaxClassifier
from sk_softmax._preconditioner import make as preconditioner_make
from sk_softmax._solvers import cost, in_cache, lbfgs, newton, samples

pytestmark = needs_jit

TOL = 1e-4
NOT_TINY = ((in_cache, "WORK"), 0)
NO_HESSIAN = ((preconditioner_make, "LARGEST_HESSIAN"), 0)
NO_BLOCKS = ((preconditioner_make, "LARGEST_BLOCK"), 0)
NO_COVARIANCE = ((preconditioner_make, "LARGEST_COVARIANCE"), 0)
NO_START = ((lbfgs, "LARGEST_NULL"), 0)
NEVER_NEWTON = ((cost, "newton"), lambda objective: np.inf)
NEVER_EXACT = ((cost, "SAVED"), 0.0)
SAMPLED = ((cost, "SAMPLES_SAVE"), 0.0)


def overlapping(n, p, K, seed=0):
    """Normal features and labels drawn from a softmax model of them; every class has rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    raw = X @ rng.normal(scale=2 / np.sqrt(p), size=(p, K))
    y = (raw + rng.gumbel(size=(n, K))).argmax(axis=1)
    y[:K] = np.arange(K)
    return X, y


def nearly_separable(n=4000, p=9, seed=0):
    """Two large classes and five of 3 to 10 rows, one feature that tells, rows far out."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(int)
    rare = np.repeat(np.arange(2, 7), [3, 4, 6, 8, 10])
    y[-rare.size :] = rare
    X = rng.normal(size=(n, p)) * 5 + rng.normal(size=(7, p))[y] * 20
    X[:, 0] = 45 + 30 * y + np.rint(rng.normal(size=n) * 6)
    X[rng.random((n, p)) < 0.01] *= 200
    return np.rint(X), y


def words(n=160, p=2500, K=4, seed=0):
    """Rows of word counts by a power law, of length 1."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(K), rng.integers(K, size=n - K)])
    rate = rng.gamma(0.3, size=(K, p)) / np.arange(1, p + 1)
    counts = rng.poisson(60 * (rate / rate.sum(axis=1, keepdims=True))[y])
    X = np.log1p(counts)
    return sparse.csr_matrix(X / np.linalg.norm(X, axis=1, keepdims=True)), y


def words_in_units():
    """The same with columns whose norms differ by over 100."""
    X, y = words()
    units = 10.0 ** np.random.default_rng(1).uniform(-1.5, 1.5, X.shape[1])
    return (X @ sparse.diags(units)).tocsr(), y


def one_hot(n=3000, K=4, seed=0):
    """Five features of eight categories each."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(8, size=(n, 5)) + 8 * np.arange(5)
    raw = rng.normal(scale=0.8, size=(40, K))[levels].sum(axis=1)
    X = np.zeros((n, 40))
    np.put_along_axis(X, levels, 1.0, axis=1)
    return sparse.csr_matrix(X), (raw + rng.gumbel(size=(n, K))).argmax(axis=1)


def unscaled():
    """Columns whose scales span 1e-20 to 1e9."""
    X, y = overlapping(2000, 12, 3)
    return X * 10.0 ** np.linspace(-20, 9, 12), y


def collinear():
    """Each column twice, and a constant one."""
    X, y = overlapping(2000, 10, 3)
    return np.column_stack([X, X, np.ones(2000)]), y


@dataclass(frozen=True)
class Regime:
    """Data, constants changed, and for softmax and one-vs-all passes over all rows at most."""

    data: Callable
    evaluations: tuple[float, float]
    changes: tuple = ()


REGIMES = {
    "tiny": Regime(lambda: overlapping(150, 4, 3), (16, 16)),
    "tiny, samples": Regime(lambda: overlapping(5000, 5, 3), (14, 14)),
    "samples, Newton": Regime(lambda: overlapping(5000, 30, 3), (20, 20), (NOT_TINY, SAMPLED)),
    "samples, whole Hessians": Regime(
        lambda: overlapping(6000, 12, 4), (30, 30), (NOT_TINY, NEVER_EXACT, NEVER_NEWTON, SAMPLED)
    ),
    "class by class": Regime(lambda: overlapping(1500, 40, 6), (60, 60), (NO_HESSIAN, NOT_TINY)),
    "class by class, drawn rows": Regime(
        lambda: overlapping(4500, 150, 3), (60, 60), (NO_HESSIAN, NO_START)
    ),
    "Kronecker": Regime(
        lambda: overlapping(800, 60, 5), (120, 120), (NOT_TINY, NO_HESSIAN, NO_BLOCKS)
    ),
    "nearly separable": Regime(nearly_separable, (180, 60)),
    "more features than rows": Regime(
        lambda: overlapping(60, 900, 3),
        (10, 10),
        ((NO_HESSIAN[0], 400),),
    ),
    "words": Regime(words, (40, 40), (NO_HESSIAN, NO_BLOCKS)),
    "many words": Regime(
        lambda: words(n=2000), (30, 30), (NO_HESSIAN, NO_BLOCKS, ((samples, "WIDE_ROWS"), 100))
    ),
    "words in units": Regime(words_in_units, (80, 80), (NO_HESSIAN, NO_BLOCKS)),
    "one-hot": Regime(one_hot, (30, 30)),
    "too wide": Regime(
        lambda: overlapping(500, 200, 3),
        (60, 60),
        (NOT_TINY, NO_HESSIAN, NO_BLOCKS, NO_COVARIANCE, NO_START),
    ),
    "two classes": Regime(lambda: overlapping(1000, 20, 2), (16, 16)),
    "many classes": Regime(lambda: overlapping(1000, 8, 40), (60, 30)),
    "scales from 1e-20 to 1e9": Regime(unscaled, (30, 30)),
    "collinear": Regime(collinear, (30, 30)),
}
LONGEST = "many words"  # half a minute by itself


def problem_of(classifier, X, y):
    return Problem(
        X,
        y,
        np.ones(y.size),
        n_classes=int(y.max()) + 1,
        coupled=isinstance(classifier, SoftmaxClassifier),
        balanced=False,
        C=classifier.C,
        fit_intercept=True,
    )


def point_of(problem, classifier):
    point = np.column_stack([classifier.coef_, classifier.intercept_])
    return point[:, : problem.shape[1]]


@pytest.mark.parametrize("Classifier", [SoftmaxClassifier, OvAClassifier])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == LONGEST else ()) for name in REGIMES],
)
def test_the_default_fit_is_certified(name, Classifier, monkeypatch):
    regime = REGIMES[name]
    X, y = regime.data()
    tight = Classifier(tol=1e-9, solver="newton").fit(X, y)
    for place, value in regime.changes:
        monkeypatch.setattr(*place, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = Classifier().fit(X, y)
    problem = problem_of(classifier, X, y)
    assert np.all(classifier.converged_)
    assert (problem.optimality(point_of(problem, classifier)) <= TOL).all()
    value = problem.value(point_of(problem, classifier)).astype(float)
    best = problem.value(point_of(problem, tight)).astype(float)
    null = problem.null_value().astype(float)
    np.testing.assert_allclose(np.atleast_1d(classifier.objective_), value, rtol=1e-9)
    assert (value - best <= 1e-6 * null).all()
    assert (best - value <= 1e-9 * null).all()
    passes = regime.evaluations[Classifier is OvAClassifier]
    assert classifier.n_evaluations_ <= passes, classifier.n_evaluations_


@pytest.mark.parametrize("name", ["samples, Newton", "class by class", "words", "tiny, samples"])
@pytest.mark.parametrize("Classifier", [SoftmaxClassifier, OvAClassifier])
def test_threads_and_repetition_change_no_bit(name, Classifier, monkeypatch):
    regime = REGIMES[name]
    X, y = regime.data()
    for place, value in regime.changes:
        monkeypatch.setattr(*place, value)
    one, two, again = (Classifier(n_jobs=n).fit(X, y) for n in (1, 2, 2))
    for other in (two, again):
        np.testing.assert_array_equal(one.coef_, other.coef_)
        assert one.n_evaluations_ == other.n_evaluations_


def test_each_regime_takes_its_path(monkeypatch):
    """What the changed constants are for."""
    paths = {
        "tiny": (newton, "newton_in_cache"),
        "samples, Newton": (samples, "stratified_rows"),
        "class by class": (lbfgs, "factor_by_class"),
        "class by class, drawn rows": (preconditioner_make, "important_rows"),
        "Kronecker": (preconditioner_make, "kronecker"),
        "words": (newton, "solve_by_feature"),
        "many words": (samples, "stratified_rows"),
        "too wide": (newton, "conjugate_gradient"),
    }
    for name, (owner, function) in paths.items():
        taken = []
        with monkeypatch.context() as patch:
            original = getattr(owner, function)

            def noting(*args, original=original, taken=taken, **kwargs):
                taken.append(True)
                return original(*args, **kwargs)

            for place, value in REGIMES[name].changes:
                patch.setattr(*place, value)
            patch.setattr(owner, function, noting)
            SoftmaxClassifier().fit(*REGIMES[name].data())
        assert taken, name
