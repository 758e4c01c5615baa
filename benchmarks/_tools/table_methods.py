"""Methods that `benchmarks.tables` compares, at their default parameters.

A method is fitted to samples and labels 0, 1, ..., n_classes - 1 and returns one or
more answers: class probabilities, OOD scores and flags (`benchmarks._tools.detectors`).
To compare further parameters of a classifier of this library, add them to `VARIANTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

import sksngp
from benchmarks._tools.detectors import (
    Answer,
    Answers,
    FlaggingAnswer,
    hidden_representation,
    input_distances,
    mahalanobis,
    nearest,
    with_entropy,
)
from benchmarks._tools.quality_methods import gaussian_process, random_forest
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._runtime.threads import num_threads

#: The method that all others are compared with.
REFERENCE = "SNGP"

#: Classifiers of this library by name, and their parameters other than the defaults.
VARIANTS: dict[str, tuple[type, dict]] = {
    REFERENCE: (SNGPClassifier, {}),
    "ResNet": (ResNetClassifier, {}),
    "MC dropout": (MCDropoutClassifier, {}),
    "deep ensemble": (DeepEnsembleClassifier, {}),
}


# This library


def variant(name: str, X, y, seed) -> Answers:
    """Fit a classifier of `VARIANTS`."""
    Classifier, params = VARIANTS[name]
    clf = Classifier(random_state=seed, **params).fit(X, y)
    answers: Answers = {
        name: FlaggingAnswer(
            lambda X: -clf.score_samples(X), clf.predict_proba, clf.predict_ood
        )
    }
    if Classifier is ResNetClassifier:
        answers |= hidden_detectors(name, clf, X, y)
    return answers


def hidden_detectors(name: str, clf, X, y) -> Answers:
    """Return detectors that use normalized hidden representations.

    The detectors are the distance to the tenth neighbor and the Mahalanobis distance to
    the closest class mean.
    """
    represent = hidden_representation(clf)

    def hidden(X):
        return normalize(represent(X).astype(np.float64))

    neighbors = nearest(hidden(X))
    distance = mahalanobis(hidden(X), y)
    return {
        f"{name}, hidden neighbors": Answer(lambda X: neighbors(hidden(X))),
        f"{name}, hidden Mahalanobis": Answer(lambda X: distance(hidden(X))),
    }


# Baselines


def entropic(name: str, make: Callable, X, y, seed) -> Answers:
    """Fit ``make(seed)``; the OOD score is the entropy of its probabilities."""
    clf = make(seed).fit(X, y)

    def proba(X):
        found = np.asarray(clf.predict_proba(X), np.float64)
        return found / found.sum(axis=1, keepdims=True)

    return {name: with_entropy(proba)}


def scaled(Classifier, **params) -> Callable:
    """Return a function that creates a classifier of standardized features."""
    return lambda seed: make_pipeline(
        StandardScaler(), Classifier(random_state=seed, **params)
    )


def catboost(seed):
    """Create a CatBoost classifier that writes no files and prints nothing."""
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        random_seed=seed,
        thread_count=num_threads(),
        allow_writing_files=False,
        verbose=False,
    )


def real_mlp(seed):
    """Create RealMLP (Holzmueller et al. 2024, arXiv 2407.04491) on the CPU."""
    import logging

    from pytabkit import RealMLP_TD_Classifier

    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return RealMLP_TD_Classifier(
        device="cpu", random_state=seed, n_threads=num_threads()
    )


@dataclass(frozen=True)
class Method:
    """A method and the package that it comes from.

    Parameters
    ----------
    fit : callable
        ``fit(X, y, seed)`` returns the answers.
    package : str, default="scikit-learn"
    """

    fit: Callable[..., Answers]
    package: str = "scikit-learn"

    @property
    def version(self) -> str | None:
        """Version of the package, or None if it is not installed."""
        if self.package == "sksngp":
            return sksngp.__version__
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


#: Functions from a seed to a baseline with probabilities.
CLASSIFIERS = {
    "logistic regression": scaled(LogisticRegression),
    "SVC": scaled(SVC, probability=True),
    "MLP": scaled(MLPClassifier),
    "extra trees": lambda seed: ExtraTreesClassifier(random_state=seed),
    "gradient boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
}

METHODS = {
    **{name: Method(partial(variant, name), "sksngp") for name in VARIANTS},
    **{
        name: Method(partial(entropic, name, make))
        for name, make in CLASSIFIERS.items()
    },
    "random forest": Method(random_forest),
    "Gaussian process": Method(gaussian_process),
    "CatBoost": Method(partial(entropic, "CatBoost", catboost), "catboost"),
    "RealMLP": Method(partial(entropic, "RealMLP", real_mlp), "pytabkit"),
    "input distances": Method(input_distances),
}
