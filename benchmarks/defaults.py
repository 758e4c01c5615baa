"""Parameter sweep around the defaults of `SNGPClassifier`.

Run ``python -m benchmarks.defaults`` (some hours on two cores). The data are the tuning
pairs of `benchmarks._tools.dataset_pairs`, on which no results are reported. Each row
changes one parameter, the kernel factors that are compared, or the input projection.
The columns are means over pairs and seeds: test accuracy, negative log-likelihood
(NLL), expected calibration error (ECE), and the AUROC of OOD samples. The AUROC is
computed for the OOD score, for the epistemic and for the total uncertainty.
``--variants`` selects rows by the beginning of their names.
"""

from __future__ import annotations

import argparse
from functools import partial
from unittest.mock import patch

import pandas as pd
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from benchmarks._tools.dataset_pairs import tuning
from benchmarks._tools.printing import print_header
from sksngp import SNGPClassifier
from sksngp.metrics import expected_calibration_error, ood_auroc

#: Values of each parameter; all others keep their defaults.
SWEEP = {
    "temperature": [1.0],
    "num_layers": [0, 2, 6],
    "num_inducing": [512, 2048],
    "kernel_scale": [1.0],
    "ridge_penalty": [1.0, 0.1, 0.01],
    "learning_rate": [1e-3, 1e-2],
    "epochs": [25, 100],
    "spec_norm_bound": [0.3, 0.6, 1.5],
}
#: Sets of factors of the mean squared distance that `kernel_scale="auto"` compares.
FACTORS = [(1 / 16,), (1 / 4,), (1.0,), (4.0,), (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0)]


def measure(classifier, pair, seed: int) -> dict[str, float]:
    """Fit a classifier on one pair and compute its measures."""
    data = pair(seed)
    classifier.fit(data.X_train, data.y_train)
    proba = classifier.predict_proba(data.X_test)

    def auroc(score):
        return ood_auroc(score(data.X_test), score(data.X_ood))

    found = {
        "accuracy": classifier.score(data.X_test, data.y_test),
        "NLL": log_loss(data.y_test, proba),
        "ECE": expected_calibration_error(data.y_test, proba, strategy="quantile"),
        # A pipeline forwards this method: the opposite of the OOD score.
        "OOD AUROC": auroc(lambda X: -classifier.score_samples(X)),
    }
    if isinstance(classifier, SNGPClassifier):
        for kind in ("epistemic", "total"):
            found[kind] = auroc(partial(classifier.predict_uncertainty, kind=kind))
    return found


def sweep(pairs: dict, seeds: range, variants: tuple[str, ...] = ("",)):
    """Yield the name of each variant and its measures by pair."""
    for name, make in _variants():
        if name.startswith(variants):
            yield (
                name,
                pd.DataFrame(
                    {
                        pair: pd.DataFrame(
                            [measure(make(seed), rows, seed) for seed in seeds]
                        ).mean()
                        for pair, rows in pairs.items()
                    }
                ).T,
            )


def _variants():
    """Yield the name of each variant and a function from a seed to a classifier."""

    def sngp(seed, **change):
        return SNGPClassifier(random_state=seed, **change)

    yield "defaults", sngp
    for parameter, values in SWEEP.items():
        for value in values:
            yield f"{parameter}={value:g}", partial(sngp, **{parameter: value})
    yield "one network", partial(sngp, num_layers=6, cv=None)
    for factors in FACTORS:
        # The patch is active while the caller fits classifiers.
        with patch("sksngp._sngp_output.KERNEL_FACTORS", factors):
            yield "kernel factors " + ", ".join(f"{each:.4g}" for each in factors), sngp
    yield "random input projection", _behind_random_projection


def _behind_random_projection(seed):
    return make_pipeline(
        StandardScaler(),
        GaussianRandomProjection(128, random_state=seed),
        SNGPClassifier(standardize=False, random_state=seed),
    )


def main() -> None:
    """Print the measures of each variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--fashion-rows", type=int, default=5_000)
    parser.add_argument("--variants", nargs="*", default=[""], metavar="BEGINNING")
    arguments = parser.parse_args()
    print_header()
    pairs = tuning(arguments.fashion_rows)
    variants = tuple(arguments.variants)
    for name, table in sweep(pairs, range(arguments.seeds), variants):
        mean = ", ".join(f"{key} {value:.3f}" for key, value in table.mean().items())
        by_pair = "  ".join(
            f"{pair} {row['accuracy']:.3f}/{row['OOD AUROC']:.3f}"
            for pair, row in table.iterrows()
        )
        print(f"{name}\n    mean: {mean}\n    accuracy/AUROC: {by_pair}", flush=True)


if __name__ == "__main__":
    main()
