"""Saving and loading of models, and corrupted files."""

import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from common import CROSS_FITTED
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksngp import ResNetClassifier, SNGPClassifier, persistence
from sksngp.persistence import TRUSTED_TYPES, ModelFileError, load, save

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def saved(small, moons, tmp_path_factory):
    """Return the content of the file of a small model."""
    path = tmp_path_factory.mktemp("saved") / "model"
    save(small(SNGPClassifier, num_inducing=16, num_hidden=4).fit(*moons), path)
    return path.read_bytes()


def assert_rejected(tmp_path, data, match=None):
    path = tmp_path / "damaged"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=match):
        load(path)


def test_cross_fitted_model(small, iris, tmp_path, outputs):
    X, y = iris
    clf = small(SNGPClassifier, **CROSS_FITTED).fit(X, y)
    save(clf, tmp_path / "model")
    same = load(tmp_path / "model")
    assert_array_equal(outputs(same, X), outputs(clf, X))
    assert same.candidates_ == clf.candidates_
    assert same.num_layers_ == clf.num_layers_
    assert_array_equal(same.ood_scores_, clf.ood_scores_)


def test_loaded_model_equals_the_saved_one(make, iris, tmp_path, outputs):
    X, y = iris
    clf = make().fit(X, np.array(["a", "b", "ö"])[y])
    save(clf, tmp_path / "model")
    same = load(tmp_path / "model")
    assert type(same) is type(clf) and same.get_params() == clf.get_params()
    assert_array_equal(outputs(same, X), outputs(clf, X))
    assert_array_equal(same.predict(X), clf.predict(X))
    same.partial_fit(X, same.predict(X))  # training can be continued


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"covariance": "per_class", "inference": "monte_carlo"},
        {"cov_momentum": 0.9, "dtype": "float64"},
        {"standardize": False, "random_state": None, "num_layers": 0},
    ],
    ids=str,
)
def test_forms_of_the_posterior(small, iris, tmp_path, outputs, params):
    X, y = iris
    clf = small(SNGPClassifier, **params).fit(X, y)
    save(clf, tmp_path / "model")
    assert_array_equal(outputs(load(tmp_path / "model"), X), outputs(clf, X))


@pytest.mark.parametrize("file", sorted(DATA.glob("*.sksngp")), ids=lambda f: f.stem)
def test_files_of_every_format_are_loaded(iris, file):
    clf, X = load(file), iris[0][::10]
    predicted = json.loads(file.with_suffix(".json").read_text())
    np.testing.assert_allclose(clf.predict_proba(X), predicted["proba"], atol=1e-5)
    np.testing.assert_allclose(clf.ood_pvalue(X), predicted["pvalue"], atol=0.05)


def test_current_format_has_a_file():
    assert (DATA / f"format-{persistence.FORMAT}.sksngp").exists()


def test_changed_parameters_are_saved(small, iris, tmp_path):
    X, y = iris
    clf = small(SNGPClassifier).fit(X, y)
    clf.set_params(covariance="per_class", num_inducing=99, num_hidden=7)
    save(clf, tmp_path / "model")
    assert load(tmp_path / "model").covariance == "per_class"


def test_pipelines_searches_and_calibration(small, iris, tmp_path):
    X, y = iris
    clf = small(ResNetClassifier)
    for model in (
        make_pipeline(StandardScaler(), clf),
        GridSearchCV(clf, {"num_layers": [1, 2]}, cv=2),
        GridSearchCV(make_pipeline(StandardScaler(), clf), {}, cv=2),
        CalibratedClassifierCV(FrozenEstimator(small(ResNetClassifier).fit(X, y))),
    ):
        save(model.fit(X, y), tmp_path / "model")
        same = load(tmp_path / "model")
        assert_array_equal(same.predict_proba(X), model.predict_proba(X))


def test_unsupported_models_are_not_saved(make, moons, tmp_path):
    class Own(BaseEstimator):
        pass

    path = tmp_path / "model"
    for model, match in (
        (make(), "must contain a fitted classifier"),
        (LogisticRegression().fit(*moons), "must contain a fitted classifier"),
        (make().fit(*moons).set_params(random_state=Own()), "not trusted.*Own"),
    ):
        with pytest.raises(ModelFileError, match=match):
            save(model, path)
    assert not path.exists()


def test_skops_requires_only_the_trusted_types(make, moons):
    clf = make().fit(*moons)
    same = skops.io.loads(skops.io.dumps(clf), trusted=list(TRUSTED_TYPES))
    assert_array_equal(same.predict_proba(moons[0]), clf.predict_proba(moons[0]))


def test_other_file_types_are_rejected(tmp_path, saved):
    for data in (b"", b"\n", b"PK\x03\x04", b"sksngp model \n", saved[:10]):
        assert_rejected(tmp_path, data, "not a model")
    assert_rejected(
        tmp_path, saved.replace(b"model 3", b"model 4", 1), "between 1 and 3 .* got 4"
    )
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_truncated_files_are_rejected(tmp_path, saved):
    for length in [*range(64), *random.Random(0).sample(range(len(saved)), 50)]:
        assert_rejected(tmp_path, saved[:length])
    assert_rejected(tmp_path, saved + b"\0", "corrupted")


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_corrupted_files_are_rejected(saved, count):
    """Bytes are replaced, inserted or removed, or single bits are flipped."""
    rng = random.Random(0)
    for _ in range(count):
        data = bytearray(saved)
        for _ in range(rng.choice([1, 1, 2, 20])):
            # Half of the changes are in the header.
            place = rng.randrange(len(data) if rng.random() < 0.5 else 60)
            kind = rng.randrange(4)
            if kind == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data.insert(place, rng.randrange(256))
            elif kind == 2:
                del data[place]
            else:
                data[place] = rng.randrange(256)
        if bytes(data) != saved:
            with pytest.raises(ModelFileError):
                persistence._decode(bytes(data))


@pytest.mark.parametrize("version", [1, 2])
def test_a_changed_format_is_detected(saved, version):
    data = saved.replace(b"model 3", b"model %d" % version, 1)
    with pytest.raises(ModelFileError, match="hash does not match"):
        persistence._decode(data)


def sealed(saved, change):
    """Return the file with changed entries of its archive and a matching hash."""
    start = saved.index(b"\n") + 1 + persistence._HASH_BYTES
    archive, changed = zipfile.ZipFile(io.BytesIO(saved[start:])), io.BytesIO()
    with zipfile.ZipFile(changed, "w") as new:
        for name in archive.namelist():
            content = change(name, archive.read(name))
            if content is not None:
                new.writestr(name, content)
    body = changed.getvalue()
    return b"sksngp model %d\n" % persistence.FORMAT + persistence._hash(body) + body


def test_unchanged_archive_with_a_new_hash_is_a_model(saved):
    same = persistence._decode(sealed(saved, lambda name, content: content))
    assert isinstance(same, SNGPClassifier)


@settings(max_examples=60)
@given(st.data())
def test_forged_files_are_rejected_or_valid(saved, data):
    """Forging the hash allows changing numbers, but nothing else."""
    start = saved.index(b"\n") + 1 + persistence._HASH_BYTES
    names = zipfile.ZipFile(io.BytesIO(saved[start:])).namelist()
    chosen = data.draw(st.sampled_from(names))

    def change(name, content):
        if name != chosen:
            return content
        if data.draw(st.booleans()):
            return None
        place = data.draw(st.integers(0, len(content) - 1))
        byte = data.draw(st.integers(0, 255))
        return content[:place] + bytes([byte]) + content[place + 1 :]

    forged = sealed(saved, change)
    try:
        model = persistence._decode(forged)
    except ModelFileError:
        return
    assert isinstance(model, SNGPClassifier)
    assert model.projection_.kernel.shape == (1, 2, 4)


def test_untrusted_types_are_rejected(tmp_path, saved):
    def change(name, content):
        return (
            content.replace(b"sksngp._sngp", b"subprocess")
            if "schema" in name
            else content
        )

    assert_rejected(tmp_path, sealed(saved, change), "not trusted")


def test_samples_of_a_stream_are_not_saved(make_two, moons, tmp_path):
    X, y = moons
    clf = make_two()
    for part in np.array_split(np.arange(len(X)), 4):
        clf.partial_fit(X[part], y[part], classes=[0, 1])
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(loaded.score_samples(X), clf.score_samples(X))
    assert not hasattr(loaded, "_stream")
    assert clf._stream is not None
    loaded.partial_fit(X[:50], y[:50])
    assert loaded.score(X, y) > 0.5


def test_saved_objects_are_checked_without_the_rows_of_a_stream(
    make_two, moons, tmp_path, monkeypatch
):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=[0, 1])
    checked, check = [], persistence._check_objects
    monkeypatch.setattr(
        persistence, "_check_objects", lambda part: (checked.append(part), check(part))
    )
    save(make_pipeline(StandardScaler().fit(X), clf), tmp_path / "model")
    (pipeline,) = checked
    assert "_stream" not in vars(pipeline[-1]) and pipeline[-1] is not clf
    assert pipeline[-1].__dict__["ood_threshold_"] == clf.ood_threshold_
    assert clf._stream is not None
    clf.fit(X, y)
    save(clf, tmp_path / "model")
    assert checked[1] is clf


@pytest.mark.parametrize("fitted", [False, True])
def test_streams_continue_after_loading(make_two, moons, tmp_path, fitted):
    X, y = moons
    clf = make_two(ood_alpha=0.2)
    if fitted:
        clf.fit(X[:100], y[:100])
    clf.partial_fit(X[:100] + 0.01, y[:100], classes=[0, 1])
    save(clf, tmp_path / "model")
    same = load(tmp_path / "model")
    scores = same.ood_scores_
    assert len(scores) == len(same._ood_score_hashes)
    held_out, known = same._hold_out.held_out, same._hold_out.trained
    for _ in range(2):  # held-out samples remain held out, and their scores are used
        same.partial_fit(X[:100] + 0.01, y[:100])
    assert np.isfinite(same.ood_threshold_)
    assert len(same.ood_scores_) == len(same._ood_score_hashes) == len(scores)
    assert not np.isin(same._stream.memory.hashes, held_out).any()
    assert not np.isin(same._stream.held_out.hashes, known).any()


def test_a_stream_that_was_saved_after_one_sample_can_be_continued(small, tmp_path):
    """The scales of the features are unknown then."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = 1000.0 * y[:, None] + rng.normal(size=(60, 2))
    clf = small(SNGPClassifier).partial_fit(X[:1], y[:1], classes=[0, 1])
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    for _ in range(10):
        loaded.partial_fit(X, y)
    assert loaded.score(X, y) == 1.0
