"""A small wide ResNet on images: accuracy, and detection of unknown images.

Run ``python -m benchmarks.images`` (six fits of ten to fifteen minutes on two cores;
``--rows`` and ``--epochs`` for less, ``--classifiers`` and ``--known`` for some).
`WideResNet(10, 1)`, with training images moved and mirrored and a learning rate that
falls to nothing, learns Fashion-MNIST below the outputs of SNGP, of the deterministic
network and of Monte Carlo dropout. Columns: accuracy on the test images; AUROC of each
one's out-of-distribution score for handwritten digits, enlarged to 28 x 28; the same
for the classes 8 and 9, bags and ankle boots, in a fit without them; and the seconds of
a fit.

``--kernel-scales`` compares factors of SNGP's ``kernel_scale="auto"`` instead, with
classes 0 and 5 held out, which the table does not report on.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from benchmarks.pairs import enlarged_digits
from sksngp import (
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
    WideResNet,
    _sngp,
)
from sksngp.datasets import load_fashion_mnist
from sksngp.metrics import ood_auroc

RECIPE = {
    "network": WideResNet(augment=True),
    "image_shape": (28, 28, 1),
    "learning_rate": 3e-3,
    "learning_rate_schedule": "cosine",
}
#: The paper's bound for networks with batch normalisation.
CLASSIFIERS = {
    "SNGP": lambda **params: SNGPClassifier(spec_norm_bound=6.0, **RECIPE | params),
    "ResNet": lambda **params: ResNetClassifier(**RECIPE | params),
    "MC dropout": lambda **params: MCDropoutClassifier(
        **RECIPE | {"network": WideResNet(dropout_rate=0.1, augment=True)} | params
    ),
}
HELD_OUT, HELD_OUT_IN_TUNING = (8, 9), (0, 5)


def without(data: Bunch, unknown: tuple[int, ...], rows: int) -> tuple:
    """Training images and labels without some classes, and test images of these."""
    known = ~np.isin(data.y_train, unknown)
    X, y = data.X_train[known][:rows], data.y_train[known][:rows]
    among = np.isin(data.y_test, unknown)
    return X, y, data.X_test[~among], data.y_test[~among], data.X_test[among]


def fitted(classifier, X, y) -> tuple:
    """A classifier after a fit, and the seconds of it."""
    start = time.perf_counter()
    return classifier.fit(X, y), time.perf_counter() - start


def auroc(classifier, known, unknown) -> float:
    """AUROC of its out-of-distribution score."""
    return ood_auroc(
        -classifier.score_samples(known), -classifier.score_samples(unknown)
    )


def all_classes(make, data: Bunch, rows: int) -> dict[str, float]:
    """Figures of a fit on all classes."""
    classifier, seconds = fitted(make(), data.X_train[:rows], data.y_train[:rows])
    digits = enlarged_digits()
    return {
        "accuracy": classifier.score(data.X_test, data.y_test),
        "digits": auroc(classifier, data.X_test, digits),
        "fit s": seconds,
    }


def some_classes(make, data: Bunch, rows: int, unknown=HELD_OUT) -> dict[str, float]:
    """Figures of a fit without some classes."""
    X, y, X_test, _, X_unknown = without(data, unknown, rows)
    classifier, _ = fitted(make(), X, y)
    return {f"classes {unknown}": auroc(classifier, X_test, X_unknown)}


def scales(factors: list[float], data: Bunch, rows: int, **params) -> None:
    """Print what factors of the automatic kernel scale give."""
    X, y, X_test, y_test, X_unknown = without(data, HELD_OUT_IN_TUNING, rows)
    for factor in factors:
        _sngp.BODY_KERNEL_FACTOR = factor
        classifier, seconds = fitted(CLASSIFIERS["SNGP"](**params), X, y)
        accuracy = classifier.score(X_test, y_test)
        found = auroc(classifier, X_test, X_unknown)
        print(
            f"factor {factor:g}: accuracy {accuracy:.4f}, AUROC {found:.4f}, "
            f"{seconds:.0f} s",
            flush=True,
        )


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classifiers", nargs="+", default=list(CLASSIFIERS))
    parser.add_argument(
        "--known",
        nargs="+",
        default=["all", "some"],
        choices=["all", "some"],
        help="classes in training: all, or those but 8 and 9",
    )
    parser.add_argument("--kernel-scales", nargs="+", type=float, metavar="FACTOR")
    options = parser.parse_args()
    data, params = (
        load_fashion_mnist(),
        {"epochs": options.epochs, "random_state": options.seed},
    )
    if options.kernel_scales:
        scales(options.kernel_scales, data, options.rows, **params)
        return
    table = {}
    for name in options.classifiers:

        def make(name=name):
            return CLASSIFIERS[name](**params)

        table[name] = {}
        if "all" in options.known:
            table[name] |= all_classes(make, data, options.rows)
        if "some" in options.known:
            table[name] |= some_classes(make, data, options.rows)
        print(f"{name}: {table[name]}", flush=True)
    print(pd.DataFrame(table).T.round(4).to_string())


if __name__ == "__main__":
    main()
