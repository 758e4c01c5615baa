import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from sksngp import SNGPClassifier, _cli_compare, _cli_data
from sksngp.__main__ import main

TINY = {"num_layers": 1, "num_hidden": 16, "learning_rate": 0.02}
TINY_OF = {
    "SNGPClassifier": {"num_inducing": 256},
    "DeepEnsembleClassifier": {"num_ensemble": 2},
}


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    """Let the command line train small networks."""
    make = _cli_compare.make_classifier

    def make_tiny(name, options):
        classifier = make(name, options)
        own = TINY_OF.get(type(classifier).__name__, {})
        return classifier.set_params(**TINY, **own)

    monkeypatch.setattr(_cli_compare, "make_classifier", make_tiny)
    monkeypatch.setattr("sksngp.__main__.make_classifier", make_tiny)


@pytest.fixture
def no_training(monkeypatch):
    """Fail if a classifier is trained: errors must come before that."""

    def fit(self, *args, **kwargs):
        raise AssertionError("trained before the input was checked")

    monkeypatch.setattr(SNGPClassifier, "fit", fit)


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


def read(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def people(n=80, seed=0):
    """Rows of mixed type with missing values; 'age' tells the classes apart."""
    rng = np.random.default_rng(seed)
    rows = [["age", "city", "member", "code", "kind"]]
    for index in range(n):
        kind = ("young", "old")[index % 2]
        age = f"{rng.normal((20, 60)[index % 2], 2):.2f}"
        rows.append(
            [
                age if index % 11 else "NA",
                rng.choice(["Bonn", "Köln"]) if index % 7 else "",
                rng.choice(["True", "False"]),
                f"{index:03d}",
                kind,
            ]
        )
    return rows


@pytest.fixture
def train_csv(tmp_path):
    return write(tmp_path / "train.csv", people())


def expect_error(capsys, argv, *parts):
    """Run into an error: status 2, the message in one line, nothing printed."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    *usage, message = err.strip().splitlines()
    assert message.startswith("python -m sksngp: error: ")
    assert not usage or usage[0].startswith("usage:")
    for part in parts:
        assert part in message, message
    return message


# The built-in comparisons


def table(out):
    """The printed table: a list of numbers a classifier."""
    rows = re.findall(r"^(\w+Classifier) +(.*)$", out, re.MULTILINE)
    return {name: [float(x.rstrip("%")) for x in row.split()] for name, row in rows}


def test_two_moons_prints_a_table_and_draws_a_picture(capsys, tmp_path):
    import matplotlib.pyplot as plt
    from matplotlib.image import imread

    picture = tmp_path / "moons.png"
    before = plt.get_fignums()
    argv = ["--data", "two-moons", "--epochs", "15", "--picture", str(picture)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    rows = table(out)
    assert list(rows) == [cls.__name__ for cls in _cli_compare.CLASSIFIERS.values()]
    for accuracy, nll, ece, auroc, known, unknown, seconds in rows.values():
        assert accuracy > 0.8 and 0 < nll < 0.6 and 0 <= ece <= 1
        assert 0 <= auroc <= 1 and 0 <= known <= 100 and 0 <= unknown <= 100
        assert seconds >= 0
    # Distance is what only SNGP's uncertainty is aware of.
    assert rows["SNGPClassifier"][3] > 0.99 and rows["SNGPClassifier"][5] > 90
    assert rows["ResNetClassifier"][3] < 0.7
    assert "15/15" in err  # the progress bar
    assert str(picture) in out
    assert "Digits" not in out
    pixels = imread(picture)
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100
    assert os.listdir(tmp_path) == ["moons.png"]
    assert plt.get_fignums() == before


def test_digits_prints_flagged_shares(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--data", "digits", "--epochs", "15", "--random-state", "3"]) == 0
    out = capsys.readouterr().out
    rows = table(out)
    assert len(rows) == 4
    for accuracy, _, _, auroc, known, unknown, _ in rows.values():
        assert accuracy > 0.8
        assert auroc > 0.6
        assert 0 <= known < 30 and 0 <= unknown <= 100
    # The entropy of even a tiny network tells unknown digits from known ones.
    assert rows["ResNetClassifier"][5] > 2 * rows["ResNetClassifier"][4]
    assert "classes 8 and 9 (unknown)" in out
    assert os.listdir(tmp_path) == []


def test_without_data_both_run_and_the_picture_has_a_default_name(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.index("Two moons:") < out.index("Digits:")
    assert os.listdir(tmp_path) == ["sksngp-two-moons.png"]


def test_random_state_repeats(capsys):
    argv = ["--data", "digits", "--epochs", "2", "--random-state"]
    rows = []
    for seed in ("1", "1", "2"):
        main([*argv, seed])
        rows.append({k: v[:-1] for k, v in table(capsys.readouterr().out).items()})
    assert rows[0] == rows[1] != rows[2]


# A user's own tables


@pytest.mark.parametrize("name", sorted(_cli_compare.CLASSIFIERS))
def test_trains_on_a_table_of_mixed_types(capsys, train_csv, name):
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


def test_scores_a_second_table(capsys, tmp_path, train_csv):
    header, *rows = people(30, seed=1)
    rows[0][1] = "Wien"  # a category never seen
    rows[1][0] = "9000"  # a number far from any in training
    order = [4, 2, 0, 1, 3]  # other columns among them, in another order
    new = [["id", *(header[i] for i in order), "prédit"]]
    new += [[f"{n:05d}", *(row[i] for i in order), " x"] for n, row in enumerate(rows)]
    new_csv = write(tmp_path / "new.csv", new)
    flagged_csv = tmp_path / "flagged.csv"
    flagged_csv.write_text("an older result")
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "20"]
    argv += ["--score", new_csv, "--output", str(flagged_csv)]
    assert main(argv) == 0
    out = capsys.readouterr().out
    scored = read(flagged_csv)
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


def test_scoring_is_that_of_the_classifier(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = load_iris(return_X_y=True)
    write("iris.csv", [["a", "b", "c", "d", "y"], *np.c_[X, y].tolist()])
    argv = "--data iris.csv --target y --epochs 5 --score iris.csv --output out.csv"
    assert main(argv.split()) == 0
    classifier = SNGPClassifier(**TINY, num_inducing=256, epochs=5, random_state=0).fit(
        X, y.astype(float).astype(str)
    )
    scored = read("out.csv")
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
    new_csv = write(tmp_path / "new.csv", [header, *rows])
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "1"]
    main([*argv, "--score", new_csv, "--output", str(tmp_path / "o.csv")])
    out = capsys.readouterr().out
    assert "on the 9 rows of a known class" in out
    assert "of a class never trained on: 2" in out


def test_the_target_need_not_be_in_the_second_table(capsys, tmp_path, train_csv):
    new_csv = write(tmp_path / "new.csv", [row[:-1] for row in people(12)])
    argv = ["--data", train_csv, "--target", "kind", "--epochs", "1"]
    main([*argv, "--score", new_csv, "--output", str(tmp_path / "o.csv")])
    assert "accuracy on" not in capsys.readouterr().out
    assert "kind" not in read(tmp_path / "o.csv")[0]


def test_rare_classes(capsys, tmp_path):
    rows = [["x", "y"], *([i, "ab"[i % 2]] for i in range(20)), [50, "c"], [51, "c"]]
    argv = ["--target", "y", "--epochs", "1", "--data"]
    main([*argv, write(tmp_path / "rare.csv", rows)])
    assert "trained on 17 rows, on the 5 others" in capsys.readouterr().out
    few = [["x", "y"], [1, "a"], [2, "b"], [3, "a"], [4, "b"]]
    main([*argv, write(tmp_path / "few.csv", few)])
    assert "Cross-check: left out" in capsys.readouterr().out


def test_a_failed_write_keeps_what_was_there(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def write_half(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(_cli_data.InputError, match="No space left"):
        _cli_data.write_atomically(str(path), write_half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.csv"]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    _cli_data.write_atomically(str(tmp_path / "link.csv"), lambda s: s.write(b"new"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


# What a column is taken for


def choose(tmp_path, header, *rows, target="y"):
    path = write(tmp_path / "table.csv", [header, *rows])
    data = _cli_data.read_table(path)
    columns = _cli_data.choose_columns(data, target, path)
    return columns, _cli_data.read_features(data, columns, path)


def test_columns_by_type(tmp_path):
    columns, features = choose(
        tmp_path,
        ["", "number", "flag", "text", "name", "empty", "y"],
        ["0", "1e3", "True", " a", "Ann", "", "p"],
        ["1", " -2.5 ", "", "b", "Bob", "NA", "q"],
        ["2", "NaN", "False", "b", "Cem", "null", "p"],
        ["3", "+7", "True", "NA", "Dee", "", "q"],
        ["4", "0", "False", "a ", "Eli", "", "q"],
    )
    assert columns.numeric == ("number",)
    assert columns.text == ("flag", "text")
    assert set(columns.left_out) == {"", "name", "empty"}
    assert "'Ann' in row 1" in columns.left_out["name"]
    np.testing.assert_array_equal(features["number"], [1000, -2.5, np.nan, 7, 0])
    assert features["text"].isna().tolist() == [False, False, False, True, False]
    assert features["text"].dropna().tolist() == ["a", "b", "b", "a"]
    assert features["flag"].isna().sum() == 1


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2
    ),
    data=st.data(),
)
def test_numbers_survive_the_way_through_a_file(tmp_path_factory, numbers, data):
    missing = data.draw(st.lists(st.booleans(), min_size=1, max_size=len(numbers)))
    missing += [False] * (len(numbers) - len(missing))
    missing[-1] = False  # else there is no value at all
    cells = ["" if gone else repr(x) for x, gone in zip(numbers, missing, strict=True)]
    rows = [[cell, "p"] for cell in cells]
    _, features = choose(tmp_path_factory.mktemp("n"), ["x", "y"], *rows)
    np.testing.assert_allclose(
        features["x"], np.where(missing, np.nan, numbers), rtol=1e-15
    )


def test_pipeline_fills_and_encodes(tmp_path):
    columns, features = choose(
        tmp_path,
        ["x", "t", "y"],
        ["1", "a", "p"],
        ["3", "b", "p"],
        ["", "", "q"],
        ["8", "b", "q"],
        ["5", "b", "q"],
    )
    pipeline = _cli_data.build_pipeline(columns, SNGPClassifier())
    encoded = pipeline[0].fit_transform(features)
    expected = [[1, 0, 1, 0], [3, 0, 0, 1], [4, 1, 0, 0], [8, 0, 0, 1], [5, 0, 0, 1]]
    np.testing.assert_array_equal(encoded, expected)
    unseen = pipeline[0].transform(features.assign(t="z"))
    np.testing.assert_array_equal(unseen[:, 1:], 0)


def test_many_categories_stay_bounded(tmp_path):
    rows = [[f"t{i // 3}", "p"] for i in range(900)]
    columns, features = choose(tmp_path, ["t", "y"], *rows)
    pipeline = _cli_data.build_pipeline(columns, SNGPClassifier())
    assert pipeline[0].fit_transform(features).shape == (900, _cli_data.MAX_CATEGORIES)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("aabbbc"), min_size=1, max_size=60), st.integers(0, 9))
def test_split_rows(labels, seed):
    labels = np.array(labels)
    split = _cli_data.split_rows(labels, seed)
    names, counts = np.unique(labels, return_counts=True)
    common = set(names[counts >= _cli_data.MIN_ROWS])
    assert (split is None) == (not common)
    if split is not None:
        train, held_out = split
        assert sorted([*train, *held_out]) == list(range(len(labels)))
        assert set(labels[held_out]) == common
        assert set(labels[train]) == set(names)


# Errors


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["the file is empty"]),
        (b"\n\n", ["the file is empty"]),
        (b"x,kind\n", ["no rows below the header"]),
        (b"x,kind\n\xff,a\n", ["not UTF-8 text", "0xff"]),
        (b"\x89PNG\r\n\x1a\n\x00", ["not UTF-8 text"]),
        (b"x,kind\n1,2\n1,2,3\n", ["not a CSV table", "line 3"]),
        (b'x,kind\n"1,2\n', ["not a CSV table"]),
        (b"x,kind, x\n1,2,3\n", ["two columns are named 'x'"]),
    ],
)
def test_unreadable_file(capsys, tmp_path, content, parts, no_training):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    argv = ["--data", str(path), "--target", "kind"]
    expect_error(capsys, argv, str(path), *parts)


def test_missing_file(capsys, tmp_path, train_csv, no_training):
    nowhere = str(tmp_path / "none.csv")
    expect_error(capsys, ["--data", nowhere, "--target", "y"], nowhere, "no such file")
    expect_error(capsys, ["--data", str(tmp_path), "--target", "y"], "directory")
    argv = ["--data", train_csv, "--target", "kind", "--score", nowhere]
    expect_error(capsys, [*argv, "--output", nowhere + "2"], nowhere, "no such file")


@pytest.mark.parametrize(
    ("rows", "target", "parts"),
    [
        ([["x", "kind"], [1, "a"]], "kinds", ["'kinds'", "mean 'kind'?", "'x'"]),
        ([["x;kind"], ["1;a"]], "kind", ["not to be separated by commas"]),
        ([["x", "y"], [1, "a"], [2, ""]], "y", ["1 of 2 rows", "'y'", "row 2"]),
        ([["x", "y"], [1, "a"], [2, "a "]], "y", ["one class only, 'a'"]),
        ([["x", "y"], *([i, i / 7] for i in range(9))], "y", ["9 different values"]),
        ([["y"], *"abab"], "y", ["no column to train on", "'y'"]),
        ([["n", "y"], *zip("pqrs", "abab", strict=True)], "y", ["'n': most of its"]),
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
    path = write(tmp_path / "table.csv", rows)
    expect_error(capsys, ["--data", path, "--target", target], path, *parts)


def score_argv(tmp_path, train_csv, rows, output="o.csv"):
    new_csv = write(tmp_path / "new.csv", rows)
    argv = ["--data", train_csv, "--target", "kind", "--score", new_csv]
    return [*argv, "--output", str(tmp_path / output)]


def test_second_table_lacks_columns(capsys, tmp_path, train_csv, no_training):
    rows = [[row[1], row[3], row[4]] for row in people(4)]
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "lacks the columns 'age', 'member'")


def test_text_in_a_numeric_column(capsys, tmp_path, train_csv, no_training):
    rows = people(8)
    rows[5][0] = "fifty"
    argv = score_argv(tmp_path, train_csv, rows)
    expect_error(capsys, argv, "new.csv", "'age', row 5", "'fifty'", "not a number")


def test_results_clash_with_columns(capsys, tmp_path, train_csv, no_training):
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


def test_a_device_is_not_replaced(capsys, tmp_path, train_csv, no_training):
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
def test_options_that_do_not_fit(capsys, argv, part, no_training):
    expect_error(capsys, argv.split(), part)


def test_interrupt(capsys, monkeypatch, train_csv):
    def fit(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(SNGPClassifier, "fit", fit)
    with pytest.raises(SystemExit) as stop:
        main(["--data", train_csv, "--target", "kind"])
    assert stop.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_in_a_process_of_its_own():
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
