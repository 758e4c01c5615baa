"""Display of the value of a drift monitor over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._uncertainty.drift import DriftMonitor
from ._common import COLORS, line_style, make_axes, set_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: Largest value that is plotted, such that matplotlib can add margins.
LARGEST = 1e250


class DriftDisplay:
    """Visualization of the value of a `DriftMonitor` after each sample.

    It is recommended to use `DriftDisplay.from_monitor` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    positions : int ndarray of shape (n,)
        Numbers of the samples, starting from 1.
    values : ndarray of shape (n,)
        Values of the monitor after these samples.
    alarm_level : float
        Value at which an alarm is raised.
    alarm_at : int, default=None
        Number of the sample that raised the alarm. If None, there was no alarm.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Line of the values.
    level_ : matplotlib Line2D
        Line of the alarm level.
    alarm_line_ : matplotlib Line2D or None
        Line of the alarm, or None if there was no alarm.
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure containing the lines.

    See Also
    --------
    sksngp.DriftMonitor : Monitor that computes the values.

    Examples
    --------
    >>> import numpy as np
    >>> from sksngp import DriftMonitor
    >>> from sksngp.inspection import DriftDisplay
    >>> rng = np.random.default_rng(0)
    >>> monitor = DriftMonitor(rng.normal(size=400), random_state=0)
    >>> monitor = monitor.update(rng.normal(size=300)).update(rng.normal(size=99) + 2)
    >>> display = DriftDisplay.from_monitor(monitor)
    >>> bool(300 < display.alarm_at < 320)
    True
    """

    def __init__(
        self,
        *,
        positions: np.ndarray,
        values: np.ndarray,
        alarm_level: float,
        alarm_at: int | None = None,
    ) -> None:
        self.positions = positions
        self.values = values
        self.alarm_level = alarm_level
        self.alarm_at = alarm_at

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Plot visualization.

        Values above the fourth power of the alarm level are not shown, because the
        values before the alarm could not be seen otherwise.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : DriftDisplay
            Object that stores the data and the plotted elements.
        """
        ax = make_axes(ax, "DriftDisplay.plot")
        before = ax.get_ylim() if ax.has_data() else (np.inf, 0.0)
        ax.set_yscale("log")
        # Values may be infinite or 0, which cannot be plotted on a logarithmic scale.
        shown = np.clip(self.values, 1 / LARGEST, LARGEST)
        limit = min(self.alarm_level, LARGEST**0.25) ** 4
        high = min(2.0 * shown.max(initial=self.alarm_level), limit)
        low = shown.min(initial=1.0) / 2.0
        ax.set_ylim(min(low, before[0]), max(high, before[1]))
        style = {"color": COLORS[0], "label": "value"} | line_style(kwargs)
        self.line_: Line2D = ax.plot(self.positions, shown, **style)[0]
        level = f"alarm level {self.alarm_level:g}"
        self.level_: Line2D = ax.axhline(
            self.alarm_level, color="black", linestyle="dashed", label=level
        )
        self.alarm_line_: Line2D | None = None
        if self.alarm_at is not None:
            self.alarm_line_ = ax.axvline(
                self.alarm_at,
                color=COLORS[-1],
                label=f"alarm at sample {self.alarm_at:,}",
            )
        set_labels(ax, None, None, "sample", "value of the drift monitor")
        ax.legend(loc="upper left", fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_monitor(
        cls, monitor: DriftMonitor, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Plot the latest values of a monitor.

        Parameters
        ----------
        monitor : DriftMonitor
            Monitor that has been updated with a stream.
        ax : matplotlib Axes, default=None
            Axes to plot on. If None, a new figure and axes are created.
        **kwargs : dict
            Keyword arguments for :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : DriftDisplay
            Object that stores the data and the plotted elements.
        """
        values = monitor.values_
        first = monitor.n_seen_ - len(values) + 1
        display = cls(
            positions=np.arange(first, monitor.n_seen_ + 1),
            values=values,
            alarm_level=monitor.alarm_level,
            alarm_at=monitor.alarm_at_,
        )
        return display.plot(ax, **kwargs)
