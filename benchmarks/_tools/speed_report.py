"""Rows of `benchmarks.speed`, their checks, and their table, figure and JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks._tools.printing import save_json, shown, table, time_text


@dataclass
class Check:
    """A measured value and its bounds."""

    what: str
    value: float
    at_least: float = -np.inf
    at_most: float = np.inf

    @property
    def holds(self) -> bool:
        """Whether the value is within its bounds; False for NaN."""
        return bool(self.at_least <= self.value <= self.at_most)

    def __str__(self):
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        said = [f"{word} {bound:g}" for word, bound in bounds if np.isfinite(bound)]
        return f"{self.what} {self.value:.4g}, {' and '.join(said)}"


@dataclass
class Row:
    """A row of the table: a task that two sides perform.

    Parameters
    ----------
    key, title : str
        Name that selects the row, and name that is printed.
    seconds : dict of str to list of float
        Measured times of each side. The side "ours" is this library.
    against : str, default="tutorial"
        Side with which "ours" is compared.
    target : float, default=None
        Minimum ratio of the medians.
    ideal, memory : dict of str to float
        For each side, the time at the rate of matrix products in seconds, and the peak
        memory in megabytes.
    checks : list of Check
    notes : list of str
        Remarks below the table.
    size : int, default=None
        Number of predicted samples, for rows that form a curve.
    details : dict
        Further content of the JSON file.
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
        """Return the median time of a side, or None if it was not measured."""
        return median(self.seconds[side]) if self.seconds.get(side) else None

    @property
    def ratio(self) -> float | None:
        """Time of the other side divided by that of this library."""
        other, ours = self.median(self.against), self.median("ours")
        return None if other is None or ours is None else other / ours

    def share(self, side: str) -> float | None:
        """Return the fraction of the roofline that a side reaches."""
        seconds = self.median(side)
        if side not in self.ideal or seconds is None:
            return None
        return self.ideal[side] / seconds

    def all_checks(self) -> list[Check]:
        """Return the checks of the row, including its target."""
        if self.target is None:
            return self.checks
        ratio = np.nan if self.ratio is None else self.ratio
        return [Check("ratio", ratio, at_least=self.target), *self.checks]


def speed_table(rows: Sequence[Row]) -> str:
    """Format the table of `benchmarks.speed`."""
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
    """Format one line per check and note."""
    lines = []
    for row in rows:
        for check in row.all_checks():
            verdict = "ok    " if check.holds else "MISSED"
            lines.append(f"{verdict}  {row.title}: {check}")
        lines += [f"        {row.title}: {note}" for note in row.notes]
    return "\n".join(lines)


def missed(rows: Sequence[Row]) -> list[str]:
    """Return a description of each check that failed."""
    return [
        f"{row.key}: {row.title}: {check}"
        for row in rows
        for check in row.all_checks()
        if not check.holds
    ]


def row_record(row: Row) -> dict[str, Any]:
    """Return the content of a row for the JSON file."""
    return {
        **asdict(row),
        "medians": {side: row.median(side) for side in row.seconds},
        "ratio": row.ratio,
        "shares": {side: row.share(side) for side in row.ideal},
        "checks": [{**asdict(c), "holds": c.holds} for c in row.all_checks()],
    }


def save(path: str, rows: Sequence[Row], **content: Any) -> None:
    """Write the rows and other content to a JSON file."""
    save_json(path, {"rows": [row_record(row) for row in rows], **content})


def draw_speed(rows: Sequence[Row], path: str) -> None:
    """Plot ratios with their targets, and predictions by the number of samples."""
    compared = [row for row in rows if row.ratio is not None]
    curve = [row for row in rows if row.size is not None]
    figure = Figure(figsize=(15, 1.6 + 0.4 * max(len(compared), 6)), layout="tight")
    bars, seconds, memory = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
    _draw_ratios(bars, compared)
    for side, color in (("tutorial", "tab:orange"), ("ours", "tab:blue")):
        timed = [row for row in curve if row.median(side) is not None]
        sizes = [row.size for row in timed]
        values = [row.median(side) for row in timed]
        seconds.loglog(sizes, values, "o-", color=color, label=side)
        metered = [row for row in curve if side in row.memory]
        sizes = [row.size for row in metered]
        values = [max(row.memory[side], 0.1) for row in metered]
        memory.loglog(sizes, values, "o-", color=color, label=side)
    seconds.set(title="SNGP predict_proba", xlabel="samples", ylabel="seconds")
    memory.set(title="Memory above the input", xlabel="samples", ylabel="megabytes")
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
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="times faster", title="Ratio; black: the target")
    axes.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.margins(x=0.15)
    axes.axvline(1, color="grey", lw=1)


def _label(row):
    """Return the title, and the other side unless it is the tutorial."""
    against = "" if row.against == "tutorial" else f", against {row.against}"
    return f"{row.title}{against}"
