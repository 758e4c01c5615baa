"""The cyclic garbage collector while many objects are created."""

import gc
import weakref

import pytest

from sksngp._runtime.garbage_collection import collector_paused


def test_collector_is_paused_and_enabled_again():
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_disabled_collector_stays_disabled():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_created_during_a_pause_is_collected():
    class Node:
        pass

    with collector_paused():
        node = Node()
        node.itself = node
        watch = weakref.ref(node)
        del node
    assert watch() is not None
    gc.collect()
    assert watch() is None


def test_garbage_is_collected_between_pauses():
    class Node:
        pass

    def alive():
        return sum(isinstance(thing, Node) for thing in gc.get_objects())

    for _ in range(30):
        with collector_paused():
            for _ in range(2000):
                node = Node()
                node.itself = node
        del node
        [[] for _ in range(2000)]  # other objects
    assert alive() < 30_000


def test_frozen_objects_stay_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collector_paused():
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
