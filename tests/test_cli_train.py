"""Training on a table."""

import re

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, frame, write_csv

from sksngp._cli.classifiers import CLASSIFIERS
from sksngp._cli.main import main

pytestmark = pytest.mark.usefixtures("small_command_line")


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_training_on_a_table_of_mixed_types(capsys, train_csv, name):
    argv = ["--data", train_csv, "--target", "kind", "--classifier", name]
    assert main([*argv, "--epochs", "20"]) == 0
    out, err = capsys.readouterr()
    assert "80 rows, 2 classes of 'kind'" in out
    assert "rows of each class: 'old' 40 (50.0%), 'young' 40 (50.0%)" in out
    assert "numeric columns (1): 'age'" in out
    assert "missing cells, filled in: 'city' 12 (15.0%), 'age' 8 (10.0%)" in out
    assert "left out: 'code', it counts the rows" in out
    assert "text columns (2): 'city', 'member'" in out
    check = re.search(
        r"Cross-check: (\w+) trained on 60 rows, on the 20 others: accuracy (\S+), "
        r"NLL (\S+), ECE (\S+), flagged none \(too few rows\)",
        out,
    )
    assert check[1] == CLASSIFIERS[name].__name__
    assert float(check[2]) > 0.8
    assert all(float(number) >= 0 for number in check.groups()[2:])
    for measure in ("accuracy", "NLL", "ECE", "flagged"):
        assert f"  {measure}: " in out
    assert "Always predicting the most frequent class, 'old', gives 0.500" in out
    assert "20/20" in err


def test_rare_classes(capsys, tmp_path):
    rows = [["x", "y"], *([i % 7, "ab"[i % 2]] for i in range(20)), [9, "c"], [8, "c"]]
    argv = ["--target", "y", "--epochs", "1", "--data"]
    main([*argv, write_csv(tmp_path / "rare.csv", rows)])
    out = capsys.readouterr().out
    assert "trained on 17 rows, on the 5 others" in out
    assert "few rows, perhaps misspelled: 'c'" in out
    few = [["x", "y"], [1, "a"], [2, "b"], [3, "a"], [4, "b"]]
    main([*argv, write_csv(tmp_path / "few.csv", few)])
    assert "Cross-check: left out" in capsys.readouterr().out


def test_column_that_is_empty(capsys, tmp_path, no_training):
    frame(60, 0).to_csv(tmp_path / "a.csv", index=False)
    frame(60, 1).assign(a=np.nan).to_csv(tmp_path / "b.csv", index=False)
    argv = ["--data", f"{tmp_path}/a.csv", "--target", "target"]
    argv += ["--score", f"{tmp_path}/b.csv", "--output", f"{tmp_path}/o.csv"]
    expect_error(capsys, argv, "b.csv", "'a' has no values", "--drop a")


def test_few_different_rows(run):
    rng = np.random.default_rng(0)
    train = pd.DataFrame(rng.choice(["x", "y"], (200, 3)), columns=["a", "b", "kind"])
    train["target"] = np.where(rng.random(200) < 0.9, train["a"], "z")
    out, _ = run(train, train[:20])
    assert "only 8 of the 200 rows are different" in out
    assert "8 of its 200 rows are unique. Sort by ood_score instead." in out


def test_classifier_that_is_no_better_than_guessing(run):
    train = frame(200, 0).assign(target=["rare"] + ["often"] * 19 + ["often"] * 180)
    train.loc[::20, "target"] = "rare"
    out, _ = run(train, frame(40, 1).drop(columns="target"))
    accuracy = float(re.search(r"accuracy (\S+), NLL", out)[1])
    guess = re.search(r"most frequent class, 'often', gives ([.0-9]+)(.*)", out)
    assert (guess[2] == ": the classifier is no better") == (
        accuracy <= float(guess[1])
    )


@pytest.mark.parametrize("option", ["--drop", "--keep"])
def test_option_that_names_no_column(capsys, train_csv, option, no_training):
    argv = ["--data", train_csv, "--target", "kind", option, "agee"]
    expect_error(capsys, argv, "no column 'agee'; did you mean 'age'?")
