"""Metrics and scorers for calibration, OOD detection and selective classification.

The metrics complement those of scikit-learn, such as the log loss
(`sklearn.metrics.log_loss`) and the Brier score (`sklearn.metrics.brier_score_loss`).
In all functions, higher scores indicate more unusual samples, and higher uncertainties
less certain predictions, as in ``predict_uncertainty``.
"""

from ._calibration import (
    brier_decomposition,
    expected_calibration_error,
    reliability_curve,
)
from ._ood import fpr_at_tpr, ood_auroc, ood_average_precision
from ._scorers import (
    OODScorer,
    neg_area_under_risk_coverage_scorer,
    neg_expected_calibration_error_scorer,
)
from ._selective import area_under_risk_coverage, risk_coverage_curve

__all__ = [
    "OODScorer",
    "area_under_risk_coverage",
    "brier_decomposition",
    "expected_calibration_error",
    "fpr_at_tpr",
    "neg_area_under_risk_coverage_scorer",
    "neg_expected_calibration_error_scorer",
    "ood_auroc",
    "ood_average_precision",
    "reliability_curve",
    "risk_coverage_curve",
]
