"""The tutorial's results with the tutorial's configuration, on five seeds.

usage: python -m benchmarks.tutorial_results [--seeds N]

The network, the optimizer, the epochs and the batches are the tutorial's
(`benchmarks.settings`); all samples are trained on, unscaled, and nothing is chosen.
For SNGP, `kernel_scale` and `ridge_penalty` are the defaults of the library or the
tutorial's 1. Printed are the accuracy on new samples of the two moons and the AUROC
with which a blob far from both is told from them, by p (1 - p) and by the
out-of-distribution score.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from benchmarks import settings
from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

#: Parameters of the tutorial's network and of its training.
TUTORIAL = {
    "num_layers": settings.NUM_LAYERS,
    "num_hidden": settings.NUM_HIDDEN,
    "dropout_rate": settings.DROPOUT_RATE,
    "learning_rate": settings.LEARNING_RATE,
    "learning_rate_schedule": "constant",
    "epochs": settings.EPOCHS,
    "batch_size": settings.BATCH_SIZE,
    "standardize": False,
    "cv": None,
    "validation_fraction": 0,
}
CLASSIFIERS = {
    "SNGP": SNGPClassifier(**TUTORIAL),
    "SNGP, the tutorial's kernel and ridge": SNGPClassifier(
        **TUTORIAL, kernel_scale=1.0, ridge_penalty=1.0
    ),
    "deterministic": ResNetClassifier(**TUTORIAL),
}


def measure(classifier, seed: int) -> dict[str, float]:
    """Fit a classifier; return its accuracy and its AUROCs."""
    classifier.set_params(random_state=seed).fit(*two_moons(random_state=seed))
    X, y = two_moons(5000, random_state=100 + seed)
    blob = two_moons_ood(random_state=seed)

    def bernoulli_variance(X):
        p = classifier.predict_proba(X)[:, 1]
        return p * (1 - p)

    return {
        "accuracy": classifier.score(X, y),
        "AUROC, p (1 - p)": ood_auroc(bernoulli_variance(X), bernoulli_variance(blob)),
        "AUROC, OOD score": ood_auroc(
            -classifier.score_samples(X), -classifier.score_samples(blob)
        ),
    }


def main() -> None:
    """Print the mean and the lowest value of each measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    rows = {}
    for name, classifier in CLASSIFIERS.items():
        found = pd.DataFrame([measure(classifier, seed) for seed in seeds])
        rows[name] = {
            column: f"{np.mean(values):.4f} ({values.min():.4f})"
            for column, values in found.items()
        }
    print(f"{len(seeds)} seeds: mean (lowest)")
    print(pd.DataFrame(rows).T.to_string())


if __name__ == "__main__":
    main()
