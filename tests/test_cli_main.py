"""The command, its report and its errors."""

import os
import subprocess

import numpy as np
import pytest
from command_line import expect_error, frame, people, score_argv
from test_cli_report import Page

from sksngp import SNGPClassifier
from sksngp._cli.main import main

pytestmark = pytest.mark.usefixtures("small_command_line")


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


def test_missing_file(capsys, tmp_path, train_csv, no_training):
    nowhere = str(tmp_path / "none.csv")
    expect_error(capsys, ["--data", nowhere, "--target", "y"], nowhere, "no such file")
    expect_error(capsys, ["--data", str(tmp_path), "--target", "y"], "directory")
    argv = ["--data", train_csv, "--target", "kind", "--score", nowhere]
    expect_error(capsys, [*argv, "--output", nowhere + "2"], nowhere, "no such file")


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


def test_interrupt(capsys, monkeypatch, train_csv):
    def fit(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(SNGPClassifier, "fit", fit)
    with pytest.raises(SystemExit) as stop:
        main(["--data", train_csv, "--target", "kind"])
    assert stop.value.code == 130
    assert "interrupted" in capsys.readouterr().err
