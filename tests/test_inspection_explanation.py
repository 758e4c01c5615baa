"""`OODExplanationDisplay`: bars, and maps of images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp import OODExplanation, SNGPClassifier, explain_ood
from sksngp.inspection import (
    OODExplanationDisplay,
)


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


def test_names_are_no_formulas(explanation, ax):
    names = ["cost ($) of US ($)", "$a_$", "c"]
    OODExplanationDisplay(
        contributions=np.array([0.3, 0.2, 0.1]),
        values=np.ones(3),
        feature_names=names,
    ).plot(ax)
    ax.figure.canvas.draw()
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown[0] == r"cost (\$) of US (\$) = 1"


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
