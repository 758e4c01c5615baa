"""The sweep behind the default parameters.

Run ``python -m benchmarks.defaults`` (about an hour on two cores). Data are
the tuning pairs of `benchmarks.pairs`, which no report uses. Each row changes one
parameter of `SNGPClassifier`, or the input projection, from its default; columns
are means over pairs and seeds of test accuracy, negative log-likelihood (NLL),
expected calibration error (ECE), and the AUROC of telling unknown from known rows by
the out-of-distribution score, by its first factor alone (epistemic) and by the entropy
of the prediction (total). ``--variants`` picks rows by how their names begin.

How the defaults follow:

- ``kernel_scale="auto"``: the factor 1/16 has the best AUROC of those that lose
  no accuracy. The tutorial's constant 1 predicts at chance.
- The out-of-distribution score beats each of its factors: the epistemic one is better
  on tables, the entropy on news, and where unknown classes lie among known ones.
- Training steps that go by 128 of the random features in turn, rather than by all,
  raise the AUROC, most of all that of the epistemic factor, and take less time.
- ``temperature="auto"`` halves the calibration error.
- ``ridge_penalty=0.1`` has a higher AUROC than the tutorial's 1, at equal
  accuracy.
- ``learning_rate=1e-3``, ``epochs=100``: the tutorial's 1e-4 leaves small data
  sets unfinished, 3e-3 costs accuracy.
- ``spec_norm_bound=0.9``: the tutorial's; smaller bounds cost accuracy.
- The projection on the directions of largest variance, for inputs wider than the
  network, is more accurate than a random one (Fashion-MNIST).
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

from benchmarks.pairs import tuning
from sksngp import SNGPClassifier, pool
from sksngp._sngp import KERNEL_SCALE_FACTOR
from sksngp.metrics import expected_calibration_error, ood_auroc

#: One-at-a-time changes from the defaults, by parameter.
SWEEP = {
    "temperature": [1.0],
    "num_inducing": [512, 2048],
    "kernel_scale": [1.0],
    "ridge_penalty": [1.0, 0.01],
    "learning_rate": [1e-4, 3e-4, 3e-3],
    "epochs": [30, 50, 200],
    "spec_norm_bound": [0.3, 0.6, 1.5],
}
#: Random features that a training step may go by.
STEP_FEATURES = [1024, 512, 256, 64]
#: Factors of the mean squared distance that `kernel_scale="auto"` might take.
FACTORS = [1 / 64, 1 / 32, 1 / 8, 1 / 4, 1.0]


def measure(classifier, pair, seed: int) -> dict[str, float]:
    """Fit on one pair of known and unknown rows, and score."""
    data = pair(seed)
    classifier.fit(data.X_train, data.y_train)
    proba = classifier.predict_proba(data.X_test)

    def auroc(score):
        return ood_auroc(score(data.X_test), score(data.X_ood))

    found = {
        "accuracy": classifier.score(data.X_test, data.y_test),
        "NLL": log_loss(data.y_test, proba),
        "ECE": expected_calibration_error(data.y_test, proba, strategy="quantile"),
        # What a pipeline forwards: minus the out-of-distribution score.
        "OOD AUROC": auroc(lambda X: -classifier.score_samples(X)),
    }
    if isinstance(classifier, SNGPClassifier):
        for kind in ("epistemic", "total"):
            found[kind] = auroc(partial(classifier.predict_uncertainty, kind=kind))
    return found


def sweep(pairs: dict, seeds: range, variants: tuple[str, ...] = ("",)):
    """Yield the name of each variant and its table of scores by pair."""
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
    """Yield names and functions from a seed to a classifier."""

    def sngp(seed, **change):
        return SNGPClassifier(random_state=seed, **change)

    yield "defaults", sngp
    for parameter, values in SWEEP.items():
        for value in values:
            yield f"{parameter}={value:g}", partial(sngp, **{parameter: value})
    for factor in FACTORS:
        # While the caller fits, the generator waits inside of the patch.
        with patch("sksngp._sngp.KERNEL_SCALE_FACTOR", factor):
            yield (
                f"kernel factor {factor:.4g} (default {KERNEL_SCALE_FACTOR:.4g})",
                sngp,
            )
    for size in STEP_FEATURES:
        with patch("sksngp.compiled.STEP_FEATURES", size):
            pool.clear()  # networks in it were compiled with another
            yield f"step features {size}", sngp
    pool.clear()
    yield "random input projection", _behind_random_projection


def _behind_random_projection(seed):
    return make_pipeline(
        StandardScaler(),
        GaussianRandomProjection(128, random_state=seed),
        SNGPClassifier(standardize=False, random_state=seed),
    )


def main() -> None:
    """Print a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--fashion-rows", type=int, default=5_000)
    parser.add_argument("--variants", nargs="*", default=[""], metavar="BEGINNING")
    arguments = parser.parse_args()
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
