import io
import os
import termios
from contextlib import redirect_stderr
from pathlib import Path

import pytest

import sksngp
from sksngp._progress import LOG_INTERVAL, progress


class Clock:
    """Clock that advances only on request."""

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
    # The class of standard error in a Jupyter kernel, which is no terminal.
    OutStream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    cell = OutStream()
    assert not cell.isatty()
    work(cell)
    assert "100%|" in cell.getvalue()


# tqdm


def test_no_other_module_uses_tqdm():
    package = Path(sksngp.__file__).parent
    users = {file.name for file in package.rglob("*.py") if "tqdm" in file.read_text()}
    assert users == {"_progress.py"}


def test_tqdm_is_imported_only_for_a_bar(run_python):
    done = run_python(
        """
        import sys
        from sksngp._progress import progress
        with progress(2, unit="epoch", clock=lambda: 0.0) as report:
            report()
        print("tqdm" in sys.modules)
        """
    )
    assert (done.stdout, done.stderr) == ("False\n", "epoch 1/2, 0 s\n")
