"""Display of an explanation: bars of features, or a map of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._pipelines import explain_ood
from .._uncertainty.explanation import OODExplanation
from ._common import COLORS, literal, make_axes, require_matplotlib, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Opacity of the map of contributions on top of an image.
MAP_OPACITY = 0.6


class OODExplanationDisplay:
    """Visualization of contributions to the out-of-distribution score of a sample.

    It is recommended to use `OODExplanationDisplay.from_estimator` or
    `OODExplanationDisplay.from_explanation` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    contributions : ndarray of shape (n_features,) or (height, width)
        Contributions of the features, or of the pixels of an image, in units of the
        score.
    values : ndarray of shape (n_features,) or (height, width, channels)
        Values of the features, or the image.
    feature_names : list of str, default=None
        Names of the features. None for images.
    score : float, default=None
        Out-of-distribution score of the sample, for the title.

    Attributes
    ----------
    bars_ : matplotlib BarContainer or None
        Bars of the features with the largest contributions.
    map_ : matplotlib AxesImage or None
        Map of the contributions to the score of an image.
    ax_ : matplotlib Axes
        Axes with the bars or the map.
    figure_ : matplotlib Figure
        Figure containing the bars or the map.

    See Also
    --------
    sksngp.explain_ood : Compute the contributions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import SNGPClassifier
    >>> from sksngp.inspection import OODExplanationDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = SNGPClassifier(num_layers=2, cv=None, epochs=20, random_state=0)
    >>> odd = X.iloc[[0]].assign(**{"sepal width (cm)": 12.0})
    >>> display = OODExplanationDisplay.from_estimator(clf.fit(X, y), odd, X)
    >>> display.ax_.get_yticklabels()[0].get_text()
    'sepal width (cm) = 12'
    """

    def __init__(
        self,
        *,
        contributions: np.ndarray,
        values: np.ndarray,
        feature_names: list[str] | None = None,
        score: float | None = None,
    ) -> None:
        self.contributions = contributions
        self.values = values
        self.feature_names = feature_names
        self.score = score

    def plot(
        self, ax: Axes | None = None, *, max_features: int = 10, **kwargs: Any
    ) -> Self:
        """Plot visualization.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        max_features : int, default=10
            Maximum number of features to show. Features with the largest absolute
            contributions are selected. Ignored for images.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.barh`, or for
            :meth:`matplotlib.axes.Axes.imshow` of the map if the sample is an image.

        Returns
        -------
        display : OODExplanationDisplay
            Object that stores the data and the plotted elements.
        """
        ax = make_axes(ax, "OODExplanationDisplay.plot")
        self.bars_: Any = None
        self.map_: Any = None
        if self.contributions.ndim == 1:
            self._draw_bars(ax, max_features, kwargs)
        else:
            self._draw_map(ax, kwargs)
        if self.score is not None:
            ax.set_title(f"out-of-distribution score {self.score:.3g}")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_bars(self, ax: Axes, max_features: int, kwargs: dict[str, Any]) -> None:
        shown = np.argsort(-np.abs(self.contributions), kind="stable")[:max_features]
        shown = shown[np.argsort(-self.contributions[shown], kind="stable")]
        names = self.feature_names or [f"x{n}" for n in range(len(self.contributions))]
        labels = [literal(f"{names[n]} = {_short(self.values[n])}") for n in shown]
        lengths = self.contributions[shown]
        style = {"color": np.where(lengths > 0, COLORS[-1], COLORS[0]), **kwargs}
        self.bars_ = ax.barh(np.arange(len(shown)), lengths, **style)
        ax.set_yticks(np.arange(len(shown)), labels)
        ax.invert_yaxis()
        ax.axvline(0, color="black", linewidth=0.8)
        set_labels(ax, None, "", "contribution to the score")

    def _draw_map(self, ax: Axes, kwargs: dict[str, Any]) -> None:
        image = self.values.mean(axis=-1)
        ax.imshow(image, cmap="gray")
        limit = np.abs(self.contributions).max() or 1.0
        style = {"cmap": "coolwarm", "vmin": -limit, "vmax": limit, **kwargs}
        self.map_ = ax.imshow(self.contributions, **({"alpha": MAP_OPACITY} | style))
        ax.set(xticks=[], yticks=[])
        ax.figure.colorbar(self.map_, ax=ax, label="contribution to the score")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        X_reference: Any,
        *,
        sample: int = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Explain a sample and plot the result.

        Parameters
        ----------
        estimator : object
            Fitted classifier of this package, or a fitted pipeline, search, calibrated
            or frozen classifier that contains one.
        X : array-like or dataframe of shape (n_samples, n_features)
            Input samples. Images may have the shape (n_samples, height, width,
            channels).
        X_reference : array-like or dataframe of shape (n_reference, n_features)
            In-distribution samples with which the sample is compared.
        sample : int, default=0
            Position in `X` of the sample to explain.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Additional keyword arguments for `OODExplanationDisplay.plot`.

        Returns
        -------
        display : OODExplanationDisplay
            Object that stores the data and the plotted elements.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        position = np.arange(len(X))[sample]
        one = slice(position, position + 1)
        chosen = X.iloc[one] if hasattr(X, "iloc") else X[one]
        explanation = explain_ood(estimator, chosen, X_reference)
        return cls.from_explanation(explanation, ax=ax, **kwargs)

    @classmethod
    def from_explanation(
        cls,
        explanation: OODExplanation,
        *,
        sample: int = 0,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot an explanation that has already been computed.

        Parameters
        ----------
        explanation : OODExplanation
            Explanation returned by `explain_ood`.
        sample : int, default=0
            Position of the sample to show.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Additional keyword arguments for `OODExplanationDisplay.plot`.

        Returns
        -------
        display : OODExplanationDisplay
            Object that stores the data and the plotted elements.
        """
        contributions = explanation.contributions[sample]
        if contributions.ndim == 1:
            values = explanation.sample_values(sample)
            names = explanation.feature_names
        else:
            shape = (*contributions.shape, -1)
            values = np.asarray(explanation.X[sample], float).reshape(shape)
            names = None
        display = cls(
            contributions=contributions,
            values=values,
            feature_names=names,
            score=float(explanation.scores[sample]),
        )
        return display.plot(ax, **kwargs)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
