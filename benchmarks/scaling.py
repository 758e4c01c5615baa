"""Growth of the time and memory of fits along five axes.

Run ``python -m benchmarks.scaling`` (about a quarter of an hour on two cores).
``--quick`` is a smoke test. Each fit runs in a child process that has already fitted
the same network to a few samples, so that imports and compilation are not included. Two
epochs suffice to measure the growth.

An exponent is the slope of the logarithm of the time, or of the memory, over the
logarithm of the size. It is computed at the upper end of an axis, where constant costs
are smallest. The last column contains the exponent of the algorithm. The measured
exponent is smaller if constant costs or terms of lower order contribute. A larger one
would indicate a defect.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from benchmarks._tools.printing import (
    print_header,
    save_json,
    shown,
    table,
    time_text,
)
from benchmarks._tools.timing import measure_child

EPOCHS = 2
#: Number of points at the upper end of an axis that determine its exponent.
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
    """A quantity that increases while all others are constant.

    Parameters
    ----------
    name : str
    sizes : tuple of int
    quick : tuple of int
        Sizes of the smoke test.
    exponent : int
        Exponent of the algorithm.
    reason : str
        Explanation of the exponent.
    rows, features, classes : int
        Shape of the data, except along the axis.
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
        """Return the code that runs before the fit."""
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
        "each sample is used once per epoch and once for the posterior",
    ),
    Axis(
        "features",
        (2, 16, 128, 1_024, 10_000),
        (2, 200),
        1,
        "projection; above num_hidden features, subspace iteration and QR "
        "decomposition of features x num_hidden",
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
        "Cholesky factor of the precision; 2 as long as outer products dominate",
    ),
    Axis(
        "num_ensemble",
        (1, 2, 4, 8, 16, 32),
        (1, 2),
        1,
        "each ensemble member is a network",
        classifier="DeepEnsembleClassifier",
    ),
)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Compute the slope of log cost over log size at the upper end.

    Parameters
    ----------
    sizes, costs : sequence of float
        Sizes in increasing order, and their costs. Costs must be positive; others are
        ignored.

    Returns
    -------
    float or None
        None if there are fewer than two points.
    """
    pairs = [(s, c) for s, c in zip(sizes, costs, strict=True) if c > 0]
    if len(pairs) < 2:
        return None
    x, y = np.log(pairs[-UPPER_END:]).T
    return float(np.polyfit(x, y, 1)[0])


def measure(axis: Axis, quick: bool = False) -> dict:
    """Measure the time and memory at each size of an axis.

    Returns
    -------
    dict
        Times, medians, megabytes and exponents, for tables and JSON.
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
    """Format a table; the last row of each axis contains its exponents."""
    header = ["axis", "size", "time", "MB", "exponent", "of MB", "expected"]
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
    """Plot time and memory by size, with one panel per axis."""
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
        megabytes = np.maximum(
            result["megabytes"], 0.1
        )  # a logarithmic scale has no zero
        below.loglog(sizes, megabytes, "o-", color="C1")
        below.set_ylim(megabytes.min() / 2, 2 * megabytes.max())
        below.set(xlabel=result["axis"], ylabel="megabytes")
        for panel in (above, below):
            panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke test")
    parser.add_argument("--json", metavar="PATH", help="write all measurements")
    parser.add_argument("--picture", metavar="PATH.png", help="plot the curves")
    arguments = parser.parse_args()
    print_header()
    results = [measure(axis, arguments.quick) for axis in AXES]
    print(scaling_table(results))
    if arguments.json:
        save_json(arguments.json, {"arguments": vars(arguments), "axes": results})
    if arguments.picture:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
