"""``python -m sk_softmax``: what it computes, prints, draws, and refuses."""

import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sk_softmax import OvAClassifier, SoftmaxClassifier, __main__

DATA = ("Wine, standardised", "Wine, raw", "Digits, raw")
MODELS = ("SoftmaxClassifier", "LogisticRegression", "OvAClassifier", "OneVsRestClassifier")
OURS = ("SoftmaxClassifier", "OvAClassifier")


@pytest.fixture(autouse=True)
def _few_digits_without_the_jit(monkeypatch):
    def few(return_X_y):
        X, y = load_digits(return_X_y=return_X_y)
        return X[::9], y[::9]

    if numba.config.DISABLE_JIT:
        monkeypatch.setattr(__main__, "load_digits", few)


@pytest.fixture(scope="module")
def printed():
    """What a run without arguments prints, by lines."""
    with pytest.MonkeyPatch.context() as patch, _captured() as text:
        if numba.config.DISABLE_JIT:
            X, y = load_digits(return_X_y=True)
            patch.setattr(__main__, "load_digits", lambda return_X_y: (X[::9], y[::9]))
        __main__.main([])
    return text.getvalue().splitlines()
