"""Accuracy of explanations: the rank of the features that were changed.

Run ``python -m benchmarks.explanations``. ``--tables`` selects tables of KEEL instead
of the reporting half. ``--shap N`` also explains N samples of each kind and table with
SHAP's permutation explainer (``pip install shap``). Features of test samples are
changed in four ways, and the samples that are then flagged are explained:

- moved: one feature is moved by 5 standard deviations;
- other unit: one feature is multiplied by 1,000;
- dead sensor: one feature has the smallest value of the training samples;
- shuffled pair: two features have the values of another test sample.

A feature is ranked first if its contribution is the largest, and among the first three
if at most two contributions are larger. Of a pair, the feature with the better rank
counts. Categorical columns, which are one-hot encoded, are not changed. Results are
means over all flagged samples of all tables. SHAP explains the same score, with 100
training samples as the background and the number of evaluations that its explainer
requires. The rows "same samples as SHAP" repeat `explain_ood` on the samples that SHAP
explains. Times are processor times per sample, summed over all threads.

``--baselines`` adds other choices of the values with which a sample is compared:

- one direction: only the sample takes values, and reference samples do not;
- nearest: the reference samples with the smallest Euclidean distances between
  standardized features, rather than those that agree in most features;
- random: reference samples that are drawn at random.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from benchmarks._tools.keel_tables import load_table, tables_of
from benchmarks._tools.printing import print_header
from benchmarks._tools.table_runs import MOVE, split
from sksngp import SNGPClassifier
from sksngp._uncertainty.explanation import (
    NUM_DONORS,
    contributions,
    nearest_by_features,
)

KINDS = ("moved", "other unit", "dead sensor", "shuffled pair")
#: Maximum numbers of training samples and of changed test samples.
MAX_ROWS, MAX_CHANGED = 700, 100


def changed(
    X: np.ndarray, X_train: np.ndarray, numeric: np.ndarray, kind: str, rng
) -> tuple[np.ndarray, np.ndarray]:
    """Change features of each sample; return the samples and the changed features.

    Parameters
    ----------
    X, X_train : ndarray of shape (n, n_features) and (m, n_features)
    numeric : int ndarray
        Indices of the features that may be changed, at least two.
    kind : str
        One of `KINDS`.
    rng : numpy.random.Generator

    Returns
    -------
    X : ndarray of shape (n, n_features)
    features : int ndarray of shape (n, 1 or 2)
    """
    X, rows = X.copy(), np.arange(len(X))
    number = 2 if kind == "shuffled pair" else 1
    features = np.array([rng.choice(numeric, number, replace=False) for _ in rows])
    first = features[:, 0]
    if kind == "moved":
        spread = X_train.std(axis=0)[first]
        X[rows, first] += MOVE * spread * rng.choice([-1, 1], len(X))
    elif kind == "other unit":
        X[rows, first] *= 1000
    elif kind == "dead sensor":
        X[rows, first] = X_train.min(axis=0)[first]
    else:
        others = X[rng.permutation(len(X))]
        np.put_along_axis(X, features, np.take_along_axis(others, features, 1), 1)
    return X, features


def ranks(contributions: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Count the features with larger contributions than the changed feature."""
    own = np.take_along_axis(contributions, features, axis=1).max(axis=1)
    return (contributions > own[:, None]).sum(axis=1)


def shap_values(clf, X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
    """Compute Shapley values of the score with SHAP's permutation explainer."""
    import shap

    explainer = shap.PermutationExplainer(
        lambda rows: -clf.score_samples(rows), shap.maskers.Independent(X_train, 100)
    )
    return explainer(X, max_evals=2 * X.shape[1] + 1, silent=True).values


def _nearest(X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
    scaler = StandardScaler().fit(X_train)
    index = NearestNeighbors(n_neighbors=NUM_DONORS).fit(scaler.transform(X_train))
    return index.kneighbors(scaler.transform(X), return_distance=False)


def _random(X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(len(X_train), size=(len(X), NUM_DONORS))


def exchange_with(choose: Callable) -> Callable:
    """Return an explainer that exchanges values with other reference samples."""

    def explain(clf, X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
        donors = choose(X, X_train)
        scores, others = -clf.score_samples(X), -clf.score_samples(X_train)
        columns = list(np.arange(X.shape[1])[:, None])
        return contributions(
            lambda rows: -clf.score_samples(rows),
            *(X, X_train, columns, donors, scores, others[donors]),
        )

    return explain


def one_direction(clf, X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
    """Return the mean decrease of the score if a feature takes other values."""
    donors = nearest_by_features(X, X_train, NUM_DONORS)
    values = np.empty(X.shape)
    for column in range(X.shape[1]):
        mixed = np.repeat(X[:, None], NUM_DONORS, axis=1)
        mixed[:, :, column] = X_train[donors, column]
        scores = -clf.score_samples(mixed.reshape(-1, X.shape[1]))
        values[:, column] = -scores.reshape(donors.shape).mean(axis=1)
    return values - clf.score_samples(X)[:, None]


BASELINES = {
    "one direction": one_direction,
    "nearest": exchange_with(_nearest),
    "random": exchange_with(_random),
}


def measure(
    name: str, shap_rows: int, seed: int, baselines: bool = False, **params
) -> list[dict]:
    """Explain the flagged samples of a table; return a row per method and sample."""
    table = load_table(name)
    data = split(table, seed, MAX_ROWS)
    rng, X_train = np.random.default_rng(seed), data.X_train
    y = np.unique(data.y_train, return_inverse=True)[1]
    clf = SNGPClassifier(random_state=seed, **params).fit(X_train, y)
    spread = X_train.std(axis=0) > 0
    numeric = np.flatnonzero(spread & (np.bincount(table.column)[table.column] == 1))
    if len(numeric) < 2:
        return []
    X_test = data.X_test[rng.permutation(len(data.X_test))[:MAX_CHANGED]]
    found = []
    for kind in KINDS:
        X, features = changed(X_test, X_train, numeric, kind, rng)
        flagged = clf.predict_ood(X)
        X, features = X[flagged], features[flagged]
        explainers = {"explain_ood": (len(X), _explain_ood)}
        if baselines:
            explainers |= {key: (len(X), each) for key, each in BASELINES.items()}
        if shap_rows:
            explainers["explain_ood, same samples as SHAP"] = (shap_rows, _explain_ood)
            explainers["SHAP, permutations"] = (shap_rows, shap_values)
        for method, (size, explain) in explainers.items():
            if not len(X):
                continue
            explain(clf, X[:1], X_train)  # compiles the functions
            start = time.process_time()
            contributions = explain(clf, X[:size], X_train)
            seconds = (time.process_time() - start) / len(contributions)
            for rank in ranks(contributions, features[:size]):
                row = {"table": name, "kind": kind, "method": method}
                found.append({**row, "rank": rank, "seconds": seconds})
    return found


def _explain_ood(clf, X: np.ndarray, X_train: np.ndarray) -> np.ndarray:
    return clf.explain_ood(X, X_train).contributions


def report(found: pd.DataFrame) -> pd.DataFrame:
    """Compute how often the changed feature is ranked first, by kind and method."""
    return (
        found.assign(
            first=found["rank"] == 0,
            among_three=found["rank"] < 3,
        )
        .groupby(["kind", "method"], sort=False)
        .agg(
            samples=("rank", "size"),
            tables=("table", "nunique"),
            first=("first", "mean"),
            among_three=("among_three", "mean"),
            seconds=("seconds", "mean"),
        )
        .round(4)
    )


def main() -> None:
    """Print the results of each table and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="*", default=tables_of("reporting"))
    parser.add_argument("--shap", type=int, default=0, metavar="N")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--one-network",
        action="store_true",
        help="num_layers=2 and cv=None, for a quick run",
    )
    arguments = parser.parse_args()
    print_header()
    params = {"num_layers": 2, "cv": None} if arguments.one_network else {}
    found: list[dict] = []
    for name in arguments.tables:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "predict_ood will not flag any sample")
            rows = measure(
                name, arguments.shap, arguments.seed, arguments.baselines, **params
            )
        found += rows
        if rows:
            print(f"\n{name}\n{report(pd.DataFrame(rows)).to_string()}", flush=True)
    print(f"\nAll tables\n{report(pd.DataFrame(found)).to_string()}")


if __name__ == "__main__":
    main()
