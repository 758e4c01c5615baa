import subprocess
import sys
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import validate_data

from sksngp import DriftMonitor, OODExplanation, SNGPClassifier, explain_ood
from sksngp.inspection import (
    DriftDisplay,
    OODExplanationDisplay,
    OODHistogramDisplay,
    ReliabilityDisplay,
    RiskCoverageDisplay,
    UncertaintyDisplay,
)
from sksngp.inspection._common import COLORS
from sksngp.inspection._uncertainty import SURFACES
from sksngp.metrics import (
    area_under_risk_coverage,
    expected_calibration_error,
    reliability_curve,
    risk_coverage_curve,
)

matplotlib.use("Agg")


class Distance(ClassifierMixin, BaseEstimator):
    """Classifier whose outputs are functions of the distance from 0."""

    def __init__(self, power=1):
        self.power = power

    def fit(self, X, y):
        validate_data(self, X)
        self.classes_ = np.unique(y)
        self.ood_threshold_ = 0.5
        return self

    def predict_proba(self, X):
        X = validate_data(self, X, reset=False)
        logits = X[:, :1] * np.arange(len(self.classes_))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_uncertainty(self, X, kind="total"):
        X = validate_data(self, X, reset=False)
        scale = {"total": 1.0, "aleatoric": 2.0, "epistemic": 4.0}[kind]
        return 1 - np.exp(-np.square(X).sum(axis=1) / scale)

    def score_samples(self, X):
        return -self.predict_uncertainty(X, "epistemic")


def surface(clf, X, kind):
    if kind == "probability":
        return clf.predict_proba(X)[:, 1]
    return -clf.score_samples(X) if kind == "ood" else clf.predict_uncertainty(X, kind)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform([-1, -2], [1, 3], size=(40, 2))
    return X, np.where(X[:, 0] > 0, "right", "left")


@pytest.fixture
def ax():
    """Return axes that are not registered with pyplot."""
    return Figure().subplots()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_import_loads_neither_matplotlib_nor_tensorflow():
    code = (
        "import sys, sksngp.inspection as i; "
        "print([m for m in ('matplotlib', 'tensorflow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.parametrize("display", ["surface", "histogram"])
def test_missing_matplotlib_is_named(monkeypatch, data, display):
    clf = Distance().fit(*data)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"requires matplotlib.*pip install"):
        if display == "surface":
            UncertaintyDisplay.from_estimator(clf, data[0])
        else:
            OODHistogramDisplay.from_estimator(clf, data[0], data[0])


@pytest.mark.parametrize("kind", SURFACES)
def test_surface_equals_the_prediction(data, ax, kind):
    X, y = data
    clf = Distance().fit(X, y)
    display = UncertaintyDisplay.from_estimator(
        clf, X, kind=kind, grid_resolution=7, ax=ax
    )
    grid = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    expected = surface(clf, grid, kind)
    assert display.response.shape == display.xx0.shape == display.xx1.shape == (7, 7)
    np.testing.assert_array_equal(display.response.ravel(), expected)


def test_grid_covers_points_and_ood_points_and_eps(data, ax):
    X, y = data
    clf = Distance().fit(X, y)
    shown = {"grid_resolution": 5, "ax": ax}
    display = UncertaintyDisplay.from_estimator(clf, X, eps=0.5, **shown)
    assert display.xx0[0, 0] == X[:, 0].min() - 0.5
    assert display.xx1[-1, -1] == X[:, 1].max() + 0.5
    display = UncertaintyDisplay.from_estimator(
        clf, X, X_ood=[[9.0, 0.0]], eps=(0.5, 0), **shown
    )
    assert display.xx0.max() == 9.5
    assert display.xx1.min() == X[:, 1].min()


def test_default_probability_is_that_of_the_last_of_two_classes(data, ax):
    display = UncertaintyDisplay.from_estimator(Distance().fit(*data), data[0], ax=ax)
    assert display.colorbar_.ax.get_ylabel() == "probability of class right"
    assert np.all(np.diff(display.response, axis=1) > 0)  # increases to the right


def test_class_of_interest(data, ax):
    clf = Distance().fit(*data)
    show = UncertaintyDisplay.from_estimator
    right = show(clf, data[0], class_of_interest="right", ax=ax).response
    left = show(clf, data[0], class_of_interest="left", ax=ax).response
    np.testing.assert_allclose(left + right, 1)
    with pytest.raises(
        ValueError, match=r"class_of_interest must .*\['left', 'right'.* 'up'"
    ):
        show(clf, data[0], class_of_interest="up", ax=ax)
    with pytest.raises(ValueError, match=r"class_of_interest.*kind='probability'"):
        show(clf, data[0], class_of_interest="left", kind="total", ax=ax)


def test_multiclass_shows_the_most_probable_class(data, ax):
    X, _ = data
    y = np.arange(len(X)) % 3
    clf = Distance().fit(X, y)
    display = UncertaintyDisplay.from_estimator(clf, X, y=y, grid_resolution=4, ax=ax)
    grid = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    expected = clf.predict_proba(grid).max(axis=1)
    np.testing.assert_array_equal(display.response.ravel(), expected)
    assert "most probable" in display.colorbar_.ax.get_ylabel()
    assert len(display.points_) == 3


def test_points_are_colored_by_label_with_ood_points_on_top(data, ax):
    X, y = data
    ood = np.array([[3.0, 3.0], [4.0, 4.0]])
    display = UncertaintyDisplay.from_estimator(
        Distance().fit(X, y), X, y=y, X_ood=ood, ax=ax
    )
    left, right, out = display.points_
    np.testing.assert_array_equal(left.get_offsets(), X[y == "left"])
    np.testing.assert_array_equal(right.get_offsets(), X[y == "right"])
    np.testing.assert_array_equal(out.get_offsets(), ood)
    for points, color in ((left, COLORS[0]), (right, COLORS[1])):
        np.testing.assert_allclose(points.get_facecolor()[0, :3], to_rgb(color))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["class left", "class right", "out of distribution"]


def test_colors_follow_the_classifier_for_missing_or_new_labels(data, ax):
    X, y = data
    y_new = np.where(y == "left", "above", "right")
    display = UncertaintyDisplay.from_estimator(Distance().fit(X, y), X, y=y_new, ax=ax)
    labels = [points.get_label() for points in display.points_]
    assert labels == ["class left", "class right", "class above"]
    assert [len(p.get_offsets()) for p in display.points_] == [
        0,
        (y == "right").sum(),
        (y == "left").sum(),
    ]


def test_without_labels_all_points_have_one_color(data, ax):
    display = UncertaintyDisplay.from_estimator(Distance().fit(*data), data[0], ax=ax)
    (points,) = display.points_
    assert len(points.get_offsets()) == len(data[0])


def test_threshold_line_only_for_the_score_that_it_belongs_to(data, ax):
    clf = Distance().fit(*data)
    for kind in SURFACES:
        display = UncertaintyDisplay.from_estimator(clf, data[0], kind=kind, ax=ax)
        assert display.threshold == (0.5 if kind == "ood" else None)


def test_style_can_be_changed(data, ax):
    display = UncertaintyDisplay.from_estimator(
        Distance().fit(*data),
        data[0],
        cmap="cividis",
        levels=[0.0, 0.5, 1.0],
        scatter_kwargs={"s": 99},
        ax=ax,
    )
    assert display.surface_.get_cmap().name == "cividis"
    assert list(display.surface_.levels) == [0.0, 0.5, 1.0]
    assert display.points_[0].get_sizes() == [99]


def test_rounding_above_one_leaves_no_hole():
    xx0, xx1 = np.meshgrid([0.0, 1.0], [0.0, 1.0])
    ax = Figure().subplots()
    display = UncertaintyDisplay(
        xx0=xx0, xx1=xx1, response=np.full((2, 2), 1 + 1e-12), kind="total"
    ).plot(ax=ax)
    assert max(len(path.vertices) for path in display.surface_.get_paths()) > 0


def test_dataframe_provides_labels_and_is_passed_to_the_estimator(data, ax, recwarn):
    X = pd.DataFrame(data[0], columns=["width", "height"])
    clf = Distance().fit(X, data[1])
    display = UncertaintyDisplay.from_estimator(clf, X, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    array = UncertaintyDisplay.from_estimator(clf, data[0], ax=ax)  # without names
    np.testing.assert_array_equal(array.response, display.response)
    assert not recwarn.list  # scikit-learn warns of missing or spurious names


def test_polars_frame(data, ax):
    X = pl.DataFrame(data[0], schema=["width", "height"])
    clf = Distance().fit(X, data[1])
    display = UncertaintyDisplay.from_estimator(clf, X, kind="epistemic", ax=ax)
    assert display.xlabel == "width"


def test_labels_of_the_axes_can_be_given(data, ax):
    clf = Distance().fit(*data)
    UncertaintyDisplay.from_estimator(clf, data[0], xlabel="a", ylabel="b", ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
    UncertaintyDisplay.from_estimator(clf, data[0], ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")  # not removed


@pytest.mark.parametrize("kind", SURFACES)
def test_pipeline_and_search_equal_the_steps_by_hand(data, ax, kind):
    X = pd.DataFrame(data[0], columns=["width", "height"])
    pipe = make_pipeline(StandardScaler(), Distance())
    search = GridSearchCV(pipe, {"distance__power": [1, 2]}, cv=2).fit(X, data[1])
    inner = GridSearchCV(Distance(), {"power": [1, 2]}, cv=2)
    nested = make_pipeline(StandardScaler(), inner).fit(X, data[1])
    pipe.fit(X, data[1])
    Z = StandardScaler().fit(data[0])
    clf = Distance().fit(Z.transform(data[0]), data[1])
    for estimator in (pipe, search, nested):
        display = UncertaintyDisplay.from_estimator(
            estimator, X, kind=kind, grid_resolution=6, ax=ax
        )
        rows = Z.transform(np.c_[display.xx0.ravel(), display.xx1.ravel()])
        expected = surface(clf, rows, kind)
        np.testing.assert_allclose(display.response.ravel(), expected, rtol=1e-12)


def test_pipeline_of_one_step(data, ax):
    pipe = make_pipeline(Distance()).fit(*data)
    display = UncertaintyDisplay.from_estimator(pipe, data[0], kind="total", ax=ax)
    assert display.response.shape == (100, 100)


def test_missing_values_are_passed_to_pipelines(data, ax):
    X = data[0].copy()
    X[3, 1] = np.nan
    pipe = make_pipeline(FunctionTransformer(np.nan_to_num), Distance())
    pipe.fit(X, data[1])
    display = UncertaintyDisplay.from_estimator(pipe, X, ax=ax)
    assert np.isfinite(display.xx1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "doubt"}, "kind must be one of probability.* got 'doubt'"),
        ({"grid_resolution": 1}, "grid_resolution must be greater than 1, got 1"),
        ({"eps": -1}, "eps must be.* got -1"),
        ({"eps": (1, 2, 3)}, "eps must be.* got"),
        ({"X_ood": np.zeros((4, 3))}, "X_ood must have 2 features, got 3"),
        ({"y": [0, 1]}, "inconsistent numbers of samples"),
    ],
)
def test_invalid_options(data, ax, options, message):
    clf = Distance().fit(*data)
    with pytest.raises(ValueError, match=message):
        UncertaintyDisplay.from_estimator(clf, data[0], ax=ax, **options)


@pytest.mark.parametrize("columns", [1, 3])
def test_other_than_two_columns(ax, columns):
    X = np.random.default_rng(0).normal(size=(10, columns))
    clf = Distance().fit(X, np.arange(10) % 2)
    with pytest.raises(ValueError, match=f"X must have 2 features, got {columns}"):
        UncertaintyDisplay.from_estimator(clf, X, ax=ax)


def test_unfitted(data):
    with pytest.raises(NotFittedError):
        UncertaintyDisplay.from_estimator(Distance(), data[0])
    with pytest.raises(NotFittedError):
        OODHistogramDisplay.from_estimator(Distance(), data[0], data[0])


def test_estimator_without_uncertainty(data, ax):
    scaler = StandardScaler().fit(data[0])
    with pytest.raises(AttributeError, match="StandardScaler has no method predict_un"):
        UncertaintyDisplay.from_estimator(scaler, data[0], kind="total", ax=ax)
    search = GridSearchCV(Distance(), {"power": [1]}, cv=2, refit=False).fit(*data)
    with pytest.raises(AttributeError, match="refit=True"):
        UncertaintyDisplay.from_estimator(search, data[0], kind="total", ax=ax)


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


def test_plot_again_without_colorbar_and_legend(data, ax):
    first = UncertaintyDisplay.from_estimator(Distance().fit(*data), *data[:1], ax=ax)
    other = Figure().subplots()
    again = first.plot(ax=other, colorbar=False, legend=False)
    assert again is first and again.ax_ is other
    assert again.colorbar_ is None and other.get_legend() is None
    assert other.figure.axes == [other]


def test_from_scores_flagged_fractions(ax):
    display = OODHistogramDisplay.from_scores(
        [0.1, 0.2, 0.3, 0.4], [0.3, 0.5, 0.6], threshold=0.3, bins=4, ax=ax
    )
    assert display.flagged_in_ == 1 / 4  # a score at the threshold is not flagged
    assert display.flagged_out_ == 2 / 3
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(texts) == [
        "known: 1 of 4 flagged (25.0%)",
        "threshold 0.3",
        "unknown: 2 of 3 flagged (66.7%)",
    ]
    assert display.line_.get_xdata()[0] == 0.3


def test_histograms_show_fractions_over_common_bins():
    rng = np.random.default_rng(0)
    parts = rng.beta(2, 8, 1000), rng.beta(8, 2, 10)
    display = OODHistogramDisplay.from_scores(
        *parts, bins=np.linspace(0, 1, 11), histtype="bar", ax=Figure().subplots()
    )
    for bars, part in zip(display.bars_, parts, strict=True):
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(
            heights, np.histogram(part, 10, (0, 1))[0] / len(part)
        )


def test_crowded_scores_are_drawn_on_a_logarithmic_scale():
    rng = np.random.default_rng(0)
    known, unknown = 10 ** rng.uniform(-4, -2, 300), 10 ** rng.uniform(-2, 0, 90)
    known[:30] = 0
    display = OODHistogramDisplay.from_scores(known, unknown, 0.01, bins=4)
    assert display.ax_.get_xscale() == "log"
    bars = display.bars_[0][0].get_path().vertices
    assert bars[:, 1].max() < 0.7  # not all in one bin
    assert display.flagged_in_ == 0 and display.flagged_out_ == 1
    linear = OODHistogramDisplay.from_scores(known, unknown, scale="linear")
    assert linear.ax_.get_xscale() == "linear"
    plain = OODHistogramDisplay.from_scores([0.1, 0.2], [0.3, 0.9])
    assert plain.ax_.get_xscale() == "linear"


@pytest.mark.parametrize("known", [[0.0, 0.0], [-1.0, 2.0], [0.0, 1e-300]])
def test_scale_of_extreme_scores(known, ax):
    display = OODHistogramDisplay.from_scores(known, [0.0, 5.0], ax=ax)
    assert display.ax_.get_xscale() == ("linear" if min(known) < 0 else "log")
    total = [part.get_path().vertices[:, 1].max() for (part,) in display.bars_]
    assert min(total) >= 0.5


def test_invalid_scale(ax):
    with pytest.raises(ValueError, match=r"scale must be .* got 'square'"):
        OODHistogramDisplay.from_scores([0.1], [0.2], scale="square", ax=ax)
    with pytest.raises(ValueError, match=r"scale='log' requires .* got -1"):
        OODHistogramDisplay.from_scores([-1.0], [0.2], scale="log", ax=ax)


@pytest.mark.parametrize("threshold", [None, np.inf])
def test_without_a_threshold_there_is_no_line(ax, threshold):
    display = OODHistogramDisplay.from_scores([0.1], [0.9], threshold, ax=ax)
    assert display.line_ is None
    assert display.flagged_out_ == (None if threshold is None else 0.0)


def test_from_estimator_takes_scores_and_threshold_of_the_last_step(data, ax):
    X, y = data
    pipe = make_pipeline(StandardScaler(), Distance()).fit(X, y)
    display = OODHistogramDisplay.from_estimator(
        pipe, X, X + 9, names=("old", "new"), ax=ax
    )
    expected = -pipe.score_samples(X)
    np.testing.assert_array_equal(display.scores_in, expected)
    assert display.threshold == 0.5
    assert display.flagged_in_ == np.mean(expected > 0.5)
    assert display.flagged_out_ == 1.0


@pytest.mark.parametrize("scores", [[], [np.nan], [[0.1, 0.2], [0.3, 0.4]]])
def test_invalid_scores(ax, scores):
    with pytest.raises(ValueError):
        OODHistogramDisplay.from_scores(scores, [0.5], ax=ax)
    with pytest.raises(ValueError):
        OODHistogramDisplay.from_scores([0.5], scores, ax=ax)


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


# Reliability and risk-coverage curves


@pytest.fixture
def judged():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 300)
    y = np.array([rng.choice(3, p=p) for p in proba])
    return proba, y


class Fixed(ClassifierMixin, BaseEstimator):
    """Classifier that returns its input as probabilities."""

    def fit(self, proba, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, proba):
        return np.asarray(proba)


def test_reliability_of_predictions(judged, ax):
    proba, y = judged
    display = ReliabilityDisplay.from_predictions(y, proba, n_bins=5, ax=ax)
    curve = reliability_curve(y, proba, n_bins=5)
    np.testing.assert_array_equal(display.line_.get_xdata(), curve.confidence)
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy)
    error = expected_calibration_error(y, proba, n_bins=5)
    assert display.expected_calibration_error_ == pytest.approx(error)
    sizes = display.markers_.get_sizes()
    np.testing.assert_array_equal(np.argsort(sizes), np.argsort(curve.share))
    assert display.ax_ is ax
    assert display.line_.get_label() == f"ECE {error:.3f}"


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


def test_the_diagonal_is_drawn_once_beside_other_lines(judged, ax):
    proba, y = judged
    ax.axhline(0.5)
    for _ in range(2):
        ReliabilityDisplay.from_predictions(y, proba, ax=ax)
    assert [line.get_label() for line in ax.lines].count("calibrated") == 1


def test_no_line_if_no_sample_is_flagged(data, ax):
    clf = Distance().fit(*data)
    clf.ood_threshold_ = np.inf
    display = UncertaintyDisplay.from_estimator(clf, data[0], kind="ood", ax=ax)
    assert display.threshold is None


# Drift


def test_drift_display_shows_the_values_and_the_alarm(ax):
    monitor = DriftMonitor(np.arange(99.0), alarm_level=20, random_state=0)
    monitor.update(np.full(30, 200.0))
    display = DriftDisplay.from_monitor(monitor, ax=ax, color="red")
    np.testing.assert_array_equal(display.line_.get_ydata(), monitor.values_)
    np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 31))
    assert display.line_.get_color() == "red"
    assert display.level_.get_ydata()[0] == 20
    assert display.alarm_line_.get_xdata()[0] == monitor.alarm_at_
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "sample")


def test_drift_display_of_a_bounded_history_and_of_none(ax):
    monitor = DriftMonitor(np.arange(99.0), max_history=5, random_state=0)
    display = DriftDisplay.from_monitor(monitor, ax=ax)
    assert len(display.positions) == 0 and display.alarm_line_ is None
    display = DriftDisplay.from_monitor(monitor.update(np.arange(12.0)), ax=ax)
    assert display.positions.tolist() == [8, 9, 10, 11, 12]


# Explanations


@pytest.fixture
def explanation():
    X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    return OODExplanation(
        contributions=np.array([[0.1, 0.3, -0.2], [0.5, 0.0, 0.4]]),
        scores=np.array([0.4, 0.9]),
        typical_scores=np.zeros(2),
        compared_with=np.zeros((2, 5), int),
        neighbors=np.zeros((2, 5), int),
        distances=np.zeros((2, 5)),
        feature_names=["a", "b", "c"],
        X=X,
    )


def test_bars_are_the_largest_contributions_in_order(explanation, ax):
    display = OODExplanationDisplay.from_explanation(explanation, ax=ax)
    assert [bar.get_width() for bar in display.bars_] == [0.3, 0.1, -0.2]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["b = 2", "a = 1", "c = 3"]
    assert ax.get_title() == "out-of-distribution score 0.4"
    assert display.map_ is None
    other = Figure().subplots()
    display = OODExplanationDisplay.from_explanation(
        explanation, sample=1, max_features=2, ax=other, color="red"
    )
    assert [bar.get_width() for bar in display.bars_] == [0.5, 0.4]


def test_bars_of_a_frame_with_text(explanation, ax):
    X = pd.DataFrame({"a": [1.5, 2.5], "b": ["red", "blue"], "c": [3, 4]})
    for frame in (X, pl.from_pandas(X)):
        display = OODExplanationDisplay.from_explanation(
            replace(explanation, X=frame), ax=ax
        )
        names = [label.get_text() for label in display.ax_.get_yticklabels()]
        assert names == ["b = red", "a = 1.5", "c = 3"]


@pytest.mark.parametrize("shape", [(2, 4, 6, 1), (2, 4, 6, 3), (2, 24)])
def test_map_of_an_image(explanation, ax, shape):
    maps = np.arange(48.0).reshape(2, 4, 6)
    found = replace(explanation, contributions=maps, X=np.ones(shape))
    display = OODExplanationDisplay.from_explanation(found, sample=-1, ax=ax)
    np.testing.assert_array_equal(display.map_.get_array(), maps[1])
    assert display.bars_ is None and display.map_.get_clim() == (-47, 47)


def test_explanation_from_estimator(data, ax):
    X, y = data
    clf = SNGPClassifier(
        num_layers=1, num_hidden=16, num_inducing=64, cv=None, epochs=5, random_state=0
    )
    pipe = make_pipeline(StandardScaler(), clf).fit(X, y)
    display = OODExplanationDisplay.from_estimator(pipe, X[:4], X, sample=2, ax=ax)
    expected = explain_ood(pipe, X[:4], X)
    np.testing.assert_allclose(display.contributions, expected.contributions[2])
    assert display.score == pytest.approx(expected.scores[2])
    with pytest.raises(IndexError):
        OODExplanationDisplay.from_estimator(pipe, X[:4], X, sample=4, ax=ax)
