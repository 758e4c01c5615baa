"""`DriftDisplay`: values of a monitor and its alarm."""

import numpy as np
import pytest

from sksngp import DriftMonitor
from sksngp.inspection import (
    DriftDisplay,
)


def test_drift_display_shows_the_values_and_the_alarm(ax):
    monitor = DriftMonitor(np.arange(99.0), alarm_level=20, random_state=0)
    monitor.update(np.full(30, 200.0))
    display = DriftDisplay.from_monitor(monitor, ax=ax, color="red")
    np.testing.assert_array_equal(display.line_.get_ydata(), monitor.values_)
    np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 31))
    assert display.line_.get_color() == "red"
    assert display.level_.get_ydata()[0] == 20
    assert display.alarm_line_.get_xdata()[0] == monitor.alarm_at_
    assert (ax.get_yscale(), ax.get_xlabel()) == ("log", "sample")


def test_drift_display_of_a_bounded_history_and_of_none(ax):
    monitor = DriftMonitor(np.arange(99.0), max_history=5, random_state=0)
    display = DriftDisplay.from_monitor(monitor, ax=ax)
    assert len(display.positions) == 0 and display.alarm_line_ is None
    display = DriftDisplay.from_monitor(monitor.update(np.arange(12.0)), ax=ax)
    assert display.positions.tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("level", [20.0, 1e200])
def test_drift_display_of_infinite_values(ax, level):
    """The figure can be drawn, and the time of the alarm remains visible."""
    monitor = DriftMonitor(np.arange(9999.0), alarm_level=level, random_state=0)
    monitor.update(np.full(2000, 1e6))
    assert np.isinf(monitor.values_[-1])
    display = DriftDisplay.from_monitor(monitor, ax=ax)
    display.figure_.canvas.draw()
    assert ax.get_ylim()[0] < 1 < level < ax.get_ylim()[1] < np.inf
    assert level > 100 or ax.get_ylim()[1] == level**4


def test_drift_displays_of_two_monitors(ax):
    """The limits include the values and the alarm levels of both."""
    rng = np.random.default_rng(0)
    drifting = DriftMonitor(np.arange(99.0), alarm_level=20, random_state=0)
    stable = DriftMonitor(rng.normal(size=99), alarm_level=1e6, random_state=0)
    DriftDisplay.from_monitor(drifting.update(np.full(300, 1e6)), ax=ax)
    DriftDisplay.from_monitor(stable.update(rng.normal(size=300) - 1), ax=ax)
    low, high = ax.get_ylim()
    assert low < stable.values_.min() < 1e6 < high
