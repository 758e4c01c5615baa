import numpy as np
import pytest
from reference import forward
from scipy.special import softmax

from sksngp import DeepEnsembleClassifier, ResNetClassifier
from sksngp._data import holdout
from sksngp._uncertainty.entropy import KINDS, decompose


@pytest.fixture
def make(small):
    return lambda **params: small(
        DeepEnsembleClassifier, **{"dtype": "float64", **params}
    )


def member(clf, index):
    """Return the weights of one ensemble member as those of a single network."""
    return {
        name: (w[index, 0] if name.endswith("bias") else w[index]).astype(np.float64)
        for name, w in clf.weights_.items()
    }


def member_probabilities(clf, X):
    """Compute the softmax (M, n, K) of each ensemble member in NumPy."""
    logits = [
        forward(member(clf, index), rows)[1]
        for index, rows in enumerate(clf.projection_(X))
    ]
    return softmax(np.array(logits) / clf.temperature_, axis=-1)


@pytest.mark.parametrize("num_ensemble", [2, 5])
def test_prediction_is_the_average_of_the_members(make, iris, num_ensemble):
    X, y = iris
    clf = make(num_ensemble=num_ensemble).fit(X, y)
    samples = member_probabilities(clf, X)
    assert samples.shape == (num_ensemble, 150, 3)
    np.testing.assert_allclose(clf.predict_proba(X), samples.mean(axis=0), rtol=1e-10)
    for kind in KINDS:
        score = clf.predict_uncertainty(X, kind=kind)
        np.testing.assert_allclose(score, decompose(samples)[kind], atol=1e-12)


def test_members_are_independent_networks(make, iris):
    X, y = iris
    clf = make(num_ensemble=4, epochs=20, learning_rate=0.01).fit(X, y)
    for name, w in clf.weights_.items():
        assert len(w) == 4
        assert len(np.unique(w.reshape(4, -1), axis=0)) == 4, name
    assert len(np.unique(clf.projection_.kernel[:, 0, 0])) == 4
    assert (clf.predict_uncertainty(X, kind="epistemic") > 0).all()
    accuracy = (member_probabilities(clf, X).argmax(axis=-1) == y).mean(axis=1)
    assert accuracy.min() > 0.8  # each member is trained


def test_one_member_is_the_single_network(make, small, iris):
    X, y = iris
    one = make(num_ensemble=1).fit(X, y)
    single = small(ResNetClassifier, dtype="float64").fit(X, y)
    assert one.loss_curve_ == single.loss_curve_
    np.testing.assert_array_equal(one.predict_proba(X), single.predict_proba(X))
    np.testing.assert_allclose(
        one.predict_uncertainty(X, kind="epistemic"), 0, atol=1e-12
    )


def test_loss_is_the_mean_of_the_members(make, iris):
    X, y = iris
    clf = make(
        learning_rate=1e-30,
        dropout_rate=0.0,
        dtype="float64",
        epochs=2,
        validation_fraction=0.0,
    ).fit(X, y)
    likelihood = member_probabilities(clf, X)[:, np.arange(150), y]
    np.testing.assert_allclose(clf.loss_curve_, -np.log(likelihood).mean(), rtol=1e-10)


def test_early_stopping_scores_the_average_of_the_members(make, iris, monkeypatch):
    X, y = iris
    masks, choose = [], holdout.hold_out

    def record(*args, **kwargs):
        masks.append(choose(*args, **kwargs))
        return masks[-1]

    monkeypatch.setattr(holdout, "hold_out", record)
    clf = make(early_stopping=True, temperature=1.0, dtype="float64", epochs=20).fit(
        X, y
    )
    likelihood = member_probabilities(clf, X).mean(axis=0)[np.arange(150), y]
    best = np.log(likelihood[masks[0]]).mean()
    assert max(clf.validation_scores_) == pytest.approx(best, rel=1e-10)


def test_members_share_the_subspace_of_the_projection(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 40)) * 0.8 ** np.arange(40)
    clf = make(num_ensemble=3).fit(X, np.arange(90) % 3)
    first, *others = clf.projection_.kernel
    for kernel in others:
        np.testing.assert_allclose(kernel @ kernel.T, first @ first.T, atol=1e-10)
        assert not np.allclose(kernel, first)


def test_changed_number_of_networks_is_named(make, iris):
    clf = make(num_ensemble=2).fit(*iris).set_params(num_ensemble=3, warm_start=True)
    with pytest.raises(ValueError, match="num_ensemble=3 instead of 2"):
        clf.fit(*iris)
