import io
import os
import re
import termios
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest

import sksngp
from sksngp import ResNetClassifier
from sksngp._runtime.progress import LOG_INTERVAL, expect_networks, one_report, progress


class Clock:
    """Clock that is advanced explicitly."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        yield stream


def content(stream):
    return Path(stream.name).read_bytes().decode()


def work(stream, steps=100, *, total=100, seconds=1.0, **kwargs):
    """Report steps with `stream` as standard error."""
    clock = Clock()
    with (
        redirect_stderr(stream),
        progress(total, unit="epoch", clock=clock, **kwargs) as report,
    ):
        for step in range(steps):
            clock.now += seconds
            report(loss=f"{1 / (step + 1):.3f}")


# Lines


def test_a_file_receives_a_line_per_interval_and_a_last_line(log):
    work(log, 95)
    lines = content(log).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        *(f"epoch {done}/100" for done in range(10, 91, 10)),
        "epoch 95/100",
    ]
    assert lines[-1] == "epoch 95/100, 95 s, loss=0.011"
    assert "\r" not in content(log)


def test_a_last_step_that_was_written_is_not_repeated(log):
    work(log, 100)
    assert content(log).splitlines()[-2:] == [
        "epoch 90/100, 90 s, loss=0.011",
        "epoch 100/100, 100 s, loss=0.010",
    ]


@pytest.mark.parametrize("seconds", [0.0, 0.05, -3.0])
def test_short_work_is_one_line(log, seconds):
    work(log, seconds=seconds)
    assert content(log).startswith("epoch 100/100, ")
    assert content(log).count("\n") == 1


def test_slow_steps_are_a_line_each(log):
    work(log, 3, seconds=10 * LOG_INTERVAL)
    assert content(log).count("\n") == 3


def test_lines_are_in_the_file_at_once(log):
    clock = Clock()
    with redirect_stderr(log), progress(2, unit="epoch", clock=clock) as report:
        clock.now += LOG_INTERVAL
        report()
        assert content(log) == "epoch 1/2, 10 s\n"
    assert content(log) == "epoch 1/2, 10 s\n"


def test_an_error_leaves_the_last_step_in_the_log(log):
    with (
        pytest.raises(ZeroDivisionError),
        redirect_stderr(log),
        progress(5, unit="epoch", clock=Clock()) as report,
    ):
        report(loss="0.5")
        raise ZeroDivisionError
    assert content(log) == "epoch 1/5, 0 s, loss=0.5\n"


@pytest.mark.parametrize("kwargs", [{"steps": 0}, {"enabled": False}])
def test_nothing_to_report_writes_nothing(log, kwargs):
    work(log, **kwargs)
    assert content(log) == ""


# Several networks


def train_networks(stream, networks=3, epochs=20, seconds=1.0, expected=None):
    """Report the epochs of several networks with `stream` as standard error."""
    clock = Clock()
    with redirect_stderr(stream), one_report():
        expect_networks(networks if expected is None else expected)
        for _ in range(networks):
            with progress(epochs, unit="epoch", clock=clock) as report:
                for epoch in range(epochs):
                    clock.now += seconds
                    report(loss=f"{1 / (epoch + 1):.3f}")


def test_networks_of_a_job_share_the_lines(log):
    train_networks(log)
    assert content(log).splitlines() == [
        "network 1/3, epoch 10/20, 10 s, loss=0.100",
        "network 1/3, epoch 20/20, 20 s, loss=0.050",
        "network 2/3, epoch 10/20, 30 s, loss=0.100",
        "network 2/3, epoch 20/20, 40 s, loss=0.050",
        "network 3/3, epoch 10/20, 50 s, loss=0.100",
        "network 3/3, epoch 20/20, 60 s, loss=0.050",
    ]


def test_a_short_job_is_one_line(log):
    train_networks(log, seconds=0.1)
    assert content(log) == "network 3/3, epoch 20/20, 6 s, loss=0.050\n"


def test_a_job_of_one_network_does_not_count_networks(log):
    train_networks(log, networks=1, seconds=0.0)
    assert content(log) == "epoch 20/20, 0 s, loss=0.050\n"


def test_more_networks_than_expected(log):
    train_networks(log, networks=2, seconds=0.0, expected=1)
    assert content(log) == "network 2/2, epoch 20/20, 0 s, loss=0.050\n"


def test_an_error_ends_the_report_of_a_job(log):
    with pytest.raises(ZeroDivisionError), redirect_stderr(log), one_report():
        expect_networks(3)
        with progress(5, unit="epoch", clock=Clock()) as report:
            report()
            raise ZeroDivisionError
    assert content(log) == "network 1/3, epoch 1/5, 0 s\n"
    work(log, 1, total=1, seconds=0.0)  # a separate report
    assert content(log).endswith("epoch 1/1, 0 s, loss=1.000\n")


def test_the_networks_of_a_fit_share_the_lines(log, small, moons):
    """Three folds for each of two depths, and the final network."""
    clf = small(ResNetClassifier, num_layers="auto", cv=3, epochs=2, verbose=1)
    with redirect_stderr(log):
        clf.fit(*moons)
    *lines, last = content(log).splitlines()
    assert last.startswith("network 7/7, epoch 2/2, ")
    assert f"loss={clf.loss_curve_[-1]:.4f}" in last
    seconds = [int(re.search(r", (\d+) s,", line).group(1)) for line in lines]
    assert (np.diff([0, *seconds]) >= LOG_INTERVAL - 1).all()  # rounded


def test_an_inner_fit_has_a_report_of_its_own(log):
    with redirect_stderr(log), one_report():
        expect_networks(2)
        with progress(1, unit="epoch", clock=Clock()) as report:
            report()
            train_networks(log, networks=1, seconds=0.0)
        assert content(log) == "epoch 20/20, 0 s, loss=0.050\n"
    assert content(log).splitlines()[1:] == ["network 1/2, epoch 1/1, 0 s"]


class Full(io.StringIO):
    def write(self, text):
        raise OSError("No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make", [Full, closed, lambda: None])
def test_an_unusable_standard_error_does_not_stop_the_work(make):
    work(make())


def test_a_stream_needs_no_method_but_write():
    class Logger:
        written = ""

        def write(self, text):
            self.written += text

    logger = Logger()
    work(logger, 5, total=5)
    assert logger.written == "epoch 5/5, 5 s, loss=0.200\n"


# Bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_bar():
    terminal = Terminal()
    work(terminal)
    shown = terminal.getvalue()
    assert "\r" in shown and "100%|" in shown and "100/100" in shown
    assert "loss=0.010" in shown


def test_networks_of_a_job_share_the_bar():
    terminal = Terminal()
    train_networks(terminal, networks=3, epochs=20)
    shown = terminal.getvalue()
    assert shown.count("\n") == 1  # a bar ends in one
    assert "60/60" in shown and "network=3/3" in shown and "loss=0.050" in shown


def test_a_bar_ends_full_if_networks_stop_early():
    terminal = Terminal()
    with redirect_stderr(terminal), one_report():
        expect_networks(2)
        for epochs in (3, 20):
            with progress(20, unit="epoch") as report:
                for _ in range(epochs):
                    report()
    assert "23/23" in terminal.getvalue()


def test_a_pseudo_terminal_shows_a_bar():
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with open(ours, "rb", buffering=0) as screen:
        with open(theirs, "w") as stream:
            work(stream, 4, total=4)
        shown = b""
        while b"4/4" not in shown:  # once the other end is closed: OSError
            shown += screen.read(4096)
    assert b"\r" in shown and b"epoch" in shown


def test_a_notebook_shows_a_bar():
    # Class of standard error in a Jupyter kernel, which is not a terminal.
    OutStream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    cell = OutStream()
    assert not cell.isatty()
    work(cell)
    assert "100%|" in cell.getvalue()


# tqdm


def test_no_other_module_uses_tqdm():
    package = Path(sksngp.__file__).parent
    users = {file.name for file in package.rglob("*.py") if "tqdm" in file.read_text()}
    assert users == {"progress.py"}


@pytest.mark.slow
def test_tqdm_is_imported_only_for_a_bar(run_python):
    done = run_python(
        """
        import sys
        from sksngp._runtime.progress import progress
        with progress(2, unit="epoch", clock=lambda: 0.0) as report:
            report()
        print("tqdm" in sys.modules)
        """
    )
    assert (done.stdout, done.stderr) == ("False\n", "epoch 1/2, 0 s\n")
