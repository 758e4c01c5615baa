"""Sample weights and class weights."""

import copy
from functools import partial

import numpy as np
import pytest
from common import EXACT, SNGP_FORMS, assert_valid_predictions, fitted_attributes
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import AdaBoostClassifier
from sklearn.utils.class_weight import compute_sample_weight

from sksngp import MCDropoutClassifier, ResNetClassifier, SNGPClassifier
from sksngp._data import streamed_rows
from sksngp._data.sample_weight import are_counts, effective_weights
from sksngp._data.validation import check_training_samples


def assert_weight_is_repetition(make, data, outputs):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = make().fit(X, y, sample_weight=weights)
    repeated = make().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    # Flags, in the last column, may differ if a score is at the threshold.
    assert_allclose(
        outputs(weighted, X)[:, :-1], outputs(repeated, X)[:, :-1], atol=1e-8
    )
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_)


@pytest.mark.slow
def test_weight_is_repetition(make, iris, outputs):
    assert_weight_is_repetition(lambda: make(**EXACT), iris, outputs)


@pytest.mark.slow
def test_weight_is_repetition_with_early_stopping(small, iris, outputs):
    assert_weight_is_repetition(
        lambda: small(SNGPClassifier, **EXACT, early_stopping=True), iris, outputs
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_weight_is_repetition_in_each_posterior(small, moons, outputs, form):
    assert_weight_is_repetition(
        lambda: small(SNGPClassifier, **EXACT, **form), moons, outputs
    )


def test_weight_zero_is_removal(make_two, moons, outputs):
    X, y = moons
    weights = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weights > 0
    weighted = make_two().fit(X, y, sample_weight=weights)
    removed = make_two().fit(X[kept], y[kept])
    assert_array_equal(outputs(weighted, X), outputs(removed, X))
    weighted.partial_fit(X, y, sample_weight=weights)
    removed.partial_fit(X[kept], y[kept])
    assert_allclose(outputs(weighted, X), outputs(removed, X), atol=1e-6)


def test_samples_of_weight_zero_may_have_an_unknown_class(fitted_two, moons, outputs):
    X, y = moons
    clf, expected = (copy.deepcopy(fitted_two) for _ in range(2))
    clf.partial_fit(X, np.where(X[:, 0] > 1, 7, y), sample_weight=X[:, 0] <= 1)
    expected.partial_fit(X[X[:, 0] <= 1], y[X[:, 0] <= 1])
    assert_array_equal(outputs(clf, X), outputs(expected, X))


# Importances


def survey_weights(size):
    return np.random.default_rng(0).uniform(0.2, 5.0, size)


def test_unit_of_importances_has_no_effect(make_two, moons, outputs):
    X, y = moons
    weights = survey_weights(len(y))
    expected = make_two().fit(X, y, sample_weight=weights)
    for unit in (1e-300, 1e100 / 5):
        clf = make_two().fit(X, y, sample_weight=unit * weights)
        assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-5)
        assert_allclose(clf.loss_curve_, expected.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_unit_of_importances_in_each_posterior(small, moons, outputs, form):
    X, y = moons
    clf = small(SNGPClassifier, **form).fit(X, y)
    weighted = small(SNGPClassifier, **form).fit(X, y, np.full(len(y), 1 / len(y)))
    assert_allclose(outputs(weighted, X), outputs(clf, X), atol=1e-6)


def test_equal_importances_have_no_effect(make_two, fitted_two, moons, outputs):
    X, y = moons
    for weighted in (
        make_two().fit(X, y, sample_weight=np.full(len(y), 1 / len(y))),
        make_two(class_weight={0: 1e-3, 1: 1e-3}).fit(X, y),
        make_two(class_weight={0: 1000, 1: 1000}).fit(X, y),
    ):
        assert_allclose(outputs(weighted, X), outputs(fitted_two, X), atol=1e-6)


def test_unit_of_importances_in_a_stream(make_two, moons, outputs):
    X, y = moons
    weights = survey_weights(len(y))
    first, second = make_two(), make_two()
    for part in (slice(0, 60), slice(60, 61), slice(61, 200)):
        first.partial_fit(X[part], y[part], [0, 1], weights[part])
        second.partial_fit(X[part], y[part], [0, 1], 1e-3 * weights[part])
    assert_allclose(outputs(second, X), outputs(first, X), atol=1e-4)


def test_importances_keep_their_unit_in_a_stream():
    """A later batch of twice the weights weighs more, and a single sample counts."""
    clf = MCDropoutClassifier()
    X, y = np.zeros((4, 1)), np.arange(4) % 2
    check = partial(
        check_training_samples, clf, known_classes=np.arange(2), streaming=True
    )
    weights = [
        check(X, y, [0.5] * 4, reset=True)[2],
        check(X, y, [1.5] * 4, reset=False)[2],
        check(X[:1], y[:1], [3.0], reset=False)[2],  # an integer among importances
        check(X[:1], y[:1], None, reset=False)[2],
    ]
    expected = [
        [1.0] * 4,
        [3.0] * 4,
        [6.0],
        [22 / 9],
    ]  # the last sample has the mean weight
    for found, wanted in zip(weights, expected, strict=True):
        assert_allclose(found, wanted)


@pytest.mark.parametrize("first", [None, 1.0, 0.999])
def test_low_importances_after_counts_or_no_weights(small, moons, first):
    """The batch with low weights has wrong labels and must have little effect."""
    X, y = moons
    X, y = X[:200], y[:200]
    weights = first if first is None else np.full(100, first)
    clf = small(SNGPClassifier, epochs=20).partial_fit(
        X[:100], y[:100], [0, 1], weights
    )
    clf.partial_fit(X[100:], 1 - y[100:], sample_weight=np.full(100, 1e-3))
    assert clf.score(X, y) > 0.9


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("Classifier", [SNGPClassifier, ResNetClassifier])
def test_low_importances_after_a_fit(small, moons, monkeypatch, Classifier, in_memory):
    if not in_memory:
        monkeypatch.setattr(streamed_rows, "IN_MEMORY_BYTES", 50 * 16 * 4)
    X, y = moons
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.5, len(y))
    clf = small(Classifier, epochs=30).fit(X, y, sample_weight=weights)
    before = clf.score(X, y)
    for _ in range(10):
        clf.partial_fit(X, 1 - y, sample_weight=1e-6 * weights)
    assert clf.score(X, y) > before - 0.02
    for _ in range(30):
        clf.partial_fit(X, 1 - y, sample_weight=weights)
    assert clf.score(X, y) < before - 0.1


def test_counts_with_class_weights_keep_their_sum(moons):
    X, y = moons
    counts = 1.0 + (X[:, 0] > 0)
    clf = MCDropoutClassifier(class_weight={0: 1.0, 1: 5.0})
    _, labels, weights, _, _, found = check_training_samples(
        clf, X, y, counts, known_classes=None, reset=True
    )
    assert_array_equal(found, counts)
    assert_allclose(weights.sum(), counts.sum())
    importances = weights / counts
    assert_allclose(importances, importances[labels == 0][0] * np.where(labels, 5, 1))


@pytest.mark.slow
def test_boosting(small, moons):
    """AdaBoost passes weights that sum to 1."""
    X, y = moons
    clf = AdaBoostClassifier(
        small(SNGPClassifier, epochs=20, num_inducing=256), n_estimators=3
    ).fit(X, y)
    for member in clf.estimators_:
        assert member.predict_proba(X).max(axis=1).mean() > 0.8


# Counts


def test_large_integers_are_counts_with_a_warning(make_two, moons):
    X, y = moons
    weights = np.full(len(y), 12)
    with pytest.warns(UserWarning, match="mean above 10") as caught:
        clf = make_two().fit(X, y, sample_weight=weights)
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.warns(UserWarning, match="mean above 10") as caught:
        clf.partial_fit(X, y, sample_weight=weights)
    assert {warning.filename for warning in caught} == {__file__}
    assert clf._weight_totals[:3] == (2 * weights.sum(), 2 * weights.sum(), True)


def test_counts_make_the_classifier_more_certain(small, moons):
    X, y = moons
    once, often = (
        small(SNGPClassifier).fit(X, y, sample_weight=np.full(len(y), count))
        for count in (1, 9)
    )
    found, expected = (
        clf.predict_uncertainty(X, kind="epistemic").mean() for clf in (often, once)
    )
    assert found < 0.5 * expected


def test_integers_beyond_the_precision_of_floats_are_importances():
    assert are_counts(np.array([0.0, 2.0**53]))
    assert not are_counts(np.array([0.0, 2.0**54]))
    assert not are_counts(np.array([0.0, 0.5]))


# Effective number of samples


def test_effective_weights_of_counts_are_the_counts():
    counts = np.array([1.0, 4.0, 2.0])
    assert_array_equal(effective_weights(counts, counts), counts)


def test_effective_weights_have_no_unit():
    weights = survey_weights(50)
    found = effective_weights(1e3 * weights, np.ones(50))
    assert_allclose(found, effective_weights(weights, np.ones(50)))
    assert_allclose(found.sum(), weights.sum() ** 2 / (weights @ weights))


def test_effective_weights_of_counts_and_importances_are_those_of_repetitions():
    counts, importances = np.array([1.0, 3.0, 2.0]), np.array([0.5, 2.0, 1.0])
    found = effective_weights(counts * importances, counts)
    repeated = np.repeat(importances, counts.astype(int))
    expected = effective_weights(repeated, np.ones(6))
    assert_allclose(found, np.add.reduceat(expected, [0, 1, 4]))


@pytest.mark.parametrize("positives", [8, 15])
def test_few_heavy_samples_do_not_determine_the_temperature(make_two, positives):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(1500, 6)), np.arange(1500) < positives
    X[y] += 1.5
    clf = make_two(class_weight="balanced", epochs=20, learning_rate=3e-3).fit(X, y)
    assert 0.6 < clf.temperature_ < 1.6


# Class weights


@pytest.mark.parametrize(
    ("class_weight", "weigh"),
    [
        ({"no": 1.0, "yes": 5.0}, lambda y: np.where(y == "yes", 5.0, 1.0)),
        ({"yes": np.float32(0.5)}, lambda y: np.where(y == "yes", 0.5, 1.0)),
        ("balanced", lambda y: compute_sample_weight("balanced", y)),
    ],
    ids=["all classes", "one class", "balanced"],
)
def test_class_weight_is_sample_weight(
    make_resnet, moons, outputs, class_weight, weigh
):
    X, y = moons[0][:150], np.where(moons[1][:150] * np.arange(150) % 3, "no", "yes")
    clf = make_resnet(class_weight=class_weight).fit(X, y)
    weights = weigh(y) / 5  # importances rather than counts
    expected = make_resnet().fit(X, y, sample_weight=weights)
    assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)
    assert (outputs(clf, X) != outputs(make_resnet().fit(X, y), X)).any()
    if class_weight != "balanced":
        clf.partial_fit(X, y)
        expected.partial_fit(X, y, sample_weight=weights)
        assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)


def test_class_weight_multiplies_sample_weight(make_two, moons, outputs):
    X, y = moons
    weights = survey_weights(len(y))
    clf = make_two(class_weight={0: 2.0, 1: 0.5}).fit(X, y, sample_weight=weights)
    expected = make_two().fit(X, y, sample_weight=weights * np.where(y, 0.5, 2.0))
    assert_allclose(outputs(clf, X), outputs(expected, X), atol=1e-6)


def test_balanced_with_a_missing_class(make_resnet, iris):
    X, y = iris
    clf = make_resnet(class_weight="balanced", warm_start=True)
    assert_valid_predictions(clf.fit(X, y, sample_weight=y > 0), X)
    assert_valid_predictions(clf.fit(X[y > 0], y[y > 0]), X)


def test_class_weight_zero_removes_the_class(make, iris):
    X, y = iris
    clf = make(class_weight={0: 0.0, 1: 1.0, 2: 1.0}, epochs=40, learning_rate=0.01)
    assert_valid_predictions(clf.fit(X, y), X)
    assert not (clf.predict(X[y > 0]) == 0).any()


@pytest.mark.parametrize(
    "class_weight",
    [
        {0: -1.0},
        {0: np.nan},
        {0: np.inf},
        {0: 1e308},
        {0: "heavy"},
        {0: None},
        {0: 0.0},
        {0: 0.0, 1: 0.0},
        {0: 1.0, 2: 1.0},
    ],
    ids=str,
)
def test_invalid_class_weight(make_two, moons, no_training, class_weight):
    clf = make_two(class_weight=class_weight)
    with pytest.raises(ValueError, match="class_weight"):
        clf.fit(*moons)
    assert not fitted_attributes(clf)


def test_class_weight_that_removes_a_whole_batch(make_two, moons):
    X, y = moons
    clf = make_two(class_weight={0: 0.0, 2: 1.0})
    clf.partial_fit(X, y * 2 - (X[:, 0] > 1) * y, classes=[0, 1, 2])
    with pytest.raises(
        ValueError, match=r"At least 1 of the classes in y .* got 0 with class_weight="
    ):
        clf.partial_fit(X[y == 0], y[y == 0])
    assert clf.partial_fit(X[y == 1], y[y == 1]).n_iter_ == 2


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_class_weights_do_not_depend_on_the_order_of_a_stream(
    make_resnet, moons, order
):
    X, y = moons
    clf = make_resnet(class_weight={0: 1.0, 1: 3.0})
    for label in order:
        clf.partial_fit(X[y == label], y[y == label], classes=[0, 1])
    _, labels, weights = clf._stream.remembered()
    assert_allclose(
        weights[labels == 1].mean(), 3 * weights[labels == 0].mean(), rtol=0.05
    )
    assert_allclose(weights[labels == 0].mean(), 0.5, rtol=0.05)  # their mean is one
