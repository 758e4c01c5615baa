"""Accuracy by confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ..metrics import reliability_curve
from ._common import COLORS, line_style, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ReliabilityDisplay:
    """Reliability diagram of a classifier of any number of classes.

    It is recommended to use `ReliabilityDisplay.from_estimator` or
    `ReliabilityDisplay.from_predictions` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    confidence, accuracy : ndarray of shape (n_bins,)
        Mean confidence, and share of right predictions, of each bin that holds rows.
    share : ndarray of shape (n_bins,)
        Share of the rows in it.
    name : str, default=None
        What to call the classifier in the legend.

    Attributes
    ----------
    expected_calibration_error_ : float
        Mean distance of the curve from the diagonal, weighted by `share`.
    line_ : matplotlib Line2D
        The curve; the size of its markers grows with `share`.
    markers_ : matplotlib PathCollection
        The bins.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    sksngp.metrics.reliability_curve : The data of the curve.
    sklearn.calibration.CalibrationDisplay : For the positive class of two.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sksngp.inspection import ReliabilityDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = LogisticRegression(max_iter=1000).fit(X, y)
    >>> display = ReliabilityDisplay.from_estimator(clf, X, y, n_bins=5)
    >>> bool(display.expected_calibration_error_ < 0.1)
    True
    """

    def __init__(
        self,
        *,
        confidence: np.ndarray,
        accuracy: np.ndarray,
        share: np.ndarray,
        name: str | None = None,
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.share = share
        self.name = name

    def plot(
        self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Plot visualization.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        name : str, default=None
            What to call the classifier in the legend; by default the stored name.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            Object that stores the computed values and what was drawn.
        """
        ax = make_axes(ax, "ReliabilityDisplay")
        self.expected_calibration_error_ = float(
            self.share @ np.abs(self.accuracy - self.confidence)
        )
        name = self.name if name is None else name
        said = f"ECE {self.expected_calibration_error_:.3f}"
        if "calibrated" not in [line.get_label() for line in ax.lines]:
            ax.plot([0, 1], [0, 1], ":", color="gray", label="calibrated")
        style = {
            "label": said if name is None else f"{name} ({said})",
            "color": COLORS[(len(ax.lines) - 1) % len(COLORS)],
        }
        kwargs = style | line_style(kwargs)
        self.line_ = ax.plot(self.confidence, self.accuracy, **kwargs)[0]
        self.markers_ = ax.scatter(
            self.confidence,
            self.accuracy,
            s=10 + 200 * self.share,
            color=self.line_.get_color(),
        )
        set_labels(ax, None, None, "confidence", "accuracy")
        ax.legend(loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot from a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `predict_proba` and `classes_`: a classifier, or a pipeline or
            search with one in it.
        X : array-like or dataframe of shape (n, n_features)
        y : array-like of shape (n,)
            Classes of the rows, which the classifier must not have been fitted on.
        name : str, default=None
            What to call the classifier; by default its class.
        **kwargs : dict
            As for `from_predictions`.

        Returns
        -------
        ReliabilityDisplay
            Object that stores the computed values and what was drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            name=type(estimator).__name__ if name is None else name,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        proba: ArrayLike,
        *,
        n_bins: int = 15,
        strategy: Literal["uniform", "quantile"] = "uniform",
        labels: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot probabilities that were predicted before.

        Parameters
        ----------
        y_true, proba, n_bins, strategy, labels, sample_weight
            As for `sksngp.metrics.reliability_curve`.
        name : str, default=None
            What to call the classifier in the legend.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            Object that stores the computed values and what was drawn.

        Examples
        --------
        >>> from sksngp.inspection import ReliabilityDisplay
        >>> display = ReliabilityDisplay.from_predictions([0, 1], [[0.8, 0.2]] * 2)
        >>> round(display.expected_calibration_error_, 3)
        0.3
        """
        curve = reliability_curve(
            y_true,
            proba,
            n_bins=n_bins,
            strategy=strategy,
            labels=labels,
            sample_weight=sample_weight,
        )
        return cls(**curve._asdict(), name=name).plot(ax, **kwargs)
