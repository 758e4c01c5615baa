"""Accuracy and OOD detection of wide residual networks on Fashion-MNIST.

Run ``python -m benchmarks.images`` (six fits of ten to fifteen minutes on two cores).
``--rows`` and ``--epochs`` reduce the work, and ``--classifiers`` and ``--known``
select fits. SNGP, the deterministic network and Monte Carlo dropout train
`WideResNet(10, 1)`, with images that are randomly shifted and mirrored, and a learning
rate that follows a cosine to zero. The columns are the accuracy on the test images, the
AUROC of OOD detection, and the time of a fit. OOD samples are handwritten digits,
enlarged to 28 x 28 pixels, and the classes 8 and 9 (bags and ankle boots) after a fit
without them.

``--kernel-scales`` compares factors of SNGP's ``kernel_scale="auto"`` instead. The
classes 0 and 5 are held out for this; the table contains no results on them.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from benchmarks._tools.dataset_pairs import enlarged_digits
from benchmarks._tools.printing import print_header
from benchmarks._tools.timing import seconds_of
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
#: SNGP uses the spectral bound of the paper for networks with batch normalization.
CLASSIFIERS = {
    "SNGP": lambda **params: SNGPClassifier(spec_norm_bound=6.0, **RECIPE | params),
    "ResNet": lambda **params: ResNetClassifier(**RECIPE | params),
    "MC dropout": lambda **params: MCDropoutClassifier(
        **RECIPE | {"network": WideResNet(dropout_rate=0.1, augment=True)} | params
    ),
}
HELD_OUT, HELD_OUT_IN_TUNING = (8, 9), (0, 5)


def without(data: Bunch, unknown: tuple[int, ...], rows: int) -> tuple:
    """Split off the images of some classes; return training, test and OOD images."""
    known = ~np.isin(data.y_train, unknown)
    X, y = data.X_train[known][:rows], data.y_train[known][:rows]
    among = np.isin(data.y_test, unknown)
    return X, y, data.X_test[~among], data.y_test[~among], data.X_test[among]


def auroc(classifier, known, unknown) -> float:
    """Compute the AUROC of the OOD score."""
    return ood_auroc(
        -classifier.score_samples(known), -classifier.score_samples(unknown)
    )


def all_classes(make, data: Bunch, rows: int) -> dict[str, float]:
    """Return the measures of a fit on all classes."""
    seconds, classifier = seconds_of(
        make().fit, data.X_train[:rows], data.y_train[:rows]
    )
    digits = enlarged_digits()
    return {
        "accuracy": classifier.score(data.X_test, data.y_test),
        "digits": auroc(classifier, data.X_test, digits),
        "fit s": seconds,
    }


def some_classes(make, data: Bunch, rows: int, unknown=HELD_OUT) -> dict[str, float]:
    """Return the measures of a fit without some classes."""
    X, y, X_test, _, X_unknown = without(data, unknown, rows)
    classifier = make().fit(X, y)
    return {f"classes {unknown}": auroc(classifier, X_test, X_unknown)}


def scales(factors: list[float], data: Bunch, rows: int, **params) -> None:
    """Print the results of several factors of the automatic kernel scale."""
    X, y, X_test, y_test, X_unknown = without(data, HELD_OUT_IN_TUNING, rows)
    for factor in factors:
        _sngp.BODY_KERNEL_FACTOR = factor
        seconds, classifier = seconds_of(CLASSIFIERS["SNGP"](**params).fit, X, y)
        accuracy = classifier.score(X_test, y_test)
        found = auroc(classifier, X_test, X_unknown)
        print(
            f"factor {factor:g}: accuracy {accuracy:.4f}, AUROC {found:.4f}, "
            f"{seconds:.0f} s",
            flush=True,
        )


def main() -> None:
    """Print the table."""
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
        help="classes in training: all, or all except 8 and 9",
    )
    parser.add_argument("--kernel-scales", nargs="+", type=float, metavar="FACTOR")
    options = parser.parse_args()
    print_header()
    data = load_fashion_mnist()
    params = {"epochs": options.epochs, "random_state": options.seed}
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
