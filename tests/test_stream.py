"""Incremental training with partial_fit."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from common import (
    EXACT,
    assert_valid_predictions,
    fitted_attributes,
    stream,
)
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import ResNetClassifier, SNGPClassifier, _stream_derived, _stream_state
from sksngp._data import stream_memory
from sksngp.exceptions import FewSamplesWarning


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
        ({}, {"classes": [0]}, r"must be among the classes \[0\], got \[1\]"),
        ({}, {"classes": [1, 2]}, r"must be among the classes \[1, 2\], got \[0\]"),
        ({}, {"classes": ["a", "b"]}, "classes"),
        ({}, {"classes": {0, 1}}, r"classes must be an array of labels, got \{0, 1\}"),
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


def test_parameters_are_validated_in_each_call(one_of_four, small, moons, outputs):
    X, y = moons
    clf = small(one_of_four).partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    for name, value in (("learning_rate", -1.0), ("batch_size", 0), ("ood_alpha", 2)):
        valid = clf.get_params()[name]
        with pytest.raises(ValueError, match=f"The {name!r} parameter of"):
            clf.set_params(**{name: value}).partial_fit(X, y)
        clf.set_params(**{name: valid})
    assert_array_equal(outputs(clf, X), before)


def test_invalid_later_batch(make_two, moons, outputs):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=[0, 1])
    before = outputs(clf, X)
    with pytest.raises(ValueError, match=r"classes=\[0, 2\] differs from"):
        clf.partial_fit(X, y, classes=[0, 2])
    with pytest.raises(
        ValueError, match=r"must be among the classes \[0, 1\], got \[2, 5\]"
    ):
        clf.partial_fit(X[:3], [5, 0, 2])
    with pytest.raises(ValueError, match=r"X has 3 features.*expecting 2"):
        clf.partial_fit(np.ones((4, 3)), y[:4])
    with pytest.raises(
        ValueError, match=r"cannot be continued .*num_hidden=8 instead of 16"
    ):
        clf.set_params(num_hidden=8).partial_fit(X, y)
    clf.set_params(num_hidden=16, standardize=False)
    with pytest.raises(ValueError, match=r"standardize=False instead of True"):
        clf.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"standardize=False instead of True"):
        clf.set_params(warm_start=True).fit(X, y)
    clf.set_params(standardize=True, warm_start=False)
    assert_array_equal(outputs(clf, X), before)
    clf.partial_fit(X[:10], y[:10], classes=[1, 0]).partial_fit(X[y == 0], y[y == 0])
    assert clf.n_iter_ == 3


# What is kept between calls


def test_memory_is_bounded(make_two, monkeypatch):
    monkeypatch.setattr(stream_memory, "MAX_SAMPLES", 60)
    monkeypatch.setattr(_stream_derived, "STREAM_SCORES", 35)
    monkeypatch.setattr(_stream_state, "MAX_SAMPLES_AT_START", 30)
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


def test_held_out_samples_do_not_depend_on_the_batches(make_resnet, moons):
    X, y = moons
    hashes = []
    for size in (7, 40, 200):
        state = stream(make_resnet(), X, y, size, [0, 1])._stream
        found = state.held_out.hashes
        if (waiting := state.waiting) is not None:
            found = np.append(found, waiting.hashes[waiting.held_out])
        hashes.append(np.sort(found))
    assert_array_equal(hashes[0], hashes[1])
    assert_array_equal(hashes[0], hashes[2])
    assert len(hashes[0]) >= 19


def test_early_samples_stay_on_their_side_without_the_memory(make_resnet, moons):
    """More of them are held out, and the first model requires all classes."""
    X, y = moons
    clf = stream(make_resnet(), X, y, 40, [0, 1])
    hashes = clf._hold_out.digests(X)
    held_out = np.isin(hashes, clf._stream.held_out.hashes)
    assert_array_equal(clf._hold_out.mask(hashes, y.astype(np.int32)), held_out)


def test_a_copy_goes_on_with_the_samples_that_wait(make_two, moons, outputs):
    X, y = moons
    clf = stream(make_two(), X[:103], y[:103], 100, [0, 1])
    assert len(clf._stream.waiting.labels) == 3
    same = pickle.loads(pickle.dumps(clf))
    assert_array_equal(outputs(same, X), outputs(clf, X))
    for model in (clf, same):
        model.partial_fit(X[103:], y[103:])
    assert_array_equal(outputs(same, X), outputs(clf, X))


def test_fit_after_a_stream_starts_anew(make_resnet, moons, outputs):
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
    assert found[0].filename == stream.__code__.co_filename


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
    assert result.stderr.count("predict_ood will not flag any sample") == 1


def test_a_pickled_stream_goes_on(make_two, moons, outputs):
    X, y = moons
    clf = make_two().partial_fit(X[:100], y[:100], classes=[0, 1])
    same = pickle.loads(pickle.dumps(clf))
    for model in (clf, same):
        model.partial_fit(X[100:], y[100:])
    assert_array_equal(outputs(same, X), outputs(clf, X))


def test_a_buffer_may_be_used_again(make_resnet, moons):
    """Rows that wait must not change with the array that they came in."""
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


@pytest.mark.parametrize("seed", range(5))
def test_the_most_frequent_value_is_learned(small, seed):
    """A sensor that is idle most of the time repeats one sample, here of class 0."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 200)
    X = rng.normal(size=(200, 3)) + 3.0 * y[:, None]
    idle = np.array([3.0, 0.0, 0.0])
    order = rng.permutation(500)
    X = np.concatenate([X, np.tile(idle, (300, 1))])[order]
    y = np.append(y, np.zeros(300, int))[order]
    clf = small(ResNetClassifier, num_layers=2, random_state=seed)
    for start in range(0, 500, 25):
        part = slice(start, start + 25)
        clf.partial_fit(X[part], y[part], classes=[0, 1])
    assert clf.predict([idle]) == 0
    assert clf.score(X, y) > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_the_first_sample_of_a_later_class_is_used_for_training(small, moons, seed):
    X, y = moons
    clf = small(ResNetClassifier, random_state=seed)
    clf.partial_fit(X[y == 0][:60], np.zeros(60, int), classes=[0, 1])
    clf.partial_fit(X[y == 1][:1], [1])
    clf.partial_fit(X[y == 0][60:100], np.zeros(40, int))
    assert 1 in clf._stream.memory.labels


def test_a_frequent_value_with_two_labels_is_on_one_side(small, moons):
    X, y = moons
    clf = small(ResNetClassifier, random_state=0).partial_fit(X[:100], y[:100], [0, 1])
    value = clf._stream.held_out.X[:1]
    labels = np.append(np.zeros(20, int), 1)  # the second label is rare
    clf.partial_fit(np.repeat(value, 21, axis=0), labels)
    state = clf._stream
    assert not np.isin(state.held_out.hashes, state.memory.hashes).any()
    assert (state.memory.X == value).all(axis=1).sum() == 2
