"""Constants and checks shared by several test modules."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._uncertainty.entropy import KINDS

#: The four classifiers.
CLASSIFIERS = [
    SNGPClassifier,
    ResNetClassifier,
    MCDropoutClassifier,
    DeepEnsembleClassifier,
]
#: Settings in which sample weights and repetitions agree up to rounding.
EXACT = {"dtype": "float64", "dropout_rate": 0, "batch_size": None}
#: The recipe of the defaults: networks of several depths, folds and a final network.
CROSS_FITTED = {"num_layers": "auto", "cv": 2, "epochs": 1}
#: Prediction methods that require only samples.
PREDICTION_METHODS = [
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_uncertainty",
    "predict_ood",
    "score_samples",
]
#: Forms of the SNGP posterior besides the default.
SNGP_FORMS = {
    "sampled": {"inference": "monte_carlo"},
    "per class": {"inference": "monte_carlo", "covariance": "per_class"},
    "moving average": {"cov_momentum": 0.9},
}


def fitted_attributes(clf):
    """Return the names of the fitted attributes."""
    return [name for name in vars(clf) if name.endswith("_")]


def assert_valid_predictions(clf, X):
    """Check that all predictions are finite, in range and consistent."""
    proba = clf.predict_proba(X)
    assert proba.shape == (len(X), len(clf.classes_))
    assert_allclose(proba.sum(axis=1), 1.0)  # this also fails for NaN
    assert (proba >= 0).all()
    for kind in KINDS:
        score = clf.predict_uncertainty(X, kind=kind)
        assert score.shape == (len(X),)
        assert ((score >= 0) & (score <= 1)).all()
    assert np.isin(clf.predict(X), clf.classes_).all()
    assert np.isfinite(clf.loss_curve_).all()
    flags = clf.predict_ood(X)
    assert flags.dtype == bool
    score = -clf.score_samples(X)
    assert ((score >= 0) & np.isfinite(score)).all()
    assert_array_equal(flags, score > clf.ood_threshold_)
    if not isinstance(clf, SNGPClassifier):
        assert_array_equal(score, clf.predict_uncertainty(X, kind="epistemic"))
    pvalues = clf.ood_pvalue(X)
    assert ((pvalues > 0) & (pvalues <= 1)).all()
    if len(X):
        assert flags[pvalues < clf.ood_alpha].all()
        assert not flags[pvalues > clf.ood_alpha].any()


def stream(clf, X, y, size, classes):
    """Learn samples by `partial_fit`, in batches of a size."""
    for start in range(0, len(y), size):
        batch = slice(start, start + size)
        clf.partial_fit(X[batch], y[batch], classes=classes)
    return clf
