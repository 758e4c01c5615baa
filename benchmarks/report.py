"""What the benchmarks print and write: rows, checks, tables, JSON, pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure

PACKAGES = ("tensorflow", "numpy", "scikit-learn")


@dataclass
class Check:
    """A measured value and the bounds that it's held to."""

    what: str
    value: float
    at_least: float = -np.inf
    at_most: float = np.inf

    @property
    def holds(self) -> bool:
        """Whether the value is within the bounds; a nan is not."""
        return bool(self.at_least <= self.value <= self.at_most)

    def __str__(self):
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        said = [f"{word} {bound:g}" for word, bound in bounds if np.isfinite(bound)]
        return f"{self.what} {self.value:.4g}, {' and '.join(said)}"


@dataclass
class Row:
    """One line of the table: one piece of work, done by two sides.

    Parameters
    ----------
    key, title : str
        The name to pick rows by, and the one to print.
    seconds : dict of str to list of float
        Raw times by side; "ours" is among the sides.
    against : str, default="tutorial"
        The side that "ours" is compared with.
    target : float, default=None
        Least ratio of medians.
    ideal, memory : dict of str to float
        By side: seconds at the rate of plain matrix products; megabytes.
    checks : list of Check
    notes : list of str
        Printed below the table.
    size : int, default=None
        Number of rows predicted, where it makes a curve.
    details : dict
        Whatever else goes into the JSON file.
    """

    key: str
    title: str
    seconds: dict[str, list[float]]
    against: str = "tutorial"
    target: float | None = None
    ideal: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def median(self, side: str) -> float | None:
        """Median seconds of a side; None if it wasn't timed."""
        return median(self.seconds[side]) if self.seconds.get(side) else None

    @property
    def ratio(self) -> float | None:
        """How many times longer the other side takes."""
        other, ours = self.median(self.against), self.median("ours")
        return None if other is None or ours is None else other / ours

    def share(self, side: str) -> float | None:
        """Share of the rate of plain matrix products that a side reaches."""
        seconds = self.median(side)
        if side not in self.ideal or seconds is None:
            return None
        return self.ideal[side] / seconds

    def all_checks(self) -> list[Check]:
        """The row's own checks, and the target where there is one."""
        if self.target is None:
            return self.checks
        ratio = np.nan if self.ratio is None else self.ratio
        return [Check("ratio", ratio, at_least=self.target), *self.checks]


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Text table: the first column to the left, the others to the right."""
    rows = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def shown(value: float | None, form: str = "{:.3g}") -> str:
    """A formatted number, or a dash for None."""
    return "-" if value is None else form.format(value)


def time_text(seconds: float | None) -> str:
    """Seconds in a unit that suits them, or a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"


def speed_table(rows: Sequence[Row]) -> str:
    """The table of `benchmarks.speed`."""
    header = ["row", "against", "other", "ours", "ratio", "target"]
    header += ["roofline other", "ours", "MB other", "ours"]
    lines = [
        [
            row.title,
            row.against if row.median(row.against) is not None else "-",
            time_text(row.median(row.against)),
            time_text(row.median("ours")),
            shown(row.ratio, "{:.2f}"),
            shown(row.target, ">= {:g}"),
            shown(row.share(row.against), "{:.0%}"),
            shown(row.share("ours"), "{:.0%}"),
            shown(row.memory.get(row.against), "{:.0f}"),
            shown(row.memory.get("ours"), "{:.0f}"),
        ]
        for row in rows
    ]
    return table(header, lines)


def remarks(rows: Sequence[Row]) -> str:
    """Every check and note, a line each."""
    lines = []
    for row in rows:
        for check in row.all_checks():
            verdict = "ok    " if check.holds else "MISSED"
            lines.append(f"{verdict}  {row.title}: {check}")
        lines += [f"        {row.title}: {note}" for note in row.notes]
    return "\n".join(lines)


def missed(rows: Sequence[Row]) -> list[str]:
    """What was missed, by row."""
    return [
        f"{row.key}: {row.title}: {check}"
        for row in rows
        for check in row.all_checks()
        if not check.holds
    ]


def machine() -> dict[str, Any]:
    """Versions and processors, for the JSON file."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "cpus": os.cpu_count(),
        "processor": _processor(),
    }


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def row_record(row: Row) -> dict[str, Any]:
    """All of a row, raw times and what follows from them, for the JSON file."""
    return {
        **asdict(row),
        "medians": {side: row.median(side) for side in row.seconds},
        "ratio": row.ratio,
        "shares": {side: row.share(side) for side in row.ideal},
        "checks": [{**asdict(c), "holds": c.holds} for c in row.all_checks()],
    }


def save_json(path: str, content: dict[str, Any]) -> None:
    """Write JSON, with the machine beside the content."""
    record = _strict({"machine": machine(), **content})
    Path(path).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def _strict(value):
    """The same without NumPy's types, and with None for what JSON has no word for."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        return _strict(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def draw_speed(rows: Sequence[Row], path: str) -> None:
    """Draw ratios with their targets, and prediction against the number of rows."""
    compared = [row for row in rows if row.ratio is not None]
    curve = [row for row in rows if row.size is not None]
    figure = Figure(figsize=(15, 1.6 + 0.4 * max(len(compared), 6)), layout="tight")
    bars, seconds, memory = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
    _draw_ratios(bars, compared)
    for side, colour in (("tutorial", "tab:orange"), ("ours", "tab:blue")):
        timed = [row for row in curve if row.median(side) is not None]
        sizes = [row.size for row in timed]
        values = [row.median(side) for row in timed]
        seconds.loglog(sizes, values, "o-", color=colour, label=side)
        metered = [row for row in curve if side in row.memory]
        sizes = [row.size for row in metered]
        values = [max(row.memory[side], 0.1) for row in metered]
        memory.loglog(sizes, values, "o-", color=colour, label=side)
    seconds.set(title="SNGP predict_proba", xlabel="rows", ylabel="seconds")
    memory.set(title="Memory above the input", xlabel="rows", ylabel="megabytes")
    for axes in (seconds, memory):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def _draw_ratios(axes, rows):
    places = np.arange(len(rows))
    axes.barh(places, [row.ratio for row in rows], color="tab:blue")
    for place, row in zip(places, rows, strict=True):
        axes.text(row.ratio, place, f" {row.ratio:.1f}", va="center")
        if row.target is not None:
            axes.vlines(row.target, place - 0.45, place + 0.45, colors="black", lw=3)
    axes.set_yticks(places, [_with_rival(row) for row in rows])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="times faster", title="Ratio; black: the target")
    axes.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.margins(x=0.15)
    axes.axvline(1, color="grey", lw=1)


def _with_rival(row):
    """A row's title, with the other side where it isn't the tutorial's."""
    rival = "" if row.against == "tutorial" else f", against {row.against}"
    return f"{row.title}{rival}"
