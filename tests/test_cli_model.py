"""Saving and loading of models of the command line."""

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, people, read_csv, write_csv
from sklearn.pipeline import make_pipeline

from sksngp import SNGPClassifier, persistence
from sksngp._cli.main import main


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


def test_damaged_description_ends_the_command_with_one_line(
    table_model, capsys, in_folder, no_training
):
    pipeline = persistence.load(table_model)
    pipeline.table_ = "[]"
    persistence.save(pipeline, "m.sksngp")
    expect_error(capsys, AGAIN, "m.sksngp: its description of tables is damaged")


def test_new_table_that_does_not_match(capsys, in_folder):
    main(TRAIN)
    capsys.readouterr()
    write_csv("new.csv", [["age"], ["30"]])
    expect_error(capsys, AGAIN, "new.csv", "lacks the columns 'city', 'member'")


def test_without_skops(capsys, in_folder, monkeypatch, no_training):
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    expect_error(capsys, TRAIN, "require skops")
    expect_error(capsys, AGAIN, "require skops")
