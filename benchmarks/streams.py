"""Accuracy and flags of classifiers that learned from streams in unfavorable orders.

Run ``python -m benchmarks.streams`` (half an hour on two cores; ``--data`` selects
datasets, ``--classifier`` another classifier). 70% of each dataset are a stream, and
the rest is the test set. The stream is learned by `partial_fit` with default
parameters, in batches of 1, 10 and 100 samples and in four orders:

- shuffled
- one class first: samples of a single class make up the first tenth of the stream
- sorted: by class from the beginning to the end
- wild: shuffled, and one sample in a hundred has values of 1e6 standard deviations

Each line of the table has the accuracy on the test set after the stream, the fraction
of test samples that are flagged, and the fraction of far samples that are flagged. Far
samples are test samples moved by 10 standard deviations, in one feature or in a random
direction. Accuracy must be within 3 points of that of the shuffled stream in batches of
100, and within 5 points of `fit`; of far samples, at least 95% must be flagged, or at
most 5 points fewer than after `fit`. Lines that are not within these bounds are marked,
and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

import sksngp
from benchmarks._tools.printing import print_header, table
from sksngp.datasets import two_moons

DATA = {
    "digits": lambda: load_digits(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "two moons": lambda: two_moons(1000, random_state=0),
    "wine": lambda: load_wine(return_X_y=True),
}
ORDERS = ("shuffled", "one class first", "sorted", "wild")
SIZES = (1, 10, 100)
#: Standard deviations by which wild and far samples are moved.
WILD, FAR = 1e6, 10.0


def ordered(
    X: np.ndarray, y: np.ndarray, order: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples and labels of a stream.

    Parameters
    ----------
    X, y : ndarray of shape (n, n_features) and (n,)
    order : str
        One of `ORDERS`.
    rng : numpy.random.Generator

    Returns
    -------
    X, y : ndarray of shape (n, n_features) and (n,)
    """
    places = rng.permutation(len(y))
    if order == "sorted":
        places = places[np.argsort(y[places], kind="stable")]
    elif order == "one class first":
        of_class = np.flatnonzero(y[places] == y[places[0]])[: len(y) // 10]
        places = np.append(places[of_class], np.delete(places, of_class))
    X, y = X[places].copy(), y[places]
    if order == "wild":
        rows = rng.choice(len(y), max(1, len(y) // 100), replace=False)
        X[rows] += WILD * X.std(axis=0) * rng.choice([-1, 1], (len(rows), X.shape[1]))
    return X, y


def far_samples(
    X: np.ndarray, scale: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Move half of the samples in one feature, and half in random directions."""
    rows = np.arange(len(X))
    directions = rng.normal(size=X.shape)
    directions *= np.sqrt(X.shape[1]) / np.linalg.norm(directions, axis=1)[:, None]
    single = rows[::2]
    directions[single] = 0.0
    features = rng.choice(np.flatnonzero(scale > 0), len(single))
    directions[single, features] = rng.choice([-1.0, 1.0], len(single))
    return X + FAR * scale * directions


def measure(clf, X: np.ndarray, y: np.ndarray, far: np.ndarray) -> tuple[float, ...]:
    """Accuracy, and fractions of test samples and of far samples that are flagged."""
    return (
        float(clf.score(X, y)),
        float(clf.predict_ood(X).mean()),
        float(clf.predict_ood(far).mean()),
    )


def streamed(clf, X: np.ndarray, y: np.ndarray, size: int, classes: np.ndarray):
    """Pass samples to `partial_fit` in batches of a size; return the classifier."""
    for start in range(0, len(y), size):
        batch = slice(start, start + size)
        clf.partial_fit(X[batch], y[batch], classes=classes)
    return clf


def compare(name: str, make, seed: int) -> tuple[list[list[str]], bool]:
    """Lines of the table for a dataset, and whether all are within the bounds."""
    X, y = DATA[name]()
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    far = far_samples(X_test, X.std(axis=0), np.random.default_rng(seed))
    fitted = measure(make().fit(X, y), X_test, y_test, far)
    lines, reference, held = [_line(name, "fit", "", fitted)], 0.0, True
    print(lines[-1], flush=True)
    for order in ORDERS:
        for size in reversed(SIZES):
            rng = np.random.default_rng(seed)
            start = time.process_time()
            clf = streamed(make(), *ordered(X, y, order, rng), size, np.unique(y))
            seconds = time.process_time() - start
            found = measure(clf, X_test, y_test, far)
            if order == "shuffled" and size == max(SIZES):
                reference = found[0]
            within = (
                found[0] >= max(reference - 0.03, fitted[0] - 0.05)
                and found[2] >= min(0.95, fitted[2] - 0.05) - 1e-9
            )
            held &= within
            line = _line(name, order, str(size), found)
            calls = -(-len(y) // size)
            lines.append([*line, f"{1e3 * seconds / calls:.1f}", "" if within else "*"])
            print(lines[-1], flush=True)
    return lines, held


def _line(name: str, order: str, size: str, found: tuple[float, ...]) -> list[str]:
    return [name, order, size, *(f"{value:.3f}" for value in found)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--classifier", default="SNGPClassifier")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print_header()

    def make():
        return getattr(sksngp, arguments.classifier)(random_state=arguments.seed)

    lines, held = [], True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "predict_ood will not flag any sample")
        for name in arguments.data:
            found, within = compare(name, make, arguments.seed)
            lines += found
            held &= within
    header = ["data", "order", "batch", "accuracy", "flagged", "far flagged"]
    header += ["ms per call", "outside"]
    print(table(header, [[*line, "", ""][:8] for line in lines]))
    sys.exit(not held)


if __name__ == "__main__":
    main()
