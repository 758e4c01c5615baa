"""Accuracy and OOD detection with the configuration of the tutorial, on five seeds.

Run ``python -m benchmarks.tutorial_results`` (minutes; ``--seeds`` sets their number).
The network, the optimizer, the epochs and the mini-batches are those of the tutorial
(`benchmarks._tools.tutorial_settings`). All samples are used for training, without
standardization, and no parameter is chosen from the data. For SNGP, `kernel_scale` and
`ridge_penalty` have the defaults of this library, or the tutorial's value of 1. The
table contains the accuracy on new samples of the two moons and the AUROC of OOD samples
far from both moons. The AUROC is computed for the score of the tutorial, p (1 - p), and
for the OOD score.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from benchmarks._tools import tutorial_settings
from benchmarks._tools.printing import print_header
from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

#: Parameters of the tutorial.
TUTORIAL = {
    "num_layers": tutorial_settings.NUM_LAYERS,
    "num_hidden": tutorial_settings.NUM_HIDDEN,
    "dropout_rate": tutorial_settings.DROPOUT_RATE,
    "learning_rate": tutorial_settings.LEARNING_RATE,
    "learning_rate_schedule": "constant",
    "epochs": tutorial_settings.EPOCHS,
    "batch_size": tutorial_settings.BATCH_SIZE,
    "standardize": False,
    "cv": None,
    "validation_fraction": 0,
}
CLASSIFIERS = {
    "SNGP": SNGPClassifier(**TUTORIAL),
    "SNGP, kernel and ridge of the tutorial": SNGPClassifier(
        **TUTORIAL, kernel_scale=1.0, ridge_penalty=1.0
    ),
    "deterministic": ResNetClassifier(**TUTORIAL),
}


def measure(classifier, seed: int) -> dict[str, float]:
    """Fit a classifier; return its accuracy and AUROCs."""
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
    print_header()
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
