"""Fits on collections that may exceed memory, compared with fits on arrays."""

import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import sksngp._data.streamed_rows
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)

SMALL = {
    "num_layers": 1,
    "num_hidden": 16,
    "epochs": 3,
    "cv": None,
    "random_state": 0,
}
NAMES = ["u", "v", "w"]
X, Y = make_blobs(600, n_features=3, centers=3, cluster_std=3.0, random_state=0)
Y = np.array(["ash", "birch", "cedar"])[Y]


def parquet(folder, X=X):
    frame = pd.DataFrame(X, columns=NAMES).assign(tree=Y)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pa.parquet.write_table(table, folder / "rows.parquet", row_group_size=130)
    return pa.dataset.dataset(folder / "rows.parquet")


def mapped(folder, dtype):
    stored = np.memmap(folder / "rows", dtype, "w+", shape=X.shape)
    stored[:] = (100 * X).astype(dtype)
    return stored


def classifiers():
    return [
        SNGPClassifier(**SMALL, num_inducing=64),
        ResNetClassifier(**SMALL),
        MCDropoutClassifier(**SMALL, num_samples=3),
        DeepEnsembleClassifier(**SMALL, num_ensemble=2),
    ]


def assert_same(first, second, rows=X, exact=True):
    assert first.classes_.tolist() == second.classes_.tolist()
    assert first.ood_threshold_ == pytest.approx(second.ood_threshold_, rel=1e-6)
    compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    compare(first.predict_proba(rows), second.predict_proba(rows))
    compare(first.score_samples(rows), second.score_samples(rows))


@pytest.mark.parametrize("clf", classifiers()[::3], ids=lambda clf: type(clf).__name__)
def test_data_that_fit_in_memory_are_fitted_like_arrays(clf, tmp_path):
    expected = clone(clf).fit(pd.DataFrame(X, columns=NAMES), Y)
    rows = pd.DataFrame(X, columns=NAMES)
    from_parquet = clf.fit(parquet(tmp_path), "tree")
    assert from_parquet.feature_names_in_.tolist() == NAMES
    assert_same(from_parquet, expected, rows)
    lazy = dask.dataframe.from_pandas(rows, npartitions=4)
    labels = dask.dataframe.from_pandas(pd.Series(Y), npartitions=4)
    assert_same(clone(clf).fit(lazy, labels), expected, rows)


def test_dask_arrays_with_partitions_of_unknown_sizes():
    clf = SNGPClassifier(**SMALL, num_inducing=64)
    expected = clone(clf).fit(X[X[:, 0] > 0], Y[X[:, 0] > 0])
    lazy = dask.array.from_array(X, chunks=(170, 2))
    lazy = lazy[lazy[:, 0] > 0]
    assert np.isnan(lazy.shape[0])
    assert_same(clf.fit(lazy, Y[X[:, 0] > 0]), expected)
    assert np.isnan(lazy.shape[0])  # the array of the caller is unchanged


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float16"])
def test_memory_maps_of_other_types_are_not_copied(dtype, tmp_path, monkeypatch):
    stored = mapped(tmp_path, dtype)
    expected = SNGPClassifier(**SMALL, num_inducing=64).fit(stored.astype(float), Y)

    def refuse(*_, **__):
        raise AssertionError("the whole was copied")

    with monkeypatch.context() as patch:
        patch.setattr(np.memmap, "astype", refuse, raising=False)
        clf = SNGPClassifier(**SMALL, num_inducing=64).fit(stored, Y)
        proba = clf.predict_proba(stored)
    np.testing.assert_array_equal(proba, expected.predict_proba(stored.astype(float)))


@pytest.fixture
def little_memory(monkeypatch):
    """Limit memory to 200 of the 600 projected samples."""
    monkeypatch.setattr(sksngp._data.streamed_rows, "IN_MEMORY_BYTES", 200 * 16 * 4)


@pytest.mark.slow
@pytest.mark.parametrize("clf", classifiers(), ids=lambda clf: type(clf).__name__)
def test_data_larger_than_memory_are_learned_as_well(clf, tmp_path, little_memory):
    clf.set_params(epochs=20, learning_rate=0.02)
    whole = clone(clf).fit(X, Y)  # an array: small blocks
    clf.fit(parquet(tmp_path), "tree")
    frame = pd.DataFrame(X, columns=NAMES)
    assert clf.score(frame, Y) > 0.8
    assert clf.score(frame, Y) == pytest.approx(whole.score(X, Y), abs=0.05)
    np.testing.assert_array_equal(
        clf.predict_proba(parquet(tmp_path)), clf.predict_proba(frame)
    )


def test_dask_dataframes_larger_than_memory(little_memory):
    frame = pd.DataFrame(X, columns=NAMES)
    clf = SNGPClassifier(**SMALL, num_inducing=64)
    clf.set_params(epochs=20, learning_rate=0.02)
    clf.fit(dask.dataframe.from_pandas(frame, npartitions=5), Y)
    assert clf.score(frame, Y) > 0.8


def test_samples_sorted_by_class_are_shuffled(little_memory, monkeypatch):
    monkeypatch.setattr(sksngp._data.sources, "ARRAY_PARTITION_SIZE", 16)
    order = np.argsort(Y)
    clf = SNGPClassifier(**SMALL, num_inducing=64)
    clf.set_params(epochs=20, learning_rate=0.02)
    assert clf.fit(X[order], Y[order]).score(X, Y) > 0.8


def test_weights_early_stopping_and_moving_averages_of_streamed_data(
    tmp_path, little_memory
):
    clf = SNGPClassifier(
        **SMALL, num_inducing=64, cov_momentum=0.9, early_stopping=True
    )
    weights = np.arange(600) % 3
    clf.fit(parquet(tmp_path), "tree", sample_weight=weights)
    spoilt = X.copy()
    spoilt[weights == 0] = 1e6
    again = SNGPClassifier(**clf.get_params())
    again.fit(parquet(tmp_path, spoilt), "tree", sample_weight=weights)
    assert_same(clf, again, pd.DataFrame(X, columns=NAMES), exact=False)
    assert len(clf.validation_scores_) == clf.n_iter_


def test_partial_fit_supports_collections(tmp_path):
    frame = pd.DataFrame(X, columns=NAMES)
    expected = SNGPClassifier(**SMALL, num_inducing=64)
    expected.partial_fit(frame, Y, classes=np.unique(Y)).partial_fit(frame, Y)
    clf = SNGPClassifier(**SMALL, num_inducing=64)
    dataset = parquet(tmp_path)
    clf.partial_fit(dataset, "tree", classes=np.unique(Y)).partial_fit(dataset, "tree")
    assert_same(clf, expected, frame)


# Errors of scikit-learn are raised before training


def test_values_are_checked(tmp_path):
    spoilt = X.copy()
    spoilt[311, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SNGPClassifier(**SMALL).fit(parquet(tmp_path, spoilt), "tree")
    spoilt[311, 1] = 1e39
    with pytest.raises(ValueError, match=r"absolute values of X .* in feature 'v'"):
        SNGPClassifier(**SMALL).fit(parquet(tmp_path, spoilt), "tree")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SNGPClassifier(**SMALL).fit(dask.array.from_array(X), Y[:-1])
    with pytest.raises(ValueError, match=r"must have numeric columns.*tree"):
        SNGPClassifier(**SMALL).fit(parquet(tmp_path), Y)
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        SNGPClassifier(**SMALL).fit(dask.array.empty((0, 3), chunks=(5, 3)), Y[:0])


def test_labels_are_checked_before_samples_are_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("rows were read")

    monkeypatch.setattr(sksngp._data.collections.ParquetSource, "read", refuse)
    table = pa.table({"u": [0.5, 1.5], "kind": pa.array(["a", None])})
    with pytest.raises(ValueError, match="y contains NaN or None"):
        SNGPClassifier(**SMALL).fit(pa.dataset.dataset(table), "kind")


def test_any_column_can_be_the_label(tmp_path):
    table = pa.table({"u": np.arange(40.0), "no_validation": np.arange(40) % 2})
    clf = ResNetClassifier(**SMALL).fit(pa.dataset.dataset(table), "no_validation")
    assert clf.feature_names_in_.tolist() == ["u"]


def test_columns_are_checked_when_predicting(tmp_path):
    dataset = parquet(tmp_path)
    with pytest.raises(NotFittedError):
        SNGPClassifier().predict(dataset)
    clf = ResNetClassifier(**SMALL).fit(dataset, "tree")
    with pytest.raises(ValueError, match=r"must have the columns \['w'\]"):
        clf.predict(dataset.replace_schema(dataset.schema.remove(2)))
    frame = pd.DataFrame(X, columns=NAMES)
    assert clf.predict(dataset).tolist() == clf.predict(frame).tolist()


def test_column_names_as_y_require_a_dataset():
    with pytest.raises(ValueError, match="name of a column is accepted only if"):
        SNGPClassifier(**SMALL).fit(dask.array.from_array(X), "tree")


def test_pipelines_pass_collections_to_the_classifier(tmp_path):
    pipeline = make_pipeline(ResNetClassifier(**SMALL)).fit(parquet(tmp_path), "tree")
    assert pipeline.predict(parquet(tmp_path)).shape == (600,)
    frame = pd.DataFrame(X, columns=NAMES)
    assert pipeline.score(parquet(tmp_path), "tree") == pipeline.score(frame, Y)
