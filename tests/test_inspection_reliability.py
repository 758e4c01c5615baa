"""`ReliabilityDisplay`: accuracy by confidence."""

import numpy as np
import pytest

from sksngp.inspection import (
    ReliabilityDisplay,
)
from sksngp.metrics import (
    expected_calibration_error,
    reliability_curve,
)


def test_reliability_of_predictions(judged, ax):
    proba, y = judged
    display = ReliabilityDisplay.from_predictions(y, proba, n_bins=5, ax=ax)
    curve = reliability_curve(y, proba, n_bins=5)
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.confidence)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy)
    error = expected_calibration_error(y, proba, n_bins=5)
    assert display.expected_calibration_error_ == pytest.approx(error)
    sizes = display.markers_.get_sizes()
    np.testing.assert_array_equal(np.argsort(sizes), np.argsort(curve.fraction))
    assert display.ax_ is ax
    assert display.line_.get_label() == f"ECE {error:.3f}"


def test_the_diagonal_is_drawn_once_beside_other_lines(judged, ax):
    proba, y = judged
    ax.axhline(0.5)
    for _ in range(2):
        ReliabilityDisplay.from_predictions(y, proba, ax=ax)
    assert [line.get_label() for line in ax.lines].count("calibrated") == 1
