"""`OODHistogramDisplay`: scores, shares of flags and their scale."""

import numpy as np
import pytest
from displays import Distance
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp.inspection import (
    OODHistogramDisplay,
)


def test_from_scores_shares(ax):
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


def test_histograms_are_shares_over_common_bins():
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
def test_bad_scores(ax, scores):
    with pytest.raises(ValueError):
        OODHistogramDisplay.from_scores(scores, [0.5], ax=ax)
    with pytest.raises(ValueError):
        OODHistogramDisplay.from_scores([0.5], scores, ax=ax)
