"""What the displays have in common."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from displays import Distance, Fixed
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp import SNGPClassifier
from sksngp.inspection import (
    OODHistogramDisplay,
    ReliabilityDisplay,
    RiskCoverageDisplay,
    UncertaintyDisplay,
)


@pytest.mark.parametrize("display", ["surface", "histogram"])
def test_missing_matplotlib_is_named(monkeypatch, data, display):
    clf = Distance().fit(*data)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"requires matplotlib.*pip install"):
        if display == "surface":
            UncertaintyDisplay.from_estimator(clf, data[0])
        else:
            OODHistogramDisplay.from_estimator(clf, data[0], data[0])


def test_unfitted(data):
    with pytest.raises(NotFittedError):
        UncertaintyDisplay.from_estimator(Distance(), data[0])
    with pytest.raises(NotFittedError):
        OODHistogramDisplay.from_estimator(Distance(), data[0], data[0])


def test_no_figure_of_pyplot_is_made_where_axes_are_given(data, ax):
    clf = Distance().fit(*data)
    surface = UncertaintyDisplay.from_estimator(clf, data[0], ax=ax)
    other = Figure().subplots()
    histogram = OODHistogramDisplay.from_estimator(clf, data[0], data[0] + 5, ax=other)
    assert surface.ax_ is ax and surface.figure_ is ax.figure
    assert histogram.ax_ is other and histogram.figure_ is other.figure
    assert plt.get_fignums() == []
    UncertaintyDisplay.from_estimator(clf, data[0])
    OODHistogramDisplay.from_scores([0.1], [0.2])
    assert len(plt.get_fignums()) == 2


def test_with_a_fitted_classifier(data):
    X, y = data
    clf = SNGPClassifier(
        num_layers=1, num_hidden=16, num_inducing=64, epochs=5, random_state=0
    )
    pipe = make_pipeline(StandardScaler(), clf).fit(X, y)
    pipe[-1].calibrate_ood(pipe[0].transform(X))
    axes = Figure().subplots(1, 3)
    far = X + 9
    for kind, panel in zip(("probability", "ood"), axes, strict=False):
        display = UncertaintyDisplay.from_estimator(
            pipe, X, y=y, X_ood=far, kind=kind, grid_resolution=20, ax=panel
        )
        assert np.all(display.response >= 0)
        assert display.points_[-1].get_offsets().shape == far.shape
    assert display.threshold == pipe[-1].ood_threshold_
    # Flagged samples can be distinguished for scores of any unit.
    np.testing.assert_allclose(display.surface_.levels[-1], 2 * display.threshold)
    histogram = OODHistogramDisplay.from_estimator(pipe, X, far, ax=axes[2])
    assert histogram.scores_in.mean() < histogram.scores_out.mean()
    flags = pipe[-1].predict_ood(pipe[:-1].transform(far))
    assert histogram.flagged_out_ == flags.mean()


@pytest.mark.parametrize("Display", [ReliabilityDisplay, RiskCoverageDisplay])
def test_several_classifiers_on_the_same_axes(judged, ax, Display):
    proba, y = judged
    clf = Fixed().fit(proba, y)
    first = Display.from_estimator(clf, proba, y, ax=ax)
    second = Display.from_estimator(clf, proba, y, name="twin", ax=ax, ls="--", c="k")
    assert first.line_.get_label().startswith("Fixed (")
    assert second.line_.get_label().startswith("twin (")
    assert first.line_.get_color() != second.line_.get_color()
    assert second.line_.get_linestyle() == "--"
    assert second.line_.get_color() == "k"
    assert len({line.get_label() for line in ax.lines}) == len(ax.lines)
    with pytest.raises(NotFittedError):
        Display.from_estimator(Fixed(), proba, y, ax=ax)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        Display.from_estimator(clf, proba, y[:1], ax=ax)
