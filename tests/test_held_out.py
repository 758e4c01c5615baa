"""Samples that are held out by fits and streams."""

from unittest.mock import patch

import numpy as np
import pytest
from common import assert_valid_predictions

from sksngp import ResNetClassifier
from sksngp._data.holdout import MAX_HELD_OUT_FRACTION
from sksngp._tensorflow import training


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_held_out_samples_are_not_trained_on(make, moons, method):
    X, y = moons
    clf = make(epochs=1)
    with patch.object(training, "train", wraps=training.train) as train:
        clf.partial_fit(X, y, classes=[0, 1]) if method != "fit" else clf.fit(X, y)
    rows = train.call_args.args[1]
    assert len(clf.ood_scores_) == len(X) - len(rows.labels) >= 19


def test_early_stopping_keeps_the_threshold(make_resnet, moons):
    X, y = moons
    clf = make_resnet(early_stopping=True).fit(X[:150], y[:150])
    assert len(clf.ood_scores_) >= 19
    assert np.isfinite(clf.ood_threshold_)
    # Too few samples for a threshold, but enough for early stopping.
    with pytest.warns(UserWarning, match="not flag any sample"):
        assert make_resnet(early_stopping=True).fit(X[:40], y[:40]).n_iter_ > 0


@pytest.mark.slow
def test_first_batch_trains_on_the_samples_with_weight(make_resnet, moons):
    X, y = moons
    for row in range(20):  # one in ten would otherwise be held out
        weight = np.zeros(40)
        weight[[row, np.flatnonzero(y[:40] != y[row])[0]]] = 1
        clf = make_resnet().partial_fit(X[:40], y[:40], [0, 1], sample_weight=weight)
        assert clf.n_iter_ == 1
        assert_valid_predictions(clf, X)


FURTHER_TRAINING = {
    "same samples": lambda clf, X, y: [clf.fit(X, y), clf.fit(X, y)],
    "more samples": lambda clf, X, y: [clf.fit(X[:120], y[:120]), clf.fit(X, y)],
    "fewer samples": lambda clf, X, y: [clf.fit(X, y), clf.fit(X[:120], y[:120])],
    "other fraction": lambda clf, X, y: [
        clf.fit(X, y),
        clf.set_params(validation_fraction=0.4, ood_alpha=0.01).fit(X, y),
    ],
    "partial_fit after fit": lambda clf, X, y: [
        clf.fit(X, y),
        *(clf.partial_fit(X[part], y[part]) for part in np.arange(200).reshape(4, 50)),
    ],
    "fit after partial_fit": lambda clf, X, y: [
        clf.partial_fit(X[:100], y[:100], classes=[0, 1]),
        clf.fit(X, y),
    ],
    "epochs of partial_fit": lambda clf, X, y: [
        clf.partial_fit(X[part], y[part], classes=[0, 1])
        for seed in range(3)
        for part in np.random.default_rng(seed).permutation(200).reshape(4, 50)
    ],
}


@pytest.mark.parametrize("random_state", [None, 0, "instance"])
@pytest.mark.parametrize("train", FURTHER_TRAINING.values(), ids=FURTHER_TRAINING)
def test_held_out_samples_stay_held_out(
    make_resnet, moons, monkeypatch, train, random_state
):
    if random_state == "instance":
        random_state = np.random.RandomState(0)
    clf = make_resnet(epochs=1, warm_start=True, random_state=random_state)
    trained, held = set(), set()
    projected = [trained]
    project, project_any, learn = (
        getattr(ResNetClassifier, name)
        for name in ("_project", "_project_any", "_learn")
    )

    def record(self, X, labels, weights, mask=None):
        projected[-1].update(row.tobytes() for row in (X if mask is None else X[mask]))
        return project(self, X, labels, weights, mask)

    def record_any(self, *args):
        projected.append(held)
        result = project_any(self, *args)
        projected.pop()
        return result

    def record_stream(self, *args):
        state = learn(self, *args)
        held.update(row.tobytes() for row in state.held_out.X)
        return state

    monkeypatch.setattr(ResNetClassifier, "_project", record)
    monkeypatch.setattr(ResNetClassifier, "_project_any", record_any)
    monkeypatch.setattr(ResNetClassifier, "_learn", record_stream)
    train(clf, *moons)
    assert len(held) >= 10
    assert not trained & held


@pytest.mark.parametrize("weighted", [False, True])
def test_a_common_sample_is_not_held_out(make_resnet, weighted):
    """A sample that makes up a third of the data must not be flagged."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] > 0).astype(int)
    weights = np.ones(200)
    weights[0] = 100
    if not weighted:
        X, y, weights = (
            part.repeat(weights.astype(int), axis=0) for part in (X, y, weights)
        )
        weights = np.ones(len(y))
    for seed in range(12):  # with the first keys alone, some splits would hold it out
        clf = make_resnet(
            random_state=seed,
            epochs=1,
            num_layers=0,
            cv=None,
            validation_fraction=0.24,
        )
        clf.fit(X, y, sample_weight=weights)
        held_out = clf._hold_out.mask(clf._hold_out.digests(X), y)
        assert held_out.any()
        assert weights[held_out].sum() <= MAX_HELD_OUT_FRACTION * weights.sum()
