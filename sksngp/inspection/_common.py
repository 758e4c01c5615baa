"""What the displays share: axes, labels, and the way to the classifier."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

#: Colours that colour-blind readers tell apart (Okabe and Ito 2008), without
#: the yellow, which is lost on white.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def require_matplotlib(caller):
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib. You can install matplotlib with "
            "`pip install matplotlib`"
        ) from error


def make_axes(ax, caller):
    """Return the given axes, or those of a new figure."""
    require_matplotlib(caller)
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return ax


def set_labels(ax, xlabel, ylabel, default_xlabel=None, default_ylabel=None):
    """Label the axes, leaving alone what the caller has labelled."""
    if xlabel is not None or not ax.get_xlabel():
        ax.set_xlabel(default_xlabel if xlabel is None else xlabel)
    if ylabel is not None or not ax.get_ylabel():
        ax.set_ylabel(default_ylabel if ylabel is None else ylabel)


def line_style(kwargs):
    """Keyword arguments of a line by their full names: "c" is "color"."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return normalize_kwargs(kwargs, Line2D)


def reach(estimator, X, method):
    """Find the classifier inside searches and pipelines, and X as it gets there.

    scikit-learn forwards `predict_proba` but no method that it does not know.
    """
    if hasattr(estimator, "best_estimator_"):
        return reach(estimator.best_estimator_, X, method)
    if isinstance(estimator, Pipeline):
        steps = estimator[:-1]
        return reach(estimator[-1], steps.transform(X) if len(steps) else X, method)
    if not hasattr(estimator, method):
        raise AttributeError(
            f"{type(estimator).__name__} has no method {method}. It must be a "
            "classifier of this package, a pipeline that ends in one, or a search "
            "over either that was fitted with refit=True."
        )
    return estimator, X
