"""Saved classifiers that lack parameters of later versions."""

import copy
import pickle

from numpy.testing import assert_array_equal

from sksngp import SNGPClassifier, persistence
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
