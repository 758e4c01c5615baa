"""Display of histograms of out-of-distribution scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._pipelines import ood_score, threshold_of
from ._common import COLORS, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: Color of the scores of out-of-distribution samples. In-distribution samples have the
#: first of `COLORS`.
OOD_COLOR = "#D55E00"
#: Ratio of the largest score to the median score of in-distribution samples above which
#: the scale is logarithmic by default. A linear scale would have few non-empty bins.
CROWDED = 20


class OODHistogramDisplay:
    """Visualization of the distribution of out-of-distribution scores.

    It is recommended to use `OODHistogramDisplay.from_estimator` or
    `OODHistogramDisplay.from_scores` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    scores_in : ndarray of shape (n_in,)
        Scores of in-distribution samples. Higher scores indicate more unusual samples.
    scores_out : ndarray of shape (n_out,)
        Scores of out-of-distribution samples.
    threshold : float, default=None
        Threshold above which samples are flagged. If None, no line is plotted.

    Attributes
    ----------
    flagged_in_ : float or None
        Fraction of in-distribution samples above the threshold, the false positive
        rate.
    flagged_out_ : float or None
        Fraction of out-of-distribution samples above the threshold, the true positive
        rate.
    bars_ : list of matplotlib artists
        Histograms of in-distribution and of out-of-distribution samples.
    line_ : matplotlib Line2D or None
        Line of the threshold.
    ax_ : matplotlib Axes
        Axes with the histograms.
    figure_ : matplotlib Figure
        Figure containing the histograms.

    See Also
    --------
    UncertaintyDisplay : Plot scores over two features.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp.inspection import OODHistogramDisplay
    >>> rng = np.random.default_rng(0)
    >>> display = OODHistogramDisplay(
    ...     scores_in=rng.beta(2, 8, 500), scores_out=rng.beta(8, 2, 500), threshold=0.5
    ... ).plot()
    >>> display.flagged_in_, display.flagged_out_
    (0.016, 0.984)
    """

    def __init__(
        self,
        *,
        scores_in: np.ndarray,
        scores_out: np.ndarray,
        threshold: float | None = None,
    ) -> None:
        self.scores_in = scores_in
        self.scores_out = scores_out
        self.threshold = threshold

    def plot(
        self,
        ax: Axes | None = None,
        *,
        bins: int | str | Sequence[float] = 30,
        scale: Literal["auto", "log", "linear"] = "auto",
        names: tuple[str, str] = ("known", "unknown"),
        legend: bool = True,
        xlabel: str = "out-of-distribution score",
        ylabel: str = "fraction of samples",
        **kwargs: Any,
    ) -> Self:
        """Plot visualization.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            Bins of both histograms, as in :func:`numpy.histogram_bin_edges`. On a
            logarithmic scale, a number of bins or a rule applies to the logarithms.
        scale : {"auto", "log", "linear"}, default="auto"
            Scale of the scores. If "auto", the scale is logarithmic if all scores are
            non-negative and the largest is more than 20 times the median of the
            in-distribution samples, because most of these samples would share one bin
            of a linear scale. Scores of 0 are in the first bin of a logarithmic scale.
        names : pair of str, default=("known", "unknown")
            Names of in-distribution and out-of-distribution samples in the legend.
        legend : bool, default=True
            Whether to add a legend with the numbers of flagged samples.
        xlabel, ylabel : str
            Labels of the axes.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.hist`.

        Returns
        -------
        display : OODHistogramDisplay
            Object that stores the data and the plotted elements.

        Raises
        ------
        ValueError
            If ``scale="log"`` and scores are negative, or if `scale` is invalid.
        """
        ax = make_axes(ax, "OODHistogramDisplay.plot")
        logarithmic = self._is_logarithmic(scale)
        scores = (self.scores_in, self.scores_out)
        shares = [self._flagged(part) for part in scores]
        self.flagged_in_, self.flagged_out_ = shares
        if logarithmic:
            scores = self._clipped()
            ax.set_xscale("log")
        edges = _edges(np.concatenate(scores), bins, logarithmic)
        style = {"histtype": "stepfilled", "alpha": 0.55, "linewidth": 1.2, **kwargs}
        self.bars_: list[Any] = []
        for part, share, name, color in zip(
            scores, shares, names, (COLORS[0], OOD_COLOR), strict=True
        ):
            label = name
            if share is not None:
                flagged = round(share * len(part))
                label = f"{name}: {flagged:,} of {len(part):,} flagged ({share:.1%})"
            # Histograms show fractions because the numbers of samples may be very
            # different.
            bars: dict[str, Any] = {"bins": edges, "color": color, "label": label}
            bars |= {"weights": np.full(len(part), 1 / len(part)), "edgecolor": color}
            self.bars_.append(ax.hist(part, **(bars | style))[2])
        self.line_: Line2D | None = None
        if self.threshold is not None and np.isfinite(self.threshold):
            label = f"threshold {self.threshold:.3g}"
            self.line_ = ax.axvline(
                self.threshold, color="black", linestyle="dashed", label=label
            )
        if legend:
            ax.legend(loc="best", fontsize="small", framealpha=0.9)
        set_labels(ax, xlabel, ylabel)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_in: ArrayLike,
        X_out: ArrayLike,
        *,
        ax: Axes | None = None,
        bins: int | str | Sequence[float] = 30,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of two sets of samples from a fitted classifier.

        Parameters
        ----------
        estimator : object
            Fitted classifier of this package, or a fitted pipeline, search, calibrated
            or frozen classifier that contains one.
        X_in : {array-like, dataframe} of shape (n_in, n_features)
            In-distribution samples that were not used for training.
        X_out : {array-like, dataframe} of shape (n_out, n_features)
            Out-of-distribution samples.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            Bins of both histograms, as in :func:`numpy.histogram_bin_edges`.
        **kwargs : dict
            Additional keyword arguments for `OODHistogramDisplay.plot`.

        Returns
        -------
        display : OODHistogramDisplay
            Object that stores the data and the plotted elements.

        Raises
        ------
        AttributeError
            If the estimator does not contain a classifier of this package.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> from sksngp import SNGPClassifier
        >>> from sksngp.datasets import two_moons, two_moons_ood
        >>> from sksngp.inspection import OODHistogramDisplay
        >>> X, y = two_moons(200, random_state=0)
        >>> clf = SNGPClassifier(num_layers=2, num_hidden=32, num_inducing=128,
        ...                      epochs=10, random_state=0).fit(X, y)
        >>> X_new, _ = two_moons(200, random_state=1)
        >>> display = OODHistogramDisplay.from_estimator(
        ...     clf, X_new, two_moons_ood(50, random_state=0)
        ... )
        >>> display.flagged_in_ < display.flagged_out_
        True
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        return cls.from_scores(
            ood_score(estimator, X_in),
            ood_score(estimator, X_out),
            threshold_of(estimator),
            ax=ax,
            bins=bins,
            **kwargs,
        )

    @classmethod
    def from_scores(
        cls,
        scores_in: ArrayLike,
        scores_out: ArrayLike,
        threshold: float | None = None,
        *,
        ax: Axes | None = None,
        bins: int | str | Sequence[float] = 30,
        **kwargs: Any,
    ) -> Self:
        """Plot scores that have already been computed.

        Parameters
        ----------
        scores_in, scores_out : array-like of shape (n_in,) and (n_out,)
            Scores of in-distribution and out-of-distribution samples. Higher scores are
            more unusual.
        threshold : float, default=None
            Threshold above which samples are flagged. If None, no line is plotted.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            Bins of both histograms, as in :func:`numpy.histogram_bin_edges`.
        **kwargs : dict
            Additional keyword arguments for `OODHistogramDisplay.plot`.

        Returns
        -------
        display : OODHistogramDisplay
            Object that stores the data and the plotted elements.

        Examples
        --------
        >>> from sksngp.inspection import OODHistogramDisplay
        >>> display = OODHistogramDisplay.from_scores([0.1, 0.2], [0.3, 0.9], 0.5)
        >>> display.flagged_in_, display.flagged_out_
        (0.0, 0.5)
        """
        display = cls(
            scores_in=_scores(scores_in, "scores_in"),
            scores_out=_scores(scores_out, "scores_out"),
            threshold=threshold,
        )
        return display.plot(ax, bins=bins, **kwargs)

    def _is_logarithmic(self, scale: str) -> bool:
        """Return whether the scale is logarithmic."""
        if scale not in ("auto", "log", "linear"):
            raise ValueError(f"scale must be 'auto', 'log' or 'linear', got {scale!r}.")
        least = min(self.scores_in.min(), self.scores_out.min())
        largest = max(self.scores_in.max(), self.scores_out.max())
        if scale == "log" and least < 0:
            raise ValueError(
                f"scale='log' requires non-negative scores, got {least:g}."
            )
        crowded = least >= 0 and largest > CROWDED * np.median(self.scores_in)
        return scale == "log" or (scale == "auto" and bool(crowded))

    def _clipped(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores, clipped at the smallest positive score."""
        joined = np.concatenate([self.scores_in, self.scores_out])
        least = joined[joined > 0].min(initial=1.0)
        return np.maximum(self.scores_in, least), np.maximum(self.scores_out, least)

    def _flagged(self, scores: np.ndarray) -> float | None:
        if self.threshold is None:
            return None
        return float(np.mean(scores > self.threshold))


def _edges(
    scores: np.ndarray, bins: int | str | Sequence[float], logarithmic: bool
) -> NDArray[np.float64]:
    """Compute the edges of the bins."""
    if not logarithmic or not isinstance(bins, int | str):
        return np.histogram_bin_edges(scores, bins=bins)
    edges: NDArray[np.float64] = np.histogram_bin_edges(np.log10(scores), bins=bins)
    return 10.0**edges


def _scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    checked = check_array(scores, ensure_2d=False, dtype=float, input_name=name)
    return column_or_1d(checked)
