"""Colors, axes and labels shared by all displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colors that are suitable for color-blind readers (Okabe and Ito 2008), without the
#: yellow, which has little contrast on white.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def require_matplotlib(caller: str) -> None:
    """Raise an informative error if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib. You can install matplotlib with "
            "`pip install matplotlib`"
        ) from error


def make_axes(ax: Axes | None, caller: str) -> Axes:
    """Return the given axes, or the axes of a new figure if they are None."""
    require_matplotlib(caller)
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return ax


def set_labels(
    ax: Axes,
    xlabel: str | None,
    ylabel: str | None,
    default_xlabel: str | None = None,
    default_ylabel: str | None = None,
) -> None:
    """Label the axes. Default labels do not replace existing labels."""
    if xlabel is not None or not ax.get_xlabel():
        ax.set_xlabel(_first(xlabel, default_xlabel))
    if ylabel is not None or not ax.get_ylabel():
        ax.set_ylabel(_first(ylabel, default_ylabel))


def _first(*labels: str | None) -> str:
    """Return the first label that is not None, or an empty string."""
    return next((label for label in labels if label is not None), "")


def literal(name: Any) -> str:
    """Return a name from the data as text in which "$" starts no formula."""
    return str(name).replace("$", r"\$")


def line_style(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Replace aliases in keyword arguments of a line, such as "c" for "color"."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return normalize_kwargs(kwargs, Line2D)
