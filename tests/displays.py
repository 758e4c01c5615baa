"""Estimators for the tests of displays, with scores that the tests can compute."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import validate_data


class Distance(ClassifierMixin, BaseEstimator):
    """Classifier whose outputs are functions of the distance from 0."""

    def __init__(self, power=1):
        self.power = power

    def fit(self, X, y):
        validate_data(self, X)
        self.classes_ = np.unique(y)
        self.ood_threshold_ = 0.5
        return self

    def predict_proba(self, X):
        X = validate_data(self, X, reset=False)
        logits = X[:, :1] * np.arange(len(self.classes_))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_uncertainty(self, X, kind="total"):
        X = validate_data(self, X, reset=False)
        scale = {"total": 1.0, "aleatoric": 2.0, "epistemic": 4.0}[kind]
        return 1 - np.exp(-np.square(X).sum(axis=1) / scale)

    def score_samples(self, X):
        return -self.predict_uncertainty(X, "epistemic")


class Fixed(ClassifierMixin, BaseEstimator):
    """Classifier that returns its input as probabilities."""

    def fit(self, proba, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, proba):
        return np.asarray(proba)


def surface(clf, X, kind):
    if kind == "probability":
        return clf.predict_proba(X)[:, 1]
    return -clf.score_samples(X) if kind == "ood" else clf.predict_uncertainty(X, kind)
