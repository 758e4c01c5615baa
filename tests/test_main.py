"""The command line: tables of a user's own, and invalid options."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from command_line import expect_error, people, read_csv, write_csv
from sklearn.datasets import load_iris

from sksngp import SNGPClassifier, _cli_compare, _cli_data
from sksngp.__main__ import main

pytestmark = pytest.mark.usefixtures("small_command_line")


@pytest.fixture
def train_csv(tmp_path):
    return write_csv(tmp_path / "train.csv", people())


# Training and scoring


@pytest.mark.parametrize("name", sorted(_cli_compare.CLASSIFIERS))
def test_training_on_a_table_of_mixed_types(capsys, train_csv, name):
    argv = ["--data", train_csv, "--target", "kind", "--classifier", name]
    assert main([*argv, "--epochs", "20"]) == 0
    out, err = capsys.readouterr()
    assert "80 rows, 2 classes of 'kind'" in out
    assert "numeric columns (2): 'age', 'code'" in out
    assert "text columns (2): 'city', 'member'" in out
    check = re.search(
        r"Cross-check: (\w+) trained on 60 rows, on the 20 others: accuracy (\S+), "
        r"NLL (\S+), ECE (\S+), flagged none \(too few rows\)",
        out,
    )
    assert check[1] == _cli_compare.CLASSIFIERS[name].__name__
    assert float(check[2]) > 0.8
    assert all(float(number) >= 0 for number in check.groups()[2:])
    assert "20/20" in err


def test_scoring_a_second_table(capsys, tmp_path, train_csv):
    header, *rows = people(30, seed=1)
    rows[0][1] = "Wien"  # an unknown category
    rows[1][0] = "9000"  # far from the training data
    order = [4, 2, 0, 1, 3]  # other columns among them, in another order
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
    assert list(scored[0]) == [*new[0], *_cli_data.RESULTS]
    assert [row["id"] for row in scored] == [row[0] for row in new[1:]]
    assert [row["age"] for row in scored] == [row[3] for row in new[1:]]
    assert {row["prediction"] for row in scored} == {"young", "old"}
    right = np.mean([row["prediction"] == row["kind"] for row in scored])
    assert right > 0.8
    assert all(0.5 <= float(row["probability"]) <= 1 for row in scored)
    uncertainty = np.array([float(row["ood_score"]) for row in scored])
    flags = np.array([row["out_of_distribution"] == "True" for row in scored])
    assert {row["out_of_distribution"] for row in scored} <= {"True", "False"}
    assert flags[1] and not flags.all()
    assert uncertainty[flags].min() >= uncertainty[~flags].max()
    assert f"{flags.sum()} of 30 rows flagged" in out
    assert f"accuracy on the 30 rows of a known class: {right:.3f}" in out
    assert set(os.listdir(tmp_path)) == {"train.csv", "new.csv", "flagged.csv"}


def test_scores_are_those_of_the_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = load_iris(return_X_y=True)
    write_csv("iris.csv", [["a", "b", "c", "d", "y"], *np.c_[X, y].tolist()])
    argv = "--data iris.csv --target y --epochs 5 --score iris.csv --output out.csv"
    assert main(argv.split()) == 0
    classifier = SNGPClassifier(
        num_layers=1,
        num_hidden=16,
        learning_rate=0.02,
        num_inducing=256,
        epochs=5,
        cv=None,
        random_state=0,
    ).fit(X, y.astype(float).astype(str))
    scored = read_csv("out.csv")
    assert [row["prediction"] for row in scored] == classifier.predict(X).tolist()
    for name, expected in (
        ("probability", classifier.predict_proba(X).max(axis=1)),
        ("ood_score", -classifier.score_samples(X)),
    ):
        found = [float(row[name]) for row in scored]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
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


def test_rare_classes(capsys, tmp_path):
    rows = [["x", "y"], *([i, "ab"[i % 2]] for i in range(20)), [50, "c"], [51, "c"]]
    argv = ["--target", "y", "--epochs", "1", "--data"]
    main([*argv, write_csv(tmp_path / "rare.csv", rows)])
    assert "trained on 17 rows, on the 5 others" in capsys.readouterr().out
    few = [["x", "y"], [1, "a"], [2, "b"], [3, "a"], [4, "b"]]
    main([*argv, write_csv(tmp_path / "few.csv", few)])
    assert "Cross-check: left out" in capsys.readouterr().out


# Errors


def test_missing_file(capsys, tmp_path, train_csv, no_training):
    nowhere = str(tmp_path / "none.csv")
    expect_error(capsys, ["--data", nowhere, "--target", "y"], nowhere, "no such file")
    expect_error(capsys, ["--data", str(tmp_path), "--target", "y"], "directory")
    argv = ["--data", train_csv, "--target", "kind", "--score", nowhere]
    expect_error(capsys, [*argv, "--output", nowhere + "2"], nowhere, "no such file")


def score_argv(tmp_path, train_csv, rows, output="o.csv"):
    new_csv = write_csv(tmp_path / "new.csv", rows)
    argv = ["--data", train_csv, "--target", "kind", "--score", new_csv]
    return [*argv, "--output", str(tmp_path / output)]


def test_second_table_without_some_columns(capsys, tmp_path, train_csv, no_training):
    rows = [[row[1], row[3], row[4]] for row in people(4)]
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "lacks the columns 'age', 'member'")


def test_text_in_a_numeric_column(capsys, tmp_path, train_csv, no_training):
    rows = people(8)
    rows[5][0] = "fifty"
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "'age', row 5", "'fifty'", "not a number")


def test_second_table_with_columns_of_results(capsys, tmp_path, train_csv, no_training):
    header, *rows = people(4)
    rows = [[*header, "ood_score", "prediction"], *([*row, 1, 2] for row in rows)]
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "'prediction', 'ood_score'", "rename")


@pytest.mark.parametrize(
    ("output", "part"),
    [
        ("nowhere/o.csv", "there is no folder"),
        (".", "not a file that can be written"),
        ("new.csv/o.csv", "there is no folder"),
        ("new.csv", "would overwrite an input"),
        ("./train.csv", "would overwrite an input"),
        ("x" * 300, "too long"),
    ],
)
def test_unwritable_output(capsys, tmp_path, train_csv, output, part, no_training):
    argv = score_argv(tmp_path, train_csv, people(4), output)
    expect_error(capsys, argv, part)
    assert set(os.listdir(tmp_path)) == {"train.csv", "new.csv"}


def test_output_must_not_be_a_device(capsys, tmp_path, train_csv, no_training):
    argv = score_argv(tmp_path, train_csv, people(4))[:-1]
    expect_error(capsys, [*argv, os.devnull], "not a file that can be written")


def test_unwritable_picture(capsys, tmp_path):
    argv = ["--data", "two-moons", "--picture", str(tmp_path / "none" / "p.png")]
    expect_error(capsys, argv, "there is no folder")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ("--data t.csv", "--target"),
        ("--data t.csv --target y --score n.csv", "--score and --output go together"),
        ("--data t.csv --target y --output o.csv", "--score and --output go together"),
        ("--target y", "--target needs --data"),
        ("--score n.csv --output o.csv", "--score needs --data with a CSV"),
        ("--data digits --score n.csv", "--score needs --data with a CSV"),
        ("--data two-moons --target y", "--target needs --data with a CSV"),
        ("--data digits --classifier sngp", "--classifier needs --data with a CSV"),
        ("--data digits --picture p.png", "--picture"),
        ("--picture p.svg", "must end in .png"),
        ("--epochs 0", "--epochs: must be at least 1"),
        ("--epochs many", "'many' is not a whole number"),
        ("--random-state -1", "'-1' is not a whole number"),
        ("--random-state 4294967296", "between 0 and 4294967295"),
        ("--data t.csv --target y --classifier svm", "invalid choice: 'svm'"),
    ],
)
def test_invalid_options(capsys, argv, part, no_training):
    expect_error(capsys, argv.split(), part)


def test_interrupt(capsys, monkeypatch, train_csv):
    def fit(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(SNGPClassifier, "fit", fit)
    with pytest.raises(SystemExit) as stop:
        main(["--data", train_csv, "--target", "kind"])
    assert stop.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_help():
    done = subprocess.run(
        [sys.executable, "-m", "sksngp", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    options = ("data", "target", "score", "output", "classifier", "picture", "epochs")
    for option in (*options, "random-state"):
        assert f"--{option} " in done.stdout
    assert done.stderr == ""
