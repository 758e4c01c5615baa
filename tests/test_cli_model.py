"""Saving and loading of models of the command line."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, people, read_csv, write_csv
from sklearn.pipeline import make_pipeline

from sksngp import SNGPClassifier, persistence
from sksngp._cli.columns import Column, choose_columns
from sksngp._cli.description import Description, from_text, to_text
from sksngp._cli.main import main
from sksngp._cli.model import Model, load_model, save_model
from sksngp._cli.pipeline import build_pipeline
from sksngp._cli.spelling import Spellings
from sksngp._cli.tables import InputError, Table


@pytest.fixture
def in_folder(tmp_path, monkeypatch, small_command_line):
    monkeypatch.chdir(tmp_path)
    write_csv("train.csv", people(80))
    write_csv("new.csv", people(20, seed=1))


TRAIN = "--data train.csv --target kind --epochs 3 --save m.sksngp".split()
AGAIN = "--model m.sksngp --score new.csv --output again.csv".split()


def test_saved_model_scores_as_the_trained_one(capsys, in_folder):
    main([*TRAIN, "--score", "new.csv", "--output", "first.csv"])
    out = capsys.readouterr().out
    assert "Model saved to m.sksngp" in out
    first = [line for line in out.splitlines() if line.startswith("  accuracy on")]
    main([*AGAIN, "--report", "again.html"])
    out = capsys.readouterr().out
    assert "SNGPClassifier trained on 80 rows of train.csv" in out
    assert first[0] in out
    with open("first.csv") as one, open("again.csv") as two:
        assert one.read() == two.read()
    main([*AGAIN, "--ood-alpha", "0.9"])
    more = [row["out_of_distribution"] for row in read_csv("again.csv")].count("True")
    less = [row["out_of_distribution"] for row in read_csv("first.csv")].count("True")
    assert more > less


def test_saved_model_is_a_pipeline_for_python(in_folder):
    import pandas as pd

    main(TRAIN)
    pipeline = persistence.load("m.sksngp")
    new = pd.DataFrame({"age": [20.0, np.nan], "city": ["Bonn", np.nan]})
    new["member"] = "True"
    assert pipeline.predict_proba(new).shape == (2, 2)


def test_files_that_are_not_models(capsys, in_folder, no_training):
    expect_error(capsys, AGAIN, "m.sksngp", "No such file")
    with open("m.sksngp", "w") as stream:
        stream.write("text")
    expect_error(capsys, AGAIN, "m.sksngp", "not a model saved by sksngp")


def test_model_without_a_description(capsys, in_folder, fitted_on_moons):
    clf = fitted_on_moons(SNGPClassifier)
    persistence.save(make_pipeline(clf), "m.sksngp")
    expect_error(capsys, AGAIN, "m.sksngp: not a model that --save wrote")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the path of a model file of the command line."""
    table = {"age": [20.0, 30.0, 40.0] * 8, "city": ["Bonn", "Rome", "Oslo"] * 8}
    frame = pd.DataFrame(table)
    columns = [
        Column("age", "number", sample=[20.0, 30.0, 40.0]),
        Column(
            "city",
            "text",
            counts=dict.fromkeys(table["city"], 8),
            spellings={city: city for city in table["city"]},
        ),
    ]
    clf = SNGPClassifier(num_layers=1, num_inducing=16, epochs=1, cv=None)
    pipeline = build_pipeline(columns, clf).fit(frame, np.array(["a", "b"] * 12))
    labels = Spellings({"a": "a", "b": "b"})
    model = Model(columns, "kind", labels, "train.csv", 24, 24, pipeline)
    path = tmp_path_factory.mktemp("trained") / "m.sksngp"
    save_model(model, str(path))
    return path


def test_description_is_restored_unchanged(trained):
    model = load_model(str(trained))
    assert model.columns[0] == Column("age", "number", sample=[20.0, 30.0, 40.0])
    assert model.labels.values == {"a": "a", "b": "b"}
    assert (model.target, model.source, model.num_rows) == ("kind", "train.csv", 24)


def in_column(number, **changes):
    def change(table):
        table["columns"][number].update(changes)

    return change


def set_entries(**changes):
    return lambda table: table.update(changes)


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
def test_forged_descriptions(trained, tmp_path, change, reason):
    pipeline = persistence.load(trained)
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
def test_damaged_descriptions(trained, tmp_path, text):
    pipeline = persistence.load(trained)
    pipeline.table_ = text
    persistence.save(pipeline, tmp_path / "forged")
    with pytest.raises(InputError, match="tables is damaged"):
        load_model(str(tmp_path / "forged"))


def test_description_of_another_model(trained, fitted_on_moons, tmp_path):
    clf, pipeline = fitted_on_moons(SNGPClassifier), persistence.load(trained)
    for model in (make_pipeline(clf), copy.deepcopy(clf)):
        model.table_ = pipeline.table_
        persistence.save(model, tmp_path / "forged")
        with pytest.raises(InputError, match="another kind of model"):
            load_model(str(tmp_path / "forged"))


def test_damaged_description_ends_the_command_with_one_line(
    trained, capsys, in_folder, no_training
):
    pipeline = persistence.load(trained)
    pipeline.table_ = "[]"
    persistence.save(pipeline, "m.sksngp")
    expect_error(capsys, AGAIN, "m.sksngp: its description of tables is damaged")


def test_description_of_a_wide_table_is_small():
    numbers = np.random.default_rng(0).normal(size=(300, 500)).astype(str)
    names = [f"column {number}" for number in range(500)]
    cells = pd.DataFrame(numbers, columns=names).assign(kind="a")
    columns = choose_columns(Table("wide.csv", cells, ","), "kind").columns
    assert len(columns) == 500
    text = to_text(Description(columns, "kind", Spellings({"a": "a"}), "", 300, 300))
    assert len(text) < 1300 * 500
    assert from_text(text).columns == columns


def test_new_table_that_does_not_match(capsys, in_folder):
    main(TRAIN)
    capsys.readouterr()
    write_csv("new.csv", [["age"], ["30"]])
    expect_error(capsys, AGAIN, "new.csv", "lacks the columns 'city', 'member'")


def test_without_skops(capsys, in_folder, monkeypatch, no_training):
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    expect_error(capsys, TRAIN, "require skops")
    expect_error(capsys, AGAIN, "require skops")
