"""Histograms of the scores of known and unknown rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._reach import ood_score, threshold_of
from ._common import COLORS, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: Colour of the scores of unknown rows, beside the first of `COLORS`.
OOD_COLOR = "#D55E00"
#: A linear axis crowds scores into few bars if the largest is so many times the median
#: of known samples.
CROWDED = 20


class OODHistogramDisplay:
    """Histograms of the out-of-distribution scores of known and of unknown rows.

    It is recommended to use `OODHistogramDisplay.from_estimator` or
    `OODHistogramDisplay.from_scores` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    scores_in : ndarray of shape (n_in,)
        Scores of rows like those trained on; higher = more unusual.
    scores_out : ndarray of shape (n_out,)
        Those of rows unlike them.
    threshold : float, default=None
        Rows that score above it are flagged. None draws no line.

    Attributes
    ----------
    flagged_in_ : float or None
        Share of known rows above the threshold: false alarms.
    flagged_out_ : float or None
        Share of unknown rows above the threshold: detections.
    bars_ : list of matplotlib artists
        The histogram of known rows, and that of unknown rows.
    line_ : matplotlib Line2D or None
        The threshold.
    ax_ : matplotlib Axes
        Axes with the histograms.
    figure_ : matplotlib Figure
        Figure containing the histograms.

    See Also
    --------
    UncertaintyDisplay : Surfaces over data of two dimensions.

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
        ylabel: str = "share of rows",
        **kwargs: Any,
    ) -> Self:
        """Plot visualization.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            As in :func:`numpy.histogram_bin_edges`; both histograms share them. On a
            logarithmic scale, a number or a rule applies to the logarithms.
        scale : {"auto", "log", "linear"}, default="auto"
            Scale of the scores. Most scores of known samples are tiny, and would share
            one bar of a linear scale: "auto" is "log" if no score is negative and the
            largest is more than 20 times the median of the known samples. Scores of 0
            are drawn in the first bar of a logarithmic scale.
        names : pair of str, default=("known", "unknown")
            What to call the rows in the legend.
        legend : bool, default=True
            Whether to add a legend, with the numbers of flagged samples.
        xlabel, ylabel : str
            Labels of the axes.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.hist`.

        Returns
        -------
        OODHistogramDisplay
            Object that stores what was drawn.

        Raises
        ------
        ValueError
            If ``scale="log"`` and scores are negative, or if `scale` is none of the
            three.
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
            # Shares, not counts: there may be far more rows of one than of the other.
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
        """Plot the scores that a fitted classifier gives to two sets of rows.

        Parameters
        ----------
        estimator : object
            Fitted classifier of this package, or a fitted pipeline that ends in
            one, or a fitted search over either.
        X_in : {array-like, dataframe} of shape (n_in, n_features)
            Rows like those trained on, but not those trained on.
        X_out : {array-like, dataframe} of shape (n_out, n_features)
            Rows unlike them.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            As in :func:`numpy.histogram_bin_edges`.
        **kwargs : dict
            Further keyword arguments of `OODHistogramDisplay.plot`.

        Returns
        -------
        OODHistogramDisplay
            Object that stores the computed values and what was drawn.

        Raises
        ------
        AttributeError
            If the estimator has no `score_samples`.
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
        """Plot scores that were computed before.

        Parameters
        ----------
        scores_in, scores_out : array-like of shape (n_in,) and (n_out,)
            Scores of known and of unknown rows; higher = more unusual.
        threshold : float, default=None
            Rows that score above it are flagged. None draws no line.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        bins : int, str or sequence of floats, default=30
            As in :func:`numpy.histogram_bin_edges`.
        **kwargs : dict
            Further keyword arguments of `OODHistogramDisplay.plot`.

        Returns
        -------
        OODHistogramDisplay
            Object that stores the scores and what was drawn.

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
        """Whether to draw logarithms."""
        if scale not in ("auto", "log", "linear"):
            raise ValueError(f"scale must be 'auto', 'log' or 'linear', got {scale!r}.")
        least = min(self.scores_in.min(), self.scores_out.min())
        largest = max(self.scores_in.max(), self.scores_out.max())
        if scale == "log" and least < 0:
            raise ValueError(
                f"scale='log' requires scores of at least 0, got {least:g}."
            )
        crowded = least >= 0 and largest > CROWDED * np.median(self.scores_in)
        return scale == "log" or (scale == "auto" and bool(crowded))

    def _clipped(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores that are raised to the smallest positive one."""
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
    """Edges of the bins."""
    if not logarithmic or not isinstance(bins, int | str):
        return np.histogram_bin_edges(scores, bins=bins)
    edges: NDArray[np.float64] = np.histogram_bin_edges(np.log10(scores), bins=bins)
    return 10.0**edges


def _scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    checked = check_array(scores, ensure_2d=False, dtype=float, input_name=name)
    return column_or_1d(checked)
