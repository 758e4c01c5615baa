"""Methods that `benchmarks.quality` compares, with their default parameters.

A method is fitted to samples and labels 0, 1, ..., n_classes - 1 and returns one or
more answers (`benchmarks._tools.detectors`). Each answer combines the class
probabilities with one OOD score, such as the entropy or a distance between hidden
representations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from benchmarks._tools import other_libraries
from benchmarks._tools.detectors import (
    Answer,
    Answers,
    gaussian,
    hidden_representation,
    input_distances,
    nearest,
    with_entropy,
)
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)

#: Maximum number of samples of the exact Gaussian process.
MAX_GAUSSIAN_PROCESS_SAMPLES = 1_000
#: Number of SNGP classifiers that are averaged.
NUM_MEMBERS = 5


def sngp(X, y, seed) -> Answers:
    """Fit an `SNGPClassifier`."""
    clf = SNGPClassifier(random_state=seed).fit(X, y)
    return {"SNGP": Answer(lambda X: -clf.score_samples(X), clf.predict_proba)}


def sngp_ensemble(X, y, seed) -> Answers:
    """Fit several SNGP classifiers and average their probabilities and scores."""
    members = [
        SNGPClassifier(random_state=NUM_MEMBERS * seed + member).fit(X, y)
        for member in range(NUM_MEMBERS)
    ]
    return {
        f"{NUM_MEMBERS} SNGPs": Answer(
            lambda X: -np.mean([clf.score_samples(X) for clf in members], axis=0),
            lambda X: np.mean([clf.predict_proba(X) for clf in members], axis=0),
        )
    }


def resnet(X, y, seed) -> Answers:
    """Fit the deterministic network, also with distances of hidden representations."""
    clf = ResNetClassifier(random_state=seed).fit(X, y)
    hidden = hidden_representation(clf)
    neighbors, density = nearest(normalize(hidden(X))), gaussian(hidden(X), y)
    return {
        "ResNet": with_entropy(clf.predict_proba),
        "ResNet, hidden neighbors": Answer(
            lambda X: neighbors(normalize(hidden(X))), clf.predict_proba
        ),
        "ResNet, hidden Gaussian": Answer(
            lambda X: density(hidden(X)), clf.predict_proba
        ),
    }


def resnet_with_temperature(X, y, seed) -> Answers:
    """Fit the deterministic network, and its temperature on a tenth of the samples."""
    X, X_held, y, y_held = train_test_split(
        X, y, test_size=0.1, stratify=y, random_state=seed
    )
    clf = ResNetClassifier(random_state=seed).fit(X, y)
    tempered = CalibratedClassifierCV(FrozenEstimator(clf), method="temperature")
    tempered.fit(X_held, y_held)
    return {"ResNet, temperature": with_entropy(tempered.predict_proba)}


def mc_dropout(X, y, seed) -> Answers:
    """Fit Monte Carlo dropout."""
    clf = MCDropoutClassifier(random_state=seed).fit(X, y)
    return samples_scores("MC dropout", clf)


def ensemble(X, y, seed) -> Answers:
    """Fit an ensemble of ten networks."""
    clf = DeepEnsembleClassifier(random_state=seed).fit(X, y)
    return samples_scores("ensemble of 10", clf)


def multilayer_perceptron(X, y, seed) -> Answers:
    """Fit scikit-learn's MLP to standardized features, and calibrate it."""
    clf = make_pipeline(StandardScaler(), MLPClassifier(random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = CalibratedClassifierCV(clf, ensemble=False).fit(X, y)
    return {"MLP, calibrated": with_entropy(clf.predict_proba)}


def random_forest(X, y, seed) -> Answers:
    """Fit scikit-learn's random forest."""
    clf = RandomForestClassifier(random_state=seed).fit(X, y)
    return {"random forest": with_entropy(clf.predict_proba)}


def gaussian_process(X, y, seed) -> Answers:
    """Fit scikit-learn's Gaussian process, unless there are too many samples."""
    if len(X) > MAX_GAUSSIAN_PROCESS_SAMPLES:
        return {}
    clf = make_pipeline(
        StandardScaler(), GaussianProcessClassifier(RBF(X.shape[1] ** 0.5))
    ).fit(X, y)
    return {"Gaussian process": with_entropy(clf.predict_proba)}


def samples_scores(name: str, clf) -> Answers:
    """Return an answer for each score of a classifier that averages networks."""
    scores = {
        "entropy": lambda X: clf.predict_uncertainty(X, "total"),
        "mutual information": lambda X: clf.predict_uncertainty(X, "epistemic"),
        "1 - max p": lambda X: 1 - clf.predict_proba(X).max(axis=1),
    }
    return {
        f"{name}, {key}": Answer(score, clf.predict_proba)
        for key, score in scores.items()
    }


def other_library(name: str, fit: Callable) -> Callable:
    """Return a method that trains another library's classifier for 100 epochs.

    Features are standardized. The method returns no answer if the library is not
    installed.
    """

    def method(X, y, seed) -> Answers:
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

    return method


def bayesian_deep_ensemble(X, y, epochs, seed) -> other_libraries.Predict:
    """Fit sklearn-contrib-bde with parameters that suit the digits.

    The accuracy on the digits is about a third with its defaults and nine tenths with
    these parameters, which take the same time.
    """
    return other_libraries.bayesian_deep_ensemble(
        X, y, 300, seed, hidden_layers=[64, 64], warmup_steps=200, n_samples=100
    )


METHODS = {
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
    "laplace-torch": other_library("laplace-torch", other_libraries.laplace_torch),
    "sngp (PyPI)": other_library("sngp (PyPI)", other_libraries.sngp_package),
    "sklearn-contrib-bde": other_library("sklearn-contrib-bde", bayesian_deep_ensemble),
}
