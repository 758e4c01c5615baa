"""Whether SNGP's variance ranks rows as an exact Gaussian process would.

Run ``python -m benchmarks.distance`` (a few minutes on two cores). For each pair of
known and unknown rows (`benchmarks.pairs`) and the default `SNGPClassifier`, Spearman's
rank correlation between its epistemic score and the variance of an exact Gaussian
process with the same kernel, length-scale and noise on the same hidden representations:
over known test rows and unknown rows together, and over the former alone. The exact
process has all training rows, and so has SNGP, which holds out none here; both sides
are scored on at most 2,000 rows.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from benchmarks.contenders import hidden_representation
from benchmarks.pairs import corrupted, packaged, report
from sksngp import SNGPClassifier

LARGEST = 2_000


def exact_variance(clf: SNGPClassifier, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Variance at `rows` of an exact Gaussian process that knows `X`."""
    hidden = hidden_representation(clf)
    process = GaussianProcessRegressor(
        RBF(clf.kernel_scale_**0.5), alpha=clf.ridge_penalty, optimizer=None
    ).fit(hidden(X), np.zeros(len(X)))
    return process.predict(hidden(rows), return_std=True)[1] ** 2


def rank_correlations(pair, seed: int) -> dict[str, float]:
    """Correlation over known and unknown rows, and over known ones."""
    data = pair(seed)
    clf = SNGPClassifier(validation_fraction=0, random_state=seed)
    clf.fit(data.X_train, data.y_train)
    known, both = data.X_test, np.concatenate([data.X_test, data.X_ood])
    found = {}
    for name, rows in (("all rows", both), ("known rows", known)):
        rows = np.random.default_rng(seed).permutation(rows)[:LARGEST]
        scores = clf.predict_uncertainty(rows, kind="epistemic")
        exact = exact_variance(clf, data.X_train, rows)
        found[name] = float(spearmanr(scores, exact).statistic)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fashion-rows", type=int, default=5_000)
    arguments = parser.parse_args()
    rows = arguments.fashion_rows
    warnings.filterwarnings("ignore", "predict_ood will flag no row", UserWarning)
    table = pd.DataFrame(
        {
            name: pd.DataFrame(
                [rank_correlations(pair, seed) for seed in range(arguments.seeds)]
            ).mean()
            for name, pair in (report(rows) | corrupted(rows) | packaged()).items()
        }
    ).T
    table.loc["mean"] = table.mean()
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
