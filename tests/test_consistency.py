"""Forged attributes that an object's methods would not check are found."""

from dataclasses import replace

import forging
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksngp import ResNetClassifier, SNGPClassifier, WideResNet, persistence
from sksngp._persistence.consistency import find_errors, objects
from sksngp.persistence import ModelFileError, load, save


@pytest.fixture
def clf(small, iris):
    return small(SNGPClassifier, num_inducing=16, num_hidden=4, epochs=1).fit(*iris)


def assert_unsound(model, match, tmp_path):
    with pytest.raises(ModelFileError, match=match):
        save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_layers", 10**9),
        ("num_layers", -1),
        ("num_layers", 1.5),
        ("members", 10**12),
        ("num_inducing", 10**12),
        ("num_hidden", 0),
        ("num_outputs", "3"),
        ("dtype", "float16"),
        ("optimizer", "x"),
        ("mixed", "x"),
        ("dropout", "yes"),
        ("more", 1),
    ],
)
def test_sizes_agree_with_the_arrays(clf, tmp_path, field, value):
    clf.architecture_ = {**clf.architecture_, field: value}
    assert_unsound(clf, "SNGPClassifier is invalid", tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes_", np.array([0.0, np.nan, 1.0])),
        ("classes_", np.array([2, 1, 0])),
        ("classes_", [0, 1, 2]),
        ("classes_", np.zeros(3, [("a", "f8")])),
        ("ood_threshold_", float("nan")),
        ("ood_scores_", np.array([np.inf])),
        ("weights_", {"output/kernel": 1}),
        ("temperature_", 0.0),
        ("epochs", -1),
        ("n_features_in_", 5),
    ],
)
def test_attributes_of_classifiers(clf, tmp_path, name, value):
    setattr(clf, name, value)
    assert_unsound(clf, r"SNGPClassifier is invalid|an array has the type", tmp_path)


@pytest.mark.parametrize(
    ("owner", "changes"),
    [
        ("posterior_", {"scale": np.ones((1000, 1))}),
        ("posterior_", {"ridge": np.ones((1000, 1, 1))}),
        ("posterior_", {"ridge": -1.0}),
    ],
)
def test_numbers_of_a_posterior(clf, tmp_path, owner, changes):
    setattr(clf, owner, replace(getattr(clf, owner), **changes))
    assert_unsound(clf, "SNGPClassifier is invalid", tmp_path)


@pytest.mark.parametrize("scores", [[], [2.0, 1.0], [np.nan]])
def test_reference_scores_are_in_order(clf, tmp_path, scores):
    changed = replace(clf._surprisals["entropy"], scores=np.array(scores))
    clf._surprisals = {**clf._surprisals, "entropy": changed}
    assert_unsound(clf, "surprisal of entropy", tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"key": -1},
        {"key": "1"},
        {"cutoffs": np.zeros(2, np.uint64)},
        {"trained": np.zeros(2)},
        {"held_out": np.zeros((2, 2), np.uint64)},
    ],
    ids=str,
)
def test_rule_that_holds_out_samples(clf, tmp_path, changes):
    clf._hold_out = replace(clf._hold_out, **changes)
    assert_unsound(clf, "SNGPClassifier is invalid", tmp_path)


def forged(clf, tmp_path, change):
    """Return a file in which the node of the posterior's attributes is changed."""
    save(clf, tmp_path / "original")
    entries = forging.entries_of((tmp_path / "original").read_bytes())
    parts = forging.attributes(entries)["posterior_"]["content"]["content"]
    change(entries, parts)
    return forging.file_of(entries)


@pytest.mark.parametrize(
    ("descr", "shape", "data", "match"),
    [
        ("<f4", (1, 5), bytes(20), "no triangles"),
        ("<f4", (0, 136), b"", "no triangles"),
        ("<f4", (0, 10**18), b"", "no triangles"),
        ("<f4", (10**18, 0), b"", "no triangles"),
        ("<f4", (136,), bytes(544), "unpack"),
        ("<f4", (1, 3), np.ones(3, "f4").tobytes(), r"has shape \(1, 3\)"),
        ("<f4", (2, 136), np.ones(272, "f4").tobytes(), r"has shape \(2, 136\)"),
        ("|i1", (1, 136), b"\1" * 136, "array of int8"),
        ("<f2", (1, 136), np.ones(136, "f2").tobytes(), "array of float16"),
        ("<c8", (1, 136), np.ones(136, "c8").tobytes(), "array of complex64"),
        ("<f4", (1, 136), np.full(136, np.nan, "f4").tobytes(), "NaN"),
        ("<f8", (1, 136), bytes(1088), "holds 0.0, which is not positive"),
        ("<f4", (1, 10**12), bytes(544), "size of the array"),
    ],
)
def test_forged_triangles(clf, tmp_path, descr, shape, data, match):
    def change(entries, parts):
        entries[parts["triangle"]["file"]] = forging.npy(descr, shape, data)

    with pytest.raises(ModelFileError, match=match):
        persistence._decode(forged(clf, tmp_path, change))


@pytest.mark.parametrize("name", ["factor", "whitening"])
def test_derived_matrices_of_a_posterior_are_not_read(clf, tmp_path, name):
    def change(entries, parts):
        parts[name] = parts["triangle"]
        types = forging.attributes(entries)["posterior_"]["content"]["key_types"]
        types["content"].append(types["content"][0])

    with pytest.raises(ModelFileError, match="attributes"):
        persistence._decode(forged(clf, tmp_path, change))


def test_triangles_are_not_expanded_while_loading(clf, tmp_path):
    """Many posteriors of a file could refer to one triangle."""
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert set(vars(loaded.posterior_)) == {"triangle", "scale", "ridge"}
    np.testing.assert_array_equal(loaded.posterior_.factor, clf.posterior_.factor)


def test_classifiers_inside_of_other_objects(clf, iris, tmp_path):
    frozen = CalibratedClassifierCV(FrozenEstimator(clf)).fit(*iris)
    kernel = clf.weights_["output/kernel"].copy()
    kernel[0, 0] = np.nan
    clf.weights_ = {**clf.weights_, "output/kernel": kernel}
    for model in (frozen, make_pipeline(StandardScaler(), frozen)):
        assert_unsound(model, "SNGPClassifier is invalid: output/kernel", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"depth": 10 + 6 * 10**8}, "depth"),
        ({"width": 10**6}, "width"),
    ],
)
def test_counts_of_a_wide_residual_network(small, iris, tmp_path, change, match):
    clf = small(
        ResNetClassifier, network=WideResNet(), image_shape=(2, 2, 1), epochs=1
    ).fit(*iris)
    clf.architecture_["function"].network.set_params(**change)
    assert_unsound(clf, match, tmp_path)


def test_parameters_that_name_files(clf, iris, tmp_path):
    fitted = make_pipeline(StandardScaler(), clf).fit(*iris)
    fitted.set_params(memory=str(tmp_path))
    assert_unsound(fitted, "memory must be None", tmp_path)
    for kind in (CountVectorizer, TfidfVectorizer):
        assert any(
            "local files" in fault for fault in find_errors(kind(input="filename"))
        )


@pytest.mark.parametrize("jobs", [-(10**6), 10**6])
def test_too_many_processes(clf, iris, tmp_path, jobs):
    class Jobs(StandardScaler):
        n_jobs = jobs

    assert any("n_jobs" in fault for fault in find_errors(Jobs()))


def test_parameters_are_valid():
    with pytest.raises(ValueError, match="strategy"):
        list(find_errors(SimpleImputer(strategy="x")))


def test_vocabularies_map_terms_to_consecutive_integers():
    vectorizer = CountVectorizer().fit(["one two"])
    assert not list(find_errors(vectorizer))
    for vocabulary in ({"one": 0, "two": 2}, {"one": 10**9}, {"one": -1}, {"a": 0.5}):
        vectorizer.vocabulary_ = vocabulary
        assert list(find_errors(vectorizer)) == [
            "vocabulary_ does not map its terms to consecutive integers"
        ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_n_features_outs", [1]),
        ("_n_features_outs", [10**9]),
        ("_drop_idx_after_grouping", np.array([-5], object)),
        ("_drop_idx_after_grouping", np.array([7], object)),
        ("_default_to_infrequent_mappings", [np.array([0, 1, 10**9])]),
        ("_default_to_infrequent_mappings", [np.array([0, -9, 1])]),
        ("_default_to_infrequent_mappings", [np.array([0, 1])]),
    ],
)
def test_columns_of_one_hot_encoders(name, value):
    encoder = OneHotEncoder(min_frequency=2).fit([["a"]] * 3 + [["b"]] * 3 + [["c"]])
    assert not list(find_errors(encoder))
    setattr(encoder, name, value)
    assert list(find_errors(encoder))


def test_positions_of_random_states():
    generator = np.random.RandomState(0)
    assert not list(find_errors(generator))
    state = generator.get_state(legacy=False)
    state["state"]["pos"] = 10**6
    try:
        generator.set_state(state)
    except ValueError as error:  # newer versions of NumPy also check it
        assert "position" in str(error)
    else:
        assert list(find_errors(generator)) == ["its position is 1000000"]


def test_objects_that_contain_themselves():
    model = StandardScaler()
    model.inner = {"a": [model]}
    model.inner["b"] = np.array([{"deep": (1.5,)}, None], object)
    found = list(objects(model))
    assert sum(part is model for part in found) == 1
    assert 1.5 in [part for part in found if isinstance(part, float)]
