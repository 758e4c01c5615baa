"""Early stopping, validation scores and the progress bar."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sksngp import ResNetClassifier, SNGPClassifier
from sksngp._networks.dense_architecture import project_spectral_norm
from sksngp._tensorflow import training


@pytest.fixture
def recorded(monkeypatch):
    """Record the calls of `training.train` and the returned values."""
    calls, train = [], training.train

    def record(compiled, rows, learning_rates, **kwargs):
        returned = train(compiled, rows, learning_rates, **kwargs)
        calls.append((compiled, kwargs["validation"], *returned))
        return returned

    monkeypatch.setattr(training, "train", record)
    return calls


def test_weights_of_the_best_epoch_are_kept(make, moons, recorded):
    X, y = moons
    patience = 4
    clf = make(
        early_stopping=True, n_iter_no_change=patience, epochs=500, learning_rate=0.1
    )
    if isinstance(clf, SNGPClassifier):  # otherwise, it changes after training
        clf.set_params(kernel_scale=1.0)
    clf.fit(X, y)
    scores = clf.validation_scores_
    assert clf.n_iter_ == len(scores) == len(clf.loss_curve_) < 500
    assert clf.n_iter_ == np.argmax(scores) + 1 + patience
    assert scores[-1] < max(scores)

    [(compiled, validation, weights, _)] = recorded
    assert 0.1 * len(y) <= len(validation.labels) <= 0.15 * len(y)
    compiled.load(weights)
    assert training.validation_score(compiled, validation) == max(scores)
    if isinstance(clf, SNGPClassifier):
        weights = project_spectral_norm(weights, clf.spec_norm_bound)
    for name, array in clf.weights_.items():
        # The output of SNGP is computed after training.
        if not (isinstance(clf, SNGPClassifier) and name.startswith("output")):
            assert_array_equal(array, weights[name])


def test_score_is_the_log_likelihood_of_the_held_out_samples(small, moons):
    X, y = moons
    clf = small(
        ResNetClassifier,
        early_stopping=True,
        temperature=1.0,
        epochs=50,
        dtype="float64",
    )
    log_likelihood = clf.fit(X, y).predict_log_proba(X)[np.arange(len(y)), y]
    held_out = np.isin(clf.predict_uncertainty(X).round(9), clf.ood_scores_.round(9))
    assert held_out.sum() == len(clf.ood_scores_)
    found = log_likelihood[held_out].mean()
    assert found == pytest.approx(max(clf.validation_scores_))


def test_all_epochs_run_without_early_stopping(make_two, moons):
    clf = make_two(n_iter_no_change=1, epochs=12).fit(*moons)
    assert clf.n_iter_ == len(clf.loss_curve_) == 12
    assert clf.validation_scores_ is None


def test_validation_samples_are_required(make_two, moons, no_training):
    with pytest.raises(
        ValueError,
        match=r"early_stopping=True.*validation_fraction must be in .0, 1., got 0",
    ):
        make_two(early_stopping=True, validation_fraction=0).fit(*moons)
    with pytest.raises(ValueError, match=r"early_stopping=True.*only unique sample"):
        make_two(early_stopping=True).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose(make_two, moons, capsys, early_stopping):
    clf = make_two(verbose=1, early_stopping=early_stopping).fit(*moons)
    out, err = capsys.readouterr()
    assert out == ""
    assert "5/5" in err and "epoch" in err
    assert f"loss={clf.loss_curve_[-1]:.4f}" in err
    assert ("validation=" in err) == early_stopping
    clf.set_params(verbose=0).fit(*moons)
    assert capsys.readouterr() == ("", "")
