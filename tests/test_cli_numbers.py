"""Parsing of numbers and times in text cells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sksngp._cli.numbers import (
    DECIMAL_COMMAS,
    FORMATS,
    THOUSANDS,
    is_ambiguous,
    parse_numbers,
    parse_times,
)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1),
    st.sampled_from([",", ";"]),
)
def test_numbers_are_read_as_written(numbers, separator):
    parsed = parse_numbers(pd.Series([repr(x) for x in numbers]), separator)
    assert_allclose(parsed.values, numbers, rtol=1e-15)
    assert not parsed.wrong.any() and parsed.style == ""


@pytest.mark.parametrize(
    ("cells", "separator", "values", "style"),
    [
        (["1,5", "-0,25", "3"], ";", [1.5, -0.25, 3], "decimal commas"),
        (["1,5", ",25", "1,5e3"], ",", [1.5, 0.25, 1500], "decimal commas"),
        (["1.234,5", "1.234", "2"], ";", [1234.5, 1234, 2], "decimal commas"),
        (["1,5", "2.5"], ";", [1.5, 2.5], "decimal commas"),
        (["1,234", "12,345.5", "7"], ",", [1234, 12345.5, 7], "commas between"),
        (["1,234", "7,5"], ",", [1.234, 7.5], "decimal commas"),
        (["1,234"], ";", [1.234], "decimal commas"),
        (["1,234", "987", "12,500"], "\t", [1234, 987, 12500], "commas between"),
        (["1,234.5", "2,000"], ";", [1234.5, 2000], "commas between"),
        (["1,234", "2.5"], ";", [1234, 2.5], "commas between"),
        (["1,234", "2500"], ";", [1.234, 2500], "decimal commas"),
        (["1,234", "2500"], ",", [1234, 2500], "commas between"),
        (["1,125", "2", "3,875"], ";", [1.125, 2, 3.875], "decimal commas"),
        (["5", "5,401", "0,437"], ",", [5, 5.401, 0.437], "decimal commas"),
        (["1,234,567", "2"], ";", [1234567, 2], "commas between"),
        (["1e3", "", "NA", "+7"], ",", [1000, np.nan, np.nan, 7], ""),
    ],
)
def test_commas_within_numbers(cells, separator, values, style):
    parsed = parse_numbers(pd.Series(cells), separator)
    assert_allclose(parsed.values, values)
    assert not parsed.wrong.any()
    assert parsed.style.startswith(style) and bool(parsed.style) == bool(style)


def test_notation_of_the_training_table():
    cells = pd.Series(["6,609", "5,401"])
    expected = {DECIMAL_COMMAS: [6.609, 5.401], THOUSANDS: [6609, 5401]}
    for notation, values in expected.items():
        for separator in (",", ";"):
            parsed = parse_numbers(cells, separator, notation)
            assert_allclose(parsed.values, values)
            assert parsed.style == notation
    assert parse_numbers(pd.Series(["5,2", "6,6"]), ",", THOUSANDS).wrong.all()
    assert parse_numbers(pd.Series(["1,000,000"] * 2), ";", DECIMAL_COMMAS).wrong.all()
    plain = parse_numbers(pd.Series(["5.2", "6"]), ";", DECIMAL_COMMAS)
    assert_allclose(plain.values, [5.2, 6])
    dotted = parse_numbers(pd.Series(["12.500", "3"]), ";", DECIMAL_COMMAS)
    assert_allclose(dotted.values, [12500, 3])


@pytest.mark.parametrize("odd", ["2500", "12,34", "unknown, see note"])
def test_single_cells_do_not_change_the_notation(odd):
    parsed = parse_numbers(pd.Series(["1,234", "980"] * 20 + [odd]), ",")
    assert_allclose(parsed.values[:2], [1234, 980])
    assert parsed.tolerable() and parsed.style == THOUSANDS


def test_words_with_commas_do_not_change_the_notation():
    cells = pd.Series([*["1,234", "12,500"] * 10, "unknown, see note"])
    parsed = parse_numbers(cells, ",")
    assert_allclose(parsed.values[:2], [1234, 12500])
    assert parsed.wrong.tolist() == [False] * 20 + [True]


def test_words_among_numbers():
    cells = ["1", "unknown", *map(str, range(20))]
    parsed = parse_numbers(pd.Series(cells))
    assert parsed.wrong.tolist() == [False, True] + [False] * 20
    assert parsed.tolerable()
    assert not parse_numbers(pd.Series([*cells, "a", "b"])).tolerable()
    assert parse_numbers(pd.Series(["1", "2", "word"])).tolerable()  # a single one
    assert not parse_numbers(pd.Series(["1", "word"])).tolerable()
    assert not parse_numbers(pd.Series(["a", "b"])).tolerable()


TIMES = pd.date_range("2024-01-29 01:02:03", periods=40, freq="3h7min5s")


@pytest.mark.parametrize("form", [f for f in FORMATS if f.startswith("%")])
def test_times_in_each_format(form):
    cells = pd.Series(TIMES.strftime(form))
    expected = pd.to_datetime(cells, format=form) - pd.Timestamp(0)
    parsed = parse_times(cells, form)
    assert_allclose(parsed.values, expected / pd.Timedelta(days=1), rtol=1e-12)
    assert_allclose(
        parse_times(cells).values, parsed.values
    )  # without a preferred format


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1970-01-01", "1970-01-02T12:00", "NA", ""], [0, 1.5, np.nan, np.nan]),
        (["1970-01-02T00:00:00+01:00", "1970-01-02 00:00:00Z"], [23 / 24, 1]),
        (["00:30", "23:45:36", "7:00"], [0.5, 23.76, 7]),
    ],
)
def test_iso_times_and_clocks(cells, values):
    assert_allclose(parse_times(pd.Series(cells)).values, values)


@pytest.mark.parametrize("cells", [["a", "b"], ["A1", "B2"], ["99:99"], [""], ["3/4"]])
def test_text_without_times(cells):
    assert parse_times(pd.Series(cells)) is None


def test_time_that_is_a_word():
    parsed = parse_times(pd.Series([*TIMES.strftime("%d.%m.%Y"), "later"]))
    assert_array_equal(np.flatnonzero(parsed.wrong), [40])


@pytest.mark.parametrize(
    ("training", "cells", "style"),
    [
        ("%d/%m/%Y", ["02/20/2020", "05/21/2020"], None),  # months first
        ("%d/%m/%Y", ["03/04/2020", "02/20/2020"], None),
        ("%d/%m/%Y", ["20.02.2020"], "%d.%m.%Y"),
        ("%d.%m.%Y", ["20.02.2020 13:05"], "%d.%m.%Y %H:%M"),
        ("%m/%d/%Y", ["2020-02-20"], "ISO8601"),
        ("ISO8601", ["20.02.2020"], "%d.%m.%Y"),
        ("clock", ["2020-02-20"], None),
        ("%d/%m/%Y", ["12:30"], None),
        ("clock", ["12:30"], "clock"),
    ],
)
def test_formats_that_contradict_that_of_training(training, cells, style):
    parsed = parse_times(pd.Series(cells), training)
    assert parsed is None if style is None else parsed.style == style


def test_exchangeable_days_and_months():
    days = pd.Series(["01/02/2024", "03/04/2024"])
    assert is_ambiguous(days, "%d/%m/%Y") and is_ambiguous(days, "%m/%d/%Y")
    assert not is_ambiguous(pd.Series(["01/02/2024", "13/04/2024"]), "%d/%m/%Y")
    assert not is_ambiguous(pd.Series(["2024-01-02"]), "ISO8601")
    american = parse_times(pd.Series(["01/02/2024", "03/14/2024"]))
    assert american.style == "%m/%d/%Y"
