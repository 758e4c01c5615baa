"""Errors by how many rows a classifier decides itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ..metrics import risk_coverage_curve
from ..metrics._checks import classified
from ._common import COLORS, line_style, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RiskCoverageDisplay:
    """Error rate among the rows kept, by the share of rows kept.

    It is recommended to use `RiskCoverageDisplay.from_estimator` or
    `RiskCoverageDisplay.from_predictions` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    coverage : ndarray of shape (n,)
        Shares of rows kept, rising to 1.
    risk : ndarray of shape (n,)
        Share of errors among them.
    name : str, default=None
        What to call the classifier in the legend.

    Attributes
    ----------
    area_under_risk_coverage_ : float
        Mean risk over coverages; lower is better.
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    sksngp.metrics.risk_coverage_curve : The data of the curve.

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
            What to call the classifier in the legend; by default the stored name.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        RiskCoverageDisplay
            Object that stores the computed values and what was drawn.
        """
        ax = make_axes(ax, "RiskCoverageDisplay")
        self.area_under_risk_coverage_ = float(np.mean(self.risk))
        name = self.name if name is None else name
        said = f"AURC {self.area_under_risk_coverage_:.4f}"
        style = {
            "label": said if name is None else f"{name} ({said})",
            "color": COLORS[len(ax.lines) % len(COLORS)],
        }
        kwargs = style | line_style(kwargs)
        self.line_ = ax.plot(self.coverage, self.risk, **kwargs)[0]
        set_labels(ax, None, None, "share of rows kept", "error rate among them")
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
        """Plot from a fitted classifier, its rows in the order of confidence.

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
        RiskCoverageDisplay
            Object that stores the computed values and what was drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        _, proba, _, correct = classified(
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
        """Plot predictions that were made before.

        Parameters
        ----------
        correct : array-like of bool, shape (n,)
            Whether each prediction is right.
        uncertainty : array-like of float, shape (n,)
            How uncertain it is; the least certain row is the first to be referred.
        name : str, default=None
            What to call the classifier in the legend.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        RiskCoverageDisplay
            Object that stores the computed values and what was drawn.

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
