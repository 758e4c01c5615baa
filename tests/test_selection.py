"""Comparison of candidates and calibration on held-out samples."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris, make_classification, make_moons
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from sksngp import ResNetClassifier, SNGPClassifier, _sngp_output
from sksngp._data import holdout
from sksngp._data.holdout import digests
from sksngp._data.rows import Rows
from sksngp._selection import Fold, Search, Splits
from sksngp._uncertainty.temperature import log_loss_at


@pytest.fixture(scope="module")
def noisy():
    """Return two overlapping moons."""
    return make_moons(150, noise=0.35, random_state=0)


@pytest.fixture(scope="module")
def cross_fitted(small, noisy):
    clf = small(SNGPClassifier, num_layers="auto", cv=3, epochs=3)
    return clf.fit(*noisy)


def test_candidates_are_listed_and_the_best_one_is_used(cross_fitted):
    candidates = cross_fitted.candidates_
    assert {each["num_layers"] for each in candidates} == {0, 2, 6}
    assert {each["kernel_factor"] for each in candidates} == {1 / 16, 1 / 4, 1, 4}
    best = min(candidates, key=lambda each: each["log_loss"])
    assert cross_fitted.num_layers_ == best["num_layers"]
    scale = best["kernel_factor"] * cross_fitted._distance
    assert cross_fitted.kernel_scale_ == pytest.approx(scale)
    assert cross_fitted.architecture_["num_layers"] == best["num_layers"]
    assert cross_fitted.ridge_penalty_ == best["ridge_penalty"]
    assert {each["ridge_penalty"] for each in candidates} == {0.03, 0.1, 0.3}


def test_every_sample_is_scored_by_a_model_trained_without_it(cross_fitted, noisy):
    X, _ = noisy
    assert len(cross_fitted.ood_scores_) == len(X)
    assert np.isfinite(cross_fitted.ood_threshold_)
    # The final model was trained on the samples, so their scores are lower.
    assert (-cross_fitted.score_samples(X)).mean() < cross_fitted.ood_scores_.mean()


def test_pinned_parameters_are_not_compared(make_two, noisy):
    clf = make_two(cv=3, epochs=2)
    if isinstance(clf, SNGPClassifier):
        clf.set_params(kernel_scale=2.0, ridge_penalty=0.5)
    clf.fit(*noisy)
    assert clf.candidates_ is None
    if isinstance(clf, SNGPClassifier):
        assert clf.ridge_penalty_ == 0.5
    assert clf.num_layers_ == 2
    assert len(clf.ood_scores_) == len(noisy[0])
    assert clf.temperature_ != 1.0


@pytest.mark.slow
def test_depth_is_chosen_with_and_without_kernel_factors(make_two, noisy):
    clf = make_two(num_layers="auto", cv=2, epochs=2).fit(*noisy)
    losses = {}
    for candidate in clf.candidates_:
        depth, loss = candidate["num_layers"], candidate["log_loss"]
        losses[depth] = min(loss, losses.get(depth, np.inf))
    assert {2, 6} <= losses.keys()
    assert clf.num_layers_ == min(losses, key=losses.get)


def test_held_out_set_can_compare_candidates(small, noisy, monkeypatch):
    clf = small(SNGPClassifier, num_layers="auto", validation_fraction=0.2)
    clf.fit(*noisy)
    assert len(clf.candidates_) == 3  # depths
    assert 20 <= len(clf.ood_scores_) <= 40
    monkeypatch.setattr(_sngp_output, "MIN_SET", 20)
    clf.fit(*noisy)
    assert len(clf.candidates_) == 14  # three depths and four factors, two precisions


def test_nothing_held_out_means_defaults(small, noisy):
    clf = small(SNGPClassifier, num_layers="auto", validation_fraction=0)
    with pytest.warns(UserWarning, match="predict_ood will not flag any sample"):
        clf.fit(*noisy)
    assert clf.candidates_ is None
    assert clf.num_layers_ == 6
    assert clf.kernel_scale_ == pytest.approx(clf._distance)
    assert clf.ridge_penalty_ == 0.1
    assert clf.temperature_ == 1.0


def test_cross_fitting_is_automatic_on_small_data(small):
    X, y = load_iris(return_X_y=True)
    clf = small(SNGPClassifier, cv="auto", epochs=1).fit(X, y)
    assert len(clf.ood_scores_) == len(X)
    clf = small(SNGPClassifier, cv="auto", epochs=1, early_stopping=True).fit(X, y)
    assert len(clf.ood_scores_) < len(X) / 2


@pytest.mark.parametrize("name", ["early_stopping", "warm_start"])
def test_folds_rule_out_a_held_out_set(make_two, noisy, name):
    with pytest.raises(ValueError, match=f"{name}=True requires.*got 3"):
        make_two(cv=3, **{name: True}).fit(*noisy)


@pytest.mark.parametrize("as_list", [True, False])
def test_splits_of_scikit_learn(small, noisy, as_list):
    X, y = noisy
    cv = StratifiedKFold(3)
    weights = np.arange(len(y)) % 10 + 0.0  # samples of weight 0 are dropped
    if as_list:
        cv = list(cv.split(X, y))
    clf = small(SNGPClassifier, cv=cv, epochs=1).fit(X, y, sample_weight=weights)
    assert len(clf.ood_scores_) == np.count_nonzero(weights)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ([0, 1, 2], [2, 3]),  # not disjoint
        ([], [2, 3]),
        ([0, 1], []),
        ([0, -1], [2, 3]),
        ([0, 1], [10_000]),
    ],
)
def test_invalid_splits_are_rejected(make_two, noisy, train, test):
    split = (np.array(train, int), np.array(test, int))
    with pytest.raises(ValueError, match="cv must give disjoint training and test"):
        make_two(cv=[split]).fit(*noisy)


def test_splitters_with_indices_of_samples_of_weight_0_are_rejected(make_two, noisy):
    X, y = noisy
    weights = (np.arange(len(y)) > 0).astype(float)
    cv = PredefinedSplit(np.arange(len(y)) % 2)
    with pytest.raises(ValueError, match=r"(?s)cv=Predefined.* cannot split the"):
        make_two(cv=cv).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("cv", [GroupKFold(3), [(np.arange(5),)]])
def test_cv_that_cannot_split_is_named(make_two, noisy, cv):
    with pytest.raises(ValueError, match=r"cv=.*cannot split .*groups"):
        make_two(cv=cv).fit(*noisy)


def test_more_folds_than_unique_samples_are_rejected(make_two, noisy):
    X, y = (part[:25].repeat(2, axis=0) for part in noisy)
    with pytest.raises(
        ValueError, match=r"must not exceed the number of unique samples.* got 26"
    ):
        make_two(cv=26).fit(X, y)


def test_classes_of_splitters_are_rejected(make_two, noisy):
    with pytest.raises(ValueError, match=r"instance, such as TimeSeriesSplit\(\)"):
        make_two(cv=TimeSeriesSplit).fit(*noisy)


def test_no_splits_are_rejected(make_two, noisy):
    with pytest.raises(ValueError, match="cv must give disjoint training and test"):
        make_two(cv=[]).fit(*noisy)


def test_networks_are_trained_on_the_training_sets(small, noisy, monkeypatch):
    """As with TimeSeriesSplit, whose training sets have no later samples."""
    X, y = noisy
    sizes = []
    train = SNGPClassifier._train_for_fit

    def record(self, rows, *args):
        sizes.append(len(rows.labels))
        return train(self, rows, *args)

    monkeypatch.setattr(SNGPClassifier, "_train_for_fit", record)
    cv = TimeSeriesSplit(3, gap=2)
    clf = small(SNGPClassifier, cv=cv, epochs=1).fit(X, y)
    splits = list(cv.split(X))
    assert sizes == [len(train) for train, _ in splits] + [len(X)]
    assert len(clf.ood_scores_) == sum(len(test) for _, test in splits)


def test_splitters_receive_the_samples_and_their_labels(small, noisy):
    X, y = noisy
    labels = np.array(["no", "yes"])[y]

    class ByFirstFeature(KFold):
        def split(self, given, given_labels=None, groups=None):
            assert_array_equal(given, X)
            assert_array_equal(given_labels, labels)
            high = given[:, 0] > np.median(given[:, 0])
            yield np.flatnonzero(high), np.flatnonzero(~high)
            yield np.flatnonzero(~high), np.flatnonzero(high)

    clf = small(SNGPClassifier, cv=ByFirstFeature(), epochs=1).fit(X, labels)
    assert len(clf.ood_scores_) == len(X)


@pytest.mark.slow
def test_boolean_masks_and_generators_are_splits(small, noisy):
    X, y = noisy
    splits = list(StratifiedKFold(3).split(X, y))
    masks = [
        (np.isin(np.arange(len(y)), s), np.isin(np.arange(len(y)), t))
        for s, t in splits
    ]
    scores = [
        small(SNGPClassifier, cv=cv, epochs=1).fit(X, y).ood_scores_
        for cv in (splits, masks, iter(splits))
    ]
    assert_array_equal(scores[0], scores[1])
    assert_array_equal(scores[0], scores[2])


def test_streams_after_cross_fitting_are_calibrated_by_new_samples(small, noisy):
    clf = small(SNGPClassifier, cv=3, epochs=1).fit(*noisy)
    scores = clf.ood_scores_
    clf.partial_fit(*noisy)  # nothing new
    assert_array_equal(clf.ood_scores_, scores)
    clf.partial_fit(*make_moons(400, noise=0.35, random_state=1))
    assert len(scores) + 10 < len(clf.ood_scores_) < len(scores) + 100


def test_further_fits_after_cross_fitting(small, noisy):
    clf = small(SNGPClassifier, cv=3, epochs=1).fit(*noisy)
    threshold, temperature = clf.ood_threshold_, clf.temperature_
    clf.set_params(cv=None, warm_start=True).fit(
        *noisy
    )  # nothing new to calibrate with
    assert (clf.ood_threshold_, clf.temperature_) == (threshold, temperature)
    clf.set_params(temperature=2.0).fit(*noisy)
    assert clf.temperature_ == 2.0
    X, y = make_moons(400, noise=0.35, random_state=1)
    clf.set_params(temperature="auto").fit(X, y)
    assert 10 < len(clf.ood_scores_) < 100
    assert clf.temperature_ not in (temperature, 2.0)


@pytest.mark.parametrize("weight", [1e-60, 1e50])
def test_extreme_weights(small, noisy, weight):
    X, y = noisy
    clf = small(SNGPClassifier, cv=3, epochs=1)
    clf.fit(X, y, sample_weight=np.full(len(y), weight))
    assert np.isfinite(clf.predict_proba(X)).all()


def test_heavy_minority_is_in_folds():
    labels = (np.arange(1000) < 9).astype(np.int32)
    weights = np.where(labels == 1, 1000 / 18, 1000 / 1982)
    fold = holdout.folds(digests(np.arange(1000.0)[:, None], 0), labels, weights, 5)
    assert (fold >= 0).all()


def test_common_samples_count_towards_the_threshold(small):
    rng = np.random.default_rng(0)
    X = np.concatenate([np.zeros((60, 2)), rng.normal(size=(90, 2))])
    y = np.concatenate([np.arange(60) % 2, (X[60:, 0] > 0).astype(int)])
    clf = small(ResNetClassifier, cv=3, epochs=20, learning_rate=0.01).fit(X, y)
    assert len(clf.ood_scores_) == 150
    assert clf.predict_ood(X).mean() < 0.2


def test_number_of_layers_of_streams(small, noisy):
    clf = small(SNGPClassifier).partial_fit(*noisy, classes=[0, 1])
    assert clf.num_layers_ == 2
    assert clf.candidates_ is None
    clf.set_params(num_layers="auto").partial_fit(*noisy)
    assert clf.num_layers_ == 2


@pytest.mark.slow
def test_output_of_many_samples_is_trained(small, noisy, monkeypatch):
    monkeypatch.setattr(_sngp_output, "MAX_FEATURES", 149 * 64)
    clf = small(SNGPClassifier, num_layers="auto", cv=3).fit(*noisy)
    assert clf.candidates_ is None
    assert clf.kernel_scale_ == pytest.approx(clf._distance / 16)
    assert clf.ridge_penalty_ == 0.1
    monkeypatch.setattr(_sngp_output, "MAX_FEATURES", 150 * 64)
    assert small(SNGPClassifier, num_layers="auto", cv=3).fit(*noisy).candidates_


def test_output_of_many_products_is_nearly_the_same(small, noisy, monkeypatch):
    X, y = noisy
    exact = small(SNGPClassifier).fit(X, y).predict_proba(X)
    monkeypatch.setattr(_sngp_output, "MAX_EXACT_PRODUCTS", 0)
    rough = small(SNGPClassifier).fit(X, y).predict_proba(X)
    assert (exact != rough).any()
    np.testing.assert_allclose(rough, exact, atol=0.05)


@pytest.mark.slow
def test_calibration_lowers_the_log_loss(small):
    X, y = make_moons(600, noise=0.5, random_state=1)
    clf = small(SNGPClassifier, cv=5, epochs=20).fit(X[:200], y[:200])
    calibrated = log_loss(y[200:], clf.predict_proba(X[200:]))
    clf.temperature_ = 0.2
    assert calibrated < log_loss(y[200:], clf.predict_proba(X[200:]))


def test_equal_samples_share_a_fold():
    rng = np.random.default_rng(0)
    X = rng.integers(4, size=(300, 3)).astype(float)
    labels = rng.integers(2, size=300).astype(np.int32)
    fold = holdout.folds(digests(X, 0), labels, np.ones(300), 5)
    for row in np.unique(X, axis=0):
        assert len(set(fold[(X == row).all(axis=1)])) == 1


def test_folds_of_weighted_samples_are_those_of_repeated_ones():
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 2)), np.arange(60, dtype=np.int32) % 3
    counts = rng.integers(1, 4, 60)
    weighted = holdout.folds(digests(X, 0), labels, counts.astype(float), 5)
    repeated = holdout.folds(
        np.repeat(digests(X, 0), counts),
        np.repeat(labels, counts),
        np.ones(sum(counts)),
        5,
    )
    assert_array_equal(np.repeat(weighted, counts), repeated)


def test_folds_are_stratified():
    X = np.arange(100.0)[:, None]
    labels = (np.arange(100) < 20).astype(np.int32)
    fold = holdout.folds(digests(X, 0), labels, np.ones(100), 5)
    assert_array_equal(np.bincount(fold[labels == 1]), [4] * 5)


def test_common_samples_are_in_no_fold():
    X = np.concatenate([np.zeros(100), np.arange(1.0, 101.0)])[:, None]
    fold = holdout.folds(digests(X, 0), np.zeros(200, np.int32), np.ones(200), 5)
    assert (fold[:100] == -1).all()
    assert (fold[100:] >= 0).all()


def test_few_unique_samples_are_not_divided():
    X = np.repeat(np.arange(10.0), 10)[:, None]
    assert (
        holdout.folds(digests(X, 0), np.zeros(100, np.int32), np.ones(100), 5) is None
    )


def test_splits_without_samples():
    hashes = np.arange(3, dtype=np.uint64)
    assert not Splits([np.zeros(3, bool)], hashes, refit=False).any()
    assert Splits([np.zeros(3, bool), np.ones(3, bool)], hashes, refit=True).any()


def test_log_loss_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 50)
    labels, weights = rng.integers(3, size=50), rng.uniform(1, 2, 50)
    expected = log_loss(labels, proba, sample_weight=weights)
    assert log_loss_at(proba, labels, weights) == pytest.approx(expected)


class Guess:
    """Model whose logits are as wrong as the settings of a candidate are large."""

    def __init__(self, depth):
        self.depth = depth

    def _is_dense(self):
        return True

    def _candidate_logits(self, rows, held_out, candidates):
        noise = np.random.default_rng(0).normal(size=(len(held_out.labels), 2))
        truth = 3.0 * np.eye(2)[held_out.labels]
        assert {each.num_layers for each in candidates} == {self.depth}
        return [
            truth + (sum(each[:2]) + (each.ridge_penalty or 0.0)) * noise
            for each in candidates
        ]


def search(depths, factors, num_splits, ridges=(None,)):
    """Search with models that guess; return it and the networks it trained."""
    trained = []

    def train(depth, number):
        trained.append((depth, number))
        labels = np.arange(30, dtype=np.int32) % 2
        rows = Rows(np.zeros((30, 1)), labels, np.ones(30))
        mask = np.arange(30 * num_splits) // 30 == number
        return Fold(Guess(depth), rows, rows, mask, np.ones(30))

    return Search(depths, factors, ridges, num_splits, train).run(), trained


@pytest.mark.parametrize("num_splits", [1, 3])
def test_few_splits_are_searched_completely(num_splits):
    found, trained = search((0, 2), (1.0, 4.0), num_splits)
    assert len(trained) == len(set(trained)) == 2 * num_splits
    assert {each["n_splits"] for each in found.scores} == {num_splits}
    assert (found.best.num_layers, found.best.kernel_factor) == (0, 1.0)


def test_many_splits_are_searched_by_halving():
    found, trained = search((0, 2, 6), (1.0, 2.0, 3.0), 5)
    splits = [each["n_splits"] for each in found.scores]
    assert sorted(splits) == [2] * 6 + [5] * 3
    assert (found.best.num_layers, found.best.kernel_factor) == (0, 1.0)
    assert [fold.model.depth for fold in found.trial.folds] == [0] * 5
    # The best three have no blocks: other depths are trained on two splits only.
    assert sorted(trained) == [(0, n) for n in range(5)] + [(2, 0), (2, 1)] + [
        (6, 0),
        (6, 1),
    ]


@pytest.mark.parametrize(("factors", "num_first"), [((1.0, 4.0), 2), ((1.0,), 1)])
def test_prior_precisions_are_compared_for_the_best_candidate(factors, num_first):
    found, trained = search((0,), factors, 5, (0.1, 0.03, 0.3))
    assert len(trained) == 5
    assert found.best == (0, 1.0, 0.03)
    compared = [each for each in found.scores if each["ridge_penalty"] != 0.1]
    assert len(found.scores) == num_first + 2
    assert [each["kernel_factor"] for each in compared] == [1.0, 1.0]
    assert {each["n_splits"] for each in found.scores} == {5}


def test_a_single_candidate_is_not_compared():
    found, trained = search((2,), (None,), 5)
    assert found.scores is None
    assert trained == [(2, number) for number in range(5)]


def test_networks_without_blocks_are_not_trained(small, noisy):
    clf = small(SNGPClassifier, num_layers=0).fit(*noisy)
    assert (clf.n_iter_, clf.loss_curve_) == (0, [])
    assert clf.score(*noisy) > 0.7
    assert small(ResNetClassifier, num_layers=0, epochs=2).fit(*noisy).n_iter_ == 2


def test_scores_are_for_a_posterior_of_all_samples(small):
    """Also if the training and test sets of a split are few of the samples."""
    X, y = make_classification(400, 8, n_informative=6, random_state=0)
    splits = [(np.arange(30), np.arange(100, 200))]
    clf = small(SNGPClassifier, cv=splits, num_inducing=128).fit(X[:200], y[:200])
    typical = np.median(-clf.score_samples(X[200:]))
    assert np.median(clf.ood_scores_) == pytest.approx(typical, rel=0.25)
