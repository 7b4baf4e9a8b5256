"""What several test files share: the classifiers, data, scikit-learn's reference, Hypothesis."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from hypothesis import settings
from sklearn.linear_model import LogisticRegression
from sklearn.utils.fixes import parse_version

from sk_softmax import OvAClassifier, SoftmaxClassifier

# The same examples in every run; ``--hypothesis-profile=explore`` looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("explore", deadline=None, max_examples=200)
settings.load_profile("steady")

THIN = 5  # cases of a test from which on some may be left out


def pytest_addoption(parser):
    parser.addoption(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="of each test with many cases, run every N-th",
    )


def pytest_collection_modifyitems(config, items):
    every, cases, kept, left = config.getoption("every"), Counter(), [], []
    names = [item.nodeid.partition("[")[0] for item in items]
    many = Counter(names)
    for item, name in zip(items, names, strict=True):
        thinned = many[name] >= THIN and cases[name] % every
        (left if thinned else kept).append(item)
        cases[name] += 1
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


OLD_PENALTY = parse_version(sklearn.__version__) < parse_version("1.8")


@pytest.fixture(scope="session", params=[SoftmaxClassifier, OvAClassifier])
def Classifier(request):
    """Each of the two classifiers."""
    return request.param


def make_data(n_classes=3, n=150, p=6, seed=0):
    """Overlapping classes: X (n, p), y with every class, weights s."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    centres = rng.normal(size=(n_classes, p))
    X = centres[y] + rng.normal(scale=1.5, size=(n, p))
    return SimpleNamespace(X=X, y=y, s=rng.uniform(0.5, 2, n), n_classes=n_classes)


@pytest.fixture(scope="session")
def data():
    """`make_data`, to be called with its parameters."""
    return make_data


@pytest.fixture(scope="session")
def reference():
    """scikit-learn's fit of the same objective, to many digits: ``reference(solver, **params)``."""

    def logistic_regression(solver, C=1.0, l1_ratio=0.0, **params):
        penalty = {"l1_ratio": l1_ratio}
        if OLD_PENALTY:
            name = {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")
            penalty = {"penalty": name, "l1_ratio": l1_ratio if name == "elasticnet" else None}
        return LogisticRegression(
            solver=solver, C=C, tol=1e-11, max_iter=100_000, random_state=0, **penalty, **params
        )

    return logistic_regression


@pytest.fixture
def close_figures():
    """No figure outlives its test; each is drawn once, which finds what only drawing finds."""
    plt = pytest.importorskip("matplotlib.pyplot")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
