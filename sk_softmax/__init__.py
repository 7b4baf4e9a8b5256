"""Softmax and one-vs-all linear classifiers for scikit-learn."""

from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._classifiers_cv import OvAClassifierCV, SoftmaxClassifierCV
from ._grid import CoefficientPath
from ._path import ova_path, softmax_path
from ._smallest_c import ova_l1_min_c, softmax_l1_min_c
from ._version import __version__

__all__ = [
    "CoefficientPath",
    "OvAClassifier",
    "OvAClassifierCV",
    "SoftmaxClassifier",
    "SoftmaxClassifierCV",
    "__version__",
    "ova_l1_min_c",
    "ova_path",
    "softmax_l1_min_c",
    "softmax_path",
]
