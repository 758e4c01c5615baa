"""Classifiers and detectors that `benchmarks.quality` compares, at their defaults.

A contender is fitted to rows and classes 0, 1, ..., K - 1 and answers for new rows.
One fit may give several answers: a network's probabilities go with its entropy, with
distances between its hidden representations, and so on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from benchmarks import peers
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._uncertainty.entropy import normalized_entropy

#: Rows beyond which an exact Gaussian process takes too long.
LARGEST_GAUSSIAN_PROCESS = 1_000
NEIGHBOURS = 10
#: SNGPs that are averaged.
MEMBERS = 5

Function = Callable[[np.ndarray], np.ndarray]


@dataclass
class Answer:
    """What one row of the table says of new rows.

    Parameters
    ----------
    score : callable
        Higher for stranger rows.
    proba : callable or None
        Class probabilities, where there are any.
    """

    score: Function
    proba: Function | None = None


Answers = dict[str, Answer]


def sngp(X, y, seed) -> Answers:
    """The default `SNGPClassifier`."""
    clf = SNGPClassifier(random_state=seed).fit(X, y)
    return {"SNGP": Answer(lambda X: -clf.score_samples(X), clf.predict_proba)}


def sngp_ensemble(X, y, seed) -> Answers:
    """Several of them, their probabilities and scores averaged."""
    members = [
        SNGPClassifier(random_state=MEMBERS * seed + member).fit(X, y)
        for member in range(MEMBERS)
    ]
    return {
        f"{MEMBERS} SNGPs": Answer(
            lambda X: -np.mean([clf.score_samples(X) for clf in members], axis=0),
            lambda X: np.mean([clf.predict_proba(X) for clf in members], axis=0),
        )
    }


def resnet(X, y, seed) -> Answers:
    """The deterministic network, and distances on its hidden representations."""
    clf = ResNetClassifier(random_state=seed).fit(X, y)
    hidden = hidden_representation(clf)
    neighbours, density = nearest(normalize(hidden(X))), gaussian(hidden(X), y)
    return {
        "ResNet": with_entropy(clf.predict_proba),
        "ResNet, hidden neighbours": Answer(
            lambda X: neighbours(normalize(hidden(X))), clf.predict_proba
        ),
        "ResNet, hidden Gaussian": Answer(
            lambda X: density(hidden(X)), clf.predict_proba
        ),
    }


def resnet_with_temperature(X, y, seed) -> Answers:
    """The deterministic network, its temperature fitted on a tenth of the rows."""
    X, X_held, y, y_held = train_test_split(
        X, y, test_size=0.1, stratify=y, random_state=seed
    )
    clf = ResNetClassifier(random_state=seed).fit(X, y)
    tempered = CalibratedClassifierCV(FrozenEstimator(clf), method="temperature")
    tempered.fit(X_held, y_held)
    return {"ResNet, temperature": with_entropy(tempered.predict_proba)}


def mc_dropout(X, y, seed) -> Answers:
    """Monte Carlo dropout."""
    clf = MCDropoutClassifier(random_state=seed).fit(X, y)
    return samples_scores("MC dropout", clf)


def ensemble(X, y, seed) -> Answers:
    """Ten networks, with every score that they offer."""
    clf = DeepEnsembleClassifier(random_state=seed).fit(X, y)
    return samples_scores("ensemble of 10", clf)


def multilayer_perceptron(X, y, seed) -> Answers:
    """scikit-learn's, behind a scaler and with calibrated probabilities."""
    clf = make_pipeline(StandardScaler(), MLPClassifier(random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = CalibratedClassifierCV(clf, ensemble=False).fit(X, y)
    return {"MLP, calibrated": with_entropy(clf.predict_proba)}


def random_forest(X, y, seed) -> Answers:
    """scikit-learn's random forest."""
    clf = RandomForestClassifier(random_state=seed).fit(X, y)
    return {"random forest": with_entropy(clf.predict_proba)}


def gaussian_process(X, y, seed) -> Answers:
    """scikit-learn's Gaussian process, one a class, where rows are few."""
    if len(X) > LARGEST_GAUSSIAN_PROCESS:
        return {}
    clf = make_pipeline(
        StandardScaler(), GaussianProcessClassifier(RBF(X.shape[1] ** 0.5))
    ).fit(X, y)
    return {"Gaussian process": with_entropy(clf.predict_proba)}


def input_distances(X, y, seed) -> Answers:
    """Detectors without a classifier, on standardised columns."""
    scaler = StandardScaler().fit(X)
    forest = IsolationForest(random_state=seed).fit(scaler.transform(X))
    neighbours = nearest(scaler.transform(X))
    return {
        "isolation forest": Answer(
            lambda X: -forest.score_samples(scaler.transform(X))
        ),
        "input neighbours": Answer(lambda X: neighbours(scaler.transform(X))),
    }


def peer(name: str, fit: Callable) -> Callable:
    """One of `benchmarks.peers`, on standardised columns, for 100 epochs."""

    def contender(X, y, seed) -> Answers:
        scaler = StandardScaler().fit(X)
        try:
            predict = fit(scaler.transform(X), y, 100, seed)
        except ImportError:
            return {}
        return {
            name: Answer(
                lambda X: predict(scaler.transform(X))[1],
                lambda X: predict(scaler.transform(X))[0],
            )
        }

    return contender


def bayesian_deep_ensemble(X, y, epochs, seed) -> peers.Predict:
    """sklearn-contrib-bde, with settings by which it learns the digits.

    Its defaults classify a third of them, these nine tenths, as fast.
    """
    return peers.bayesian_deep_ensemble(
        X, y, 300, seed, hidden_layers=[64, 64], warmup_steps=200, n_samples=100
    )


CONTENDERS = {
    "SNGP": sngp,
    "SNGP ensemble": sngp_ensemble,
    "ResNet": resnet,
    "ResNet, temperature": resnet_with_temperature,
    "MC dropout": mc_dropout,
    "ensemble": ensemble,
    "MLP": multilayer_perceptron,
    "random forest": random_forest,
    "Gaussian process": gaussian_process,
    "input distances": input_distances,
    "laplace-torch": peer("laplace-torch", peers.laplace_torch),
    "sngp (PyPI)": peer("sngp (PyPI)", peers.sngp_package),
    "sklearn-contrib-bde": peer("sklearn-contrib-bde", bayesian_deep_ensemble),
}


# What scores are made of


def with_entropy(predict_proba: Function) -> Answer:
    """Probabilities, and their entropy as score."""
    return Answer(lambda X: normalized_entropy(predict_proba(X)), predict_proba)


def samples_scores(name: str, clf) -> Answers:
    """All scores of a classifier that averages samples."""
    scores = {
        "entropy": lambda X: clf.predict_uncertainty(X, "total"),
        "mutual information": lambda X: clf.predict_uncertainty(X, "epistemic"),
        "1 - max p": lambda X: 1 - clf.predict_proba(X).max(axis=1),
    }
    return {
        f"{name}, {key}": Answer(score, clf.predict_proba)
        for key, score in scores.items()
    }


def hidden_representation(clf) -> Function:
    """Hidden representation of rows, float32 (n, num_hidden)."""

    def hidden(X):
        projected = clf.projection_(np.asarray(X, np.float64), clf.dtype)
        with clf._inference() as compiled:
            return compiled.hidden(projected).numpy()

    return hidden


def nearest(known: np.ndarray) -> Function:
    """Distance to the tenth neighbour (Sun et al. 2022, arXiv 2204.06507)."""
    index = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known))).fit(known)
    return lambda rows: index.kneighbors(rows)[0][:, -1]


def gaussian(known: np.ndarray, y: np.ndarray) -> Function:
    """Minus the log density of a Gaussian a class, as in DDU (arXiv 2102.11582)."""
    known = known.astype(np.float64)
    parts = []
    for label in np.unique(y):
        own = known[y == label]
        covariance = np.cov(own.T)
        # Covariances of few rows are singular.
        jitter = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
        covariance[np.diag_indices(len(covariance))] += jitter
        density = multivariate_normal(own.mean(axis=0), covariance, allow_singular=True)
        parts.append((np.log(len(own) / len(known)), density))

    def score(rows):
        rows = rows.astype(np.float64)
        logs = [prior + np.atleast_1d(part.logpdf(rows)) for prior, part in parts]
        return -logsumexp(logs, axis=0)

    return score
