"""OOD scores: entropies, and distances between inputs or hidden representations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.ensemble import IsolationForest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from sksngp._uncertainty.entropy import normalized_entropy

#: The distance to this neighbor is the score.
NEIGHBOR = 10

Function = Callable[[np.ndarray], np.ndarray]


@dataclass
class Answer:
    """Functions of new samples that one row of a result table evaluates.

    Parameters
    ----------
    score : callable
        OOD scores; higher is more unusual.
    proba : callable, default=None
        Class probabilities. None for detectors without a classifier.
    """

    score: Function
    proba: Function | None = None


@dataclass
class FlaggingAnswer(Answer):
    """Answer of a method that also flags samples.

    Parameters
    ----------
    flags : callable, default=None
        Whether each sample is out of distribution.
    """

    flags: Function | None = None


#: Answers of one fitted method, by the names of their rows.
Answers = dict[str, Answer]


def with_entropy(predict_proba: Function) -> Answer:
    """Return an answer whose OOD score is the entropy of the probabilities."""
    return Answer(lambda X: normalized_entropy(predict_proba(X)), predict_proba)


def hidden_representation(clf) -> Function:
    """Return the function from samples to hidden representations, in float32."""

    def hidden(X):
        projected = clf.projection_(np.asarray(X, np.float64), clf.dtype)
        with clf._inference() as compiled:
            return compiled.hidden(projected).numpy()

    return hidden


def nearest(known: np.ndarray) -> Function:
    """Score by the distance to the tenth neighbor (Sun et al. 2022, arXiv 2204.06507).

    Parameters
    ----------
    known : float ndarray of shape (n_samples, n_features)

    Returns
    -------
    callable
    """
    index = NearestNeighbors(n_neighbors=min(NEIGHBOR, len(known))).fit(known)
    return lambda rows: index.kneighbors(rows)[0][:, -1]


def gaussian(known: np.ndarray, y: np.ndarray) -> Function:
    """Score by the negative log density of one Gaussian per class (arXiv 2102.11582).

    Parameters
    ----------
    known : float ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    callable
    """
    known = known.astype(np.float64)
    parts = []
    for label in np.unique(y):
        own = known[y == label]
        covariance = _regularized(np.cov(own.T))
        density = multivariate_normal(own.mean(axis=0), covariance, allow_singular=True)
        parts.append((np.log(len(own) / len(known)), density))

    def score(rows):
        rows = rows.astype(np.float64)
        logs = [prior + np.atleast_1d(part.logpdf(rows)) for prior, part in parts]
        return -logsumexp(logs, axis=0)

    return score


def mahalanobis(known: np.ndarray, y: np.ndarray) -> Function:
    """Score by the distance to the closest class mean, relative to the covariance.

    The covariance is that within classes. With normalized rows, this is the method of
    Mueller and Hein (2025, arXiv 2505.18032).

    Parameters
    ----------
    known : float ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    callable
    """
    means = np.array([known[y == label].mean(axis=0) for label in np.unique(y)])
    residuals = known - means[np.searchsorted(np.unique(y), y)]
    factor = np.linalg.cholesky(_regularized(residuals.T @ residuals / len(known)))

    def whitened(rows):
        return solve_triangular(factor, rows.T, lower=True).T

    centers = whitened(means)
    return lambda rows: pairwise_distances(whitened(rows), centers).min(axis=1)


def _regularized(covariance):
    """Add a small multiple of the identity: covariances of few samples are singular."""
    jitter = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
    return covariance + jitter * np.eye(len(covariance))


def input_distances(X, y, seed) -> Answers:
    """Fit detectors without a classifier to standardized features."""
    scaler = StandardScaler().fit(X)
    forest = IsolationForest(random_state=seed).fit(scaler.transform(X))
    neighbors = nearest(scaler.transform(X))
    return {
        "isolation forest": Answer(
            lambda X: -forest.score_samples(scaler.transform(X))
        ),
        "input neighbours": Answer(lambda X: neighbors(scaler.transform(X))),
    }
