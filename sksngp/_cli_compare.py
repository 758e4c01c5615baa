"""The command line's comparisons of the four classifiers, and its picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss

from . import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from ._cli_data import check_writable, write_atomically
from .datasets import InOut, hold_out_classes, two_moons, two_moons_ood
from .inspection import UncertaintyDisplay
from .metrics import expected_calibration_error, ood_auroc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSIFIERS = {
    "resnet": ResNetClassifier,
    "mc-dropout": MCDropoutClassifier,
    "deep-ensemble": DeepEnsembleClassifier,
    "sngp": SNGPClassifier,
}

#: The digits that count as unknown.
UNKNOWN_DIGITS = (8, 9)


def make_classifier(name: str, options: argparse.Namespace) -> ClassifierMixin:
    """Return a classifier at its defaults, but for what `options` say."""
    classifier = CLASSIFIERS[name](random_state=options.random_state, verbose=1)
    if options.epochs is not None:
        classifier.set_params(epochs=options.epochs)
    return classifier


@dataclass(frozen=True)
class Quality:
    """How good predictions are on rows of known classes."""

    accuracy: float
    nll: float
    ece: float
    flagged: float


def quality(classifier: ClassifierMixin, X: np.ndarray, y: np.ndarray) -> Quality:
    """Measure a fitted classifier.

    Parameters
    ----------
    classifier : classifier of this package
    X : array-like of shape (n, n_features)
    y : array-like of shape (n,)
        Known classes.

    Returns
    -------
    Quality
    """
    proba = classifier.predict_proba(X)
    labels = classifier.classes_
    return Quality(
        accuracy=accuracy_score(y, labels[proba.argmax(axis=1)]),
        nll=log_loss(y, proba, labels=labels),
        ece=expected_calibration_error(y, proba, labels=labels),
        flagged=float(np.mean(classifier.predict_ood(X))),
    )


def compare(data: InOut, options: argparse.Namespace) -> list[ClassifierMixin]:
    """Train the four classifiers and print a table of what they are worth.

    Parameters
    ----------
    data : InOut
    options : Namespace

    Returns
    -------
    list of classifiers, fitted
    """
    fitted, lines = [], []
    for name, cls in CLASSIFIERS.items():
        print(f"Training {cls.__name__} ...", file=sys.stderr)
        start = time.perf_counter()
        classifier = make_classifier(name, options).fit(data.X_train, data.y_train)
        known = quality(classifier, data.X_test, data.y_test)
        flagged = np.mean(classifier.predict_ood(data.X_ood))
        auroc = ood_auroc(
            -classifier.score_samples(data.X_test),
            -classifier.score_samples(data.X_ood),
        )
        seconds = time.perf_counter() - start
        fitted.append(classifier)
        lines.append(
            f"{cls.__name__:<22}  {known.accuracy:>8.3f}  {known.nll:>6.3f}  "
            f"{known.ece:>6.3f}  {auroc:>9.3f}  {known.flagged:>13.1%}  "
            f"{flagged:>15.1%}  {seconds:>7.1f}"
        )
    print(
        f"{'classifier':<22}  accuracy     NLL     ECE  OOD AUROC  flagged known  "
        "flagged unknown  seconds"
    )
    print("\n".join(lines), flush=True)
    return fitted


def run_two_moons(options: argparse.Namespace) -> None:
    """Compare on the tutorial's two moons and draw the picture."""
    check_writable(options.picture)
    seed = options.random_state
    X, y = two_moons(random_state=seed)
    X_test, y_test = two_moons(random_state=(seed + 1) % 2**32)
    X_ood = two_moons_ood(random_state=seed)
    print(
        f"Two moons: {len(X):,} rows to train on, {len(X_test):,} others to test on "
        f"(known) and {len(X_ood):,} of a blob far from both (unknown)",
        flush=True,
    )
    data = InOut(X_train=X, y_train=y, X_test=X_test, y_test=y_test, X_ood=X_ood)
    figure = draw(compare(data, options), X, y, X_ood)
    write_atomically(
        options.picture, lambda stream: figure.savefig(stream, format="png", dpi=120)
    )
    print(f"Picture of what they are certain of: {options.picture}\n", flush=True)


def draw(
    classifiers: Sequence[ClassifierMixin],
    X: np.ndarray,
    y: np.ndarray,
    X_ood: np.ndarray,
) -> Figure:
    """Draw class probability and uncertainty of classifiers of 2-D points.

    Parameters
    ----------
    classifiers : sequence of fitted classifiers
    X : ndarray of shape (n, 2)
    y : ndarray of shape (n,)
    X_ood : ndarray of shape (m, 2)

    Returns
    -------
    matplotlib.figure.Figure
        A column a classifier: probability above, out-of-distribution score below.
    """
    from matplotlib.figure import Figure

    count = len(classifiers)
    figure = Figure(figsize=(3.9 * count, 7.2), layout="constrained")
    axes = figure.subplots(2, count, sharex=True, sharey=True, squeeze=False)
    points = {"s": 8, "linewidths": 0}
    kinds: list[Literal["probability", "ood"]] = ["probability", "ood"]
    for row, kind in enumerate(kinds):
        for ax, classifier in zip(axes[row], classifiers, strict=True):
            display = UncertaintyDisplay.from_estimator(
                classifier,
                X,
                y=y,
                kind=kind,
                X_ood=X_ood,
                grid_resolution=150,
                ax=ax,
                colorbar=False,
                legend=False,
                scatter_kwargs=points,
            )
        # One scale, from 0 to 1, for the whole row.
        ticks = np.linspace(0, 1, 6)
        figure.colorbar(
            display.surface_, ax=axes[row], label=display.label, ticks=ticks, pad=0.01
        )
    for above, below, classifier in zip(*axes, classifiers, strict=True):
        above.set_title(type(classifier).__name__)
        if isinstance(classifier, ResNetClassifier):
            below.set_title("(entropy: it has no other score)", fontsize=9)
    figure.suptitle(
        "Two moons: above, what each classifier predicts; below, what it says it "
        "does not know, and (dashed) the threshold for flagging"
    )
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        markerscale=2,
        frameon=False,
    )
    return figure


def run_digits(options: argparse.Namespace) -> None:
    """Compare on handwritten digits, two of which are never trained on."""
    X, y = load_digits(return_X_y=True)
    data = hold_out_classes(X, y, UNKNOWN_DIGITS, random_state=options.random_state)
    print(
        f"Digits: {len(data.X_ood):,} rows of classes "
        f"{' and '.join(map(str, UNKNOWN_DIGITS))} (unknown); of the other classes "
        f"(known) {len(data.X_train):,} to train on, {len(data.X_test):,} to test on",
        flush=True,
    )
    compare(data, options)
    print(
        "A row is flagged when its out-of-distribution score exceeds the classifier's "
        "threshold, set\nfor a share of 5 % among known rows. Seconds: to train, and "
        "to predict and flag all test\nrows; the first of all includes TensorFlow's "
        "start.",
        flush=True,
    )
