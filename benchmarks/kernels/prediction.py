"""`predict_proba` of `SoftmaxClassifier` beside `LogisticRegression` with the same coefficients."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.kernels.case import agree
from benchmarks.kernels.timing import in_turns
from sk_softmax import SoftmaxClassifier

__all__ = ["Prediction", "measure"]

SEED = 0
TRAINING_ROWS = 200


@dataclass(frozen=True)
class Prediction:
    """Seconds of a call."""

    name: str
    dtype: str
    ours: float
    peer: float
    goal: float | None = None


def measure(shape, dtypes, settings):
    """Compare probabilities, then time.

    Parameters
    ----------
    shape : Shape
        Rows to predict, features, classes.
    dtypes : sequence of str
    settings : Settings

    Returns
    -------
    list of Prediction
    """
    ours, peer = with_the_same_coefficients(shape.p, shape.K)
    X = np.random.default_rng(SEED).standard_normal((shape.n, shape.p))
    rows = []
    for number, dtype in enumerate(dtypes):
        X = X.astype(dtype, copy=False)
        models = [model.predict_proba for model in (ours, peer)]
        agree(*(predict(X) for predict in models), dtype)
        times = in_turns([lambda X=X, predict=predict: predict(X) for predict in models], settings)
        goal = shape.goals[number] if shape.goals else None
        rows.append(Prediction(shape.name, dtype, *times, goal))
    return rows


def with_the_same_coefficients(p, K):
    """Both classifiers, fitted, and then given one set of coefficients."""
    rng = np.random.default_rng(SEED)
    n = max(TRAINING_ROWS, 2 * K)
    X, y = rng.standard_normal((n, p)), np.arange(n) % K
    ours, peer = SoftmaxClassifier(C=1e-3), LogisticRegression(max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one iteration is not meant to be enough
        ours.fit(X, y)
        peer.fit(X, y)
    coef = rng.standard_normal(peer.coef_.shape) / np.sqrt(p)
    intercept = rng.standard_normal(peer.intercept_.shape)
    for model in (ours, peer):
        model.coef_, model.intercept_ = coef.copy(), intercept.copy()
    return ours, peer
