"""`RiskCoverageDisplay`: risk by coverage."""

import numpy as np
import pytest

from sksngp.inspection import (
    RiskCoverageDisplay,
)
from sksngp.metrics import (
    area_under_risk_coverage,
    risk_coverage_curve,
)


def test_risk_coverage_of_predictions(judged, ax):
    proba, y = judged
    correct, doubt = proba.argmax(axis=1) == y, 1 - proba.max(axis=1)
    display = RiskCoverageDisplay.from_predictions(correct, doubt, ax=ax, name="it")
    coverage, risk = risk_coverage_curve(correct, doubt)
    np.testing.assert_array_equal(display.line_.get_xdata(), coverage)
    np.testing.assert_array_equal(display.line_.get_ydata(), risk)
    area = area_under_risk_coverage(correct, doubt)
    assert display.area_under_risk_coverage_ == pytest.approx(area)
    assert display.line_.get_label() == f"it (AURC {area:.4f})"
