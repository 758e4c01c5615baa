"""Accuracy, calibration and detection of unknown rows, on real data, with peers.

Run ``python -m benchmarks.quality`` (long; ``--pairs`` and ``--contenders`` for parts,
``--seeds`` for fewer). Every contender has its default
parameters (`benchmarks.contenders`); pairs of known and unknown rows are those that no
default was chosen by (`benchmarks.pairs`). Contenders that need other packages than
scikit-learn are left out where those aren't installed. ``--csv`` keeps every figure;
with ``--update`` the file's figures of contenders that are not run again stay.

Columns: accuracy; negative log-likelihood (NLL), expected calibration error (ECE, 15
bins of equal weight) and Brier score of the known test rows; AUROC of telling unknown
rows from them, and the share of known rows flagged with 95 % of the unknown ones
(FPR95); area under the risk-coverage curve of confidence (AURC); seconds to fit and to
predict, the medians over seeds, as the first fit of a shape compiles. First a table for
each pair, means over the seeds; then means over the pairs, and the mean rank of the
AUROC with Nemenyi's critical difference. That takes pairs for independent; where they
share a data set, or answers a fit, differences are less certain than it says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata, studentized_range
from sklearn.metrics import brier_score_loss, log_loss

from benchmarks.contenders import CONTENDERS, Answer
from benchmarks.pairs import corrupted, packaged, report
from sksngp.datasets import InOut
from sksngp.metrics import (
    area_under_risk_coverage,
    expected_calibration_error,
    fpr_at_tpr,
    ood_auroc,
)


def judge(answer: Answer, data: InOut, y_test: np.ndarray) -> dict[str, float]:
    """All figures of one answer on one pair."""
    known, unknown = answer.score(data.X_test), answer.score(data.X_ood)
    figures = {"AUROC": ood_auroc(known, unknown), "FPR95": fpr_at_tpr(known, unknown)}
    if answer.proba is None:
        return figures
    start = time.perf_counter()
    proba = answer.proba(data.X_test)
    seconds = time.perf_counter() - start
    labels = np.arange(proba.shape[1])
    correct = proba.argmax(axis=1) == y_test
    return figures | {
        "accuracy": float(correct.mean()),
        "NLL": log_loss(y_test, proba, labels=labels),
        "ECE": expected_calibration_error(
            y_test, proba, labels=labels, strategy="quantile"
        ),
        "Brier": brier_score_loss(y_test, proba, labels=labels, scale_by_half=False),
        "AURC": area_under_risk_coverage(correct, 1 - proba.max(axis=1)),
        "predict s": seconds,
    }


def measure(pair, names: Iterable[str], seed: int) -> pd.DataFrame:
    """Figures of each answer of each contender: one row an answer."""
    data = pair(seed)
    classes, y = np.unique(data.y_train, return_inverse=True)
    y_test = np.searchsorted(classes, data.y_test)
    rows = {}
    for name in names:
        start = time.perf_counter()
        answers = CONTENDERS[name](data.X_train, y, seed)
        seconds = time.perf_counter() - start
        for row, answer in answers.items():
            rows[row] = judge(answer, data, y_test) | {"fit s": seconds}
    return pd.DataFrame(rows).T


COLUMNS = [
    "accuracy", "NLL", "ECE", "Brier", "AUROC", "FPR95", "AURC", "fit s", "predict s",
]  # fmt: skip


def averages(figures: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, but medians of seconds, by answer and pair."""
    columns = [column for column in COLUMNS if column in figures]
    rules = {
        column: "median" if column.endswith(" s") else "mean" for column in columns
    }
    grouped = figures.rename_axis("answer").groupby(["answer", "pair"], sort=False)
    return grouped.agg(rules)


def updated(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Figures of `old` but for the answers in `new`, and those."""
    keys = ["answer", "pair", "seed"]
    both = pd.concat([old.reset_index(), new.reset_index()])
    return both.drop_duplicates(keys, keep="last").set_index("answer")


def mean_ranks(auroc: pd.DataFrame) -> tuple[pd.Series, float]:
    """Mean rank of each answer over pairs, 1 the best, and the critical difference.

    Parameters
    ----------
    auroc : DataFrame
        A row an answer, a column a pair, without gaps.

    Returns
    -------
    ranks : Series
    critical_difference : float
        Nemenyi's, at 5 % (Demsar 2006, Journal of Machine Learning Research 7): mean
        ranks that differ by less can't be told apart.
    """
    ranks = pd.DataFrame(
        {pair: rankdata(-values) for pair, values in auroc.items()}, index=auroc.index
    )
    k, n = ranks.shape
    q = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    return ranks.mean(axis=1).sort_values(), float(q * np.sqrt(k * (k + 1) / (6 * n)))


def draw(ranks: pd.Series, critical_difference: float, path: str) -> None:
    """Draw mean ranks; the band holds what can't be told from the best."""
    figure = Figure(figsize=(8, 1 + 0.3 * len(ranks)), layout="tight")
    axes = figure.subplots()
    places = np.arange(len(ranks))
    best = float(ranks.iloc[0])
    axes.axvspan(best, best + critical_difference, color="tab:blue", alpha=0.15)
    axes.plot(ranks, places, "o", color="tab:blue")
    axes.set_yticks(places, ranks.index)
    axes.invert_yaxis()
    axes.set(
        xlabel="mean rank of the OOD AUROC",
        title=f"shaded: within the critical difference, {critical_difference:.1f}",
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the tables and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fashion-rows", type=int, default=10_000)
    parser.add_argument("--pairs", nargs="*", metavar="PAIR")
    parser.add_argument("--contenders", nargs="*", choices=list(CONTENDERS))
    parser.add_argument("--csv", metavar="PATH", help="write every figure")
    parser.add_argument("--update", action="store_true", help="of that file, the rest")
    parser.add_argument("--picture", metavar="PATH.png", help="draw the mean ranks")
    arguments = parser.parse_args()
    rows = arguments.fashion_rows
    pairs = report(rows) | corrupted(rows) | packaged()
    names = arguments.contenders or list(CONTENDERS)

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
        if arguments.picture:
            draw(ranks, critical_difference, arguments.picture)


if __name__ == "__main__":
    main()
