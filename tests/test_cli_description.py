"""Descriptions of tables in model files: written, read and checked."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from sksngp import SNGPClassifier, persistence
from sksngp._cli.columns import Column, choose_columns
from sksngp._cli.description import Description, from_text, to_text
from sksngp._cli.model import load_model
from sksngp._cli.spelling import Spellings
from sksngp._cli.tables import InputError, Table


def in_column(number, **changes):
    def change(table):
        table["columns"][number].update(changes)

    return change


def set_entries(**changes):
    return lambda table: table.update(changes)


def test_description_is_read_as_it_was_written(table_model):
    model = load_model(str(table_model))
    assert model.columns[0] == Column("age", "number", sample=[20.0, 30.0, 40.0])
    assert model.labels.values == {"a": "a", "b": "b"}
    assert (model.target, model.source, model.num_rows) == ("kind", "train.csv", 24)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_entries(format=99), "another version"),
        (set_entries(more=1), "lacks entries or has others"),
        (lambda table: table.pop("target"), "lacks entries or has others"),
        (set_entries(columns=[]), "its columns is wrong"),
        (set_entries(columns=[{"color": "red"}]), "a column lacks entries"),
        (set_entries(columns=[["age"]]), "a column lacks entries"),
        (set_entries(target=["kind"]), "its target is wrong"),
        (set_entries(labels={"a": 1}), "its labels is wrong"),
        (set_entries(source="\x1b[2J"), "its source is wrong"),
        (set_entries(source="\ud800"), "its source is wrong"),
        (set_entries(num_rows=10**400), "its num_rows is wrong"),
        (set_entries(num_distinct=True), "its num_distinct is wrong"),
        (in_column(0, name=["age"]), "the name of column 1 is wrong"),
        (in_column(0, kind={}), "the kind of column 1 is wrong"),
        (in_column(0, missing="0"), "the missing of column 1 is wrong"),
        (in_column(0, missing=float("nan")), "it is not JSON"),
        (in_column(0, words=[1]), "the words of column 1 is wrong"),
        (in_column(0, style="%d" * 99), "the style of column 1 is wrong"),
        (in_column(0, sample=[2, 1]), "the sample of column 1 is wrong"),
        (in_column(0, sample=[10**400]), "the sample of column 1 is wrong"),
        (in_column(0, sample=[1] * 201), "the sample of column 1 is wrong"),
        (in_column(0, sample=["1"]), "the sample of column 1 is wrong"),
        (in_column(1, counts={"Bonn": 10**400}), "the counts of column 2 is wrong"),
        (in_column(1, counts={}), "the counts of column 2 is wrong"),
        (in_column(1, spellings={"Bonn": None}), "the spellings of column 2 is wrong"),
        (in_column(1, name="age"), "two columns have the same name"),
        (in_column(1, name="town"), "fitted on other columns"),
        (in_column(0, kind="time", style="clock"), None),
        (
            in_column(0, kind="text", sample=[], counts={"20": 1}),
            "fitted on other columns",
        ),
        (lambda table: table["columns"].reverse(), "fitted on other columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_forged_descriptions(table_model, tmp_path, change, reason):
    pipeline = persistence.load(table_model)
    table = json.loads(pipeline.table_)
    change(table)
    pipeline.table_ = json.dumps(table)
    persistence.save(pipeline, tmp_path / "forged")
    if reason is None:
        load_model(str(tmp_path / "forged"))
        return
    with pytest.raises(InputError, match=f"tables is damaged: .*{reason}") as caught:
        load_model(str(tmp_path / "forged"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"format": ', "1"])
def test_damaged_descriptions(table_model, tmp_path, text):
    pipeline = persistence.load(table_model)
    pipeline.table_ = text
    persistence.save(pipeline, tmp_path / "forged")
    with pytest.raises(InputError, match="tables is damaged"):
        load_model(str(tmp_path / "forged"))


def test_description_of_another_model(table_model, fitted_on_moons, tmp_path):
    clf, pipeline = fitted_on_moons(SNGPClassifier), persistence.load(table_model)
    for model in (make_pipeline(clf), copy.deepcopy(clf)):
        model.table_ = pipeline.table_
        persistence.save(model, tmp_path / "forged")
        with pytest.raises(InputError, match="another kind of model"):
            load_model(str(tmp_path / "forged"))


@pytest.mark.slow
def test_description_of_a_wide_table_is_small():
    numbers = np.random.default_rng(0).normal(size=(300, 500)).astype(str)
    names = [f"column {number}" for number in range(500)]
    cells = pd.DataFrame(numbers, columns=names).assign(kind="a")
    columns = choose_columns(Table("wide.csv", cells, ","), "kind").columns
    assert len(columns) == 500
    text = to_text(Description(columns, "kind", Spellings({"a": "a"}), "", 300, 300))
    assert len(text) < 1300 * 500
    assert from_text(text).columns == columns
