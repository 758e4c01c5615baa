"""Saved classifiers that lack parameters of later versions."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sksngp import ResNetClassifier, SNGPClassifier, persistence
from sksngp._networks import custom_function
from sksngp.persistence import load, save


def test_missing_parameters_get_their_defaults(
    fitted_on_moons, moons, tmp_path, monkeypatch
):
    clf = copy.deepcopy(fitted_on_moons(SNGPClassifier))
    expected = clf.predict_proba(moons[0])
    del clf.image_shape, clf.network
    with monkeypatch.context() as older:  # versions that lacked these parameters
        older.setattr(persistence, "_check_objects", lambda model: None)
        save(clf, tmp_path / "model")
    for same in (load(tmp_path / "model"), pickle.loads(pickle.dumps(clf))):
        assert same.network == "resnet" and same.image_shape is None
        assert_array_equal(same.predict_proba(moons[0]), expected)


def with_former_names(clf):
    """Return a classifier with the attributes of versions without `HoldOut`."""
    older = copy.copy(clf)
    state, rule = vars(older), vars(older).pop("_hold_out")
    state |= {"_split": rule.key, "_cutoffs": rule.cutoffs}
    for name, hashes in (
        ("_held_out_of_stream", rule.held_out),
        ("_cross_fitted", rule.trained),
    ):
        state[name] = hashes if len(hashes) else None
    state["_settled_as"] = state.pop("_fixed_params")
    if "_ood_score_hashes" in state:
        state["_ood_rows"] = state.pop("_ood_score_hashes")
    return older


@pytest.mark.parametrize("train", ["fit", "partial_fit", "both"])
@pytest.mark.parametrize("Classifier", [ResNetClassifier, SNGPClassifier])
def test_attributes_of_earlier_versions(small, moons, train, Classifier):
    X, y = moons
    clf = small(Classifier, warm_start=True)
    if Classifier is SNGPClassifier:
        clf.set_params(ridge_penalty=0.2)  # a number in earlier versions
    if train != "fit":
        clf.partial_fit(X[:150], y[:150], classes=[0, 1])
    if train != "partial_fit":
        clf.fit(X, y)
    former = with_former_names(clf)
    vars(former).pop("ridge_penalty_", None)
    same = pickle.loads(pickle.dumps(former))
    assert vars(same).keys() == vars(clf).keys()
    assert_array_equal(same.predict_proba(X), clf.predict_proba(X))
    for model in (same, clf):
        model.fit(X, y)
    assert_array_equal(same._ood_score_hashes, clf._ood_score_hashes)
    assert_array_equal(same.ood_scores_, clf.ood_scores_)


def test_fields_of_custom_networks_of_earlier_versions():
    function = custom_function.NetworkFunction(str, (3,))
    description = {"num_normalised": 2, "unnormalised": ("a Dense",)}
    description |= dict.fromkeys(("num_features", "row_floats", "widest_floats"), 1)
    description |= {"num_weights": 1, "structure": "", "code": None}
    older = custom_function.Body.__new__(custom_function.Body)
    older.__setstate__({**function.__getstate__(), "description": description})
    assert older.description.num_normalized == 2
    assert older.description.unnormalized == ("a Dense",)
    state = {"_split": 1, "_cutoffs": np.zeros(2, np.uint64)}
    state["architecture_"] = {"body": older, "normalised": False}
    clf = SNGPClassifier()
    clf.__setstate__({**vars(clf), **state})
    assert clf.architecture_ == {"function": older, "normalized": False}
