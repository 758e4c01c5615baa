"""Computations in the benchmarks: operation counts, fits, tables and checks."""

import importlib
import json
import os
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

import benchmarks
from benchmarks import (
    architectures,
    cifar,
    images,
    large_data,
    scaling,
    scaling_workers,
    speed,
)
from benchmarks._tools import operation_counts as flops
from benchmarks._tools import speed_report as report
from benchmarks._tools import timing
from benchmarks._tools import tutorial_settings as settings
from benchmarks._tools.speed_comparison import AWARE, SINGLE
from benchmarks._tools.speed_comparison import SpeedComparison as Contest
from benchmarks._tools.speed_report import Check, Row
from benchmarks._tools.tutorial_process import TutorialProcess
from sksngp import ResNetClassifier, SNGPClassifier
from sksngp._networks.kinds import architecture_of
from sksngp.datasets import two_moons

DENSE = architecture_of(num_outputs=3, num_layers=2, num_hidden=4)
SNGP = architecture_of(num_outputs=3, num_layers=2, num_hidden=4, num_inducing=5)
FLAT = architecture_of(num_outputs=3, num_layers=0, num_hidden=4)
RATES = {"float32": 2.0, "float64": 1.0}  # GFLOP/s


# Programs


PROGRAMS = sorted(
    path.stem for path in Path(benchmarks.__file__).parent.glob("[!_]*.py")
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_can_be_imported(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


# Operations, compared with manual counts


def test_operations_of_the_forward_pass():
    assert flops.forward(DENSE) == 2 * (4 * 4 + 4 * 4 + 4 * 3)
    assert flops.forward(SNGP) == 2 * (4 * 4 + 4 * 4 + 4 * 5 + 5 * 3)
    assert flops.forward(FLAT) == 2 * 4 * 3


def test_dropout_masks_share_the_first_block():
    assert flops.forward(DENSE, samples=10) == 2 * (4 * 4 + 10 * (4 * 4 + 4 * 3))


def test_operations_of_the_backward_pass():
    # Kernels, then inputs: of the second block and the output, not of the first.
    assert flops.backward(DENSE) == 2 * (16 + 16 + 12) + 2 * (16 + 12)
    # Random features are frozen.
    assert flops.backward(SNGP) == 2 * (16 + 16 + 15) + 2 * (16 + 20 + 15)
    assert flops.backward(FLAT) == 2 * 12


def test_operations_of_fits():
    n, columns, epochs, batch = 10, 2, 3, 4
    work = flops.fit(DENSE, n, columns, epochs, batch)
    assert work == {"float32": epochs * n * (88 + 144), "float64": 2 * 10 * 2 * 4}

    members = architecture_of(num_outputs=3, num_layers=2, num_hidden=4, members=7)
    more = flops.fit(members, n, columns, epochs, batch)
    assert more == {dtype: 7 * count for dtype, count in work.items()}

    work = flops.fit(SNGP, n, columns, epochs, batch)
    iterations = epochs * 3 * 2 * (2 * 2 * 16)  # steps, blocks, two products each
    features, gram = 2 * (16 + 16 + 20), 5 * 6
    assert work["float32"] == epochs * n * (134 + 196) + iterations + n * features
    expected = 2 * n * columns * 4 + n * gram + 125 / 3
    assert work["float64"] == pytest.approx(expected)


def test_operations_of_predictions():
    assert flops.predict(DENSE, 10, 2) == {"float64": 160, "float32": 880}
    assert flops.predict(SNGP, 10, 2) == {"float64": 160, "float32": 10 * (134 + 30)}


def test_ideal_seconds():
    seconds = flops.ideal_seconds({"float32": 4e9, "float64": 1e9}, RATES)
    assert seconds == pytest.approx(4 / 2 + 1 / 1)


# Clocks and meters


@pytest.mark.slow
def test_callables_take_turns():
    calls = []
    seconds, judged = timing.alternate(
        {name: lambda number, n=name: calls.append(n) or number for name in "AB"},
        repeats=2,
        judge=lambda name, number: f"{name}{number}",
    )
    assert "".join(calls) == "AB" + "ABAB"
    assert judged == {"A": ["A0", "A1"], "B": ["B0", "B1"]}
    assert {name: len(times) for name, times in seconds.items()} == {"A": 2, "B": 2}


@pytest.mark.slow
def test_peak_memory_is_that_of_the_call(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros(10_000_000))
    held = np.ones(40_000_000)  # the peak of a parent must not hide that of its child
    setup = (
        "import numpy as np\n"
        f'rows = np.load({str(tmp_path / "rows.npy")!r}, mmap_mode="r")\n'
        "rows.max()\n"
    )
    if os.access("/proc/self/clear_refs", os.W_OK):
        setup += "np.ones(50_000_000).sum()"  # a higher peak in the past
    grown = timing.peak_memory(setup, "first = np.ones(25_000_000)\nrows.max()")
    assert held.nbytes / 1e6 > 200
    assert grown == pytest.approx(200, abs=20)


def test_child_process_is_timed_repeatedly():
    seconds, _ = timing.measure_child("x = 1", "x + 1", repeats=3)
    assert len(seconds) == 3


def test_failing_child_process_reports_its_error():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        timing.run_child("1 / 0")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_rate_is_a_rate(dtype):
    assert timing.matmul_rate(dtype, sizes=(64,), repeats=2) > 0


# Exponents


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5, 3.0])
def test_exponent_of_a_power_law(power):
    sizes = [64, 256, 1024, 4096, 8192]
    costs = [3e-7 * size**power for size in sizes]
    assert scaling.exponent(sizes, costs) == pytest.approx(power)


def test_exponent_is_that_of_the_upper_end():
    sizes = [1, 10, 100, 1000, 10_000, 100_000]
    costs = [5, 5, 5, 10, 100, 1000]
    assert scaling.exponent(sizes, costs) == pytest.approx(1)


def test_exponent_needs_two_points():
    assert scaling.exponent([1, 2], [0.0, 1.0]) is None


@pytest.mark.parametrize("axis", scaling.AXES, ids=lambda axis: axis.name)
def test_code_of_an_axis(axis):
    assert axis.setup(axis.sizes[-1], 2) != axis.setup(axis.sizes[0], 2)
    compile(axis.setup(axis.sizes[-1], 2), axis.name, "exec")


def test_scaling_table_and_picture(tmp_path):
    result = {
        "axis": "rows",
        "classifier": "SNGPClassifier",
        "sizes": [10, 100],
        "seconds": [1.0, 10.0],
        "megabytes": [2.0, 2.0],
        "exponent": 1.0,
        "memory exponent": 0.0,
        "expected": 1,
        "reason": "because",
    }
    lines = scaling.scaling_table([result]).splitlines()
    assert lines[2].split() == ["rows", "10", "1", "s", "2"]
    assert lines[3].split()[-4:] == ["1.00", "0.00", "<=", "1"]
    assert lines[-1] == "rows: because"
    scaling.draw([result], tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 0


# Tables, files and checks


@pytest.fixture
def row():
    return Row(
        "key",
        "title",
        {"tutorial": [8.0, 6.0, 7.0], "ours": [2.0, 1.0, 9.0]},
        target=4,
        ideal={"tutorial": 0.7, "ours": 1.0},
        memory={"tutorial": 200.0, "ours": 50.0},
    )


def test_row(row):
    assert row.ratio == 3.5
    assert row.share("ours") == 0.5
    assert row.share("tutorial") == pytest.approx(0.1)
    assert report.missed([row]) == ["key: title: ratio 3.5, at least 4"]
    row.target = 3.5
    assert report.missed([row]) == []


def test_row_of_one_side():
    row = Row("import", "import", {"ours": [1.0]})
    assert row.ratio is None and row.share("ours") is None
    assert report.missed([row]) == []
    row.target = 2
    assert len(report.missed([row])) == 1


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check("x", 1.0, at_least=1.0), True),
        (Check("x", 0.9, at_least=1.0), False),
        (Check("x", 1.1, at_most=1.0), False),
        (Check("x", float("nan"), at_least=0.0), False),
        (Check("x", float("nan"), at_most=0.0), False),
    ],
)
def test_check(check, holds):
    assert check.holds is holds


def test_table_is_aligned():
    lines = report.table(["a", "bb"], [["long", "1"], ["x", "10"]]).splitlines()
    assert lines == ["a     bb", "----  --", "long   1", "x     10"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.00123, "1.23 ms"), (0.5, "0.5 s"), (12.34, "12.3 s")],
)
def test_time_text(seconds, text):
    assert report.time_text(seconds) == text


def test_speed_table_and_files(row, tmp_path):
    row.notes.append("a note")
    size = Row("sngp-rows", "rows", {"ours": [1.0]}, memory={"ours": 3.0}, size=1000)
    cells = report.speed_table([row, size]).splitlines()[2].split()
    assert cells[:6] == ["title", "tutorial", "7", "s", "2", "s"]
    assert cells[6:] == ["3.50", ">=", "4", "10%", "50%", "200", "50"]
    assert report.remarks([row]).splitlines()[0].startswith("MISSED")
    assert report.remarks([row]).splitlines()[1].endswith("title: a note")

    report.save_json(tmp_path / "speed.json", {"rows": [report.row_record(row)]})
    saved = json.loads((tmp_path / "speed.json").read_text())
    assert saved["rows"][0]["medians"] == {"tutorial": 7.0, "ours": 2.0}
    assert saved["rows"][0]["checks"][0]["at_most"] is None  # JSON has no infinity
    assert {"tensorflow", "numpy", "scikit-learn", "cpus"} <= set(saved["machine"])

    report.draw_speed([row, size], tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 0


# SNGP and the tutorial


@pytest.fixture
def contest(tmp_path):
    return Contest(tmp_path, repeats=1, quick=True)


def test_sngp_has_the_configuration_of_the_tutorial(contest):
    classifier = contest.ours(SNGPClassifier)
    assert classifier.learning_rate == settings.LEARNING_RATE
    assert classifier.batch_size == settings.BATCH_SIZE
    assert classifier.num_layers == settings.NUM_LAYERS
    assert classifier.num_hidden == settings.NUM_HIDDEN
    assert classifier.dropout_rate == settings.DROPOUT_RATE
    assert classifier.spec_norm_bound == settings.SPEC_NORM_BOUND
    assert classifier.kernel_scale == classifier.ridge_penalty == 1.0
    assert not classifier.standardize and not classifier.validation_fraction
    assert contest.architecture(classifier).num_inducing == 1024


def answers(accuracy, auroc):
    return [{"accuracy": accuracy, "AUROC": auroc}]


@pytest.mark.parametrize(
    ("theirs", "ours", "aware", "missed"),
    [
        (answers(1.0, 1.0), answers(0.99, 0.995), True, 0),
        (answers(1.0, 1.0), answers(0.97, 1.0), True, 1),
        (answers(1.0, 0.9), answers(1.0, 0.8), True, 2),
        (answers(1.0, 0.1), answers(1.0, 0.9), False, 0),
    ],
)
def test_results_are_compared(contest, theirs, ours, aware, missed):
    row = Row("key", "title", {"ours": [1.0]})
    contest.compare(row, {"tutorial": theirs, "ours": ours}, aware)
    assert len(report.missed([row])) == missed
    assert len(row.notes) == 2


def test_code_for_children(contest):
    compile(contest.ours_code(SNGPClassifier), "ours", "exec")
    compile(contest.tutorial_code(), "tutorial", "exec")


def test_rows_are_memory_mapped(contest):
    rows = contest.rows(10)
    assert isinstance(rows, np.memmap)
    assert rows.shape == (10, 2) and rows.dtype == np.float32


@pytest.fixture(scope="module")
def recipe():
    return TutorialProcess()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("Classifier", "params", "fit", "predict"),
    [
        (ResNetClassifier, {}, "fit_deterministic", SINGLE),
        (SNGPClassifier, {"num_inducing": 64}, "fit_sngp", AWARE),
    ],
)
def test_sngp_and_the_tutorial_train_and_predict(
    contest, recipe, Classifier, params, fit, predict
):
    contest.tutorial = recipe
    X, y = two_moons(64, random_state=0)
    models = {
        "tutorial": getattr(recipe, fit)(X, y, epochs=1, seed=0),
        "ours": contest.ours(Classifier, epochs=1, **params).fit(X, y),
    }
    judge = contest.judge(predict)
    for side, model in models.items():
        assert set(judge(side, model)) == {"accuracy", "AUROC"}
    proba = getattr(recipe, predict[0])(models["tutorial"], X)
    proba = proba[0] if isinstance(proba, tuple) else proba
    assert proba.shape == (64, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.slow
def test_ensembles_of_the_tutorial_predict(recipe):
    X, y = two_moons(64, random_state=0)
    models = recipe.fit_ensemble(X, y, members=2, epochs=1)
    assert recipe.predict_ensemble(models, X).shape == (64, 2)
    single = recipe.fit_deterministic(X, y, epochs=1)
    assert recipe.predict_dropout(single, X, passes=2).shape == (64, 2)


@pytest.mark.slow
def test_error_of_the_other_process_is_raised_and_recoverable(recipe):
    with pytest.raises(RuntimeError, match="predict_sngp failed"):
        recipe.predict_sngp(None, np.zeros((2, 2)))
    X, y = two_moons(64, random_state=0)
    recipe.fit_deterministic(X, y, epochs=1)


@pytest.mark.slow
def test_sizes_too_large_for_the_tutorial_are_skipped(contest, monkeypatch):
    monkeypatch.setattr(speed, "LARGEST_COVARIANCE", 10)
    contest.tutorial = SimpleNamespace(predict_sngp=lambda model, rows: None)
    contest.sngps = {"tutorial": None, "ours": Predicting()}
    seconds = speed._times_by_size(contest, [10])
    assert set(seconds[10]) == {"ours", "tutorial"}
    assert set(speed._times_by_size(contest, [11])[11]) == {"ours"}


@pytest.mark.slow
def test_training_set_excludes_held_out_classes(small):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 10
    X = rng.integers(0, 256, (120, 784)).astype(np.uint8)
    data = SimpleNamespace(X_train=X, y_train=y, X_test=X, y_test=y)
    X_train, y_train, X_test, y_test, unknown = images.without(data, (8, 9), 50)
    assert len(X_train) == len(y_train) == 50 and set(y_train) == set(range(8))
    assert set(y_test) == set(range(8)) and len(X_test) + len(unknown) == 120
    figures = images.all_classes(lambda: small(ResNetClassifier), data, 120)
    figures |= images.some_classes(lambda: small(ResNetClassifier), data, 120)
    assert set(figures) == {"accuracy", "digits", "fit s", "classes (8, 9)"}
    assert all(0 <= value <= 1 for name, value in figures.items() if name != "fit s")


# The configuration of the paper


def photographs(n, size=8):
    """The images are smaller than those of CIFAR-10, but the network is the same."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n, size, size, 3)).astype(np.float32)
    y = np.arange(n) % 3
    return SimpleNamespace(X_train=X, y_train=y, X_test=X, y_test=y, X_unknown=255 - X)


def test_learning_rates_of_the_paper():
    rates = [0.05 * cifar.step_decay(epoch / 10) for epoch in range(10)]
    expected = [0.025, 0.05, 0.05, 0.01, 0.01, 0.01, 0.002, 0.002, 4e-4, 4e-4]
    np.testing.assert_allclose(rates, expected)


@pytest.mark.slow
def test_table_of_the_paper_with_small_networks(capsys):
    names = ["SNGP", "MC dropout"]  # these include the networks of "ResNet"
    table = cifar.run(names, photographs(30), depth=10, width=1, epochs=1)
    assert list(table.index) == names
    assert table[["accuracy", "AUPR, SVHN", "AUROC, SVHN"]].stack().between(0, 1).all()
    assert np.isfinite(table[["NLL", "ECE"]].to_numpy(float)).all()
    assert table["published AUPR, SVHN"]["SNGP"] == 0.99


@pytest.mark.slow
def test_size_of_the_papers_network():
    model = cifar.classifier("SNGP").network((32, 32, 3))
    assert round(model.count_params() / 1e6, 1) == 36.5


def test_images_of_svhn(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    savemat(tmp_path / "svhn.mat", {"X": np.moveaxis(images, 0, -1)})
    read = cifar.read_svhn(tmp_path / "svhn.mat")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, images)


@pytest.mark.slow
def test_data_larger_than_memory(capsys):
    large_data.fit_and_score(600, 3)
    large_data.sum_errors(10_000)
    fit, score, accuracy, _, *errors = capsys.readouterr().out.splitlines()[1:]
    for line in (fit, score):
        assert re.fullmatch(r"(fit|score): \d+ s, \d\.\d\d GB", line)
    assert float(accuracy.removeprefix("accuracy ")) > 0.5
    double, single = zip(
        *(map(float, line.split()[1:]) for line in errors), strict=True
    )
    assert len(errors) == 2
    assert max(double) < 1e-14 < 1e-8 < max(single)


def test_scaling_is_computed_from_costs(monkeypatch):
    monkeypatch.setattr(scaling_workers, "ROUND_ROWS", 1000)
    costs = scaling_workers.Costs(1e-3, 1e-4, 1e-5, exchange=0.1, pair_sum=1.0)
    # 2 epochs: 10 rounds of a worker's 1,000 rows, 2 states each, and one sum.
    assert costs.fit(10_000, workers=2, epochs=2) == pytest.approx(
        0.1 + 5000 * (2e-3 + 1e-4) + 10 * 2 * 0.1 + 1.0
    )
    text = scaling_workers.tables(costs, 4_000_000, epochs=2)
    rows = [line for line in text.splitlines() if line.startswith("| 1,000 |")]
    assert len(rows) == 1
    assert len([line for line in text.splitlines() if " | 1.00 |" in line]) == 1


@pytest.mark.slow
def test_costs_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling_workers, "ROUND_ROWS", 500)
    once = partial(scaling_workers.median_seconds, repeats=1)
    monkeypatch.setattr(scaling_workers, "median_seconds", once)
    costs, state_bytes = scaling_workers.measure(tmp_path)
    assert min(vars(costs).values()) > 0
    # Weights, and the optimiser's two moments of most of them.
    assert 1e6 < state_bytes < 1e7


class Predicting:
    def predict_proba(self, X):
        return np.zeros((len(X), 2))


# Memory of many architectures


@pytest.mark.slow
def test_memory_of_architectures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["", "--fits", "2", "--searched", "2"])
    architectures.main()
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split(",")[0] for line in lines] == [
        "SNGPClassifier",
        "ResNetClassifier",
        "SNGPClassifier",
    ]
    for line in lines:
        assert 0 < int(line.split()[-2]) < 300


def test_too_much_memory_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.argv", [""])
    monkeypatch.setattr(architectures, "run_child", lambda code: "301")
    with pytest.raises(SystemExit, match="More than 300 MB"):
        architectures.main()
