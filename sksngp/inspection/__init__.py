"""Pictures of what a classifier knows, in the style of scikit-learn's displays.

Each display is data, a `plot` method and a class method that computes the data
from a fitted estimator. matplotlib is imported when something is drawn.
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
