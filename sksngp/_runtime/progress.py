"""Progress reports on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

#: Seconds between two lines of a log.
LOG_INTERVAL = 10.0


@dataclass
class _Job:
    """Sequence of networks to train with a common progress report."""

    stack: contextlib.ExitStack
    networks: int = 1
    started: int = 0
    report: _Bar | _Lines | None = None


#: Job of the calling thread.
_job: ContextVar[_Job | None] = ContextVar("job", default=None)


@contextlib.contextmanager
def one_report() -> Iterator[None]:
    """Combine all calls of `progress` within this context into one report.

    A fit may train several networks. They share a progress bar or a log.

    Examples
    --------
    >>> from sksngp._runtime.progress import expect_networks, one_report, progress
    >>> with one_report():
    ...     expect_networks(2)
    ...     for network in range(2):
    ...         with progress(3, unit="epoch") as report:
    ...             for loss in (0.9, 0.7, 0.6):
    ...                 report(loss=f"{loss:.2f}")
    """
    with contextlib.ExitStack() as stack:
        token = _job.set(_Job(stack))
        try:
            yield
        finally:
            _job.reset(token)


def expect_networks(number: int) -> None:
    """Set the number of networks that the current job trains."""
    job = _job.get()
    if job is not None:
        job.networks = number


@contextlib.contextmanager
def progress(
    total: int,
    *,
    unit: str,
    enabled: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[..., None]]:
    """Report the progress of `total` steps on standard error.

    A terminal or a notebook shows a progress bar. Any other stream, such as a file,
    receives one line every `LOG_INTERVAL` seconds and one line at the end. Within
    `one_report`, the bar and the last line are shared by all networks.

    Parameters
    ----------
    total : int
        Number of steps.
    unit : str
        Name of a step, in the singular.
    enabled : bool, default=True
        Whether to report anything.
    clock : callable, default=time.monotonic
        Function that returns the time in seconds. It is only used for log lines.

    Yields
    ------
    report : callable
        Function to call at the end of each step. Its keyword arguments are the strings
        to display.

    Examples
    --------
    >>> from sksngp._runtime.progress import progress
    >>> with progress(3, unit="epoch") as report:
    ...     for loss in (0.9, 0.7, 0.6):
    ...         report(loss=f"{loss:.2f}")
    """
    stream = sys.stderr
    if not enabled or stream is None:  # pythonw and daemons have no standard error
        yield lambda **values: None
        return
    with contextlib.ExitStack() as stack:
        job = _job.get() or _Job(stack)
        if job.report is None:
            kind = _Bar if shows_bars(stream) else _Lines
            job.report = kind(unit, stream, clock)
            job.stack.callback(job.report.close)
        job.started += 1
        job.report.begin(job.started, max(job.networks, job.started), total)
        yield job.report.report


def shows_bars(stream: TextIO) -> bool:
    """Return whether a stream can display a bar: a terminal or a Jupyter cell."""
    if type(stream).__module__.startswith("ipykernel."):
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # incomplete or closed stream
        return False


class _Bar:
    """Progress bar over the steps of all networks."""

    def __init__(self, unit: str, stream: TextIO, clock: Callable[[], float]) -> None:
        from tqdm.auto import tqdm  # imported late because the import is slow

        self._bar: Any = tqdm(unit=unit, file=stream)
        self._network: dict[str, str] = {}

    def begin(self, network: int, networks: int, total: int) -> None:
        """Start a network. Later networks are expected to have as many steps."""
        if networks > 1:
            self._network = {"network": f"{network}/{networks}"}
        self._bar.total = self._bar.n + total * (networks - network + 1)
        self._bar.refresh()

    def report(self, **values: str) -> None:
        """Advance by one step and display values."""
        self._bar.set_postfix(self._network | values, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """Progress report as lines of a log."""

    def __init__(self, unit: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._unit, self._stream, self._clock = unit, stream, clock
        self._network: list[str] = []
        self._done = self._total = 0
        self._values: dict[str, str] = {}
        self._start = self._last = clock()
        self._is_current = True

    def begin(self, network: int, networks: int, total: int) -> None:
        """Start a network."""
        if networks > 1:
            self._network = [f"network {network}/{networks}"]
        self._done, self._total = 0, total

    def report(self, **values: str) -> None:
        """Advance by one step, and write a line if the last one is old enough."""
        self._done += 1
        self._values = values
        self._is_current = False
        now = self._clock()
        if now - self._last >= LOG_INTERVAL:
            self._last = now
            self._write(now)

    def close(self) -> None:
        if not self._is_current:
            self._write(self._clock())

    def _write(self, now: float) -> None:
        parts = [
            *self._network,
            f"{self._unit} {self._done}/{self._total}",
            f"{now - self._start:.0f} s",
            *(f"{name}={value}" for name, value in self._values.items()),
        ]
        self._is_current = True
        # A log that cannot be written must not interrupt the computation.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self._stream.write(", ".join(parts) + "\n")
            self._stream.flush()
