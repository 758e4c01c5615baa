"""scikit-learn's own checks of estimators, all of them."""

import pytest
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

CLASSIFIERS = [
    SNGPClassifier,
    ResNetClassifier,
    MCDropoutClassifier,
    DeepEnsembleClassifier,
]
EXPECTED_FAILURE = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of weight 2 meets one mini-batch and one dropout mask, a row given "
        "twice meets two; as with scikit-learn's SGDClassifier"
    )
}


@pytest.fixture(autouse=True)
def all_checks(monkeypatch):
    """scikit-learn leaves out its check of array-API dispatch without this."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def default(Classifier):
    """All defaults, but for a smaller ensemble: its checks took half of the time."""
    if Classifier is DeepEnsembleClassifier:
        return Classifier(num_ensemble=2, epochs=30)
    return Classifier()


@parametrize_with_checks(
    list(map(default, CLASSIFIERS)),
    expected_failed_checks=lambda estimator: EXPECTED_FAILURE,
    xfail_strict=True,  # an exemption that is no longer needed is an error
)
def test_defaults(estimator, check):
    check(estimator)


@pytest.mark.parametrize("Classifier", CLASSIFIERS)
def test_weights_are_equivalent_to_repetition_in_exact_settings(Classifier):
    """What is exempt above holds without mini-batches, dropout and float32."""
    estimator = Classifier(dtype="float64", dropout_rate=0, batch_size=None)
    check_sample_weight_equivalence_on_dense_data(Classifier.__name__, estimator)
