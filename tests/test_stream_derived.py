"""What predictions compute after partial_fit, and the threshold of a stream."""

import copy
import warnings
from unittest.mock import patch

import numpy as np
import pytest
import tf_keras
from common import stream
from numpy.testing import assert_allclose, assert_array_equal

from sksngp import ResNetClassifier, SNGPClassifier, _stream_derived
from sksngp._uncertainty import posterior
from sksngp.exceptions import FewSamplesWarning


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
        patched.setattr(_stream_derived.StreamDerivedMixin, "_finish_stream", None)
        patched.setattr(type(clf), "_finish_stream", None)
        with pytest.raises(TypeError):
            clf.predict_ood(X)
    assert_array_equal(clf.predict_ood(X), expected)


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


def test_parameters_set_after_training_take_effect_with_the_next_batch(
    small, moons, outputs
):
    X, y = moons
    clf, expected = (
        small(SNGPClassifier).partial_fit(X, y, classes=[0, 1]) for _ in range(2)
    )
    clf.set_params(num_inducing=17, ridge_penalty=100.0, ood_alpha=0.5)
    assert_array_equal(outputs(clf, X), outputs(expected, X))


def test_small_rates_are_kept_by_streams(monkeypatch, small):
    monkeypatch.setattr(_stream_derived, "STREAM_SCORES", 30)
    rng = np.random.default_rng(0)
    clf = small(ResNetClassifier, ood_alpha=0.02, epochs=1)
    for _ in range(4):
        X = rng.normal(size=(200, 2))
        clf.partial_fit(X, X[:, 0] > 0, classes=[False, True])
    assert np.isfinite(clf.ood_threshold_)


def test_a_threshold_that_is_lost_is_reported_once(small, moons):
    X, y = moons
    clf = small(ResNetClassifier)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X + 0.1, y)
    assert np.isfinite(clf.ood_threshold_)
    clf.set_params(ood_alpha=1e-4)
    with pytest.warns(FewSamplesWarning, match="ood_alpha=0.0001 requires") as found:
        clf.partial_fit(X + 0.2, y)
        clf.partial_fit(X + 0.3, y)
    assert len(found) == 1
    assert found[0].filename == __file__
    assert np.isinf(clf.ood_threshold_)


def test_a_calibrated_threshold_that_a_stream_replaces_is_reported(small, moons):
    """Samples of `calibrate_ood` do not count in a stream, which needs its own."""
    X, y = moons
    clf = small(ResNetClassifier).fit(X, y).calibrate_ood(X)
    with pytest.warns(FewSamplesWarning, match="until more samples are passed"):
        clf.partial_fit(X[:20] + 0.1, y[:20])
    assert np.isinf(clf.ood_threshold_)


@pytest.mark.parametrize("Classifier", [ResNetClassifier, SNGPClassifier])
def test_predictions_do_not_change_training(small, moons, Classifier):
    X, y = moons
    silent, asked = small(Classifier), small(Classifier)
    for start in range(0, 200, 50):
        batch = slice(start, start + 50)
        silent.partial_fit(X[batch], y[batch], classes=[0, 1])
        asked.partial_fit(X[batch], y[batch], classes=[0, 1]).predict_ood(X)
    assert_array_equal(asked.predict_proba(X), silent.predict_proba(X))


def test_dense_networks_are_trained_further_before_a_prediction(small, moons, capfd):
    X, y = moons
    clf = small(ResNetClassifier, verbose=1).partial_fit(X, y, classes=[0, 1])
    trained, printed = clf._stream.trained["weights_"], capfd.readouterr().err
    steps = clf.n_iter_
    assert (clf.weights_["output/kernel"] != trained["output/kernel"]).any()
    assert clf.n_iter_ == steps and printed and not capfd.readouterr().err
    custom = small(ResNetClassifier, network=hidden_units)
    custom.partial_fit(X, y, classes=[0, 1])
    assert custom.weights_ is custom._stream.trained["weights_"]


def hidden_units(shape):
    inputs = tf_keras.Input(shape)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(8, "relu")(inputs))
