"""Memory of a process that trains many architectures.

Run ``python -m benchmarks.architectures`` (a few minutes on two cores). TensorFlow
keeps a few megabytes of each network that it has compiled, until the process ends. The
table contains the resident memory after a number of architectures, above that after the
first one, in a new process for each line:

- fits of classifiers with 60 widths;
- a search by `GridSearchCV` over 200 widths.

The exit status is 1 if the fits need more than 300 MB.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks._tools.printing import print_header, table
from benchmarks._tools.timing import run_child

#: Target for the fits, in megabytes.
MAX_MEGABYTES = 300

MEASURE = """
import json, sys, warnings
import sksngp
from pathlib import Path
from sklearn.model_selection import GridSearchCV
from sksngp.datasets import two_moons

warnings.simplefilter("ignore")
X, y = two_moons(100, random_state=0)

def resident():
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 1e3

def make(**params):
    return getattr(sksngp, "{classifier}")(
        num_layers=2, cv=None, epochs=2, random_state=0
    ).set_params(**params)

make(num_hidden=32).fit(X, y).predict_ood(X)
first = resident()
"""
FITS = """
for width in range(33, 32 + {number}):
    make(num_hidden=width).fit(X, y).predict_ood(X)
print(json.dumps(resident() - first))
"""
SEARCH = """
widths = list(range(33, 33 + {number}))
split = [(range(0, 50), range(50, 100))]
search = GridSearchCV(make(), {{"num_hidden": widths}}, cv=split, refit=False)
assert len(search.fit(X, y).cv_results_["params"]) == {number}
print(json.dumps(resident() - first))
"""


def megabytes(code: str, **values: object) -> float:
    """Return the growth of a new process that runs the code."""
    return float(json.loads(run_child((MEASURE + code).format(**values))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=60, metavar="N")
    parser.add_argument("--searched", type=int, default=200, metavar="N")
    options = parser.parse_args()
    print_header()
    lines, largest = [], 0.0
    for classifier in ("SNGPClassifier", "ResNetClassifier"):
        found = megabytes(FITS, classifier=classifier, number=options.fits)
        lines.append([f"{classifier}, fits", str(options.fits), f"{found:.0f} MB"])
        largest = max(largest, found)
    found = megabytes(SEARCH, classifier="SNGPClassifier", number=options.searched)
    lines.append(["SNGPClassifier, search", str(options.searched), f"{found:.0f} MB"])
    print(table(["process", "architectures", "above the first"], lines))
    if largest > MAX_MEGABYTES:
        sys.exit(f"More than {MAX_MEGABYTES} MB")


if __name__ == "__main__":
    main()
