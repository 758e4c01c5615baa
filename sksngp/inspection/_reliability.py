"""Display of accuracy as a function of confidence."""

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
    """Reliability diagram of a classifier with any number of classes.

    It is recommended to use `ReliabilityDisplay.from_estimator` or
    `ReliabilityDisplay.from_predictions` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    confidence, accuracy : ndarray of shape (n_bins,)
        Mean confidence and accuracy of each non-empty bin.
    fraction : ndarray of shape (n_bins,)
        Fraction of the total weight in each bin.
    name : str, default=None
        Name of the classifier in the legend. If None, no name is shown.

    Attributes
    ----------
    expected_calibration_error_ : float
        Mean absolute difference between accuracy and confidence, weighted by
        `fraction`.
    line_ : matplotlib Line2D
        Reliability curve.
    markers_ : matplotlib PathCollection
        Markers of the bins, whose size increases with `fraction`.
    ax_ : matplotlib Axes
        Axes with the reliability curve.
    figure_ : matplotlib Figure
        Figure containing the reliability curve.

    See Also
    --------
    sksngp.metrics.reliability_curve : Compute the data of the curve.
    sklearn.calibration.CalibrationDisplay : Calibration curve of a binary classifier.

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
        fraction: np.ndarray,
        name: str | None = None,
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.fraction = fraction
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
            Name of the classifier in the legend. If None, the stored name is used.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ReliabilityDisplay
            Object that stores the data and the plotted elements.
        """
        ax = make_axes(ax, "ReliabilityDisplay.plot")
        self.expected_calibration_error_ = float(
            self.fraction @ np.abs(self.accuracy - self.confidence)
        )
        name = self.name if name is None else name
        summary = f"ECE {self.expected_calibration_error_:.3f}"
        if "calibrated" not in [line.get_label() for line in ax.lines]:
            ax.plot([0, 1], [0, 1], ":", color="gray", label="calibrated")
        style = {
            "label": summary if name is None else f"{name} ({summary})",
            "color": COLORS[(len(ax.lines) - 1) % len(COLORS)],
        }
        kwargs = style | line_style(kwargs)
        self.line_ = ax.plot(self.confidence, self.accuracy, **kwargs)[0]
        self.markers_ = ax.scatter(
            self.confidence,
            self.accuracy,
            s=10 + 200 * self.fraction,
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
        """Plot the reliability diagram of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted classifier with `predict_proba` and `classes_`, or a pipeline or
            search with such a classifier.
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples that were not used to fit the classifier.
        y : array-like of shape (n_samples,)
            True class labels.
        name : str, default=None
            Name of the classifier in the legend. If None, the name of its class is
            used.
        **kwargs : dict
            Additional keyword arguments for `from_predictions`.

        Returns
        -------
        display : ReliabilityDisplay
            Object that stores the data and the plotted elements.

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
        """Plot the reliability diagram of predicted probabilities.

        Parameters
        ----------
        y_true, proba, n_bins, strategy, labels, sample_weight
            Parameters of `sksngp.metrics.reliability_curve`.
        name : str, default=None
            Name of the classifier in the legend. If None, no name is shown.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ReliabilityDisplay
            Object that stores the data and the plotted elements.

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
