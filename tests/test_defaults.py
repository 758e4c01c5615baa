"""Accuracy and OOD detection on real data with all defaults.

`benchmarks.accuracy` prints the same measures for more seeds, folds and samples.
"""

import warnings
from functools import cache

import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from benchmarks._tools.dataset_pairs import report
from benchmarks.accuracy import (
    TABULAR,
    best_ensemble,
    detection,
    fashion_accuracy,
    tabular_accuracy,
)
from sksngp import ResNetClassifier, SNGPClassifier
from sksngp.datasets import two_moons, two_moons_ood
from sksngp.metrics import ood_auroc

pytestmark = pytest.mark.slow

SEEDS = [0]
FASHION_ROWS = 2_000
#: Pairs of `benchmarks._tools.dataset_pairs.report`. All others hold out other digits.
PAIRS = ["wine 2", "digits 4, 7", "breast cancer"]
FASHION = "fashion 8, 9"


@pytest.fixture(autouse=True)
def ignore_convergence_of_the_baseline():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def assert_as_accurate_as_baselines(accuracy):
    assert accuracy["SNGP"] >= accuracy["ResNet"] - 0.01
    assert accuracy["SNGP"] >= accuracy["MLP"] - 0.01


@pytest.mark.parametrize("name", TABULAR)
def test_accuracy_on_tabular_data(name):
    assert_as_accurate_as_baselines(tabular_accuracy(name, SEEDS, n_folds=3))


@pytest.mark.data
def test_accuracy_on_fashion_mnist():
    assert_as_accurate_as_baselines(fashion_accuracy(FASHION_ROWS, SEEDS))


@cache
def detected(pair):
    return detection(report(FASHION_ROWS // 2)[pair], seeds=[0])


def assert_better_than_baselines(pairs):
    table = pd.DataFrame(list(map(detected, pairs)), index=pairs)
    print(table.to_string())
    assert (table["SNGP"] > table["ResNet entropy"]).all()
    assert table["SNGP"].mean() >= best_ensemble(table) + 0.02


def test_ood_samples_are_detected():
    assert_better_than_baselines(PAIRS)


@pytest.mark.data
def test_ood_samples_are_detected_with_fashion_mnist():
    assert_better_than_baselines([*PAIRS, FASHION])


#: The tutorial's learning rate, without held-out samples and standardization. All
#: other parameters except the kernel scale and the ridge penalty have their defaults.
TUTORIAL = {"learning_rate": 1e-4, "standardize": False, "validation_fraction": 0}


@pytest.mark.parametrize("seed", range(2))
def test_tutorial(seed):
    X, y = two_moons(random_state=seed)
    X_test, y_test = two_moons(random_state=100 + seed)
    X_ood = two_moons_ood(random_state=seed)

    def auroc(classifier):
        return ood_auroc(
            -classifier.score_samples(X_test), -classifier.score_samples(X_ood)
        )

    sngp = SNGPClassifier(
        kernel_scale=1.0, ridge_penalty=1.0, random_state=seed, **TUTORIAL
    ).fit(X, y)
    assert sngp.score(X_test, y_test) >= 0.995
    assert auroc(sngp) >= 0.999
    assert auroc(ResNetClassifier(random_state=seed, **TUTORIAL).fit(X, y)) < 0.7
