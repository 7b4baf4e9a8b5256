"""Displays of fitted models, in scikit-learn's manner. Drawing needs matplotlib.

``pip install "sk_softmax[plot]"`` brings it along; importing this package does without.
"""

from ._coefficients import CoefficientsDisplay
from ._convergence import ConvergenceDisplay
from ._paths import RegularizationPathDisplay
from ._regions import DecisionRegionsDisplay
from ._reliability import ReliabilityDisplay
from ._scores import CrossValidationScoreDisplay

__all__ = [
    "CoefficientsDisplay",
    "ConvergenceDisplay",
    "CrossValidationScoreDisplay",
    "DecisionRegionsDisplay",
    "RegularizationPathDisplay",
    "ReliabilityDisplay",
]
