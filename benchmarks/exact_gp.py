"""Rank correlation of SNGP's variance with that of an exact Gaussian process.

Run ``python -m benchmarks.exact_gp`` (a few minutes on two cores). For each pair of
`benchmarks._tools.dataset_pairs`, the default `SNGPClassifier` is compared with an
exact Gaussian process on the same hidden representations, with the same kernel,
length-scale and noise. The table contains Spearman's rank correlation between the
epistemic uncertainty and the variance of the exact process, over test samples and OOD
samples together and over test samples alone. Both models use all training samples: SNGP
holds out none. At most 2,000 samples are scored.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from benchmarks._tools.dataset_pairs import corrupted, packaged, report
from benchmarks._tools.detectors import hidden_representation
from benchmarks._tools.printing import print_header
from sksngp import SNGPClassifier

#: Maximum number of samples that are scored.
MAX_SAMPLES = 2_000


def exact_variance(clf: SNGPClassifier, X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the variance at `rows` of an exact Gaussian process, given `X`."""
    hidden = hidden_representation(clf)
    process = GaussianProcessRegressor(
        RBF(clf.kernel_scale_**0.5), alpha=clf.ridge_penalty_, optimizer=None
    ).fit(hidden(X), np.zeros(len(X)))
    return process.predict(hidden(rows), return_std=True)[1] ** 2


def rank_correlations(pair, seed: int) -> dict[str, float]:
    """Compute the correlation over all samples, and over in-distribution samples."""
    data = pair(seed)
    clf = SNGPClassifier(validation_fraction=0, random_state=seed)
    clf.fit(data.X_train, data.y_train)
    known, all_samples = data.X_test, np.concatenate([data.X_test, data.X_ood])
    found = {}
    for name, rows in (("all", all_samples), ("in distribution", known)):
        rows = np.random.default_rng(seed).permutation(rows)[:MAX_SAMPLES]
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
    print_header()
    rows = arguments.fashion_rows
    warnings.filterwarnings(
        "ignore", "predict_ood will not flag any sample", UserWarning
    )
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
