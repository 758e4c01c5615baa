"""Options of the command line."""

import pytest
from command_line import expect_error, people, score_argv

pytestmark = pytest.mark.usefixtures("small_command_line")


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ("--data t.csv", "--target"),
        (
            "--data t.csv --target y --score n.csv",
            "--score and --output must be used together",
        ),
        (
            "--data t.csv --target y --output o.csv",
            "--score and --output must be used together",
        ),
        ("--target y", "--target requires --data with a CSV file"),
        ("--score n.csv --output o.csv", "--score requires --data with a CSV file"),
        ("--data digits --score n.csv", "--score requires --data with a CSV file"),
        ("--data two-moons --target y", "--target requires --data with a CSV file"),
        (
            "--data digits --classifier sngp",
            "--classifier requires --data with a CSV file",
        ),
        ("--data digits --picture p.png", "--picture"),
        ("--picture p.svg", "must end in .png"),
        ("--epochs 0", "--epochs: '0' is not a whole number between 1 and"),
        ("--epochs many", "'many' is not a whole number"),
        ("--random-state -1", "'-1' is not a whole number"),
        ("--random-state 4294967296", "between 0 and 4294967295"),
        ("--data t.csv --target y --classifier svm", "invalid choice: 'svm'"),
        ("--ood-alpha 0", "'0' is not a number between 0 and 1"),
        ("--ood-alpha nan", "'nan' is not a number between 0 and 1"),
        ("--data digits --drop x", "--drop requires --data with a CSV file"),
        ("--keep x", "--keep requires --data with a CSV file"),
        ("--report r.html", "--report requires --data with a CSV file"),
        ("--save m.sksngp", "--save requires --data with a CSV file"),
        ("--data t.csv --target y --report r.pdf", "must end in .html"),
        (
            "--data t.csv --target y --drop y",
            "--drop y: the column is also the --target",
        ),
        ("--data t.csv --target y --drop x --keep x", "both name 'x'"),
        ("--model m --data t.csv", "--data is for training"),
        ("--model m --score n.csv --output o.csv --drop x", "--drop is for training"),
        ("--model m --score n.csv --output o.csv --picture p.png", "--picture"),
        ("--model m --score n.csv", "--model requires --score and --output"),
    ],
)
def test_invalid_options(capsys, argv, part, no_training):
    expect_error(capsys, argv.split(), part)


def test_outputs_that_are_one_file(capsys, tmp_path, train_csv, no_training):
    argv = score_argv(tmp_path, train_csv, people(4), "o.html")
    expect_error(capsys, [*argv, "--report", str(tmp_path / "o.html")], "overwrite")
