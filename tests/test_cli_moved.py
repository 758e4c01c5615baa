"""Columns with the largest shifts."""

import numpy as np
import pandas as pd
import pytest

from sksngp._cli.columns import choose_columns
from sksngp._cli.features import Features, read_features
from sksngp._cli.moved import moved_columns, too_many_flags
from sksngp._cli.tables import Table


def make(n, seed, **changed):
    rng = np.random.default_rng(seed)
    cells = {
        "a": rng.normal(size=n),
        "b": rng.normal(size=n),
        "when": pd.date_range("2024-01-01", periods=n, freq="h"),
        "kind": rng.choice(["u", "v"], n),
    }
    cells = pd.DataFrame(cells | changed).assign(y=["p", "q"] * (n // 2))
    return Table("t.csv", cells.astype(str).fillna(""))


@pytest.fixture(scope="module")
def columns():
    return choose_columns(make(600, 0), "y").columns


@pytest.mark.parametrize(
    ("changed", "name", "parts"),
    [
        ({"a": np.linspace(8, 9, 300)}, "a", ["in training, 8.0", "here"]),
        ({"kind": ["zzz"] * 300}, "kind", ["'zzz' in 100%", "0% in training"]),
        ({"b": [np.nan] * 200 + [-1, 0, 0, 1] * 25}, "b", ["67% missing", "0% in"]),
        (
            {"when": pd.date_range("2030-01-01", periods=300, freq="h")},
            "when",
            ["2024-01-02 to 2024-01-24", "2030-01-01 to 2030-01-12 here"],
        ),
    ],
)
def test_column_with_the_largest_shift_is_first(columns, changed, name, parts):
    moves = moved_columns(read_features(make(300, 1, **changed), columns), columns)
    assert moves[0].name == name
    for part in parts:
        assert part in moves[0].description


def test_columns_without_a_shift(columns):
    assert moved_columns(read_features(make(600, 1), columns), columns) == []


def test_missing_column_of_text(columns):
    values = pd.DataFrame(
        {"a": [0.0], "b": [0.0], "when": [19730.0], "kind": [np.nan]}, dtype=object
    )
    moves = moved_columns(Features(values, values.isna()), columns)
    assert "kind" in {move.name for move in moves}


def test_number_of_flags_beyond_chance():
    rng = np.random.default_rng(0)
    by_chance = rng.binomial(200, 0.05, 500)
    assert np.mean([too_many_flags(k, 200, 0.05) for k in by_chance]) == 0
    assert too_many_flags(200, 200, 0.05) and too_many_flags(5, 5, 0.05)
    assert not too_many_flags(1, 1, 0.05) and not too_many_flags(0, 10, 0.6)
