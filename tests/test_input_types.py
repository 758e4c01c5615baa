"""Types of features and labels: dates, masked values, nullable and Arrow types."""

import datetime

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from common import PREDICTION_METHODS, fitted_attributes
from numpy.testing import assert_array_equal

from sksngp import ResNetClassifier
from sksngp._data.input_types import check_features, plain_labels

DAYS = np.arange("2020-01-01", "2020-01-21", dtype="M8[D]")
SPANS = np.arange(20).astype("m8[us]")
NUMBERS = np.arange(20.0)
LABELS = np.arange(20) % 2


def arrow(values, kind):
    return pd.Series(values).astype(pd.ArrowDtype(kind))


def objects(cell):
    """Return an array of objects with a date or time among numbers."""
    X = np.ones((20, 2), object)
    X[3, 1] = cell
    return X


TEMPORAL = {
    "dates": np.column_stack([DAYS, DAYS]),
    "nanoseconds": np.column_stack([DAYS, DAYS]).astype("M8[ns]"),
    "spans": np.column_stack([SPANS, SPANS]),
    "date object": objects(datetime.date(2020, 1, 1)),
    "datetime object": objects(datetime.datetime(2020, 1, 1)),
    "time object": objects(datetime.time(12)),
    "timedelta object": objects(datetime.timedelta(1)),
    "numpy object": objects(np.datetime64("2020-01-01")),
    "numpy NaT object": objects(np.datetime64("NaT")),
    "pandas NaT object": objects(pd.NaT),
    "Timestamp object": objects(pd.Timestamp("2020-01-01")),
    "Period object": objects(pd.Period("2020-01")),
    "lists": [[1.0, datetime.datetime(2020, 1, 1)] for _ in range(20)],
    "lists of numpy dates": [[day, day] for day in DAYS],
    "pandas": pd.DataFrame({"a": NUMBERS, "when": DAYS}),
    "pandas with a time zone": pd.DataFrame(
        {"a": NUMBERS, "when": pd.to_datetime(DAYS).tz_localize("UTC")}
    ),
    "pandas spans": pd.DataFrame({"a": NUMBERS, "when": SPANS}),
    "pandas periods": pd.DataFrame(
        {"a": NUMBERS, "when": pd.period_range("2020", periods=20, freq="D")}
    ),
    "pandas categories": pd.DataFrame(
        {"a": NUMBERS, "when": pd.Series(DAYS).astype("category")}
    ),
    "pandas objects": pd.DataFrame(
        {"a": NUMBERS, "when": pd.Series([datetime.date(2020, 1, 1)] * 20)}
    ),
    "pandas Arrow timestamps": pd.DataFrame(
        {"a": NUMBERS, "when": arrow(DAYS.astype("M8[ns]"), pa.timestamp("ns"))}
    ),
    "pandas Arrow dates": pd.DataFrame(
        {"a": NUMBERS, "when": arrow([datetime.date(2020, 1, 1)] * 20, pa.date32())}
    ),
    "polars dates": pl.DataFrame({"a": NUMBERS, "when": DAYS}),
    "polars datetimes": pl.DataFrame({"a": NUMBERS, "when": DAYS.astype("M8[us]")}),
    "polars spans": pl.DataFrame({"a": NUMBERS, "when": SPANS}),
    "polars times": pl.DataFrame({"a": NUMBERS, "when": [datetime.time(1)] * 20}),
    "Arrow dates": pa.table({"a": NUMBERS, "when": pa.array(DAYS)}),
    "Arrow spans": pa.table({"a": NUMBERS, "when": pa.array(SPANS)}),
    "dask array": da.from_array(np.column_stack([DAYS, DAYS]), chunks=(10, 2)),
    "dask dataframe": dd.from_pandas(
        pd.DataFrame({"a": NUMBERS, "when": DAYS}), npartitions=2
    ),
}


@pytest.mark.parametrize("X", TEMPORAL.values(), ids=TEMPORAL)
def test_dates_and_times_are_rejected(make_two, no_training, X):
    clf = make_two()
    with pytest.raises(ValueError, match=r"dates or times.*Encode them") as error:
        clf.fit(X, LABELS)
    if hasattr(X, "columns"):
        assert "'when'" in str(error.value)
        assert "'a'" not in str(error.value)
    with pytest.raises(ValueError, match="dates or times"):
        clf.partial_fit(X, LABELS, classes=[0, 1])
    assert not fitted_attributes(clf)


CITIES = ["a", "b"] * (len(LABELS) // 2)
TEXT = pd.DataFrame(
    {"a": NUMBERS, "city": CITIES, "kind": pd.Categorical(CITIES), "n": "1.5"}
)


@pytest.mark.parametrize(
    ("X", "names"),
    [
        (TEXT, "'city', 'kind'"),
        (TEXT.astype({"city": "string"}), "'city', 'kind'"),
        (pl.from_pandas(TEXT), "'city', 'kind'"),
        (pa.Table.from_pandas(TEXT), "'city', 'kind'"),
        (TEXT.assign(city=[b"Bonn"] * len(TEXT)), "'city', 'kind'"),
        (TEXT.to_numpy(), "1, 2"),
        (TEXT.to_numpy().tolist(), "1, 2"),
    ],
    ids=["pandas", "pandas string", "polars", "Arrow", "bytes", "array", "lists"],
)
def test_columns_of_text_are_named(make_two, no_training, X, names):
    with pytest.raises(ValueError, match=rf"hold text: \[{names}\]\. Encode them"):
        make_two().fit(X, LABELS)


def test_other_errors_of_validation_are_kept(make_two, no_training):
    X = TEXT[["a", "n"]].assign(a=np.nan)
    with pytest.raises(ValueError, match="contains NaN"):
        make_two().fit(X, LABELS)
    with pytest.raises(ValueError, match="requires y"):
        make_two().fit(TEXT, None)


@pytest.mark.parametrize("X", [["good", "bad"] * 10, np.array([b"a", b"b"] * 10)])
def test_text_without_columns(make_two, no_training, X):
    with pytest.raises(ValueError, match="could not convert string to float"):
        make_two().fit(X, LABELS[:20])


def test_lazy_frames_are_rejected(make_two, no_training, recwarn):
    with pytest.raises(TypeError, match=r"pass X\.collect\(\)"):
        make_two().fit(pl.from_pandas(TEXT[["a", "n"]]).lazy(), LABELS)
    assert not recwarn


@pytest.mark.parametrize("kind", [int, bool])
def test_score_accepts_labels_of_objects(small, kind):
    X, y = TEXT[["a"]], pd.Series(np.asarray(LABELS) == LABELS[0]).astype(kind)
    clf = small(ResNetClassifier).fit(X, y.astype(object))
    assert clf.score(X, y.astype(object)) == clf.score(X, y)


def test_text_in_a_new_column_is_not_the_error(small):
    clf = small(ResNetClassifier).fit(TEXT[["a"]], LABELS)
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- city"):
        clf.predict(TEXT[["a", "city"]])


@pytest.mark.parametrize("name", ["dates", "pandas", "polars dates", "Arrow dates"])
def test_dates_are_rejected_in_predictions(fitted_two, name):
    for method in (*PREDICTION_METHODS, "ood_pvalue", "calibrate_ood"):
        with pytest.raises(ValueError, match="dates or times"):
            getattr(fitted_two, method)(TEMPORAL[name])


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"date": NUMBERS, "time": pd.array(NUMBERS, "Float64")}),
        pl.DataFrame({"date": NUMBERS}),
        pa.table({"date": NUMBERS}),
        NUMBERS[:, None].astype(object),
        NUMBERS[:, None].tolist(),
        [[1.0], [1.0, 2.0]],  # scikit-learn has an error for it
    ],
    ids=["pandas", "polars", "Arrow", "objects", "lists", "ragged"],
)
def test_other_features_are_not_rejected(X):
    check_features(X)


def test_masked_values_are_rejected(make_two, no_training):
    X = np.random.default_rng(0).normal(size=(20, 2))
    mask = np.arange(20) == 3
    masked = np.ma.masked_array
    for arguments, name in (
        ((masked(X, mask[:, None] & [True, False]), LABELS), "X"),
        ((X, masked(LABELS, mask)), "y"),
        ((X, LABELS, masked(np.ones(20), mask)), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must not have masked"):
            make_two().fit(*arguments)


def test_masked_arrays_without_masked_values(fitted_two, make_two, moons, outputs):
    X, y = moons
    clf = make_two().fit(np.ma.masked_array(X), np.ma.masked_array(y))
    assert_array_equal(outputs(clf, X), outputs(fitted_two, X))


# Labels

LARGE = np.array([2**53, 2**53 + 1])[LABELS]
TRUE = LABELS == 1


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (pd.Series(LARGE).astype("Int64"), LARGE),
        (pd.array(LARGE, "Int64"), LARGE),
        (pd.Series(LABELS).astype("UInt8"), LABELS.astype(np.uint8)),
        (pd.Series(TRUE).astype("boolean"), TRUE),
        (arrow(LARGE, pa.int64()), LARGE),
        (arrow(TRUE, pa.bool_()), TRUE),
        (pa.array(LARGE), LARGE),
        (pa.chunked_array([TRUE]), TRUE),
        (pl.Series(LARGE), LARGE),
        (pl.Series(TRUE), TRUE),
        (LARGE.astype(object), LARGE),
        (np.array(list(LARGE), object), LARGE),
        (TRUE.astype(object), TRUE),
        (LARGE.astype(np.uint64).astype(object) + 2**63, LARGE.astype(np.uint64)),
        (pd.Series(np.where(TRUE, "b", "a")).astype("string"), None),
        (pl.Series(np.where(TRUE, "b", "a").tolist(), dtype=pl.Categorical), None),
    ],
    ids=[
        "Int64",
        "Int64 array",
        "UInt8",
        "boolean",
        "pandas Arrow integers",
        "pandas Arrow booleans",
        "Arrow integers",
        "Arrow booleans",
        "polars integers",
        "polars booleans",
        "objects of int",
        "objects of numpy.int64",
        "objects of bool",
        "objects beyond int64",
        "string",
        "polars categories",
    ],
)
def test_label_types(make_two, y, expected):
    X = np.random.default_rng(0).normal(size=(20, 2))
    clf = make_two(epochs=1, validation_fraction=0, ood_alpha=0.5)
    with pytest.warns(UserWarning, match="not flag any sample"):
        clf.fit(X, y)
    assert len(clf.classes_) == 2
    if expected is None:
        assert_array_equal(clf.classes_, ["a", "b"])
        return
    assert clf.predict(X).dtype == clf.classes_.dtype
    assert clf.classes_.dtype.kind == expected.dtype.kind
    assert_array_equal(clf.classes_, np.unique(np.asarray(y).tolist()))
    clf.partial_fit(X, y, classes=y)
    assert 0 <= clf.score(X, clf.classes_[LABELS]) <= 1


def test_label_types_in_a_stream(make_two, moons):
    X, y = moons
    clf = make_two().partial_fit(X, y, classes=pd.array([0, 1], "Int64"))
    assert clf.classes_.dtype == np.int64
    clf.partial_fit(X, pd.Series(y).astype("Int64"), classes=pd.array([0, 1], "Int64"))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (pd.Series(LABELS).astype("Int64").where(NUMBERS != 3), "y contains NaN"),
        (pa.array([None, *LABELS[1:].tolist()]), "y contains NaN"),
        (np.array([1, False] * 10, object), "label type"),
        (np.array([2**70, 1] * 10, object), "at most 64 bits"),
    ],
    ids=["NA", "null", "mixed", "beyond 64 bits"],
)
def test_invalid_labels(make_two, no_training, y, match):
    with pytest.raises(ValueError, match=match):
        make_two().fit(np.random.default_rng(0).normal(size=(20, 2)), y)


def test_plain_labels_of_floats():
    found = plain_labels(np.array([0.0, 1.0], object))
    assert found.dtype == np.float64


# Order of dask collections


def dask_frames(moons):
    X = pd.DataFrame(moons[0], columns=["a", "b"])
    return X, pd.Series(moons[1])


@pytest.mark.parametrize("lazy", [True, False], ids=["dask", "pandas"])
def test_dask_labels_in_another_order_are_rejected(make_two, no_training, moons, lazy):
    X, y = dask_frames(moons)
    shuffled = y.sample(frac=1, random_state=0)
    if lazy:
        shuffled = dd.from_pandas(shuffled, npartitions=2, sort=False)
    X = dd.from_pandas(X, npartitions=2)
    with pytest.raises(ValueError, match="X and y must be in the same order"):
        make_two().fit(X, shuffled)
    weights = shuffled + 1.0
    with pytest.raises(ValueError, match="X and sample_weight must be in the same"):
        make_two().fit(X, y, sample_weight=weights)


def test_dask_labels_in_one_order(make_two, fitted_two, moons):
    X, y = dask_frames(moons)
    frame = dd.from_pandas(X, npartitions=2)
    expected = fitted_two.predict(moons[0])
    for labels in (
        dd.from_pandas(y, npartitions=2),
        y,
        y.set_axis(y.index + 1),  # another index: rows are paired by position
    ):
        assert_array_equal(make_two().fit(frame, labels).predict(X), expected)
