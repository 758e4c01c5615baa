"""scikit-learn's checks of estimators: with small networks, and with all defaults."""

import pytest
from common import EXACT
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)

SMALL = {
    "num_layers": 1,
    "num_hidden": 16,
    "epochs": 10,
    "learning_rate": 0.03,
    "cv": None,
}
SMALL_CLASSIFIERS = [
    SNGPClassifier(**SMALL, num_inducing=64),
    ResNetClassifier(**SMALL),
    MCDropoutClassifier(**SMALL),
    DeepEnsembleClassifier(**SMALL, num_ensemble=2),
]
#: All defaults, except for fewer epochs. The others inherit the code that chooses.
DEFAULT_CLASSIFIERS = [SNGPClassifier(epochs=15), ResNetClassifier(epochs=15)]
EXPECTED_FAILURE = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a sample of weight 2 is in one mini-batch with one dropout mask, a repeated "
        "sample in two with two masks; as with scikit-learn's SGDClassifier"
    )
}


@pytest.fixture(autouse=True)
def all_checks(monkeypatch):
    """Enable array API dispatch, so that scikit-learn does not skip its check."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def with_checks(classifiers):
    return parametrize_with_checks(
        classifiers,
        expected_failed_checks=lambda estimator: EXPECTED_FAILURE,
        xfail_strict=True,  # an exemption that is not needed is an error
    )


@with_checks(SMALL_CLASSIFIERS)
def test_small(estimator, check):
    check(estimator)


@pytest.mark.slow
@with_checks(DEFAULT_CLASSIFIERS)
def test_defaults(estimator, check):
    check(estimator)


@pytest.mark.parametrize("clf", SMALL_CLASSIFIERS, ids=lambda clf: type(clf).__name__)
def test_weights_are_repetitions_in_exact_settings(clf):
    """Without mini-batches, dropout and float32, the exempted check holds."""
    check_sample_weight_equivalence_on_dense_data(
        type(clf).__name__, type(clf)(**clf.get_params() | EXACT)
    )


@pytest.mark.slow
@pytest.mark.parametrize("Classifier", list(map(type, SMALL_CLASSIFIERS)))
def test_weights_are_repetitions_in_exact_settings_with_defaults(Classifier):
    check_sample_weight_equivalence_on_dense_data(
        Classifier.__name__, Classifier(**EXACT)
    )
