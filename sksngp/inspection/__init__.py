"""Displays that plot the uncertainty, calibration and OOD scores of a classifier.

As in scikit-learn, a display stores data and has a method `plot` and class methods that
compute the data, for example from a fitted estimator. matplotlib is imported only when
a display is plotted.
"""

from ._drift import DriftDisplay
from ._explanation import OODExplanationDisplay
from ._ood_histogram import OODHistogramDisplay
from ._reliability import ReliabilityDisplay
from ._risk_coverage import RiskCoverageDisplay
from ._uncertainty import UncertaintyDisplay

__all__ = [
    "DriftDisplay",
    "OODExplanationDisplay",
    "OODHistogramDisplay",
    "ReliabilityDisplay",
    "RiskCoverageDisplay",
    "UncertaintyDisplay",
]
