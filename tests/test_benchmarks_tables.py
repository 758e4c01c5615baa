"""The benchmark on tables: data, OOD samples, resuming and the report."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from benchmarks import explanations, tables
from benchmarks._tools import keel_tables as keel
from benchmarks._tools import table_methods, table_report, table_runs
from benchmarks._tools.detectors import Answer
from benchmarks._tools.keel_tables import Table
from benchmarks._tools.table_runs import FAR, HELD_OUT, KINDS, MOVED, SHUFFLED, Run
from sksngp.datasets import InOut

CHEAP = ["logistic regression", "SNGP"]


@pytest.fixture
def fake_table(monkeypatch):
    """Replace all tables by a small one, and use a small SNGP classifier."""
    X, y = load_iris(return_X_y=True)
    table = Table(X, y.astype(str), np.arange(4))
    for module in (explanations, table_runs, tables):
        monkeypatch.setattr(module, "load_table", lambda name: table)
    params = {"epochs": 1, "num_layers": 1, "num_hidden": 8, "num_inducing": 16}
    params["cv"] = None
    monkeypatch.setitem(
        table_methods.VARIANTS, "SNGP", (table_methods.SNGPClassifier, params)
    )
    return table


@pytest.fixture
def command(fake_table, tmp_path, capsys):
    """Run the command on two tables; return what it prints and reports."""

    def run(*options):
        path = str(tmp_path / "results" / "tables.jsonl")
        selection = ["--tables", "iris", "wine", "--seeds", "1", "--results", path]
        tables.main([*selection, "--methods", *CHEAP, *options])
        return capsys.readouterr()

    return run


# Tables


def test_halves_are_disjoint_and_complete():
    tuning, reporting = map(keel.tables_of, keel.HALVES)
    assert sorted(tuning + reporting) == sorted(keel.tables_of("all"))
    assert len(keel.BALANCED) == 43
    assert len(keel.IMBALANCED) == 10
    assert 0 <= len(reporting) - len(tuning) <= 1
    assert {"australian", "crx"} <= set(tuning)  # two versions of the same data


def test_categorical_columns_are_one_hot_encoded():
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3, 4],
            "category": ["a", "b ", None, "a"],
            "label": [" 1", "2", "1", "1 "],
        }
    )
    table = keel.encoded(frame)
    np.testing.assert_array_equal(table.X, [[1, 1, 0], [2, 0, 1], [4, 1, 0]])
    np.testing.assert_array_equal(table.column, [0, 1, 1])
    assert table.y.tolist() == ["1", "2", "1"]


# OOD samples


def test_stratified_sample_has_all_classes():
    y = np.repeat([0, 1, 2], [80, 18, 2])
    X = np.arange(100)[:, None]
    X_drawn, y_drawn = table_runs.stratified(X, y, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(y_drawn), [40, 9, 1])
    np.testing.assert_array_equal(y[X_drawn[:, 0]], y_drawn)


def test_shuffled_columns_keep_one_hot_features_together():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=50), np.eye(3)[rng.integers(3, size=50)]])
    shuffled = table_runs.shuffled(X, np.array([0, 1, 1, 1]), 0)
    assert (shuffled != X).any(axis=0).all()
    np.testing.assert_array_equal(shuffled[:, 1:].sum(axis=1), 1)
    np.testing.assert_allclose(np.sort(shuffled, axis=0), np.sort(X, axis=0))


def test_moved_and_far_samples_change_only_features_that_vary(fake_table):
    X = fake_table.X.copy()
    X[:, 1] = 7
    data = InOut(X_train=X, X_test=X[:60])
    ood = table_runs.ood_samples(data, fake_table.column, 0)
    spread = np.where(X.std(axis=0), X.std(axis=0), 1)
    steps = (ood[MOVED] - X[:60]) / spread
    np.testing.assert_allclose(np.abs(steps).sum(axis=1), table_runs.MOVE)
    assert ((steps != 0).sum(axis=1) == 1).all()
    steps = (ood[FAR] - X[:60]) / spread
    assert (steps[:, 1] == 0).all()
    assert np.abs(steps).max(axis=1).min() > 5


def test_seeds_hold_out_different_classes(fake_table):
    parts = [table_runs.without_a_class(fake_table, seed, 40) for seed in range(3)]
    assert all(len(part.X_train) == 40 for part in parts)
    held_out = [set("012") - set(part.y_train) for part in parts]
    assert set.union(*held_out) == set("012")


# Measures


def test_measures_of_scores_and_flags():
    X_test, X_ood = np.arange(10.0)[:, None], np.arange(5.0, 15.0)[:, None]
    answer = table_methods.FlaggingAnswer(
        lambda X: X[:, 0], flags=lambda X: X[:, 0] > 7.5
    )
    found = table_runs.measure(answer, X_test, np.zeros(10), {FAR: X_ood})
    assert found["flagged new"] == pytest.approx(0.2)
    assert found[f"flagged {FAR}"] == pytest.approx(0.7)
    assert found[f"AUROC {FAR}"] == pytest.approx(0.875)
    without = table_runs.measure(
        Answer(answer.score), X_test, np.zeros(10), {FAR: X_ood}
    )
    assert "flagged new" not in without


def test_mahalanobis_distance_to_the_closest_mean():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(4000, 2)) * [1, 10]
    y = np.arange(4000) % 2
    known[y == 1, 0] += 20
    found = table_methods.mahalanobis(known, y)(np.array([[0, 30.0], [23, 0]]))
    np.testing.assert_allclose(found, [3, 3], rtol=0.05)


# The command


@pytest.mark.slow
def test_command_reports_all_measures(command):
    printed = command("--jobs", "1").out
    assert "2 tables, 1 seeds" in printed
    for method in CHEAP:
        assert re.search(rf"\| {method} \| 2 \| 0\.\d{{3}} ", printed)
    for kind in KINDS:
        assert f"AUROC {kind}" in printed
        assert f"flagged {kind}" in printed
    assert "| SNGP against | tables | accuracy |" in printed


@pytest.mark.slow
def test_command_resumes(command, tmp_path):
    first = command()
    path = tmp_path / "results" / "tables.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    # The command was interrupted while it wrote the last result.
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:30])
    second = command()
    assert first.err.count("seed 0") == 4
    assert second.err.count("seed 0") == 1
    assert len(tables.read_results(path)) == 4
    assert command("--report").err == ""
    assert command("--rerun").err.count("seed 0") == 4
    assert len(tables.read_results(path)) == 4


@pytest.mark.slow
def test_figure_of_ranks(command, tmp_path):
    path = tmp_path / "ranks.png"
    command("--picture", str(path))
    assert path.stat().st_size > 0


def test_a_failure_does_not_end_the_command(command, tmp_path, monkeypatch):
    def fail(X, y, seed):
        raise ValueError("too hard")

    failing = table_methods.Method(fail)
    monkeypatch.setitem(table_methods.METHODS, "logistic regression", failing)
    with pytest.raises(SystemExit, match="2 runs failed"):
        command()
    text = (tmp_path / "results" / "tables.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert {record["run"]["method"] for record in records} == {"SNGP"}


def test_missing_packages_are_reported(monkeypatch, capsys):
    missing = table_methods.Method(print, "sksngp-missing")
    monkeypatch.setitem(table_methods.METHODS, "SVC", missing)
    runs = tables.selected_runs(["iris", "letter"], 2, ["SVC", "MLP"], None)
    assert "SVC left out: sksngp-missing is not installed" in capsys.readouterr().out
    assert [(run.table, run.max_rows) for run in runs] == [
        ("iris", 2000),
        ("iris", 2000),
        ("letter", None),
        ("letter", None),
    ]


def test_segment_with_sky_held_out(fake_table):
    found = tables.segment(["logistic regression"], 1)
    assert found.loc["logistic regression"].between(0, 1).all()
    published = found.loc["posterior network (published)"]
    assert published["accuracy"] == 0.977


# The report


@pytest.fixture
def figures():
    """Return results of three methods on two tables, one of which is missing."""
    nll = {
        ("SNGP", "a"): 0.3,
        ("SNGP", "b"): 0.5,
        ("forest", "a"): 0.4,
        ("forest", "b"): 0.2,
        ("process", "a"): 0.1,
    }
    return table_report.figures_of(
        (
            Run(table, seed, answer, "1", None),
            {answer: {"NLL": value + seed, f"AUROC {SHUFFLED}": 1 - value}},
        )
        for (answer, table), value in nll.items()
        for seed in range(2)
    )


def test_ranks_need_results_for_all_tables(figures):
    ranks, differences = table_report.rank_table(figures)
    assert ranks["NLL"].to_dict() == {"SNGP": 1.5, "forest": 1.5}
    assert differences["NLL"] == pytest.approx(1.96 / np.sqrt(2), abs=1e-3)
    assert f"AUROC {HELD_OUT}" not in ranks


def test_wins_are_counted_on_common_tables(figures):
    wins = table_report.wins(figures)
    assert wins.loc["forest", ["tables", "NLL", "AUROC"]].tolist() == [
        "2",
        "1-1",
        "1-1",
    ]
    assert wins.loc["process", ["tables", "NLL", "ECE"]].tolist() == ["1", "0-1", "-"]


def test_worst_tables_come_first(figures):
    worst = table_report.worst(figures, "NLL")
    assert worst.index.tolist() == ["b", "a"]
    assert worst["method"].tolist() == ["forest", "process"]
    np.testing.assert_allclose(worst["behind"], [0.3, 0.2])
    np.testing.assert_allclose(worst["SNGP"], [1.0, 0.8])


def test_markdown():
    frame = pd.DataFrame(
        {"x": [0.12345, np.nan], "y": ["1-2", "3-4"]}, index=["a", "b"]
    )
    assert table_report.markdown(frame, "name").splitlines() == [
        "| name | x | y |",
        "| --- | ---: | ---: |",
        "| a | 0.123 | 1-2 |",
        "| b | - | 3-4 |",
    ]


# Explanations


def test_each_baseline_names_a_feature_that_moved(fake_table):
    """A quick check of the programs, on one network."""
    params = {"num_layers": 1, "num_hidden": 8, "num_inducing": 64, "cv": None}
    found = explanations.measure("iris", 0, 0, baselines=True, **params)
    report = explanations.report(pd.DataFrame(found))
    assert set(report.index.get_level_values("method")) == {
        "explain_ood",
        *explanations.BASELINES,
    }
    assert (report.loc["moved"]["first"] > 0.8).all()


def test_one_direction_is_a_part_of_the_contributions(fake_table):
    """Of an additive score, both directions agree."""

    class Additive:
        def score_samples(self, X):
            return -np.square(X).sum(axis=1)

    X, X_train = fake_table.X[:5] + 3.0, fake_table.X[5:]
    choose = partial(explanations.nearest_by_features, k=explanations.NUM_DONORS)
    both = explanations.exchange_with(choose)(Additive(), X, X_train)
    np.testing.assert_allclose(
        explanations.one_direction(Additive(), X, X_train), both, atol=1e-12
    )
