"""Columns of a training table: their kinds, identifiers, and remarks."""

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, write_csv

from sksngp._cli.columns import choose_columns
from sksngp._cli.tables import InputError, Table

RNG = np.random.default_rng(0)
N = 60


def choose(drop=(), keep=(), separator=",", **columns):
    cells = pd.DataFrame(
        {"x": RNG.normal(size=N), **columns, "y": ["p", "q"] * (N // 2)}
    )
    table = Table("t.csv", cells.astype(str), separator)
    return choose_columns(table, "y", drop, keep)


def kinds(choice):
    return {column.name: column.kind for column in choice.columns}


def test_columns_by_kind():
    choice = choose(
        flag=["True", "False"] * 30,
        text=["a", "b", "NA"] * 20,
        when=pd.date_range("2024-01-01", periods=N).strftime("%Y-%m-%d"),
        name=[f"n{i}" for i in range(N)],
        empty=[""] * N,
    )
    assert kinds(choice) == {
        "x": "number",
        "flag": "text",
        "text": "text",
        "when": "time",
    }
    assert set(choice.left_out) == {"name", "empty"}
    assert "'n0' in row 1" in choice.left_out["name"]
    _, flag, text, when = choice.columns
    assert text.missing == pytest.approx(1 / 3)
    assert text.counts == {"a": 20, "b": 20}
    assert flag.unseen == 0
    assert when.style == "ISO8601"
    assert np.diff(when.sample).min() == 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (range(N), "counts the rows"),
        (range(1000, 1000 + 5 * N, 5), "counts the rows"),
        ([f"{i:03d}" for i in range(N)], "counts the rows"),
        ([0.5 * i for i in range(N)], "counts the rows"),
        (RNG.permutation(10**6)[:N], "unique whole numbers"),
        ([10**17 + i for i in RNG.permutation(N)], "unique whole numbers"),
        ([f"{i}.0" for i in RNG.permutation(N)], "unique whole numbers"),
        ([*RNG.permutation(10**6)[: N - 1], ""], "unique whole numbers"),
    ],
)
def test_identifiers_are_left_out_unless_kept(values, why):
    choice = choose(id=values)
    assert kinds(choice) == {"x": "number"}
    assert why in choice.left_out["id"] and "--keep" in choice.left_out["id"]
    assert kinds(choose(id=values, keep=["id"])) == {"x": "number", "id": "number"}


def test_identifiers_of_rows_that_repeat():
    x, number = RNG.normal(size=N), RNG.permutation(10**6)[:N]
    x[1::2], number[1::2] = x[::2], number[::2]
    cells = pd.DataFrame({"x": x, "id": number, "y": ["p", "p", "q", "q"] * (N // 4)})
    choice = choose_columns(Table("t.csv", cells.astype(str)), "y")
    assert set(choice.left_out) == {"id"}


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 40, N),  # ages
        RNG.normal(size=N),
        np.sort(RNG.normal(size=N)),
        [1] * N,
    ],
)
def test_quantities_are_not_identifiers(values):
    assert kinds(choose(v=values)) == {"x": "number", "v": "number"}


def test_few_values_are_not_identifiers():
    cells = pd.DataFrame({"v": list("123456"), "y": list("pqpqpq")})
    assert kinds(choose_columns(Table("t.csv", cells), "y")) == {"v": "number"}


def test_one_word_does_not_turn_numbers_into_text():
    values = RNG.normal(size=N).astype(str)
    values[7] = "unknown"
    choice = choose(v=values)
    assert kinds(choice)["v"] == "number"
    assert choice.columns[1].words == ["unknown"]
    (remark,) = choice.remarks
    assert "'v'" in remark and "'unknown'" in remark and "row 8" in remark


def test_column_of_numbers_with_many_words():
    values = RNG.integers(0, 9, N).astype(str)
    values[:15] = ["low", "high", "none"] * 5
    choice = choose(v=values)
    assert kinds(choice)["v"] == "text"
    assert "used as text" in choice.remarks[0] and "'low'" in choice.remarks[0]


def test_notations_are_reported():
    commas = [f"{i / 8:.3f}".replace(".", ",") for i in RNG.permutation(N)]
    days = ["01/02/2024", "03/04/2024"] * 30
    city = ["Rome"] * 40 + ["Oslo"] * 19 + ["oslo"]
    choice = choose(a=commas, b=commas, day=days, city=city, separator=";")
    assert choice.styles == {"decimal commas": ["a", "b"]}
    day, city = choice.remarks
    assert "'day'" in day and "exchanged" in day and "%d/%m/%Y" in day
    assert city == "'city': 'oslo' is read as 'Oslo'"


def test_dropped_columns():
    choice = choose(v=RNG.normal(size=N), drop=["x"])
    assert kinds(choice) == {"v": "number"}
    assert choice.left_out == {"x": "because of --drop"}
    with pytest.raises(
        InputError, match=r"no column to train on.*'x': because of --drop"
    ):
        choose(drop=["x"])


@pytest.mark.parametrize("form", ["${}.50", "{}.5 %", "({})", "{} kg"])
def test_numbers_with_signs_and_units_are_explained(form):
    choice = choose(price=[form.format(i) for i in range(N)])
    assert "remove signs and units" in choice.left_out["price"]


def test_codes_are_not_numbers_with_units():
    assert "remove" not in choose(code=[f"n{i}" for i in range(N)]).left_out["code"]


@pytest.mark.parametrize(
    ("rows", "target", "parts"),
    [
        ([["x", "kind"], [1, "a"]], "kinds", ["'kinds'", "mean 'kind'?", "'x'"]),
        ([["x", "y"], [1, "a"], [2, ""]], "y", ["1 of 2 rows", "'y'", "row 2"]),
        ([["x", "y"], [1, "a"], [2, "a "]], "y", ["one class only, 'a'"]),
        ([["x", "y"], [1, "1"], [2, "1.0"]], "y", ["one class only, '1'"]),
        ([["x", "y"], *([i, i / 7] for i in range(9))], "y", ["9 different values"]),
        ([["y"], *"abab"], "y", ["no column to train on", "'y'"]),
        ([["n", "y"], *zip("pqrs", "abab", strict=True)], "y", ["'n': most of its"]),
        ([["n", "y"], *([i, i % 2] for i in range(20))], "y", ["'n': it", "--keep"]),
        ([["x", "y"], *zip("12", "ab", strict=True)], "y", ["two rows each"]),
        (
            [["x", "y"], *zip(["1", "inf", "2", "3"], "abab", strict=True)],
            "y",
            ["'x', row 2", "'inf'", "finite"],
        ),
        ([["x", "y"], *zip(["1", "1e39", "2", "3"], "abab", strict=True)], "y", "1"),
    ],
)
def test_unusable_training_table(capsys, tmp_path, rows, target, parts, no_training):
    path = write_csv(tmp_path / "table.csv", rows)
    expect_error(capsys, ["--data", path, "--target", target], path, *parts)
