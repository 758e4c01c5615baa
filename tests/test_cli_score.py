"""Scoring a second table."""

import os
import re

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, frame, people, read_csv, score_argv, write_csv
from sklearn.datasets import load_iris

from sksngp import SNGPClassifier
from sksngp._cli.columns import choose_columns
from sksngp._cli.features import read_features
from sksngp._cli.main import main
from sksngp._cli.score import RESULTS, NewData, _has_decimal_commas
from sksngp._cli.tables import Table

pytestmark = pytest.mark.usefixtures("small_command_line")


def test_scoring_a_second_table(capsys, tmp_path, train_csv):
    header, *rows = people(30, seed=1)
    rows[0][1] = "Wien"  # an unknown category
    rows[1][0] = "9000"  # far from the training data
    order = [4, 2, 0, 1, 3]  # additional columns, in a different order
    new = [["id", *(header[i] for i in order), "prédit"]]
    new += [[f"{n:05d}", *(row[i] for i in order), " x"] for n, row in enumerate(rows)]
    new_csv = write_csv(tmp_path / "new.csv", new)
    flagged_csv = tmp_path / "flagged.csv"
    flagged_csv.write_text("an older result")
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "20"]
    argv += ["--score", new_csv, "--output", str(flagged_csv)]
    assert main(argv) == 0
    out = capsys.readouterr().out
    scored = read_csv(flagged_csv)
    classes = ["probability_old", "probability_young"]
    assert list(scored[0]) == [*new[0], *RESULTS, *classes]
    assert [row["id"] for row in scored] == [row[0] for row in new[1:]]
    assert [row["age"] for row in scored] == [row[3] for row in new[1:]]
    assert {row["prediction"] for row in scored} == {"young", "old"}
    right = np.mean([row["prediction"] == row["kind"] for row in scored])
    assert right > 0.8
    assert all(0.5 <= float(row["probability"]) <= 1 for row in scored)
    for row in scored:
        proba = {
            label: float(row[f"probability_{label}"]) for label in ("old", "young")
        }
        assert sum(proba.values()) == pytest.approx(1, abs=1e-5)
        assert proba[row["prediction"]] == float(row["probability"])
        assert 0 < float(row["ood_pvalue"]) <= 1
    flags = np.array([row["out_of_distribution"] == "True" for row in scored])
    assert {row["out_of_distribution"] for row in scored} <= {"True", "False"}
    # A category that does not occur in training, and a distant row.
    assert flags[:2].all() and not flags.all()
    assert scored[0]["unusual_cells"] == "city 'Wien' was never seen"
    assert "never seen in training: 'city' in 1 row(s), such as 'Wien'" in out
    assert f"{flags.sum()} of 30 rows flagged" in out
    assert f"accuracy on the 30 rows of a known class: {right:.3f}" in out
    assert "(always predicting 'old': 0.500)" in out
    assert set(os.listdir(tmp_path)) == {"train.csv", "new.csv", "flagged.csv"}


def test_scores_are_those_of_the_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = load_iris(return_X_y=True)
    write_csv("iris.csv", [["a", "b", "c", "d", "y"], *np.c_[X, y].tolist()])
    argv = "--data iris.csv --target y --epochs 5 --score iris.csv --output out.csv"
    assert main([*argv.split(), "--ood-alpha", "0.2"]) == 0
    classifier = SNGPClassifier(
        num_layers=1,
        num_hidden=16,
        learning_rate=0.02,
        num_inducing=256,
        epochs=5,
        cv=None,
        ood_alpha=0.2,
        random_state=0,
    ).fit(X, y.astype(float).astype(str))
    scored = read_csv("out.csv")
    assert [row["prediction"] for row in scored] == classifier.predict(X).tolist()
    for name, expected in (
        ("probability", classifier.predict_proba(X).max(axis=1)),
        ("ood_score", -classifier.score_samples(X)),
        ("ood_pvalue", classifier.ood_pvalue(X)),
        ("probability_1.0", classifier.predict_proba(X)[:, 1]),
    ):
        found = [float(row[name]) for row in scored]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert classifier.predict_ood(X).any()
    flags = [row["out_of_distribution"] == "True" for row in scored]
    assert flags == classifier.predict_ood(X).tolist()


def test_labels_of_the_second_table(capsys, tmp_path, train_csv):
    header, *rows = people(12)
    for row, label in zip(rows, ["", "robot", "robot"], strict=False):
        row[4] = label
    new_csv = write_csv(tmp_path / "new.csv", [header, *rows])
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "1"]
    main([*argv, "--score", new_csv, "--output", str(tmp_path / "o.csv")])
    out = capsys.readouterr().out
    assert "on the 9 rows of a known class" in out
    assert "of a class never trained on: 2" in out


def test_second_table_without_the_target(capsys, tmp_path, train_csv):
    new_csv = write_csv(tmp_path / "new.csv", [row[:-1] for row in people(12)])
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "1"]
    main([*argv, "--score", new_csv, "--output", str(tmp_path / "o.csv")])
    assert "accuracy on" not in capsys.readouterr().out
    assert "kind" not in read_csv(tmp_path / "o.csv")[0]


def test_cells_missing_where_training_has_none(run):
    train, new = frame(200, 0), frame(60, 1)
    new.loc[:19, "a"] = np.nan
    new.loc[10:29, "kind"] = "zzz"
    out, scored = run(train, new)
    assert scored["out_of_distribution"][:30].all()
    assert "missing cells, filled in: 'a' 20 (33.3%; 0.0% in training)" in out
    assert "rows flagged for missing cells or values never seen: 30" in out
    assert "Far more rows are flagged than expected" in out
    assert "    'kind': 'zzz' in 33% of the rows, 0% in training" in out
    assert scored["unusual_cells"][0] == "a is missing"
    assert scored["unusual_cells"][15] == "a is missing; kind 'zzz' was never seen"
    assert (scored["unusual_cells"][30:] == "").all()


@pytest.mark.slow
def test_cells_missing_where_training_has_some(run):
    train, new = frame(200, 0), frame(60, 1)
    train.loc[::4, "a"] = np.nan
    new.loc[::4, "a"] = np.nan
    out, scored = run(train, new)
    assert "flagged for missing" not in out
    assert scored["out_of_distribution"].mean() < 0.2
    assert (scored["unusual_cells"] == "").all()


@pytest.mark.slow
def test_identifiers_and_moved_columns(run):
    train = frame(200, 0).assign(id=range(200))
    new = frame(60, 1).assign(id=range(10_000, 10_060))
    out, scored = run(train, new)
    assert "left out: 'id'" in out
    assert scored["out_of_distribution"].mean() < 0.2
    out, scored = run(train, new, "--keep", "id")
    assert scored["out_of_distribution"].mean() > 0.8
    assert "    'id': mostly 10 to 189 in training, 10003 to 10056 here" in out
    assert "--drop COLUMN" in out
    out, scored = run(train, new, "--drop", "kind", "--drop", "a")
    assert "left out: 'kind', because of --drop" in out and "numeric columns (1)" in out


def test_labels_are_compared_as_values(run):
    train, new = frame(120, 0), frame(40, 1)
    train["target"] = (train["target"] == "bad").astype(float)
    new["target"] = (new["target"] == "bad").astype(int)
    out, scored = run(train, new)
    assert "on the 40 rows of a known class" in out
    assert "never trained on" not in out
    assert set(scored["prediction"]) <= {0.0, 1.0}


def test_semicolons_and_decimal_commas(run):
    train, new = frame(120, 0), frame(40, 1)
    out, scored = run(train, new, sep=";", decimal=",")
    assert "separated by ';'" in out
    assert "read with decimal commas: 'a', 'b'" in out
    np.testing.assert_allclose(scored["a"], new["a"])
    sums = scored["probability_bad"] + scored["probability_good"]
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_dirt_is_named(run):
    train, new = frame(120, 0).astype({"a": object}), frame(40, 1)
    train.loc[4, "a"] = "unknown"
    train.loc[0, "target"] = train.loc[0, "target"].upper()
    train["when"] = pd.date_range("2024-01-31", periods=120).strftime("%d.%m.%Y")
    new["when"] = pd.date_range("2024-03-31", periods=40).strftime("%d.%m.%Y")
    out, _ = run(train, new)
    assert "note: 'a': 1 cell is not a number and counts as missing: 'unknown'" in out
    assert re.search(r"note: 'target': '(BAD|GOOD)' is read as '(bad|good)'", out)
    assert "2 classes of 'target'" in out
    assert "time columns (1): 'when'" in out


def test_second_table_without_some_columns(capsys, tmp_path, train_csv, no_training):
    rows = [[row[1], row[3], row[4]] for row in people(4)]
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "lacks the columns 'age', 'member'")


def test_text_in_a_numeric_column(capsys, tmp_path, train_csv, no_training):
    rows = people(8)
    rows[5][0] = rows[6][0] = "fifty"
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "'age', row 5", "'fifty'", "not a number")


def test_second_table_with_columns_of_results(capsys, tmp_path, train_csv, no_training):
    header, *rows = people(4)
    rows = [[*header, "ood_score", "prediction"], *([*row, 1, 2] for row in rows)]
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "'prediction', 'ood_score'", "rename")


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        ({"a": ["1,5", "2"]}, ";", True),
        ({"a": ["1,5", "2"], "b": ["1.5", "2"]}, ";", False),
        ({"a": ["1,5", "2"], "b": ["1", "2"], "c": ["x.1", "y"]}, ";", True),
        ({"a": ["1,5", "2"]}, ",", False),
        ({"a": ["1.5", "2"]}, ";", False),
    ],
)
def test_decimal_separator_of_the_output(cells, separator, expected):
    """The output must not have decimal commas and decimal points."""
    frame = pd.DataFrame(cells)
    table = Table("new.csv", frame.assign(y=["p", "q"]), separator)
    columns = choose_columns(table, "y", keep=list(cells)).columns
    new = NewData(table, read_features(table, columns))
    assert _has_decimal_commas(new) == expected
