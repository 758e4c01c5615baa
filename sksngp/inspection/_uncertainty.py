"""Display of probabilities and uncertainties as a function of two features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._common import COLORS, literal, make_axes, require_matplotlib, set_labels
from ._surface import (
    Surface,
    check_kind,
    compute_surface,
    in_container_of,
    label_of,
    make_grid,
    two_features,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Colormap

#: Markers that distinguish classes if there are more classes than colors.
MARKERS = ("o", "^", "s", "D", "v", "P")

#: Colors of a probability surface, which are lighter than those of the points.
SURFACE_OF_TWO = ("#4D9DCB", "#F7F7F7", "#EFBC4A")
SURFACE_OF_MANY = ("#FFFFFF", "#606060")

#: Upper end of the scale of out-of-distribution scores as a multiple of the threshold.
SCALE_OF_SCORES = 2.0


class UncertaintyDisplay:
    """Visualization of probabilities or uncertainties as a function of two features.

    It is recommended to use `UncertaintyDisplay.from_estimator` to create a
    display. All parameters are stored as attributes.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (grid_resolution, grid_resolution)
        First and second output of :func:`numpy.meshgrid`.
    response : ndarray of shape (grid_resolution, grid_resolution)
        Values of the surface. They are in [0, 1] except for out-of-distribution scores.
    kind : {"probability", "total", "aleatoric", "epistemic", "ood"}, default="total"
        Quantity in `response`, which determines the default colormap.
    label : str, default=None
        Label of the color bar. If None, it is derived from `kind`.
    classes : ndarray of shape (n_classes,), default=None
        Classes in the order of the colors. If None, the classes are those in `y`.
    X : ndarray of shape (n_samples, 2), default=None
        Samples to plot on the surface.
    y : ndarray of shape (n_samples,), default=None
        Class labels of `X`. If None, all samples have the same color.
    X_ood : ndarray of shape (n_ood, 2), default=None
        Out-of-distribution samples to plot on top.
    threshold : float, default=None
        Value of `response` at which to plot a contour line. If None, no line is
        plotted.
    xlabel, ylabel : str, default=None
        Labels of the axes.

    Attributes
    ----------
    surface_ : matplotlib QuadContourSet
        Filled contours of the surface.
    points_ : list of matplotlib PathCollection
        Samples, with one collection for each class, followed by the out-of-distribution
        samples.
    colorbar_ : matplotlib Colorbar or None
        Color bar, or None if it is not shown.
    ax_ : matplotlib Axes
        Axes with the surface.
    figure_ : matplotlib Figure
        Figure containing the surface.

    See Also
    --------
    UncertaintyDisplay.from_estimator : Plot from a fitted estimator.
    OODHistogramDisplay : Plot the scores of data with any number of features.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp.inspection import UncertaintyDisplay
    >>> xx0, xx1 = np.meshgrid(np.linspace(-3, 3, 50), np.linspace(-2, 2, 50))
    >>> far = 1 - np.exp(-(xx0**2 + xx1**2) / 2)
    >>> display = UncertaintyDisplay(xx0=xx0, xx1=xx1, response=far).plot()
    >>> display.colorbar_.ax.get_ylabel()
    'total uncertainty'
    """

    def __init__(
        self,
        *,
        xx0: np.ndarray,
        xx1: np.ndarray,
        response: np.ndarray,
        kind: Surface = "total",
        label: str | None = None,
        classes: np.ndarray | None = None,
        X: np.ndarray | None = None,
        y: np.ndarray | None = None,
        X_ood: np.ndarray | None = None,
        threshold: float | None = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
    ) -> None:
        self.xx0 = xx0
        self.xx1 = xx1
        self.response = response
        self.kind = kind
        self.label = label
        self.classes = classes
        self.X = X
        self.y = y
        self.X_ood = X_ood
        self.threshold = threshold
        self.xlabel = xlabel
        self.ylabel = ylabel

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: str | Colormap | None = None,
        colorbar: bool = True,
        legend: bool = True,
        scatter_kwargs: dict[str, Any] | None = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot visualization.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        cmap : str or matplotlib Colormap, default=None
            Colormap of the surface. If None, the probability of a binary classifier is
            plotted with a colormap between the colors of the two classes, and other
            quantities with a colormap that becomes darker with the response.
        colorbar : bool, default=True
            Whether to add a color bar.
        legend : bool, default=True
            Whether to add a legend of the samples.
        scatter_kwargs : dict, default=None
            Keyword arguments for :meth:`matplotlib.axes.Axes.scatter` of the samples.
        xlabel, ylabel : str, default=None
            Labels of the axes. If None, the stored labels are used.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.contourf`.

        Returns
        -------
        display : UncertaintyDisplay
            Object that stores the data and the plotted elements.
        """
        check_kind(self.kind)
        ax = make_axes(ax, "UncertaintyDisplay.plot")
        top = self._top()
        # Values above the last level would not be filled.
        response = np.clip(self.response, 0.0, top)
        cmap = _default_cmap(self.kind, self.classes) if cmap is None else cmap
        levels = np.linspace(0, top, 21)
        style = {"levels": levels, "cmap": cmap, "zorder": 0, **kwargs}
        self.surface_ = ax.contourf(self.xx0, self.xx1, response, **style)
        self.ax_, self.figure_ = ax, ax.figure
        self.colorbar_ = self._draw_colorbar() if colorbar else None
        if self.threshold is not None:
            self._draw_threshold(response, self.threshold)
        self.points_ = _draw_points(self, scatter_kwargs or {})
        if legend and (self.points_ or self.threshold is not None):
            ax.legend(loc="best", fontsize="small", framealpha=0.9, markerscale=1.5)
        set_labels(ax, xlabel, ylabel, self.xlabel, self.ylabel)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        y: ArrayLike | None = None,
        kind: Surface = "probability",
        X_ood: ArrayLike | None = None,
        class_of_interest: Any = None,
        grid_resolution: int = 100,
        eps: float | tuple[float, float] = 1.0,
        xlabel: str | None = None,
        ylabel: str | None = None,
        ax: Axes | None = None,
        cmap: str | Colormap | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot probabilities or uncertainties from a fitted classifier.

        Parameters
        ----------
        estimator : object
            Fitted classifier of this package, or a fitted pipeline, search, calibrated
            or frozen classifier that contains one. For ``kind="probability"``, any
            classifier with `predict_proba` is supported.
        X : {array-like, dataframe} of shape (n_samples, 2)
            Samples to plot, which also determine the range of the grid.
        y : array-like of shape (n_samples,), default=None
            Class labels of `X`, shown as colors.
        kind : {"probability", "total", "aleatoric", "epistemic", "ood"}, \
                default="probability"
            Quantity to plot: the probability of a class, a kind of uncertainty, or the
            out-of-distribution score (the opposite of `score_samples`). For "ood", a
            line is plotted at the threshold of `predict_ood`, and the scale ends at
            twice the threshold.
        X_ood : {array-like, dataframe} of shape (n_ood, 2), default=None
            Out-of-distribution samples to plot on top.
        class_of_interest : int, float, bool or str, default=None
            Class whose probability is plotted. If None, it is the last class of a
            binary classifier. For more classes, the probability of the most probable
            class is plotted.
        grid_resolution : int, default=100
            Number of grid points along each axis.
        eps : float or pair of floats, default=1.0
            Extends the minimum and maximum of `X` and `X_ood` for the grid. Pass a pair
            to use different values for the two features.
        xlabel, ylabel : str, default=None
            Labels of the axes. If None, the column names of `X` are used if they exist.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        cmap : str or matplotlib Colormap, default=None
            Colormap of the surface. See `UncertaintyDisplay.plot`.
        **kwargs : dict
            Additional keyword arguments for `UncertaintyDisplay.plot`.

        Returns
        -------
        display : UncertaintyDisplay
            Object that stores the data and the plotted elements.

        Raises
        ------
        ValueError
            If `X` or `X_ood` does not have two features, or an option is invalid.
        AttributeError
            If the estimator does not have the method that `kind` requires.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> from sksngp import SNGPClassifier
        >>> from sksngp.datasets import two_moons, two_moons_ood
        >>> from sksngp.inspection import UncertaintyDisplay
        >>> X, y = two_moons(200, random_state=0)
        >>> clf = SNGPClassifier(num_layers=2, num_hidden=32, num_inducing=128,
        ...                      epochs=10, random_state=0).fit(X, y)
        >>> display = UncertaintyDisplay.from_estimator(
        ...     clf, X, y=y, kind="ood", X_ood=two_moons_ood(50, random_state=0)
        ... )
        >>> display.response.shape
        (100, 100)
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        check_kind(kind)
        if not grid_resolution > 1:
            raise ValueError(
                f"grid_resolution must be greater than 1, got {grid_resolution!r}."
            )
        points = two_features(X, "X")
        ood = None if X_ood is None else two_features(X_ood, "X_ood")
        labels = None if y is None else column_or_1d(y)
        check_consistent_length(points, labels)
        xx0, xx1 = make_grid(points, ood, grid_resolution, eps)
        samples = in_container_of(X, np.c_[xx0.ravel(), xx1.ravel()], estimator)
        response, label, threshold = compute_surface(
            estimator, samples, kind, class_of_interest
        )
        names = map(literal, X.columns) if hasattr(X, "columns") else (None, None)
        first, second = names
        display = cls(
            xx0=xx0,
            xx1=xx1,
            response=response.reshape(xx0.shape),
            kind=kind,
            label=label,
            classes=getattr(estimator, "classes_", None),
            X=points,
            y=labels,
            X_ood=ood,
            threshold=threshold,
            xlabel=first if xlabel is None else xlabel,
            ylabel=second if ylabel is None else ylabel,
        )
        return display.plot(ax, cmap=cmap, **kwargs)

    def _top(self) -> float:
        """Return the upper end of the scale."""
        if self.kind != "ood":
            return 1.0
        if self.threshold and np.isfinite(self.threshold):
            return SCALE_OF_SCORES * self.threshold
        return float(np.max(self.response)) or 1.0

    def _draw_colorbar(self) -> Colorbar:
        default = "probability"
        if self.kind != "probability":
            default = label_of(self.kind)
        return self.figure_.colorbar(
            self.surface_,
            ax=self.ax_,
            label=self.label or default,
            ticks=np.linspace(0.0, self._top(), 6),
        )

    def _draw_threshold(self, response: np.ndarray, threshold: float) -> None:
        style: dict[str, Any] = {"linestyles": "dashed", "linewidths": 1.2}
        # If the response does not cross the threshold, matplotlib would warn.
        if response.min() < threshold < response.max():
            style |= {"colors": "black", "levels": [threshold]}
            self.ax_.contour(self.xx0, self.xx1, response, **style)
        # Contours do not appear in the legend. An empty line is added instead.
        label = f"threshold {threshold:.3g}"
        self.ax_.plot([], [], "--", color="black", linewidth=1.2, label=label)


def _default_cmap(kind: Surface, classes: np.ndarray | None) -> str | Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    if kind != "probability":
        return "Purples"
    binary = classes is None or len(classes) == 2
    shades = SURFACE_OF_TWO if binary else SURFACE_OF_MANY
    return LinearSegmentedColormap.from_list("probability", shades)


def _draw_points(
    display: UncertaintyDisplay, scatter_kwargs: dict[str, Any]
) -> list[PathCollection]:
    """Plot the samples, with a color and a marker for each class."""
    style = {"s": 14, "edgecolors": "white", "linewidths": 0.4, **scatter_kwargs}
    X, y, X_ood = display.X, display.y, display.X_ood
    points = []

    def draw(X: np.ndarray, color: str, marker: str, label: str, **style: Any) -> None:
        style |= {"color": color, "marker": marker, "label": label}
        points.append(display.ax_.scatter(X[:, 0], X[:, 1], **style))

    if X is not None and y is not None:
        for index, name in enumerate(_labels(y, display.classes)):
            color = COLORS[index % len(COLORS)]
            marker = MARKERS[index // len(COLORS) % len(MARKERS)]
            draw(X[y == name], color, marker, f"class {literal(name)}", **style)
    elif X is not None:
        draw(X, "0.2", "o", "samples", **style)
    if X_ood is not None:
        style = {**style, "s": 1.6 * style["s"]}
        draw(X_ood, "black", "X", "out of distribution", **style)
    return points


def _labels(y: np.ndarray, classes: np.ndarray | None) -> list[Any]:
    """Return the classes of the classifier, followed by other labels in `y`."""
    known = [] if classes is None else np.asarray(classes).tolist()
    return known + [name for name in np.unique(y).tolist() if name not in known]
