"""The command line: tables of users, and invalid options."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from command_line import expect_error, people, read_csv, write_csv
from sklearn.datasets import load_iris
from test_cli_report import Page

from sksngp import SNGPClassifier
from sksngp._cli.classifiers import CLASSIFIERS
from sksngp._cli.main import main
from sksngp._cli.score import RESULTS

pytestmark = pytest.mark.usefixtures("small_command_line")


@pytest.fixture
def train_csv(tmp_path):
    return write_csv(tmp_path / "train.csv", people())


# Training and scoring


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


# Inputs that differ from the training table


def frame(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    kind = rng.choice(["u", "v"], n)
    target = np.where(x[:, 0] + x[:, 1] > 0, "bad", "good")
    return pd.DataFrame(x, columns=["a", "b"]).assign(kind=kind, target=target)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(train, new, *options)``: the output, and the scored table."""
    monkeypatch.chdir(tmp_path)

    def run(train, new, *options, sep=",", decimal="."):
        train.to_csv("a.csv", index=False, sep=sep, decimal=decimal)
        new.to_csv("b.csv", index=False, sep=sep, decimal=decimal)
        argv = "--data a.csv --target target --score b.csv --output o.csv --epochs 5"
        assert main([*argv.split(), *options]) == 0
        scored = pd.read_csv("o.csv", sep=sep, decimal=decimal, keep_default_na=False)
        return capsys.readouterr().out, scored

    return run


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


def test_cells_missing_where_training_has_some(run):
    train, new = frame(200, 0), frame(60, 1)
    train.loc[::4, "a"] = np.nan
    new.loc[::4, "a"] = np.nan
    out, scored = run(train, new)
    assert "flagged for missing" not in out
    assert scored["out_of_distribution"].mean() < 0.2
    assert (scored["unusual_cells"] == "").all()


def test_column_that_is_empty(capsys, tmp_path, no_training):
    frame(60, 0).to_csv(tmp_path / "a.csv", index=False)
    frame(60, 1).assign(a=np.nan).to_csv(tmp_path / "b.csv", index=False)
    argv = ["--data", f"{tmp_path}/a.csv", "--target", "target"]
    argv += ["--score", f"{tmp_path}/b.csv", "--output", f"{tmp_path}/o.csv"]
    expect_error(capsys, argv, "b.csv", "'a' has no values", "--drop a")


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


def test_few_different_rows(run):
    rng = np.random.default_rng(0)
    train = pd.DataFrame(rng.choice(["x", "y"], (200, 3)), columns=["a", "b", "kind"])
    train["target"] = np.where(rng.random(200) < 0.9, train["a"], "z")
    out, _ = run(train, train[:20])
    assert "only 8 of the 200 rows are different" in out
    assert "8 of its 200 rows are different. Sort by ood_score instead." in out


def test_semicolons_and_decimal_commas(run):
    train, new = frame(120, 0), frame(40, 1)
    out, scored = run(train, new, sep=";", decimal=",")
    assert "separated by ';'" in out
    assert "read with decimal commas: 'a', 'b'" in out
    np.testing.assert_allclose(scored["a"], new["a"])
    sums = scored["probability_bad"] + scored["probability_good"]
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_unparsable_cells_are_reported(run):
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


def test_classifier_that_is_no_better_than_guessing(run):
    train = frame(200, 0).assign(target=["rare"] + ["often"] * 19 + ["often"] * 180)
    train.loc[::20, "target"] = "rare"
    out, _ = run(train, frame(40, 1).drop(columns="target"))
    accuracy = float(re.search(r"accuracy (\S+), NLL", out)[1])
    guess = re.search(r"most frequent class, 'often', gives ([.0-9]+)(.*)", out)
    assert (guess[2] == ": the classifier is no better") == (
        accuracy <= float(guess[1])
    )


def test_report(run):
    new = frame(60, 1)
    new.loc[3, "a"] = np.nan
    train = frame(200, 0).assign(id=range(200), name=[f"<b>{i}" for i in range(200)])
    new = new.assign(id=range(60), name="<b>")
    out, scored = run(train, new, "--report", "r.html")
    assert "Report saved to r.html" in out
    with open("r.html", encoding="utf-8") as stream:
        page = Page(stream.read())
    text = "".join(page.text)
    for line in out.splitlines()[:-1]:
        assert line.strip() in text, line
    assert ["a", "number", "0.0%", "200"] in page.rows
    assert "left out: 'id'" in text and "left out: 'name'" in text
    assert len(page.pictures) == 2
    assert all(address.startswith("data:image/png") for address in page.addresses)
    flagged = [row for row in page.rows if len(row) > 7 and row[1] == "yes"]
    assert len(flagged) == min(scored["out_of_distribution"].sum(), 20)
    assert ["4", "a is missing"] in [[row[0], row[5]] for row in flagged]
    assert "b" not in page.elements  # of the names


@pytest.mark.browser
def test_report_in_a_browser(run, tmp_path):
    from matplotlib.image import imread

    run(frame(120, 0), frame(40, 1), "--report", "r.html")
    picture, dump = tmp_path / "r.png", ["chromium", "--headless", "--no-sandbox"]
    dump += ["--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    dump += ["--window-size=1000,3000", f"--screenshot={picture}"]
    subprocess.run([*dump, f"file://{tmp_path}/r.html"], check=True, timeout=120)
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (3000, 1000)
    # Text begins at the top, and the figures below it have their colors.
    assert pixels[:150].min() < 0.2
    colored = np.ptp(pixels, axis=2) > 0.2
    assert colored.mean() > 0.005


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
    rows[5][0] = rows[6][0] = "fifty"
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
        (
            "--data t.csv --target y --score n.csv",
            "--score and --output must be used together",
        ),
        (
            "--data t.csv --target y --output o.csv",
            "--score and --output must be used together",
        ),
        ("--target y", "--target requires --data"),
        ("--score n.csv --output o.csv", "--score requires --data with a CSV"),
        ("--data digits --score n.csv", "--score requires --data with a CSV"),
        ("--data two-moons --target y", "--target requires --data with a CSV"),
        ("--data digits --classifier sngp", "--classifier requires --data with a CSV"),
        ("--data digits --picture p.png", "--picture"),
        ("--picture p.svg", "must end in .png"),
        ("--epochs 0", "--epochs: must be at least 1"),
        ("--epochs many", "'many' is not a whole number"),
        ("--random-state -1", "'-1' is not a whole number"),
        ("--random-state 4294967296", "between 0 and 4294967295"),
        ("--data t.csv --target y --classifier svm", "invalid choice: 'svm'"),
        ("--ood-alpha 0", "'0' is not a number between 0 and 1"),
        ("--ood-alpha nan", "'nan' is not a number between 0 and 1"),
        ("--data digits --drop x", "--drop requires --data with a CSV"),
        ("--keep x", "--keep requires --data with a CSV"),
        ("--report r.html", "--report requires --data with a CSV"),
        ("--save m.sksngp", "--save requires --data with a CSV"),
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


@pytest.mark.parametrize("option", ["--drop", "--keep"])
def test_option_that_names_no_column(capsys, train_csv, option, no_training):
    argv = ["--data", train_csv, "--target", "kind", option, "agee"]
    expect_error(capsys, argv, "no column 'agee'; did you mean 'age'?")


def test_outputs_that_are_one_file(capsys, tmp_path, train_csv, no_training):
    argv = score_argv(tmp_path, train_csv, people(4), "o.html")
    expect_error(capsys, [*argv, "--report", str(tmp_path / "o.html")], "overwrite")


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
    options += ("drop", "keep", "model", "ood-alpha", "report", "save")
    for option in (*options, "random-state"):
        assert f"--{option} " in done.stdout
    assert done.stderr == ""
