"""Accuracy, calibration and OOD detection of many methods on pairs of real datasets.

Run ``python -m benchmarks.quality`` (hours). ``--pairs`` and ``--methods`` select runs,
and ``--seeds`` sets the number of seeds. All methods have their default parameters
(`benchmarks._tools.quality_methods`). The pairs of in-distribution and OOD data were
not used to choose the defaults of this library (`benchmarks._tools.dataset_pairs`).
Methods of other packages than scikit-learn are omitted if the package is not installed.
``--csv`` writes all results to a file. With ``--update``, results in the file are kept
unless their method runs again.

The columns are the accuracy, the negative log-likelihood (NLL), the expected
calibration error (ECE, 15 bins of equal weight) and the Brier score on the test
samples; the AUROC and the false positive rate at a detection rate of 95% (FPR95) of OOD
samples; the area under the risk-coverage curve (AURC); and the times to fit and to
predict. Times are medians over the seeds, because the first fit of an architecture
compiles it. The report contains a table for each pair, the means over the pairs, and
the mean ranks of the AUROC with Nemenyi's critical difference. The latter assumes
independent pairs. Differences are less significant than stated if pairs share a dataset
or if answers share a fit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd

from benchmarks._tools.dataset_pairs import corrupted, packaged, report
from benchmarks._tools.measures import draw_ranks, evaluate, mean_ranks
from benchmarks._tools.printing import print_header
from benchmarks._tools.quality_methods import METHODS


def measure(pair, names: Iterable[str], seed: int) -> pd.DataFrame:
    """Compute the measures of each answer of each method on one pair."""
    data = pair(seed)
    classes, y = np.unique(data.y_train, return_inverse=True)
    y_test = np.searchsorted(classes, data.y_test)
    rows = {}
    for name in names:
        start = time.perf_counter()
        answers = METHODS[name](data.X_train, y, seed)
        seconds = time.perf_counter() - start
        for row, answer in answers.items():
            rows[row] = evaluate(answer, data, y_test) | {"fit s": seconds}
    return pd.DataFrame(rows).T


COLUMNS = [
    "accuracy", "NLL", "ECE", "Brier", "AUROC", "FPR95", "AURC", "fit s", "predict s",
]  # fmt: skip


def averages(figures: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, with medians of times, for each answer and pair."""
    columns = [column for column in COLUMNS if column in figures]
    rules = {
        column: "median" if column.endswith(" s") else "mean" for column in columns
    }
    grouped = figures.rename_axis("answer").groupby(["answer", "pair"], sort=False)
    return grouped.agg(rules)


def updated(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Replace the results in `old` that `new` also contains, and add the others."""
    keys = ["answer", "pair", "seed"]
    both = pd.concat([old.reset_index(), new.reset_index()])
    return both.drop_duplicates(keys, keep="last").set_index("answer")


def main() -> None:
    """Print the tables and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fashion-rows", type=int, default=10_000)
    parser.add_argument("--pairs", nargs="*", metavar="PAIR")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS))
    parser.add_argument("--csv", metavar="PATH", help="write all results")
    parser.add_argument(
        "--update", action="store_true", help="keep other results in that file"
    )
    parser.add_argument("--picture", metavar="PATH.png", help="plot the mean ranks")
    arguments = parser.parse_args()
    print_header()
    rows = arguments.fashion_rows
    pairs = report(rows) | corrupted(rows) | packaged()
    names = arguments.methods or list(METHODS)

    pd.set_option("display.width", 200, "display.max_columns", None)
    found = []
    for pair in arguments.pairs or pairs:
        for seed in range(arguments.seeds):
            print(f"... {pair}, seed {seed}", file=sys.stderr, flush=True)
            figures = measure(pairs[pair], names, seed)
            found.append(figures.assign(pair=pair, seed=seed))
            if arguments.csv and not arguments.update:  # a long run may be cut short
                pd.concat(found).rename_axis("answer").to_csv(arguments.csv)
        table = averages(pd.concat(found).query("pair == @pair"))
        print(f"\n{pair}\n{table.round(4).to_string()}", flush=True)

    figures = pd.concat(found).rename_axis("answer")
    if arguments.update:
        figures = updated(pd.read_csv(arguments.csv, index_col="answer"), figures)
    if arguments.csv:
        figures.to_csv(arguments.csv)
    summarize(figures, arguments.picture)


def summarize(figures: pd.DataFrame, picture: str | None) -> None:
    """Print the means and the mean ranks over pairs; plot the ranks."""
    means = averages(figures)
    auroc = means["AUROC"].unstack()
    complete = auroc.dropna().index
    overall = means.loc[complete].groupby("answer", sort=False).mean()
    print(f"\nMeans over pairs\n{overall.round(4).to_string()}")
    if len(complete) > 1:
        ranks, critical_difference = mean_ranks(auroc.loc[complete])
        print(
            f"\nMean rank of the AUROC (critical difference {critical_difference:.2f})"
        )
        print(ranks.round(2).to_string())
        if picture:
            draw_ranks(ranks, critical_difference, picture)


if __name__ == "__main__":
    main()
