"""Display of the error rate as a function of the coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ..metrics import risk_coverage_curve
from ..metrics._checks import check_classification_inputs
from ._common import COLORS, line_style, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RiskCoverageDisplay:
    """Visualization of the error rate as a function of the fraction of samples kept.

    It is recommended to use `RiskCoverageDisplay.from_estimator` or
    `RiskCoverageDisplay.from_predictions` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    coverage : ndarray of shape (n,)
        Fractions of samples kept, increasing to 1.
    risk : ndarray of shape (n,)
        Error rates of the samples kept.
    name : str, default=None
        Name of the classifier in the legend. If None, no name is shown.

    Attributes
    ----------
    area_under_risk_coverage_ : float
        Mean risk over all coverages. Lower is better.
    line_ : matplotlib Line2D
        Risk-coverage curve.
    ax_ : matplotlib Axes
        Axes with the risk-coverage curve.
    figure_ : matplotlib Figure
        Figure containing the risk-coverage curve.

    See Also
    --------
    sksngp.metrics.risk_coverage_curve : Compute the data of the curve.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sksngp.inspection import RiskCoverageDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = LogisticRegression(max_iter=1000).fit(X, y)
    >>> display = RiskCoverageDisplay.from_estimator(clf, X, y)
    >>> bool(display.area_under_risk_coverage_ < 0.02)
    True
    """

    def __init__(
        self, *, coverage: np.ndarray, risk: np.ndarray, name: str | None = None
    ) -> None:
        self.coverage = coverage
        self.risk = risk
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
        display : RiskCoverageDisplay
            Object that stores the data and the plotted elements.
        """
        ax = make_axes(ax, "RiskCoverageDisplay.plot")
        self.area_under_risk_coverage_ = float(np.mean(self.risk))
        name = self.name if name is None else name
        summary = f"AURC {self.area_under_risk_coverage_:.4f}"
        style = {
            "label": summary if name is None else f"{name} ({summary})",
            "color": COLORS[len(ax.lines) % len(COLORS)],
        }
        kwargs = style | line_style(kwargs)
        self.line_ = ax.plot(self.coverage, self.risk, **kwargs)[0]
        set_labels(ax, None, None, "fraction of samples kept", "error rate")
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
        """Plot the risk-coverage curve of a fitted classifier.

        The uncertainty of a sample is 1 minus its largest probability.

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
        display : RiskCoverageDisplay
            Object that stores the data and the plotted elements.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        _, proba, _, correct = check_classification_inputs(
            y, estimator.predict_proba(X), estimator.classes_
        )
        return cls.from_predictions(
            correct,
            1.0 - proba.max(axis=1),
            name=type(estimator).__name__ if name is None else name,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        correct: ArrayLike,
        uncertainty: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the risk-coverage curve of predictions with uncertainties.

        Parameters
        ----------
        correct : array-like of bool, shape (n_samples,)
            Whether each prediction is correct.
        uncertainty : array-like of float, shape (n_samples,)
            Uncertainty of each prediction.
        name : str, default=None
            Name of the classifier in the legend. If None, no name is shown.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : RiskCoverageDisplay
            Object that stores the data and the plotted elements.

        Examples
        --------
        >>> from sksngp.inspection import RiskCoverageDisplay
        >>> correct = [True, True, True, False]
        >>> display = RiskCoverageDisplay.from_predictions(
        ...     correct, [0.1, 0.2, 0.3, 0.9]
        ... )
        >>> display.area_under_risk_coverage_
        0.0625
        """
        coverage, risk = risk_coverage_curve(correct, uncertainty)
        return cls(coverage=coverage, risk=risk, name=name).plot(ax, **kwargs)
