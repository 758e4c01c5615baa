"""scikit-learn's checks of estimators: a small network, and the best of several."""

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
#: Default folds and candidates, with a small network. The other classifiers inherit the
#: code that chooses; `test_selection` compares their candidates.
CHOOSING = SNGPClassifier(num_hidden=16, num_inducing=64, epochs=10, learning_rate=0.03)
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
@with_checks([CHOOSING])
def test_choosing(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "clf",
    [
        *SMALL_CLASSIFIERS,
        pytest.param(CHOOSING, marks=pytest.mark.slow),
    ],
    ids=lambda clf: f"{type(clf).__name__}, cv={clf.cv}",
)
def test_weights_are_repetitions_in_exact_settings(clf):
    """Without mini-batches, dropout and float32, the exempted check holds."""
    check_sample_weight_equivalence_on_dense_data(
        type(clf).__name__, type(clf)(**clf.get_params() | EXACT)
    )
