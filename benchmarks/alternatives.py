"""Alternatives to the variance and the temperature of SNGP that were not adopted.

Run ``python -m benchmarks.alternatives`` (ten minutes on two cores). The data are the
tuning pairs of `benchmarks._tools.dataset_pairs`. An `SNGPClassifier` is fitted to nine
tenths of the training samples of each pair, with each seed. The first table compares
scores of the test samples and the OOD samples. Each score is evaluated alone and
multiplied by the square root of the class entropy, as in the OOD score:

- the variance ratio of the classifier, with 1,024 random features;
- the variance ratio with orthogonal random features (Yu et al. 2016, arXiv 1610.09072);
- the variance ratio of the exact Gaussian process that the random features approximate.
  The squared length-scale is multiplied by 1, 1/4 or 4. The results bound the
  improvement by a separate length-scale of the variance, or by one that maximizes the
  evidence;
- the variance ratio of the exact process after whitening of the hidden representations,
  by their covariance or by that within classes (shrunk by the mean eigenvalue).

The second table compares probabilities: with a mean-field factor of pi/8, of 0, or
fitted on the held-out samples; with a temperature that is fitted without or with its
prior (`sksngp._uncertainty.temperature`); and with both fitted.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from benchmarks._tools.dataset_pairs import tuning
from benchmarks._tools.detectors import hidden_representation
from benchmarks._tools.printing import print_header
from sksngp import SNGPClassifier
from sksngp._uncertainty.entropy import entropy_of_logits
from sksngp._uncertainty.posterior import mean_field_probability
from sksngp.datasets import InOut
from sksngp.metrics import expected_calibration_error, ood_auroc

#: Maximum number of training samples of an exact process.
MAX_SAMPLES = 1_500


def exact_shares(known, rows, scale, noise):
    """Return the variance ratios of an exact process with an RBF kernel."""
    gram = np.exp(-cdist(known, known, "sqeuclidean") / (2 * scale))
    factor = cholesky(gram + noise * np.eye(len(known)), lower=True)
    cross = np.exp(-cdist(known, rows, "sqeuclidean") / (2 * scale))
    return 1 - np.square(solve_triangular(factor, cross, lower=True)).sum(axis=0)


def random_shares(known, rows, scale, noise, kernel, bias):
    """Return the variance ratios of a process with random features."""

    def features(hidden):
        phases = hidden @ kernel / np.sqrt(scale) + bias
        return np.sqrt(2 / len(bias)) * np.cos(phases)

    phi = features(known)
    precision = noise * np.eye(len(bias)) + phi.T @ phi
    phi = features(rows)
    white = solve_triangular(cholesky(precision, lower=True), phi.T, lower=True)
    return noise * np.square(white).sum(axis=0) / np.square(phi).sum(axis=1)


def orthogonal_kernel(shape, rng):
    """Draw Gaussian frequencies (d, M) that are orthogonal within blocks of d."""
    size, count = shape
    blocks = [
        np.linalg.qr(rng.standard_normal((size, size)))[0]
        * np.sqrt(rng.chisquare(size, size))
        for _ in range(-(-count // size))
    ]
    return np.concatenate(blocks, axis=1)[:, :count]


def whitener(hidden, y=None):
    """Return a linear map that whitens the covariance, within classes if y is given."""
    centered = hidden - hidden.mean(axis=0)
    if y is not None:
        means = pd.DataFrame(hidden).groupby(y).transform("mean").to_numpy()
        centered = hidden - means
    covariance = centered.T @ centered / len(centered)
    mean = np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + mean * np.eye(len(covariance)))
    return vectors / np.sqrt(values)


def mean_squared_distance(hidden):
    """Return the mean of ``|h_i - h_j|^2``."""
    return 2 * hidden.var(axis=0).sum()


def scores(clf: SNGPClassifier, data: InOut, seed: int) -> dict[str, np.ndarray]:
    """Return the variance ratios of test samples and then OOD samples."""
    rng = np.random.default_rng(seed)
    hidden = hidden_representation(clf)
    rows = hidden(np.concatenate([data.X_test, data.X_ood])).astype(np.float64)
    known = hidden(data.X_train).astype(np.float64)
    scale, noise = clf.kernel_scale_, clf.ridge_penalty_
    kernel = orthogonal_kernel(clf.weights_["random_features/kernel"].shape, rng)
    bias = clf.weights_["random_features/bias"]
    some = rng.permutation(len(known))[:MAX_SAMPLES]
    known_y = np.asarray(data.y_train)[some]
    found = {
        "random features": np.concatenate(
            [clf.predict_uncertainty(X, "epistemic") for X in (data.X_test, data.X_ood)]
        ),
        "orthogonal features": random_shares(known, rows, scale, noise, kernel, bias),
    }
    for factor in (1, 1 / 4, 4):
        name = f"exact, scale times {factor:g}"
        found[name] = exact_shares(known[some], rows, factor * scale, noise)
    for name, labels in (("white", None), ("white within classes", known_y)):
        change = whitener(known[some], labels)
        own = known[some] @ change
        found[f"exact, {name}"] = exact_shares(
            own, rows @ change, mean_squared_distance(own) / 16, noise
        )
    return found


def detection(clf: SNGPClassifier, data: InOut, seed: int) -> pd.DataFrame:
    """Compute the AUROC of each score, alone and with the class entropy."""
    count = len(data.X_test)
    root = np.sqrt(
        entropy_of_logits(
            np.concatenate(
                [logits_and_variance(clf, X)[0] for X in (data.X_test, data.X_ood)]
            )
        )
    )
    return pd.DataFrame(
        {
            name: {
                "alone": ood_auroc(share[:count], share[count:]),
                "times root": ood_auroc((share * root)[:count], (share * root)[count:]),
            }
            for name, share in scores(clf, data, seed).items()
        }
    ).T


def logits_and_variance(clf: SNGPClassifier, X) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits at a temperature of 1, and the variances."""
    projected = clf.projection_(np.asarray(X, dtype=float), clf.dtype)
    with clf._inference() as compiled:
        return clf._posterior_at(compiled, projected)[:2]


def fit_both(logits, variance, y, *, temperature=True, factor=True, prior=0.0):
    """Fit the temperature and the mean-field factor on held-out samples."""

    def unpack(point):
        t, f = np.exp(np.clip(point, -6, 6))
        return (t if temperature else 1.0), (f if factor else np.pi / 8)

    def loss(point):
        t, f = unpack(point)
        proba = mean_field_probability(logits / t, variance, f)[np.arange(len(y)), y]
        return -np.log(np.maximum(proba, 1e-300)).sum() + prior * point[0] ** 2 / 2

    starts = [(a, b) for a in (0.0, -1.0) for b in (-1.0, 2.0)]
    fits = [minimize(loss, start, method="Nelder-Mead") for start in starts]
    return unpack(min(fits, key=lambda fit: fit.fun).x)


def calibration(clf: SNGPClassifier, data: InOut, X, y) -> pd.DataFrame:
    """Evaluate probabilities whose parameters are fitted on X and y."""
    y, y_test = (np.searchsorted(clf.classes_, labels) for labels in (y, data.y_test))
    held_out = (*logits_and_variance(clf, X), y)
    ways = {
        "factor pi/8": (1.0, np.pi / 8),
        "factor 0": (1.0, 0.0),
        "factor fitted": fit_both(*held_out, temperature=False),
        "temperature fitted": fit_both(*held_out, factor=False),
        "temperature fitted, with prior": fit_both(*held_out, factor=False, prior=1.0),
        "both fitted, with prior": fit_both(*held_out, prior=1.0),
    }
    logits, variance = logits_and_variance(clf, data.X_test)
    labels = np.arange(len(clf.classes_))
    found = {}
    for name, (temperature, factor) in ways.items():
        proba = mean_field_probability(logits / temperature, variance, factor)
        found[name] = {
            "NLL": log_loss(y_test, proba, labels=labels),
            "ECE": expected_calibration_error(
                y_test, proba, labels=labels, strategy="quantile"
            ),
        }
    return pd.DataFrame(found).T


def main() -> None:
    """Print both tables: means over pairs and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fashion-rows", type=int, default=5_000)
    arguments = parser.parse_args()
    print_header()
    warnings.filterwarnings(
        "ignore", "predict_ood will not flag any sample", UserWarning
    )
    tables: dict[str, list] = {"OOD AUROC": [], "calibration": []}
    for pair in tuning(arguments.fashion_rows).values():
        for seed in range(arguments.seeds):
            data = pair(seed)
            data.X_train, X, data.y_train, y = train_test_split(
                data.X_train,
                data.y_train,
                test_size=0.1,
                stratify=data.y_train,
                random_state=seed,
            )
            # Train on all other samples; X and y serve for calibration.
            clf = SNGPClassifier(validation_fraction=0, random_state=seed)
            clf.fit(data.X_train, data.y_train)
            tables["OOD AUROC"].append(detection(clf, data, seed))
            tables["calibration"].append(calibration(clf, data, X, y))
    for name, found in tables.items():
        mean = pd.concat(found).groupby(level=0, sort=False).mean()
        print(f"\n{name}\n{mean.round(4).to_string()}")


if __name__ == "__main__":
    main()
