"""The comparisons of the four classifiers on built-in data."""

import os
import re

import numpy as np
import pytest

from sksngp._cli.classifiers import CLASSIFIERS
from sksngp._cli.compare import Result, verdict
from sksngp._cli.main import main

pytestmark = pytest.mark.usefixtures("small_command_line")


def table(out):
    """Return the numbers of the printed table, by classifier."""
    rows = re.findall(r"^(\w+Classifier) {2,}(.*)$", out, re.MULTILINE)
    return {name: [float(x.rstrip("%")) for x in row.split()] for name, row in rows}


def sentence(out):
    """Return the summary of the output in one line."""
    found = re.search(r"Summary: .*?, at\s+[\d.]+%\.", out, re.DOTALL)
    return " ".join(found[0].split())


def result(name, accuracy=0.99, auroc=0.9, known=0.04, unknown=0.5):
    return Result(name, accuracy, 0.1, 0.01, auroc, known, unknown, 1.0)


@pytest.mark.parametrize(
    ("others", "auroc", "part"),
    [
        ((0.1, 0.5, 0.3), 0.9, "SNGP separates unknown from known rows better"),
        ((0.1, 0.9, 0.3), 0.5, "MCDropoutClassifier separates unknown from known"),
        ((0.1, 0.5, 0.3), 0.51, "SNGP and MCDropoutClassifier separate unknown"),
    ],
)
def test_sentence_follows_from_the_table(others, auroc, part):
    names = ["ResNetClassifier", "MCDropoutClassifier", "DeepEnsembleClassifier"]
    results = [
        result(name, auroc=other, known=known, unknown=2 * known)
        for name, other, known in zip(names, others, (0.02, 0.06, 0.03), strict=True)
    ]
    said = verdict([*results, result("SNGPClassifier", auroc=auroc)], "the rows")
    assert part in said
    assert f"(OOD AUROC {auroc:.3f} and {max(others):.3f})" in said
    assert "SNGP flags 50% as unlike its training data, at a false positive" in said
    assert "rate of 4.0% on known rows; MCDropoutClassifier flags 12%, at 6.0%." in said
    assert "about the same accuracy on known rows (99.0%)" in said


def test_sentence_names_losses_of_accuracy():
    results = [result("ResNetClassifier", 0.9), result("MCDropoutClassifier", 0.95)]
    said = verdict([*results, result("SNGPClassifier", 0.85)], "the rows")
    assert "SNGPClassifier has the lowest accuracy (85.0%)" in said
    assert "MCDropoutClassifier the highest (95.0%)" in said


@pytest.mark.slow
def test_two_moons_prints_a_table_and_saves_a_figure(capsys, tmp_path):
    import matplotlib.pyplot as plt
    from matplotlib.image import imread

    picture = tmp_path / "moons.png"
    before = plt.get_fignums()
    argv = ["--data", "two-moons", "--epochs", "15", "--picture", str(picture)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    rows = table(out)
    assert list(rows) == [cls.__name__ for cls in CLASSIFIERS.values()]
    for accuracy, nll, ece, auroc, known, unknown, seconds in rows.values():
        assert accuracy > 0.8 and 0 <= nll < 0.6 and 0 <= ece <= 1
        assert 0 <= auroc <= 1 and 0 <= known <= 100 and 0 <= unknown <= 100
        assert seconds >= 0
    # Only the uncertainty of SNGP depends on the distance.
    assert rows["SNGPClassifier"][3] > 0.99 and rows["SNGPClassifier"][5] > 90
    assert rows["ResNetClassifier"][3] < 0.7
    assert "15/15" in err  # the progress bar
    assert str(picture) in out
    assert "SNGP separates unknown from known rows better" in sentence(out)
    assert "num_layers=6" in out
    assert "Digits" not in out
    pixels = imread(picture)
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100
    assert os.listdir(tmp_path) == ["moons.png"]
    assert plt.get_fignums() == before


@pytest.mark.slow
def test_digits_prints_flagged_fractions(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--data", "digits", "--epochs", "15", "--random-state", "3"]) == 0
    out = capsys.readouterr().out
    rows = table(out)
    assert len(rows) == 4
    for accuracy, _, _, auroc, known, unknown, _ in rows.values():
        assert accuracy > 0.8
        assert auroc > 0.6
        assert 0 <= known < 30 and 0 <= unknown <= 100
    # The entropy of even a small network separates unseen digits from the others.
    assert rows["ResNetClassifier"][5] > 2 * rows["ResNetClassifier"][4]
    assert "classes 8 and 9 (unknown)" in out
    said = sentence(out)
    assert "the 8s and 9s, which are not in the training data" in said
    flagged = int(re.search(r"SNGP flags (\d+)%", said)[1])
    assert abs(flagged - rows["SNGPClassifier"][5]) < 0.6  # both are rounded
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_both_comparisons_and_a_figure_without_options(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.index("Two moons:") < out.index("Digits:")
    assert os.listdir(tmp_path) == ["sksngp-two-moons.png"]


@pytest.mark.slow
def test_random_state_determines_the_table(capsys):
    argv = ["--data", "digits", "--epochs", "2", "--random-state"]
    rows = []
    for seed in ("1", "1", "2"):
        main([*argv, seed])
        rows.append({k: v[:-1] for k, v in table(capsys.readouterr().out).items()})
    assert rows[0] == rows[1] != rows[2]
