"""Incremental training with partial_fit."""

import copy
import pickle
import subprocess
import sys
import warnings
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from common import (
    EXACT,
    SNGP_FORMS,
    assert_valid_predictions,
    fitted_attributes,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split

from sksngp import ResNetClassifier, SNGPClassifier, _stream
from sksngp._data import stream_memory
from sksngp._uncertainty import posterior
from sksngp.exceptions import FewSamplesWarning


@pytest.fixture(scope="module")
def make_resnet(small):
    """``make_resnet(**params)``: one class, for code that all classifiers inherit."""
    return partial(small, ResNetClassifier)


def test_batches_are_learned(make, moons):
    X, y = moons
    clf = make(learning_rate=0.03)
    for number in range(16):
        batch = slice(number % 4, None, 4)
        assert clf.partial_fit(X[batch], y[batch], classes=[1, 0]) is clf
        assert clf.n_iter_ == len(clf.loss_curve_) == number + 1
    assert_array_equal(clf.classes_, [0, 1])
    assert clf.score(X, y) > 0.9
    assert clf.loss_curve_[-1] < 0.5 * clf.loss_curve_[0]
    assert_valid_predictions(clf, X)


def test_standardization_follows_the_batches(make_resnet, iris):
    X, y = iris
    X = X * [1, 10, 100, 1000]
    clf = make_resnet(validation_fraction=0)
    for batch in np.array_split(np.random.default_rng(0).permutation(150), 4):
        clf.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
    assert_allclose(clf.projection_.scaler.mean_, X.mean(axis=0))
    assert_allclose(clf.projection_.scaler.scale_, X.std(axis=0))


def test_results_are_reproducible(make, moons, outputs):
    X, y = moons
    first, second, other = (make(random_state=seed) for seed in (0, 0, 1))
    for clf in (first, second, other):
        clf.partial_fit(X[:100], y[:100], classes=[0, 1]).partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(first, X), outputs(second, X))
    assert (outputs(first, X) != outputs(other, X)).any()


def test_batches_of_a_single_sample(make_two, moons):
    X, y = moons
    clf = make_two()
    for row in range(30):
        clf.partial_fit(X[[row]], y[[row]], classes=[0, 1])
        assert row > 3 or clf.n_iter_ > 0
    assert 10 < clf.n_iter_ == len(clf.loss_curve_) < 30
    assert 0 < len(clf.ood_scores_) < 15
    assert_valid_predictions(clf, X)


def test_partial_fit_after_fit(make, moons):
    X, y = moons
    clf = make().fit(X, y)
    loss = clf.loss_curve_[-1]
    clf.partial_fit(X, y)
    assert clf.n_iter_ == 6
    assert clf.loss_curve_[-1] < loss + 0.1


def test_posterior_of_batches_equals_that_of_all_samples(small, moons):
    """With constant weights, the posterior does not depend on the batches."""
    X, y = moons
    constant = {"learning_rate": 1e-30, "standardize": False, "kernel_scale": 1.0}
    whole, batches = (small(SNGPClassifier, **EXACT, **constant) for _ in range(2))
    whole.partial_fit(X, y, classes=[0, 1])
    for batch in np.array_split(np.arange(len(X)), 5):
        batches.partial_fit(X[batch], y[batch], classes=[0, 1])
    found, expected = (c.predict_uncertainty(X, "epistemic") for c in (batches, whole))
    assert_allclose(found, expected, rtol=1e-9)
    batches.partial_fit(X, y)
    assert (batches.predict_uncertainty(X, "epistemic") < expected).all()


def test_learning_rate_schedule_is_ignored(make_resnet, moons, outputs):
    X, y = moons
    constant, cosine = make_resnet(), make_resnet(learning_rate_schedule="cosine")
    for clf in (constant, cosine):
        clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert_array_equal(outputs(constant, X), outputs(cosine, X))


@pytest.mark.parametrize(
    ("params", "kwargs", "match"),
    [
        ({}, {}, "classes must be passed in the first"),
        ({}, {"classes": [0]}, "at least two classes|must be among"),
        ({}, {"classes": [1, 2]}, r"labels in y must be among .* got \[0\]"),
        ({}, {"classes": ["a", "b"]}, "classes"),
        ({"early_stopping": True}, {"classes": [0, 1]}, "early_stopping"),
        ({"class_weight": "balanced"}, {"classes": [0, 1]}, "class_weight='balanced'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_first_batch(make_two, moons, no_training, params, kwargs, match):
    clf = make_two(**params)
    with pytest.raises(ValueError, match=match):
        clf.partial_fit(*moons, **kwargs)
    assert not fitted_attributes(clf)


def test_invalid_later_batch(make_two, moons, outputs):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    with pytest.raises(ValueError, match=r"classes=\[0, 2\] differs from"):
        clf.partial_fit(X, y, classes=[0, 2])
    with pytest.raises(ValueError, match=r"labels in y must be among .* got \[2, 5\]"):
        clf.partial_fit(X[:3], [5, 0, 2])
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 2"):
        clf.partial_fit(np.ones((4, 3)), y[:4])
    with pytest.raises(ValueError, match="Training cannot be continued"):
        clf.set_params(num_hidden=8).partial_fit(X, y)
    assert_array_equal(outputs(clf.set_params(num_hidden=16), X), before)
    clf.partial_fit(X[:10], y[:10], classes=[1, 0]).partial_fit(X[y == 0], y[y == 0])
    assert clf.n_iter_ == 3


# Streams in any order


@pytest.fixture(scope="module")
def wine():
    """Return training samples, test samples and their labels."""
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)


def stream(clf, X, y, size, classes):
    for start in range(0, len(y), size):
        chunk = slice(start, start + size)
        clf.partial_fit(X[chunk], y[chunk], classes=classes)
    return clf


def order_of(name, X, y):
    """Order the samples of a stream, and add extreme samples."""
    order = np.random.default_rng(0).permutation(len(y))
    if name == "sorted":
        order = np.argsort(y, kind="stable")
    elif name == "one class first":
        order = np.append(np.flatnonzero(y == 1)[:30], order)
    X, y = X[order], y[order]
    if name == "wild":
        X[40:41] = 1e6
        X[80:81] = -1e9
    return X, y


@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("order", ["sorted", "one class first", "wild"])
def test_order_and_batch_sizes_have_little_effect(small, wine, order, size):
    X, X_test, y, y_test = wine
    clf = small(SNGPClassifier, num_inducing=256, learning_rate=3e-3)
    stream(clf, *order_of(order, X, y), size, [0, 1, 2])
    assert clf.score(X_test, y_test) >= 0.9
    assert clf.predict_ood(X.mean(0) + 10 * X.std(0) * np.eye(13)).mean() > 0.9
    assert clf.predict_ood(X_test).mean() < 0.2


@pytest.mark.parametrize("order", ["sorted", "wild"])
def test_each_class_learns_from_any_first_batch(make, wine, order):
    X, X_test, y, y_test = wine
    clf = make(learning_rate=0.01)
    stream(clf, *order_of(order, X, y), 10, [0, 1, 2])
    assert clf.score(X_test, y_test) >= 0.9


def test_classes_absent_from_the_first_batch_are_learned(small):
    X, y = load_digits(return_X_y=True)
    known = np.flatnonzero(y < 9)[:100]
    clf = small(SNGPClassifier, num_inducing=256, num_hidden=64, learning_rate=3e-3)
    clf.partial_fit(X[known], y[known], classes=range(10))
    assert clf.score(X[1300:], y[1300:]) > 0.5
    stream(clf, X[100:1300], y[100:1300], 200, range(10))
    nine = y[1300:] == 9
    assert clf.score(X[1300:][nine], y[1300:][nine]) > 0.85
    assert clf.score(X[1300:], y[1300:]) > 0.9


@pytest.mark.parametrize("form", SNGP_FORMS.values(), ids=SNGP_FORMS)
def test_streams_of_each_posterior(small, wine, form):
    X, X_test, y, y_test = wine
    clf = small(SNGPClassifier, num_inducing=128, learning_rate=3e-3, **form)
    stream(clf, *order_of("shuffled", X, y), 20, [0, 1, 2])
    assert clf.score(X_test, y_test) > 0.9
    assert_valid_predictions(clf, X_test)


def test_extreme_sample_after_a_fit(make_two, moons):
    X, y = moons
    clf = make_two(epochs=30, learning_rate=3e-3).fit(X, y)
    score, scale = clf.score(X, y), clf.projection_.scaler.scale_
    wild = np.array([[1e6, -1e9]])
    stream(clf, np.concatenate([wild, X]), np.append(0, y), 40, [0, 1])
    assert clf.score(X, y) > score - 0.05
    assert_allclose(clf.projection_.scaler.scale_, scale, rtol=0.5)


def test_wide_samples_one_at_a_time(small):
    """The directions of largest variance are not those of the first sample."""
    X, y = load_digits(return_X_y=True)
    clf = small(SNGPClassifier, num_inducing=256, num_hidden=64, learning_rate=3e-3)
    stream(clf, X[:250], y[:250], 1, range(10))
    assert clf.score(X[1300:], y[1300:]) > 0.6


# Stored state and lazy computations


def test_posterior_waits_for_a_prediction(small, moons):
    X, y = moons
    clf = small(SNGPClassifier)
    with patch.object(posterior, "factorize", wraps=posterior.factorize) as factorize:
        stream(clf, X, y, 20, [0, 1])
        assert factorize.call_count == 0
        twin = copy.copy(clf)
        proba = clf.predict_proba(X)
        clf.predict_ood(X)
        assert_array_equal(twin.predict_proba(X), proba)
        assert factorize.call_count == 1
        clf.partial_fit(X[:40] + 0.01, y[:40])
        assert factorize.call_count == 1
        assert (clf.predict_proba(X) != proba).any()
        assert factorize.call_count == 2
    assert_array_equal(twin.predict_proba(X), proba)


def test_an_interrupted_prediction_can_be_repeated(make_two, moons, monkeypatch):
    X, y = moons
    clf = stream(make_two(), X, y, 100, [0, 1])
    expected = copy.deepcopy(clf).predict_ood(X)
    with monkeypatch.context() as patched:
        patched.setattr(_stream.StreamMixin, "_finish_stream", None)
        patched.setattr(type(clf), "_finish_stream", None)
        with pytest.raises(TypeError):
            clf.predict_ood(X)
    assert_array_equal(clf.predict_ood(X), expected)


def test_memory_is_bounded(make_two, monkeypatch):
    monkeypatch.setattr(stream_memory, "MOST_ROWS", 60)
    monkeypatch.setattr(_stream, "STREAM_SCORES", 35)
    monkeypatch.setattr(_stream, "LAST_START", 30)
    rng = np.random.default_rng(0)
    clf, sizes = make_two(), []
    for _ in range(12):
        X = rng.normal(size=(40, 3))
        clf.partial_fit(X, X[:, 0] > 0, classes=[False, True])
        clf.loss_curve_ = []
        sizes.append(len(pickle.dumps(clf)))
    assert len(clf._stream.memory) <= 60
    assert len(clf.ood_scores_) == 35
    assert max(sizes[6:]) < 1.01 * sizes[6]


def test_held_out_samples_are_scored_by_the_latest_model(make, moons):
    X, y = moons
    clf = stream(make(), X, y, 50, [0, 1])
    held_out = clf._stream.held_out
    assert len(held_out) >= 19
    found = -clf.score_samples(held_out.X)
    if isinstance(clf, SNGPClassifier):  # each is compared with the others
        parts = clf._predict_valid(held_out.X, "ood parts")
        found = clf._combine_scores(parts, held_out.X)
    assert_allclose(clf.ood_scores_, found)


def test_held_out_samples_do_not_depend_on_the_batches(make_resnet, moons):
    X, y = moons
    hashes = []
    for size in (7, 40, 200):
        state = stream(make_resnet(), X, y, size, [0, 1])._stream
        waiting = [chunk[3][chunk[4]] for chunk in state.pending]
        hashes.append(np.sort(np.concatenate([state.held_out.hashes, *waiting])))
    assert_array_equal(hashes[0], hashes[1])
    assert_array_equal(hashes[0], hashes[2])
    assert len(hashes[0]) >= 19


def test_copy_continues_with_the_pending_samples(make_two, moons, outputs):
    X, y = moons
    clf = stream(make_two(), X[:103], y[:103], 100, [0, 1])
    assert clf._stream.pending
    same = pickle.loads(pickle.dumps(clf))
    assert_array_equal(outputs(same, X), outputs(clf, X))
    for model in (clf, same):
        model.partial_fit(X[103:], y[103:])
    assert_array_equal(outputs(same, X), outputs(clf, X))


def test_fit_after_a_stream_starts_from_scratch(make_resnet, moons, outputs):
    X, y = moons
    clf, new = stream(make_resnet(), X, y, 100, [0, 1]), make_resnet().fit(X, y)
    assert_array_equal(outputs(clf.fit(X, y), X), outputs(new, X))
    assert "_stream" not in vars(clf)


# Warnings


def test_a_stream_warns_once(make_resnet, moons):
    X, y = moons
    clf = make_resnet()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        stream(clf, X[:60], y[:60], 1, [0, 1])
        clf.predict_ood(X)
    assert [warning.category for warning in found] == [FewSamplesWarning]
    assert found[0].filename == __file__


@pytest.mark.slow
def test_a_search_prints_a_warning_once():
    code = """if True:
        from sklearn.datasets import load_iris
        from sklearn.model_selection import GridSearchCV
        from sksngp import ResNetClassifier

        X, y = load_iris(return_X_y=True)
        clf = ResNetClassifier(
            num_layers=1, epochs=1, cv=None, validation_fraction=0, random_state=0
        )
        GridSearchCV(clf, {"learning_rate": [1e-3, 1e-2]}, cv=4).fit(X, y)
        """
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr.count("predict_ood will flag no row") == 1


def test_pickled_stream_continues(make_two, moons, outputs):
    X, y = moons
    clf = make_two().partial_fit(X[:100], y[:100], classes=[0, 1])
    same = pickle.loads(pickle.dumps(clf))
    for model in (clf, same):
        model.partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(same, X), outputs(clf, X))


def test_input_buffer_may_be_reused(make_resnet, moons):
    """Samples that are stored must not change if the array of the user changes."""
    X, y = moons
    expected, clf = make_resnet(), make_resnet()
    row, label, weight = np.empty((1, 2)), np.empty(1, int), np.empty(1)
    for index in range(40):
        one = slice(index, index + 1)
        row[:], label[:], weight[:] = X[one], y[one], 1.0
        clf.partial_fit(row, label, classes=[0, 1], sample_weight=weight)
        expected.partial_fit(X[one], y[one], classes=[0, 1])
        row[:], weight[:] = 1e6, 0.0
    assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))


def test_parameters_set_after_training_take_effect_with_the_next_batch(
    small, moons, outputs
):
    X, y = moons
    clf, expected = (
        small(SNGPClassifier).partial_fit(X, y, classes=[0, 1]) for _ in range(2)
    )
    clf.set_params(num_inducing=17, ridge_penalty=100.0, ood_alpha=0.5)
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_streams_keep_small_false_positive_rates(monkeypatch, make_resnet):
    monkeypatch.setattr(_stream, "STREAM_SCORES", 30)
    rng = np.random.default_rng(0)
    clf = make_resnet(ood_alpha=0.02, epochs=1)
    for _ in range(4):
        X = rng.normal(size=(200, 2))
        clf.partial_fit(X, X[:, 0] > 0, classes=[False, True])
    assert np.isfinite(clf.ood_threshold_)
