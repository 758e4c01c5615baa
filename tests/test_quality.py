"""Computations in the quality benchmarks."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.model_selection import train_test_split

from benchmarks import alternatives, false_alarms, quality
from benchmarks import exact_gp as distance
from benchmarks._tools import dataset_pairs as pairs
from benchmarks._tools import detectors as contenders
from sksngp import SNGPClassifier
from sksngp.metrics import fpr_at_tpr, ood_auroc

# False positive rates


def test_bands_are_normal_intervals_of_the_mean():
    shares = pd.DataFrame(
        {"data": ["a"] * 4, "rate": [0.05] * 4, "share": [0.0, 0.1, 0.0, 0.1]}
    )
    band = false_alarms.bands(shares).loc[("a", 0.05)]
    error = np.std([0.0, 0.1, 0.0, 0.1], ddof=1) / 2
    expected = [0.05, 0.05 - 1.96 * error, 0.05 + 1.96 * error]
    np.testing.assert_allclose(
        band[["mean", "low", "high"]].astype(float), expected, 1e-3
    )
    assert not band["broken"]
    assert false_alarms.bands(shares.assign(share=[0.2, 0.3, 0.2, 0.3]))["broken"].all()


@pytest.mark.slow
def test_simulation_of_a_few_splits():
    found = false_alarms.simulate(
        ["iris"], 2, n_jobs=1, epochs=2, num_layers=1, cv=None
    )
    assert len(found) == 2 * len(false_alarms.RATES)
    assert found["share"].between(0, 0.5).all()
    assert found["share"].nunique() > 1


@pytest.mark.slow
def test_a_fit_serves_several_rates():
    """The flags for each rate are those of a classifier with this rate."""
    params = {"epochs": 2, "num_layers": 1, "num_inducing": 64, "cv": None}
    shares = false_alarms.flagged_shares("breast cancer", 3, "SNGPClassifier", **params)
    X, y = false_alarms.DATA["breast cancer"]()
    X, X_fresh, y, _ = train_test_split(X, y, test_size=0.3, stratify=y, random_state=3)
    for rate, share in shares.items():
        clf = SNGPClassifier(ood_alpha=rate, random_state=3, **params).fit(X, y)
        assert clf.predict_ood(X_fresh).mean() == pytest.approx(share)


# Pairs


def test_corruptions_have_the_stated_effect():
    X = np.arange(1.0, 61.0).reshape(3, 20)
    ratio = pairs.wrong_unit(X, 0) / X
    assert sorted(ratio[0]) == [1.0] * 19 + [10.0]
    np.testing.assert_array_equal(ratio, np.tile(ratio[0], (3, 1)))
    X[:, :10] = 0
    dead = (pairs.dead_sensors(X, 0) == 0)[:, 10:]
    assert (dead.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(dead, np.tile(dead[0], (3, 1)))


# Scores


def test_gaussian_score_is_the_density_of_the_mixture():
    rng = np.random.default_rng(0)
    known, y = rng.normal(size=(300, 2)), np.arange(300) % 3
    known[y == 2] += 4
    rows = rng.normal(size=(5, 2)) * 3
    density = sum(
        multivariate_normal(part.mean(axis=0), np.cov(part.T)).pdf(rows) / 3
        for part in (known[y == k] for k in range(3))
    )
    found = contenders.gaussian(known, y)(rows)
    np.testing.assert_allclose(found, -np.log(density), rtol=1e-4)


def test_nearest_is_the_distance_to_the_tenth():
    known = np.arange(20.0)[:, None]
    found = contenders.nearest(known)(np.array([[0.0], [30.0]]))
    np.testing.assert_allclose(found, [9.0, 20.0])


# Results


def test_ranks_and_their_critical_difference():
    auroc = pd.DataFrame(
        {"p": [0.9, 0.8, 0.8], "q": [0.7, 0.9, 0.1]}, index=["a", "b", "c"]
    )
    ranks, difference = quality.mean_ranks(auroc)
    assert ranks.to_dict() == {"a": 1.5, "b": 1.75, "c": 2.75}
    # The table of Demsar has 2.343 for three classifiers.
    assert difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 2)), abs=1e-3)


@pytest.mark.slow
def test_results_of_a_pair():
    names = ["SNGP", "ResNet", "Gaussian process", "input distances"]
    data = pairs.wine(2, 0)
    found = quality.measure(lambda seed: data, names, 0)
    assert len(found) == 1 + 3 + 1 + 2
    assert found.loc["SNGP", list(quality.COLUMNS)].notna().all()
    assert found.loc["isolation forest", ["accuracy", "ECE"]].isna().all()
    assert found["AUROC"].between(0, 1).all()
    assert found["accuracy"].dropna().between(0.8, 1).all()
    table = quality.averages(pd.concat([found, found + 1]).assign(pair="wine"))
    np.testing.assert_allclose(table["AUROC"].droplevel("pair"), found["AUROC"] + 0.5)
    answers = contenders.input_distances(data.X_train, data.y_train, 0)
    scores = [answers["input neighbours"].score(X) for X in (data.X_test, data.X_ood)]
    row = found.loc["input neighbours"]
    assert row["AUROC"] == ood_auroc(*scores)
    assert row["FPR95"] == fpr_at_tpr(*scores)


# Distance


@pytest.mark.slow
def test_rank_correlation_with_an_exact_process():
    pair = pairs.report(0)["wine 2"]
    found = distance.rank_correlations(pair, 0)
    assert all(0.95 < value <= 1 for value in found.values())


# Alternatives


def test_alternatives_are_variants_of_existing_scores(iris):
    X, y = iris
    clf = SNGPClassifier(
        num_layers=1, epochs=2, num_inducing=64, validation_fraction=0, random_state=0
    ).fit(X, y)
    hidden = contenders.hidden_representation(clf)(X).astype(float)
    form = clf.kernel_scale_, clf.ridge_penalty_
    drawn = (clf.weights_[f"random_features/{name}"] for name in ("kernel", "bias"))
    np.testing.assert_allclose(
        alternatives.random_shares(hidden, hidden, *form, *drawn),
        clf.predict_uncertainty(X, "epistemic"),
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        alternatives.exact_shares(hidden, hidden, *form),
        distance.exact_variance(clf, X, X),
        rtol=1e-3,
        atol=1e-4,
    )


def test_orthogonal_frequencies_are_gaussian_in_length():
    kernel = alternatives.orthogonal_kernel((8, 800), np.random.default_rng(0))
    gram = kernel[:, :8].T @ kernel[:, :8]
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-12)
    assert np.square(kernel).mean() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("grouped", [False, True])
def test_whitening_gives_unit_covariance_except_for_shrinkage(grouped):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 500)
    hidden = rng.normal(size=(500, 4)) * [1, 2, 3, 4] + 5 * y[:, None]
    change = alternatives.whitener(hidden, y if grouped else None)
    centred = hidden - hidden.mean(axis=0)
    if grouped:
        centred = hidden - np.stack([hidden[y == k].mean(axis=0) for k in range(3)])[y]
    covariance = centred.T @ centred / 500
    shrunk = covariance + np.trace(covariance) / 4 * np.eye(4)
    np.testing.assert_allclose(change.T @ shrunk @ change, np.eye(4), atol=1e-10)


def test_update_keeps_other_results():
    old = pd.DataFrame(
        {"pair": ["p", "p"], "seed": [0, 0], "AUROC": [0.1, 0.2]}, index=["a", "b"]
    ).rename_axis("answer")
    new = old.loc[["a"]].assign(AUROC=0.9)
    found = quality.updated(old, new)
    assert found["AUROC"].to_dict() == {"b": 0.2, "a": 0.9}
