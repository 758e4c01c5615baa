"""Settings of the process that several threads share."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from sksngp._runtime.shared_context import SharedContext


@pytest.fixture
def entered():
    """Context that records when it is entered and left."""
    events = []

    @contextmanager
    def context():
        events.append("enter")
        yield
        events.append("leave")

    return SharedContext(context), events


def test_the_last_user_leaves(entered):
    context, events = entered
    with context:
        with context:
            pass
        assert events == ["enter"]
    assert events == ["enter", "leave"]


def test_it_can_be_entered_again_after_an_error(entered):
    context, events = entered
    with pytest.raises(KeyError), context:
        raise KeyError
    assert context(lambda: "result")() == "result"
    assert events == ["enter", "leave"] * 2


def test_a_context_that_cannot_be_entered_has_no_users():
    @contextmanager
    def broken():
        raise OSError
        yield

    context = SharedContext(broken)
    for _ in range(2):
        with pytest.raises(OSError), context:
            pass


def test_a_fork_leaves_it(entered):
    context, events = entered
    context.__enter__()
    context.after_fork()
    assert events == ["enter", "leave"]
    with context:
        assert events[-1] == "enter"


def test_threads_restore_the_filters_of_warnings():
    quiet = SharedContext(warnings.catch_warnings)
    before = list(warnings.filters)

    @quiet
    def change(_):
        warnings.simplefilter("ignore")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(500)))
    assert warnings.filters == before
