"""What fits cost as the work grows: seconds and memory along five axes.

Run ``python -m benchmarks.scaling`` (about a quarter of an hour on two cores), or
with ``--quick`` to see that it runs. Each fit is a child process of its own, which
has fitted the same network to a few rows before, so that imports and compilation
count for nothing; two epochs, as only growth matters.

An exponent is the slope of log seconds over log size at the upper end of its axis,
where constant costs are least; memory's likewise. Beside it stands the exponent
that the algorithm must have. A measured one below it says that constant costs, or
a term of lower order, still take part; one above it would be a defect.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from benchmarks.report import save_json, shown, table, time_text
from benchmarks.timing import measure_child

EPOCHS = 2
#: Points at the upper end of an axis that its exponent is fitted to.
UPPER_END = 3

SETUP = """
import numpy as np
import sksngp
rng = np.random.default_rng(0)

def data(n):
    return rng.standard_normal((n, {features}), np.float32), np.arange(n) % {classes}

clf = sksngp.{name}(num_layers=6, epochs={epochs}, cv=None, random_state=0)
clf.set_params(**{params!r})
clf.fit(*data(max(64, 2 * {classes})))
X, y = data({rows})
"""


@dataclass(frozen=True)
class Axis:
    """One quantity that grows while the others stay.

    Parameters
    ----------
    name : str
    sizes : tuple of int
    quick : tuple of int
        Sizes for a smoke run.
    exponent : int
        What the algorithm must have.
    reason : str
        Why.
    rows, features, classes : int
        Shape of the data, but for the axis' own.
    classifier : str, default="SNGPClassifier"
    """

    name: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    exponent: int
    reason: str
    rows: int = 2_000
    features: int = 20
    classes: int = 2
    classifier: str = "SNGPClassifier"

    def setup(self, size: int, epochs: int) -> str:
        """Code that comes before the fit."""
        settings = {
            "rows": self.rows,
            "features": self.features,
            "classes": self.classes,
        }
        params = {}
        if self.name in settings:
            settings[self.name] = size
        else:
            params[self.name] = size
        return SETUP.format(
            name=self.classifier, epochs=epochs, params=params, **settings
        )


AXES = (
    Axis(
        "rows",
        (1_000, 10_000, 100_000, 1_000_000),
        (500, 1_000),
        1,
        "each row is trained on, and enters the posterior, once a pass",
    ),
    Axis(
        "features",
        (2, 16, 128, 1_024, 10_000),
        (2, 200),
        1,
        "projection; above num_hidden columns subspace iteration and QR of "
        "features x num_hidden",
    ),
    Axis(
        "classes",
        (2, 10, 100, 1_000),
        (2, 10),
        1,
        "the product of random features with output weights",
        rows=4_000,
    ),
    Axis(
        "num_inducing",
        (64, 256, 1_024, 4_096, 8_192),
        (32, 64),
        3,
        "Cholesky factor of the precision; 2 while the rows' outer products prevail",
    ),
    Axis(
        "num_ensemble",
        (1, 2, 4, 8, 16, 32),
        (1, 2),
        1,
        "each member is a network",
        classifier="DeepEnsembleClassifier",
    ),
)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Slope of log cost over log size at the upper end.

    Parameters
    ----------
    sizes, costs : sequence of float
        Sizes ascending; costs that aren't positive are left out.

    Returns
    -------
    float or None
        None with fewer than two points.
    """
    pairs = [(s, c) for s, c in zip(sizes, costs, strict=True) if c > 0]
    if len(pairs) < 2:
        return None
    x, y = np.log(pairs[-UPPER_END:]).T
    return float(np.polyfit(x, y, 1)[0])


def measure(axis: Axis, quick: bool = False) -> dict:
    """Seconds and megabytes at each size of an axis.

    Returns
    -------
    dict
        Raw times, medians, megabytes and exponents, for tables and JSON.
    """
    sizes = axis.quick if quick else axis.sizes
    raw, megabytes = [], []
    for size in sizes:
        print(f"... {axis.name} {size:,}", file=sys.stderr, flush=True)
        setup = axis.setup(size, 1 if quick else EPOCHS)
        seconds, memory = measure_child(setup, "clf.fit(X, y)", 1 if quick else 3)
        raw.append(seconds)
        megabytes.append(memory)
    medians = [median(seconds) for seconds in raw]
    return {
        "axis": axis.name,
        "classifier": axis.classifier,
        "sizes": list(sizes),
        "raw seconds": raw,
        "seconds": medians,
        "megabytes": megabytes,
        "exponent": exponent(sizes, medians),
        "memory exponent": exponent(sizes, megabytes),
        "expected": axis.exponent,
        "reason": axis.reason,
    }


def scaling_table(results: Sequence[dict]) -> str:
    """Text table: a line for each size, exponents on the last of its axis."""
    header = ["axis", "size", "seconds", "MB", "exponent", "MB's", "must be"]
    lines = []
    for result in results:
        values = zip(
            result["sizes"], result["seconds"], result["megabytes"], strict=True
        )
        for size, seconds, megabytes in values:
            last = size == result["sizes"][-1]
            lines.append(
                [
                    result["axis"],
                    f"{size:,}",
                    time_text(seconds),
                    f"{megabytes:.0f}",
                    shown(result["exponent"], "{:.2f}") if last else "",
                    shown(result["memory exponent"], "{:.2f}") if last else "",
                    f"<= {result['expected']}" if last else "",
                ]
            )
    reasons = [f"{r['axis']}: {r['reason']}" for r in results]
    return "\n".join([table(header, lines), "", *reasons])


def draw(results: Sequence[dict], path: str) -> None:
    """Draw seconds and megabytes over sizes, one panel an axis."""
    figure = Figure(figsize=(3.4 * len(results), 6), layout="tight")
    panels = figure.subplots(2, len(results), squeeze=False)
    for (above, below), result in zip(panels.T, results, strict=True):
        sizes, seconds = np.array(result["sizes"]), result["seconds"]
        power = result["expected"]
        above.loglog(sizes, seconds, "o-", label="measured")
        line = seconds[-1] * (sizes / sizes[-1]) ** float(power)
        above.loglog(sizes, line, "k:", label=f"exponent {power}")
        above.set_ylim(min(seconds) / 2, 2 * max(seconds))
        above.set(title=result["classifier"], ylabel="seconds")
        above.legend()
        megabytes = np.maximum(result["megabytes"], 0.1)  # nothing, to a page or so
        below.loglog(sizes, megabytes, "o-", color="C1")
        below.set_ylim(megabytes.min() / 2, 2 * megabytes.max())
        below.set(xlabel=result["axis"], ylabel="megabytes")
        for panel in (above, below):
            panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke run")
    parser.add_argument("--json", metavar="PATH", help="write all raw figures")
    parser.add_argument("--picture", metavar="PATH.png", help="draw the curves")
    arguments = parser.parse_args()
    results = [measure(axis, arguments.quick) for axis in AXES]
    print(scaling_table(results))
    if arguments.json:
        save_json(arguments.json, {"arguments": vars(arguments), "axes": results})
    if arguments.picture:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
