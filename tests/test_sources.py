import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sksngp import ResNetClassifier
from sksngp._data import sources
from sksngp._data.collections import (
    ParquetSource,
    is_collection,
    open_source,
    split_label,
)
from sksngp._data.sources import (
    ArraySource,
    RowSource,
    Selection,
    clipped,
    iter_chunks,
    select_samples,
)


class Lists(RowSource):
    """Source with partitions of given sizes, whose values are positions."""

    def __init__(self, sizes, width=3):
        super().__init__(sizes, range(width))

    def read(self, block):
        rows = np.arange(self.starts[block], self.starts[block + 1], dtype=float)
        return np.tile(rows[:, None], (1, self.shape[1]))


def joined(X, width=None):
    """Concatenate the chunks of `iter_chunks`, and check their order."""
    position, parts = 0, [np.empty((0, X.shape[1]))]
    for rows, chunk in iter_chunks(X, width):
        assert rows.start == position
        assert rows.stop - rows.start == len(chunk)
        position = rows.stop
        parts.append(chunk)
    return np.concatenate(parts)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 60), st.integers(1, 9))
def test_samples_are_read_once_in_order_within_the_budget(sizes, budget, width):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK_FLOATS", budget)
        source = Lists(sizes)
        assert joined(source, width)[:, 0].tolist() == list(range(sum(sizes)))
        rows = np.arange(3.0 * sum(sizes)).reshape(-1, 3)
        np.testing.assert_array_equal(joined(rows, width), rows)
        for X in (source, rows):
            for _, chunk in iter_chunks(X, width):
                assert len(chunk) == 1 or len(chunk) * width <= budget


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 2**32 - 1))
def test_selection_has_the_selected_samples(sizes, seed):
    source = Lists(sizes)
    mask = np.random.default_rng(seed).random(len(source)) < 0.5
    chosen = select_samples(source, mask)
    assert isinstance(chosen, Selection)
    assert chosen.shape == (mask.sum(), 3)
    assert joined(chosen)[:, 0].tolist() == np.flatnonzero(mask).tolist()
    again = np.arange(len(chosen)) % 2 == 0
    np.testing.assert_array_equal(
        joined(select_samples(chosen, again)), joined(chosen)[again]
    )


def test_large_selections_are_not_copied(monkeypatch):
    X = np.arange(4000.0).reshape(2000, 2)
    mask = np.arange(2000) % 3 > 0
    np.testing.assert_array_equal(select_samples(X, mask), X[mask])
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 1000)
    chosen = select_samples(X, mask)
    assert isinstance(chosen, Selection)
    np.testing.assert_array_equal(joined(chosen), X[mask])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.float16, np.float32])
def test_arrays_of_any_numeric_type_become_floats(dtype):
    X = np.random.default_rng(0).integers(0, 2, (2500, 3)).astype(dtype)
    source = ArraySource(X)
    assert len(source.starts) == 4
    rows = joined(source)
    assert source.read(0).dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_array_equal(rows, X.astype(float))


def test_only_memory_maps_that_would_be_copied_count_as_collections(tmp_path):
    path = tmp_path / "X"
    kinds = {"int16": True, "float32": False, "float64": False, "float16": True}
    for dtype, expected in kinds.items():
        mapped = np.memmap(path, dtype, "w+", shape=(5, 2))
        assert is_collection(mapped) is expected
        assert not is_collection(np.asarray(mapped))
    assert not is_collection(pd.DataFrame({"a": [1]}))
    assert not is_collection([[1, 2]])
    assert not is_collection("label")


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "u": rng.normal(size=50),
            "kind": rng.choice(["a", "b"], 50),
            "v": rng.integers(0, 9, 50),
        }
    )
    for name, part in (("0", frame[:30]), ("1", frame[30:])):
        whole = pa.Table.from_pandas(part, preserve_index=False)
        pa.parquet.write_table(whole, tmp_path / f"{name}.parquet", row_group_size=8)
    return frame, pa.dataset.dataset(tmp_path)


def test_parquet_is_read_by_row_groups(table):
    frame, dataset = table
    source = ParquetSource(dataset, ["v", "u"])
    assert np.diff(source.starts).tolist() == [8, 8, 8, 6, 8, 8, 4]
    np.testing.assert_array_equal(joined(source), frame[["v", "u"]].to_numpy())
    assert source.template().columns.tolist() == ["v", "u"]


def test_missing_values_of_a_dataset_become_nan(tmp_path):
    whole = pa.table({"u": [1, None, 3], "v": [0.5, 1.5, None]})
    pa.parquet.write_table(whole, tmp_path / "t.parquet")
    rows = joined(open_source(pa.dataset.dataset(tmp_path / "t.parquet")))
    np.testing.assert_array_equal(rows, [[1, 0.5], [np.nan, 1.5], [3, np.nan]])


def test_files_without_row_groups_are_read_one_at_a_time(table, tmp_path):
    frame, _ = table
    folder = tmp_path / "csv"
    folder.mkdir()
    for name, part in (("0", frame[:30]), ("1", frame[30:])):
        part[["u", "v"]].to_csv(folder / f"{name}.csv", index=False)
    source = open_source(pa.dataset.dataset(folder, format="csv"))
    assert np.diff(source.starts).tolist() == [30, 20]
    np.testing.assert_allclose(joined(source), frame[["u", "v"]])


def test_partitioned_datasets_with_missing_columns(tmp_path):
    frame = pd.DataFrame({"u": np.arange(4.0), "year": [2024, 2024, 2025, 2025]})
    pa.dataset.write_dataset(
        pa.Table.from_pandas(frame),
        tmp_path / "by_year",
        format="parquet",
        partitioning=["year"],
        partitioning_flavor="hive",
    )
    source = open_source(pa.dataset.dataset(tmp_path / "by_year", partitioning="hive"))
    assert source.columns == ["u", "year"]
    np.testing.assert_array_equal(joined(source), frame)

    (tmp_path / "grown").mkdir()
    pa.parquet.write_table(pa.table({"u": [1], "v": [2]}), tmp_path / "grown" / "0")
    pa.parquet.write_table(pa.table({"u": [3]}), tmp_path / "grown" / "1")
    rows = joined(open_source(pa.dataset.dataset(tmp_path / "grown")))
    np.testing.assert_array_equal(rows, [[1, 2], [3, np.nan]])


def test_column_names_must_be_unique():
    table = pa.table([[1.0], [2.0]], names=["u", "u"])
    with pytest.raises(ValueError, match=r"several columns for each of \['u'\]"):
        open_source(pa.dataset.dataset(table))


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        (dask.array.ones(3), "Array with 1 dimensions"),
        (dask.array.ones((2, 2, 2)), "Array with 3 dimensions"),
        (dask.delayed([[1.0]]), "Delayed.* with none"),
        (dask.array.ones((2, 2), dtype=complex), "real numbers.*complex128"),
        (
            dask.dataframe.from_pandas(
                pd.DataFrame({"t": pd.to_datetime(["2026-01-01", None]), "u": [1, 2]})
            ),
            "real numbers.*'t': 'datetime64",
        ),
    ],
)
def test_dask_collections_must_be_tables_of_numbers(collection, message):
    with pytest.raises(ValueError, match=message):
        open_source(collection)


def test_types_are_checked_when_they_are_known():
    def turned(rows):
        return rows * 1j

    late = dask.array.ones((4, 2)).map_blocks(turned, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match=r"real numbers.*complex128"):
        joined(open_source(late))


def test_missing_values_of_dask_dataframes_become_nan():
    frame = pd.DataFrame({"u": pd.array([1, None], dtype="Int64"), "v": [True, False]})
    rows = joined(open_source(dask.dataframe.from_pandas(frame)))
    np.testing.assert_array_equal(rows, [[1, 1], [np.nan, 0]])


def test_float32_is_preserved():
    frame = pd.DataFrame({"u": [1.0], "v": [2.0]}, dtype=np.float32)
    assert open_source(dask.dataframe.from_pandas(frame)).read(0).dtype == np.float32


def test_missing_columns_are_reported(table):
    with pytest.raises(ValueError, match=r"must have the columns \['w'\]"):
        ParquetSource(table[1], ["u", "w"])


def test_label_is_a_column_of_a_dataset(table):
    frame, dataset = table
    features, labels = split_label(dataset, "kind")
    assert features == ["u", "v"]
    assert labels.tolist() == frame["kind"].tolist()
    with pytest.raises(ValueError, match=r"y must be a column of X.* 'colour'"):
        split_label(dataset, "colour")
    with pytest.raises(ValueError, match="only if X is a pyarrow"):
        split_label(np.empty((2, 2)), "kind")


def test_invalid_names_are_rejected_by_scikit_learn():
    frame = dask.dataframe.from_pandas(pd.DataFrame(np.ones((2, 2)), columns=["u", 7]))
    with pytest.raises(TypeError, match="only supported if all input features"):
        ResNetClassifier().fit(frame, [0, 1])


def test_numbers_are_not_column_names():
    assert isinstance(Lists([3]).template(), np.ndarray)
    assert Lists([3], width=4).template().shape == (0, 4)


def test_partitions_of_all_sources_can_be_delayed():
    source = ArraySource(np.arange(12.0).reshape(6, 2))
    np.testing.assert_array_equal(source.delayed(0).compute(), source.read(0))


def test_values_of_a_source_are_clipped_as_those_of_an_array():
    X = np.arange(3000.0).reshape(1500, 2)
    low, high = np.array([-np.inf, 100.0]), np.array([50.0, np.inf])
    source = clipped(ArraySource(X), low, high)
    assert source.shape == (1500, 2)
    expected = clipped(X, low, high)
    assert (expected.max(axis=0) == [50.0, 2999.0]).all() and expected[0, 1] == 100
    np.testing.assert_array_equal(source.read(1), expected[1024:])
    np.testing.assert_array_equal(source.delayed(0).compute(), expected[:1024])
