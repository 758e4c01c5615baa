"""Accuracy and OOD detection of this library's classifiers with default parameters.

Run ``python -m benchmarks.accuracy`` (about ten minutes on two cores). With
``--fashion-rows 60000``, which takes an hour longer, all training images of
Fashion-MNIST are used. `benchmarks.quality` and `benchmarks.tables` compare more
methods and measures.

The two tables contain means over the seeds:

- the accuracy in 5-fold cross-validation on iris, wine, breast cancer and digits, and
  on the test set of Fashion-MNIST;
- the AUROC of OOD detection on the pairs of `benchmarks._tools.dataset_pairs`, for the
  OOD score of SNGP, the entropy of the deterministic network, and each score of an
  ensemble of five networks.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks._tools.dataset_pairs import report
from benchmarks._tools.printing import print_header
from sksngp import DeepEnsembleClassifier, ResNetClassifier, SNGPClassifier
from sksngp.datasets import load_fashion_mnist
from sksngp.metrics import ood_auroc

TABULAR = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}


def classifiers(seed: int) -> dict:
    """Return the classifiers whose accuracies are compared."""
    return {
        "SNGP": SNGPClassifier(random_state=seed),
        "ResNet": ResNetClassifier(random_state=seed),
        "MLP": make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)),
    }


def tabular_accuracy(name: str, seeds: Iterable[int], n_folds: int = 5) -> pd.Series:
    """Return the mean accuracies of cross-validation over seeds."""
    X, y = TABULAR[name](return_X_y=True)
    rows = []
    for seed in seeds:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        rows.append(
            {
                key: cross_val_score(classifier, X, y, cv=folds).mean()
                for key, classifier in classifiers(seed).items()
            }
        )
    return pd.DataFrame(rows).mean()


def fashion_accuracy(n_train: int, seeds: Iterable[int]) -> pd.Series:
    """Return the mean accuracies over seeds on the test set of Fashion-MNIST."""
    data = load_fashion_mnist()
    rows = []
    for seed in seeds:
        chosen = np.random.default_rng(seed).permutation(len(data.X_train))[:n_train]
        X, y = data.X_train[chosen], data.y_train[chosen]
        rows.append(
            {
                key: classifier.fit(X, y).score(data.X_test, data.y_test)
                for key, classifier in classifiers(seed).items()
            }
        )
    return pd.DataFrame(rows).mean()


def detection(pair, seeds: Iterable[int]) -> pd.Series:
    """Return the mean AUROCs over seeds on one pair."""
    rows = []
    for seed in seeds:
        data = pair(seed)

        def auroc(classifier, kind, data=data):
            return ood_auroc(
                classifier.predict_uncertainty(data.X_test, kind=kind),
                classifier.predict_uncertainty(data.X_ood, kind=kind),
            )

        sngp, resnet, ensemble = (
            classifier.fit(data.X_train, data.y_train)
            for classifier in (
                SNGPClassifier(random_state=seed),
                ResNetClassifier(random_state=seed),
                DeepEnsembleClassifier(num_ensemble=5, random_state=seed),
            )
        )
        confidence = (
            1 - ensemble.predict_proba(X).max(axis=1) for X in (data.X_test, data.X_ood)
        )
        rows.append(
            {
                "SNGP": ood_auroc(
                    -sngp.score_samples(data.X_test), -sngp.score_samples(data.X_ood)
                ),
                "ResNet entropy": auroc(resnet, "total"),
                "ensemble entropy": auroc(ensemble, "total"),
                "ensemble aleatoric": auroc(ensemble, "aleatoric"),
                "ensemble mutual information": auroc(ensemble, "epistemic"),
                "ensemble 1 - max p": ood_auroc(*confidence),
                "SNGP flagged known": sngp.predict_ood(data.X_test).mean(),
                "SNGP flagged unknown": sngp.predict_ood(data.X_ood).mean(),
            }
        )
    return pd.DataFrame(rows).mean()


def best_ensemble(table: pd.DataFrame) -> float:
    """Return the mean AUROC over pairs of the best score of the ensemble."""
    return float(table.filter(like="ensemble").mean().max())


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--fashion-rows", type=int, default=10_000)
    arguments = parser.parse_args()
    print_header()
    seeds = range(arguments.seeds)
    # MLPClassifier stops after 200 epochs and raises a warning in each fold.
    warnings.simplefilter("ignore", ConvergenceWarning)

    pd.set_option("display.width", 200)
    accuracy = {}
    for name in TABULAR:
        accuracy[name] = tabular_accuracy(name, seeds)
        print(f"{name}: {accuracy[name].round(4).to_dict()}", flush=True)
    name = f"Fashion-MNIST, {arguments.fashion_rows:,} images"
    accuracy[name] = fashion_accuracy(arguments.fashion_rows, seeds)
    print("\nAccuracy\n", pd.DataFrame(accuracy).T.round(4), sep="", flush=True)

    auroc = {}
    for name, pair in report(arguments.fashion_rows).items():
        auroc[name] = detection(pair, seeds)
        print(f"{name}: {auroc[name].round(4).to_dict()}", flush=True)
    table = pd.DataFrame(auroc).T
    print("\nOOD AUROC\n", table.T.round(3).to_string(), sep="")
    print(
        f"\nMean over pairs: SNGP {table['SNGP'].mean():.3f}, "
        f"best score of the ensemble {best_ensemble(table):.3f}"
    )


if __name__ == "__main__":
    main()
