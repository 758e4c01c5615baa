"""Classifiers of the command line, and metrics of their predictions."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score, log_loss

from .. import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from ..metrics import expected_calibration_error

CLASSIFIERS = {
    "resnet": ResNetClassifier,
    "mc-dropout": MCDropoutClassifier,
    "deep-ensemble": DeepEnsembleClassifier,
    "sngp": SNGPClassifier,
}


def make_classifier(
    name: str, options: argparse.Namespace, **params: Any
) -> ClassifierMixin:
    """Create a classifier with default parameters except for `options` and `params`."""
    classifier = CLASSIFIERS[name](random_state=options.random_state, verbose=1)
    if options.epochs is not None:
        params["epochs"] = options.epochs
    if options.ood_alpha is not None:
        params["ood_alpha"] = options.ood_alpha
    return classifier.set_params(**params)


@dataclass(frozen=True)
class Quality:
    """Metrics of predictions on in-distribution rows."""

    accuracy: float
    nll: float
    ece: float


def quality(y: np.ndarray, proba: np.ndarray, labels: np.ndarray) -> Quality:
    """Compute metrics of predicted probabilities.

    Parameters
    ----------
    y : array-like of shape (n,)
        True class labels.
    proba : ndarray of shape (n, n_classes)
        Class probabilities.
    labels : ndarray of shape (n_classes,)
        Class of each column of `proba`.

    Returns
    -------
    Quality
        Accuracy, log loss and expected calibration error.
    """
    return Quality(
        accuracy=accuracy_score(y, labels[proba.argmax(axis=1)]),
        nll=log_loss(y, proba, labels=labels),
        ece=expected_calibration_error(y, proba, labels=labels),
    )
