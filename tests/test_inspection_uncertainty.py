"""`UncertaintyDisplay`: surfaces of two features."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from displays import Distance, surface
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksngp.inspection import (
    UncertaintyDisplay,
)
from sksngp.inspection._common import COLORS
from sksngp.inspection._surface import SURFACES


@pytest.mark.parametrize("kind", SURFACES)
def test_surface_is_what_the_estimator_says(data, ax, kind):
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
    assert np.all(np.diff(display.response, axis=1) > 0)  # rises to the right


def test_class_of_interest(data, ax):
    clf = Distance().fit(*data)
    show = UncertaintyDisplay.from_estimator
    right = show(clf, data[0], class_of_interest="right", ax=ax).response
    left = show(clf, data[0], class_of_interest="left", ax=ax).response
    np.testing.assert_allclose(left + right, 1)
    with pytest.raises(
        ValueError, match=r"class_of_interest must be.*\['left', 'right'\], got 'up'"
    ):
        show(clf, data[0], class_of_interest="up", ax=ax)
    with pytest.raises(ValueError, match=r"class_of_interest.*kind='probability'"):
        show(clf, data[0], class_of_interest="left", kind="total", ax=ax)


def test_more_classes_show_the_most_probable(data, ax):
    X, _ = data
    y = np.arange(len(X)) % 3
    clf = Distance().fit(X, y)
    display = UncertaintyDisplay.from_estimator(clf, X, y=y, grid_resolution=4, ax=ax)
    grid = np.c_[display.xx0.ravel(), display.xx1.ravel()]
    expected = clf.predict_proba(grid).max(axis=1)
    np.testing.assert_array_equal(display.response.ravel(), expected)
    assert "most probable" in display.colorbar_.ax.get_ylabel()
    assert len(display.points_) == 3


def test_points_are_coloured_by_label_with_ood_points_on_top(data, ax):
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


def test_colours_follow_the_classifier_where_labels_are_missing_or_new(data, ax):
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


def test_without_labels_all_points_have_one_colour(data, ax):
    display = UncertaintyDisplay.from_estimator(Distance().fit(*data), data[0], ax=ax)
    (points,) = display.points_
    assert len(points.get_offsets()) == len(data[0])


def test_threshold_line_only_for_the_score_that_it_belongs_to(data, ax):
    clf = Distance().fit(*data)
    for kind in SURFACES:
        display = UncertaintyDisplay.from_estimator(clf, data[0], kind=kind, ax=ax)
        assert display.threshold == (0.5 if kind == "ood" else None)


def test_looks_can_be_chosen(data, ax):
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


def test_frame_gives_labels_and_reaches_the_estimator_as_frame(data, ax, recwarn):
    X = pd.DataFrame(data[0], columns=["width", "height"])
    clf = Distance().fit(X, data[1])
    display = UncertaintyDisplay.from_estimator(clf, X, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    array = UncertaintyDisplay.from_estimator(clf, data[0], ax=ax)  # names unsaid
    np.testing.assert_array_equal(array.response, display.response)
    assert not recwarn.list  # scikit-learn warns of missing or spurious names


def test_names_are_no_formulas(data, ax):
    X, y = pd.DataFrame(data[0], columns=["$a_$", "b"]), data[1]
    clf = Distance().fit(X, y)
    display = UncertaintyDisplay.from_estimator(clf, X, y=y, ax=ax)
    display.figure_.canvas.draw()
    assert display.ax_.get_xlabel() == r"\$a_\$"


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
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")  # not wiped


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


def test_missing_values_are_the_pipelines_business(data, ax):
    X = data[0].copy()
    X[3, 1] = np.nan
    pipe = make_pipeline(FunctionTransformer(np.nan_to_num), Distance())
    pipe.fit(X, data[1])
    display = UncertaintyDisplay.from_estimator(pipe, X, ax=ax)
    assert np.isfinite(display.xx1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "doubt"}, "kind must be one of probability.*, got 'doubt'"),
        ({"grid_resolution": 1}, "grid_resolution must be greater than 1, got 1"),
        ({"eps": -1}, "eps must be a non-negative number.*, got -1"),
        (
            {"eps": (1, 2, 3)},
            r"eps must be.* pair of such numbers, got \[1\.0, 2\.0, 3\.0\]",
        ),
        ({"X_ood": np.zeros((4, 3))}, "X_ood must have 2 features, got 3"),
        ({"y": [0, 1]}, "inconsistent numbers of samples"),
    ],
)
def test_bad_options_are_named(data, ax, options, message):
    clf = Distance().fit(*data)
    with pytest.raises(ValueError, match=message):
        UncertaintyDisplay.from_estimator(clf, data[0], ax=ax, **options)


@pytest.mark.parametrize("columns", [1, 3])
def test_other_than_two_columns(ax, columns):
    X = np.random.default_rng(0).normal(size=(10, columns))
    clf = Distance().fit(X, np.arange(10) % 2)
    with pytest.raises(ValueError, match=f"X must have 2 features, got {columns}"):
        UncertaintyDisplay.from_estimator(clf, X, ax=ax)


def test_estimator_without_uncertainty(data, ax):
    scaler = StandardScaler().fit(data[0])
    with pytest.raises(AttributeError, match="StandardScaler has no method predict_un"):
        UncertaintyDisplay.from_estimator(scaler, data[0], kind="total", ax=ax)
    search = GridSearchCV(Distance(), {"power": [1]}, cv=2, refit=False).fit(*data)
    with pytest.raises(AttributeError, match="refit=True"):
        UncertaintyDisplay.from_estimator(search, data[0], kind="total", ax=ax)


def test_plot_again_without_colorbar_and_legend(data, ax):
    first = UncertaintyDisplay.from_estimator(Distance().fit(*data), *data[:1], ax=ax)
    other = Figure().subplots()
    again = first.plot(ax=other, colorbar=False, legend=False)
    assert again is first and again.ax_ is other
    assert again.colorbar_ is None and other.get_legend() is None
    assert other.figure.axes == [other]


def test_no_line_where_no_row_is_flagged(data, ax):
    clf = Distance().fit(*data)
    clf.ood_threshold_ = np.inf
    display = UncertaintyDisplay.from_estimator(clf, data[0], kind="ood", ax=ax)
    assert display.threshold is None
