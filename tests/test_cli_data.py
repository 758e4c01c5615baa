"""Tables of the command line: columns, pipelines, files and errors."""

import os

import numpy as np
import pytest
from command_line import expect_error, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from sksngp import ResNetClassifier, _cli_data

# Columns


def choose(tmp_path, header, *rows, target="y"):
    path = write_csv(tmp_path / "table.csv", [header, *rows])
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


@settings(max_examples=30)
@given(
    numbers=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2
    ),
    data=st.data(),
)
def test_numbers_are_read_as_written(tmp_path_factory, numbers, data):
    missing = data.draw(st.lists(st.booleans(), min_size=1, max_size=len(numbers)))
    missing += [False] * (len(numbers) - len(missing))
    missing[-1] = False  # there must be a value
    cells = ["" if gone else repr(x) for x, gone in zip(numbers, missing, strict=True)]
    rows = [[cell, "p"] for cell in cells]
    _, features = choose(tmp_path_factory.mktemp("n"), ["x", "y"], *rows)
    np.testing.assert_allclose(
        features["x"], np.where(missing, np.nan, numbers), rtol=1e-15
    )


def test_pipeline_imputes_and_encodes(tmp_path):
    columns, features = choose(
        tmp_path,
        ["x", "t", "y"],
        ["1", "a", "p"],
        ["3", "b", "p"],
        ["", "", "q"],
        ["8", "b", "q"],
        ["5", "b", "q"],
    )
    pipeline = _cli_data.build_pipeline(columns, ResNetClassifier())
    encoded = pipeline[0].fit_transform(features)
    expected = [[1, 0, 1, 0], [3, 0, 0, 1], [4, 1, 0, 0], [8, 0, 0, 1], [5, 0, 0, 1]]
    np.testing.assert_array_equal(encoded, expected)
    unseen = pipeline[0].transform(features.assign(t="z"))
    np.testing.assert_array_equal(unseen[:, 1:], 0)


def test_number_of_categories_is_bounded(tmp_path):
    rows = [[f"t{i // 3}", "p"] for i in range(900)]
    columns, features = choose(tmp_path, ["t", "y"], *rows)
    pipeline = _cli_data.build_pipeline(columns, ResNetClassifier())
    assert pipeline[0].fit_transform(features).shape == (900, _cli_data.MAX_CATEGORIES)


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


# Files


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def write_half(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(_cli_data.InputError, match="No space left"):
        _cli_data.write_atomically(str(path), write_half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.csv"]


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    _cli_data.write_atomically(str(tmp_path / "link.csv"), lambda s: s.write(b"new"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


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
    path = write_csv(tmp_path / "table.csv", rows)
    expect_error(capsys, ["--data", path, "--target", target], path, *parts)
