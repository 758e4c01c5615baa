"""Parallel function calls."""

import time

import pytest

from sksngp._runtime import threads


@pytest.mark.parametrize("num_threads", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_item_is_processed_once(monkeypatch, num_threads, count):
    monkeypatch.setattr(threads, "num_threads", lambda: num_threads)
    seen = []
    items = ((item, -item) for item in range(count))
    threads.run_in_threads(lambda a, b: seen.append((a, b)), items)
    assert sorted(seen) == [(i, -i) for i in range(count)]


def test_items_are_generated_when_needed(monkeypatch):
    monkeypatch.setattr(threads, "num_threads", lambda: 2)
    waiting, most = set(), []

    def items():
        for item in range(100):
            waiting.add(item)
            most.append(len(waiting))
            yield (item,)

    threads.run_in_threads(waiting.discard, items())
    assert max(most) <= 4


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_ends_the_work(monkeypatch, num_threads, error):
    monkeypatch.setattr(threads, "num_threads", lambda: num_threads)
    calls = []

    def work(item):
        calls.append(item)
        if item == 3:
            raise error("three")
        time.sleep(0.001)

    with pytest.raises(error, match="three"):
        threads.run_in_threads(work, ((i,) for i in range(10_000)))
    assert len(calls) < 100
