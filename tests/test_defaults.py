"""Accuracy and OOD detection on real data with all defaults.

`benchmarks.accuracy` prints the same measures for more seeds, folds and samples.
"""

import sys
import warnings
from functools import partial

import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from benchmarks._tools.dataset_pairs import report
from benchmarks.accuracy import classifiers, main
from sksngp import DeepEnsembleClassifier, ResNetClassifier, SNGPClassifier
from sksngp._uncertainty.entropy import KINDS
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

pytestmark = pytest.mark.slow

FASHION_ROWS = 1_000
#: Pairs of `benchmarks._tools.dataset_pairs.report`, and the least difference between
#: the AUROCs of SNGP and of the ensemble. All other pairs hold out other digits.
PAIRS = [
    ("wine 2", -0.02),  # both are close to 1
    ("digits 4, 7", 0.02),
    ("breast cancer", 0.02),
    pytest.param("fashion 8, 9", -0.02, marks=pytest.mark.data),
]


@pytest.fixture(autouse=True)
def ignore_convergence_of_the_baseline():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.mark.parametrize(("pair", "margin"), PAIRS)
def test_as_accurate_as_baselines_and_better_at_detection(pair, margin):
    """The ensemble has five members and no folds, for less time."""
    data = report(FASHION_ROWS)[pair](0)
    X, y, X_ood = data.X_test[:1000], data.y_test[:1000], data.X_ood[:1000]
    found = {
        name: classifier.fit(data.X_train, data.y_train)
        for name, classifier in classifiers(0).items()
    }
    right = {name: (found[name].predict(X) == y).sum() for name in found}
    # One sample, as test sets are small, and 1% of accuracy.
    assert right["SNGP"] >= max(right["ResNet"], right["MLP"]) - 1 - 0.01 * len(y)

    def auroc(classifier, kind):
        scores = (classifier.predict_uncertainty(rows, kind) for rows in (X, X_ood))
        return ood_auroc(*scores)

    sngp = ood_auroc(*(-found["SNGP"].score_samples(rows) for rows in (X, X_ood)))
    assert sngp > auroc(found["ResNet"], "total")
    ensemble = DeepEnsembleClassifier(
        num_ensemble=5, num_layers=6, cv=None, random_state=0
    ).fit(data.X_train, data.y_train)
    confidence = (1 - ensemble.predict_proba(rows).max(axis=1) for rows in (X, X_ood))
    scores = [auroc(ensemble, kind) for kind in KINDS] + [ood_auroc(*confidence)]
    assert sngp >= max(scores) + margin


@pytest.mark.data
def test_command_prints_both_tables(small, capsys, monkeypatch):
    """With small networks, one table and one pair."""
    module = sys.modules[main.__module__]
    for Classifier in (SNGPClassifier, ResNetClassifier, DeepEnsembleClassifier):
        monkeypatch.setattr(module, Classifier.__name__, partial(small, Classifier))
    monkeypatch.setattr(module, "TABULAR", {"iris": load_iris})
    monkeypatch.setattr(
        module, "report", lambda rows: {"wine 2": report(rows)["wine 2"]}
    )
    monkeypatch.setattr("sys.argv", ["", "--seeds", "1", "--fashion-rows", "60"])
    main()
    accuracy, detection = capsys.readouterr().out.split("\nOOD AUROC\n")
    for name in ("iris", "Fashion-MNIST, 60 images"):
        assert name in accuracy
    for column in ("wine 2", "ensemble mutual information", "SNGP flagged unknown"):
        assert column in detection


#: The tutorial's learning rate, without held-out samples and standardization. All
#: other parameters except the kernel scale and the ridge penalty have their defaults.
TUTORIAL = {"learning_rate": 1e-4, "standardize": False, "validation_fraction": 0}


def test_tutorial():
    X, y = two_moons(random_state=0)
    X_test, y_test = two_moons(random_state=100)
    X_ood = two_moons_ood(random_state=0)

    def auroc(classifier):
        return ood_auroc(
            -classifier.score_samples(X_test), -classifier.score_samples(X_ood)
        )

    sngp = SNGPClassifier(
        kernel_scale=1.0, ridge_penalty=1.0, random_state=0, **TUTORIAL
    ).fit(X, y)
    assert sngp.score(X_test, y_test) >= 0.995
    assert auroc(sngp) >= 0.999
    assert auroc(ResNetClassifier(random_state=0, **TUTORIAL).fit(X, y)) < 0.7
