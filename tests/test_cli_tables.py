"""CSV files: separators, errors and written results."""

import gzip
import os
import threading

import pytest
from command_line import expect_error

from sksngp._cli import tables


@pytest.mark.parametrize("separator", tables.SEPARATORS)
def test_separator_is_found(tmp_path, separator):
    path = tmp_path / "t.csv"
    path.write_text(separator.join("xyz") + "\n" + separator.join(["1", "a b", ""]))
    table = tables.read_table(str(path))
    assert table.separator == separator
    assert list(table.cells) == ["x", "y", "z"]
    assert table.cells.iloc[0].tolist() == ["1", "a b", ""]
    assert len(table) == 1


def test_separators_within_quoted_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"a;b;c","d"\n1,2\n')
    assert tables.read_table(str(path)).separator == ","
    path.write_text('"a,b,c";"d"\n1;2\n')
    assert tables.read_table(str(path)).separator == ";"


def test_short_lines_and_blanks(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(" x , y \n 1 \n2, b \n")
    table = tables.read_table(str(path))
    assert table.cells.to_numpy().tolist() == [["1", ""], ["2", "b"]]
    assert list(table.cells) == ["x", "y"]


def test_blank_lines_of_one_column_are_missing_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\nx\n1\n\n  \n2\n\n")
    assert tables.read_table(str(path)).cells["x"].tolist() == ["1", "", "", "2"]
    path.write_text("\nx,y\n1,2\n\n3,4\n\n")
    assert tables.read_table(str(path)).cells["x"].tolist() == ["1", "3"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="requires named pipes")
def test_pipes_are_read_once(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    text = "x;y\n" + "1;2\n" * 50_000
    writer = threading.Thread(target=path.write_text, args=(text,))
    writer.start()
    table = tables.read_table(str(path))
    writer.join()
    assert table.cells.shape == (50_000, 2)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (gzip.compress(b"x,kind\n1,2\n", mtime=0), ["compressed"]),
        (b"", ["the file is empty"]),
        (b"\n\n", ["the file is empty"]),
        (b"x,kind\n", ["no rows below the header"]),
        (b"x,kind\n\xff,a\n", ["not UTF-8 text", "0xff", "encoding UTF-8"]),
        (b"\x89PNG\r\n\x1a\n\x00", ["not UTF-8 text"]),
        (b"x,kind\n1,2\n1,2,3\n", ["not a CSV table", "commas", "line 3"]),
        (b"x;kind\n1;2\n1;2;3\n", ["not a CSV table", "semicolons", "line 3"]),
        (b'x,kind\n"1,2\n', ["not a CSV table"]),
        (b"x,kind, x\n1,2,3\n", ["two columns are named 'x'"]),
        (b"kind\na\n", ["no column 'target'", "a single column"]),
    ],
)
def test_unreadable_file(capsys, tmp_path, content, parts, no_training):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    argv = ["--data", str(path), "--target", "target"]
    expect_error(capsys, argv, str(path), *parts)


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")

    def write_half(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(tables.InputError, match="No space left"):
        tables.write_atomically(str(path), write_half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.csv"]


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    tables.write_atomically(str(tmp_path / "link.csv"), lambda s: s.write(b"new"))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"
