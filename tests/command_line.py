"""Helpers for tests of the command line: tables and expected errors."""

import csv

import numpy as np
import pandas as pd
import pytest

from sksngp._cli.main import main


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def people(n=80, seed=0):
    """Return rows of mixed types with missing values; "age" separates the classes."""
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


def frame(n, seed):
    """Return a table; the target depends on its two columns of numbers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    kind = rng.choice(["u", "v"], n)
    target = np.where(x[:, 0] + x[:, 1] > 0, "bad", "good")
    return pd.DataFrame(x, columns=["a", "b"]).assign(kind=kind, target=target)


def score_argv(tmp_path, train_csv, rows, output="o.csv"):
    """Return arguments that train on a file and score `rows`."""
    new_csv = write_csv(tmp_path / "new.csv", rows)
    argv = ["--data", train_csv, "--target", "kind", "--score", new_csv]
    return [*argv, "--output", str(tmp_path / output)]


def expect_error(capsys, argv, *parts):
    """Check for exit status 2, a message of one line and no other output."""
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
