"""Conversion of the cells of a table to features."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from sksngp._cli.columns import choose_columns
from sksngp._cli.features import read_features
from sksngp._cli.tables import InputError, Table

N = 60


def table(separator=",", **columns):
    cells = pd.DataFrame({name: list(values) for name, values in columns.items()})
    return Table("new.csv", cells.astype(str), separator)


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    number = rng.normal(size=N).round(3).astype(str)
    number[0] = "unknown"
    text = np.array(["a", "b", "1"] * 20)
    text[:30] = np.where(rng.random(30) < 0.4, "", text[:30])
    when = pd.date_range("2024-01-01", periods=N).strftime("%d.%m.%Y")
    train = table(number=number, text=text, when=when, y=["p", "q"] * 30)
    return choose_columns(train, "y").columns


def test_cells_of_a_new_table(columns):
    features = read_features(
        table(
            other=range(4),
            when=["01.02.2024", "2.1.2024", "", "31.01.2024"],
            text=["A", "1.0", "zzz", ""],
            number=["1", "unknown", "NA", "1e3"],
        ),
        columns,
    )
    assert list(features.values) == ["number", "text", "when"]
    assert_allclose(features.values["number"], [1, np.nan, np.nan, 1000])
    assert features.values["text"].tolist()[:3] == ["a", "1", "zzz"]
    assert_allclose(features.values["when"].diff()[1], -30)
    assert features.missing.sum().to_dict() == {"number": 2, "text": 1, "when": 1}
    assert features.unseen["text"].tolist() == [False, False, True, False]
    assert features.remarks == []
    assert features.num_distinct() == 4


def test_other_notations_than_in_training(columns):
    new = table(
        ";",
        number=["1,5", "2,25"],
        text=["a", "b"],
        when=["2024-01-31", "2024-02-01"],
    )
    features = read_features(new, columns)
    assert_allclose(features.values["number"], [1.5, 2.25])
    assert_allclose(features.values["when"], [19753, 19754])
    assert features.styles == {"decimal commas": ["number"]}
    assert "'when': times are read as ISO8601" in features.remarks[0]


def test_exchanged_days_and_months_are_an_error(columns):
    cells = {"number": "1" * 40, "text": ["a"] * 40}
    days = pd.date_range("2024-01-01", periods=40)
    columns[2].style = "%d/%m/%Y"
    new = table(when=days.strftime("%m/%d/%Y"), **cells)
    pattern = "row 13: '01/13/2024' is not .* could have the format %m/%d/%Y"
    with pytest.raises(InputError, match=pattern):
        read_features(new, columns)
    columns[2].style = "ISO8601"
    new = table(when=["01/02/2024"] * 40, **cells)
    remark = read_features(new, columns).remarks[0]
    assert remark.endswith("as ISO8601; days and months could be exchanged")


def test_notation_of_training_applies_to_new_tables():
    train = table(",", number=["5,2", "6,609", *["1,5"] * 20], y=["p", "q"] * 11)
    columns = choose_columns(train, "y").columns
    assert columns[0].style == "decimal commas"
    features = read_features(table(",", number=["6,609", "5,401"]), columns)
    assert_allclose(features.values["number"], [6.609, 5.401])
    with pytest.raises(InputError, match="is not a number with decimal commas"):
        read_features(table(",", number=["1,234.5", "2,345.5"]), columns)


def test_one_word_is_reported_and_more_are_an_error(columns):
    cells = {"text": ["a"] * 8, "when": ["01.02.2024"] * 8}
    features = read_features(table(number=[*"1234567", "fifty"], **cells), columns)
    assert features.missing["number"].sum() == 1
    assert "'fifty'" in features.remarks[0] and "row 8" in features.remarks[0]
    with pytest.raises(InputError, match="'number', row 7: 'forty' is not a number"):
        read_features(table(number=[*"123456", "forty", "fifty"], **cells), columns)
    cells["when"] = ["soon"] * 8
    with pytest.raises(InputError, match="'when', row 1: 'soon' is not a time"):
        read_features(table(number="12345678", **cells), columns)


@pytest.mark.parametrize("name", ["number", "text", "when"])
def test_column_without_values(columns, name):
    cells = {"number": ["1"], "text": ["a"], "when": ["01.02.2024"]}
    cells = {key: values * 20 for key, values in cells.items()}
    new = table(**(cells | {name: [""] * 20}))
    with pytest.raises(InputError, match=rf"'{name}' has no values.*--drop {name}"):
        read_features(new, columns)
    new = table(**(cells | {"number": [""] * 20, "text": ["NA"] * 20}))
    with pytest.raises(InputError, match="'number', 'text' have no values"):
        read_features(new, columns)


def test_empty_column_by_chance(columns):
    new = table(number=["1"], text=["NA"], when=["01.02.2024"])
    assert columns[1].missing > 0.1
    assert read_features(new, columns).missing["text"].all()


def test_absent_columns(columns):
    with pytest.raises(InputError, match="lacks the columns 'number', 'when'"):
        read_features(table(text=["a"]), columns)
