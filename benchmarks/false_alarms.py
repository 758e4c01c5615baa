"""How many fresh rows are flagged, against what ``ood_alpha`` promises.

Run ``python -m benchmarks.false_alarms`` (20 minutes on two cores; ``--splits 20``
for less, ``--classifier`` for another). Each split draws training rows and fresh rows
of one data set, fits the classifier with its default parameters for each rate, and
counts the flags among the fresh rows. The table has the mean share over splits and
its 95 % band (a normal interval for the mean, as splits are drawn independently).

``--confidence 0.9`` measures `ood_confidence` instead: a classifier is fitted to half
of each data set, and the other half is taken for the population. 200 calibration sets
of 200 samples are drawn from it, and the table has the fraction of them that lead to a
rate of at most `ood_alpha` in the population, with and without the confidence.

The promise is an expectation: single splits lie on both sides of it. It is broken if a
mean lies above the rate by more than chance allows in any of the lines (Bonferroni);
the exit status is 1 then. Where too few rows can be held out for a rate, none is
flagged (iris and wine at 1 %).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from itertools import product

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split

import sksngp
from benchmarks.report import table
from sksngp._uncertainty.conformal import (
    above_rounding,
    min_calibration_size,
    threshold,
)
from sksngp.datasets import two_moons

RATES = (0.01, 0.05, 0.1)
DATA = {
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "two moons": lambda: two_moons(1000, random_state=0),
}
#: Half the length of a 95 % interval in standard errors.
NORMAL = float(norm.ppf(0.975))


def flagged_shares(
    name: str, split: int, classifier: str, **params
) -> dict[float, float]:
    """Share of fresh rows that a classifier flags in one split, for each rate.

    A rate for which no more rows are held out than for a larger one would have the
    same fit again; its flags are the p-values up to it.

    Parameters
    ----------
    name : str
        Of `DATA`.
    split : int
        Seeds the split and the classifier.
    classifier : str
        Name of a classifier of `sksngp`.
    **params
        Its other parameters.

    Returns
    -------
    dict of float to float
    """
    X, y = DATA[name]()
    X_train, X_fresh, y_train, _ = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=split
    )
    shares, clf = {}, None
    for rate in sorted(RATES, reverse=True):
        if clf is None or len(clf.ood_scores_) < min_calibration_size(rate):
            clf = getattr(sksngp, classifier)(
                ood_alpha=rate, random_state=split, **params
            )
            with warnings.catch_warnings():
                # What small data sets say of small rates.
                warnings.filterwarnings(
                    "ignore", "predict_ood will flag no row", UserWarning
                )
                clf.fit(X_train, y_train)
        # The tolerance keeps 0.1 from missing 3 / 30.
        shares[rate] = float((clf.ood_pvalue(X_fresh) <= rate + 1e-9).mean())
    return shares


def simulate(
    names, splits: int, classifier: str = "SNGPClassifier", n_jobs: int = -1, **params
) -> pd.DataFrame:
    """Flagged shares: one row a data set, rate and split."""
    keys = list(product(names, range(splits)))
    with Parallel(n_jobs=n_jobs) as parallel:
        found = parallel(
            delayed(flagged_shares)(*key, classifier, **params) for key in keys
        )
    return pd.DataFrame(
        [
            {"data": name, "rate": rate, "split": split, "share": shares[rate]}
            for (name, split), shares in zip(keys, found, strict=True)
            for rate in RATES
        ]
    )


def bands(shares: pd.DataFrame) -> pd.DataFrame:
    """Mean share and its 95 % band by data set and rate."""
    grouped = shares.groupby(["data", "rate"], sort=False)["share"]
    mean, error = grouped.mean(), grouped.std() / np.sqrt(grouped.size())
    found = pd.DataFrame(
        {"mean": mean, "low": mean - NORMAL * error, "high": mean + NORMAL * error}
    )
    strict = norm.ppf(1 - 0.05 / len(found))
    return found.assign(broken=mean - strict * error > mean.index.get_level_values(1))


def kept(name: str, rate: float, confidence: float | None, draws: int = 200) -> float:
    """Fraction of calibration sets that lead to at most a rate in the population."""
    X, y = DATA[name]()
    X_train, population, y_train, _ = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    clf = sksngp.SNGPClassifier(
        num_layers=2, cv=None, random_state=0, ood_alpha=rate
    ).fit(X_train, y_train)
    scores, rng = -clf.score_samples(population), np.random.default_rng(0)
    thresholds = [
        above_rounding(threshold(rng.choice(scores, 200), rate, confidence))
        for _ in range(draws)
    ]
    return float(np.mean([np.mean(scores > value) <= rate for value in thresholds]))


def report_confidence(names, confidence: float) -> None:
    """Print how often the rate is kept in a single calibration."""
    lines = [
        [f"{name}, {rate:.0%}"]
        + [f"{kept(name, rate, value):.1%}" for value in (None, confidence)]
        for name, rate in product(names, (0.05, 0.1))
    ]
    header = ["data, ood_alpha", "without", f"ood_confidence={confidence:g}"]
    print(f"Calibration sets that keep the rate, of 200\n\n{table(header, lines)}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--classifier", default="SNGPClassifier")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--confidence", type=float)
    arguments = parser.parse_args()
    if arguments.confidence is not None:
        report_confidence(arguments.data, arguments.confidence)
        return
    found = bands(simulate(arguments.data, arguments.splits, arguments.classifier))
    lines, broken = [], []
    for (name, rate), band in found.iterrows():
        lines.append(
            [
                f"{name}, {rate:.0%}",
                f"{band['mean']:.2%}",
                f"{band['low']:.2%} to {band['high']:.2%}",
            ]
        )
        if band["broken"]:
            broken.append(lines[-1][0])
    header = ["data, ood_alpha", "flagged", "95 % band"]
    print(f"{arguments.classifier}, {arguments.splits} splits\n")
    print(table(header, lines))
    if broken:
        sys.exit(f"Above the promise: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
