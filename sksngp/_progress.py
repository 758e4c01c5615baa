"""Progress of long computations on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

#: Seconds between two lines of a log.
LOG_INTERVAL = 10.0


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
    receives a line every `LOG_INTERVAL` seconds and a last line at the end.

    Parameters
    ----------
    total : int
        Number of steps.
    unit : str
        Name of a step, in the singular.
    enabled : bool, default=True
        Whether to report anything.
    clock : callable, default=time.monotonic
        Function that returns the time in seconds. Used for lines only.

    Yields
    ------
    report : callable
        Function to call at the end of each step. Its keyword arguments are values
        to show, as strings.

    Examples
    --------
    >>> from sksngp._progress import progress
    >>> with progress(3, unit="epoch") as report:
    ...     for loss in (0.9, 0.7, 0.6):
    ...         report(loss=f"{loss:.2f}")
    """
    stream = sys.stderr
    if not enabled or stream is None:  # pythonw and daemons have no standard error
        yield lambda **values: None
    elif shows_bars(stream):
        from tqdm.auto import tqdm  # only when needed: the import takes a while

        with tqdm(total=total, unit=unit) as bar:

            def report(**values: str) -> None:
                bar.set_postfix(values, refresh=False)
                bar.update()

            yield report
    else:
        lines = _Lines(total, unit, stream, clock)
        try:
            yield lines.report
        finally:
            lines.close()


def shows_bars(stream: TextIO) -> bool:
    """Whether a stream can move its cursor back: a terminal or a Jupyter cell."""
    if type(stream).__module__.startswith("ipykernel."):
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # not a complete stream, or closed
        return False


class _Lines:
    """Progress as lines of a log."""

    def __init__(
        self, total: int, unit: str, stream: TextIO, clock: Callable[[], float]
    ) -> None:
        self._total, self._unit = total, unit
        self._stream, self._clock = stream, clock
        self._done = 0
        self._values: dict[str, str] = {}
        self._start = self._last = clock()
        self._is_current = True

    def report(self, **values: str) -> None:
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
            f"{self._unit} {self._done}/{self._total}",
            f"{now - self._start:.0f} s",
            *(f"{name}={value}" for name, value in self._values.items()),
        ]
        self._is_current = True
        # As with a bar, a log that cannot be written must not stop the work.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self._stream.write(", ".join(parts) + "\n")
            self._stream.flush()
