"""Datasets: generators, held-out classes, shuffled columns and Fashion-MNIST."""

import gzip
import pickle
from urllib.error import URLError

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.datasets import make_moons
from sklearn.utils import Bunch

from sksngp import datasets
from sksngp.datasets import (
    hold_out_classes,
    load_fashion_mnist,
    shuffle_columns,
    two_moons,
    two_moons_grid,
    two_moons_ood,
)

# Two moons


def test_two_moons_are_shifted_moons():
    X, y = two_moons(random_state=3)
    moons, labels = make_moons(1000, noise=0.1, random_state=3)
    np.testing.assert_array_equal(y, labels)
    for label, shift in ((0, [-0.1, 0.2]), (1, [0.1, -0.2])):
        assert (y == label).sum() == 500
        moved = X[y == label] - moons[y == label]
        np.testing.assert_allclose(moved, np.tile(shift, (500, 1)))


def test_two_moons_without_noise_lie_on_half_circles():
    X, y = two_moons(200, noise=0, random_state=0)
    centres = np.array([[-0.1, 0.2], [1.1, 0.3]])
    np.testing.assert_allclose(np.linalg.norm(X - centres[y], axis=1), 1)


def test_two_moons_ood_has_its_moments_and_is_far_from_the_moons():
    blob = two_moons_ood(20_000, random_state=0)
    assert two_moons_ood(random_state=0).shape == (500, 2)
    np.testing.assert_allclose(blob.mean(axis=0), [2.5, -1.75], atol=4e-3)
    np.testing.assert_allclose(np.cov(blob.T), np.diag([0.01, 0.01]), atol=5e-4)
    X, _ = two_moons(random_state=0)
    assert np.linalg.norm(X - [2.5, -1.75], axis=1).min() > 0.5


def test_two_moons_grid():
    grid = two_moons_grid()
    assert grid.shape == (10_000, 2)
    np.testing.assert_array_equal(grid.min(axis=0), [-3.5, -2.5])
    np.testing.assert_array_equal(grid.max(axis=0), [3.5, 2.5])
    picture = grid.reshape(100, 100, 2)
    assert (np.diff(picture[..., 0], axis=1) > 0).all()
    assert (np.diff(picture[..., 1], axis=0) > 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: two_moons(20, random_state=seed)[0],
        lambda seed: two_moons_ood(20, random_state=seed),
        lambda seed: shuffle_columns(np.eye(20), random_state=seed),
        lambda seed: (
            hold_out_classes(
                np.arange(40)[:, None], np.arange(40) % 4, [1], random_state=seed
            ).X_test
        ),
    ],
)
def test_results_depend_on_the_seed_but_not_on_global_state(make):
    before = np.random.get_state()
    np.testing.assert_array_equal(make(0), make(0))
    np.testing.assert_array_equal(make(0), make(np.random.RandomState(0)))
    assert not np.array_equal(make(0), make(1))
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (two_moons, {"n_samples": 1}),
        (two_moons, {"n_samples": 10.0}),
        (two_moons, {"noise": -0.1}),
        (two_moons, {"noise": None}),
        (two_moons, {"random_state": "0"}),
        (two_moons_ood, {"n_samples": 0}),
        (two_moons_grid, {"n": 0}),
    ],
)
def test_two_moons_invalid_parameters(make, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of {make.__name__}"):
        make(**parameters)


# Classes held out

ROWS = np.arange(120).reshape(60, 2)
CLASSES = np.arange(60) % 4


@given(
    st.lists(st.integers(0, 4), min_size=24, max_size=60),
    st.sets(st.integers(0, 4), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_hold_out_classes_partitions_all_samples(labels, held_out, seed):
    # Each class has at least six samples, so that all classes can be split.
    y = np.append(np.repeat(np.arange(5), 6), labels)
    X = np.arange(len(y))[:, None]
    data = hold_out_classes(X, y, sorted(held_out), random_state=seed)

    parts = np.concatenate([data.X_train, data.X_test, data.X_ood]).ravel()
    np.testing.assert_array_equal(np.sort(parts), X.ravel())
    np.testing.assert_array_equal(y[data.X_train.ravel()], data.y_train)
    np.testing.assert_array_equal(y[data.X_test.ravel()], data.y_test)
    unknown = np.flatnonzero(np.isin(y, sorted(held_out)))
    np.testing.assert_array_equal(data.X_ood.ravel(), unknown)
    for label in set(range(5)) - held_out:
        share = np.sum(data.y_test == label) - 0.3 * np.sum(y == label)
        assert abs(share) < 2


@pytest.mark.parametrize("test_size", [0.25, 0.5])
def test_hold_out_classes_test_size(test_size):
    X, y = np.zeros((80, 1)), np.arange(80) % 4
    data = hold_out_classes(X, y, [1], test_size=test_size, random_state=0)
    np.testing.assert_array_equal(np.unique(data.y_train), [0, 2, 3])
    assert (
        np.bincount(data.y_test).tolist() == [20 * test_size, 0] + [20 * test_size] * 2
    )


@pytest.mark.parametrize(
    "container", [np.asarray, np.ndarray.tolist, pd.DataFrame, pl.DataFrame, csr_array]
)
def test_hold_out_classes_keeps_containers(container):
    expected = hold_out_classes(ROWS, CLASSES, [1, 3], random_state=0)
    data = hold_out_classes(container(ROWS), CLASSES, (1, 3), random_state=0)
    for name in ("X_train", "X_test", "X_ood"):
        assert type(data[name]) is type(container(ROWS))
        part = data[name].toarray() if container is csr_array else data[name]
        np.testing.assert_array_equal(part, expected[name])


@pytest.mark.parametrize("container", [np.ndarray.tolist, pd.Series, pl.Series])
def test_hold_out_classes_keeps_labels(container):
    words = np.array(["ant", "bee", "cat", "dog"])[CLASSES]
    y = container(words)
    data = hold_out_classes(ROWS, y, ["dog"], random_state=0)
    assert type(data.y_train) is type(y)
    expected = hold_out_classes(ROWS, CLASSES, [3], random_state=0)
    np.testing.assert_array_equal(data.X_train, expected.X_train)
    np.testing.assert_array_equal(data.y_test, words[expected.y_test])


def test_in_out_pickles():
    data = hold_out_classes(ROWS, CLASSES, [0], random_state=0)
    copy = pickle.loads(pickle.dumps(data))
    assert type(copy) is datasets.InOut
    np.testing.assert_array_equal(copy.X_ood, data.X_ood)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"held_out": [3, 7, 9]}, r"held_out must be classes in y, got \[7, 9\]"),
        ({"held_out": ["3"]}, r"held_out must be classes in y, got \['3'\]"),
        ({"held_out": []}, "got 0 of the 4 classes in y"),
        ({"held_out": [0, 1, 2]}, "got 3 of the 4 classes in y"),
        ({"held_out": [[0]]}, r"held_out must have one dimension"),
        ({"held_out": {0}}, r"held_out must have one dimension"),
        ({"held_out": 0}, "'held_out' parameter of hold_out_classes"),
        ({"y": np.where(CLASSES == 2, np.nan, CLASSES)}, "y contains NaN"),
        ({"y": CLASSES[:5]}, r"inconsistent numbers of samples: \[60, 5\]"),
        ({"y": np.where(ROWS[:, 0] == 0, 9, CLASSES)}, "only 1 member"),
        ({"test_size": 1.0}, "'test_size' parameter of hold_out_classes"),
        ({"test_size": 0.01}, "test_size = 1 should be greater or equal"),
    ],
)
def test_hold_out_classes_invalid_parameters(changed, message):
    good = {"X": ROWS, "y": CLASSES, "held_out": [3]}
    with pytest.raises(ValueError, match=message):
        hold_out_classes(**good | changed)


# Columns shuffled


def test_shuffle_columns_preserves_columns_but_not_rows():
    X = np.random.default_rng(0).normal(size=(2000, 1)) + np.zeros(4)
    before = X.copy()
    shuffled = shuffle_columns(X, random_state=0)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(X, axis=0))
    # Equal columns become independent, with correlations of about 1 / sqrt(2000).
    correlations = np.corrcoef(np.column_stack([X[:, 0], shuffled]).T)
    assert np.abs(correlations - np.eye(5)).max() < 0.1


def test_shuffle_columns_of_frame():
    frame = pd.DataFrame(
        {
            "size": [1.0, np.nan, 3.0, 4.0],
            "colour": pd.Categorical(["red", "blue", "red", "green"]),
            "name": ["a", "b", "c", "d"],
            "count": pd.array([1, 2, None, 4], dtype="Int64"),
        },
        index=[10, 20, 30, 40],
    )
    # Two columns may have the same name.
    frame = pd.concat([frame, frame[["size"]]], axis=1)
    before = frame.copy()
    shuffled = shuffle_columns(frame, random_state=0)
    pd.testing.assert_frame_equal(frame, before)
    assert not shuffled.equals(frame)
    assert shuffled.index.equals(frame.index)
    pd.testing.assert_series_equal(shuffled.dtypes, frame.dtypes)
    for column in range(frame.shape[1]):
        pd.testing.assert_series_equal(
            shuffled.iloc[:, column].sort_values(ignore_index=True),
            frame.iloc[:, column].sort_values(ignore_index=True),
        )


def test_shuffle_columns_agree_on_containers():
    expected = shuffle_columns(ROWS, random_state=0)
    assert expected.dtype == ROWS.dtype
    for container in (np.ndarray.tolist, pd.DataFrame, pl.DataFrame):
        shuffled = shuffle_columns(container(ROWS), random_state=0)
        np.testing.assert_array_equal(shuffled, expected)


@pytest.mark.parametrize("X", [[1, 2, 3], csr_array(ROWS), "abc"])
def test_shuffle_columns_invalid_parameters(X):
    with pytest.raises(ValueError, match=r"2D array|'X' parameter of shuffle_columns"):
        shuffle_columns(X)


# Fashion-MNIST


def idx(values, type_code=8):
    """Return the bytes of an idx file."""
    header = bytes([0, 0, type_code, values.ndim])
    lengths = b"".join(length.to_bytes(4, "big") for length in values.shape)
    return header + lengths + values.astype(np.uint8).tobytes()


def packed(content):
    # Without a time stamp, test parameters are equal in all processes.
    return gzip.compress(content, mtime=0)


IMAGES = {
    "train": np.arange(300 * 2 * 3).reshape(300, 2, 3) % 256,
    "test": np.arange(4 * 2 * 3).reshape(4, 2, 3) % 256,
}
LABELS = {"train": np.arange(300) % 10, "test": np.array([9, 0, 3, 3])}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Replace the installed dataset by a folder with a tiny one."""
    monkeypatch.setattr(datasets, "FASHION_MNIST_FOLDER", tmp_path)
    for part, names in datasets.FASHION_MNIST_FILES.items():
        for name, values in zip(names, (IMAGES[part], LABELS[part]), strict=True):
            (tmp_path / name).write_bytes(packed(idx(values)))
    return tmp_path


@pytest.fixture
def openml(tmp_path, monkeypatch):
    """Remove installed files, and let OpenML return or raise `answer`."""
    X = np.zeros((70_000, 784), np.uint8)
    X[:, 0] = np.arange(70_000) % 251
    y = (np.arange(70_000) % 10).astype(str).astype(object)
    server = Bunch(calls=[], answer=Bunch(data=X, target=y))

    def fetch_openml(name, **options):
        server.calls.append({"name": name, **options})
        if isinstance(server.answer, Exception):
            raise server.answer
        return server.answer

    monkeypatch.setattr(datasets, "FASHION_MNIST_FOLDER", tmp_path / "absent")
    monkeypatch.setattr(datasets, "fetch_openml", fetch_openml)
    return server


def test_fashion_mnist_from_files(folder, monkeypatch):
    monkeypatch.setattr(datasets, "fetch_openml", None)
    data = load_fashion_mnist()
    for part in ("train", "test"):
        X, y = data[f"X_{part}"], data[f"y_{part}"]
        np.testing.assert_array_equal(X, IMAGES[part].reshape(-1, 6))
        np.testing.assert_array_equal(y, LABELS[part])
        assert (X.dtype, y.dtype) == (np.uint8, np.int64)
        assert X.flags.writeable and y.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "is not a complete gzip file"),
        (packed(idx(IMAGES["test"]))[:-9], "is not a complete gzip file"),
        (packed(b""), "must be an idx file of bytes with 3 dimension"),
        (packed(b"\0\0\x08\x03\0\0"), "must be an idx file .* got a file of 6 bytes"),
        (packed(b"\x89PNG and more bytes"), "starts with '89 50 4e 47'"),
        (packed(idx(IMAGES["test"], 13)), "'00 00 08 03' .* '00 00 0d 03'"),
        (packed(idx(LABELS["test"])), "'00 00 08 03' .* '00 00 08 01'"),
        (packed(idx(IMAGES["test"])[:-1]), r"24 bytes .* \(4, 2, 3\), got 23 bytes"),
        (packed(idx(IMAGES["test"]) + b"\0"), "must hold 24 bytes .* got 25 bytes"),
        (packed(idx(IMAGES["test"][:3])), "holds 3 images, but .* 4 labels"),
    ],
    ids=[
        "not gzip",
        "gzip cut short",
        "empty",
        "header cut short",
        "not idx",
        "not bytes",
        "not three dimensions",
        "too few values",
        "too many values",
        "images missing",
    ],
)
def test_fashion_mnist_invalid_files(folder, content, message):
    name = "t10k-images-idx3-ubyte.gz"
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_fashion_mnist()
    assert str(folder / name) in str(error.value)


def test_fashion_mnist_from_openml(openml, tmp_path):
    data = load_fashion_mnist(data_home=tmp_path)
    (call,) = openml.calls
    assert call["name"] == "Fashion-MNIST"
    assert call["version"] == 1
    assert call["data_home"] == tmp_path
    assert data.X_train.shape == (60_000, 784)
    assert data.X_test.shape == (10_000, 784)
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    np.testing.assert_array_equal(data.X_test[:, 0], np.arange(60_000, 70_000) % 251)
    np.testing.assert_array_equal(data.y_train, np.arange(60_000) % 10)
    np.testing.assert_array_equal(data.y_test, np.arange(60_000, 70_000) % 10)
    assert data.y_train.dtype == np.int64


def test_fashion_mnist_from_openml_when_a_file_is_missing(folder, openml, monkeypatch):
    monkeypatch.setattr(datasets, "FASHION_MNIST_FOLDER", folder)
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    assert len(load_fashion_mnist().X_train) == 60_000
    assert openml.calls[0]["data_home"] is None


@pytest.mark.parametrize(
    "problem", [URLError("no route"), TimeoutError("no route"), ValueError("no route")]
)
def test_fashion_mnist_error_has_instructions(openml, problem):
    openml.answer = problem
    with pytest.raises(OSError, match="dataset-fashion-mnist") as error:
        load_fashion_mnist()
    for part in ("absent", "no route", "www.openml.org", "data_home"):
        assert part in str(error.value)
    assert error.value.__cause__ is problem


def test_fashion_mnist_unexpected_order(openml):
    openml.answer["target"] = np.sort(openml.answer["target"])
    with pytest.raises(ValueError, match="60,000 training samples"):
        load_fashion_mnist()
    openml.answer = Bunch(data=np.zeros((5, 784)), target=np.zeros(5))
    with pytest.raises(ValueError, match=r"of shape \(5, 784\)"):
        load_fashion_mnist()


def test_fashion_mnist_invalid_data_home():
    with pytest.raises(ValueError, match="'data_home' parameter of load_fashion_mnist"):
        load_fashion_mnist(data_home=3)
