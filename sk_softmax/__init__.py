"""Softmax and one-vs-all linear classifiers for scikit-learn."""

from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._version import __version__

__all__ = ["OvAClassifier", "SoftmaxClassifier", "__version__"]
