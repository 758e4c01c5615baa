"""False positive rate on new samples, compared with ``ood_alpha``.

Run ``python -m benchmarks.false_alarms`` (an hour on two cores; ``--splits 20``
takes less time, and ``--classifier`` selects another classifier). Each split divides a
dataset into training samples and new samples, fits the classifier with its default
parameters for each rate, and counts the flags among the new samples. The table contains
the mean rate over the splits and its 95% interval, a normal interval of the mean of
independent splits.

``--confidence 0.9`` measures `ood_confidence` instead. A classifier is fitted to half
of each dataset, and the other half represents the population. 10,000 calibration sets
of 200 samples are drawn from it. The table contains the fraction of calibration sets
that lead to a rate of at most `ood_alpha` in the population, with and without the
confidence.

The guarantee is an expectation: single splits lie on both sides of it. It is violated
if the mean of any row of the table exceeds the rate significantly (Bonferroni
correction). The exit status is then 1. If too few samples can be held out for a rate,
no sample is flagged (iris and wine at 1%).
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
from benchmarks._tools.printing import print_header, table
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
#: Half the length of a 95% interval in standard errors.
NORMAL = float(norm.ppf(0.975))
#: Number of calibration sets that are drawn to measure `ood_confidence`.
DRAWS = 10_000


def flagged_shares(
    name: str, split: int, classifier: str, **params
) -> dict[float, float]:
    """Return the fraction of new samples that are flagged in one split, for each rate.

    A rate that requires no more held-out samples than a higher rate leads to the same
    fit. It is not repeated: samples are flagged by their p-values.

    Parameters
    ----------
    name : str
        A name in `DATA`.
    split : int
        Seed of the split and of the classifier.
    classifier : str
        Name of a classifier of `sksngp`.
    **params
        Parameters of the classifier.

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
                # Small datasets have too few samples for low rates.
                warnings.filterwarnings(
                    "ignore", "predict_ood will not flag any sample", UserWarning
                )
                clf.fit(X_train, y_train)
        # With the tolerance, the p-value 3 / 30 is at most the rate 0.1.
        shares[rate] = float((clf.ood_pvalue(X_fresh) <= rate + 1e-9).mean())
    return shares


def simulate(
    names, splits: int, classifier: str = "SNGPClassifier", n_jobs: int = -1, **params
) -> pd.DataFrame:
    """Return the fractions of flagged samples, by dataset, rate and split."""
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
    """Compute the mean fraction and its 95% interval by dataset and rate."""
    grouped = shares.groupby(["data", "rate"], sort=False)["share"]
    mean, error = grouped.mean(), grouped.std() / np.sqrt(grouped.size())
    found = pd.DataFrame(
        {"mean": mean, "low": mean - NORMAL * error, "high": mean + NORMAL * error}
    )
    strict = norm.ppf(1 - 0.05 / len(found))
    return found.assign(broken=mean - strict * error > mean.index.get_level_values(1))


def kept(name: str, rate: float, confidence: float | None) -> float:
    """Return the fraction of calibration sets that keep a rate in the population."""
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
        for _ in range(DRAWS)
    ]
    return float(np.mean([np.mean(scores > value) <= rate for value in thresholds]))


def report_confidence(names, confidence: float) -> None:
    """Print how often a single calibration keeps the rate."""
    lines = [
        [f"{name}, {rate:.0%}"]
        + [f"{kept(name, rate, value):.1%}" for value in (None, confidence)]
        for name, rate in product(names, (0.05, 0.1))
    ]
    header = ["data, ood_alpha", "without", f"ood_confidence={confidence:g}"]
    print(f"Fraction of {DRAWS:,} calibration sets that keep the rate\n")
    print(table(header, lines))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--classifier", default="SNGPClassifier")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--confidence", type=float)
    arguments = parser.parse_args()
    print_header()
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
    header = ["data, ood_alpha", "flagged", "95% interval"]
    print(f"{arguments.classifier}, {arguments.splits} splits\n")
    print(table(header, lines))
    if broken:
        sys.exit(f"Above the guaranteed rate: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
