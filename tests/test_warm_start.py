"""Further training of a fitted classifier by fit with warm_start=True."""

import copy

import pytest
from numpy.testing import assert_array_equal


def test_training_continues(make, moons):
    X, y = moons
    clf = make(warm_start=True, epochs=15, learning_rate=0.01).fit(X, y)
    first = list(clf.loss_curve_)
    clf.fit(X, y)
    assert clf.n_iter_ == len(clf.loss_curve_) == 30
    assert clf.loss_curve_[:15] == first
    assert clf.loss_curve_[15] < 0.5 * (first[0] + first[-1])
    assert clf.loss_curve_[-1] < first[-1]
    assert clf.set_params(warm_start=False).fit(X, y).loss_curve_ == first


def test_training_continues_with_early_stopping(make_two, moons):
    clf = make_two(warm_start=True, early_stopping=True).fit(*moons)
    first = list(clf.validation_scores_)
    clf.fit(*moons)
    assert clf.n_iter_ == len(clf.loss_curve_) == len(clf.validation_scores_) == 10
    assert clf.validation_scores_[:5] == first


@pytest.mark.parametrize(
    "changed",
    [{"num_layers": 1}, {"num_hidden": 8}, {"optimizer": "sgd"}, {"dtype": "float64"}],
    ids=str,
)
def test_changed_network_is_rejected(fitted_two, moons, changed):
    clf = copy.deepcopy(fitted_two).set_params(warm_start=True, **changed)
    with pytest.raises(ValueError, match=rf"{next(iter(changed))}=.*warm_start=False"):
        clf.fit(*moons)


def test_data_that_do_not_match_are_rejected(fitted_two, moons):
    X, y = moons
    clf = copy.deepcopy(fitted_two).set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"labels in y must be among .* got \[2\]"):
        clf.fit(X, y + 1)
    with pytest.raises(ValueError, match=r"X has 1 features.*expecting 2"):
        clf.fit(X[:, :1], y)
    clf.fit(X[y == 1], y[y == 1])  # a class may be missing
    assert_array_equal(clf.classes_, [0, 1])
